"""Stored rows as a Parquet file, an hour at a time: memory holds one hour's rows, however long the span is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from driftwell.errors import BadInput, StoreError
from driftwell.stores.base import HOUR_US, PredictionStore

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["JSON_COLUMNS", "export_parquet", "json_values", "typed"]

JSON_COLUMNS = ("prediction", "probability", "true_label")
_NUMBERS = {int, float}
_MOST_WHOLE = 1 << 63


def export_parquet(
    store: PredictionStore,
    path: str | os.PathLike[str],
    model: str,
    version: str | None,
    start_us: int,
    end_us: int,
    *,
    labelled: bool | None = None,
    columns: Sequence[str] | None = None,
) -> int:
    """Write the rows of ``[start, end)`` in event-time order as ``PredictionStore.read`` gives them; how many.

    Predictions, probabilities and labels are the numbers, texts or truth values they were (see ``typed``). Columns
    that only some hours have are null in the others. The file is there when all of it is written, or not at all;
    folders are created.

    Raises
    ------
    BadInput
        The file cannot be written.

    Notes
    -----
    The span is read twice: first for the columns and kinds of all hours, then for the rows.
    """
    spans = list(_spans(store, model, version, start_us, end_us))

    def pieces() -> Iterator[pa.Table]:
        for low, high in spans:
            yield store.read(model, version, low, high, columns=columns, labelled=labelled)

    form = _Form()
    for piece in pieces():
        form.add(piece)
    if not form.pieces:
        form.add(store.read(model, version, 0, 0, columns=columns))
    return _write(Path(path), form, pieces())


def typed(rows: pa.Table) -> pa.Table:
    """Predictions, probabilities and labels as the numbers, texts or truth values they were, where all of a column
    are of one kind; a column that mixes kinds, or holds a number a class, stays JSON text."""
    form = _Form()
    form.add(rows)
    return form.apply(rows, same_columns=True)


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """JSON texts as values; each distinct text is decoded once."""
    texts = column.to_pylist()
    known = {text: msgspec.json.decode(text) for text in set(texts) if text is not None}
    return [None if text is None else known[text] for text in texts]


class _Form:
    """What the pieces of an export have in common: their columns, and the kinds of values in JSON columns."""

    def __init__(self) -> None:
        self.pieces = 0
        self.empty: pa.Table | None = None
        self.kinds: dict[str, set[type]] = {name: set() for name in JSON_COLUMNS}

    def add(self, piece: pa.Table) -> None:
        """Note the columns and kinds of a piece."""
        from driftwell.stores.encoding import unite

        self.pieces += 1
        empty = piece.schema.empty_table()
        if self.empty is None or not self.empty.schema.equals(empty.schema):
            self.empty = empty if self.empty is None else unite([self.empty, empty])
        for name in JSON_COLUMNS:
            if name in piece.column_names:
                self.kinds[name] |= _kinds(piece.column(name))

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file."""
        return self.apply(cast("pa.Table", self.empty)).schema

    def apply(self, piece: pa.Table, *, same_columns: bool = False) -> pa.Table:
        """A piece in the form of all."""
        import pyarrow as pa

        from driftwell.stores.encoding import unite

        found = piece if same_columns else unite([self.empty, piece])
        for index, name in enumerate(found.column_names):
            kind = _arrow_type(self.kinds[name]) if name in JSON_COLUMNS else None
            if kind is not None:
                values = json_values(found.column(name))
                values = [None if v is None else float(v) for v in values] if kind == pa.float64() else values
                found = found.set_column(index, name, pa.array(values, kind))
        return found


def _kinds(column: pa.ChunkedArray) -> set[type]:
    values = [msgspec.json.decode(text) for text in set(column.to_pylist()) if text is not None]
    # A whole number beyond 64 bits fits no column; a list stands for all that stays text.
    return {
        list if type(v) is int and not -_MOST_WHOLE <= v < _MOST_WHOLE else type(v) for v in values if v is not None
    }


def _arrow_type(kinds: set[type]) -> pa.DataType | None:
    import pyarrow as pa

    if kinds == _NUMBERS:
        return pa.float64()
    names = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    return names.get(next(iter(kinds))) if len(kinds) == 1 else None


def _spans(
    store: PredictionStore, model: str, version: str | None, start_us: int, end_us: int
) -> Iterator[tuple[int, int]]:
    """The part of a span that has rows, by the hour."""
    totals = store.totals(model, version)
    if totals["first_us"] is None:
        return
    low, end = max(start_us, totals["first_us"]), min(end_us, totals["last_us"] + 1)
    while low < end:
        high = min((low // HOUR_US + 1) * HOUR_US, end)
        if store.count(model, version, low, high):
            yield low, high
        low = high


def _write(path: Path, form: _Form, pieces: Iterator[pa.Table]) -> int:
    import pyarrow.parquet as pq

    n = 0
    schema = form.schema
    with _whole_file(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for piece in pieces:
            table = _fitting(form, piece, schema)
            n += table.num_rows
            writer.write_table(table)
    return n


def _fitting(form: _Form, piece: pa.Table, schema: pa.Schema) -> pa.Table:
    """The piece in the form of the file. What arrived since its hour was looked at may not fit into it."""
    import pyarrow as pa

    try:
        return form.apply(piece).select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as exc:
        message = "rows of another kind arrived while the file was written: export again, or up to an earlier time"
        raise StoreError(message) from exc


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; the file gets its own when all is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except StoreError:  # of the store, not of the file
        raise
    except OSError as exc:
        raise BadInput(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            partial.unlink()
