"""The newest predictions and their labels, measured as they come: ``PerformanceWindow``."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.degradation import (
    DEFAULT_THRESHOLD,
    Comparison,
    Threshold,
    compare_with_baseline,
)
from driftwell.evaluation.metrics import ALIASES
from driftwell.evaluation.outcomes import TASKS
from driftwell.evaluation.performance import Performance, performance_of
from driftwell.results import MetricValue

__all__ = ["PerformanceWindow", "WindowMetrics"]


class WindowMetrics(dict[str, "float | int | None"]):
    """Metrics by name and ``num_samples``; a plain dict (JSON takes it) that accepts ``f1_score`` for
    ``f1``."""

    def __getitem__(self, name: str) -> float | int | None:
        return super().__getitem__(ALIASES.get(name, name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(ALIASES.get(name, name) if isinstance(name, str) else name)

    def get(self, name: str, default: Any = None) -> Any:
        """The metric, or ``default`` where it is not of this task."""
        return super().get(ALIASES.get(name, name), default)


class PerformanceWindow:
    """The newest ``size`` pairs of prediction and label, and how good they were.

    Parameters
    ----------
    size
        Pairs kept; the oldest leaves when one too many comes.
    task
        "classification" (two classes are binary, more are macro averages), "binary", "multiclass" or
        "regression".
    positive, classes
        The positive class, and classes known beforehand (see ``performance``): without them the classes are
        those in the window.
    interval
        Coverage of the intervals that ``performance`` gives and ``compare`` uses.

    Notes
    -----
    Deterministic; ``update`` is O(1), the others O(size). Not thread-safe: one owner, or a lock around it.

    Raises
    ------
    BadInput
        ``size`` is not a positive whole number.
    UnknownName
        ``task`` is not known.

    Examples
    --------
    >>> window = PerformanceWindow(size=100)
    >>> for prediction, label in [(1, 1), (0, 1), (0, 0), (1, 1)]:
    ...     window.update(prediction, label)
    >>> window.metrics()["accuracy"], window.metrics()["num_samples"]
    (0.75, 4)
    >>> window.compare({"accuracy": 0.9}).degraded
    True
    """

    def __init__(
        self,
        size: int = 1000,
        task: str = "classification",
        *,
        positive: Any = None,
        classes: Sequence[Any] | None = None,
        interval: float = 0.95,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise BadInput(f"size must be a whole number of at least 1; got {size!r}")
        if task not in TASKS:
            raise UnknownName("task", task, TASKS)
        if not 0 < interval < 1:
            raise BadInput(f"interval must be between 0 and 1, such as 0.95; got {interval!r}")
        self.size = size
        self.task = task
        self.n_unlabelled = 0
        self.n_missing = 0
        self._options = {"positive": positive, "classes": classes, "interval": interval}
        self._rows: deque[tuple[Any, Any, Any]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, prediction: Any, label: Any, score: Any = None) -> None:
        """Add one pair. Without a label or a prediction (None, NaN) it is not kept, only counted in
        ``n_unlabelled`` or ``n_missing``. NumPy scalars and arrays of one element are taken as their
        value."""
        label, prediction = _scalar(label), _scalar(prediction)
        if _is_missing(label):
            self.n_unlabelled += 1
        elif _is_missing(prediction):
            self.n_missing += 1
        else:
            self._rows.append((label, prediction, _scalar(score)))

    def metrics(self) -> WindowMetrics:
        """Values by name, None where undefined, with ``num_samples``; ``mae`` and ``rmse`` too whenever all
        labels and predictions are numbers; metrics of scores only where there are scores."""
        values = {name: found.value for name, found in self._measured().items()}
        return WindowMetrics(values | {"num_samples": len(self._rows)})

    def performance(self) -> Performance:
        """The same window with intervals, counts and the confusion matrix."""
        labels, predictions, scores = self._columns()
        return performance_of(labels, predictions, scores, task=self.task, **self._options)

    def compare(self, baseline: Mapping[str, Any], threshold: Threshold = DEFAULT_THRESHOLD) -> Comparison:
        """Judge the window against a baseline: numbers by metric, another window's ``metrics()``, or a
        ``Performance``. ``threshold`` as in ``degradation``; metrics without a baseline are not judged."""
        return compare_with_baseline(self._measured(), baseline, threshold, num_samples=len(self._rows))

    def _measured(self) -> dict[str, MetricValue]:
        found = dict(self.performance().metrics)
        labels, predictions, scores = self._columns()
        if scores is None:
            found = {name: value for name, value in found.items() if value.reason != "no scores"}
        if self.task != "regression" and labels and all(map(_is_number, [*labels, *predictions])):
            errors = performance_of(labels, predictions, task="regression", interval=self._options["interval"])
            found |= {name: errors[name] for name in ("mae", "rmse")}
        return found

    def _columns(self) -> tuple[list[Any], list[Any], list[Any] | None]:
        scores = [row[2] for row in self._rows]
        known = any(score is not None for score in scores)
        return [row[0] for row in self._rows], [row[1] for row in self._rows], scores if known else None


def _scalar(value: Any) -> Any:
    """NumPy scalars, 0-d arrays, arrays of one element and one-element tensors as plain values."""
    return value.item() if hasattr(value, "item") else value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
