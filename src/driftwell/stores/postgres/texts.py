"""Texts as PostgreSQL can hold them: it has no NUL character, so that one is written in two others.

NUL becomes SUB (0x1A) and ``0``, SUB itself becomes SUB and ``1``; every other text stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.string import StrBinaryDumper, StrDumper, TextBinaryLoader

__all__ = ["adapt_texts", "escape", "needs_escape", "plain_texts", "unescape", "unescape_all"]

_NUL, _SUB = "\0", "\x1a"


def escape(text: str) -> str:
    """The text without NUL.

    >>> escape("a" + chr(0) + "b") == "a" + chr(26) + "0b"
    True
    """
    return text.replace(_SUB, _SUB + "1").replace(_NUL, _SUB + "0")


def unescape(text: str) -> str:
    """What ``escape`` was given."""
    return text.replace(_SUB + "0", _NUL).replace(_SUB + "1", _SUB)


def needs_escape(content: npt.NDArray[np.uint8]) -> bool:
    """Whether any of many texts, given as UTF-8, does not stay as it is."""
    return bool(np.any((content == ord(_NUL)) | (content == ord(_SUB))))


def unescape_all(texts: Sequence[str | None]) -> Sequence[str | None]:
    """Many texts at once; almost always none needs it."""
    if not any(text and _SUB in text for text in texts):
        return texts
    return [None if text is None else unescape(text) for text in texts]


class _TextDumper(StrDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(escape(obj) if _NUL in obj or _SUB in obj else obj)


class _BinaryTextDumper(StrBinaryDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(escape(obj) if _NUL in obj or _SUB in obj else obj)


class _TextLoader(TextBinaryLoader):
    def load(self, data: Any) -> Any:
        text = super().load(data)
        return unescape(text) if isinstance(text, str) and _SUB in text else text


def adapt_texts(connection: psycopg.Connection[Any]) -> None:
    """Make every text that passes through this connection pass through ``escape`` and ``unescape``."""
    connection.adapters.register_dumper(str, _TextDumper)
    connection.adapters.register_dumper(str, _BinaryTextDumper)  # the last one is the one that is preferred
    connection.adapters.register_loader("text", _TextLoader)


def plain_texts(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """A cursor for reading many rows that leaves ``unescape`` to its user: a call for each text takes too long."""
    cursor = connection.cursor(binary=True)
    cursor.adapters.register_loader("text", TextBinaryLoader)
    return cursor
