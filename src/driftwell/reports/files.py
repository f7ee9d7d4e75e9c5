"""Writing a report to disk: whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from driftwell.errors import BadInput

__all__ = ["write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` as UTF-8 to ``path``, making its folders; the path written.

    A file that is already there is replaced only once the new one is complete.

    Raises
    ------
    BadInput
        The path is a folder, or cannot be written; the message says why and what to do.
    """
    target = Path(path)
    data = text.encode("utf-8", "replace")
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # a pipe or a device: nothing to replace
            target.write_bytes(data)
            return target
        beside.write_bytes(data)
        beside.replace(target)
    except (OSError, ValueError) as exc:
        with suppress(OSError, ValueError):
            beside.unlink(missing_ok=True)
        why = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise BadInput(
            f"cannot write {target}: {why}. Give the name of a file in a folder that can be written"
        ) from exc
    return target
