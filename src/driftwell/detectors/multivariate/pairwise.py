"""Tests on distances between all pairs of rows: maximum mean discrepancy and energy distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.encoding import Encoded, check_count, encode
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.errors import BadInput
from driftwell.kernels.kernel_tests import (
    distance_kernel,
    gaussian_kernel,
    median_bandwidth,
    pair_means,
    permutation_p_value,
    relabellings,
)

__all__ = ["EnergyResult", "MmdResult", "check_bandwidth", "common", "energy_test", "mmd_test", "well_scaled"]

Floats = npt.NDArray[np.float64]

_CENTRE_ROWS = 1_000  # enough to find the middle; where exactly it lies changes no distance


@dataclass(frozen=True, slots=True, kw_only=True)
class MmdResult(MultivariateResult):
    """``statistic`` is the unbiased MMD² (it can be negative), ``biased`` the one that includes each row's pair with
    itself; ``bandwidth`` is in the unit of the rows."""

    biased: float
    bandwidth: float
    n_permutations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyResult(MultivariateResult):
    """``statistic`` is the energy distance, the root, so in the root of the rows' unit."""

    n_permutations: int


def mmd_test(x: Any, y: Any, n_permutations: int = 100, bandwidth: float | None = None, seed: int = 0) -> MmdResult:
    """Whether two samples come from one distribution, by the maximum mean discrepancy of a Gaussian kernel.

    The kernel is ``exp(-‖a - b‖² / (2 · bandwidth²))``. The test sees any change (means, spreads, dependence), best
    those about as wide as the bandwidth.

    Parameters
    ----------
    x, y
        Reference and current rows: two arrays of shape ``(rows,)`` or ``(rows, columns)``, taken as they are, or two
        tables (anything ``compare`` reads) with the same columns. In tables, numbers are standardised by mean and
        standard deviation of the pooled rows, and each of the 20 most frequent categories becomes a 0/1 column. Null,
        NaN and infinite cells get the pooled median and a 0/1 column that marks them.
    n_permutations
        Relabellings of the pooled rows. The smallest possible p-value is ``1 / (n_permutations + 1)``.
    bandwidth
        In the unit of the rows (of tables: in standard deviations). None takes the root of half the median squared
        distance of at most 1,000 pooled rows.
    seed
        The same seed gives the same result on the same machine.

    Returns
    -------
    MmdResult
        ``p_value`` is ``(k + 1) / (n_permutations + 1)``, where ``k`` relabellings reach the observed ``statistic``;
        exact at every sample size when rows are independent.

    Raises
    ------
    BadInput
        An array is not numeric, or an option is out of range.
    ColumnError
        The samples have different columns.
    InsufficientData
        Fewer than two rows on either side.

    Notes
    -----
    Time O((n + m)² · (columns + n_permutations) / 2), memory O((n + m) · n_permutations) bytes beside the rows.

    References
    ----------
    .. [1] Gretton et al., A kernel two-sample test, JMLR 13 (2012), equations 3 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> r = mmd_test(rng.normal(size=(200, 3)), rng.normal(0.5, 1, size=(200, 3)))
    >>> r.p_value < 0.01, r.n_current
    (True, 200)
    """
    count = check_count("n_permutations", n_permutations)
    check_bandwidth(bandwidth)
    data = encode(x, y)
    rng = np.random.default_rng(check_count("seed", seed, 0))
    rows, unit = well_scaled(data.pooled)
    width = median_bandwidth(rows, rng) if bandwidth is None else max(bandwidth / unit, np.finfo(float).tiny)
    n, m = data.n_reference, data.n_current
    means = pair_means(gaussian_kernel(rows, width), relabellings(n, m, count, rng))
    unbiased = means.reference + means.current - 2 * means.across
    # The kernel of a row with itself is 1.
    biased = (1 + (n - 1) * means.reference[0]) / n + (1 + (m - 1) * means.current[0]) / m - 2 * means.across[0]
    return MmdResult(
        **common("mmd", data),
        statistic=float(unbiased[0]),
        p_value=permutation_p_value(unbiased),
        biased=float(max(biased, 0.0)),
        bandwidth=width * unit if bandwidth is None else float(bandwidth),
        n_permutations=count,
    )


def energy_test(x: Any, y: Any, n_permutations: int = 100, seed: int = 0) -> EnergyResult:
    """Whether two samples come from one distribution, by the energy distance; no bandwidth to choose.

    ``√(2·E‖X-Y‖ - E‖X-X'‖ - E‖Y-Y'‖)``, each mean over all pairs of rows, a row and itself included. In one column it
    is ``scipy.stats.energy_distance``. Strongest where means move.

    Parameters
    ----------
    x, y, n_permutations, seed
        As in ``mmd_test``.

    Returns
    -------
    EnergyResult
        ``statistic`` in the root of the rows' unit (of tables: of a standard deviation); ``p_value`` as in
        ``mmd_test``.

    Raises
    ------
    BadInput, ColumnError, InsufficientData
        As in ``mmd_test``.

    Notes
    -----
    Cost as ``mmd_test``. With two columns and more, distances come from inner products: one far below the rows' own
    length is off by up to 1e-8 of that length.

    References
    ----------
    .. [1] Székely and Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013), equation 6.1.

    Examples
    --------
    >>> round(energy_test([0.0, 1.0, 2.0], [5.0, 6.0, 7.0]).statistic ** 2, 6)  # 2·5 - 8/9 - 8/9
    8.222222
    """
    count = check_count("n_permutations", n_permutations)
    data = encode(x, y)
    rng = np.random.default_rng(check_count("seed", seed, 0))
    rows, unit = well_scaled(data.pooled)
    n, m = data.n_reference, data.n_current
    means = pair_means(distance_kernel(rows), relabellings(n, m, count, rng))
    squared = 2 * means.across - (n - 1) / n * means.reference - (m - 1) / m * means.current
    return EnergyResult(
        **common("energy", data),
        statistic=math.sqrt(max(float(squared[0]), 0.0)) * math.sqrt(unit),
        p_value=permutation_p_value(squared, float(means.across[0])),
        n_permutations=count,
    )


def common(method: str, data: Encoded) -> dict[str, Any]:
    """The fields every result has, but for statistic and p-value."""
    return {
        "method": method,
        "n_reference": data.n_reference,
        "n_current": data.n_current,
        "n_columns": len(data.columns),
        "notes": data.notes,
    }


def check_bandwidth(bandwidth: float | None) -> None:
    """None, or a finite number above 0."""
    if bandwidth is None:
        return
    number = isinstance(bandwidth, (int, float, np.number)) and not isinstance(bandwidth, bool)
    if not number or not (0 < float(bandwidth) < math.inf):
        raise BadInput(f"bandwidth must be None or a finite number above 0. Got {bandwidth!r}")


def well_scaled(rows: Floats) -> tuple[Floats, float]:
    """Rows moved near zero, by a median of each column, and divided by a power of two, which is returned too.

    Distances keep their digits when all rows lie far from zero, and their squares neither overflow nor vanish.
    """
    scaled = rows / 2  # the difference of two finite floats may not be finite, that of their halves is
    scaled -= np.median(scaled[:: max(1, len(rows) // _CENTRE_ROWS)], axis=0)
    largest = float(max(-scaled.min(), scaled.max()))
    exponent = min(math.frexp(largest)[1], 1022) if largest else -1
    return np.ldexp(scaled, -exponent, out=scaled), math.ldexp(2.0, exponent)
