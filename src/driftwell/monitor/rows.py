"""Stored rows as people read them, and the files they are written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import BadInput, NotSupported
from driftwell.results import isoformat, plain
from driftwell.stores.base import PredictionStore

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["json_values", "save_newest", "typed", "write_parquet"]

JSON_COLUMNS = ("prediction", "probability", "true_label")
NUMBERS = {int, float}
ALWAYS = (-(2**62), 2**62)


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """JSON texts as values; each distinct text is decoded once."""
    texts = column.to_pylist()
    known = {text: msgspec.json.decode(text) for text in set(texts) if text is not None}
    return [None if text is None else known[text] for text in texts]


def typed(rows: pa.Table) -> pa.Table:
    """Predictions, probabilities and labels as the numbers, texts or truth values they were, where all of a column
    are of one kind; a column that mixes kinds, or holds a number a class, stays JSON text."""
    for index, name in enumerate(rows.column_names):
        if name in JSON_COLUMNS:
            rows = rows.set_column(index, name, _typed(rows.column(name)))
    return rows


def _typed(column: pa.ChunkedArray) -> Any:
    import pyarrow as pa

    values = json_values(column)
    kinds = {type(value) for value in values if value is not None}
    if kinds == NUMBERS:
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) != 1 or not kinds <= {int, float, str, bool}:
        return column
    try:
        return pa.array(values)
    except OverflowError:  # a whole number beyond 64 bits
        return column


def save_newest(store: PredictionStore, model: str, version: str, path: Path, *, n: int, after_arrival: int) -> None:
    """Write the newest ``n`` predictions after a mark: JSON newest first, Parquet oldest first.

    Raises
    ------
    NotSupported
        The suffix is neither ``.json`` nor ``.parquet``.
    BadInput
        The file cannot be written.
    """
    if path.suffix == ".parquet":
        rows = store.read(model, version, *ALWAYS, limit=n, after_arrival=after_arrival)
        write_parquet(path, typed(rows))
        return
    if path.suffix != ".json":
        raise NotSupported(f"save_batch writes .json and .parquet, not {path.suffix or 'a file without suffix'}")
    predictions = plain(store.recent(model, version, n, after_arrival=after_arrival))
    saved_at = isoformat(datetime.now(UTC))
    document = {"model": model, "version": version, "saved_at": saved_at, "predictions": predictions}
    with _writing(path):
        path.write_bytes(msgspec.json.encode(document))


def write_parquet(path: Path, rows: pa.Table) -> None:
    """The rows as Parquet; folders are created. ``BadInput`` when the file cannot be written."""
    import pyarrow.parquet as pq

    with _writing(path):
        pq.write_table(rows, path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as exc:
        raise BadInput(f"cannot write {path}: {exc.strerror or exc}") from exc
