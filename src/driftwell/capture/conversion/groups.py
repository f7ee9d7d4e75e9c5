"""Items of a chunk become groups: records of one model version, or rows of one table, with the id of their batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwell.capture.conversion.batching import Prepared, batch_of_records, batch_of_table
from driftwell.capture.conversion.cells import Shape
from driftwell.capture.conversion.tables import placed
from driftwell.capture.records import Item, Record, TableRows
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Group", "groups_of", "prepare"]


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one model version, or some rows of one table, and the id of the batch they become."""

    batch_id: str
    model: str
    version: str
    content: Sequence[Record] | TableRows

    @property
    def rows(self) -> int:
        """Number of records."""
        return self.content.rows if isinstance(self.content, TableRows) else len(self.content)

    @property
    def rows_in_memory(self) -> int:
        """Number of those that have no entry of their own in the spool."""
        content = self.content
        if isinstance(content, TableRows):
            return 0 if content.position else content.rows
        return sum(not one.position for one in content)

    @property
    def arrived(self) -> float:
        """When the last of them came."""
        return self.content.arrived if isinstance(self.content, TableRows) else self.content[-1].arrived


def prepare(group: Group, shape: Shape, reference: Reference | None, transform: Transform) -> Prepared:
    """The batch of a group; raises ``RefusedError`` for a table that does not fit the reference."""
    if isinstance(group.content, TableRows):
        return batch_of_table(group.batch_id, placed(group.content, reference, transform), shape)
    return batch_of_records(group.batch_id, group.model, group.version, group.content, shape)


def groups_of(items: Iterable[Item], chunk_id: str) -> list[Group]:
    """Records of one model version together, each table item by itself.

    The id of a batch says which part of which chunk it is, so that it is the same when the chunk is read again. A
    record that was only in memory may then be missing, which must not change the ids of the other batches.
    """
    records: dict[tuple[str, str], list[Record]] = {}
    groups = []
    tables = 0
    for item in items:
        if isinstance(item, Record):
            place = (item.model, item.version)
            if place not in records:
                records[place] = []
                groups.append(Group(_part(chunk_id, *place), *place, records[place]))
            records[place].append(item)
        elif isinstance(item, TableRows):
            tables += 1
            part = f"at {item.position}" if item.position else f"table {tables}"
            groups.append(Group(_part(chunk_id, item.model, item.version, part), item.model, item.version, item))
    return groups


def _part(chunk_id: str, *names: str) -> str:
    text = "\0".join((chunk_id, *names)).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
