"""Expected values: scikit-learn on the rows that are in the window."""

import json
import random

import numpy as np
import pytest
from sklearn import metrics as sk

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.window import PerformanceWindow


def rows(n, seed=0, k=2):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return np.where(rng.random(n) < 0.7, labels, rng.integers(0, k, n)), labels, rng.random(n)


def filled(predictions, labels, scores=None, **options):
    window = PerformanceWindow(**options)
    for i, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
        window.update(prediction, label, None if scores is None else scores[i])
    return window


@pytest.mark.parametrize("n", [20, 100, 257])
def test_the_newest_rows_are_measured(n):
    predictions, labels, scores = rows(n)
    found = filled(predictions, labels, scores, size=100).metrics()
    p, y, s = predictions[-100:], labels[-100:], scores[-100:]
    assert found["num_samples"] == min(n, 100)
    expected = {
        "accuracy": sk.accuracy_score(y, p),
        "precision": sk.precision_score(y, p),
        "recall": sk.recall_score(y, p),
        "f1": sk.f1_score(y, p),
        "roc_auc": sk.roc_auc_score(y, s),
        "brier": sk.brier_score_loss(y, s),
        "mae": sk.mean_absolute_error(y, p),
        "rmse": sk.root_mean_squared_error(y, p),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_more_classes_are_macro_averaged():
    predictions, labels, _ = rows(60, k=4)
    names = np.array(["a", "b", "c", "d"])
    found = filled(names[predictions], names[labels]).metrics()
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predictions, average="macro"))
    assert "mae" not in found


def test_regression_metrics_of_the_window():
    rng = np.random.default_rng(1)
    labels = rng.normal(size=50)
    predictions = labels + rng.normal(size=50) * 0.3
    found = filled(predictions, labels, size=30, task="regression").metrics()
    assert found["r2"] == pytest.approx(sk.r2_score(labels[-30:], predictions[-30:]))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(labels[-30:], predictions[-30:]))


def test_fractional_predictions_of_a_classifier_still_have_errors():
    found = filled([0.9, 0.2], [1, 0]).metrics()
    assert found["mae"] == pytest.approx(0.15)


def test_metrics_are_a_plain_dict_that_knows_f1_score():
    found = filled([1, 0, 1], [1, 0, 0]).metrics()
    assert found["f1_score"] == found.get("f1_score") == found["f1"] == pytest.approx(2 / 3)
    assert "f1_score" in found
    assert found.get("nonsense", 7) == 7
    assert json.loads(json.dumps(found))["num_samples"] == 3
    assert "roc_auc" not in found


def test_pairs_that_lack_a_side_are_counted_not_kept():
    window = filled([1, None, 0, float("nan")], [1, 1, None, 0])
    assert (len(window), window.n_unlabelled, window.n_missing) == (1, 1, 2)
    assert window.metrics()["accuracy"] == 1.0


def test_what_models_return_is_taken_as_its_value():
    window = PerformanceWindow()
    window.update(np.array([1]), np.int64(1), np.float32(0.75))
    window.update(np.bool_(False), 1)
    assert window.metrics()["accuracy"] == 0.5
    assert window.performance()["brier"].n == 1


def test_an_empty_window_has_no_values():
    found = PerformanceWindow().metrics()
    assert found["num_samples"] == 0
    assert found["accuracy"] is None
    assert PerformanceWindow().compare({"accuracy": 0.9}).degraded is False


def test_a_baseline_is_compared():
    window = filled([1, 0, 1, 0] * 25, [1, 0, 0, 0] * 25)
    found = window.compare({"accuracy": 0.9, "f1_score": 0.667, "mae": 0.1, "num_samples": 900})
    assert found.degraded_metrics == ("mae", "accuracy")
    assert found["accuracy"].confirmed is True
    assert found.num_samples == 100
    assert window.compare(window.metrics()).degraded is False
    assert window.compare({"accuracy": 0.9}, threshold={"abs": 0.2}).degraded is False


def test_known_classes_hold_the_averages_still():
    window = filled(["a", "b"], ["a", "a"], classes=["a", "b", "c"])
    assert window.performance().task == "multiclass"
    assert filled(["a", "b"], ["a", "a"], positive="a").metrics()["recall"] == 0.5


def test_the_same_updates_give_the_same_metrics():
    updates = [(random.Random(3).choice("ab"), random.Random(i).choice("ab")) for i in range(40)]
    first, second = (filled(*zip(*updates, strict=True), size=15).metrics() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_size_is_a_positive_whole_number(size):
    with pytest.raises(BadInput, match="size must be a whole number of at least 1"):
        PerformanceWindow(size)


def test_options_are_checked_when_made():
    with pytest.raises(UnknownName, match="did you mean 'classification'"):
        PerformanceWindow(task="classificaton")
    with pytest.raises(BadInput, match="interval must be between 0 and 1"):
        PerformanceWindow(interval=95)
