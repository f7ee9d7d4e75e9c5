"""What the row sample of a reference shows of one column: leakage of the label, halves that differ, row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.kernels.dependence import chatterjee_xi
from driftwell.kernels.divergence import total_variation
from driftwell.kernels.empirical import ks_from_sorted
from driftwell.kernels.significance import chi_squared_test, ks_p_value

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["READ_KINDS", "distinct_values", "halves", "is_row_number", "xi_of_label"]

READ_KINDS = ("numeric", "categorical", "boolean")
LEAST_ROWS = 100
LEAST_HALF = 50  # rows with a value in each half

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def xi_of_label(sample: pa.Table, feature: str, label: str) -> float | None:
    """Chatterjee's xi of the label given one feature; the sample is in the order of a hash, so that ties are random.

    None below 100 rows that hold both.
    """
    values, present = _codes(sample.column(feature))
    target, known = _codes(sample.column(label))
    both = known & present
    return chatterjee_xi(values[both], target[both]) if int(both.sum()) >= LEAST_ROWS else None


def halves(sample: pa.Table, name: str, kind: str, later: Bools) -> tuple[float, float | None] | None:
    """``(KS distance or total variation, p-value)`` of earlier and later rows; None below 50 values on a side."""
    codes, present = _codes(sample.column(name))
    first, second = codes[present & ~later], codes[present & later]
    if min(len(first), len(second)) < LEAST_HALF:
        return None
    if kind == "numeric":  # codes keep the order of the values, and KS depends on the order alone
        distance = ks_from_sorted(np.sort(first).astype(np.float64), np.sort(second).astype(np.float64))
        return distance, ks_p_value(distance, len(first), len(second))
    size = int(codes.max()) + 1
    counts = np.bincount(first, minlength=size), np.bincount(second, minlength=size)
    return total_variation(*counts), chi_squared_test(*counts)[1]


def is_row_number(sample: pa.Table, name: str) -> bool:
    """Whether a numeric column holds whole numbers that never repeat."""
    values = np.asarray(sample.column(name).drop_null().to_numpy(), np.float64)
    values = np.sort(values[np.isfinite(values)])
    whole = len(values) >= LEAST_ROWS and bool(np.all(values == np.rint(values)))
    return whole and bool(np.all(values[1:] != values[:-1]))


def distinct_values(sample: pa.Table, name: str) -> int:
    """How many different values a column of the sample has."""
    import pyarrow.compute as pc

    return len(pc.unique(sample.column(name)))


def _codes(column: Any) -> tuple[Ints, Bools]:
    """``(the rank of each value among the distinct ones, whether there is a value)``; NaN is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = column.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    codes = rank[encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)]
    present = codes >= 0
    if pa.types.is_floating(column.type):
        present &= ~np.isnan(column.to_numpy().astype(np.float64))
    return codes, present
