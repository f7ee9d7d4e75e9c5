"""The adaptive dyadic grid: its cells, its smallest shift by the definition, and the ranks read off it."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import driftwell.profiles.states.grid as grid_module
from driftwell.frame import NumericColumn
from driftwell.profiles.states.grid import MAX_CELLS, NO_VALUES, Grid, build_grid, keys_of, values_of
from driftwell.profiles.states.numeric import PLAIN_BINS, NumericState, build_numeric

MOST = 1.7976931348623157e308
nasty = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 0.0, 5e-324, -5e-324, 2.2250738585072014e-308, MOST, -MOST, 1.0, math.nextafter(1.0, 2.0)]),
    st.integers(-20, 20).map(float),
    st.integers(0, 2**40).map(lambda i: 1e9 + i * 2.0**-20),
)


def grid_of(values: list[float]) -> Grid:
    return build_grid(np.sort(np.array(values, np.float64)))


def told(grid: Grid) -> tuple[int, list[int], list[int]]:
    return grid.shift, grid.cells.tolist(), grid.counts.tolist()


def plain(values: object) -> NumericState:
    return build_numeric(NumericColumn("x", np.asarray(values, np.float64)), PLAIN_BINS)


def key_by_hand(value: float) -> int:
    """Sign and magnitude of the bits (IEEE 754, section 3.4): magnitudes order like the values they stand for."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return -(bits - 2**63) if bits >= 2**63 else bits


def cell_by_hand(key: int, shift: int) -> int:
    """Zero alone, the others by their leading bits."""
    return (key > 0) + ((key - (key > 0)) >> shift)


@given(st.lists(nasty, min_size=1, max_size=50))
def test_keys_order_like_values_and_come_back(values: list[float]) -> None:
    keys = keys_of(np.array(values))
    assert keys.tolist() == [key_by_hand(v) for v in values]
    assert values_of(keys).tolist() == values
    order = np.argsort(keys, kind="stable")
    assert np.all(np.diff(np.array(values)[order] / 4) >= 0)


@pytest.mark.parametrize("most", [3, 4, 7, MAX_CELLS])
@settings(deadline=None)
@given(values=st.lists(nasty, max_size=60))
def test_shift_is_the_smallest_that_leaves_few_cells(most: int, values: list[float]) -> None:
    """Against the definition, tried shift by shift in whole numbers of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "MAX_CELLS", most)
        patch.setattr(grid_module, "_MOST_SHIFT", 64)
        found = grid_of(values)
    keys = sorted(key_by_hand(v) for v in values)
    shift = next(s for s in range(64) if len({cell_by_hand(k, s) for k in keys}) <= most)
    cells = [cell_by_hand(k, shift) for k in keys]
    assert told(found) == (shift, sorted(set(cells)), [cells.count(c) for c in sorted(set(cells))])
    for low, high, cell in zip(*found.bounds, found.cells.tolist(), strict=True):
        assert [cell_by_hand(key_by_hand(end), shift) for end in (float(low), float(high))] == [cell, cell]


@settings(deadline=None)
@given(values=st.lists(nasty, max_size=60), data=st.data())
def test_any_split_merged_in_any_order_is_the_whole(values: list[float], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "MAX_CELLS", data.draw(st.sampled_from([3, 5, 16])))
        patch.setattr(grid_module, "_MOST_SHIFT", 64)
        whole = told(grid_of(values))
        shuffled = data.draw(st.permutations(values))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
        parts = [grid_of(shuffled[i:j]) for i, j in zip([0, *cuts], [*cuts, len(values)], strict=True)]
        while len(parts) > 1:  # any tree of merges
            one, other = (parts.pop(data.draw(st.integers(0, len(parts) - 1))) for _ in range(2))
            parts.append(one.merge(other))
        assert told(parts[0]) == whole
        assert told(parts[0].merge(NO_VALUES)) == told(NO_VALUES.merge(parts[0])) == whole


def test_every_float_finds_a_cell_within_the_cap() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64)
    found = build_grid(np.sort(bits[np.isfinite(bits)]))
    assert len(found.cells) <= MAX_CELLS
    assert found.counts.sum() == np.isfinite(bits).sum()
    low, high = found.bounds
    assert np.all(np.isfinite(low))
    assert np.all(np.isfinite(high))
    assert np.all(low <= high)


def test_grid_is_lossless_up_to_the_cap_of_distinct_values() -> None:
    values = np.repeat(np.arange(MAX_CELLS) / 3, 2)
    state = plain(values)
    assert (state.distinct, state.rank_error) == (MAX_CELLS, 0.0)
    for q in (0.0, 0.1, 0.5, 0.999, 1.0):
        assert state.quantile(q) == np.quantile(values, q, method="inverted_cdf")
    state = plain(np.append(values, -1.0))
    assert state.distinct is None
    assert state.rank_error is not None
    assert state.rank_error > 0


SHAPES = {
    "normal": lambda rng: rng.normal(size=50_000),
    "far from zero": lambda rng: 1_000 + rng.normal(size=50_000),
    "lognormal": lambda rng: rng.lognormal(0, 2, 50_000),
    "zero-inflated": lambda rng: np.where(rng.random(50_000) < 0.7, 0.0, rng.exponential(size=50_000)),
    "seconds": lambda rng: 1.7e9 + rng.random(50_000) * 86_400,
    "cauchy": lambda rng: rng.standard_cauchy(50_000),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ranks_of_quantiles_lie_within_the_certified_error(shape: str) -> None:
    values = np.sort(SHAPES[shape](np.random.default_rng(1)))
    state = plain(values)
    assert state.rank_error is not None
    assert state.rank_error < 0.04
    for q in np.linspace(0, 1, 41):
        found = state.quantile(float(q))
        assert found is not None
        below, up_to = np.searchsorted(values, found, "left"), np.searchsorted(values, found, "right")
        assert below / len(values) <= q + state.rank_error + 1e-12
        assert up_to / len(values) >= q - state.rank_error - 1e-12
    assert (state.quantile(0.0), state.quantile(1.0)) == (values[0], values[-1])


def test_nan_and_infinities_stay_out_of_the_grid() -> None:
    state = plain([math.nan, math.inf, -math.inf, 1.0, -0.0, 0.0])
    assert state.grid is not None
    assert state.grid.bounds[0].tolist() == [0.0, 1.0]
    assert state.grid.counts.tolist() == [2, 1]


def test_no_values_have_no_quantiles() -> None:
    state = plain([])
    assert (state.quantile(0.5), state.rank_error, state.distinct) == (None, None, 0)
