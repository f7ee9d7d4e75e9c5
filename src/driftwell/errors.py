"""Every error Driftwell raises on purpose: one root, natural builtin second parents, messages that say what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BadInput",
    "ColumnError",
    "ConfigError",
    "DriftwellError",
    "FormatError",
    "InsufficientData",
    "MergeError",
    "MissingDependency",
    "MissingReference",
    "NotSupported",
    "StoreError",
    "UnknownName",
    "nearest",
    "shown",
]

MOST_SHOWN = 100


class DriftwellError(Exception):
    """Root of all errors raised by Driftwell."""


class BadInput(DriftwellError, ValueError):
    """An argument or a table cannot be used as given; the message names it and says what would work."""


class ColumnError(BadInput):
    """A table lacks a column, has one too many, or a column cannot be read as its kind."""


class UnknownName(DriftwellError, LookupError):
    """A method, metric, option or model name is not known; the message lists the nearest known names."""

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        close = nearest(str(name), names)
        hint = f": did you mean {close!r}?" if close else "."
        super().__init__(f"unknown {what} {name!r}{hint} Known: {', '.join(names) or 'none'}")
        self.name = name


class ConfigError(DriftwellError, ValueError):
    """A setting has an unknown name or an unusable value."""


class InsufficientData(DriftwellError, ValueError):
    """Too few rows to compute what was asked."""


class FormatError(DriftwellError, ValueError):
    """Stored bytes or a file are corrupt, cut short, or written by a newer version."""


class MergeError(DriftwellError, ValueError):
    """Two profiles cannot be merged because they do not count in the same bins."""


class MissingReference(DriftwellError, LookupError):
    """There is no reference to compare with; the message says what to run."""


class MissingDependency(DriftwellError, ImportError):
    """An optional library is needed; the message gives the extra to install."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is needed here: pip install 'driftwell[{extra}]'")


class NotSupported(DriftwellError, NotImplementedError):
    """A store or a column kind cannot do what was asked; never a silent difference."""


class StoreError(DriftwellError, OSError):
    """The store cannot be reached, written or read; the driver's error is the cause."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to ``name``, whatever its case, or None when nothing is close."""
    folded = {word.casefold(): word for word in reversed(list(known))}
    found = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def shown(value: object) -> str:
    """A value as a message shows it: the beginning of its repr, or its type where that fails."""
    try:
        return repr(value)[:MOST_SHOWN]
    except Exception:  # noqa: BLE001 - the objects of a caller may raise anything, and the message matters more
        return f"<{type(value).__name__}>"
