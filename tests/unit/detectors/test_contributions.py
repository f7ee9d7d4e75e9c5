"""The groups that moved most: shares and PSI terms by hand, and a sum that is the whole index."""

import math

import numpy as np
import pytest

import driftwell as dw


def test_terms_of_two_categories_by_hand() -> None:
    before = {"c": ["a"] * 500 + ["b"] * 500}
    after = {"c": ["a"] * 150 + ["b"] * 50}
    parts = {part.label: part for part in dw.compare(before, after).columns["c"].contributions}
    p, q = 500.5 / 1001, 150.5 / 201  # half a count is added to each of the two groups
    assert (parts["a"].reference, parts["a"].current) == (0.5, 0.75)
    assert parts["a"].psi == pytest.approx((q - p) * math.log(q / p), rel=1e-12)


def test_terms_of_numbers_add_up_to_the_index() -> None:
    rng = np.random.default_rng(1)
    found = dw.compare({"x": rng.normal(size=3000)}, {"x": rng.normal(0.7, 1, size=900)}).columns["x"]
    assert found.value == pytest.approx(sum(part.psi for part in found.contributions), rel=1e-12)
    assert [part.psi for part in found.contributions] == sorted((p.psi for p in found.contributions), reverse=True)
    assert found.contributions[0].label.endswith("or more")  # a shift upwards fills the last tenth most


def test_missing_rows_and_newcomers_are_named() -> None:
    before = {"x": np.arange(1000.0), "c": ["a", "b"] * 500}
    after = {"x": [None] * 300 + [5.0] * 300, "c": ["a", "z"] * 300}
    found = dw.compare(before, after).columns
    assert {part.label: part.current for part in found["x"].contributions}["missing"] == 0.5
    assert {part.label: part.current for part in found["c"].contributions}["(other)"] == 0.5


def test_groups_of_single_values_read_as_the_value() -> None:
    before, after = {"n": [0, 1, 2, 2] * 250}, {"n": [0, 0, 2, 7] * 100}
    parts = {part.label: part for part in dw.compare(before, after).columns["n"].contributions}
    assert (parts["0"].reference, parts["0"].current) == (0.25, 0.5)
    newcomers = parts["values the reference never had"]
    assert (newcomers.reference, newcomers.current) == (0.0, 0.25)


def test_an_empty_side_has_no_parts() -> None:
    found = dw.compare({"x": [1.0, 2.0]}, {"x": np.empty(0)}, min_samples=1).columns["x"]
    assert found.contributions == ()
