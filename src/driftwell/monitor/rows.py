"""Stored rows as people read them, and the files they are written to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import BadInput, ColumnError, NotSupported, nearest, shown
from driftwell.monitor.windowing import Span, to_us, whole_number
from driftwell.results import isoformat, plain
from driftwell.stores.base import ROW_COLUMNS, PredictionStore
from driftwell.stores.export import export_parquet, typed

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.monitor.pipeline import CheckContext

__all__ = ["Exported", "export_window", "file_path", "read_window", "save_newest"]

log = logging.getLogger("driftwell.monitor")

ALWAYS = (-(2**62), 2**62)
DAY_US = 86_400_000_000
ROW_NAMES = ("version", *ROW_COLUMNS, "true_label", "label_time")
NEWEST_ROWS = 1_000
"""Rows that are asked for the names of features."""


def read_window(
    context: CheckContext,
    span: Span,
    columns: Sequence[str] | None,
    *,
    labelled: bool | None,
    limit: int | None,
) -> pa.Table:
    """Rows of a span as people read them. Raises ``ColumnError`` for a column that no row has."""
    if isinstance(columns, str):
        raise BadInput(f"columns is a list of names, such as [{columns!r}]. Got {columns!r}")
    most = None if limit is None else whole_number("limit", limit)
    found = _rows_of(context, span, columns, labelled, most)
    _check_columns(columns or (), found, context)
    return typed(found)


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows were written, and how many predictions of the window could not be: their features are gone."""

    rows: int
    without_features: int

    @property
    def notice(self) -> str | None:
        """What is missing, in words."""
        if not self.without_features:
            return None
        n = f"{self.without_features:,} predictions of the window have"
        return f"{n} no feature rows any more (retention took them): they are not in the file"


def export_window(context: CheckContext, span: Span, path: Path, *, labelled: bool | None) -> Exported:
    """Write the rows of a span to Parquet, an hour at a time. ``BadInput`` when it cannot be written.

    What is missing because its features are gone is said in the log.
    """
    place = (context.model, context.version, to_us(span.start), to_us(span.end))
    stored = _stored(context, span, labelled)  # before: what arrives meanwhile is not missing
    if span.records is not None:  # of the rows at the first instant only some belong to it: what was asked for fits
        rows = read_window(context, span, None, labelled=labelled, limit=None)
        write_parquet(path, rows)
        written = int(rows.num_rows)
    else:
        written = export_parquet(context.store, path, *place, labelled=labelled)
    found = Exported(written, max(stored - written, 0))
    if found.notice:
        log.warning("export of %s %s: %s", context.model, context.version, found.notice)
    return found


def _stored(context: CheckContext, span: Span, labelled: bool | None) -> int:
    """Predictions of a span, whether their features are still there or not. Memory holds what a day has of them."""
    store, model, version = context.store, context.model, context.version
    start, end = to_us(span.start), to_us(span.end)
    if span.records is not None:
        return _matching(store.outcomes(model, version, start, end, limit=span.records), labelled)
    if labelled is None:
        return store.count(model, version, start, end)
    totals = store.totals(model, version)
    if totals["first_us"] is None:
        return 0
    first, last = max(start, totals["first_us"]), min(end, totals["last_us"] + 1)
    days = ((low, min(low + DAY_US, last)) for low in range(first, last, DAY_US))
    return sum(_matching(store.outcomes(model, version, *day), labelled) for day in days)


def _matching(outcomes: pa.Table, labelled: bool | None) -> int:
    n = int(outcomes.num_rows)
    unknown = int(outcomes.column("true_label").null_count)
    return n if labelled is None else n - unknown if labelled else unknown


def _rows_of(
    context: CheckContext, span: Span, columns: Sequence[str] | None, labelled: bool | None, limit: int | None
) -> pa.Table:
    place = (context.model, context.version, to_us(span.start), to_us(span.end))
    if span.records is None or labelled is None:
        most = span.records if limit is None else span.at_most(limit)
        return context.store.read(*place, columns=columns, labelled=labelled, limit=most)
    # The store would keep the newest labelled rows, asked for are the labelled ones of the newest rows.
    names = None if columns is None else [*columns, "true_label"]
    rows = context.store.read(*place, columns=names, limit=span.records)
    found = rows.filter([(label is not None) == labelled for label in rows.column("true_label").to_pylist()])
    if columns is not None:
        found = found.select([name for name in dict.fromkeys(columns) if name in found.column_names])
    return found if limit is None else found.slice(max(found.num_rows - limit, 0))


def _check_columns(asked: Sequence[str], found: pa.Table, context: CheckContext) -> None:
    """Each must be among the rows ``found``, the newest ones or the reference's features; the nearest name is in the
    message. Nothing is known, and nothing refused, before the first row."""
    unknown = [name for name in asked if name not in found.column_names]
    if not unknown:
        return
    model, version, reference = context.model, context.version, context.reference
    newest = context.store.read(model, version, *ALWAYS, limit=NEWEST_ROWS)
    known = {*newest.column_names, *ROW_NAMES, *(reference.feature_names if reference else ())}
    known |= {f"feature.{name}" for name in ROW_NAMES if reference and name in reference.kinds}
    wrong = next((name for name in unknown if name not in known), None)
    if wrong is None or (not newest.num_rows and reference is None):
        return
    close = nearest(str(wrong), known)
    hint = f"did you mean {close!r}?" if close else f"there are {', '.join(sorted(known))}"
    raise ColumnError(f"no prediction of {model} {version} has a column {wrong!r}; {hint}")


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


def write_parquet(path: Path, rows: pa.Table) -> Path:
    """Write the rows as Parquet; folders are created. ``BadInput`` when the file cannot be written."""
    import pyarrow.parquet as pq

    with _writing(path):
        pq.write_table(rows, path)
    return path


def file_path(value: Any) -> Path:
    """The path of a file to be written; ``BadInput`` for what is none."""
    try:
        found = os.fspath(value)
    except TypeError:
        found = None
    if not isinstance(found, str) or "\0" in found:
        raise BadInput(f"a path is text or a pathlib.Path. Got {shown(value)}")
    return Path(found)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as exc:
        raise BadInput(f"cannot write {path}: {exc.strerror or exc}") from exc
