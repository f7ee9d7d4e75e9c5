"""The two gates, the severities and what one column may do to another: nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import ncx2, norm

from driftwell.detectors.univariate import METHODS, Pair
from driftwell.detectors.verdict import Policy, _severity, judge
from driftwell.errors import BadInput, UnknownName
from driftwell.profiles import Reference
from driftwell.results import Measure, Severity


def pairs(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Pair]:
    ref = Reference.from_data(before)
    now = ref.profile_of(after)
    return {name: Pair(ref.profile.columns[name], now.columns[name]) for name in ref.kinds}


def normal(shift: float, n: int = 2_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n) + shift


def measure(method: str, value: float) -> Measure:
    return Measure(method, value, value, value, 1_000, 1_000)


# -- severity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "severity"),
    [(0.0, "none"), (0.0999, "none"), (0.1, "medium"), (0.25, "medium"), (0.2501, "high"), (3.0, "high")],
)
@pytest.mark.parametrize("threshold", [0.1, 0.01, 0.9, None])
def test_psi_has_its_bands_whatever_the_threshold(value: float, severity: str, threshold: float | None) -> None:
    assert str(_severity(measure("psi", value), threshold, 1.0, 0.05)) == severity


@pytest.mark.parametrize(
    ("ratio", "severity"),
    [(0.0, "none"), (0.49, "none"), (0.5, "low"), (1.0, "low"), (1.01, "medium"), (2.0, "medium"), (2.01, "high")],
)
def test_other_methods_go_by_value_over_threshold(ratio: float, severity: str) -> None:
    for threshold in (0.25, 8.0):
        assert str(_severity(measure("ks", ratio * threshold), threshold, None, 0.05)) == severity


@pytest.mark.parametrize(
    ("p", "severity"),
    [(None, "none"), (1.0, "none"), (0.051, "none"), (0.05, "low"), (0.0051, "low"), (0.005, "medium"),
     (0.00051, "medium"), (0.0005, "high"), (0.0, "high")],
)  # fmt: skip
def test_without_a_threshold_severity_goes_by_the_adjusted_p(p: float | None, severity: str) -> None:
    assert str(_severity(measure("chi_squared", 9.0), None, p, 0.05)) == severity


def test_threshold_of_zero_makes_any_difference_high() -> None:
    assert _severity(measure("wasserstein", 1e-9), 0.0, None, 0.05) is Severity.HIGH
    assert _severity(measure("wasserstein", 0.0), 0.0, None, 0.05) is Severity.NONE


# -- gates ---------------------------------------------------------------------------------------------------


def gates(significant: bool, relevant: bool) -> dict[str, Pair]:
    """KS on a pair that opens exactly these gates at threshold 0.1 and alpha 0.05."""
    match significant, relevant:
        case True, True:
            return pairs({"x": normal(0)}, {"x": normal(1, seed=1)})
        case True, False:
            return pairs({"x": normal(0, 40_000)}, {"x": normal(0.1, 40_000, seed=1)})
        case False, True:
            return pairs({"x": normal(0, 100)}, {"x": normal(0, 30, seed=5)})
        case _:
            return pairs({"x": normal(0)}, {"x": normal(0, seed=1)})


@pytest.mark.parametrize("significant", [True, False])
@pytest.mark.parametrize("relevant", [True, False])
@pytest.mark.parametrize("decision", ["beyond_noise", "threshold", "p_value"])
def test_which_gates_each_decision_asks_for(significant: bool, relevant: bool, decision: str) -> None:
    found = judge(gates(significant, relevant), Policy("ks", decision=decision, min_samples=10))["x"]
    assert found.value is not None
    assert (found.value >= 0.1) is relevant
    if decision != "threshold":
        assert found.p_adjusted is not None
        assert (found.p_adjusted <= 0.05) is significant
    wanted = {"beyond_noise": significant and relevant, "threshold": relevant, "p_value": significant}[decision]
    assert found.drifted is wanted
    assert found.status == ("drift" if wanted else "ok")
    # what has not drifted is at most low, what has is at least low
    assert found.severity <= Severity.LOW if not wanted else found.severity >= Severity.LOW


def test_reason_names_value_threshold_chance_and_sizes() -> None:
    found = judge(gates(True, False), Policy("ks"))["x"]
    assert found.reason is not None
    for part in ("ks 0.0", "stays below its threshold 0.1", "more than the sample sizes explain", "40,000 reference"):
        assert part in found.reason
    within = judge(gates(False, True), Policy("ks", min_samples=10))["x"]
    assert within.reason is not None
    assert "reaches its threshold" in within.reason
    assert "within what the sample sizes explain" in within.reason


def test_method_with_a_threshold_of_zero_needs_a_difference() -> None:
    """A constant reference has no spread: its Wasserstein threshold is 0, and no difference is no drift."""
    for decision in ("beyond_noise", "threshold"):
        policy = Policy("wasserstein", decision=decision)
        assert not judge(pairs({"x": [5.0] * 200}, {"x": [5.0] * 200}), policy)["x"].drifted
        assert judge(pairs({"x": [5.0] * 200}, {"x": [6.0] * 200}), policy)["x"].drifted


def test_value_alone_cannot_judge_without_a_threshold() -> None:
    column = pairs({"c": ["a", "b"] * 100}, {"c": ["a"] * 200})
    with pytest.raises(BadInput, match="chi_squared has no threshold of its own"):
        judge(column, Policy("chi_squared", decision="threshold"))
    assert judge(column, Policy("chi_squared", threshold=10.0, decision="threshold"))["c"].drifted


@pytest.mark.parametrize("method", ["wasserstein", "mean_shift", "std_shift"])
def test_methods_without_a_p_value_borrow_that_of_ks(method: str) -> None:
    column = pairs({"x": normal(0)}, {"x": normal(1, seed=1)})
    found = judge(column, Policy(method))["x"]
    assert found.measures[method].p_value is None
    assert found.p_value == column["x"].measure("ks").p_value


@pytest.mark.parametrize("method", ["total_variation", "l_infinity", "psi"])
def test_methods_on_categories_take_that_of_chi_squared(method: str) -> None:
    column = pairs({"c": ["a", "b"] * 100}, {"c": ["a"] * 150 + ["b"] * 50})
    found = judge(column, Policy(method))["c"]
    assert found.p_value == pytest.approx(column["c"].measure("chi_squared").p_value)


# -- many columns --------------------------------------------------------------------------------------------


def test_correction_runs_over_all_columns_and_methods() -> None:
    names = [f"x{i}" for i in range(8)]
    before = {name: normal(0, seed=i) for i, name in enumerate(names)}
    after = {name: normal(0.06 * (i % 4), seed=50 + i) for i, name in enumerate(names)}
    bare = judge(pairs(before, after), Policy(["ks", "psi"], correction="none"))
    p = sorted(m.p_value for c in bare.values() for m in c.measures.values())
    assert len(p) == 16
    bonferroni = judge(pairs(before, after), Policy(["ks", "psi"], correction="bonferroni"))
    bh = judge(pairs(before, after), Policy(["ks", "psi"], correction="bh"))
    for name in names:
        one = bare[name].p_value
        assert one == bare[name].p_adjusted
        assert one is not None
        own = bonferroni[name]
        assert own.p_value is not None
        assert own.p_adjusted == pytest.approx(min(1.0, 16 * own.p_value))
        # Benjamini and Hochberg 1995: the least of p(k)·16/k over the p-values at or above it
        at = bh[name].p_value
        assert bh[name].p_adjusted == pytest.approx(min(q * 16 / k for k, q in enumerate(p, 1) if q >= at))


def test_one_bad_column_leaves_the_others_alone() -> None:
    good = {"x": normal(0)}, {"x": normal(1, seed=1)}
    alone = judge(pairs(*good), Policy("ks"))["x"]
    bad_before: dict[str, Any] = {"empty": [None] * 2_000, "constant": [1.0] * 2_000, "huge": normal(0) * 1e307}
    bad_after: dict[str, Any] = {"empty": [None] * 2_000, "constant": [1.0] * 2_000, "huge": [np.inf] * 2_000}
    found = judge(pairs(good[0] | bad_before, good[1] | bad_after), Policy(["ks", "t_test"], correction="none"))
    assert found["empty"].status == "no_data"
    assert found["empty"].reason == "t_test: one side has no finite values"
    assert found["huge"].status == "no_data"
    assert found["constant"].status == "ok"
    assert (found["x"].value, found["x"].p_value, found["x"].drifted) == (alone.value, alone.p_value, True)


def test_method_with_nothing_to_read_leaves_the_columns_other_methods() -> None:
    column = pairs({"x": normal(0)}, {"x": [None] * 500})
    assert judge(column, Policy("ks"))["x"].status == "no_data"
    found = judge(column, Policy(["ks", "psi"]))["x"]
    assert found.drifted
    assert found.method == "psi"
    assert found.missing_shift == 1.0


def test_column_drifts_when_any_method_says_so() -> None:
    wider = pairs({"x": normal(0)}, {"x": 1.5 * normal(0, seed=1)})
    assert not judge(wider, Policy("mean_shift"))["x"].drifted
    found = judge(wider, Policy(["mean_shift", "std_shift"]))["x"]
    assert found.drifted
    assert found.method == "std_shift"
    assert set(found.measures) >= {"mean_shift", "std_shift"}


def test_kinds_a_method_does_not_read_fall_back_to_psi() -> None:
    both = pairs({"x": normal(0), "c": ["a", "b"] * 1_000}, {"x": normal(0, seed=1), "c": ["a", "b"] * 1_000})
    found = judge(both, Policy("ks"))
    assert (found["x"].method, found["c"].method) == ("ks", "psi")
    assert found["c"].reason is not None
    assert found["c"].reason.endswith("[ks does not read categorical columns; judged by psi]")
    assert found["x"].reason is not None
    assert "judged by" not in found["x"].reason
    several = judge(both, Policy(["ks", "t_test"]))["c"].reason
    assert several is not None
    assert "ks and t_test do not read categorical columns" in several
    for policy in (Policy(), Policy({"x": "ks"}), Policy(["ks", "g_test"])):
        reason = judge(both, policy)["c"].reason
        assert reason is not None
        assert "judged by" not in reason


@pytest.mark.parametrize(("n", "m", "status"), [(99, 500, "no_data"), (500, 99, "no_data"), (100, 100, "ok")])
def test_fewer_rows_than_the_minimum_are_no_data(n: int, m: int, status: str) -> None:
    found = judge(pairs({"x": normal(0, n)}, {"x": normal(0, m)}), Policy())["x"]
    assert found.status == status
    assert (found.value is None) == (status == "no_data")
    assert not found.drifted
    if status == "no_data":
        assert found.reason == "99 rows on one side, 100 needed"
        assert found.score is not None


# -- policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"method": "pis"}, UnknownName, "did you mean 'psi'"),
        ({"method": ["psi", "nope"]}, UnknownName, "unknown method 'nope'"),
        ({"method": {"x": ["nope"]}}, UnknownName, "unknown method 'nope'"),
        ({"alpha": 0.0}, BadInput, r"alpha must lie in \(0, 1\). Got 0.0"),
        ({"alpha": 1.5}, BadInput, "alpha"),
        ({"correction": "holm"}, UnknownName, "unknown correction 'holm'"),
        ({"decision": "both"}, UnknownName, "unknown decision 'both'"),
        ({"min_samples": 0}, BadInput, "min_samples must be at least 1"),
        ({"threshold": -0.1}, BadInput, "at least 0, or 'moderate' or 'critical' for psi. Got -0.1"),
        ({"threshold": "severe"}, BadInput, "Got 'severe'"),
        ({"threshold": [0.1]}, BadInput, r"Got \[0.1\]"),
        ({"method": "t_test", "decision": "exceeds"}, BadInput, "t_test cannot say .* These can: psi, ks, jensen_sh"),
        ({"method": {"x": ["ks", "wasserstein"]}, "decision": "exceeds"}, BadInput, "wasserstein cannot say"),
        ({"threshold": float("nan")}, BadInput, "Got nan"),
        ({"threshold": {"x": "0.2"}}, BadInput, "Got '0.2'"),
    ],
)
def test_bad_policies_are_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Policy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"method": {"y": "psi"}}, UnknownName, "unknown column 'y'"),
        ({"method": {"c": "ks"}}, BadInput, "ks does not read categorical columns such as 'c'"),
        ({"threshold": {"xx": 0.2}}, UnknownName, "unknown column or method 'xx'"),
    ],
)
def test_names_that_fit_no_column_are_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Policy(**arguments).check_names({"x": "numeric", "c": "categorical"})


def test_thresholds_by_number_method_and_column() -> None:
    column = pairs({"x": normal(0)}, {"x": normal(0.2, seed=1)})["x"]

    def threshold(given: Any, name: str = "ks") -> float | None:
        return Policy("ks", given).threshold_for("x", name, column)[0]

    assert threshold(None) == METHODS["ks"].threshold_for(column) == 0.1
    assert threshold(0.3) == 0.3
    assert threshold({"ks": 0.4}) == 0.4
    assert threshold({"psi": 0.4}) == 0.1
    assert threshold({"x": 0.5, "ks": 0.4}) == 0.5


@pytest.mark.parametrize(
    ("given", "threshold", "source"),
    [
        (None, 0.1, "default of psi: 0.1 is where"),
        (0.3, 0.3, "given for every column"),
        ({"x": 0.3, "psi": 0.4}, 0.3, "given for this column"),
        ({"psi": 0.4}, 0.4, "given for psi"),
        ("critical", 0.25, "given for every column: the critical band of psi begins at 0.25"),
        ({"x": "moderate"}, 0.1, "given for this column: the moderate band"),
    ],
)
def test_result_says_where_its_threshold_came_from(given: Any, threshold: float, source: str) -> None:
    found = judge(pairs({"x": normal(0)}, {"x": normal(0.2, seed=1)}), Policy("psi", given))["x"]
    assert found.threshold == threshold
    assert found.threshold_from is not None
    assert found.threshold_from.startswith(source)
    assert found.debiased == found.measures["psi"].debiased is not None


def test_methods_without_a_threshold_say_so() -> None:
    found = judge(pairs({"x": normal(0)}, {"x": normal(0, seed=1)}), Policy("t_test"))["x"]
    assert found.threshold is None
    assert found.threshold_from == "none of t_test: grows with the sample: significance alone decides"


def test_bands_belong_to_psi() -> None:
    with pytest.raises(BadInput, match="'critical' names a band of psi; ks needs a number"):
        judge(pairs({"x": normal(0)}, {"x": normal(0.2, seed=1)}), Policy("ks", "critical"))


# -- exceeds -------------------------------------------------------------------------------------------------


def test_exceeds_asks_for_more_than_a_value_above_the_threshold() -> None:
    """A true shift of 0.4 sd has a PSI of 0.16: above 0.1 with 20,000 rows, not to be told from it with 300."""
    for n, m, drifted in ((20_000, 20_000, True), (20_000, 300, False)):
        column = pairs({"x": normal(0, n)}, {"x": normal(0.4, m, seed=1)})
        found = judge(column, Policy("psi", decision="exceeds"))["x"]
        assert found.value is not None
        assert found.value > 0.1
        assert found.drifted is drifted
        assert judge(column, Policy("psi"))["x"].drifted
        groups, a = 10, 1 / n + 1 / m
        assert found.p_value == pytest.approx(ncx2.sf(found.value / a, groups - 1, 0.1 / a), rel=1e-9)
        assert found.reason is not None
        assert ("exceeds 0.1" in found.reason) is drifted


@pytest.mark.parametrize(("method", "bands"), [("ks", 1), ("kuiper", 2)])
def test_exceeds_for_distribution_functions_is_the_band_of_dkw(method: str, bands: int) -> None:
    """statistics.md F: drift where D - √(ln(4/alpha)/2n) - √(ln(4/alpha)/2m) > threshold."""
    for shift in (0.2, 0.3, 0.4, 0.6):
        column = pairs({"x": normal(0, 3_000)}, {"x": normal(shift, 2_000, seed=1)})
        found = judge(column, Policy(method, decision="exceeds"))["x"]
        margin = sum(math.sqrt(math.log(4 / 0.05) / (2 * size)) for size in (3_000, 2_000))
        assert found.value is not None
        assert found.drifted is (found.value - bands * margin > 0.1)


def test_exceeds_for_the_mean_is_normal() -> None:
    column = pairs({"x": normal(0)}, {"x": normal(0.2, seed=1)})
    found = judge(column, Policy("mean_shift", decision="exceeds"))["x"]
    assert found.value is not None
    spread = normal(0.2, seed=1).std(ddof=1) / normal(0).std(ddof=1)
    error = math.sqrt(1 / 2_000 + spread**2 / 2_000)
    z = np.array([(found.value - 0.1) / error, (found.value + 0.1) / error])
    assert found.p_value == pytest.approx(norm.sf(z).sum(), rel=1e-6)


def test_exceeds_never_lets_no_change_pass() -> None:
    column = pairs({"x": [5.0] * 200, "c": ["a"] * 200}, {"x": [5.0] * 200, "c": ["a"] * 200})
    for method in ("psi", "ks", "hellinger", "mean_shift", "kuiper"):
        for found in judge(column, Policy(method, decision="exceeds")).values():
            assert (found.status, found.p_value) == ("ok", 1.0), method


def test_methods_by_name_list_and_column() -> None:
    assert Policy().methods_for("x", "numeric") == ["psi"]
    assert Policy("ks").methods_for("x", "numeric") == ["ks"]
    assert Policy(["ks", "chi_squared"]).methods_for("x", "boolean") == ["chi_squared"]
    by_column = Policy({"x": ["ks", "wasserstein"]})
    assert by_column.methods_for("x", "numeric") == ["ks", "wasserstein"]
    assert by_column.methods_for("y", "numeric") == ["psi"]
