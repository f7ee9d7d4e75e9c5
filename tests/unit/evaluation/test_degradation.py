"""Limits by hand from the definition: baseline ± threshold × |baseline|, or ± an absolute amount."""

import pytest

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.degradation import compare_with_baseline, degradation
from driftwell.evaluation.metrics import METRICS
from driftwell.evaluation.performance import performance_of
from driftwell.results import MetricValue, Severity


def test_accuracy_of_085_may_fall_to_08075():
    assert degradation("accuracy", 0.8076, 0.85).degraded is False
    assert degradation("accuracy", 0.8075, 0.85).degraded is False
    assert degradation("accuracy", 0.8074, 0.85).degraded is True
    assert degradation("accuracy", 0.8, 0.85).limit == pytest.approx(0.8075)


def test_rounding_alone_is_no_degradation():
    assert 0.1 + 0.2 > 0.3
    assert degradation("mae", 0.1 + 0.2, 0.3, threshold=0).degraded is False


def test_errors_degrade_upwards():
    assert degradation("mae", 2.11, 2.0).degraded is True
    assert degradation("mae", 1.0, 2.0).degraded is False
    assert degradation("mae", 2.0, 2.0).limit == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("threshold", "limit"),
    [
        (0.1, 0.72),
        ({"rel": 0.1}, 0.72),
        ({"abs": 0.05}, 0.75),
        ({"accuracy": 0.1}, 0.72),
        ({"accuracy": {"abs": 0.05}, "mae": 0.3}, 0.75),
        ({"mae": 0.3}, 0.76),
        ({"f1_score": 0.5}, 0.76),
        (0, 0.8),
    ],
)
def test_thresholds_have_several_forms(threshold, limit):
    assert degradation("accuracy", 0.8, 0.8, threshold).limit == pytest.approx(limit)


def test_f1_score_is_f1_in_a_threshold_too():
    assert degradation("f1", 0.8, 0.8, {"f1_score": 0.5}).limit == pytest.approx(0.4)


@pytest.mark.parametrize("metric", METRICS)
def test_better_is_never_degraded_and_much_worse_is(metric):
    sign = 1 if METRICS[metric].higher_is_better else -1
    assert not degradation(metric, 0.5 + sign * 0.2, 0.5).degraded
    assert degradation(metric, 0.5 - sign * 0.2, 0.5).degraded


def test_a_negative_baseline_gets_a_lower_limit():
    assert degradation("r2", -0.21, -0.2).degraded is False
    assert degradation("r2", -0.22, -0.2).degraded is True


def test_a_baseline_without_error_allows_none():
    found = degradation("mae", 0.1, 0.0)
    assert (found.degraded, found.limit, found.severity) == (True, 0.0, Severity.HIGH)
    assert degradation("mae", 0.0, 0.0).severity is Severity.NONE


@pytest.mark.parametrize(("high", "confirmed"), [(0.80, True), (0.8075, False), (0.82, False), (None, False)])
def test_only_a_whole_interval_beyond_the_limit_confirms(high, confirmed):
    low = None if high is None else 0.7
    value = MetricValue("accuracy", 0.75, low, high, 200)
    found = degradation("accuracy", value, 0.85)
    assert (found.degraded, found.confirmed, found.n) == (True, confirmed, 200)


@pytest.mark.parametrize(("low", "confirmed"), [(2.2, True), (2.0, False)])
def test_errors_are_confirmed_from_below(low, confirmed):
    assert degradation("rmse", MetricValue("rmse", 2.5, low, 3.0, 50), 2.0).confirmed is confirmed


@pytest.mark.parametrize(
    ("value", "severity"),
    [(0.9, "none"), (0.84, "none"), (0.81, "low"), (0.8, "medium"), (0.77, "medium"), (0.76, "high")],
)
def test_severity_grows_with_the_loss(value, severity):
    # allowed: 0.0425; half of it 0.829, all 0.8075, twice 0.765
    assert str(degradation("accuracy", value, 0.85).severity) == severity


def test_no_value_is_not_degraded_and_says_why():
    found = degradation("recall", MetricValue("recall", None, None, None, 5, "no label is of the positive class"), 0.8)
    assert (found.degraded, found.confirmed, found.severity) == (False, False, Severity.NONE)
    assert found.reason == "no label is of the positive class"
    assert found.to_dict()["change"] is None


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), True, "0.05", {"abs": -1}, {"abs": 0.1, "rel": 0.1}])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(BadInput, match="threshold"):
        degradation("accuracy", 0.8, 0.85, threshold)


def test_a_threshold_inside_a_threshold_is_refused():
    with pytest.raises(BadInput, match="a threshold is a number"):
        degradation("accuracy", 0.8, 0.85, {"accuracy": {"recall": 0.1}})


@pytest.mark.parametrize("baseline", [None, float("nan"), "0.8"])
def test_a_baseline_is_a_number(baseline):
    with pytest.raises(BadInput, match="baseline of accuracy must be a finite number"):
        degradation("accuracy", 0.8, baseline)


def test_an_unknown_metric_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        degradation("acuracy", 0.8, 0.85)


def test_a_performance_is_compared_metric_by_metric():
    now = performance_of([0, 1] * 50, [0, 1, 1, 1] * 25)
    found = compare_with_baseline(
        now, {"accuracy": 0.9, "f1_score": 0.7, "roc_auc": 0.9, "mae": None}, num_samples=now.n
    )
    assert list(found) == ["accuracy", "f1", "roc_auc"]
    assert (found["accuracy"].value, found["accuracy"].degraded) == (0.75, True)
    assert found["f1_score"] is found["f1"]
    assert found["roc_auc"].reason == "no scores"
    assert (found.degraded, found.degraded_metrics, found.num_samples) == (True, ("accuracy",), 100)
    assert found.to_dict()["metrics"]["accuracy"]["severity"] == "high"


def test_the_worst_metric_comes_first():
    found = compare_with_baseline({"recall": 0.5, "accuracy": 0.7}, {"accuracy": 0.85, "recall": 0.9, "mcc": 0.1})
    assert found.degraded_metrics == ("recall", "accuracy")
    assert found["mcc"].reason == "no value"


def test_a_performance_can_be_the_baseline():
    now = performance_of([0, 1] * 50, [0, 1, 1, 1] * 25)
    found = compare_with_baseline(now, now)
    assert not found.degraded
    assert found["accuracy"].change == 0
