"""Tails of the KS statistic that scipy sums term by term, against scipy."""

import numpy as np
import pytest
from scipy.special import smirnov
from scipy.stats import ks_2samp, kstwo

from driftwell.kernels.significance import ks_p_value


@pytest.mark.parametrize("n", [20_000, 100_000, 1_000_000])
@pytest.mark.parametrize("scaled", [2.2, 3.0, 10.0, 100.0, 300.0])
def test_long_tails_agree_with_the_full_sum(n: int, scaled: float) -> None:
    size = n // 2
    statistic = (scaled / size) ** 0.5
    assert ks_p_value(statistic, n, n) == pytest.approx(2 * smirnov(size, statistic), rel=1e-8)


def test_small_statistics_are_scipys() -> None:
    assert ks_p_value(0.003, 100_000, 60_000) == kstwo.sf(0.003, 37_500)


@pytest.mark.parametrize("n", [40, 100, 250])
def test_equal_sizes_agree_with_the_exact_test(n: int) -> None:
    for reach in {1, 2, 3, n // 50, n // 20, n // 10} - {0}:
        # n values against n values moved by ``reach`` places: the statistic is reach / n.
        found = ks_2samp(np.arange(n), np.arange(n) + reach - 0.5, method="exact")
        assert ks_p_value(found.statistic, n, n) == pytest.approx(found.pvalue, rel=1e-9), reach
