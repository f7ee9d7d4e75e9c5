"""Is a metric worse than its baseline by more than is allowed, and is that beyond what the row count
explains?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.metrics import ALIASES, METRICS, canonical_metric
from driftwell.results import MetricValue, Severity, plain

__all__ = [
    "DEFAULT_THRESHOLD",
    "Comparison",
    "Degradation",
    "Threshold",
    "compare_with_baseline",
    "degradation",
]

DEFAULT_THRESHOLD = 0.05
"""A metric may be worse by this share of its baseline."""

_FORMS = "a threshold is a number, {'abs': x} or {'rel': x}"

Threshold = float | Mapping[str, Any]
Value = float | MetricValue | None


@dataclass(frozen=True, slots=True)
class Degradation:
    """One metric against its baseline.

    Attributes
    ----------
    value, low, high, n
        The metric now, its interval and its rows; None where undefined or not given.
    baseline, limit
        What it was, and the value it may not pass: downwards where higher is better, upwards for errors.
    degraded
        The value is beyond the limit.
    confirmed
        The whole interval is: the few rows of a window do not explain it. False without an interval.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    baseline: float
    limit: float
    degraded: bool
    confirmed: bool
    reason: str | None = None

    @property
    def change(self) -> float | None:
        """Value minus baseline."""
        return None if self.value is None else self.value - self.baseline

    @property
    def excess(self) -> float | None:
        """How much worse than the baseline, in units of what is allowed: above 1 is degraded, below 0 is
        better."""
        if self.value is None:
            return None
        allowed, change = self.limit - self.baseline, self.value - self.baseline
        worse = -change if METRICS[self.metric].higher_is_better else change
        if allowed == 0:
            return math.inf if self.degraded else 0.0
        return worse / abs(allowed)

    @property
    def severity(self) -> Severity:
        """None up to half of what is allowed, low up to all of it, medium up to twice, high beyond."""
        excess = self.excess
        if excess is None:
            return Severity.NONE
        if self.degraded:
            return Severity.MEDIUM if excess <= 2 else Severity.HIGH
        return Severity.LOW if excess > 0.5 else Severity.NONE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with change, excess and severity."""
        extra = {"change": self.change, "excess": self.excess, "severity": self.severity}
        out: dict[str, Any] = plain(self) | plain(extra)
        return out


@dataclass(frozen=True, slots=True)
class Comparison(Mapping[str, Degradation]):
    """Every metric that has a baseline against it, by name: ``c["f1"].degraded``; ``f1_score`` is accepted.

    ``num_samples`` is the number of judged rows behind the metrics.
    """

    metrics: dict[str, Degradation]
    num_samples: int

    def __getitem__(self, name: str) -> Degradation:
        return self.metrics[ALIASES.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    @property
    def degraded(self) -> bool:
        """Whether any metric is degraded."""
        return any(found.degraded for found in self.metrics.values())

    @property
    def confirmed(self) -> bool:
        """Whether any metric is degraded beyond what its row count explains."""
        return any(found.confirmed for found in self.metrics.values())

    @property
    def degraded_metrics(self) -> tuple[str, ...]:
        """Names of the degraded metrics, the worst first."""
        worst = sorted(self.metrics.values(), key=lambda found: -(found.excess or 0.0))
        return tuple(found.metric for found in worst if found.degraded)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "degraded": self.degraded,
            "confirmed": self.confirmed,
            "degraded_metrics": list(self.degraded_metrics),
            "num_samples": self.num_samples,
            "metrics": {name: found.to_dict() for name, found in self.metrics.items()},
        }


def degradation(metric: str, value: Value, baseline: float, threshold: Threshold = DEFAULT_THRESHOLD) -> Degradation:
    """Judge one metric against its baseline.

    Parameters
    ----------
    metric
        A name of ``METRICS``, or ``f1_score``.
    value
        A number, or a ``MetricValue`` (then its interval decides ``confirmed``); None is never degraded.
    threshold
        How much worse is allowed: a share of the baseline (0.05), ``{"abs": 0.05}`` in the metric's own unit,
        ``{"rel": 0.05}``, or a dict of these by metric, where metrics not named have 0.05.

    Raises
    ------
    UnknownName
        No such metric.
    BadInput
        The baseline is not a finite number, or the threshold is not one of the forms above.

    Examples
    --------
    >>> found = degradation("accuracy", 0.80, baseline=0.85)
    >>> found.degraded, round(found.limit, 6), found.confirmed
    (True, 0.8075, False)
    >>> degradation("mae", 2.2, baseline=2.0, threshold={"mae": {"abs": 0.3}}).degraded
    False
    """
    name = canonical_metric(metric)
    higher = METRICS[name].higher_is_better
    start = _finite(baseline, f"the baseline of {name}")
    allowed = _allowed(name, start, threshold)
    limit = start - allowed if higher else start + allowed
    now = value if isinstance(value, MetricValue) else _bare(name, value)
    best = now.high if higher else now.low
    return Degradation(
        name,
        now.value,
        now.low,
        now.high,
        now.n,
        start,
        limit,
        degraded=_beyond(now.value, limit, higher),
        confirmed=_beyond(best, limit, higher),
        reason=now.reason,
    )


def compare_with_baseline(
    metrics: Mapping[str, Any],
    baseline: Mapping[str, Any],
    threshold: Threshold = DEFAULT_THRESHOLD,
    *,
    num_samples: int = 0,
) -> Comparison:
    """Judge every metric that has a baseline; one without a value is there with the reason, and not degraded.

    Parameters
    ----------
    metrics
        Values by name: numbers or ``MetricValue``.
    baseline
        Numbers or ``MetricValue`` by name; ``num_samples`` and None are passed over, so that the metrics of
        one window can be the baseline of another.

    Raises
    ------
    UnknownName
        The baseline or the threshold names something that is no metric.

    Examples
    --------
    >>> found = compare_with_baseline({"accuracy": 0.7, "f1": 0.8}, {"accuracy": 0.85, "f1_score": 0.8})
    >>> found.degraded_metrics
    ('accuracy',)
    """
    start = {canonical_metric(name): _number(value) for name, value in baseline.items() if name != "num_samples"}
    now = {ALIASES.get(name, name): value for name, value in metrics.items()}
    found = {
        name: degradation(name, now.get(name), value, threshold) for name, value in start.items() if value is not None
    }
    return Comparison(found, num_samples)


def _allowed(metric: str, baseline: float, threshold: Threshold) -> float:
    """How much worse is allowed, in the metric's unit."""
    if isinstance(threshold, Mapping):
        if set(threshold) == {"abs"}:
            return _size(threshold["abs"])
        if set(threshold) == {"rel"}:
            return _size(threshold["rel"]) * abs(baseline)
        by_metric = {_metric_of_threshold(name): own for name, own in threshold.items()}
        return _allowed(metric, baseline, _not_nested(by_metric.get(metric, DEFAULT_THRESHOLD)))
    return _size(threshold) * abs(baseline)


def _metric_of_threshold(name: str) -> str:
    try:
        return canonical_metric(name)
    except UnknownName as exc:
        raise BadInput(f"{_FORMS} or a dict by metric: {exc}") from exc


def _not_nested(threshold: Threshold) -> Threshold:
    if isinstance(threshold, Mapping) and set(threshold) not in ({"abs"}, {"rel"}):
        raise BadInput(f"{_FORMS}; got {threshold!r}")
    return threshold


def _size(threshold: object) -> float:
    size = _finite(threshold, "a threshold")
    if size < 0:
        raise BadInput(f"a threshold says how much worse is allowed and is not negative; got {threshold!r}")
    return size


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadInput(f"{what} must be a finite number; got {value!r}")
    return float(value)


def _number(value: Any) -> float | None:
    found: float | None = value.value if isinstance(value, MetricValue) else value
    return found


def _bare(metric: str, value: float | None) -> MetricValue:
    if value is None:
        return MetricValue(metric, None, None, None, 0, "no value")
    return MetricValue(metric, _finite(value, metric), None, None, 0)


def _beyond(value: float | None, limit: float, higher_is_better: bool) -> bool:
    """Strictly beyond; a value on the limit stays inside whatever the rounding of either."""
    if value is None or math.isclose(value, limit, rel_tol=1e-12, abs_tol=1e-15):
        return False
    return value < limit if higher_is_better else value > limit
