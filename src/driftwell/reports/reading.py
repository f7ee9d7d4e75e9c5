"""Reading report dicts that may come from another version or a damaged file: what has the wrong shape is absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["items", "mapping", "records"]


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Sequence[Any]:
    """``value`` where it is a list or a tuple, else nothing."""
    return value if isinstance(value, (list, tuple)) else ()


def records(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list; nothing where it is none."""
    return [item for item in items(value) if isinstance(item, Mapping)]
