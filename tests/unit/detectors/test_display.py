"""What the charts draw: shares that add up to one, on edges that hold every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.detectors.display import ECDF_POINTS, MAX_LABELS, distribution
from driftwell.detectors.univariate import Pair
from driftwell.profiles import Reference

number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)


def drawn(before: Any, after: Any) -> dict[str, Any] | None:
    ref = Reference.from_data({"x": before})
    return distribution(Pair(ref.profile.columns["x"], ref.profile_of({"x": after}).columns["x"]))


@settings(deadline=None)
@given(st.lists(number, min_size=1, max_size=400), st.lists(number, min_size=1, max_size=60))
def test_shares_add_up_whatever_the_values(before: list[float], after: list[float]) -> None:
    found = drawn(np.array(before), np.array(after))
    assert found is not None
    for side in ("reference", "current"):
        assert min(found[side]) >= 0
        assert sum(found[side]) == pytest.approx(1.0)
    if found["type"] == "numeric":
        assert len(found["edges"]) == len(found["reference"]) + 1 == len(found["current"]) + 1
        assert np.all(np.array(found["edges"])[1:] > np.array(found["edges"])[:-1])
        assert found["edges"][0] <= min(*before, *after)
        assert found["edges"][-1] >= max(*before, *after)
        assert len(found["ecdf"]["x"]) <= ECDF_POINTS
        for side in ("reference", "current"):
            steps = np.diff(found["ecdf"][side])
            assert np.all(steps >= -1e-12)


def test_bars_are_close_to_a_histogram_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=20_000), rng.normal(0.5, 1.2, 10_000)
    found = drawn(before, after)
    assert found is not None
    for side, rows in (("reference", before), ("current", after)):
        want = np.histogram(rows, found["edges"])[0] / len(rows)
        assert np.abs(np.array(found[side]) - want).max() < 0.01
        # the last cell of the reference is long, so its inside is not known to the row
        at = np.array(found["ecdf"]["x"])
        assert np.allclose(found["ecdf"][side], np.searchsorted(np.sort(rows), at, "left") / len(rows), atol=1e-9)
    assert found["stats"]["current"]["mean"] == pytest.approx(after.mean())
    assert found["missing"] == {"reference": 0.0, "current": 0.0}


def test_few_numbers_are_labels() -> None:
    found = drawn([0.0, 1_000_001.0, 1_000_002.0, 2.5], [0.0, 0.0, 7.0, 2.5])
    assert found is not None
    assert found["type"] == "categorical"
    assert found["labels"] == ["0", "2.5", "1000001", "1000002", "(other)"]
    assert found["reference"] == [0.25, 0.25, 0.25, 0.25, 0.0]
    assert found["current"] == [0.5, 0.25, 0.0, 0.0, 0.25]


def test_many_categories_are_cut_to_the_largest() -> None:
    before = [f"c{i}" for i in range(50) for _ in range(50 - i)]
    found = drawn(before, ["new"] * 30 + before[:70])
    assert found is not None
    assert len(found["labels"]) == MAX_LABELS + 1
    assert found["labels"][0] == "c0"  # 50 of the 70 rows taken from the start
    assert found["labels"][1] == "new"
    assert found["labels"][-1] == "(other)"
    assert sum(found["reference"]) == pytest.approx(1.0)
    assert found["reference"][1] == 0.0


def test_missing_rows_are_beside_the_shares() -> None:
    found = drawn([1.0, None, 2.0, float("nan")], [1.0, 1.0, None])
    assert found is not None
    assert found["missing"] == {"reference": 0.5, "current": pytest.approx(1 / 3)}
    assert sum(found["current"]) == pytest.approx(1.0)
    text = drawn(["a", None], ["a", "b"])
    assert text is not None
    assert text["missing"] == {"reference": 0.5, "current": 0.0}


@pytest.mark.parametrize(
    ("before", "after"), [([1.0], [None]), ([None, None], [1.0]), (["a"], [None]), ([1.0], [float("inf")]), ([1.0], [])]
)
def test_side_without_values_is_not_drawn(before: list[Any], after: list[Any]) -> None:
    assert drawn(before, after) is None
