"""Weights k count as k repetitions of the row, and only the ratios of weights matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.profiles import Reference
from driftwell.profiles.states.numeric import NumericState

ROW = st.tuples(
    st.none() | st.integers(-(10**9), 10**9).map(lambda x: x / 1000) | st.sampled_from([0.0, 1.0, float("inf")]),
    st.none() | st.sampled_from("abc"),
    st.integers(0, 5),
)
WEIGHED = st.lists(ROW, min_size=1, max_size=60).filter(lambda rows: any(k for *_, k in rows))

KINDS = {"x": "numeric", "c": "categorical"}


def columns(rows: list[Any]) -> dict[str, list[Any]]:
    x, c, _ = zip(*rows, strict=True)
    return {"x": [float("nan") if v is None else v for v in x], "c": list(c)}


@settings(deadline=None)
@given(WEIGHED)
def test_weights_are_repetitions(rows: list[Any]) -> None:
    """Every value of so few has a bin of its own, so that both references have the same bins."""
    table, times = columns(rows), [k for *_, k in rows]
    weighted = Reference.from_data(table, kinds=KINDS, weights=times)
    repeated = Reference.from_data(columns([row for row in rows for _ in range(row[2])]), kinds=KINDS)
    for name, expected in repeated.profile.columns.items():
        found = weighted.profile.columns[name]
        assert np.array_equal(found.counts / 2**20, expected.counts)
        assert found.missing_share == expected.missing_share
        assert found.distinct == expected.distinct
        if not isinstance(found, NumericState) or not isinstance(expected, NumericState):
            continue
        assert (found.min, found.max, found.pos_inf / 2**20) == (expected.min, expected.max, expected.pos_inf)
        assert found.rank_error == expected.rank_error
        if expected.mean is None:
            assert found.mean is None
            continue
        scale = max(abs(expected.max or 0), abs(expected.min or 0))
        assert found.mean == pytest.approx(expected.mean, rel=1e-9, abs=1e-9 * scale)
        for q in (0.0, 0.1, 0.5, 0.99, 1.0):
            assert found.quantile(q) == pytest.approx(expected.quantile(q), rel=1e-9, abs=1e-9 * scale)
        if found.std is not None:  # values of more than one effective row
            assert spread(found) == pytest.approx(spread(expected), rel=1e-6, abs=1e-9 * scale)


def spread(state: NumericState) -> float:
    """The standard deviation without the n - 1, which of weights is that of the effective size."""
    row = 1 if state.weighting is None else state.weighting.per_row(state.units)
    return 0.0 if state.std is None else state.std * (1 - row / state.finite) ** 0.5


@settings(deadline=None)
@given(WEIGHED, st.integers(1, 1000))
def test_only_ratios_of_weights_matter(rows: list[Any], factor: int) -> None:
    """Whole weights times a whole number: the same bins, and the same rows when counted as effective ones."""
    table, times = columns(rows), np.array([k for *_, k in rows])
    once, more = (Reference.from_data(table, kinds=KINDS, weights=weights) for weights in (times, times * factor))
    assert once.edges_id == more.edges_id
    assert once.in_rows.profile.to_bytes() == more.in_rows.profile.to_bytes()
    for name, state in once.profile.columns.items():
        assert state.std == more.profile.columns[name].std
