"""Records on disk: the journal of this process, and what others left behind."""

from driftwell.capture.spool.files import Spool

__all__ = ["Spool"]
