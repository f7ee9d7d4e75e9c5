"""The domain classifier: its AUC against scikit-learn, its intervals and importances on known changes."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

from driftwell.detectors.multivariate import classifier as room
from driftwell.detectors.multivariate import domain_classifier
from driftwell.errors import BadInput, InsufficientData, MissingDependency, UnknownName


def samples(n: int, m: int, width: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, width)), rng.normal(shift, 1, size=(m, width))


def test_auc_of_scores_with_ties_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    score, truth = np.round(rng.normal(size=80), 1), rng.random(80) < 0.4
    assert room._auc(score, truth) == pytest.approx(roc_auc_score(truth, score))


def test_delong_variance_is_its_written_out_form() -> None:
    rng = np.random.default_rng(1)
    score, truth = np.round(rng.normal(size=40), 1), np.arange(40) < 15
    kernel = [[(a > b) + 0.5 * (a == b) for b in score[~truth]] for a in score[truth]]
    by_current, by_reference = np.mean(kernel, axis=1), np.mean(kernel, axis=0)
    expected = by_current.var(ddof=1) / 15 + by_reference.var(ddof=1) / 25
    assert room._delong_variance(score, truth) == pytest.approx(expected)


def test_step_of_the_chain_is_scipys_rank_test() -> None:
    rng = np.random.default_rng(3)
    score, truth = np.round(rng.normal(size=60), 1), np.arange(60) < 25
    expected = mannwhitneyu(
        score[truth], score[~truth], use_continuity=False, method="asymptotic", alternative="greater"
    ).pvalue
    assert norm.sf(room._rank_sum_z(score, truth)) == pytest.approx(expected)
    assert room._rank_sum_z(np.ones(60), truth) == 0.0


@pytest.mark.parametrize("classifier", room.CLASSIFIERS)
def test_auc_of_a_known_shift_is_the_normal_formula(classifier: str) -> None:
    x, y = samples(500, 400, 1, shift=1.0)
    found = domain_classifier(x, y, classifier)
    best = norm.cdf(1 / math.sqrt(2))  # P(Y > X) for two normals one apart
    assert found.interval[0] < best + 0.02
    assert found.auc == pytest.approx(best, abs=0.05)
    assert found.interval[0] < found.auc < found.interval[1]
    assert found.statistic == found.auc
    assert found.p_value < 1e-6


def test_importances_name_the_changed_columns() -> None:
    rng = np.random.default_rng(4)
    x = {"a": rng.normal(size=250), "b": rng.normal(size=250), "c": rng.choice(["u", "v"], 250)}
    y = {"a": rng.normal(size=250), "b": 2 * rng.normal(size=250), "c": rng.choice(["u", "w"], 250)}
    found = domain_classifier(x, y)
    assert list(found.importances) == ["c", "b", "a"]
    assert found.importances["c"] > found.importances["b"] > 0.01 > abs(found.importances["a"])


def test_trees_see_spreads_where_logistic_does_not() -> None:
    x, y = samples(300, 300, 2)
    y = y * 1.8
    assert domain_classifier(x, y, "trees").p_value < 0.001
    assert domain_classifier(x, y, "logistic").p_value > 0.001


def test_complete_separation_keeps_an_interval() -> None:
    found = domain_classifier(np.arange(30.0), np.arange(100.0, 140.0), "logistic")
    assert found.auc == 1.0
    assert found.interval == (pytest.approx(30 / (30 + 1.959964**2)), 1.0)
    assert found.p_value < 0.001


def test_equal_rows_cannot_be_told_apart() -> None:
    found = domain_classifier([1.0] * 30, [1.0] * 40)
    assert (found.auc, found.interval, found.p_value) == (0.5, (0.5, 0.5), 0.5)


def test_domain_classifier_is_reproducible() -> None:
    x, y = samples(60, 50, 3)
    assert domain_classifier(x, y, "logistic", seed=7) == domain_classifier(x, y, "logistic", seed=7)
    assert domain_classifier(x, y, "logistic", seed=7).auc != domain_classifier(x, y, "logistic", seed=8).auc


def test_bad_options_are_refused() -> None:
    x, y = samples(30, 30, 1)
    with pytest.raises(UnknownName, match="did you mean 'trees'"):
        domain_classifier(x, y, "tree")
    with pytest.raises(BadInput, match="folds"):
        domain_classifier(x, y, folds=2)
    with pytest.raises(BadInput, match="confidence"):
        domain_classifier(x, y, confidence=95)
    with pytest.raises(InsufficientData, match="9 rows, at least 10"):
        domain_classifier(x[:9], y)


def test_missing_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(MissingDependency, match=r"driftwell\[estimation\]"):
        domain_classifier(*samples(30, 30, 1))
