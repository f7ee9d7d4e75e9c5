"""How good predictions were, with intervals: ``performance`` of a table, ``evaluate`` of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError, UnknownName, nearest
from driftwell.evaluation.cells import Texts, as_numbers, as_texts, read_cells
from driftwell.evaluation.metrics import ALIASES, METRICS, measure
from driftwell.evaluation.outcomes import Outcomes, read_outcomes
from driftwell.frame import read_table
from driftwell.kernels.classification import ConfusionCells, confusion_cells
from driftwell.results import MetricValue, plain

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MOST_CONFUSION_CLASSES", "Confusion", "Performance", "evaluate", "performance", "performance_of"]

Floats = npt.NDArray[np.float64]

MOST_CONFUSION_CLASSES = 50
"""Above this many classes the confusion matrix is left out."""

_NO_SEGMENT = "(missing)"


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many rows of each class were predicted as which: ``matrix[label][prediction]`` in the order of
    ``classes``.

    For two classes the order is negative, positive: ``((TN, FP), (FN, TP))``, as in scikit-learn.
    """

    classes: tuple[Any, ...]
    matrix: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class Performance(Mapping[str, MetricValue]):
    """The metrics of a task by name: ``m["f1"].value .low .high .n``; ``f1_score`` is accepted for ``f1``.

    Attributes
    ----------
    task
        "binary", "multiclass" or "regression".
    n, n_unlabelled, n_missing
        Rows with label and prediction; rows without a label; labelled rows without a prediction.
    positive
        The positive class of a binary task, else None.
    confusion
        None for regression and above 50 classes.
    segments
        The same per segment, by the segment's name; empty where no segment was asked for.
    interval
        The coverage that ``low`` and ``high`` of each metric aim at.
    """

    task: str
    metrics: dict[str, MetricValue]
    n: int
    n_unlabelled: int
    n_missing: int
    interval: float
    positive: Any = None
    confusion: Confusion | None = None
    segments: dict[str, Performance] = field(default_factory=dict)

    def __getitem__(self, name: str) -> MetricValue:
        found = self.metrics.get(ALIASES.get(name, name))
        if found is None:
            known = name in METRICS or name in ALIASES
            raise _NotMeasuredError("metric of this task" if known else "metric", name, self.metrics)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``metrics`` by name, each with value, low, high, n and reason."""
        return {
            "task": self.task,
            "n": self.n,
            "n_unlabelled": self.n_unlabelled,
            "n_missing": self.n_missing,
            "interval": self.interval,
            "positive": plain(self.positive),
            "metrics": {name: value.to_dict() for name, value in self.metrics.items()},
            "confusion": self.confusion.to_dict() if self.confusion else None,
            "segments": {name: part.to_dict() for name, part in self.segments.items()},
        }


class _NotMeasuredError(UnknownName, KeyError):
    """So that ``get`` and ``in`` of a mapping work; the message is ``UnknownName``'s."""

    __str__ = Exception.__str__


def performance(
    table: Any,
    *,
    label: str = "true_label",
    prediction: str = "prediction",
    score: str | None = "score",
    task: str | None = None,
    segment: str | None = None,
    interval: float = 0.95,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> Performance:
    """Measure the predictions of a table against its labels.

    Parameters
    ----------
    table
        Anything Driftwell reads as a table (data frame, dict of arrays, list of dicts, path …).
    label, prediction
        Columns of the truth and of the predicted class or amount. Rows without a label, and labelled rows
        without a prediction, are left out and counted.
    score
        Column of the positive class's score: a number that ranks, a probability for log loss, Brier and
        calibration. A table without a column ``score`` uses a numeric ``probability``; without either,
        metrics of scores are None.
    task
        "binary", "multiclass", "classification" or "regression"; None decides from the values: text and
        booleans are classes, numbers are amounts when any is fractional or the labels have more than 20
        distinct values.
    segment
        Column by whose values the same metrics are given again; None takes a column ``segment`` where there
        is one.
    interval
        Coverage of ``low`` and ``high``, between 0 and 1.
    positive, classes
        The positive class (see ``read_outcomes`` for the default), and classes known beforehand.

    Returns
    -------
    Performance
        A metric that is undefined has value None and a reason; none is ever NaN. Intervals assume
        independent rows.

    Raises
    ------
    ColumnError
        A named column is not in the table.
    BadInput
        ``interval`` is not between 0 and 1, or the table cannot be read.

    Examples
    --------
    >>> m = performance({"true_label": [1, 0, 1, None], "prediction": [1, 0, 0, 1]})
    >>> m.task, m["recall"].value, m.n, m.n_unlabelled
    ('binary', 0.5, 3, 1)
    >>> round(m["recall"].low, 3), round(m["recall"].high, 3), m["roc_auc"].reason
    (0.095, 0.905, 'no scores')
    """
    _check_interval(interval)
    rows = read_table(table)
    outcomes = read_outcomes(
        _column(rows, label, "label"),
        _column(rows, prediction, "prediction"),
        task=task,
        positive=positive,
        classes=classes,
    )
    scores = _judged_scores(_score_column(rows, score), outcomes)
    if segment is None and "segment" in rows.column_names:
        segment = "segment"
    parts = {} if segment is None else _by_segment(_column(rows, segment, "segment"), outcomes, scores, interval)
    return _performance(outcomes, scores, interval, parts)


def performance_of(
    labels: Any,
    predictions: Any,
    scores: Any = None,
    *,
    task: str | None = None,
    interval: float = 0.95,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> Performance:
    """As ``performance``, from columns: lists (None is missing), NumPy or Arrow arrays of equal length.

    Examples
    --------
    >>> performance_of(["late", "on time"], ["late", "late"], positive="late").confusion.matrix
    ((0, 1), (0, 1))
    """
    _check_interval(interval)
    outcomes = read_outcomes(labels, predictions, task=task, positive=positive, classes=classes)
    return _performance(outcomes, _judged_scores(scores, outcomes), interval, {})


def evaluate(
    labels: Any,
    predictions: Any,
    scores: Any = None,
    *,
    task: str | None = None,
    interval: float = 0.95,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> dict[str, MetricValue]:
    """The metrics alone of ``performance_of``, by name.

    Examples
    --------
    >>> evaluate([3.5, 2.0], [3.0, 2.5])["mae"].value
    0.5
    """
    found = performance_of(
        labels, predictions, scores, task=task, interval=interval, positive=positive, classes=classes
    )
    return found.metrics


def _performance(
    outcomes: Outcomes, scores: Floats | None, interval: float, segments: dict[str, Performance]
) -> Performance:
    amounts = outcomes.task == "regression"
    width = max(1, len(outcomes.classes))
    cells = None if amounts else confusion_cells(outcomes.truth, outcomes.predicted, width)
    return Performance(
        outcomes.task,
        measure(outcomes, cells, scores, interval),
        outcomes.n,
        outcomes.n_unlabelled,
        outcomes.n_missing,
        interval,
        outcomes.positive,
        _confusion(cells, outcomes.classes) if cells else None,
        segments,
    )


def _confusion(cells: ConfusionCells, classes: tuple[Any, ...]) -> Confusion | None:
    if len(classes) > MOST_CONFUSION_CLASSES:
        return None
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    matrix[cells.truth, cells.predicted] = cells.count
    return Confusion(classes, tuple(map(tuple, matrix.tolist())))


def _by_segment(column: Any, outcomes: Outcomes, scores: Floats | None, interval: float) -> dict[str, Performance]:
    (codes,), names = as_texts([read_cells(column)])
    codes = codes[outcomes.kept]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if codes.size else []
    found = {}
    for rows in groups:
        code = int(codes[rows[0]])
        name = names[code] if code >= 0 else _NO_SEGMENT
        found[name] = _performance(outcomes.take(rows), None if scores is None else scores[rows], interval, {})
    return found


def _judged_scores(scores: Any, outcomes: Outcomes) -> Floats | None:
    """Scores of the judged rows as numbers, NaN where missing; None where there are none at all."""
    if scores is None:
        return None
    cells = read_cells(scores)
    size = cells.codes.size if isinstance(cells, Texts) else cells.values.size
    if size != outcomes.kept.size:
        raise BadInput(
            f"{size} scores for {outcomes.kept.size} predictions: pass one for every row, None where missing"
        )
    numbers = as_numbers([cells], force=True)
    assert numbers is not None
    return numbers[0] if outcomes.n == outcomes.kept.size else numbers[0][outcomes.kept]


def _score_column(rows: pa.Table, score: str | None) -> Any:
    import pyarrow.types as types

    if score is None:
        return None
    if score != "score" or "score" in rows.column_names:
        return _column(rows, score, "score")
    if "probability" not in rows.column_names:
        return None
    column = rows.column("probability")
    return column if types.is_floating(column.type) or types.is_integer(column.type) else None


def _column(rows: pa.Table, name: str, role: str) -> Any:
    if name not in rows.column_names:
        close = nearest(name, rows.column_names)
        hint = f"; did you mean {close!r}?" if close else ""
        raise ColumnError(f"no column {name!r}{hint} Pass {role}= one of: {', '.join(rows.column_names) or 'none'}")
    return rows.column(name)


def _check_interval(interval: float) -> None:
    if isinstance(interval, bool) or not isinstance(interval, Real) or not 0 < interval < 1:
        raise BadInput(f"interval must be between 0 and 1, such as 0.95; got {interval!r}")
