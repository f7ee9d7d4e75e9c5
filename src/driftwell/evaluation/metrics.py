"""The table of performance metrics, and the one function that measures all of a task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftwell.errors import UnknownName
from driftwell.evaluation import score_metrics
from driftwell.evaluation.amount_metrics import REGRESSION
from driftwell.evaluation.class_metrics import BINARY, MULTICLASS
from driftwell.evaluation.outcomes import Outcomes
from driftwell.kernels.classification import ConfusionCells
from driftwell.results import MetricValue

__all__ = ["ALIASES", "METRICS", "Metric", "canonical_metric", "measure"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """Which direction of a metric is good, and what it needs: "classes" (labels and predicted classes),
    "ranking" (scores that rank), "probability" (scores in 0…1) or "amounts" (labels and predictions that
    are numbers)."""

    name: str
    higher_is_better: bool
    needs: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, "classes"),
        Metric("balanced_accuracy", True, "classes"),
        Metric("precision", True, "classes"),
        Metric("recall", True, "classes"),
        Metric("specificity", True, "classes"),
        Metric("f1", True, "classes"),
        Metric("mcc", True, "classes"),
        Metric("roc_auc", True, "ranking"),
        Metric("average_precision", True, "ranking"),
        Metric("log_loss", False, "probability"),
        Metric("brier", False, "probability"),
        Metric("ece", False, "probability"),
        Metric("mae", False, "amounts"),
        Metric("mse", False, "amounts"),
        Metric("rmse", False, "amounts"),
        Metric("rmsle", False, "amounts"),
        Metric("mape", False, "amounts"),
        Metric("smape", False, "amounts"),
        Metric("r2", True, "amounts"),
    )
}

ALIASES = {"f1_score": "f1"}


def canonical_metric(name: str) -> str:
    """The name used here for a metric: ``f1_score`` is ``f1``, all others are themselves.

    Raises
    ------
    UnknownName
        No metric has this name; the nearest is named.

    Examples
    --------
    >>> canonical_metric("f1_score")
    'f1'
    """
    found = ALIASES.get(name, name)
    if found not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return found


def measure(
    outcomes: Outcomes, cells: ConfusionCells | None, scores: Floats | None, level: float
) -> dict[str, MetricValue]:
    """Every metric of the task in the order of ``METRICS``, each with its interval, or None and the reason.

    ``cells`` are those of the outcomes (None for regression). ``scores`` belong to the judged rows, NaN where
    missing; metrics that need them use the rows that have one.
    """
    if outcomes.task == "regression":
        return _amounts(outcomes, level)
    assert cells is not None
    table = BINARY if outcomes.task == "binary" else MULTICLASS
    names = _needing("classes")
    if outcomes.n == 0:
        return _all_none([*names, *_needing("ranking", "probability")], "no labelled rows")
    judged = {name: table[name](cells, level).named(name, outcomes.n) for name in names}
    return judged | _scored(outcomes, scores, level)


def _amounts(outcomes: Outcomes, level: float) -> dict[str, MetricValue]:
    names = _needing("amounts")
    if outcomes.n == 0:
        return _all_none(names, "no labelled rows")
    with np.errstate(over="ignore", invalid="ignore"):
        found = {name: REGRESSION[name](outcomes.truth, outcomes.predicted, level) for name in names}
    return {name: found[name].named(name, outcomes.n) for name in names}


def _scored(outcomes: Outcomes, scores: Floats | None, level: float) -> dict[str, MetricValue]:
    names = _needing("ranking", "probability")
    if outcomes.task != "binary":
        return _all_none(names, "one score a row cannot rank more than two classes")
    if scores is None:
        return _all_none(names, "no scores")
    there, positive = ~np.isnan(scores), outcomes.truth == 1
    if not there.any():
        return _all_none(names, "no labelled row has a score")
    if not there.all():
        scores, positive = scores[there], positive[there]
    found = score_metrics.ranking(positive, scores, level) | score_metrics.probability(positive, scores, level)
    return {name: found[name].named(name, scores.size) for name in names}


def _needing(*needs: str) -> list[str]:
    return [metric.name for metric in METRICS.values() if metric.needs in needs]


def _all_none(names: Iterable[str], reason: str) -> dict[str, MetricValue]:
    return {name: MetricValue(name, None, None, None, 0, reason) for name in names}
