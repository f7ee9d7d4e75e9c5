"""Facets of series, against NumPy record by record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.profiles import Reference, profile
from driftwell.profiles.states.composite import CompositeState


def state(p: Any, name: str = "s") -> CompositeState:
    found = p.columns[name]
    assert isinstance(found, CompositeState)
    return found


def test_facets_are_those_of_each_record() -> None:
    rng = np.random.default_rng(0)
    records = [rng.normal(size=n).tolist() for n in (5, 1, 200, 17)]
    made = state(profile({"s": records}))
    parts = made.facets
    assert parts["elements"].count == 223
    assert parts["elements"].mean == pytest.approx(np.mean(np.concatenate(records)))
    assert (parts["length"].min, parts["length"].max, parts["length"].mean) == (1, 200, 223 / 4)
    assert parts["mean"].mean == pytest.approx(np.mean([np.mean(r) for r in records]))
    spreads = [np.std(r, ddof=1) for r in records if len(r) > 1]
    assert (parts["std"].count, parts["std"].missing) == (3, 1)
    assert parts["std"].mean == pytest.approx(np.mean(spreads))


def test_missing_and_empty_records_are_told_apart() -> None:
    made = state(profile({"s": pa.array([[1.0, 3.0], [], None], pa.list_(pa.float64()))}))
    assert (made.count, made.missing, made.n_rows) == (2, 1, 3)
    length, mean = made.facets["length"], made.facets["mean"]
    assert (length.count, length.missing, length.min) == (2, 1, 0)
    assert (mean.count, mean.missing, mean.mean) == (1, 2, 2.0)


def test_elements_that_are_no_numbers_are_counted_and_left_out_of_the_moments() -> None:
    made = state(profile({"s": pa.array([[1.0, None, float("nan"), 3.0, float("inf")]], pa.list_(pa.float64()))}))
    elements = made.facets["elements"]
    assert (elements.count, elements.missing) == (3, 1)
    assert made.facets["mean"].mean == 2.0
    assert made.facets["std"].mean == pytest.approx(np.sqrt(2))


def test_elements_count_as_records() -> None:
    made = state(profile({"s": [[1.0] * 50, [2.0] * 150]}))
    assert made.records_per_count("elements") == 2 / 200
    assert made.records_per_count("mean") == 1.0


def test_slices_and_chunks_are_read_right() -> None:
    whole = pa.chunked_array([[[9.0]], [[1.0, 2.0], None], [[3.0], [9.0]]])
    made = state(profile(pa.table({"s": whole}).slice(1, 3)))
    assert (made.count, made.missing, made.facets["elements"].sum) == (2, 1, 6.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("elements", [pa.int64(), pa.float32(), pa.uint8()])
def test_elements_may_be_of_any_number_type(elements: pa.DataType) -> None:
    column = pa.array([[1, 2], [3]], pa.list_(elements))
    assert state(profile({"s": column})).facets["elements"].mean == 2.0


def test_numbers_where_lists_were_are_that_columns_error() -> None:
    ref = Reference.from_data({"s": [[1.0, 2.0], [3.0]], "x": [1.0, 2.0]})
    assert ref.kinds == {"s": "series", "x": "numeric"}
    p = profile({"s": [1.0, 2.0], "x": [[1.0], [2.0]]}, ref)
    assert p.unread == {
        "s": "numbers where series values were expected: the type of the column changed",
        "x": "lists where numeric values were expected: the type of the column changed",
    }


def test_prediction_may_be_a_series() -> None:
    table = {"x": [1.0, 2.0, 3.0], "prediction": [[1.0, 2.0], [3.0], [4.0]]}
    ref = Reference.from_data(table)
    assert ref.output_kinds == {"prediction": "series"}
    assert isinstance(profile(table, ref).outputs["prediction"], CompositeState)


def test_equal_and_huge_elements_do_no_harm() -> None:
    same = state(Reference.from_data({"s": [[7.0] * 5] * 30}).profile)
    assert (same.facets["std"].max, same.facets["elements"].std) == (0.0, 0.0)
    made = state(profile({"s": [[1.7e308, 1.7e308], [-1.7e308, 1.7e308]]}))
    assert made.facets["mean"].count == 2
