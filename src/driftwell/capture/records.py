"""What waits in the queue: one record, a slice of a table, a label, an exchange that is still to be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from driftwell.capture.snapshot import snapshot
from driftwell.stores.base import LabelCounts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FIELDS",
    "Bundle",
    "Deferred",
    "Expansion",
    "Fields",
    "Item",
    "LabelItem",
    "LabelTicket",
    "Record",
    "Redaction",
    "TableRows",
    "make_record",
]

FIELDS = (
    "prediction",
    "score",
    "probability",
    "timestamp",
    "segment",
    "entity_id",
    "latency_seconds",
    "metadata",
    "true_label",
)
"""The fields of a record besides its features and id, in the order they are frozen in."""

OVERHEAD_BYTES = 320
"""About what a record costs besides its frozen text: two objects, the id, a place in the queue."""


class Fields(NamedTuple):
    """One record as offered: thawed from the queue, or one row of a table."""

    features: Any
    prediction: Any = None
    score: Any = None
    probability: Any = None
    timestamp: Any = None
    segment: Any = None
    entity_id: Any = None
    latency_seconds: Any = None
    metadata: Any = None
    true_label: Any = None


class Record(NamedTuple):
    """One prediction: its place, id, arrival (seconds since 1970), and everything else frozen.

    ``position`` is the one behind its entry in the spool, 0 for a record that is only in memory.
    """

    model: str
    version: str
    prediction_id: str
    arrived: float
    frozen: bytes
    position: int = 0

    @property
    def rows(self) -> int:
        """1."""
        return 1

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return len(self.frozen) + len(self.prediction_id) + OVERHEAD_BYTES


def make_record(
    model: str, version: str, prediction_id: str, arrived: float, features: Any, values: Sequence[Any]
) -> Record:
    """Freeze features and the values of ``FIELDS``; raises ``RefusedError`` for what cannot be kept."""
    return Record(model, version, prediction_id, arrived, snapshot(features, FIELDS, values))


@dataclass(frozen=True, slots=True)
class TableRows:
    """Some rows of a table of one model version; ``roles`` says which column is which field.

    ``unplaced`` are the roles that were given, if the reference was not known: what the columns mean is found out with
    it, when the rows are stored.
    """

    model: str
    version: str
    ids: Sequence[str]
    arrived: float
    table: pa.Table
    roles: Mapping[str, str]
    position: int = 0
    unplaced: Mapping[str, str] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return int(self.table.nbytes) + self.rows * 100

    def cut(self, start: int, stop: int) -> TableRows:
        """Some of these rows."""
        return replace(self, ids=self.ids[start:stop], table=self.table.slice(start, stop - start))


class LabelTicket:
    """Tells what became of a label."""

    __slots__ = ("__weakref__", "_counts", "_done", "_hurry")

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._done = threading.Event()
        self._counts: LabelCounts | None = None

    def wait(self, timeout: float | None = None) -> LabelCounts | None:
        """What became of the label; None when it has not been committed after ``timeout`` seconds.

        All counts are 0 for a label that could not be kept: it was malformed, or the queue was full or closed.
        """
        if not self._done.is_set():
            self._hurry()  # nobody should wait for the next flush
            self._done.wait(timeout)
        return self._counts

    def settle(self, counts: LabelCounts) -> None:
        """Say what became of it, and wake who waits."""
        self._counts = counts
        self._done.set()


@dataclass(frozen=True, slots=True)
class LabelItem:
    """One label: its model (None: whichever scored the id), and ``[true_label, timestamp]`` frozen."""

    model: str | None
    prediction_id: str
    arrived: float
    frozen: bytes
    ticket: LabelTicket
    position: int = 0

    rows: ClassVar[int] = 1

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return len(self.frozen) + len(self.prediction_id) + 2 * OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Bundle:
    """Records that came together: in one request, or in one exchange that was read already."""

    records: Sequence[Record]
    position: int = 0

    @property
    def rows(self) -> int:
        """Number of records."""
        return len(self.records)

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return sum(record.size for record in self.records)

    @property
    def arrived(self) -> float:
        """When they came."""
        return self.records[0].arrived


Item = Record | TableRows | LabelItem
"""What is stored."""


class Expansion(NamedTuple):
    """What an exchange turned out to hold: records, rows refused by reason, or why it was passed over.

    ``cause`` is what a function of the user's raised.
    """

    records: Sequence[Record] = ()
    refused: Mapping[str, int] = MappingProxyType({})
    skipped: str | None = None
    cause: BaseException | None = None


class Redaction(Protocol):
    """Changes or drops what must not be kept; none of it raises. See ``capture.redaction``."""

    @property
    def lost(self) -> Mapping[str, int]:
        """How many values were dropped because their rule could not change them, by column."""

    def apply(
        self, features: Any, fields: Mapping[str, Any], names: Sequence[str] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """One record as it was given; ``names`` are those of features given by position."""

    def apply_table(self, table: pa.Table, roles: Mapping[str, str] | None = None) -> pa.Table:
        """Every row of a table, but for its prediction ids."""

    def id(self, prediction_id: Any) -> str:
        """A prediction id as it is kept."""

    def label(self, true_label: Any) -> Any:
        """A label as it is kept."""


class Deferred(Protocol):
    """Something whose records are only known when it is read, on the recorder's thread."""

    @property
    def model(self) -> str:
        """The model its records belong to."""

    @property
    def version(self) -> str:
        """The version they belong to unless they name another."""

    @property
    def rows(self) -> int:
        """0: how many there are is not known yet."""

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""

    def expand(self) -> Expansion:
        """Read it."""
