"""Tests on distances between all pairs of rows: maximum mean discrepancy and energy distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from driftwell.detectors.multivariate.encoding import Encoded, encode
from driftwell.detectors.multivariate.inputs import check_count, generator, kernel_for
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.detectors.multivariate.scaling import scale_of
from driftwell.kernels.kernel_tests import (
    distance_kernel,
    gaussian_kernel,
    pair_means,
    permutation_p_value,
    relabellings,
)

__all__ = ["EnergyResult", "MmdResult", "energy", "energy_test", "mmd", "mmd_test"]


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
        standard deviation of the pooled rows, each of the 20 most frequent categories becomes a 0/1 column, and the
        elements of vectors (lists of one length) together count as one standardised number. Null, NaN and infinite
        cells get the pooled median and a 0/1 column that marks them.
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
    Time O((n + m)² · (columns + n_permutations) / 2), memory O((n + m) · n_permutations) bytes beside two copies of the
    rows. Distances come from inner products: one below 1e-8 of the two rows' distance from the middle is lost in
    rounding, so that of two rows far off it may not be known whether they lie together.

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
    return mmd(encode(x, y), n_permutations, bandwidth, seed)


def mmd(data: Encoded, n_permutations: int = 100, bandwidth: float | None = None, seed: int = 0) -> MmdResult:
    """``mmd_test`` on samples that are encoded already."""
    count, rng = check_count("n_permutations", n_permutations), generator(seed)
    kernel = kernel_for(data, bandwidth, rng)
    n, m = data.n_reference, data.n_current
    tiles = gaussian_kernel(kernel.scale.of(data.pooled), kernel.width)
    means = pair_means(tiles, relabellings(n, m, count, rng))
    unbiased = means.reference + means.current - 2 * means.across
    # The kernel of a row with itself is 1.
    biased = (1 + (n - 1) * means.reference[0]) / n + (1 + (m - 1) * means.current[0]) / m - 2 * means.across[0]
    return MmdResult(
        **data.fields("mmd"),
        statistic=float(unbiased[0]),
        p_value=permutation_p_value(unbiased),
        biased=float(max(biased, 0.0)),
        bandwidth=kernel.bandwidth,
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
    return energy(encode(x, y), n_permutations, seed)


def energy(data: Encoded, n_permutations: int = 100, seed: int = 0) -> EnergyResult:
    """``energy_test`` on samples that are encoded already."""
    count, rng = check_count("n_permutations", n_permutations), generator(seed)
    scale = scale_of(data.pooled)
    n, m = data.n_reference, data.n_current
    means = pair_means(distance_kernel(scale.of(data.pooled)), relabellings(n, m, count, rng))
    squared = 2 * means.across - (n - 1) / n * means.reference - (m - 1) / m * means.current
    return EnergyResult(
        **data.fields("energy"),
        statistic=math.sqrt(max(float(squared[0]), 0.0)) * math.sqrt(scale.unit),
        p_value=permutation_p_value(squared, float(means.across[0])),
        n_permutations=count,
    )
