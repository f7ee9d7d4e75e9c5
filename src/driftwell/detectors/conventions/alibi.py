"""The univariate detectors of alibi-detect, as its ``alibi_detect/cd`` computes them (0.13)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftwell.detectors.conventions import scipy_stats
from driftwell.detectors.conventions.sides import ALL_KINDS, NUMERIC, counts, rows, tested, two_values
from driftwell.errors import InsufficientData

__all__ = ["METHODS"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def _ks(reference: Floats, current: Floats) -> tuple[float, float | None]:
    """The asymptotic p-value, however small the samples."""
    if len(reference) == len(current) == 1:
        raise InsufficientData("alibi.ks needs three values in all")
    return scipy_stats.ks(reference, current, method="asymp")


def _fisher_exact(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Whether the second value became more frequent: the default of ``FETDrift`` has one side."""
    return scipy_stats.fisher_exact(reference, current, alternative="greater")


_WHY = "alibi-detect alarms on its p-value, below 0.05 over the number of features"

METHODS = (
    tested("alibi.ks", NUMERIC, rows, _ks, _WHY),
    tested("alibi.cramer_von_mises", NUMERIC, rows, scipy_stats.cramer_von_mises, _WHY),
    tested("alibi.chi_squared", ALL_KINDS, counts, scipy_stats.chi_squared, _WHY),
    tested("alibi.fisher_exact", ALL_KINDS, two_values, _fisher_exact, _WHY),
)
