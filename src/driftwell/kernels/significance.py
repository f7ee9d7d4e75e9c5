"""p-values of the two-sample statistics, from their sizes alone. scipy gives the tails of the
distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = [
    "adjust",
    "chi_squared_test",
    "dkw_margin",
    "fisher_test",
    "fold_unseen",
    "frozen_groups_p_value",
    "g_test",
    "ks_p_value",
    "pool_sparse",
    "proportions_test",
    "welch_test",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

EXACT_KS = 10_000
"""Largest sample for which the KS p-value is exact, as in ``scipy.stats.ks_2samp(method="auto")``."""

_RARE_PART = 0.1  # of alpha, for what is too rare for the chi-squared distribution

_EXACT_KS_WORK = 1_000_000  # steps of the exact KS p-value that are always worth their time: some 5 ms
_BEYOND_DOUBT = 1e-12

_LONG_SUM, _TAIL = 10_000, 2.2  # from these sizes, and n·D² on, scipy's kstwo is a sum of n terms

_CERTAIN = 0.2  # a scaled KS statistic below this has a p-value of 1 to within 1e-12


def pool_sparse(reference: Counts, current: Counts, least: float = 5.0) -> tuple[Counts, Counts, bool]:
    """Merge the cells whose pooled expectation in the smaller sample is below ``least`` into one, the first.

    The flag says whether that cell is still too sparse for the chi-squared distribution (Cochran's rule).
    """
    pooled = reference + current
    share = min(reference.sum(), current.sum()) / max(pooled.sum(), 1)
    order = np.argsort(pooled, kind="stable")
    reference, current, expected = reference[order], current[order], pooled[order] * share
    sparse = int(np.searchsorted(expected, least, "left"))
    if sparse == 0:
        return reference, current, False
    join = [0, *range(sparse, len(expected))]
    still = bool(expected[:sparse].sum() < least)
    return np.add.reduceat(reference, join), np.add.reduceat(current, join), still


def fold_unseen(reference: Counts, current: Counts, unseen: int) -> tuple[Counts, Counts]:
    """The cells to test where the cell ``unseen`` holds categories the reference did not name: unseen, rare, others.

    No row of the reference can be of a category unseen there, so each is counted as if it was looked up among the
    others: the only one of its category is unseen, one of a category held k times lies among those held k - 1 times
    (Good and Turing 1953). Rare is what cannot be expected five times in the smaller sample, by the reference's
    count alone. Without all that a column with a long tail of categories alarms in every window.
    """
    n, m = int(reference.sum()), int(current.sum())
    least = math.ceil(5 * (n + m) / max(1, min(n, m)))
    named = np.arange(len(reference)) != unseen
    rare, others = named & (reference < least), named & (reference >= least)
    once = int(np.count_nonzero(reference[rare] == 1))
    seen_again = int(reference[rare].sum()) - once + least * int(np.count_nonzero(reference[others] == least))
    return (
        np.concatenate(([reference[unseen] + once, seen_again], reference[others])),
        np.concatenate(([current[unseen], current[rare].sum()], current[others])),
    )


def chi_squared_test(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Two-sample Pearson statistic (no Yates correction) and its p-value; sparse cells pooled.

    Where what was pooled is still expected to hold less than 5 rows, it is judged by Fisher's exact test and the other
    cells by Pearson's, for a tenth and nine tenths of alpha: a category that is new in a small window is never merged
    out of sight. One cell left after pooling: statistic 0, p-value None. Source: Agresti, *Categorical Data
    Analysis*, 3.2.1 and 3.5.1.
    """
    return _contingency_test(reference, current, _pearson)


def g_test(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Likelihood-ratio statistic ``2 Σ O ln(O/E)`` and its p-value, as ``chi_squared_test`` (Agresti 3.2.1)."""
    return _contingency_test(reference, current, _likelihood_ratio)


def fisher_test(reference: Counts, current: Counts) -> tuple[float, float]:
    """Sample odds ratio of a 2×2 table and Fisher's exact two-sided p-value, as ``scipy.stats.fisher_exact``.

    Counts of both cells on each side, shape ``(2,)``, no cell empty on both. Source: Fisher 1935.
    """
    from scipy.stats import fisher_exact

    ratio, p = fisher_exact(np.stack((reference, current)))
    return float(ratio), float(p)


def proportions_test(hits: int, n: int, current_hits: int, m: int) -> tuple[float, float | None]:
    """Absolute z of the difference of two shares with their pooled variance, and its two-sided p-value.

    No p-value where all or none are hits. Its square is Pearson's statistic of the 2×2 table.
    """
    pooled = (hits + current_hits) / (n + m)
    if pooled in (0, 1):
        return 0.0, None
    z = abs(current_hits / m - hits / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return z, math.erfc(z / math.sqrt(2))


def frozen_groups_p_value(reference: Counts, current: Counts, frozen: int) -> float | None:
    """p-value of a chi-squared test on cells of which the first ``frozen`` were cut from the reference itself.

    The statistic is ``Σ (q - p)² / (s (1/n + 1/m))`` with s the reference's share p in those cells and the pooled
    share in the others (and in those the reference left empty). What the reference counts in its own cells is no
    chance: with pooled shares the choice of cells and their variances would follow the current counts, and 20 % of
    windows would alarm at 5 % (50 rows in ten cells). Neighbours are merged until each is expected to hold 5 rows of
    the smaller sample; sparse cells that were not cut from the reference are judged as in ``chi_squared_test``. None
    where one cell is left.
    """
    cut = (np.arange(len(reference)) < frozen) & (reference > 0)
    expected = _frozen_shares(reference, current, cut) * min(reference.sum(), current.sum())
    rare = ~cut & (expected < 5)
    p = _runs_p_value(reference[~rare], current[~rare], cut[~rare])
    return _with_rare(p, (reference, current), rare)


def ks_p_value(statistic: float, n: int, m: int) -> float:
    """Two-sided p-value of the two-sample KS statistic, exact where both samples have at most 10,000 values.

    The exact value is the share of lattice paths that leave the band ``|i/n - j/m| < statistic`` (Hodges
    1958); beyond 10,000 it is scipy's ``kstwo`` at the effective size, as in ``scipy.stats.ks_2samp``, and so it is
    where the Dvoretzky–Kiefer–Wolfowitz–Massart bound puts a long computation below 1e-12. With ties the exact value
    is conservative. ``statistic`` must be one that samples of these sizes can have. Cost of the exact value:
    O(n · m · statistic), 20 ms at n = 10,000, m = 9,999 and a p-value of 0.04, at most some 80 ms; where n = m,
    and beyond 10,000, some 0.1 ms.
    """
    if statistic * math.sqrt(n * m / (n + m)) < _CERTAIN:
        return 1.0
    long = n * m * statistic > _EXACT_KS_WORK and _ks_p_value_bound(statistic, n, m) < _BEYOND_DOUBT
    if n == m <= EXACT_KS:
        return _ks_equal_sizes(round(statistic * n), n)
    if max(n, m) <= EXACT_KS and not long:
        return _ks_exact(statistic, n, m)
    size = round(n * m / (n + m))
    if size >= _LONG_SUM and size * statistic**2 >= _TAIL and statistic < 0.5:
        return min(1.0, 2 * _smirnov_tail(size, statistic))
    from scipy.stats import kstwo

    return float(kstwo.sf(statistic, size))


def dkw_margin(n: int, m: int, confidence: float = 0.95) -> float:
    """How far a two-sample KS statistic can lie from the population's, by the
    Dvoretzky–Kiefer–Wolfowitz–Massart inequality on both samples."""
    alpha = 1 - confidence
    return math.sqrt(math.log(4 / alpha) / (2 * n)) + math.sqrt(math.log(4 / alpha) / (2 * m))


def welch_test(mean_a: float, std_a: float, n: int, mean_b: float, std_b: float, m: int) -> tuple[float, float | None]:
    """Absolute Welch statistic and its two-sided p-value from means and sample standard deviations.

    There is no p-value where nothing varies (the statistic is then 0 or infinite), below two rows on a side, or
    beyond float64.
    """
    scale = max(std_a, std_b)  # squares of the bare deviations could leave float64
    if scale == 0 or min(n, m) < 2:
        return (0.0 if mean_a == mean_b else math.inf), None
    if not math.isfinite(scale):
        return math.nan, None
    from scipy.special import stdtr

    va, vb = (std_a / scale) ** 2 / n, (std_b / scale) ** 2 / m
    df = (va + vb) ** 2 / (va**2 / (n - 1) + vb**2 / (m - 1))
    statistic = abs(mean_a / scale - mean_b / scale) / math.sqrt(va + vb)
    return statistic, float(2 * stdtr(df, -statistic))


def adjust(p_values: list[float | None], correction: str) -> list[float | None]:
    """Adjusted p-values over the tests that have one: ``bh`` (Benjamini–Hochberg 1995), ``bonferroni`` or
    ``none``.

    Examples
    --------
    >>> adjust([0.01, None, 0.04], "bh")
    [0.02, None, 0.04]
    """
    at = [i for i, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[i] for i in at], np.float64)
    if correction == "bonferroni":
        p = np.minimum(p * len(p), 1.0)
    elif correction == "bh" and len(p):
        order = np.argsort(p)
        ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
        p[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    out: list[float | None] = [None] * len(p_values)
    for i, value in zip(at, p.tolist(), strict=True):
        out[i] = value
    return out


def _contingency_test(
    reference: Counts, current: Counts, statistic: Callable[[Floats], float]
) -> tuple[float, float | None]:
    held = reference + current > 0
    reference, current, sparse = pool_sparse(reference[held], current[held])
    table = np.stack((reference, current)).astype(np.float64)
    rare = np.arange(table.shape[1]) < int(sparse)
    p = _contingency_p_value(table[:, ~rare], statistic)
    value = 0.0 if table.shape[1] < 2 else statistic(table)
    return value, _with_rare(p, (reference, current), rare)


def _contingency_p_value(table: Floats, statistic: Callable[[Floats], float]) -> float | None:
    if table.shape[1] < 2 or table.sum(axis=1).min() == 0:
        return None
    return _chi2_sf(max(statistic(table), 0.0), table.shape[1] - 1)


def _pearson(table: Floats) -> float:
    expected = _expected(table)
    return float(((table - expected) ** 2 / expected).sum())


def _likelihood_ratio(table: Floats) -> float:
    expected = _expected(table)
    held = table > 0
    return float(2 * np.sum(table[held] * np.log(table[held] / expected[held])))


def _with_rare(p: float | None, sides: tuple[Counts, Counts], rare: npt.NDArray[np.bool_]) -> float | None:
    """The p-value of the ordinary cells together with the exact one of all rare rows against all others."""
    (r, n), (c, m) = ((int(side[rare].sum()), int(side.sum())) for side in sides)
    if r + c == 0 or r + c == n + m:
        return p
    from scipy.stats import hypergeom

    # Of r + c rare rows among n + m, how many fall into the current ones by chance.
    drawn = hypergeom(n + m, m, r + c)
    exact = min(1.0, 2 * float(min(drawn.cdf(c), drawn.sf(c - 1))))
    return exact if p is None else min(1.0, p / (1 - _RARE_PART), exact / _RARE_PART)


def _frozen_shares(reference: Counts, current: Counts, cut: npt.NDArray[np.bool_]) -> Floats:
    n, m = reference.sum(), current.sum()
    return np.asarray(np.where(cut, reference / n, (reference + current) / (n + m)), np.float64)


def _runs_p_value(reference: Counts, current: Counts, cut: npt.NDArray[np.bool_]) -> float | None:
    n, m = int(reference.sum()), int(current.sum())
    if min(n, m) == 0:
        return None
    share = _frozen_shares(reference, current, cut)
    starts = _runs(share * min(n, m), least=5.0)
    if len(starts) < 2:
        return None
    p, q, s = (np.add.reduceat(part, starts) for part in (reference / n, current / m, share))
    return _chi2_sf(float(np.sum((q - p) ** 2 / s)) / (1 / n + 1 / m), len(starts) - 1)


def _runs(expected: Floats, least: float) -> list[int]:
    """Where each run of neighbouring cells starts that together expect ``least``; a remainder joins the last run."""
    starts, filled = [0], 0.0
    for cell, rows in enumerate(expected.tolist()):
        if filled >= least:
            starts.append(cell)
            filled = 0.0
        filled += rows
    return starts[:-1] if filled < least and len(starts) > 1 else starts


def _expected(table: Floats) -> Floats:
    return np.asarray(table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum(), np.float64)


def _chi2_sf(statistic: float, df: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, statistic))


def _ks_p_value_bound(statistic: float, n: int, m: int) -> float:
    """What the p-value cannot exceed: one sample or the other must leave its own band."""
    return 4 * math.exp(-2 * statistic**2 * n * m / (math.sqrt(n) + math.sqrt(m)) ** 2)


def _ks_equal_sizes(reach: int, n: int) -> float:
    """Exact tail of D ≥ reach / n for two samples of n: ``2 Σ (-1)^(k-1) C(2n, n - k·reach) / C(2n, n)``.

    Source: Gnedenko and Korolyuk 1951, by reflecting lattice paths.
    """
    from scipy.special import gammaln

    if reach <= 1:
        return 1.0
    away = np.arange(1, n // reach + 1) * reach
    logs = 2 * gammaln(n + 1) - gammaln(n - away + 1) - gammaln(n + away + 1)
    signs = np.where(np.arange(len(away)) % 2, -1.0, 1.0)
    return float(min(1.0, max(0.0, 2 * np.sum(signs * np.exp(logs)))))


def _smirnov_tail(n: int, x: float) -> float:
    """Upper tail of the one-sided one-sample statistic: ``Σ C(n, j) x (x + j/n)^(j-1) (1 - x - j/n)^(n-j)``.

    The terms are a smooth function of j that vanishes with all its derivatives at both ends, so that every k-th of
    them, times k, gives the sum to rounding (trapezoidal rule). Source: Birnbaum and Tingey 1951; what
    ``scipy.special.smirnov`` sums in full, some 50 ms at n = 50,000.
    """
    from scipy.special import gammaln

    step = max(1, n // 4_000)
    j = np.arange(0, math.floor(n * (1 - x)), step)
    above = x + j / n
    logs = gammaln(n + 1) - gammaln(j + 1) - gammaln(n - j + 1)
    logs += (j - 1) * np.log(above) + (n - j) * np.log1p(-above)
    return float(step * x * np.sum(np.exp(logs)))


def _ks_exact(statistic: float, n: int, m: int) -> float:
    """scipy's exact tail, reached through its public test with a pair of samples that has this statistic."""
    from scipy.stats import ks_2samp

    divisor = math.gcd(n, m)
    n_step, m_step = n // divisor, m // divisor
    reach = round(statistic * n_step * m)
    if reach <= 1:  # the least that any two samples have
        return 1.0
    # The first sample is 0…n-1; each value of the second comes as late as the statistic allows.
    ahead = np.minimum(n, (reach + np.arange(m) * n_step) // m_step)
    return float(ks_2samp(np.arange(n), ahead - 0.5, method="exact").pvalue)
