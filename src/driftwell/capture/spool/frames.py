"""Entries in a file: each with a marker, its length and a checksum, so that a damaged one costs no other."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["FRAME_BYTES", "Damage", "frame", "scan"]

_MARK = b"\xd7\x0b\xf5\x1e"
_HEAD = struct.Struct("<4sII")  # marker, length, checksum of length and content

FRAME_BYTES = _HEAD.size
"""What an entry takes besides its content."""


@dataclass(slots=True)
class Damage:
    """Where something could not be read: in the middle, and at ends of files whose last write was cut short."""

    corrupt: set[int] = field(default_factory=set)
    torn: set[int] = field(default_factory=set)


def frame(content: bytes) -> bytes:
    """An entry as it is written.

    Examples
    --------
    >>> [bytes(content) for _, content in scan(frame(b"a") + frame(b"b"), Damage())]
    [b'a', b'b']
    """
    return _HEAD.pack(_MARK, len(content), _checksum(content)) + content


def scan(data: bytes, damage: Damage, base: int = 0) -> Iterator[tuple[int, memoryview]]:
    """``(end, content)`` of each whole entry of data that begins at position ``base``.

    Where one is damaged, reading goes on at the next marker that fits.
    """
    at = 0
    while at < len(data):
        content = _content_at(data, at)
        if content is None:
            following = _next_entry(data, at + 1)
            if following is None:
                damage.torn.add(base + at)
                return
            damage.corrupt.add(base + at)
            at = following
            continue
        at += FRAME_BYTES + len(content)
        yield base + at, content


def _checksum(content: bytes | memoryview) -> int:
    return zlib.crc32(content, len(content))


def _content_at(data: bytes, at: int) -> memoryview | None:
    if len(data) - at < FRAME_BYTES:
        return None
    mark, length, checksum = _HEAD.unpack_from(data, at)
    start = at + FRAME_BYTES
    if mark != _MARK or length > len(data) - start:
        return None
    content = memoryview(data)[start : start + length]
    return content if _checksum(content) == checksum else None


def _next_entry(data: bytes, at: int) -> int | None:
    while (at := data.find(_MARK, at)) >= 0:
        if _content_at(data, at) is not None:
            return at
        at += 1
    return None
