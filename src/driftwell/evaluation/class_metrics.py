"""Metrics of labels and predicted classes, from the cells of the confusion matrix.

With two classes precision, recall, specificity and F1 speak of the positive class; with more they are the
mean over the classes that occur in the labels or the predictions, each against all others (macro average).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from driftwell.evaluation.found import Found, proportion, undefined
from driftwell.evaluation.intervals import (
    Interval,
    f1_interval,
    fisher_z_interval,
    logit_interval,
    mean_of_proportions_interval,
    wilson_interval,
)
from driftwell.kernels.classification import (
    ConfusionCells,
    Estimate,
    macro_f1,
    macro_specificity,
    matthews_correlation,
)

__all__ = ["BINARY", "MULTICLASS", "CellMetric"]

Ints = npt.NDArray[np.int64]
CellMetric = Callable[[ConfusionCells, float], Found]


def _accuracy(cells: ConfusionCells, level: float) -> Found:
    return proportion(int(cells.hits.sum()), cells.n, level, "no labelled rows")


def _balanced_accuracy(cells: ConfusionCells, level: float) -> Found:
    there = cells.actual > 0
    if there.sum() < 2:
        return undefined("the labels hold one class only")
    return _mean_of_proportions(cells.hits[there], cells.actual[there], level, None)


def _mcc(cells: ConfusionCells, level: float) -> Found:
    estimate = matthews_correlation(cells)
    if estimate is None:
        return undefined("all labels or all predictions are of one class")
    value, variance = estimate.value, estimate.variance
    if abs(value) > 1 - 1e-12:
        # Nothing varies at the ends: carry Wilson's limit of the error rate over along the tangent.
        shares = cells.actual / cells.n
        reach = wilson_interval(0, cells.n, level)[1] / (1 - float(shares @ shares))
        return Found(value, (max(-1.0, 1 - reach), 1.0) if value > 0 else (-1.0, min(1.0, reach - 1)))
    if variance is None:
        return Found(value, None, "no interval: the estimate has no variance here")
    return Found(value, fisher_z_interval(value, variance, level))


# -- the positive class -------------------------------------------------------------------------------------


def _counts(cells: ConfusionCells) -> tuple[int, int, int, int]:
    """True negatives, false positives, false negatives, true positives."""
    (tn, tp), (negatives, positives) = cells.hits.tolist(), cells.actual.tolist()
    return tn, negatives - tn, positives - tp, tp


def _precision(cells: ConfusionCells, level: float) -> Found:
    _, fp, _, tp = _counts(cells)
    return proportion(tp, tp + fp, level, "nothing was predicted as the positive class")


def _recall(cells: ConfusionCells, level: float) -> Found:
    _, _, fn, tp = _counts(cells)
    return proportion(tp, tp + fn, level, "no label is of the positive class")


def _specificity(cells: ConfusionCells, level: float) -> Found:
    tn, fp, _, _ = _counts(cells)
    return proportion(tn, tn + fp, level, "every label is of the positive class")


def _f1(cells: ConfusionCells, level: float) -> Found:
    _, fp, fn, tp = _counts(cells)
    if tp + fp + fn == 0:
        return undefined("the positive class is neither in the labels nor in the predictions")
    return Found(2 * tp / (2 * tp + fp + fn), f1_interval(tp, fp + fn, level))


# -- macro averages -----------------------------------------------------------------------------------------


def _macro_precision(cells: ConfusionCells, level: float) -> Found:
    hits, guessed = _occurring(cells, cells.hits, cells.guessed)
    return _mean_of_proportions(hits, guessed, level, "were never predicted")


def _macro_recall(cells: ConfusionCells, level: float) -> Found:
    hits, actual = _occurring(cells, cells.hits, cells.actual)
    return _mean_of_proportions(hits, actual, level, "were predicted but are in no label")


def _macro_f1(cells: ConfusionCells, level: float) -> Found:
    hits, total = _occurring(cells, cells.hits, cells.actual + cells.guessed)
    limits = [f1_interval(h, t - 2 * h, level) for h, t in zip(hits.tolist(), total.tolist(), strict=True)]
    return _averaged(macro_f1(cells), limits, level)


def _macro_specificity(cells: ConfusionCells, level: float) -> Found:
    false, others = _occurring(cells, cells.guessed - cells.hits, cells.n - cells.actual)
    pairs = [(o - f, o) for f, o in zip(false.tolist(), others.tolist(), strict=True) if o]
    if not pairs:
        return undefined("labels and predictions are all of one class")
    return _averaged(macro_specificity(cells), [wilson_interval(k, n, level) for k, n in pairs], level)


def _occurring(cells: ConfusionCells, *columns: Ints) -> list[Ints]:
    occurs = cells.actual + cells.guessed > 0
    return [column[occurs] for column in columns]


def _mean_of_proportions(hits: Ints, n: Ints, level: float, what_empty_ones_are: str | None) -> Found:
    """Mean of independent proportions; one without rows counts as 0, as in scikit-learn, and is mentioned."""
    empty = int((n == 0).sum())
    reason = f"{empty} of {n.size} classes {what_empty_ones_are} and count as 0" if empty else None
    return Found(float((hits / np.maximum(n, 1)).mean()), mean_of_proportions_interval(hits, n, level), reason)


def _averaged(estimate: Estimate, limits: list[Interval], level: float) -> Found:
    """Delta method on the logit scale; at 0 and 1, where it has no variance, the mean of the classes' own
    limits (what MOVER gives for estimates that move together, so never too narrow)."""
    if estimate.variance is not None and 0 < estimate.value < 1:
        return Found(estimate.value, logit_interval(estimate.value, estimate.variance, level))
    low, high = np.mean(limits, axis=0).tolist()
    return Found(estimate.value, (min(low, estimate.value), max(high, estimate.value)))


_EITHER: dict[str, CellMetric] = {"accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy, "mcc": _mcc}
BINARY: dict[str, CellMetric] = _EITHER | {
    "precision": _precision,
    "recall": _recall,
    "specificity": _specificity,
    "f1": _f1,
}
MULTICLASS: dict[str, CellMetric] = _EITHER | {
    "precision": _macro_precision,
    "recall": _macro_recall,
    "specificity": _macro_specificity,
    "f1": _macro_f1,
}
