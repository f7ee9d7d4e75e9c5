"""What needs the rows themselves: examples of what failed, and repeated rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.frame import CodedColumn, Column, CompositeColumn, Frame, NumericColumn, UnreadColumn
from driftwell.profiles.reference import Reference
from driftwell.profiles.reference.sample import History, row_hashes
from driftwell.quality.rules import Rule
from driftwell.quality.verdicts import judge_share
from driftwell.quality.words import apart, short
from driftwell.results import QualityVerdict, Severity, plain

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["judge_duplicates", "with_examples", "with_repeats"]

MOST_ROWS = 20_000
MOST = 5
SHOWN_CELLS, SHOWN_TEXT = 8, 32  # columns of a repeated row, characters of a cell
Mask = npt.NDArray[np.bool_]


def with_examples(
    verdicts: Sequence[QualityVerdict],
    rules: Sequence[Rule],
    reference: Reference,
    rows: pa.Table | Callable[[], pa.Table] | None,
) -> list[QualityVerdict]:
    """The verdicts, with values and row numbers beside those that failed; nothing is read where none did."""
    if rows is None or not any(verdict.failed and verdict.rule in MARKED for verdict in verdicts):
        return list(verdicts)
    table = rows() if callable(rows) else rows
    limits = {(rule.column, rule.kind): rule.limit for rule in rules}
    return [_with_example(verdict, limits, reference, table) for verdict in verdicts]


def _with_example(
    verdict: QualityVerdict, limits: dict[Any, Any], reference: Reference, table: pa.Table
) -> QualityVerdict:
    name = str(verdict.column)
    if not verdict.failed or verdict.rule not in MARKED or name not in table.column_names:
        return verdict
    column = Frame.of(table.select([name]), kinds={name: reference.kinds[name]}).columns[name]
    if isinstance(column, UnreadColumn):
        return verdict
    marked = np.flatnonzero(MARKED[verdict.rule](column, limits[verdict.column, verdict.rule]))
    seen = marked[:MOST_ROWS] if verdict.rule != "missing" else ()
    values = tuple(dict.fromkeys(_value(column, int(row)) for row in seen))[:MOST]
    return replace(verdict, examples=values or verdict.examples, rows=tuple(marked[:MOST].tolist()))


def _value(column: Column, row: int) -> Any:
    if isinstance(column, NumericColumn):
        value = float(column.values[row])
        return short(value) if math.isfinite(value) else plain(value)
    assert isinstance(column, CodedColumn)
    return column.categories[column.codes[row]]


# -- which rows a rule is about ------------------------------------------------------------------------------


def _missing(column: Column, _: Any) -> Mask:
    if isinstance(column, CodedColumn):
        return np.asarray(column.codes < 0)
    if isinstance(column, CompositeColumn):
        return column.missing
    assert isinstance(column, NumericColumn)
    nan = np.isnan(column.values)
    return nan if column.missing is None else nan | column.missing


def _outside(column: Column, limit: tuple[float, float]) -> Mask:
    assert isinstance(column, NumericColumn)
    return ~_missing(column, None) & ((column.values < limit[0]) | (column.values > limit[1]))


def _strange(column: Column, allowed: Sequence[str]) -> Mask:
    assert isinstance(column, CodedColumn)
    names = set(allowed)
    strange = np.array([name not in names for name in column.categories] + [False])
    return strange[column.codes]


MARKED: dict[str, Callable[[Column, Any], Mask]] = {"missing": _missing, "range": _outside, "allowed": _strange}


# -- repeated rows -------------------------------------------------------------------------------------------


def with_repeats(reference: Reference, rows: pa.Table) -> Reference:
    """The reference with the share of its own rows that repeat an earlier one, where it was built without: what
    ``duplicates`` is learned from. Read from its first 20,000 rows; one hash of each of their cells."""
    if reference.history is not None or not rows.num_rows or not reference.kinds.keys() <= set(rows.column_names):
        return reference
    table = rows.select(reference.feature_names).slice(0, MOST_ROWS)
    repeated = round(len(_repeated(table, reference)) * reference.n_rows / table.num_rows)
    return replace(reference, history=History(repeated, "row order", np.zeros(0, np.bool_)))


def judge_duplicates(rule: Rule, reference: Reference, rows: pa.Table, alpha: float) -> QualityVerdict:
    """The share of rows that repeat an earlier one; of the first 20,000 and of at most as many as the reference has,
    because repeats become more with the number of rows. Cost: one hash of each of their cells."""
    if not rows.num_rows or not reference.kinds.keys() <= set(rows.column_names):
        reason = "there are no rows with every feature to compare"
        return QualityVerdict("duplicates", None, "no_data", Severity.NONE, n=rows.num_rows, reason=reason)
    table = rows.select(reference.feature_names).slice(0, min(reference.n_rows, MOST_ROWS))
    repeats = _repeated(table, reference)
    known = reference.history.repeated if reference.history is not None else 0
    after = (len(repeats), table.num_rows)
    found = judge_share(rule, rule.limit, (known, reference.n_rows), after, alpha, "repeat an earlier one")
    if not found.failed:
        return found
    examples = tuple(dict.fromkeys(_row(table, row) for row in repeats[:MOST]))
    return replace(found, examples=examples, rows=tuple(repeats[:MOST]))


def _row(table: pa.Table, row: int) -> str:
    return ", ".join(f"{name}={_cell(table.column(name)[row])}" for name in table.column_names[:SHOWN_CELLS])


def _cell(scalar: Any) -> str:
    try:
        value = scalar.as_py()
    except (OverflowError, ValueError):  # a time beyond the years that Python's datetimes have
        value = scalar.value
    text = apart(value)[0] if isinstance(value, float) else "missing" if value is None else str(value)
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"


def _repeated(table: pa.Table, reference: Reference) -> list[int]:
    """Positions of the rows that repeat an earlier one in every column."""
    kinds = {name: reference.kinds[name] for name in table.column_names}
    hashes = row_hashes(Frame.of(table, kinds=kinds).columns, table.num_rows)
    first = np.unique(hashes, return_index=True)[1]
    return [int(row) for row in np.setdiff1d(np.arange(table.num_rows), first)]
