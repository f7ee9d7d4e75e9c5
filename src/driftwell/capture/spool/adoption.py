"""What processes that are gone left in the spool: taken over piece by piece, when there is time for it."""

from __future__ import annotations

import logging
import time

from driftwell.capture.records import LabelTicket
from driftwell.capture.spool.chain import Chain
from driftwell.capture.spool.files import Spool
from driftwell.capture.spool.pieces import Chunk, read_piece

__all__ = ["Adoption"]

logger = logging.getLogger("driftwell.capture")

LOOK_SECONDS = 30.0


class Adoption:
    """Gives the recorder's thread what others left, a chunk at a time.

    A chunk reaches from what is settled to where its former owner planned to go, else as far as a fixed size: whoever
    takes over stores the same entries under the same id.
    """

    def __init__(self, spool: Spool | None) -> None:
        self._spool = spool
        self.reset()

    def reset(self) -> None:
        """A forked child has adopted nothing yet."""
        self._chain: Chain | None = None
        self._look_at = 0.0
        self._rows = 0
        self.unreadable = 0
        self.looks = 0

    def hurry(self) -> bool:
        """Look at once; False where there is no spool to look into."""
        self._look_at = 0.0
        return self._spool is not None

    def postpone(self) -> None:
        """Look again later."""
        self.close()
        if self._spool is not None:
            self._spool.look_around()
        self._look_at = time.monotonic() + LOOK_SECONDS
        self.looks += 1

    @property
    def is_due(self) -> bool:
        """Whether there is something to do, or it is time to look."""
        return self._spool is not None and (self._chain is not None or time.monotonic() >= self._look_at)

    def next_chunk(self) -> Chunk | None:
        """The next chunk; None when nobody left anything."""
        while self.is_due and self._spool is not None:
            if self._chain is None:
                self._chain = self._spool.adopt()
                self._rows = 0
            if self._chain is None:
                self.postpone()
                return None
            try:
                chunk = self._read(self._chain)
            except OSError as exc:
                logger.warning("records left in %s cannot be read now: %s", self._spool.folder, exc)
                self.postpone()
                return None
            if chunk is not None:
                return chunk
            self._end(self._chain)
        return None

    def finish(self, chunk: Chunk) -> None:
        """It is settled."""
        if self._chain is not None:
            self._chain.mark(chunk.position, chunk.position)
            self._chain.forget_settled()

    def close(self) -> None:
        """Leave the rest to somebody else."""
        if self._chain is not None and self._spool is not None:
            self._spool.release(self._chain, finished=False)
            self._chain = None

    def _read(self, chain: Chain) -> Chunk | None:
        planned = chain.planned if chain.planned > chain.settled else None
        piece = read_piece(chain.entries(chain.settled, planned), _nobody_waits, whole=planned is not None)
        if piece is None:
            if planned is None:
                return None
            # nothing of it can be read
            return Chunk(f"{chain.name}-{planned:x}", (), position=planned, adopted=True)
        end = planned if planned is not None and piece.chunk_id is None else piece.position
        if planned is None:
            chain.mark(chain.settled, end)
        self.unreadable += piece.unreadable
        self._rows += len(piece.items)
        chunk_id = piece.chunk_id or f"{chain.name}-{end:x}"
        return Chunk(chunk_id, piece.items, position=end, adopted=True)

    def _end(self, chain: Chain) -> None:
        assert self._spool is not None
        corrupt, torn = len(chain.damage.corrupt), len(chain.damage.torn)
        self.unreadable += corrupt + torn
        if corrupt or torn:
            said = "%d damaged places and %d torn ends in the spool of a process that is gone were passed over"
            logger.warning(said, corrupt, torn)
        if self._rows:
            logger.warning("%d entries that another process left in its spool were taken over", self._rows)
        self._spool.release(chain, finished=True)
        self._chain = None


def _nobody_waits(position: int) -> LabelTicket:
    return LabelTicket(lambda: None)
