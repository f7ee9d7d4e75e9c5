"""Expected values: scikit-learn on the same rows; multilabel_confusion_matrix where it has no function."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from driftwell.errors import BadInput, ColumnError, DriftwellError, UnknownName
from driftwell.evaluation.metrics import METRICS
from driftwell.evaluation.performance import evaluate, performance, performance_of

CLASS_METRICS = {"accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc"}
SCORE_METRICS = {"roc_auc", "average_precision", "log_loss", "brier", "ece"}
AMOUNT_METRICS = {"mae", "mse", "rmse", "rmsle", "mape", "smape", "r2"}


def binary(seed=0, n=500, share=0.3):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < share).astype(int)
    scores = np.clip(rng.normal(0.3 + 0.35 * labels, 0.2), 0, 1)
    return labels, (scores > 0.5).astype(int), scores


def expected_binary(labels, predictions, scores):
    return {
        "accuracy": sk.accuracy_score(labels, predictions),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predictions),
        "precision": sk.precision_score(labels, predictions),
        "recall": sk.recall_score(labels, predictions),
        "specificity": sk.recall_score(labels, predictions, pos_label=0),
        "f1": sk.f1_score(labels, predictions),
        "mcc": sk.matthews_corrcoef(labels, predictions),
        "roc_auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "log_loss": sk.log_loss(labels, scores),
        "brier": sk.brier_score_loss(labels, scores),
    }


def values(found):
    return {name: metric.value for name, metric in found.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [30, 500])
def test_binary_metrics_equal_scikit_learn(seed, n):
    labels, predictions, scores = binary(seed, n)
    found = values(evaluate(labels, predictions, scores))
    expected = expected_binary(labels, predictions, scores)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert set(found) == CLASS_METRICS | SCORE_METRICS


@pytest.mark.parametrize(
    "spell",
    [
        lambda column: column.tolist(),
        lambda column: column.astype(bool),
        lambda column: column.astype(float),
        lambda column: np.array(["no", "yes"])[column],
        lambda column: [["late?", "on time"][v] for v in column],
    ],
)
def test_the_type_of_the_classes_changes_nothing(spell):
    labels, predictions, scores = binary()
    found = values(evaluate(spell(labels), spell(predictions), scores))
    assert found == pytest.approx(values(evaluate(labels, predictions, scores)))


def test_labels_and_predictions_may_be_of_different_types():
    labels, predictions, scores = binary()
    texts = [None if i == 3 else "true" if v else "false" for i, v in enumerate(labels)]
    found = performance_of(texts, predictions.astype(bool), scores)
    keep = np.arange(labels.size) != 3
    assert found["f1"].value == pytest.approx(sk.f1_score(labels[keep], predictions[keep]))
    assert found.n_unlabelled == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [3, 6])
def test_multiclass_metrics_are_macro_averages(seed, k):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, 200)
    predictions = np.where(rng.random(200) < 0.6, labels, rng.integers(0, k, 200))
    tables = sk.multilabel_confusion_matrix(labels, predictions)
    expected = {
        "accuracy": sk.accuracy_score(labels, predictions),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predictions),
        "precision": sk.precision_score(labels, predictions, average="macro"),
        "recall": sk.recall_score(labels, predictions, average="macro"),
        "specificity": np.mean(tables[:, 0, 0] / tables[:, 0].sum(axis=1)),
        "f1": sk.f1_score(labels, predictions, average="macro"),
        "mcc": sk.matthews_corrcoef(labels, predictions),
    }
    found = values(evaluate(labels, predictions))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_class_never_predicted_counts_as_zero_and_is_mentioned():
    labels, predictions = ["a", "a", "b", "c"], ["a", "a", "b", "b"]
    found = evaluate(labels, predictions)
    expected = sk.precision_score(labels, predictions, average="macro", zero_division=0)
    assert found["precision"].value == pytest.approx(expected)
    assert found["precision"].reason == "1 of 3 classes were never predicted and count as 0"


def test_a_class_only_predicted_is_in_recall_but_not_in_balanced_accuracy():
    labels, predictions = ["a", "a", "b", "b"], ["a", "c", "b", "b"]
    found = evaluate(labels, predictions)
    assert found["recall"].value == pytest.approx(
        sk.recall_score(labels, predictions, average="macro", zero_division=0)
    )
    assert found["balanced_accuracy"].value == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(3))
def test_regression_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.gamma(2, 3, 300) + 0.1
    predictions = np.maximum(labels + rng.normal(0, 1, 300), 0)
    found = values(evaluate(labels, predictions))
    expected = {
        "mae": sk.mean_absolute_error(labels, predictions),
        "mse": sk.mean_squared_error(labels, predictions),
        "rmse": sk.root_mean_squared_error(labels, predictions),
        "rmsle": sk.root_mean_squared_log_error(labels, predictions),
        "mape": sk.mean_absolute_percentage_error(labels, predictions),
        "smape": np.mean(2 * abs(labels - predictions) / (abs(labels) + abs(predictions))),
        "r2": sk.r2_score(labels, predictions),
    }
    assert found == pytest.approx(expected)


def test_metrics_come_in_the_order_of_the_table():
    both = [*evaluate([0, 1], [0, 1]), *evaluate([0.5], [0.5])]
    assert both == list(METRICS)


# -- what cannot be computed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "predictions", "undefined"),
    [
        ([0, 0, 0], [0, 1, 0], {"balanced_accuracy", "recall", "mcc", "roc_auc", "average_precision"}),
        ([1, 1, 1], [0, 1, 1], {"balanced_accuracy", "specificity", "mcc", "roc_auc"}),
        ([0, 1, 0], [0, 0, 0], {"precision", "mcc"}),
        (
            [0, 0, 0],
            [0, 0, 0],
            {"balanced_accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "average_precision"},
        ),
    ],
)
def test_zero_denominators_are_none_with_a_reason(labels, predictions, undefined):
    found = evaluate(labels, predictions, [0.2, 0.6, 0.4])
    assert {name for name, metric in found.items() if metric.value is None} == undefined
    assert all(found[name].reason and found[name].low is None for name in undefined)


@pytest.mark.parametrize("labels", [[], [None, None]])
@pytest.mark.parametrize("task", [None, "binary", "multiclass", "regression"])
def test_no_labelled_rows_give_no_values(labels, task):
    found = performance_of(labels, [1] * len(labels), [0.5] * len(labels), task=task)
    assert (found.n, found.n_unlabelled) == (0, len(labels))
    assert all(metric.value is None and metric.reason == "no labelled rows" for metric in found.values())


def test_scores_are_needed_for_their_metrics():
    found = evaluate([0, 1], [0, 1])
    assert {found[name].reason for name in SCORE_METRICS} == {"no scores"}
    found = evaluate([0, 1, 2], [0, 1, 2], [0.1, 0.2, 0.3])
    assert {found[name].reason for name in SCORE_METRICS} == {"one score a row cannot rank more than two classes"}


def test_missing_scores_leave_the_other_metrics_alone():
    labels, predictions, scores = binary(n=100)
    some = [None if i % 4 == 0 else s for i, s in enumerate(scores)]
    found = evaluate(labels, predictions, some)
    there = np.arange(100) % 4 != 0
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(labels[there], scores[there]))
    assert (found["roc_auc"].n, found["brier"].n, found["accuracy"].n) == (75, 75, 100)
    assert evaluate(labels, predictions, [None] * 100)["brier"].reason == "no labelled row has a score"


def test_scores_that_only_rank_are_not_probabilities():
    labels, predictions, scores = binary(n=100)
    found = evaluate(labels, predictions, scores * 100 - 20)
    assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(labels, scores))
    assert {found[name].reason for name in ("log_loss", "brier", "ece")} == {"scores outside 0…1 are not probabilities"}


def test_amounts_that_a_metric_cannot_take():
    found = evaluate([0.0, 2.5, -3.0], [0.5, 2.0, -2.0])
    assert found["rmsle"].reason == "labels or predictions at or below -1 have no logarithm here"
    assert found["mape"].value == pytest.approx(np.mean([0.5 / 2.5, 1 / 3]))
    assert (found["mape"].n, found["mape"].reason) == (2, "leaves out 1 of 3 rows, whose label is 0")
    assert evaluate([0.0, 0.0], [0.5, 1.5])["mape"].reason == "every label is 0"
    assert evaluate([2.5, 2.5], [0.5, 1.5])["r2"].reason == "all labels are equal"
    assert evaluate([2.5], [0.5])["r2"].reason == "fewer than two labelled rows"


def test_amounts_too_large_are_none_not_infinite():
    found = evaluate([1e300, -1e300, 0.5], [-1e300, 1e300, 0.5])
    assert found["mse"].value is None
    assert found["mse"].reason == "the numbers are too large for this metric"
    assert found["mae"].value == pytest.approx(4e300 / 3)


CELLS = st.sampled_from([None, 0, 1, 2, 0.5, True, "a", "b", "1", -3, 1e300, float("nan"), float("inf")])
SCORES = st.sampled_from([None, 0, 1, 0.25, -4.0, float("nan"), float("inf"), "x"])


@settings(max_examples=300)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, SCORES), max_size=12),
    task=st.sampled_from([None, "binary", "multiclass", "classification", "regression"]),
)
def test_any_rows_give_finite_values_inside_their_intervals(rows, task):
    labels, predictions, scores = ([row[i] for row in rows] for i in range(3))
    for metric in evaluate(labels, predictions, scores, task=task).values():
        assert metric.reason if metric.value is None else math.isfinite(metric.value)
        assert (metric.low is None) == (metric.high is None)
        if metric.low is not None:
            assert metric.value is not None
            assert metric.low - 1e-9 <= metric.value <= metric.high + 1e-9
            assert math.isfinite(metric.low)
            assert math.isfinite(metric.high)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_perfect_predictions_still_have_an_uncertain_lower_limit(task):
    labels = [0, 1] * 20 if task == "binary" else [0, 1, 2] * 13
    found = evaluate(labels, labels, [float(v == 1) for v in labels], task=task)
    for name in CLASS_METRICS | ({"roc_auc", "average_precision"} if task == "binary" else set()):
        assert found[name].value == pytest.approx(1.0)
        assert 0.7 < found[name].low < 1.0 == pytest.approx(found[name].high)


@pytest.mark.parametrize("name", ["f1", "specificity", "mcc", "balanced_accuracy", "precision"])
def test_macro_intervals_are_as_wide_as_the_bootstraps(name):
    # Independent source: the spread of the metric over 1,000 resamples of the rows.
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, 600)
    predictions = np.where(rng.random(600) < 0.7, labels, rng.integers(0, 4, 600))
    found = evaluate(labels, predictions)[name]
    picks = rng.integers(0, 600, (1000, 600))
    resampled = [evaluate(labels[rows], predictions[rows])[name].value for rows in picks]
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(resampled), rel=0.12)


def test_limits_stay_where_the_metric_can_be():
    found = evaluate([1, 0, 1], [0, 1, 0], [0.0, 0.9, 0.1])
    assert found["brier"].value > 0.8
    assert found["brier"].high == 1.0
    found = evaluate([0.5, 1.0, 3.0], [-0.5, -1.0, 0.1])
    assert found["smape"].high == 2.0
    assert found["mae"].low >= 0


def test_a_wider_interval_holds_a_narrower_one():
    labels, predictions, scores = binary(n=80)
    narrow, wide = (evaluate(labels, predictions, scores, interval=level) for level in (0.8, 0.99))
    for name in (CLASS_METRICS | SCORE_METRICS) - {"ece"}:
        assert wide[name].low < narrow[name].low < narrow[name].high < wide[name].high


# -- the result ----------------------------------------------------------------------------------------------


def test_the_confusion_matrix_equals_scikit_learn():
    labels, predictions, _ = binary()
    found = performance_of(labels, predictions).confusion
    assert found.classes == (0, 1)
    assert np.array_equal(found.matrix, sk.confusion_matrix(labels, predictions))


def test_many_classes_have_metrics_but_no_matrix():
    labels = np.arange(3000) % 1000
    found = performance_of(labels, np.roll(labels, 1), task="multiclass")
    assert found["accuracy"].value == 0.0
    assert found.confusion is None


def test_a_result_is_a_mapping_that_knows_f1_score():
    found = performance_of([0, 1, 1], [0, 1, 0])
    assert found["f1_score"] is found["f1"]
    assert "f1_score" in found
    assert "mae" not in found
    assert found.get("mae") is None
    with pytest.raises(UnknownName, match="metric of this task 'mae'"):
        found["mae"]
    with pytest.raises(KeyError):
        found["nonsense"]


def test_to_dict_is_plain():
    found = performance({"true_label": [True, False], "prediction": [True, True], "segment": ["a", "b"]}).to_dict()
    assert found["metrics"]["precision"]["value"] == 0.5
    assert (found["task"], found["positive"], found["n"]) == ("binary", True, 2)
    assert found["confusion"] == {"classes": [False, True], "matrix": [[0, 1], [0, 1]]}
    assert found["segments"]["b"]["metrics"]["recall"]["value"] is None


@pytest.mark.parametrize("interval", [0, 1, 95, -0.1])
def test_a_coverage_outside_0_to_1_is_refused(interval):
    with pytest.raises(BadInput, match="interval must be between 0 and 1"):
        evaluate([1], [1], interval=interval)


def test_scores_must_be_as_many_as_rows():
    with pytest.raises(BadInput, match="1 scores for 2 predictions"):
        evaluate([1, 0], [1, 0], [0.5])


# -- tables --------------------------------------------------------------------------------------------------


def test_a_table_is_measured_by_its_columns():
    labels, predictions, scores = binary()
    table = pd.DataFrame({"true_label": labels, "prediction": predictions, "score": scores, "age": 1})
    assert performance(table).metrics == evaluate(labels, predictions, scores)
    renamed = table.rename(columns={"true_label": "y", "prediction": "p", "score": "s"})
    assert performance(renamed, label="y", prediction="p", score="s").metrics == evaluate(labels, predictions, scores)


def test_a_probability_stands_in_for_the_score():
    labels, predictions, scores = binary(n=50)
    table = {"true_label": labels, "prediction": predictions, "probability": scores}
    assert performance(table)["brier"].value == pytest.approx(sk.brier_score_loss(labels, scores))
    assert performance(table, score=None)["brier"].value is None


def test_segments_are_measured_apart_with_the_whole_tables_classes():
    table = {
        "true_label": [None, "late", "on time", "on time", "on time"],
        "prediction": ["late", "late", "late", "on time", "on time"],
        "score": [0.5, 0.9, 0.6, 0.1, 0.2],
        "carrier": ["UA", "AA", "AA", "UA", "UA"],
    }
    found = performance(table, segment="carrier", positive="late")
    assert list(found.segments) == ["AA", "UA"]
    assert found.segments["AA"]["precision"].value == 0.5
    assert found.segments["AA"]["roc_auc"].value == 1.0
    assert found.segments["UA"].positive == "late"
    assert found.segments["UA"]["recall"].value is None
    assert (found.n, found.segments["UA"].n) == (4, 2)


def test_rows_without_a_segment_have_their_own():
    table = {"true_label": [1, 0, 1], "prediction": [1, 0, 0], "segment": ["a", None, None]}
    assert {name: part.n for name, part in performance(table).segments.items()} == {"a": 1, "(missing)": 2}


def test_a_missing_column_is_named_with_the_nearest():
    with pytest.raises(ColumnError, match="no column 'true_label'; did you mean 'true_labels'"):
        performance({"true_labels": [1], "prediction": [1]})
    with pytest.raises(ColumnError, match="no column 'p'"):
        performance({"true_label": [1], "prediction": [1]}, score="p")


def test_errors_have_one_root():
    with pytest.raises(DriftwellError):
        performance(42)
