"""The definitions of other monitors against what those monitors answer themselves (data/peers.json says which versions,
when and on what) and against scipy."""

from __future__ import annotations

import importlib.util
import json
import math
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

import driftwell as dw
from driftwell.detectors.conventions import CONVENTIONS
from driftwell.detectors.univariate import METHODS, Pair
from driftwell.errors import BadInput, InsufficientData, UnknownName
from driftwell.profiles import Reference

HERE = Path(__file__).parent
INPUTS = HERE.parents[2] / "benchmarks" / "peers" / "inputs.py"
PEERS = json.loads((HERE / "data" / "peers.json").read_text(encoding="utf-8"))
RECIPES = {"frouros.mmd"}  # what has a recipe in the documentation instead of a method

RNG = np.random.default_rng(21)
BEFORE, AFTER = RNG.normal(3, 2, 700), RNG.normal(3.3, 2.2, 400)


@cache
def inputs() -> ModuleType:
    """The columns the peers were given."""
    spec = importlib.util.spec_from_file_location("peer_inputs", INPUTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def given(column: str) -> dw.DriftResult:
    kind, before, after = inputs().columns()[column]
    read_as = float if kind == "numeric" else str
    return compared(before.astype(read_as), after.astype(read_as))


def compared(before: Any, after: Any) -> dw.DriftResult:
    return dw.compare({"x": before}, {"x": after}, min_samples=1)


def tolerance(method: str) -> float:
    known = PEERS["tolerance"]
    return float(known.get(method, known.get(method.partition(".")[0], known["default"])))


def cases(part: str) -> list[Any]:
    return [
        pytest.param(method, column, value, id=f"{method}-{column}")
        for method, columns in PEERS[part].items()
        for column, value in columns.items()
        if method not in RECIPES
    ]


@pytest.mark.parametrize(("method", "column", "value"), cases("values"))
def test_value_is_the_peers(method: str, column: str, value: float) -> None:
    measure = given(column).metric("x", method)
    found = measure.value if measure.statistic is None else measure.statistic
    assert found == pytest.approx(value, rel=tolerance(method), abs=1e-37)


@pytest.mark.parametrize(("method", "column", "value"), cases("p_values"))
def test_p_value_is_the_peers(method: str, column: str, value: float) -> None:
    found = given(column).metric("x", method).p_value
    assert found == pytest.approx(value, rel=tolerance(method), abs=1e-37)  # float32 ends at 1e-38


def test_every_convention_of_a_peer_was_compared() -> None:
    not_compared = {"evidently.total_variation"}  # Evidently shows a p-value drawn at random and not the distance
    peers = {name for name in CONVENTIONS if not name.startswith("scipy.")}
    assert peers - set(PEERS["values"]) - set(PEERS["p_values"]) == not_compared
    assert set(PEERS["tools"]) == {"evidently", "nannyml", "alibi-detect", "frouros"}


@pytest.mark.parametrize("method", PEERS["thresholds"])
def test_recipe_of_nannymls_threshold(method: str) -> None:
    """Mean and three standard deviations over chunks of the reference, here three chunks of the window's size."""
    _, before, after = inputs().columns()["normal"]
    chunks = before.reshape(-1, len(after))
    own = [compared(before, chunk).metric("x", method).value for chunk in chunks]
    assert np.mean(own) + 3 * np.std(own) == pytest.approx(PEERS["thresholds"][method]["normal"], rel=1e-9)


def test_recipe_of_frouros_mmd() -> None:
    found = dw.mmd_test(*inputs().rows(), bandwidth=1.0)
    assert found.statistic == pytest.approx(PEERS["values"]["frouros.mmd"]["rows"], rel=1e-9)


# -- scipy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ks_2samp", "cramervonmises_2samp", "mannwhitneyu", "ttest_ind"])
def test_tests_of_rows_are_scipys(name: str) -> None:
    want = getattr(stats, name)(BEFORE, AFTER)
    found = compared(BEFORE, AFTER).metric("x", f"scipy.{name}")
    assert found.statistic == pytest.approx(want.statistic, rel=1e-9)
    assert found.value == pytest.approx(abs(want.statistic), rel=1e-9)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-9)


@pytest.mark.parametrize("name", ["wasserstein_distance", "energy_distance"])
def test_distances_of_rows_are_scipys(name: str) -> None:
    found = compared(BEFORE, AFTER).metric("x", f"scipy.{name}")
    assert found.value == pytest.approx(getattr(stats, name)(BEFORE, AFTER), rel=1e-9)
    assert found.p_value is None


def test_tests_of_categories_are_scipys() -> None:
    before, after = ["a"] * 30 + ["b"] * 70, ["a"] * 30 + ["b"] * 30
    found = compared(before, after)
    want = stats.chi2_contingency([[30, 70], [30, 30]])
    assert found.metric("x", "scipy.chi2_contingency").value == pytest.approx(want.statistic, rel=1e-12)
    assert found.metric("x", "scipy.chi2_contingency").p_value == pytest.approx(want.pvalue, rel=1e-12)
    exact = stats.fisher_exact([[30, 70], [30, 30]])  # rows of b against a, current before reference
    assert found.metric("x", "scipy.fisher_exact").value == pytest.approx(exact.statistic, rel=1e-12)
    assert found.metric("x", "scipy.fisher_exact").p_value == pytest.approx(exact.pvalue, rel=1e-12)


# -- by hand -------------------------------------------------------------------------------------------------


def test_one_unseen_category_is_certain_drift_to_evidently() -> None:
    found = compared(["a", "b"] * 50, ["a"] * 50 + ["b"] * 49 + ["c"])
    measure = found.metric("x", "evidently.chi_squared")
    assert (measure.value, measure.p_value) == (math.inf, 0.0)
    ours = found.metric("x", "chi_squared").p_value
    assert ours is not None
    assert ours > 0.05


def test_total_variation_by_hand() -> None:
    measure = compared(["a"] * 6 + ["b"] * 4, ["a"] * 3 + ["c"] * 7).metric("x", "evidently.total_variation")
    assert measure.value == pytest.approx((0.3 + 0.4 + 0.7) / 2)
    assert measure.p_value is None


def test_single_category_is_no_drift() -> None:
    found = compared(["a"] * 40, ["a"] * 30)
    assert found.metric("x", "evidently.z_test").p_value == 1.0
    assert found.metric("x", "evidently.chi_squared").p_value is None
    assert found.metric("x", "evidently.hellinger").value == 0.0
    assert found.metric("x", "scipy.fisher_exact").value == 1.0  # scipy has no odds ratio there


def test_missing_and_infinite_rows_are_left_out() -> None:
    plain = compared(BEFORE, AFTER)
    holed = compared(BEFORE, np.concatenate((AFTER, [np.nan] * 9, [np.inf, -np.inf])))
    for name in ("evidently.wasserstein", "nannyml.hellinger", "frouros.kl", "alibi.ks", "scipy.ttest_ind"):
        assert holed.metric("x", name).value == plain.metric("x", name).value, name
        assert holed.metric("x", name).n_current == 400
    gone = compared(["a", "b", "b"], ["a", None, "b", None])
    assert gone.metric("x", "evidently.total_variation").value == pytest.approx(1 / 6)
    assert gone.metric("x", "evidently.total_variation").n_current == 2


# -- what they need ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, method in CONVENTIONS.items() if "numeric" in method.kinds])
def test_numbers_need_their_rows(name: str) -> None:
    profiled = Reference.from_data({"x": BEFORE})
    pair = Pair(profiled.profile.columns["x"], profiled.profile_of({"x": AFTER}).columns["x"])
    with pytest.raises(InsufficientData, match=f"{name} needs the rows of both sides: give two tables"):
        pair.measure(name)


def test_sampled_rows_do_not_pass_for_all() -> None:
    profiled = Reference.from_data({"x": BEFORE})
    sample = np.sort(BEFORE[:100]), np.sort(AFTER)
    pair = Pair(profiled.profile.columns["x"], profiled.profile_of({"x": AFTER}).columns["x"], rows=lambda: sample)
    with pytest.raises(InsufficientData, match="needs the rows"):
        pair.measure("evidently.psi")


def test_categories_need_their_names() -> None:
    many = [f"c{i}" for i in range(1_500)]
    with pytest.raises(InsufficientData, match=r"nannyml\.chi2 needs every category by name"):
        compared(many, many).metric("x", "nannyml.chi2")


@pytest.mark.parametrize(
    ("before", "after", "name", "reason"),
    [
        (["a", "b"] * 5, ["a", "b", "b"], "evidently.g_test", "as many rows on both sides"),
        (["a", "b"] * 5, ["a", "b", "b"], "evidently.fisher_exact", "as many rows on both sides"),
        (["a", "b", "c"], ["a", "b", "c"], "evidently.fisher_exact", "columns of two values, this one has 3"),
        ([2.0] * 5, [2.0] * 4, "evidently.t_test", "nothing varies"),
        ([2.0] * 5, [2.0] * 4, "frouros.welch_t_test", "nothing varies"),
        ([2.0, 3.0], [2.0], "frouros.welch_t_test", "two values on each side"),
        ([2.0, 3.0], [2.0], "alibi.cramer_von_mises", "two values on each side"),
        ([2.0, 3.0], [math.inf], "evidently.psi", "no finite values"),
        (["a", "b"], [None, None], "evidently.psi", "no rows"),
        ([2.0, 2.0], [2.0], "frouros.psi", "too close together"),
        ([2.0, 2.0], [2.0], "frouros.jensen_shannon", "too close together"),
        ([2.0], [2.0], "alibi.ks", "three values"),
        ([*range(50), 1e15], [1.0, 2.0], "frouros.kl", "too far off"),
        ([-1e308, 1.0, 1e308], [1.0, 2.0], "nannyml.hellinger", "squares leave float64"),
    ],
)
def test_what_has_no_value_says_why(before: Any, after: Any, name: str, reason: str) -> None:
    with pytest.raises(InsufficientData, match=reason):
        compared(before, after).metric("x", name)


def test_elements_that_are_no_records_have_no_p_value() -> None:
    profiled = Reference.from_data({"x": BEFORE})
    sides = profiled.profile.columns["x"], profiled.profile_of({"x": AFTER}).columns["x"]
    rows = np.sort(BEFORE), np.sort(AFTER)
    measure = Pair(*sides, rows=lambda: rows, factors=(0.1, 1.0)).measure("evidently.ks")
    assert measure.value == pytest.approx(stats.ks_2samp(BEFORE, AFTER).statistic)
    assert measure.p_value is None


# -- in a comparison -----------------------------------------------------------------------------------------


def test_threshold_of_the_peer_decides() -> None:
    for shift, drifted in ((0.0, False), (1.5, True)):
        after = {"x": BEFORE + shift}
        r = dw.compare({"x": BEFORE}, after, method="evidently.wasserstein", decision="threshold")
        found = r.columns["x"]
        assert (found.method, found.threshold, found.drifted) == ("evidently.wasserstein", 0.1, drifted)


def test_p_value_of_the_peer_decides() -> None:
    r = dw.compare({"x": BEFORE}, {"x": BEFORE + 1}, method="evidently.t_test", decision="p_value", correction="none")
    assert r.columns["x"].p_value == pytest.approx(stats.ttest_ind(BEFORE, BEFORE + 1).pvalue, rel=1e-9)
    assert r.drift_detected


def test_peers_without_a_threshold_ask_for_one() -> None:
    tables = {"x": BEFORE}, {"x": AFTER}
    with pytest.raises(BadInput, match=r"nannyml\.wasserstein has no threshold of its own"):
        dw.compare(*tables, method="nannyml.wasserstein", decision="threshold")
    r = dw.compare(*tables, method="nannyml.wasserstein", decision="threshold", threshold={"nannyml.wasserstein": 0.1})
    assert r.columns["x"].threshold == 0.1


def test_names_are_dotted_and_apart_from_the_table() -> None:
    assert all(name.count(".") == 1 for name in CONVENTIONS)
    assert not CONVENTIONS.keys() & METHODS.keys()
    with pytest.raises(UnknownName, match=r"did you mean 'evidently\.psi'"):
        dw.compare({"x": BEFORE}, {"x": AFTER}, method="evidently.pis")
