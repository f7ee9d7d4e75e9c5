"""Series: a list of numbers a record, such as a window of a signal. All elements are pooled; length, mean and spread
are those of each record."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftwell.frame import NumericColumn, SeriesColumn

__all__ = ["freeze_series", "series_facets"]


def freeze_series(column: SeriesColumn) -> dict[str, Any]:
    """A reference fixes nothing but the bins of the facets."""
    return {}


def series_facets(column: SeriesColumn, frozen: dict[str, Any]) -> dict[str, NumericColumn]:
    """``elements`` pooled over all records, and ``length``, ``mean`` and ``std`` a record.

    Mean and sample standard deviation read the finite elements of a record; they are missing where there is none, or
    for the standard deviation only one. Elements that are null are missing in ``elements``.
    """
    finite = np.isfinite(column.values) & ~column.absent
    record = np.repeat(np.arange(len(column.lengths)), column.lengths)[finite]
    values, counts = column.values[finite], np.bincount(record, minlength=len(column.lengths))
    with np.errstate(over="ignore", invalid="ignore"):  # sums beyond float64 are infinite, as they should be
        mean = _sums(values, counts) / np.maximum(counts, 1)
        squares = _sums((values - mean[record]) ** 2, counts)
        std = np.sqrt(squares / np.maximum(counts - 1, 1))
    return {
        "elements": NumericColumn("elements", column.values, column.absent),
        "length": NumericColumn("length", column.lengths.astype(np.float64), column.missing),
        "mean": NumericColumn("mean", mean, counts == 0),
        "std": NumericColumn("std", std, counts < 2),
    }


def _sums(values: Any, counts: Any) -> Any:
    """Sum of each record's run of values; every run is added up by itself, whatever stands beside it."""
    out = np.zeros(len(counts))
    used = counts > 0
    if used.any():
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))[used]
        out[used] = np.add.reduceat(values, starts)
    return out
