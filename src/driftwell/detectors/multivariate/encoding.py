"""Two tables become two matrices with the same columns, by rules that look at the pooled rows only.

A rule that looked at the reference alone would treat the two samples differently even where nothing changed, and a
permutation test would no longer keep its level (a reference of 30 rows always lies closer to its own mean than new rows
do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError, InsufficientData
from driftwell.frame import CodedColumn, Frame, NumericColumn, UnreadColumn, read_table

__all__ = ["MAX_CATEGORIES", "Encoded", "check_count", "encode", "standardised"]

Floats = npt.NDArray[np.float64]

MAX_CATEGORIES = 20
"""Categories with a column of their own; the rarer ones share one."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Both samples as matrices: the first ``n_reference`` rows of ``pooled`` are the reference.

    ``source[i]`` is the name of the input column that matrix column ``i`` came from, ``is_table`` tells tables from
    bare arrays, ``notes`` says in sentences what was left out.
    """

    pooled: Floats
    n_reference: int
    source: tuple[str, ...]
    is_table: bool
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


def encode(x: Any, y: Any, *, least: int = 2) -> Encoded:
    """Read reference ``x`` and current ``y`` and encode them alike.

    Two bare arrays (or lists of numbers) are taken as they are: shape ``(rows,)`` or ``(rows, columns)``. Anything else
    is read as a table; then numeric columns are standardised, and categories and booleans become one 0/1 column per
    category. A numeric column with null, NaN or infinite cells on either side gets the pooled median in their place
    and a 0/1 column that marks them.

    Raises
    ------
    BadInput
        An array is not numeric or has more than two dimensions; nothing in the tables can be used.
    ColumnError
        The two samples have different columns, or a column changed its type.
    InsufficientData
        Fewer than ``least`` rows on either side.
    """
    arrays = _is_array(x) and _is_array(y)
    encoded = _encode_arrays(x, y) if arrays else _encode_tables(x, y)
    for what, rows in (("reference", encoded.n_reference), ("current sample", encoded.n_current)):
        if rows < least:
            raise InsufficientData(f"the {what} has {rows} rows, at least {least} are needed")
    return encoded


def standardised(matrix: Floats) -> Floats:
    """Columns shifted to mean 0 and scaled to standard deviation 1; a constant column becomes 0."""
    # Dividing by a power of two first is exact and keeps sums and squares of huge and tiny values finite.
    low, high = matrix.min(axis=0), matrix.max(axis=0)
    out = np.ldexp(matrix, -np.frexp(np.maximum(-low, high))[1])
    out -= out.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->j", out, out) / len(out))
    constant = (low == high) | (spread == 0)
    out /= np.where(constant, 1.0, spread)
    out[:, constant] = 0.0
    return np.asarray(out, np.float64)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise BadInput(f"{name} must be an int of at least {least}. Got {value!r}")
    return int(value)


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
    names = [f"f{i}" for i in range(reference.shape[1])]
    pooled = np.concatenate([reference, current])
    if np.isfinite(pooled).all():
        return Encoded(pooled, len(reference), tuple(names), is_table=False)
    parts = [_numeric(column, standardise=False) for column in pooled.T]
    return _joined(parts, names, len(reference), is_table=False)


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
        numbers = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as exc:
        raise BadInput(f"the {what} holds cells that are not numbers: {exc}") from exc
    return numbers[:, None] if numbers.ndim == 1 else numbers


# -- tables ----------------------------------------------------------------------------------------------------------


def _encode_tables(x: Any, y: Any) -> Encoded:
    reference = read_table(x)
    current = read_table(y, feature_names=reference.column_names)
    if set(reference.column_names) != set(current.column_names):
        lacking = sorted(set(reference.column_names) - set(current.column_names))
        further = sorted(set(current.column_names) - set(reference.column_names))
        raise ColumnError(f"the columns differ: the current sample lacks {lacking}, the reference lacks {further}")
    old = Frame.of(reference)
    kinds = {
        name: column.kind
        for name, column in old.columns.items()
        if column.kind != "unknown" and reference.column(name).null_count < len(reference)
    }
    new = Frame.of(current, kinds=kinds, names=reference.column_names)
    if len(kinds) < len(old.columns):  # a column empty in the reference takes its kind from the current rows
        known = {name: column.kind for name, column in new.columns.items() if column.kind != "unknown"}
        old = Frame.of(reference, kinds=known)
    parts, names, notes = [], [], []
    for name, column in old.columns.items():
        if isinstance(column, UnreadColumn):
            notes.append(f"column {name!r} was left out: {column.reason}")
            continue
        parts.append(_table_column(name, column, new.columns[name]))
        names.append(name)
    if not parts:
        raise BadInput("the tables have no column that can be used" + "".join(f"; {note}" for note in notes))
    return _joined(parts, names, old.n_rows, is_table=True, notes=tuple(notes))


def _table_column(name: str, old: NumericColumn | CodedColumn, new: Any) -> Floats:
    if isinstance(old, NumericColumn) and isinstance(new, NumericColumn):
        return _numeric(np.concatenate([_filled(old), _filled(new)]), standardise=True)
    if isinstance(old, CodedColumn) and isinstance(new, CodedColumn):
        return _one_hot(old, new)
    raise ColumnError(f"column {name!r}: {getattr(new, 'reason', 'the type of the column changed')}")


def _filled(column: NumericColumn) -> Floats:
    return column.values if column.missing is None else np.where(column.missing, np.nan, column.values)


# -- columns ---------------------------------------------------------------------------------------------------------


def _numeric(values: Floats, *, standardise: bool) -> Floats:
    """One column, or two where cells are not finite: the values with the median in the gaps, and the gaps."""
    gaps = ~np.isfinite(values)
    if gaps.any():
        values = np.where(gaps, 0.0 if gaps.all() else np.median(values[~gaps]), values)
    column = values[:, None]
    if standardise:
        column = standardised(column)
    return np.hstack([column, gaps[:, None].astype(np.float64)]) if gaps.any() else column


def _one_hot(old: CodedColumn, new: CodedColumn) -> Floats:
    """A 0/1 column for each of the 20 most frequent categories, one for all others, one for missing where there is any.

    Two rows of different categories are then as far apart as two rows of a standardised number are on average.
    """
    names = list(dict.fromkeys([*old.categories, *new.categories]))
    place = {name: i for i, name in enumerate(names)}
    # Code -1, missing, picks the last entry of the lookup.
    codes = np.concatenate([np.array([*(place[c] for c in side.categories), -1])[side.codes] for side in (old, new)])
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    frequent = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))[:MAX_CATEGORIES]
    slot = np.full(len(names) + 1, len(frequent))
    slot[frequent] = np.arange(len(frequent))
    slot[-1] = len(frequent) + 1
    matrix: Floats = np.eye(len(frequent) + 2)[slot[codes]]
    return matrix[:, matrix.any(axis=0)]


def _joined(parts: list[Floats], names: list[str], n: int, *, is_table: bool, notes: tuple[str, ...] = ()) -> Encoded:
    source = tuple(name for name, part in zip(names, parts, strict=True) for _ in range(part.shape[1]))
    return Encoded(np.hstack(parts), n, source, is_table, notes)
