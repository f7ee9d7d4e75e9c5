"""The files of one process in the spool: a head with two positions, and segments of entries."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from driftwell.capture.spool.frames import Damage, scan

__all__ = ["POSITIONS", "POSITIONS_AT", "Chain", "Entry", "head_path", "listed"]

POSITIONS = struct.Struct("<QQ")
POSITIONS_AT = 16
"""Where in the head its two positions lie: settled and planned."""


class Entry(NamedTuple):
    """The content of an entry, and the position behind it."""

    end: int
    content: memoryview


class Chain:
    """The files of one process, held by a lock. Closing gives it free, ``delete`` removes it.

    Attributes
    ----------
    settled
        Everything before this position is stored or counted as lost.
    planned
        The entries from ``settled`` to here were about to be stored together, if this is the larger of the two.
    """

    def __init__(self, folder: Path, name: str, head: int, settled: int = 0, planned: int = 0) -> None:
        self.folder = folder
        self.name = name
        self.settled = settled
        self.planned = planned
        self.damage = Damage()
        self._head = head

    def mark(self, settled: int, planned: int) -> None:
        """Write both positions; a process that takes over begins there."""
        os.pwrite(self._head, POSITIONS.pack(settled, planned), POSITIONS_AT)
        self.settled, self.planned = settled, planned

    def segment(self, base: int) -> Path:
        """Path of the segment that begins at a position."""
        return self.folder / f"{self.name}.{base:016x}.log"

    def segments(self) -> list[tuple[int, Path]]:
        """First position and path of each segment, in order."""
        found = [path for path in listed(self.folder) if path.name.startswith(f"{self.name}.")]
        return sorted((int(path.suffixes[-2][1:], 16), path) for path in found if path.suffix == ".log")

    def entries(self, start: int, stop: int | None = None) -> Iterator[Entry]:
        """Entries from one position to another (None: to the end); a segment at a time is in memory."""
        segments = self.segments()
        for i, (base, path) in enumerate(segments):
            following = segments[i + 1][0] if i + 1 < len(segments) else None
            if (following is not None and following <= start) or (stop is not None and base >= stop):
                continue
            begin = max(start, base)
            data = _read(path, begin - base, None if stop is None else stop - begin)
            for end, content in scan(data, self.damage, begin):
                yield Entry(end, content)

    def forget_settled(self) -> None:
        """Remove segments of which everything is settled, but the last."""
        segments = self.segments()
        for (_, path), (following, _) in pairwise(segments):
            if following <= self.settled:
                path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove its files; the head goes last, since it holds the lock."""
        for _, path in self.segments():
            path.unlink(missing_ok=True)
        head_path(self.folder, self.name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give the lock free. A forked child does this too: the lock stays the parent's."""
        if self._head >= 0:
            os.close(self._head)
            self._head = -1


def head_path(folder: Path, name: str) -> Path:
    """Path of the head of a chain."""
    return folder / f"{name}.head"


def listed(folder: Path) -> list[Path]:
    """Files of a folder; none where there is no folder."""
    try:
        return sorted(folder.iterdir())
    except OSError:  # not there: nothing was written yet
        return []


def _read(path: Path, start: int, most: int | None) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(-1 if most is None else most)
