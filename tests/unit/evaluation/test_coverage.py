"""Do 95 % intervals hold the truth in 95 % of samples?

The truth comes from the model that makes the samples (closed form or numeric integration), not from our code.
A coverage passes when a binomial test at one in a thousand does not tell it from 95 %, or when it is above.
"""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from driftwell.evaluation.performance import evaluate

RUNS = 1000
LEAST = stats.binom(RUNS, 0.95).ppf(0.001) / RUNS  # 0.928


def coverage(draw, truth, **options):
    held, counted = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for _ in range(RUNS):
        found = evaluate(*draw(), **options)
        for name, value in truth.items():
            if found[name].low is not None:
                counted[name] += 1
                held[name] += found[name].low <= value <= found[name].high
    assert min(counted.values()) > 0.98 * RUNS
    return {name: held[name] / counted[name] for name in truth}


class Binormal:
    """Evidence x is N(0, 1) for negatives and N(d, 1) for positives; the score is the true probability."""

    def __init__(self, share, d, threshold):
        self.share, self.d, self.threshold = share, d, threshold
        self.cut = (np.log(threshold / (1 - threshold)) - self.logit(0)) / d

    def logit(self, x):
        return np.log(self.share / (1 - self.share)) + self.d * x - self.d**2 / 2

    def draw(self, rng, n):
        labels = rng.random(n) < self.share
        scores = expit(self.logit(rng.normal(size=n) + self.d * labels))
        return labels, scores > self.threshold, scores

    def mean(self, function):
        """Expected function(logit of the score, label) by integration over x."""

        def density(x):
            positive, negative = stats.norm.pdf(x - self.d), stats.norm.pdf(x)
            z = self.logit(x)
            return self.share * positive * function(z, 1) + (1 - self.share) * negative * function(z, 0)

        return integrate.quad(density, -9, 9 + self.d, limit=200)[0]

    def truth(self):
        recall, fallout = stats.norm.sf(self.cut - self.d), stats.norm.sf(self.cut)
        tp, fp = self.share * recall, (1 - self.share) * fallout
        fn, tn = self.share - tp, 1 - self.share - fp

        def precision_at(x):
            above = self.share * stats.norm.sf(x - self.d)
            return above / (above + (1 - self.share) * stats.norm.sf(x)) * stats.norm.pdf(x - self.d)

        return {
            "accuracy": tp + tn,
            "balanced_accuracy": (recall + 1 - fallout) / 2,
            "precision": tp / (tp + fp),
            "recall": recall,
            "specificity": 1 - fallout,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
            "roc_auc": stats.norm.cdf(self.d / np.sqrt(2)),
            "average_precision": integrate.quad(precision_at, -9, 9 + self.d, limit=200)[0],
            "log_loss": self.mean(lambda z, label: np.logaddexp(0, -z if label else z)),
            "brier": self.mean(lambda z, label: (label - expit(z)) ** 2),
        }


@pytest.mark.parametrize(
    ("n", "model"),
    [(200, Binormal(0.3, 1.5, 0.5)), (1000, Binormal(0.1, 1.0, 0.2)), (60, Binormal(0.5, 2.0, 0.5))],
    ids=["200 rows", "1000 rows, 10 % positive", "60 rows"],
)
def test_binary_intervals_hold_the_truth(n, model):
    rng = np.random.default_rng(n)
    found = coverage(lambda: model.draw(rng, n), model.truth(), task="binary", positive=True)
    assert {name: share for name, share in found.items() if share < LEAST} == {}


@pytest.mark.parametrize(("n", "k", "right"), [(200, 3, 0.7), (1000, 10, 0.5), (90, 3, 0.97)])
def test_macro_intervals_hold_the_truth(n, k, right):
    rng = np.random.default_rng(n)
    shares = np.arange(1, k + 1) / np.arange(1, k + 1).sum()
    joint = right * np.diag(shares) + (1 - right) * shares[:, None] / k  # a wrong guess falls on any class
    actual, guessed, hits = joint.sum(axis=1), joint.sum(axis=0), np.diag(joint)
    scale = np.sqrt((1 - actual @ actual) * (1 - guessed @ guessed))
    truth = {
        "accuracy": hits.sum(),
        "balanced_accuracy": np.mean(hits / actual),
        "precision": np.mean(hits / guessed),
        "recall": np.mean(hits / actual),
        "specificity": np.mean(1 - (guessed - hits) / (1 - actual)),
        "f1": np.mean(2 * hits / (actual + guessed)),
        "mcc": (hits.sum() - actual @ guessed) / scale,
    }

    def draw():
        cells = rng.choice(k * k, n, p=joint.ravel())
        return cells // k, cells % k

    found = coverage(draw, truth, task="multiclass")
    assert {name: share for name, share in found.items() if share < LEAST} == {}


def test_regression_intervals_hold_the_truth():
    rng = np.random.default_rng(5)

    def draw():
        labels = rng.normal(10, 2, 300)
        return labels, labels + rng.normal(size=300)

    truth = {"mae": np.sqrt(2 / np.pi), "mse": 1.0, "rmse": 1.0, "r2": 1 - 1 / 4}
    found = coverage(draw, truth)
    assert {name: share for name, share in found.items() if share < LEAST} == {}


def test_skewed_losses_are_covered_where_the_plain_interval_fails():
    # A very good model on 100 rows: its mean log loss hangs on a few rows.
    model, rng = Binormal(0.5, 4.0, 0.5), np.random.default_rng(6)
    truth = model.truth()["log_loss"]
    plain = 0
    for _ in range(RUNS):
        labels, _, scores = model.draw(rng, 100)
        losses = -np.log(np.where(labels, scores, 1 - scores))
        low, high = stats.t(99, losses.mean(), stats.sem(losses)).interval(0.95)
        plain += low <= truth <= high
    ours = coverage(lambda: model.draw(rng, 100), {"log_loss": truth}, task="binary")["log_loss"]
    assert plain / RUNS < 0.85
    assert ours > 0.9
