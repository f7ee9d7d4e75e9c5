"""Random features against the exact kernel, bins by their laws, the portfolio by its named changes."""

from __future__ import annotations

import numpy as np
import pytest

from driftwell.detectors.multivariate import mmd_test, portfolio_test, random_feature_test
from driftwell.errors import BadInput, InsufficientData
from driftwell.kernels.row_bins import MOST_BINS, assign_bins, bin_means, bin_shares, group_means, min_p, rank_p_values

COMPONENTS = {"per_column", "hotelling", *(f"{k}_{w}" for k in ("kernel", "whitened") for w in ("0.5", "1", "2"))}


@pytest.mark.parametrize(("n", "m"), [(50, 70), (1000, 640), (10_000, 300), (300_000, 130)])
def test_bins_are_equal_disjoint_and_on_their_side(n: int, m: int) -> None:
    bins = assign_bins(n, m, np.random.default_rng(0))
    reference, current = bins.rows[: bins.n_reference], bins.rows[bins.n_reference :]
    assert len(np.unique(bins.rows)) == bins.rows.size
    assert 0 <= reference.min() <= reference.max() < n <= current.min() <= current.max() < n + m
    size = bins.rows.shape[1]
    assert bins.n_reference == min(n // size, MOST_BINS)
    assert min(bins.n_reference, bins.n_current) >= min(64, n, m)
    assert m - current.size < size  # the smaller sample loses less than one bin


def test_bins_of_few_rows_are_the_rows() -> None:
    assert sorted(assign_bins(5, 9, np.random.default_rng(0)).rows.ravel()) == list(range(14))


def test_means_of_bins_and_groups_are_means_of_their_rows() -> None:
    rng = np.random.default_rng(1)
    rows, bins = rng.normal(size=(10_000, 2)), assign_bins(6000, 4000, rng)
    means = bin_means(rows, bins, lambda part: part**2)
    assert means == pytest.approx((rows[bins.rows] ** 2).mean(axis=1))
    labels = rng.permuted(np.repeat([[True], [False]], [bins.n_reference, bins.n_current], axis=0), axis=0)
    reference, current = group_means(means, labels)
    assert reference[:, 0] == pytest.approx(means[labels[:, 0]].mean(axis=0))
    assert current[:, 0] == pytest.approx(means[~labels[:, 0]].mean(axis=0))


def test_rank_p_values_and_their_smallest_by_hand() -> None:
    ranked = rank_p_values(np.array([[3.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]]))
    assert ranked.tolist() == [[0.5, 1.0, 0.75, 0.5], [1.0] * 4]
    assert min_p(ranked) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_random_features_approach_the_exact_mmd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(640, 3)), rng.normal(0.4, 1.2, size=(1280, 3))  # whole bins: every row enters
    exact = mmd_test(x, y, 1, bandwidth=1.5)
    found = random_feature_test(x, y, 20_000, 9, bandwidth=1.5, seed=seed)
    assert found.n_used == (640, 1280)
    assert found.biased == pytest.approx(exact.biased, rel=0.05)
    assert found.statistic == pytest.approx(exact.statistic, rel=0.05)


def test_random_features_count_what_they_used() -> None:
    rng = np.random.default_rng(0)
    found = random_feature_test(rng.normal(size=(10_000, 2)), rng.normal(size=(200, 2)), n_permutations=19)
    assert (found.n_reference, found.n_current) == (10_000, 200)
    assert (found.n_bins, found.n_used) == ((1024, 66), (3072, 198))


@pytest.mark.parametrize("bandwidth", [1.0, 1e-300, 1e300])
def test_rows_and_bandwidths_far_off_leave_random_features_finite(bandwidth: float) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    x[0], y[0] = 1e200, -1e200
    found = random_feature_test(x, y, bandwidth=bandwidth)
    assert np.isfinite(found.statistic)
    assert found.p_value > 0.01


def test_shares_of_bins_are_written_out_shares() -> None:
    rng = np.random.default_rng(4)
    values, bins, cuts = rng.normal(size=700), assign_bins(400, 300, rng), np.array([-1.0, 0.0, 0.5])
    expected = [[np.mean(values[rows] <= cut) for cut in cuts] for rows in bins.rows]
    assert bin_shares(values, cuts, bins) == pytest.approx(np.array(expected))


def test_random_features_find_a_faint_shift_in_many_rows() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(30_000, 4)), rng.normal(0.06, 1, size=(30_000, 4))
    assert random_feature_test(x, y).p_value <= 0.005


@pytest.mark.parametrize("change", ["one mean", "all means", "one spread", "one dependence", "categories", "missing"])
def test_portfolio_finds_named_changes(change: str) -> None:
    rng = np.random.default_rng(6)

    def table(n: int, name: str = "") -> dict[str, object]:
        numbers = rng.normal(size=(n, 6))
        if name == "one mean":
            numbers[:, 2] += 0.35
        elif name == "all means":
            numbers += 0.2
        elif name == "one spread":
            numbers[:, 2] *= 1.6
        elif name == "one dependence":
            numbers[:, 2] = 0.6 * numbers[:, 1] + 0.8 * numbers[:, 2]
        elif name == "missing":
            numbers[rng.random(n) < 0.05, 2] = np.nan
        share = 0.5 if name == "categories" else 0.3
        return {f"f{i}": numbers[:, i] for i in range(6)} | {"c": np.where(rng.random(n) < share, "u", "v")}

    found = portfolio_test(table(800), table(800, change))
    assert found.p_value <= 0.01
    assert set(found.components) == COMPONENTS
    assert found.statistic == min(found.components.values()) == found.components[found.strongest]
    if change not in ("all means", "one dependence"):
        assert next(iter(found.columns)) == ("c" if change == "categories" else "f2")
        assert next(iter(found.columns.values())) <= 0.01


def test_portfolio_whitening_sees_what_each_column_hides() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(1000, 8)), rng.normal(size=(1000, 8))
    y[:, 1] = 0.5 * y[:, 0] + np.sqrt(0.75) * y[:, 1]
    found = portfolio_test(x, y)
    assert found.p_value <= 0.01
    assert found.strongest.startswith(("whitened", "kernel"))
    assert found.components["per_column"] > 0.01


def test_portfolio_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    scale = np.array([1024.0, 2.0**-20, 1.0])
    assert portfolio_test(x * scale, y * scale).p_value == portfolio_test(x, y).p_value


@pytest.mark.parametrize("test", [random_feature_test, portfolio_test])
def test_seeds_decide_the_result(test) -> None:
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(150, 3)), rng.normal(size=(200, 3))
    assert test(x, y, seed=1) == test(x, y, seed=1)
    assert len({test(x, y, seed=seed).p_value for seed in range(4)}) > 1


@pytest.mark.parametrize("test", [random_feature_test, portfolio_test])
def test_more_columns_than_rows_and_equal_rows_are_no_drift(test) -> None:
    rng = np.random.default_rng(11)
    assert test(rng.normal(size=(9, 40)), rng.normal(size=(8, 40))).p_value > 0.01
    assert test([3.0] * 20, [3.0] * 30).p_value == 1.0


@pytest.mark.parametrize("test", [random_feature_test, portfolio_test])
def test_options_and_sizes_are_checked(test) -> None:
    with pytest.raises(BadInput, match="n_features must be even"):
        test([1.0, 2.0], [1.0, 2.0], n_features=7)
    with pytest.raises(BadInput, match="n_permutations"):
        test([1.0, 2.0], [1.0, 2.0], n_permutations=0)
    with pytest.raises(InsufficientData):
        test([1.0], [1.0, 2.0])
