"""Formulas of classification metrics: confusion cells, one-versus-rest averages, ranking, probabilities.

Classes arrive as integer codes, positives as booleans, scores as finite or infinite floats: missing values
are taken out before. Values only, with the variance of the estimator where an interval is built from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "ConfusionCells",
    "Estimate",
    "average_precision",
    "brier_losses",
    "confusion_cells",
    "expected_calibration_error",
    "log_losses",
    "macro_f1",
    "macro_specificity",
    "matthews_correlation",
    "roc_auc",
    "score_counts",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_DENSE_CELLS = 1 << 22
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and the variance of its estimator; None where that variance is zero or undefined.

    ``degrees`` are the degrees of freedom of the variance, infinite where it is as good as known.
    """

    value: float
    variance: float | None
    degrees: float = math.inf


@dataclass(frozen=True, slots=True)
class ConfusionCells:
    """The cells of a confusion matrix that are not empty: ``count[c]`` rows of class ``truth[c]`` were
    predicted as ``predicted[c]``. Never larger than the rows, however many classes there are."""

    truth: Ints
    predicted: Ints
    count: Ints
    n_classes: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.count.sum())

    @property
    def correct(self) -> Bools:
        """Which cells lie on the diagonal."""
        return np.equal(self.truth, self.predicted)

    @property
    def actual(self) -> Ints:
        """Rows whose label is the class, one number a class."""
        return self._per_class(self.truth, self.count)

    @property
    def guessed(self) -> Ints:
        """Rows predicted as the class, one number a class."""
        return self._per_class(self.predicted, self.count)

    @property
    def hits(self) -> Ints:
        """Rows of the class that were predicted as it, one number a class."""
        return self._per_class(self.truth, np.where(self.correct, self.count, 0))

    def _per_class(self, classes: Ints, counts: Ints) -> Ints:
        # bincount adds in float64: exact, because row counts stay far below 2**53.
        return np.bincount(classes, counts, self.n_classes).astype(np.int64)


def confusion_cells(truth: Ints, predicted: Ints, n_classes: int) -> ConfusionCells:
    """Count pairs of class codes.

    Parameters
    ----------
    truth, predicted
        Codes in ``0 … n_classes - 1``, shape ``(rows,)``.

    Notes
    -----
    Cost O(rows) up to about 2,000 classes, a sort of the rows beyond.

    Examples
    --------
    >>> cells = confusion_cells(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    >>> cells.hits, cells.actual, cells.guessed
    (array([1, 1]), array([1, 2]), array([2, 1]))
    """
    pair = truth * n_classes + predicted
    if n_classes * n_classes <= _DENSE_CELLS:
        dense = np.bincount(pair)
        found = np.flatnonzero(dense)
        count = dense[found]
    else:
        found, count = np.unique(pair, return_counts=True)
    return ConfusionCells(found // n_classes, found % n_classes, count.astype(np.int64), n_classes)


def macro_f1(cells: ConfusionCells) -> Estimate:
    """Mean over the classes that occur of ``2·hits / (actual + predicted)``, with its delta-method variance.

    Classes occur when they are in the labels or in the predictions. The rows are one multinomial sample.

    References
    ----------
    .. [1] Takahashi, Yamamoto, Kuchiba, Koyama (2022), Confidence interval for micro-averaged F1 and
       macro-averaged F1 scores, Applied Intelligence 52: the delta method on the multinomial cells.

    Examples
    --------
    >>> macro_f1(confusion_cells(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]), 3)).value
    0.7777777777777777
    """
    n = cells.n
    total = (cells.actual + cells.guessed) / n
    occurs = total > 0
    share = np.where(occurs, total, 1.0)
    f1 = 2 * cells.hits / n / share
    pull = f1 / share
    gradient = np.where(cells.correct, 2 / share[cells.truth], 0.0) - pull[cells.truth] - pull[cells.predicted]
    k = int(occurs.sum())
    return Estimate(float(f1[occurs].sum() / k), _delta_variance(cells.count, gradient / k))


def macro_specificity(cells: ConfusionCells) -> Estimate:
    """Mean over the classes that occur of the share of other rows not taken for the class.

    A class that holds every label has no other rows and is left out. The variance is the delta method's on
    the multinomial cells.

    Examples
    --------
    >>> macro_specificity(confusion_cells(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]), 3)).value
    0.888888888888889
    """
    n, actual, guessed = cells.n, cells.actual, cells.guessed
    defined = (actual + guessed > 0) & (actual < n)
    others = np.where(defined, (n - actual) / n, 1.0)
    wrong = np.where(defined, (guessed - cells.hits) / n, 0.0)
    pull = wrong / others**2
    k = int(defined.sum())
    per_error = np.where(defined, 1 / others, 0.0)[cells.predicted]
    gradient = pull.sum() - pull[cells.truth] - np.where(cells.correct, 0.0, per_error)
    return Estimate(float((1 - wrong / others)[defined].sum() / k), _delta_variance(cells.count, gradient / k))


def matthews_correlation(cells: ConfusionCells) -> Estimate | None:
    """Matthews correlation (for more than two classes Gorodkin's R_K), in -1…1, with its delta-method
    variance.

    None where it is undefined: all labels are of one class, or all predictions are.

    References
    ----------
    .. [1] Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient.
    .. [2] Itaya, Tamura, Hayashi, Yamamoto (2024), Asymptotic properties of Matthews correlation coefficient,
       Statistics in Medicine: the delta method on the multinomial cells.

    Examples
    --------
    >>> matthews_correlation(confusion_cells(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)).value
    0.5773502691896258
    """
    n = cells.n
    actual, guessed = cells.actual / n, cells.guessed / n
    spread_actual, spread_guessed = 1 - float(actual @ actual), 1 - float(guessed @ guessed)
    if min(spread_actual, spread_guessed) <= 1e-15:
        return None
    covariance = int(cells.count[cells.correct].sum()) / n - float(actual @ guessed)
    scale = math.sqrt(spread_actual * spread_guessed)
    value = covariance / scale
    gradient = (np.where(cells.correct, 1.0, 0.0) - guessed[cells.truth] - actual[cells.predicted]) / scale
    gradient += value * (actual[cells.truth] / spread_actual + guessed[cells.predicted] / spread_guessed)
    return Estimate(min(1.0, max(-1.0, value)), _delta_variance(cells.count, gradient))


def score_counts(positive: Bools, scores: Floats) -> tuple[Ints, Ints]:
    """``(positives, negatives)`` at each distinct score, ascending: all that ranking metrics need.

    Cost: one sort of the scores.

    Examples
    --------
    >>> score_counts(np.array([True, False, True]), np.array([0.9, 0.2, 0.2]))
    (array([1, 1]), array([1, 0]))
    """
    order = np.argsort(scores)
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    positives = np.diff(np.cumsum(positive[order])[last], prepend=0).astype(np.int64)
    return positives, np.diff(last + 1, prepend=0) - positives


def roc_auc(positives: Ints, negatives: Ints) -> Estimate:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting one half.

    Parameters
    ----------
    positives, negatives
        As from ``score_counts``; both hold at least one row.

    Returns
    -------
    Estimate
        The variance is DeLong's, with Satterthwaite's degrees of freedom; None when a class has fewer than
        two rows, or the placements do not vary (complete separation, one score for all).

    References
    ----------
    .. [1] DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44, 837–845.
    .. [2] Sun, Xu (2014), IEEE Signal Processing Letters 21: the same from ranks; here from counts at
       distinct scores.

    Examples
    --------
    >>> roc_auc(*score_counts(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))).value
    0.75
    """
    m, n = int(positives.sum()), int(negatives.sum())
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = (m - np.cumsum(positives) + positives / 2) / m
    area = float(positives @ below) / m
    if m < 2 or n < 2:
        return Estimate(area, None)
    of_positives = float(positives @ (below - area) ** 2) / (m * (m - 1))
    of_negatives = float(negatives @ (above - area) ** 2) / (n * (n - 1))
    variance = of_positives + of_negatives
    if variance <= 1e-24:
        return Estimate(area, None)
    return Estimate(area, variance, variance**2 / (of_positives**2 / (m - 1) + of_negatives**2 / (n - 1)))


def average_precision(positives: Ints, negatives: Ints) -> float:
    """Mean precision over the positives, taken from the highest score down: ``Σ (Rₖ - Rₖ₋₁) Pₖ``.

    Tied scores enter together; nothing is interpolated.

    Parameters
    ----------
    positives, negatives
        As from ``score_counts``; at least one positive.

    Examples
    --------
    >>> positive, scores = np.array([False, True, False, True]), np.array([0.1, 0.35, 0.4, 0.8])
    >>> average_precision(*score_counts(positive, scores))
    0.8333333333333333
    """
    down = positives[::-1]
    hits = np.cumsum(down)
    return float(down @ (hits / np.cumsum(down + negatives[::-1])) / hits[-1])


def log_losses(positive: Bools, probability: Floats) -> Floats:
    """``-ln`` of the probability given to what happened, row by row, in nats.

    Probabilities are kept 2.2e-16 away from 0 and 1, as scikit-learn does, so one row costs at most 36.04.

    Examples
    --------
    >>> log_losses(np.array([True, False]), np.array([0.5, 0.0])).round(6)
    array([0.693147, 0.      ])
    """
    given = np.where(positive, probability, 1 - probability)
    losses: Floats = -np.log(np.clip(given, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY))
    return losses


def brier_losses(positive: Bools, probability: Floats) -> Floats:
    """Squared distance of the probability from what happened (1 or 0), row by row.

    Examples
    --------
    >>> brier_losses(np.array([True, False]), np.array([0.5, 0.0]))
    array([0.25, 0.  ])
    """
    return np.square(positive - probability)


def expected_calibration_error(positive: Bools, probability: Floats, bins: int = 10) -> float:
    """Mean over rows of |share of positives - mean probability| in bins of equal width over 0…1.

    A value on an inner edge belongs to the lower bin (as in ``sklearn.calibration.calibration_curve``).

    Notes
    -----
    Biased upwards in small samples: a perfectly calibrated model shows 0.3 to 0.4 times ``sqrt(bins / n)``.

    References
    ----------
    .. [1] Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
       binning, AAAI.

    Examples
    --------
    >>> expected_calibration_error(np.array([True, True, False, False]), np.array([0.9, 0.9, 0.2, 0.2]))
    0.15
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    where = np.searchsorted(edges, probability)
    gaps = np.bincount(where, positive - probability, bins)
    return float(np.abs(gaps).sum() / probability.size)


def _delta_variance(counts: Ints, gradient: Floats) -> float | None:
    """Variance of a smooth function of multinomial cell shares, from its gradient on the cells that are not
    empty."""
    n = int(counts.sum())
    share = counts / n
    centred = gradient - float(share @ gradient)
    variance = float(share @ centred**2) / n
    return variance if variance > 1e-24 else None
