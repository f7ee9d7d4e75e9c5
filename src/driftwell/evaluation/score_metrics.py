"""Metrics of a binary task's scores: how well they rank, and how true they are as probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from driftwell.evaluation.found import Found, mean, undefined
from driftwell.evaluation.intervals import auc_interval, average_precision_interval
from driftwell.kernels.classification import (
    average_precision,
    brier_losses,
    expected_calibration_error,
    log_losses,
    roc_auc,
    score_counts,
)

__all__ = ["PROBABILITY", "RANKING", "ProbabilityMetric", "RankingMetric", "probability", "ranking"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
RankingMetric = Callable[[Ints, Ints, float], Found]
ProbabilityMetric = Callable[[Bools, Floats, float], Found]


def ranking(positive: Bools, scores: Floats, level: float) -> dict[str, Found]:
    """Every ranking metric from one sort of the scores, which may be infinite but not NaN."""
    positives, negatives = score_counts(positive, scores)
    return {name: metric(positives, negatives, level) for name, metric in RANKING.items()}


def probability(positive: Bools, scores: Floats, level: float) -> dict[str, Found]:
    """Every metric of scores as probabilities of the positive class; undefined outside 0…1."""
    if scores.min() < 0 or scores.max() > 1:
        return dict.fromkeys(PROBABILITY, undefined("scores outside 0…1 are not probabilities"))
    return {name: metric(positive, scores, level) for name, metric in PROBABILITY.items()}


def _roc_auc(positives: Ints, negatives: Ints, level: float) -> Found:
    m, n = int(positives.sum()), int(negatives.sum())
    if m == 0:
        return undefined("no label is of the positive class")
    if n == 0:
        return undefined("every label is of the positive class")
    area = roc_auc(positives, negatives)
    return Found(area.value, auc_interval(area.value, area.variance, area.degrees, m, n, level))


def _average_precision(positives: Ints, negatives: Ints, level: float) -> Found:
    m = int(positives.sum())
    if m == 0:
        return undefined("no label is of the positive class")
    value = average_precision(positives, negatives)
    return Found(value, average_precision_interval(value, m, level))


def _log_loss(positive: Bools, scores: Floats, level: float) -> Found:
    return mean(log_losses(positive, scores), level)


def _brier(positive: Bools, scores: Floats, level: float) -> Found:
    return mean(brier_losses(positive, scores), level, highest=1.0)


def _ece(positive: Bools, scores: Floats, level: float) -> Found:
    value = expected_calibration_error(positive, scores)
    return Found(value, None, "no interval: the estimate is biased upwards in small samples")


RANKING: dict[str, RankingMetric] = {"roc_auc": _roc_auc, "average_precision": _average_precision}
PROBABILITY: dict[str, ProbabilityMetric] = {"log_loss": _log_loss, "brier": _brier, "ece": _ece}
