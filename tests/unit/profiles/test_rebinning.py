"""Rows counted without a reference, counted in its bins from their grids: against the same rows counted directly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.errors import MergeError
from driftwell.profiles import Profile, Reference, profile
from driftwell.profiles.rebinning import rebin, rebin_profile
from driftwell.profiles.states.numeric import NumericState

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.4, 0.0, rng.exponential(size=n)),
    "far from zero": lambda rng, n: 1e6 + rng.normal(size=n),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
}


def both(reference: np.ndarray, rows: np.ndarray) -> tuple[NumericState, NumericState, Reference]:
    """The rows by way of their grid, and counted directly."""
    ref = Reference.from_data({"x": reference})
    state, direct = profile({"x": rows}).columns["x"], profile({"x": rows}, ref).columns["x"]
    assert isinstance(state, NumericState)
    assert isinstance(direct, NumericState)
    return rebin(state, direct.bins), direct, ref  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1e9, 1e9) | st.integers(-5, 5).map(float), min_size=1, max_size=40),
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5).map(float), max_size=60),
)
def test_few_values_are_counted_byte_for_byte_as_from_rows(reference: list[float], rows: list[float]) -> None:
    ref = Reference.from_data({"x": np.array(reference)})
    direct = profile({"x": np.array(rows, np.float64)}, ref)
    found, notes = rebin_profile(profile({"x": np.array(rows, np.float64)}), ref)
    assert found.to_bytes() == direct.to_bytes()
    assert notes == ()


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_differ_by_no_more_than_stated(shape: str) -> None:
    rng = np.random.default_rng(2)
    rows = SHAPES[shape](rng, 30_000)
    found, direct, _ = both(SHAPES[shape](rng, 20_000), rows + 0.1 * (rows - np.median(rows)))
    assert found.uncertain > 0
    assert found.counts.sum() == direct.counts.sum()
    assert np.abs(found.counts - direct.counts).sum() <= 2 * found.uncertain
    off = np.abs(np.cumsum(found.counts) - np.cumsum(direct.counts)).max()
    assert off <= found.uncertainty.at_edge
    # no row is further from where it is placed than moved says, so neither is the sum
    assert abs(found.total - direct.total) <= found.uncertainty.moved


@pytest.mark.parametrize("shape", ["normal", "lognormal", "zero-inflated", "far from zero"])
def test_mean_and_spread_stay_right(shape: str) -> None:
    rng = np.random.default_rng(3)
    found, direct, _ = both(SHAPES[shape](rng, 20_000), SHAPES[shape](rng, 30_000))
    assert found.mean == pytest.approx(direct.mean, rel=1e-9)
    assert found.std == pytest.approx(direct.std, rel=1e-9)
    assert (found.min, found.max, found.n_rows) == (direct.min, direct.max, direct.n_rows)


def test_values_frequent_in_the_reference_keep_their_bin() -> None:
    rng = np.random.default_rng(4)
    rows = SHAPES["zero-inflated"](rng, 40_000)
    found, _, ref = both(SHAPES["zero-inflated"](rng, 20_000), rows)
    at_zero = int(np.flatnonzero(ref.bins["x"].edges == 0.0)[0]) + 1  # type: ignore[union-attr]
    assert abs(int(found.counts[at_zero]) - int(np.count_nonzero(rows == 0))) <= found.uncertainty.at_edge


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.permutations(range(4)))
def test_rebinned_and_exact_states_merge_in_any_order(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    ref = Reference.from_data({"x": rng.normal(size=3_000)})
    parts: list[Profile] = [
        rebin_profile(profile({"x": rng.normal(size=4_000)}), ref)[0],
        profile({"x": rng.normal(size=50)}, ref),
        rebin_profile(profile({"x": rng.normal(size=2_000) * 1e3}), ref)[0],
        profile({"x": []}, ref),
    ]
    want = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    a, b, c, d = (parts[i] for i in order)
    assert a.merge(b.merge(c.merge(d))).to_bytes() == want.to_bytes()
    assert Profile.from_bytes(want.to_bytes()).to_bytes() == want.to_bytes()
    state = want.columns["x"]
    assert isinstance(state, NumericState)
    assert state.uncertain == sum(p.columns["x"].uncertain for p in parts)  # type: ignore[union-attr]


def test_whole_profile_says_what_is_open() -> None:
    rng = np.random.default_rng(5)
    table = {"x": rng.normal(size=5_000), "c": rng.choice(["a", "b", "new"], 5_000), "b": rng.random(5_000) < 0.5}
    ref = Reference.from_data({"x": rng.normal(size=2_000), "c": ["a", "b"] * 1_000, "b": [True, False] * 1_000,
                               "absent": [1.0, 2.0] * 1_000})  # fmt: skip
    found, notes = rebin_profile(profile(table), ref)
    direct = ref.profile_table(pa.table(table))
    assert (found.edges_id, found.n_rows, found.unread) == (ref.edges_id, 5_000, direct.unread)
    assert found.columns["c"].counts.tolist() == direct.columns["c"].counts.tolist()  # type: ignore[union-attr]
    assert found.columns["c"].newcomers == direct.columns["c"].newcomers  # type: ignore[union-attr]
    assert found.columns["b"].counts.tolist() == direct.columns["b"].counts.tolist()  # type: ignore[union-attr]
    assert len(notes) == 1
    assert notes[0].startswith("x: counted without the reference")


def test_what_cannot_be_counted_again_is_unread_with_its_reason() -> None:
    ref = Reference.from_data({"many": ["a", "b", "c"], "kind": [1.0, 2.0, 3.0]})
    rows = {"many": [f"n{i}" for i in range(300)], "kind": ["x", "y", "z"] * 100}
    found, _ = rebin_profile(profile(rows), ref)
    assert found.columns == {}
    assert "more than 256 categories" in found.unread["many"]
    assert "categorical column" in found.unread["kind"]


def test_profile_in_the_bins_of_another_reference_is_refused() -> None:
    ref, other = (Reference.from_data({"x": values}) for values in ([1.0, 2.0], [3.0, 4.0, 5.0]))
    with pytest.raises(MergeError, match="another reference"):
        rebin_profile(profile({"x": [1.0]}, other), ref)
    with pytest.raises(MergeError, match="grid"):
        rebin(profile({"x": [1.0]}, other).columns["x"], ref.bins["x"])  # type: ignore[arg-type]
