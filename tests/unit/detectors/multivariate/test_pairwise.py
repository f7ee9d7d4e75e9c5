"""MMD and energy distance against their definitions written out pair by pair, scipy and scikit-learn."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from scipy.stats import energy_distance
from sklearn.metrics.pairwise import rbf_kernel

from driftwell.detectors.multivariate import energy_test, mmd_test
from driftwell.errors import BadInput, InsufficientData
from driftwell.kernels import kernel_tests


def written_out_mmd(x: np.ndarray, y: np.ndarray, bandwidth: float) -> tuple[float, float]:
    """Gretton et al. 2012, equation 3 (unbiased) and 5 (biased), one pair at a time."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / (2 * bandwidth**2))

    n, m = len(x), len(y)
    xx = [k(x[i], x[j]) for i in range(n) for j in range(n) if i != j]
    yy = [k(y[i], y[j]) for i in range(m) for j in range(m) if i != j]
    xy = [k(a, b) for a in x for b in y]
    unbiased = sum(xx) / (n * (n - 1)) + sum(yy) / (m * (m - 1)) - 2 * sum(xy) / (n * m)
    biased = (sum(xx) + n) / n**2 + (sum(yy) + m) / m**2 - 2 * sum(xy) / (n * m)
    return unbiased, biased


def samples(n: int, m: int, width: int, shift: float = 0.3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(shift, 1.2, size=(m, width))


@pytest.mark.parametrize(("n", "m", "width"), [(2, 2, 1), (17, 30, 1), (40, 25, 3)])
@pytest.mark.parametrize("bandwidth", [0.3, 1.7])
def test_mmd_is_the_written_out_sum(n: int, m: int, width: int, bandwidth: float) -> None:
    x, y = samples(n, m, width)
    found = mmd_test(x, y, bandwidth=bandwidth, n_permutations=3)
    unbiased, biased = written_out_mmd(x, y, bandwidth)
    assert found.statistic == pytest.approx(unbiased, abs=1e-13)
    assert found.biased == pytest.approx(biased, abs=1e-13)
    assert (found.bandwidth, found.n_reference, found.n_current, found.n_columns) == (bandwidth, n, m, width)


@pytest.mark.parametrize(("n", "m"), [(300, 400), (1100, 600)])
def test_mmd_over_many_tiles_equals_sklearn_kernels(n: int, m: int) -> None:
    x, y = samples(n, m, 6)
    found = mmd_test(x, y, n_permutations=2)
    gamma = 1 / (2 * found.bandwidth**2)
    xx, yy, xy = rbf_kernel(x, x, gamma), rbf_kernel(y, y, gamma), rbf_kernel(x, y, gamma)
    unbiased = (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()
    assert found.statistic == pytest.approx(unbiased, abs=1e-12)
    assert found.biased == pytest.approx(xx.mean() + yy.mean() - 2 * xy.mean(), abs=1e-12)


def test_every_relabelling_is_the_statistic_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_tests, "TILE", 16)
    rows = np.random.default_rng(3).normal(size=(50, 2))
    labels = kernel_tests.relabellings(20, 30, 7, np.random.default_rng(5))
    means = kernel_tests.pair_means(kernel_tests.gaussian_kernel(rows, 0.9), labels)
    for b in range(8):
        unbiased, _ = written_out_mmd(rows[labels[:, b]], rows[~labels[:, b]], 0.9)
        assert means.reference[b] + means.current[b] - 2 * means.across[b] == pytest.approx(unbiased, abs=1e-13)


def test_p_value_counts_relabellings_that_reach_the_statistic() -> None:
    x, y = samples(6, 7, 2, shift=0.8)
    labels = kernel_tests.relabellings(6, 7, 50, np.random.default_rng(9))
    pooled = np.concatenate([x, y])
    by_hand = [written_out_mmd(pooled[labels[:, b]], pooled[~labels[:, b]], 1.0)[0] for b in range(51)]
    reached = sum(value >= by_hand[0] - 1e-12 for value in by_hand[1:])
    # With a given bandwidth nothing else is drawn before the relabellings.
    assert mmd_test(x, y, 50, bandwidth=1.0, seed=9).p_value == pytest.approx((reached + 1) / 51)


def test_p_value_of_few_rows_matches_all_splits() -> None:
    x, y = [0.0, 0.4, 1.1, 2.0], [3.0, 3.5, 5.0]
    pooled = np.array(x + y)[:, None]
    observed, _ = written_out_mmd(pooled[:4], pooled[4:], 1.0)
    chosen = [list(c) for c in itertools.combinations(range(7), 4)]
    values = [written_out_mmd(pooled[c], np.delete(pooled, c, axis=0), 1.0)[0] for c in chosen]
    exact = np.mean(np.array(values) >= observed - 1e-12)  # 1 of 35 splits
    found = mmd_test(x, y, 20_000, bandwidth=1.0).p_value
    assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000)


def test_default_bandwidth_is_the_published_check_value() -> None:
    # alibi-detect's rule on np.random.seed(0); randn(100, 5) gives 2.09707; it takes the lower of two middle values.
    rows = np.random.RandomState(0).randn(100, 5)
    assert mmd_test(rows[:50], rows[50:], 1).bandwidth == pytest.approx(2.09707, abs=2e-4)


def test_default_bandwidth_of_hand_computed_rows() -> None:
    # Squared distances of 0, 1, 3, 7: 1, 9, 49, 4, 36, 16; the median is 12.5.
    assert mmd_test([0.0, 1.0], [3.0, 7.0], 1).bandwidth == pytest.approx(2.5)


def test_bandwidth_survives_mostly_equal_rows() -> None:
    x = [0.0] * 50 + [2.0]
    assert mmd_test(x, x, 1).bandwidth == pytest.approx(math.sqrt(2.0))  # root of half of the only distance, squared
    same = mmd_test([3.0] * 20, [3.0] * 30)
    assert (same.statistic, same.biased, same.p_value, same.bandwidth) == (0.0, 0.0, 1.0, 1.0)


def test_one_row_far_off_leaves_the_bandwidth_and_the_test_alone() -> None:
    x, y = samples(200, 200, 3, shift=0.8)
    plain = mmd_test(x, y)
    x[0] = 1e9
    found = mmd_test(x, y)
    assert found.bandwidth == pytest.approx(plain.bandwidth, rel=0.02)
    assert plain.p_value == found.p_value == 1 / 101


def test_equal_rows_far_off_do_not_swamp_the_kernel() -> None:
    # A kernel lies in 0…1, so MMD² in -2…2; rounding of squares near 1e18 leaves exponents of thousands.
    rng = np.random.default_rng(0)
    far = 1e9 * rng.normal(size=(4, 33))
    x, y = far[rng.integers(0, 4, 60)], far[rng.integers(0, 4, 60)]
    found = mmd_test(x, y, bandwidth=1.0)
    assert 0 <= found.biased <= 2
    assert -2 <= found.statistic <= 2


@pytest.mark.parametrize(("n", "m"), [(2, 3), (100, 70), (900, 1300)])
def test_energy_in_one_column_is_scipys(n: int, m: int) -> None:
    x, y = samples(n, m, 1)
    found = energy_test(x, y, n_permutations=1).statistic
    assert found == pytest.approx(energy_distance(x[:, 0], y[:, 0]), rel=1e-10)


def test_energy_is_the_written_out_sum() -> None:
    x, y = samples(20, 35, 4)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([[math.dist(p, q) for q in b] for p in a]))

    expected = math.sqrt(2 * mean(x, y) - mean(x, x) - mean(y, y))
    assert energy_test(x, y, 1).statistic == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("test", [mmd_test, energy_test])
def test_same_seed_same_result(test) -> None:
    x, y = samples(20, 25, 3, shift=0.0)
    assert test(x, y, seed=4) == test(x, y, seed=4)
    assert len({test(x, y, seed=seed).p_value for seed in range(6)}) > 1


@pytest.mark.parametrize("test", [mmd_test, energy_test])
@pytest.mark.parametrize("change", ["mean", "spread", "dependence"])
def test_finds_named_changes(test, change: str) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    if change == "mean":
        y += [0.4, 0]
    elif change == "spread":
        y *= 1.5
    else:
        y[:, 1] = 0.9 * y[:, 0] + math.sqrt(1 - 0.81) * y[:, 1]
    assert test(x, y).p_value <= 0.02


@pytest.mark.parametrize("test", [mmd_test, energy_test])
@pytest.mark.parametrize("factor", [1e-200, 1e-3, 1e200])
def test_p_value_does_not_depend_on_the_unit(test, factor: float) -> None:
    x, y = samples(60, 60, 2)
    assert test(x * factor, y * factor).p_value == test(x, y).p_value


def test_values_near_the_largest_float_stay_finite() -> None:
    found = mmd_test([1.7e308, -1.7e308, 0.0], [1.7e308, 1.0, 1.0], bandwidth=1e308)
    expected, _ = written_out_mmd(np.array([[1.7], [-1.7], [0]]), np.array([[1.7], [0], [0]]), 1.0)
    assert found.statistic == pytest.approx(expected)
    assert math.isfinite(energy_test([1.7e308, -1.7e308], [1.0, 2.0]).statistic)


@pytest.mark.parametrize("offset", [1e6, -1e9])
def test_distance_from_zero_costs_no_digits(offset: float) -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(5.0, 65.0).reshape(30, 2)
    assert energy_test(x + offset, y + offset, 1).statistic == pytest.approx(energy_test(x, y, 1).statistic, rel=1e-12)
    near, far = mmd_test(x, y, 1), mmd_test(x + offset, y + offset, 1)
    assert far.statistic == pytest.approx(near.statistic, abs=1e-13)


@pytest.mark.parametrize(
    "options",
    [{"n_permutations": 0}, {"n_permutations": 1.5}, {"bandwidth": 0}, {"bandwidth": math.nan}, {"bandwidth": "wide"},
     {"bandwidth": True}, {"seed": -1}, {"seed": None}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(BadInput, match=next(iter(options))):
        mmd_test([1.0, 2.0], [1.0, 2.0], **options)


@pytest.mark.parametrize("test", [mmd_test, energy_test])
def test_one_row_is_too_few(test) -> None:
    with pytest.raises(InsufficientData, match="the current sample has 1 rows, at least 2"):
        test([1.0, 2.0], [1.0])


def test_result_is_plain_json() -> None:
    found = mmd_test([1.0, 2.0], [1.0, 3.0]).to_dict()
    assert found["method"] == "mmd"
    assert set(found) >= {"statistic", "biased", "p_value", "bandwidth", "n_reference", "n_current", "notes"}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak memory from Linux's /proc")
def test_forty_thousand_rows_fit_in_two_gigabytes() -> None:
    code = """
        import re
        import numpy as np
        from driftwell.detectors.multivariate import mmd_test
        rng = np.random.default_rng(0)
        found = mmd_test(rng.normal(size=(20_000, 32)), rng.normal(size=(20_000, 32)))
        assert found.n_current == 20_000
        print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads that wait for busy cores take several times as long
    )
    # VmHWM, not ru_maxrss: Linux hands the parent's peak on to a child, and here the parent is the whole test run
    assert int(run.stdout) < 600_000  # kB; the bound promised is 2 GB; the kernel matrix alone would be 12.8 GB
