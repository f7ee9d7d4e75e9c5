"""Typing: each Arrow column becomes a column of one kind, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwell.frame.cells import mixed_type, to_cells
from driftwell.frame.columns import (
    COMPOSITE_KINDS,
    CodedColumn,
    Column,
    DatetimeColumn,
    Moments,
    UnreadColumn,
    check_kinds,
    infer_kind,
)
from driftwell.frame.nested import as_text, datetime_column, empty_column, series_column, vector_column
from driftwell.frame.parsing import parsed_datetimes
from driftwell.frame.scalars import boolean_column, coded_column, column_of_cells, numeric_column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Frame"]

_WORDS = {
    "numeric": "numbers",
    "boolean": "truth values",
    "categorical": "text",
    "datetime": "times",
    "vector": "lists",
    "series": "lists",
}
_READ_AS = {
    "numeric": ("numeric", "boolean"),
    "boolean": ("numeric", "boolean"),
    "categorical": ("numeric", "boolean", "categorical"),
    "datetime": ("datetime", "categorical"),
    "text": ("categorical",),
    "vector": ("vector", "series"),
    "series": ("vector", "series"),
}
"""Which types, by the kind they would be of themselves, each kind is read from."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Typed columns of equal length."""

    columns: dict[str, Column]
    n_rows: int

    @staticmethod
    def of(
        table: pa.Table,
        *,
        kinds: Mapping[str, str] | None = None,
        names: Sequence[str] | None = None,
        event_time: str | None = None,
    ) -> Frame:
        """Type the columns ``names`` (default: all) by ``kinds`` where given, else by ``infer_kind``.

        ``event_time`` names the column that says when each row happened; columns of times are told apart from it.
        """
        check_kinds(kinds)
        chosen = list(names) if names is not None else table.column_names
        given = kinds or {}
        timed = any((given.get(n) or infer_kind(table.schema.field(n).type)) == "datetime" for n in chosen)
        event = _event(table, event_time) if timed else None
        return Frame({n: _typed(n, table.column(n), given.get(n), event) for n in chosen}, table.num_rows)


def _event(table: pa.Table, name: str | None) -> Moments | None:
    found = None if name is None or name not in table.column_names else _typed(name, table.column(name), None, None)
    if isinstance(found, CodedColumn) and found.kind == "categorical":
        found = parsed_datetimes(found, None)
    return found.moments if isinstance(found, DatetimeColumn) else None


def _typed(name: str, column: pa.ChunkedArray, kind: str | None, event: Moments | None) -> Column:
    import pyarrow as pa

    if column.type == mixed_type():
        if kind in COMPOSITE_KINDS:
            return UnreadColumn(name, f"cells of several types where {kind} values were expected", kind)
        return column_of_cells(name, to_cells(column), kind or "categorical")
    own = infer_kind(column.type)
    if own is None:
        return UnreadColumn(name, f"columns of type {column.type} have no kind", kind or "unknown")
    wanted = kind or own
    if pa.types.is_dictionary(column.type) and wanted not in ("categorical", "text"):
        return _typed(name, column.cast(column.type.value_type), wanted, event)
    if own not in _READ_AS[wanted] or (wanted == "text" and not _holds_strings(column)):
        if column.null_count == len(column):
            return _all_missing(name, len(column), wanted)
        return UnreadColumn(name, f"{_WORDS[own]} where {wanted} values were expected", wanted, own)
    if wanted == "datetime":
        return parsed_datetimes(coded_column(name, column), event) if own == "categorical" else \
            datetime_column(name, column, event)  # fmt: skip
    return _READERS[wanted](name, column)


def _holds_strings(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    data = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return infer_kind(data) == "categorical"


def _all_missing(name: str, rows: int, kind: str) -> Column:
    return empty_column(name, rows, kind) if kind in COMPOSITE_KINDS else column_of_cells(name, [None] * rows, kind)


_READERS: dict[str, Callable[[str, pa.ChunkedArray], Column]] = {
    "numeric": numeric_column,
    "boolean": boolean_column,
    "categorical": coded_column,
    "text": lambda name, column: as_text(coded_column(name, column)),
    "vector": vector_column,
    "series": series_column,
}
