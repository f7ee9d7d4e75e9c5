"""Two tables become two matrices with the same columns, by rules that look at the pooled rows only.

A rule that looked at the reference alone would treat the two samples differently even where nothing changed, and a
permutation test would no longer keep its level (a reference of 30 rows always lies closer to its own mean than new rows
do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.column_rules import ENCODERS, numbers
from driftwell.errors import BadInput, ColumnError, InsufficientData
from driftwell.frame import (
    CodedColumn,
    Column,
    Frame,
    SeriesColumn,
    UnreadColumn,
    VectorColumn,
    looks_like_text,
    read_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Encoded", "encode", "encode_rows"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Both samples as matrices: the first ``n_reference`` rows of ``pooled`` are the reference.

    ``source[i]`` is the name of the input column that matrix column ``i`` came from, ``notes`` says in sentences what
    was left out.
    """

    pooled: Floats
    n_reference: int
    source: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def n_current(self) -> int:
        """Rows of the current sample."""
        return len(self.pooled) - self.n_reference

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns, each once."""
        return tuple(dict.fromkeys(self.source))

    @property
    def groups(self) -> dict[str, list[int]]:
        """The matrix columns that came from each input column."""
        found: dict[str, list[int]] = {}
        for i, name in enumerate(self.source):
            found.setdefault(name, []).append(i)
        return found

    def require(self, least: int) -> None:
        """Refuse samples of fewer rows than ``least`` on either side."""
        _require(self.n_reference, self.n_current, least)

    def fields(self, method: str) -> dict[str, Any]:
        """What every result says but for statistic and p-value."""
        return {
            "method": method,
            "n_reference": self.n_reference,
            "n_current": self.n_current,
            "n_columns": len(self.columns),
            "notes": self.notes,
        }


def encode(x: Any, y: Any) -> Encoded:
    """Read reference ``x`` and current ``y`` and encode them alike.

    Two bare arrays (or lists of numbers) are taken as they are: shape ``(rows,)`` or ``(rows, columns)``. Anything else
    is read as a table; then numeric columns are standardised, categories and booleans become one 0/1 column per
    category, and vectors together count as one standardised number. A numeric column with null, NaN or infinite cells
    on either side gets the pooled median in their place and a 0/1 column that marks them, and so do missing vectors.
    Times, free text and series are left out, and named in ``notes``.

    Raises
    ------
    BadInput
        An array is not numeric or has more than two dimensions; nothing in the tables can be used.
    ColumnError
        The two samples have different columns, or a column changed its type.
    InsufficientData
        Fewer than two rows on either side.
    """
    arrays = _is_array(x) and _is_array(y)
    return _encode_arrays(x, y) if arrays else _encode_tables(x, y)


def _require(n: int, m: int, least: int) -> None:
    for what, rows in (("reference", n), ("current sample", m)):
        if rows < least:
            raise InsufficientData(f"the {what} has {rows} rows, at least {least} are needed")


# -- bare arrays -----------------------------------------------------------------------------------------------------


def _is_array(data: Any) -> bool:
    if isinstance(data, np.ndarray):
        return data.dtype.names is None
    return isinstance(data, (list, tuple)) and not any(isinstance(row, Mapping) for row in data)


def _encode_arrays(x: Any, y: Any) -> Encoded:
    reference, current = _matrix(x, "reference"), _matrix(y, "current sample")
    if reference.shape[1] != current.shape[1]:
        raise ColumnError(f"the reference has {reference.shape[1]} columns, the current sample {current.shape[1]}")
    if not reference.shape[1]:
        raise BadInput("the arrays have no columns")
    _require(len(reference), len(current), 2)
    names = [f"f{i}" for i in range(reference.shape[1])]
    pooled = np.concatenate([reference, current])
    if np.isfinite([pooled.min(), pooled.max()]).all():  # NaN passes through both
        return Encoded(pooled, len(reference), tuple(names))
    parts = [numbers(column, standardise=False) for column in pooled.T]
    return _joined(parts, names, len(reference))


def _matrix(data: Any, what: str) -> Floats:
    try:
        array = np.asarray(data)
    except ValueError as exc:
        raise BadInput(f"the {what} must hold numbers, or rows of equal length") from exc
    text = array.dtype == object and any(isinstance(cell, str) for cell in array.flat)
    if array.dtype.kind not in "biufO" or text:
        raise BadInput(f"the {what} is an array of {array.dtype}, not of numbers: pass a table with named columns")
    if array.ndim not in (1, 2):
        raise BadInput(f"the {what} must have 1 or 2 dimensions, it has {array.ndim}")
    try:
        rows = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as exc:
        raise BadInput(f"the {what} holds cells that are not numbers: {exc}") from exc
    return rows[:, None] if rows.ndim == 1 else rows


# -- tables ----------------------------------------------------------------------------------------------------------


def _encode_tables(x: Any, y: Any) -> Encoded:
    reference = read_table(x)
    current = read_table(y, feature_names=reference.column_names)
    if set(reference.column_names) != set(current.column_names):
        lacking = sorted(set(reference.column_names) - set(current.column_names))
        further = sorted(set(current.column_names) - set(reference.column_names))
        raise ColumnError(f"the columns differ: the current sample lacks {lacking}, the reference lacks {further}")
    _require(reference.num_rows, current.num_rows, 2)
    old = Frame.of(reference)
    kinds = {
        name: "text" if isinstance(column, CodedColumn) and looks_like_text(column) else column.kind
        for name, column in old.columns.items()
        if column.kind != "unknown" and reference.column(name).null_count < len(reference)
    }
    new = Frame.of(current, kinds=kinds, names=reference.column_names)
    # A column empty in the reference takes its kind from the current rows.
    found = {name: column.kind for name, column in new.columns.items() if column.kind != "unknown"}
    encoded, changed = encode_rows(reference, current, found | kinds)
    for name, reason in changed.items():
        raise ColumnError(f"column {name!r}: {reason}")
    return encoded


def encode_rows(reference: pa.Table, current: pa.Table, kinds: Mapping[str, str]) -> tuple[Encoded, dict[str, str]]:
    """Encode two tables with the reference's columns by these kinds.

    Second answer: why a column that the reference can fill could not be read from the current rows; it is left out.
    """
    old, new = (Frame.of(side, kinds=kinds, names=reference.column_names) for side in (reference, current))
    alike = {name: "vector" for name in old.columns if _one_length(old.columns[name], new.columns[name])}
    if alike:
        return encode_rows(reference, current, {**kinds, **alike})
    parts, names, notes, changed = [], [], [], {}
    for name, before in old.columns.items():
        after = new.columns[name]
        if isinstance(before, UnreadColumn):
            notes.append(f"column {name!r} was left out: {before.reason}")
        elif before.kind not in ENCODERS:
            notes.append(f"column {name!r} was left out: {_PLURALS[before.kind]} are not encoded")
        elif isinstance(after, UnreadColumn):
            changed[name] = after.reason
        elif isinstance(before, VectorColumn) and isinstance(after, VectorColumn) and _lengths_differ(before, after):
            changed[name] = f"vectors of {after.length} elements where the reference has {before.length}"
        else:
            parts.append(ENCODERS[before.kind](before, after))
            names.append(name)
    if not parts:
        reasons = [*notes, *(f"column {name!r}: {reason}" for name, reason in changed.items())]
        error = ColumnError if changed else BadInput
        raise error("; ".join(["the tables have no column that can be used", *reasons]))
    return _joined(parts, names, old.n_rows, tuple(notes)), changed


def _one_length(before: Column, after: Column) -> bool:
    """Whether these are series whose rows all have the same length, on both sides: they are encoded as vectors."""
    if not (isinstance(before, SeriesColumn) and isinstance(after, SeriesColumn)):
        return False
    return len({int(n) for side in (before, after) for n in np.unique(side.lengths[~side.missing])} - {0}) == 1


def _lengths_differ(before: VectorColumn, after: VectorColumn) -> bool:
    return len({column.length for column in (before, after) if column.length is not None}) > 1


_PLURALS = {"datetime": "times", "text": "texts", "series": "series of several lengths"}


def _joined(parts: list[Floats], names: list[str], n: int, notes: tuple[str, ...] = ()) -> Encoded:
    source = tuple(name for name, part in zip(names, parts, strict=True) for _ in range(part.shape[1]))
    return Encoded(np.hstack(parts), n, source, notes)
