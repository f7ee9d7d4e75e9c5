"""Tests for many rows: random features of the kernel, and a portfolio of tests under one exact level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.encoding import Encoded, encode
from driftwell.detectors.multivariate.inputs import check_count, few_rows, generator, kernel_for
from driftwell.detectors.multivariate.linear import principal_axes
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.detectors.multivariate.scaling import standardised
from driftwell.errors import BadInput
from driftwell.kernels.kernel_tests import median_bandwidth, permutation_p_value, relabellings
from driftwell.kernels.row_bins import Bins, assign_bins, bin_means, bin_shares, group_means, min_p, rank_p_values

__all__ = [
    "PortfolioResult",
    "RandomFeatureResult",
    "portfolio",
    "portfolio_test",
    "random_feature_test",
    "random_features",
]

Floats = npt.NDArray[np.float64]

BANDWIDTHS = (0.5, 1.0, 2.0)
"""The portfolio's kernel widths, in units of the median heuristic."""

_RIDGE = 0.02  # share of the largest variance added before whitening, so that noise directions are not blown up
_THIN = 0.001  # the same for the means alone, only to keep repeated columns harmless
_FARTHEST = 1e6  # in bandwidths; float32 does not hold the phase of a row further off
_CUTS = 16  # groups of the per-column test
_CUT_ROWS = 10_000  # pooled rows whose quantiles cut the groups


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeatureResult(MultivariateResult):
    """``statistic`` estimates the unbiased MMD², ``biased`` the biased one; ``n_used`` counts the rows that entered,
    of reference and current."""

    biased: float
    bandwidth: float
    n_features: int
    n_bins: tuple[int, int]
    n_used: tuple[int, int]
    n_permutations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioResult(MultivariateResult):
    """``statistic`` is the smallest p-value of the ``components``, which ``p_value`` corrects for having looked at all
    of them. ``columns`` holds a p-value for each input column, already corrected for the number of columns, smallest
    first."""

    components: dict[str, float] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)
    strongest: str
    bandwidth: float
    n_features: int
    n_bins: tuple[int, int]
    n_used: tuple[int, int]
    n_permutations: int


def random_feature_test(
    x: Any,
    y: Any,
    n_features: int = 256,
    n_permutations: int = 999,
    bandwidth: float | None = None,
    seed: int = 0,
) -> RandomFeatureResult:
    """``mmd_test`` for many rows: one pass, time linear in the rows, the level still exact.

    Each row becomes ``n_features`` cosines and sines of random projections, whose mean products approximate the
    kernel of ``mmd_test``. Rows are put at random into bins of equal size, 64 to 127 for the smaller sample, and the
    means of bins are permuted.

    Parameters
    ----------
    x, y, bandwidth, seed
        As in ``mmd_test``.
    n_features
        An even number; the statistic is off by about ``1 / √n_features`` of the kernel's spread. Take 256 or more for
        50 columns and more.
    n_permutations
        As in ``mmd_test``; they are cheap here.

    Returns
    -------
    RandomFeatureResult
        ``p_value`` is ``(k + 1) / (n_permutations + 1)``, exact for independent rows whatever ``n_features`` is.

    Raises
    ------
    BadInput, ColumnError, InsufficientData
        As in ``mmd_test``.

    Notes
    -----
    Fewer rows than one bin holds stay out of each sample, and the larger sample enters with at most 1,024 bins
    (8 to 16 times the smaller sample or more); ``n_used`` says how many rows entered. Projections are float32. Time
    O((n + m) · columns · n_features).

    References
    ----------
    .. [1] Rahimi and Recht, Random features for large-scale kernel machines, NIPS 2007; Domingo-Enrich, Dwivedi,
       Mackey, Compress then test, AISTATS 2023, section 4 (low-rank tests on permuted bins).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> random_feature_test(rng.normal(size=(5000, 4)), rng.normal(0.2, 1, size=(5000, 4))).p_value
    0.001
    """
    return random_features(encode(x, y), n_features, n_permutations, bandwidth, seed)


def random_features(
    data: Encoded, n_features: int = 256, n_permutations: int = 999, bandwidth: float | None = None, seed: int = 0
) -> RandomFeatureResult:
    """``random_feature_test`` on samples that are encoded already."""
    count, half, rng = check_count("n_permutations", n_permutations), _half(n_features), generator(seed)
    kernel = kernel_for(data, bandwidth, rng)
    bins = assign_bins(data.n_reference, data.n_current, rng)
    directions = rng.standard_normal((data.pooled.shape[1], half)).astype(np.float32)

    def features(part: Floats) -> npt.NDArray[np.float32]:
        near = np.clip(kernel.scale.of(part) / kernel.width, -_FARTHEST, _FARTHEST)
        return _waves(near.astype(np.float32) @ directions)

    means = bin_means(data.pooled, bins, features) / math.sqrt(half)
    reference, current = group_means(means, relabellings(bins.n_reference, bins.n_current, count, rng))
    biased = ((reference - current) ** 2).sum(axis=0)
    n, m = _used(bins)
    # The features of a row have length 1: taking each row's product with itself out leaves the unbiased estimate.
    own = (1 - (reference**2).sum(axis=0)) / (n - 1) + (1 - (current**2).sum(axis=0)) / (m - 1)
    unbiased = biased - own
    return RandomFeatureResult(
        **data.fields("random_features"),
        statistic=float(unbiased[0]),
        p_value=permutation_p_value(unbiased),
        biased=float(biased[0]),
        bandwidth=kernel.bandwidth,
        **_sizes(bins, half, count),
    )


def portfolio_test(x: Any, y: Any, n_features: int = 256, n_permutations: int = 999, seed: int = 0) -> PortfolioResult:
    """Several tests at once under one exact level: for when it is not known what kind of change to look for.

    No single test is strong everywhere. This one runs, on the same permutations of the same bins of rows:

    - ``per_column``: the largest standardised difference of cumulative shares over all columns, at 15 pooled quantiles
      and the smallest value (so for 0/1 columns of their shares); strong where one column changed;
    - ``hotelling``: the means, in units of their covariance; strong where many columns moved a little;
    - ``kernel_0.5, kernel_1, kernel_2``: random features at half, one and two times the median bandwidth;
    - ``whitened_0.5, whitened_1, whitened_2``: the same on whitened columns; strong where the dependence between
      columns, or a spread, changed.

    Parameters
    ----------
    x, y
        As in ``mmd_test``, but arrays are standardised too (by the pooled rows).
    n_features, n_permutations, seed
        As in ``random_feature_test``; ``n_features`` counts for each kernel.

    Returns
    -------
    PortfolioResult
        ``p_value`` is the share of relabellings whose smallest component p-value is as small as the observed one;
        exact for independent rows, however the components depend on each other.

    Raises
    ------
    BadInput, ColumnError, InsufficientData
        As in ``mmd_test``.

    Notes
    -----
    Rows and bins as in ``random_feature_test``. ``hotelling`` adds 0.001, whitening 0.02 of the largest variance to
    all, so that repeated columns do no harm. Time about that of six random-feature tests.

    References
    ----------
    .. [1] Westfall and Young, Resampling-based multiple testing (1993), sections 2.3 and 2.5: smallest p-values over
       shared permutations, for the components and for the columns.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(1000, 5)), rng.normal(size=(1000, 5))
    >>> y[:, 3] *= 1.4
    >>> r = portfolio_test(x, y)
    >>> r.p_value < 0.01, next(iter(r.columns))
    (True, 'f3')
    """
    return portfolio(encode(x, y), n_features, n_permutations, seed)


def portfolio(data: Encoded, n_features: int = 256, n_permutations: int = 999, seed: int = 0) -> PortfolioResult:
    """``portfolio_test`` on samples that are encoded already."""
    count, half, rng = check_count("n_permutations", n_permutations), _half(n_features), generator(seed)
    rows = standardised(data.pooled)
    bins = assign_bins(data.n_reference, data.n_current, rng)
    labels = relabellings(bins.n_reference, bins.n_current, count, rng)
    by_column = _per_column(data, rows, bins, labels, rng)
    axes, variances = principal_axes(rows)
    means = bin_means(rows, bins, lambda part: part)
    statistics = {
        "per_column": by_column.max(axis=0),
        "hotelling": _squared_gap(means @ _whitening(axes, variances, _THIN), labels),
    }
    sample = few_rows(rows, rng)
    views = {"kernel": np.eye(rows.shape[1]), "whitened": _whitening(axes, variances, _RIDGE)}
    widths = {name: median_bandwidth(sample @ view) for name, view in views.items()}
    for name, view in views.items():
        directions = view @ rng.standard_normal((view.shape[1], half)) / widths[name]
        statistics |= _kernels(name, rows, directions.astype(np.float32), bins, labels)
    p_values = rank_p_values(np.stack(list(statistics.values())))
    components = {name: float(p[0]) for name, p in zip(statistics, p_values, strict=True)}
    strongest = min(components, key=lambda name: components[name])
    return PortfolioResult(
        **data.fields("portfolio"),
        statistic=components[strongest],
        p_value=min_p(p_values),
        components=components,
        columns=_column_p_values(data.columns, by_column),
        strongest=strongest,
        bandwidth=widths["kernel"],
        **_sizes(bins, half, count),
    )


def _half(n_features: Any) -> int:
    if check_count("n_features", n_features, 2) % 2:
        raise BadInput(f"n_features must be even: half are cosines, half sines. Got {n_features!r}")
    return int(n_features) // 2


def _used(bins: Bins) -> tuple[int, int]:
    size = bins.rows.shape[1]
    return bins.n_reference * size, bins.n_current * size


def _sizes(bins: Bins, half: int, count: int) -> dict[str, Any]:
    return {
        "n_features": 2 * half,
        "n_bins": (bins.n_reference, bins.n_current),
        "n_used": _used(bins),
        "n_permutations": count,
    }


def _waves(phases: npt.NDArray[np.float32], widths: tuple[float, ...] = (1.0,)) -> npt.NDArray[np.float32]:
    """Cosines and sines of the phases divided by each width, side by side."""
    half = phases.shape[1]
    out = np.empty((len(phases), 2 * half * len(widths)), np.float32)
    for i, width in enumerate(widths):
        slowed = phases / np.float32(width)
        cosines, sines = np.split(out[:, 2 * half * i : 2 * half * (i + 1)], 2, axis=1)
        np.cos(slowed, out=cosines)
        np.sin(slowed, out=sines)
    return out


def _kernels(
    name: str, rows: Floats, directions: npt.NDArray[np.float32], bins: Bins, labels: npt.NDArray[np.bool_]
) -> dict[str, Floats]:
    """The random-feature statistic at each width; the projections are shared, only their speed differs."""
    means = bin_means(rows, bins, lambda part: _waves(part.astype(np.float32) @ directions, BANDWIDTHS))
    parts = np.split(means, len(BANDWIDTHS), axis=1)
    return {f"{name}_{width:g}": _squared_gap(part, labels) for width, part in zip(BANDWIDTHS, parts, strict=True)}


def _squared_gap(means: Floats, labels: npt.NDArray[np.bool_]) -> Floats:
    reference, current = group_means(means, labels)
    return np.asarray(((reference - current) ** 2).sum(axis=0), np.float64)


def _whitening(axes: Floats, variances: Floats, ridge: float) -> Floats:
    """Takes rows to their principal axes, each divided by its spread after adding a share of the largest variance."""
    return np.asarray(axes / np.sqrt(variances + ridge * variances.max(initial=0.0)), np.float64)


def _per_column(
    data: Encoded, rows: Floats, bins: Bins, labels: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """The largest squared standardised difference of cumulative shares, shape ``(input columns, relabellings)``."""
    out = {name: np.zeros(labels.shape[1]) for name in data.columns}
    cut_rows = rows if len(rows) <= _CUT_ROWS else rows[rng.choice(len(rows), _CUT_ROWS, replace=False)]
    for name, values, seen in zip(data.source, rows.T, cut_rows.T, strict=True):
        shares = bin_shares(values, _cuts(seen), bins)
        share = shares.mean(axis=0)
        varies = (share > 0) & (share < 1)
        reference, current = group_means(shares[:, varies], labels)
        scaled = (reference - current) ** 2 / (share * (1 - share))[varies, None]
        out[name] = np.maximum(out[name], scaled.max(axis=0, initial=0.0))
    return np.stack(list(out.values()))


def _cuts(values: Floats) -> Floats:
    """The quantiles and the smallest value, each once."""
    quantiles = np.quantile(values, np.arange(1, _CUTS) / _CUTS, method="inverted_cdf")
    return np.unique(np.append(quantiles, values.min()))


def _column_p_values(names: tuple[str, ...], by_column: Floats) -> dict[str, float]:
    """Share of relabellings in which any column reaches this column's observed value."""
    largest = by_column.max(axis=0)
    found = {}
    for name, values in zip(names, by_column, strict=True):
        found[name] = permutation_p_value(np.append(values[0], largest[1:]), float(largest.max()))
    return dict(sorted(found.items(), key=lambda item: item[1]))
