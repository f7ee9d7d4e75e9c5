"""Realized performance of checks and answers, against scikit-learn on the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, precision_score, roc_auc_score

from driftwell import Reference

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)


def outcomes(n: int, *, right: float, seed: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions that are right that often, and scores that lean the way of the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    predictions = np.where(rng.random(n) < right, labels, 1 - labels)
    scores = np.clip(0.35 * labels + rng.normal(0.33, 0.2, n), 0, 1)
    return labels, predictions, scores


def record(monitor, labels, predictions, scores=None, *, labelled=None, start=START, name="p") -> None:
    for i, prediction in enumerate(predictions.tolist()):
        monitor.record_prediction(
            {"x": float(i)},
            prediction,
            score=None if scores is None else float(scores[i]),
            prediction_id=f"{name}{i}",
            timestamp=start + timedelta(seconds=i),
        )
    for i, label in enumerate(labels.tolist()[:labelled]):
        monitor.record_feedback(f"{name}{i}", label)
    assert monitor.flush(10)


def verdicts(result) -> dict:
    return {verdict.metric: verdict for verdict in result.verdicts if verdict.signal == "performance"}


def test_realized_metrics_are_those_of_scikit_learn(monitor):
    labels, predictions, scores = outcomes(800, right=0.8)
    record(monitor, labels, predictions, scores, labelled=500)
    result = monitor.check("PT1H", at=END)
    known = labels[:500], predictions[:500]
    realized = result.performance["realized"]
    assert result.performance["task"] == "binary"
    assert realized["accuracy"]["value"] == pytest.approx(accuracy_score(*known))
    assert realized["f1"]["value"] == pytest.approx(f1_score(*known))
    assert realized["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels[:500], scores[:500]))
    assert {"value", "low", "high", "n"} <= realized["accuracy"].keys()
    assert realized["accuracy"]["low"] < realized["accuracy"]["value"] < realized["accuracy"]["high"]
    assert realized["accuracy"]["n"] == 500
    assert result.performance["labels"] == {"matched": 500, "coverage": 0.625}


def test_labels_that_come_after_the_features_are_gone_still_count(monitor):
    labels, predictions, scores = outcomes(600, right=0.8)
    record(monitor, labels[:0], predictions, scores)
    monitor.runtime.store.prune(rows_before_us=1 << 60)
    for i, label in enumerate(labels.tolist()):
        monitor.record_feedback(f"p{i}", label)
    for window in ("PT1H", 600):
        realized = monitor.check(window, at=END).performance["realized"]
        assert realized["accuracy"]["value"] == pytest.approx(accuracy_score(labels, predictions))
    assert monitor.drift_performance()["realized"]["accuracy"]["n"] == 600


def test_only_the_window_counts(monitor):
    record(monitor, *outcomes(200, right=0.9))
    record(monitor, *outcomes(200, right=0.2, seed=5), start=END, name="later")
    labels, predictions, _ = outcomes(200, right=0.9)
    found = monitor.check("PT1H", at=END).performance["realized"]["accuracy"]
    assert (found["value"], found["n"]) == (pytest.approx(accuracy_score(labels, predictions)), 200)


def test_amounts_are_measured_as_amounts(monitor):
    rng = np.random.default_rng(2)
    labels = rng.normal(100, 10, 300)
    predictions = labels + rng.normal(0, 3, 300)
    record(monitor, labels, predictions)
    result = monitor.check("PT1H", at=END)
    assert result.performance["task"] == "regression"
    assert result.performance["realized"]["mae"]["value"] == pytest.approx(mean_absolute_error(labels, predictions))


def test_without_labels_the_answer_is_no_data(monitor):
    record(monitor, *outcomes(200, right=0.9), labelled=0)
    monitor.set_baseline({"accuracy": 0.9})
    result = monitor.check("PT1H", at=END)
    (verdict,) = verdicts(result).values()
    assert (verdict.status, verdict.reason) == ("no_data", "no prediction of this window has a label yet")
    assert result.performance["labels"] == {"matched": 0, "coverage": 0.0}


def test_too_few_labels_are_no_data(monitor):
    monitor.set_baseline({"accuracy": 0.9})
    record(monitor, *outcomes(300, right=0.2), labelled=99)
    result = monitor.check("PT1H", at=END)
    verdict = verdicts(result)["accuracy"]
    assert (verdict.status, verdict.n, verdict.reason) == ("no_data", 99, "99 labels, 100 needed")
    assert result.performance_degraded is False


def test_without_a_baseline_nothing_is_degraded(monitor):
    record(monitor, *outcomes(300, right=0.1))
    result = monitor.check("PT1H", at=END)
    assert (verdicts(result), result.performance_degraded) == ({}, False)
    assert result.performance["baseline"] == {}


@pytest.mark.parametrize("by", ["reference", "set_baseline"])
def test_far_below_the_baseline_is_critical(make, by):
    if by == "reference":
        monitor = make(reference=Reference.from_data({"x": np.arange(500.0)}, performance={"accuracy": 0.9}))
    else:
        monitor = make()
        monitor.set_baseline({"accuracy": 0.9})
    labels, predictions, _ = outcomes(500, right=0.6)
    record(monitor, labels, predictions)
    result = monitor.check("PT1H", at=END)
    verdict = verdicts(result)["accuracy"]
    assert verdict.value == pytest.approx(accuracy_score(labels, predictions))
    assert verdict.threshold == pytest.approx(0.855)  # 0.9 less five hundredths of it
    assert (verdict.status, str(verdict.severity)) == ("critical", "high")
    assert (result.performance_degraded, result.alarm.fired) == (True, True)


def test_below_the_limit_by_no_more_than_chance_is_a_warning(monitor):
    monitor.set_baseline({"precision": 0.85})
    labels, predictions, _ = outcomes(150, right=0.8)
    record(monitor, labels, predictions)
    result = monitor.check("PT1H", at=END)
    verdict = verdicts(result)["precision"]
    assert verdict.value == pytest.approx(precision_score(labels, predictions))
    realized = result.performance["realized"]["precision"]
    assert realized["value"] < verdict.threshold < realized["high"]
    assert (verdict.status, result.performance_degraded) == ("warning", True)


def test_within_the_threshold_is_ok(make):
    monitor = make(performance_threshold={"abs": 0.4})
    monitor.set_baseline({"accuracy": 0.95, "f1_score": 0.95})
    record(monitor, *outcomes(300, right=0.7))
    result = monitor.check("PT1H", at=END)
    assert {name: (v.status, v.threshold) for name, v in verdicts(result).items()} == {
        "accuracy": ("ok", pytest.approx(0.55)),
        "f1_score": ("ok", pytest.approx(0.55)),
    }


def test_errors_are_degraded_upwards(monitor):
    rng = np.random.default_rng(2)
    labels = rng.normal(100, 10, 300)
    monitor.set_baseline({"mae": 2.0})
    record(monitor, labels, labels + 5.5)
    verdict = verdicts(monitor.check("PT1H", at=END))["mae"]
    assert (verdict.status, verdict.value, verdict.threshold) == ("critical", pytest.approx(5.5), pytest.approx(2.1))


def test_a_metric_of_the_reference_that_nobody_knows_is_an_error_of_its_own(make):
    reference = Reference.from_data({"x": np.arange(500.0)}, performance={"charm": 1.0, "accuracy": 0.5})
    monitor = make(reference=reference)
    record(monitor, *outcomes(300, right=0.9))
    found = verdicts(monitor.check("PT1H", at=END))
    assert (found["charm"].status, found["accuracy"].status) == ("error", "ok")
    assert "unknown metric 'charm'" in found["charm"].reason


def test_a_window_that_lacks_a_class_is_judged_like_the_others(make):
    table = {"x": np.arange(300.0), "prediction": ["early", "late", "in time"] * 100}
    monitor = make(reference=Reference.from_data(table))
    words = np.array(["late", "in time"] * 60)
    record(monitor, words, words)
    assert monitor.check("PT1H", at=END).performance["task"] == "multiclass"


# -- drift_performance: the newest labelled predictions ------------------------------------------------------------


def test_performance_is_that_of_the_newest_labelled_predictions(make):
    monitor = make(performance_window_size=150)
    labels, predictions, scores = outcomes(400, right=0.8)
    record(monitor, labels, predictions, scores, labelled=300)  # the newest hundred have none yet
    found = monitor.drift_performance()
    newest = labels[150:300], predictions[150:300]
    assert found["realized"]["accuracy"]["value"] == pytest.approx(accuracy_score(*newest))
    assert found["realized"]["accuracy"]["n"] == 150
    assert found["realized"]["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels[150:300], scores[150:300]))
    assert found["total_predictions"] == 400
    assert found["labels"] == {"matched": 300, "coverage": 0.75}
    assert found["output_statistics"]["mean"] == pytest.approx(scores.mean())
    assert found["estimated"] is None
    assert "not available in this version" in found["reason"]


def test_performance_of_nothing_has_every_field(monitor):
    assert monitor.drift_performance() == {
        "total_predictions": 0,
        "output_statistics": {"mean": None, "std": None, "min": None, "max": None},
        "realized": {},
        "estimated": None,
        "labels": {"matched": 0, "coverage": None},
        "reason": "no prediction of this window has a label yet",
    }
