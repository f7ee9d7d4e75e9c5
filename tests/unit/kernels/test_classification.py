"""Expected values: scikit-learn, the definitions written out with loops, and a published table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from driftwell.kernels.classification import (
    average_precision,
    brier_losses,
    confusion_cells,
    expected_calibration_error,
    log_losses,
    macro_f1,
    macro_specificity,
    matthews_correlation,
    roc_auc,
    score_counts,
)


def pairs(seed, n, k, right=0.6):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    return truth, np.where(rng.random(n) < right, truth, rng.integers(0, k, n))


def scored(seed, n, ties):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    positive[:2] = [True, False]
    scores = rng.random(n) * 0.7 + 0.3 * positive
    return positive, np.round(scores, 1) if ties else scores


def numeric_variance(function, truth, predicted):
    """Delta method with the gradient taken by finite differences of scikit-learn's weighted metric."""
    n, step = truth.size, 1e-4
    gradient = np.empty(n)
    for i in range(n):
        weights = np.ones(n)
        weights[i] += step
        up = function(truth, predicted, sample_weight=weights)
        weights[i] -= 2 * step
        gradient[i] = (up - function(truth, predicted, sample_weight=weights)) / (2 * step)
    return float(np.sum((gradient - gradient.mean()) ** 2))


def macro_f1_of(truth, predicted, sample_weight):
    return sk.f1_score(truth, predicted, average="macro", sample_weight=sample_weight)


def macro_specificity_of(truth, predicted, sample_weight=None):
    tables = sk.multilabel_confusion_matrix(truth, predicted, sample_weight=sample_weight)
    return float(np.mean(tables[:, 0, 0] / tables[:, 0].sum(axis=1)))


@pytest.mark.parametrize("k", [2, 5, 3000])
def test_cells_are_the_confusion_matrix(k):
    truth, predicted = pairs(1, 500, k)
    cells = confusion_cells(truth, predicted, k)
    matrix = np.zeros((k, k), np.int64)
    matrix[cells.truth, cells.predicted] = cells.count
    assert np.array_equal(matrix, sk.confusion_matrix(truth, predicted, labels=np.arange(k)))
    assert np.array_equal(cells.hits, np.diag(matrix))
    assert np.array_equal(cells.actual, matrix.sum(axis=1))
    assert np.array_equal(cells.guessed, matrix.sum(axis=0))


@pytest.mark.parametrize("k", [2, 3, 7])
def test_macro_averages_equal_scikit_learn(k):
    truth, predicted = pairs(k, 300, k)
    cells = confusion_cells(truth, predicted, k + 2)  # two classes that nobody saw change nothing
    assert macro_f1(cells).value == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert macro_specificity(cells).value == pytest.approx(macro_specificity_of(truth, predicted))
    assert matthews_correlation(cells).value == pytest.approx(sk.matthews_corrcoef(truth, predicted))


@pytest.mark.parametrize(
    ("kernel", "function"),
    [
        (macro_f1, macro_f1_of),
        (macro_specificity, macro_specificity_of),
        (matthews_correlation, sk.matthews_corrcoef),
    ],
)
def test_variances_follow_the_numeric_gradient(kernel, function):
    truth, predicted = pairs(3, 120, 3)
    found = kernel(confusion_cells(truth, predicted, 3)).variance
    assert found == pytest.approx(numeric_variance(function, truth, predicted), rel=1e-5)


def test_one_class_only_has_no_correlation():
    assert matthews_correlation(confusion_cells(np.zeros(5, int), np.array([0, 1, 0, 0, 1]), 2)) is None
    assert matthews_correlation(confusion_cells(np.array([0, 1, 0, 0, 1]), np.ones(5, int), 2)) is None


def test_no_error_has_no_variance():
    truth = np.array([0, 1, 2, 2])
    cells = confusion_cells(truth, truth, 3)
    assert (macro_f1(cells).value, macro_f1(cells).variance) == (1.0, None)
    assert matthews_correlation(cells).value == pytest.approx(1.0)
    assert matthews_correlation(cells).variance is None


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [2, 30, 2000])
def test_ranking_equals_scikit_learn(n, ties):
    positive, scores = scored(n, n, ties)
    counts = score_counts(positive, scores)
    assert roc_auc(*counts).value == pytest.approx(sk.roc_auc_score(positive, scores))
    assert average_precision(*counts) == pytest.approx(sk.average_precision_score(positive, scores))


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60))
def test_score_counts_are_the_rows_at_each_score(rows):
    positive = np.array([row[0] for row in rows])
    scores = np.array([float(row[1]) for row in rows])
    positives, negatives = score_counts(positive, scores)
    distinct = sorted(set(scores))
    assert positives.tolist() == [sum(positive[scores == v]) for v in distinct]
    assert negatives.tolist() == [sum(~positive[scores == v]) for v in distinct]


@pytest.mark.parametrize("ties", [False, True])
def test_delong_variance_is_the_definition(ties):
    positive, scores = scored(8, 80, ties)
    high, low = scores[positive], scores[~positive]
    wins = (high[:, None] > low).astype(float) + (high[:, None] == low) / 2
    by_positive, by_negative = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_positive.var(ddof=1) / high.size + by_negative.var(ddof=1) / low.size
    found = roc_auc(*score_counts(positive, scores))
    assert found.value == pytest.approx(wins.mean())
    assert found.variance == pytest.approx(variance)


@pytest.mark.parametrize("ties", [False, True])
def test_variance_and_degrees_are_those_of_brunner_and_munzel(ties):
    # scipy's test is the same area minus one half over the same standard error, with Student's t.
    positive, scores = scored(8, 80, ties)
    found = roc_auc(*score_counts(positive, scores))
    expected = stats.brunnermunzel(scores[~positive], scores[positive])
    statistic = (found.value - 0.5) / found.variance**0.5
    assert statistic == pytest.approx(expected.statistic)
    assert 2 * stats.t(found.degrees).sf(statistic) == pytest.approx(expected.pvalue)


def test_delong_on_the_table_of_hanley_and_mcneil():
    # Ratings 1–5 of 109 CT images (Hanley, McNeil 1982, table I). Stata's manual, `roctab disease rating`,
    # gives area 0.8932, standard error 0.0307 (DeLong).
    normal, abnormal = np.array([33, 6, 6, 11, 2]), np.array([3, 2, 2, 11, 33])
    found = roc_auc(abnormal, normal)
    assert found.value == pytest.approx(0.8932, abs=5e-5)
    assert found.variance**0.5 == pytest.approx(0.0307, abs=5e-5)


@pytest.mark.parametrize(
    ("positive", "scores"),
    [
        ([True, True, False, False], [0.9, 0.8, 0.2, 0.1]),
        ([True, False], [0.3, 0.7]),
        ([True, False] * 3, [0.5] * 6),
    ],
    ids=["separated", "one of each", "all tied"],
)
def test_area_without_a_variance_says_so(positive, scores):
    assert roc_auc(*score_counts(np.array(positive), np.array(scores))).variance is None


def test_infinite_scores_rank_at_the_ends():
    positive, scores = np.array([True, False, True]), np.array([np.inf, -np.inf, 0.0])
    assert roc_auc(*score_counts(positive, scores)).value == 1.0


def test_losses_equal_scikit_learn():
    positive, scores = scored(4, 500, ties=False)
    scores[:2] = [0.0, 1.0]  # the two worst answers there are: scikit-learn clips them too
    assert log_losses(positive, scores).mean() == pytest.approx(sk.log_loss(positive, scores))
    assert brier_losses(positive, scores).mean() == pytest.approx(sk.brier_score_loss(positive, scores))


@pytest.mark.parametrize("ties", [False, True])
def test_calibration_error_equals_scikit_learns_curve(ties):
    positive, scores = scored(5, 400, ties)
    share, mean = calibration_curve(positive, scores, n_bins=10, strategy="uniform")
    rows = np.bincount(np.clip(np.ceil(scores * 10 - 1e-9), 1, 10).astype(int))  # (0, .1], (.1, .2] …
    weights = rows[rows > 0] / scores.size
    found = expected_calibration_error(positive, scores)
    assert found == pytest.approx(np.sum(weights * np.abs(share - mean)))
