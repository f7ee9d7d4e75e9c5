"""Tests on linear summaries of the rows: their means (Hotelling) and what principal components leave over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.encoding import Encoded, encode
from driftwell.detectors.multivariate.inputs import check_count, check_share, generator
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.detectors.multivariate.scaling import standardised
from driftwell.errors import InsufficientData
from driftwell.kernels.kernel_tests import permutation_p_value, relabellings
from driftwell.kernels.row_bins import assign_bins, bin_means, group_means

__all__ = [
    "HotellingResult",
    "PcaResult",
    "hotelling",
    "hotelling_test",
    "pca",
    "pca_reconstruction",
    "principal_axes",
]

Floats = npt.NDArray[np.float64]

_FLAT = 1e-10  # directions with less than this share of the largest variance hold rounding only
_SEPARATED = 1e-12  # unexplained share of the labels below which the samples are apart in some direction


@dataclass(frozen=True, slots=True, kw_only=True)
class HotellingResult(MultivariateResult):
    """``statistic`` is T²; ``f_value`` its F, with ``degrees`` of freedom."""

    f_value: float
    degrees: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PcaResult(MultivariateResult):
    """``statistic`` is ``error_current - error_reference``: mean reconstruction errors (Euclidean, in standard
    deviations of the reference) of the current rows and of reference rows that the components were not fitted on."""

    error_reference: float
    error_current: float
    n_components: int
    explained: float
    n_permutations: int


def hotelling_test(x: Any, y: Any) -> HotellingResult:
    """Whether the means of the columns moved, all together: Hotelling's two-sample T².

    The fastest multivariate test, and the strongest for shifts spread over many columns; blind to spreads and
    dependence. The result does not depend on the columns' units or on any linear mixing of them.

    Parameters
    ----------
    x, y
        As in ``mmd_test``. Columns that repeat others (such as the last category of a 0/1 coding) count once.

    Returns
    -------
    HotellingResult
        ``p_value`` from the F distribution: exact for normal rows with equal covariances, approximate for others with
        large samples. Samples that a plane separates perfectly in a direction of no spread have T² = inf and p = 0.

    Raises
    ------
    InsufficientData
        Not more rows than independent columns + 1; ``mmd_test`` has no such limit.
    BadInput, ColumnError
        As in ``mmd_test``.

    Notes
    -----
    Computed as the regression of the sample label on the columns: with R² its explained share and N the rows,
    ``T² = (N - 2) R² / (1 - R²)``. Cost O(rows · columns²).

    References
    ----------
    .. [1] Hotelling, The generalization of Student's ratio, Ann. Math. Statist. 2 (1931); Anderson, An Introduction to
       Multivariate Statistical Analysis (2003), section 5.3.4.

    Examples
    --------
    >>> r = hotelling_test([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0])
    >>> round(r.statistic, 4), r.degrees  # the square of Student's t
    (4.8, (1, 6))
    """
    return hotelling(encode(x, y))


def hotelling(data: Encoded) -> HotellingResult:
    """``hotelling_test`` on samples that are encoded already."""
    from scipy.stats import f as f_distribution

    rows = standardised(data.pooled)
    n, m = data.n_reference, data.n_current
    axes, spread = principal_axes(rows)
    rank, free = len(spread), n + m - len(spread) - 1
    if free < 1:
        raise InsufficientData(f"{n + m} rows do not exceed {rank} independent columns + 1; use mmd_test")
    gap = (rows[n:].mean(axis=0) - rows[:n].mean(axis=0)) @ axes
    explained = float(n * m / (n + m) ** 2 * np.sum(gap**2 / spread)) if rank else 0.0
    left = 1 - explained
    odds = explained / left if left > _SEPARATED else math.inf
    f_value = odds * free / rank if rank else 0.0
    return HotellingResult(
        **data.fields("hotelling"),
        statistic=(n + m - 2) * odds,
        p_value=float(f_distribution.sf(f_value, rank, free)) if rank else 1.0,
        f_value=f_value,
        degrees=(rank, free),
    )


def pca_reconstruction(x: Any, y: Any, explained: float = 0.65, n_permutations: int = 999, seed: int = 0) -> PcaResult:
    """Whether the linear structure between columns changed, by what principal components cannot reconstruct.

    Components are fitted on a random half of the reference; the other half and the current rows are projected on them
    and back. The p-value compares the two sets of errors, neither of which the components have seen.

    Parameters
    ----------
    x, y
        As in ``mmd_test``; arrays are standardised too, so that units do not count. The fitted half sets the scale.
    explained
        Share of the fitted half's variance that the components must hold, above 0 and below 1.
    n_permutations, seed
        As in ``mmd_test``, on the errors.

    Returns
    -------
    PcaResult
        A larger or smaller mean error counts as a change: ``p_value`` is two-sided, and exact when rows are
        independent.

    Raises
    ------
    InsufficientData
        Fewer than 4 reference rows or 2 current rows, or columns that are all constant in the fitted half.
    BadInput, ColumnError
        As in ``mmd_test``.

    Notes
    -----
    Blind to what moves rows within the space of the components. Columns constant in the fitted half are left out, and
    named in ``notes``. The errors of more than 127 rows are permuted in bins, as in ``random_feature_test``. Cost
    O(rows · columns²).

    References
    ----------
    .. [1] The idea of NannyML's multivariate drift; there the threshold is three standard deviations of the reference's
       own chunks.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> together = rng.normal(size=(400, 1)) + 0.3 * rng.normal(size=(400, 2))
    >>> pca_reconstruction(together, rng.normal(size=(200, 2))).p_value
    0.001
    """
    return pca(encode(x, y), explained, n_permutations, seed)


def pca(data: Encoded, explained: float = 0.65, n_permutations: int = 999, seed: int = 0) -> PcaResult:
    """``pca_reconstruction`` on samples that are encoded already."""
    count, rng = check_count("n_permutations", n_permutations), generator(seed)
    asked = check_share("explained", explained)
    n = data.n_reference
    if n < 4:
        raise InsufficientData(f"the reference has {n} rows, at least 4 are needed: half of them fit the components")
    order = rng.permutation(n)
    rows = standardised(data.pooled)
    fitted, held = rows[order[: n // 2]], np.sort(order[n // 2 :])
    varies = np.ptp(fitted, axis=0) > 0
    if not varies.any():
        raise InsufficientData("every column is constant in the half of the reference that fits the components")
    centre, scale = fitted[:, varies].mean(axis=0), fitted[:, varies].std(axis=0)
    axes, spread = principal_axes((fitted[:, varies] - centre) / scale)
    shares = np.cumsum(spread) / spread.sum()
    kept = int(np.searchsorted(shares, asked)) + 1
    both = (np.concatenate([rows[held], rows[n:]])[:, varies] - centre) / scale
    both -= both @ axes[:, :kept] @ axes[:, :kept].T
    errors = np.linalg.norm(both, axis=1)
    gaps = _mean_gaps(errors, len(held), count, rng)
    fields = data.fields("pca")
    fields["notes"] += _constant(data.source, varies)
    return PcaResult(
        **fields,
        statistic=float(errors[len(held) :].mean() - errors[: len(held)].mean()),
        p_value=permutation_p_value(np.abs(gaps), float(errors.mean())),
        error_reference=float(errors[: len(held)].mean()),
        error_current=float(errors[len(held) :].mean()),
        n_components=kept,
        explained=float(shares[kept - 1]),
        n_permutations=count,
    )


def principal_axes(rows: Floats) -> tuple[Floats, Floats]:
    """Orthonormal directions (columns) and variances along them, largest first; directions without variance are left
    out. ``rows`` need not be centred."""
    centred = rows - rows.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(rows))
    held = variances > _FLAT * max(float(variances[-1]), np.finfo(float).tiny)
    return axes[:, held][:, ::-1], variances[held][::-1]


def _mean_gaps(values: Floats, n: int, count: int, rng: np.random.Generator) -> Floats:
    """Mean after the first ``n`` values minus mean of those, for bins of values: as they are, then relabelled."""
    bins = assign_bins(n, len(values) - n, rng)
    labels = relabellings(bins.n_reference, bins.n_current, count, rng)
    reference, current = group_means(bin_means(values[:, None], bins, lambda part: part), labels)
    return np.asarray((current - reference)[0], np.float64)


def _constant(source: tuple[str, ...], varies: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    names = dict.fromkeys(name for name, moving in zip(source, varies, strict=True) if not moving)
    return tuple(
        f"column {name!r} is constant in the fitted half, at least in part: not reconstructed" for name in names
    )
