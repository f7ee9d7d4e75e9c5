"""Rules: a condition over the metrics of a check, how serious it is, and how long it must hold."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from driftwell.alerts.expression import Expression, number_or_none, parse
from driftwell.config import format_duration, parse_duration
from driftwell.errors import ConfigError, nearest
from driftwell.outbox import call
from driftwell.results import Severity

__all__ = [
    "BUILT_IN_RULES",
    "SEVERITIES",
    "AlertRule",
    "Evaluation",
    "evaluate",
    "evaluate_rules",
    "metrics_of",
    "rules_from",
]

SEVERITIES = ("info", "warning", "critical")
"""How serious an alert is, least first."""

Outcome: TypeAlias = Literal["firing", "ok", "no_data", "error"]


@dataclass(frozen=True)
class AlertRule:
    """One rule: it fires when its condition holds.

    Parameters
    ----------
    name
        Names the alert, CamelCase by custom; unique among the rules of a model.
    condition
        An expression over metric names (see ``driftwell.alerts.expression``), or a callable that takes a
        mapping of metrics (use ``.get``) and returns whether the rule fires.
    severity
        ``"info"``, ``"warning"`` or ``"critical"``.
    for_
        How long the condition must hold, in the time of the checks, before the alert fires: an ISO 8601
        duration or a timedelta.
    cooldown
        Least time from one firing to the next.
    group
        Of the firing alerts of one group only the most serious ones send notices.
    summary
        What happened, for the notice; by default the condition says it.

    Raises ``ConfigError`` for a condition that is not allowed or an unknown severity, ``BadInput`` for a
    duration that cannot be read.

    Examples
    --------
    >>> rule = AlertRule("accuracy_drop", "accuracy < 0.85", severity="critical", for_="PT30M")
    >>> rule.hold_us
    1800000000
    """

    name: str
    condition: str | Callable[[Mapping[str, Any]], Any]
    severity: str = "warning"
    for_: str | timedelta | None = None
    cooldown: str | timedelta | None = None
    group: str | None = None
    summary: str | None = None
    expression: Expression | None = field(init=False, repr=False, compare=False)
    hold_us: int = field(init=False, repr=False, compare=False)
    cooldown_us: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigError(f"a rule needs a name, got {self.name!r}")
        if self.severity not in SEVERITIES:
            raise ConfigError(f"rule {self.name}: severity must be {', '.join(SEVERITIES)}, got {self.severity!r}")
        if not isinstance(self.condition, str) and not callable(self.condition):
            raise ConfigError(f"rule {self.name}: the condition must be an expression or a function")
        parsed = parse(self.condition) if isinstance(self.condition, str) else None
        object.__setattr__(self, "expression", parsed)
        object.__setattr__(self, "hold_us", _microseconds(self.for_))
        object.__setattr__(self, "cooldown_us", _microseconds(self.cooldown))

    @property
    def rank(self) -> int:
        """The severity as a number, 0 for info."""
        return SEVERITIES.index(self.severity)

    @property
    def words(self) -> str:
        """The condition for people."""
        text = self.expression.text if self.expression else "its function returned true"
        return f"{text} for {format_duration(timedelta(microseconds=self.hold_us))}" if self.hold_us else text


def _microseconds(duration: str | timedelta | None) -> int:
    return 0 if duration is None else round(parse_duration(duration) / timedelta(microseconds=1))


BUILT_IN_RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "ModelDataBroken",
        "quality_severity >= 3",
        "critical",
        group="quality",
        summary="The data of the model is broken: columns, rows or times are not what the reference promises.",
    ),
    AlertRule(
        "ModelDataDrift",
        "drift_detected",
        "warning",
        group="drift",
        summary="The inputs of the model have moved away from the reference.",
    ),
    AlertRule(
        "ModelDataDriftCritical",
        "drift_detected and drift_severity >= 3",
        "critical",
        group="drift",
        summary="The inputs of the model have moved far away from the reference.",
    ),
    AlertRule(
        "ModelOutputDrift",
        "output_drift",
        "warning",
        group="output",
        summary="The predictions, scores or confidences of the model have moved away from the reference.",
    ),
    AlertRule(
        "ModelPerformanceDrop",
        "performance_degraded",
        "warning",
        group="performance",
        summary="The realized performance of the model is worse than its baseline.",
    ),
    AlertRule(
        "ModelPerformanceDropCritical",
        "performance_degraded and performance_severity >= 3",
        "critical",
        group="performance",
        summary="The realized performance of the model is worse than its baseline, beyond chance.",
    ),
    AlertRule(
        "ModelNoTraffic",
        "sample_count == 0",
        "warning",
        for_="PT1H",
        group="traffic",
        summary="No predictions of the model have been recorded.",
    ),
    AlertRule(
        "ModelCaptureLoss",
        "coverage < 0.99",
        "warning",
        group="capture",
        summary="Predictions of the model could not be recorded: queue, spool or store did not keep up.",
    ),
)
"""The rules of a monitor that was given none."""

_KEYS = {"name": "name", "condition": "condition", "severity": "severity", "for": "for_", "for_": "for_"} | {
    key: key for key in ("cooldown", "group", "summary")
}


def rules_from(items: Iterable[Any] | None) -> tuple[AlertRule, ...]:
    """Rules from what settings hold: ``AlertRule`` objects or tables of one's keys; None is the built-in set.

    In a table ``for_`` is written ``for``. Raises ``ConfigError`` for an unknown key or two rules of one
    name.

    Examples
    --------
    >>> rules_from([{"name": "Slow", "condition": "latency_p95 > 0.2", "for": "PT10M"}])[0].name
    'Slow'
    """
    if items is None:
        return BUILT_IN_RULES
    rules = tuple(item if isinstance(item, AlertRule) else _rule(item) for item in items)
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two rules are called {name!r}: give each its own name")
    return rules


def _rule(item: Any) -> AlertRule:
    if not isinstance(item, Mapping):
        raise ConfigError(f"a rule is an AlertRule or a table with name and condition, got {item!r}")
    for key in item:
        if key not in _KEYS:
            close = nearest(str(key), _KEYS)
            raise ConfigError(f"unknown key {key!r} in a rule; {f'did you mean {close}?' if close else list(_KEYS)}")
    if "name" not in item or "condition" not in item:
        raise ConfigError(f"a rule needs a name and a condition, got {dict(item)!r}")
    return AlertRule(**{_KEYS[key]: value for key, value in item.items()})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a rule says about some metrics: ``value`` is that of the first metric it names."""

    rule: AlertRule
    outcome: Outcome
    value: float | None
    message: str

    @property
    def firing(self) -> bool | None:
        """True or False, None when the rule cannot tell (no data, or its function failed)."""
        return {"firing": True, "ok": False}.get(self.outcome)


def evaluate(rule: AlertRule, metrics: Mapping[str, Any]) -> Evaluation:
    """Judge the metrics by one rule; never raises.

    In an expression a metric that is missing, None, text, NaN or infinite means ``no_data`` wherever the
    answer depends on it. A callable gets ``no_data`` when it asks for a metric that is missing, None, NaN or
    infinite without giving ``.get`` a default; else ``error`` when it raises.
    """
    if rule.expression is not None:
        truth = rule.expression.truth(metrics)
        outcome: Outcome = "no_data" if truth is None else "firing" if truth else "ok"
        return _evaluation(rule, outcome, metrics, rule.expression.names)
    assert callable(rule.condition)
    seen = _Watched(metrics)
    returned = call(_spared(rule.condition), seen)
    if seen.missing:
        return _evaluation(rule, "no_data", metrics, tuple(seen.asked))
    if returned.error is not None:
        return Evaluation(rule, "error", None, f"the rule's function failed: {returned.error}")
    return _evaluation(rule, "firing" if returned.value else "ok", metrics, tuple(seen.asked))


def _evaluation(rule: AlertRule, outcome: Outcome, metrics: Mapping[str, Any], names: tuple[str, ...]) -> Evaluation:
    numbers = {name: number_or_none(metrics.get(name)) for name in names}
    value = next(iter(numbers.values()), None)
    if outcome == "no_data":
        missing = ", ".join(name for name, number in numbers.items() if number is None)
        return Evaluation(rule, outcome, value, f"no value of {missing}" if missing else "no defined value")
    known = ", ".join(f"{name} is {number:.6g}" for name, number in numbers.items() if number is not None)
    return Evaluation(rule, outcome, value, f"{known} (rule: {rule.words})" if known else f"rule: {rule.words}")


def _spared(condition: Callable[[Mapping[str, Any]], Any]) -> Callable[[_Watched], Any]:
    """The user's function; what a missing metric makes it raise is the expected answer ``no_data``, no fault to log."""

    @functools.wraps(condition)
    def judged(metrics: _Watched) -> Any:
        try:
            return condition(metrics)
        except (TypeError, LookupError):
            if metrics.missing:
                return None
            raise

    return judged


class _Watched(Mapping[str, Any]):
    """The metrics as a callable sees them, remembering which were asked for and which were missing."""

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._metrics = {name: value for name, value in metrics.items() if not _undefined(value)}
        self.asked: dict[str, None] = {}
        self.missing = False

    def __getitem__(self, name: str) -> Any:
        self.asked[name] = None
        self.missing |= name not in self._metrics
        return self._metrics[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the caller's own substitute, with which nothing is missing."""
        if name in self._metrics or default is None:
            self.asked[name] = None
            self.missing |= name not in self._metrics
        return self._metrics.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)


def _undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def evaluate_rules(rules: Iterable[AlertRule], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules that fire on these metrics, as dicts ``name, severity, value, message``; never raises.

    ``for_`` and ``cooldown`` are about a series of checks and play no part here.

    Examples
    --------
    >>> evaluate_rules([AlertRule("accuracy_drop", "accuracy < 0.85")], {"accuracy": 0.82})[0]["value"]
    0.82
    """
    found = [evaluate(rule, metrics) for rule in rules]
    return [
        {"name": one.rule.name, "severity": one.rule.severity, "value": one.value, "message": one.message}
        for one in found
        if one.outcome == "firing"
    ]


def metrics_of(check: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that rules see of one check (``CheckResult.to_dict()``): flat names, finite numbers.

    Always ``sample_count`` and ``severity`` (0 none to 3 high). Where drift was judged: ``drift_detected``
    (0 or 1), ``drift_severity``, ``n_drifted`` (features), ``max_drift_score``. Where outputs were: ``output_drift``,
    and of each ``prediction_drift``, ``score_drift``, ``confidence_drift`` (0 or 1) with its ``…_drift_value``. Where
    performance was: ``performance_degraded``, ``performance_severity`` and each realized metric by its name
    (``f1_score`` beside ``f1``). Where quality was: ``quality_failed`` (rules), ``quality_severity`` and
    ``broken_columns``. ``coverage`` (stored of offered, 0 to 1) where anything was offered. What was not judged is
    absent, so that no rule takes silence for health.
    """
    raw: dict[str, Any] = {
        "sample_count": check.get("sample_count", check.get("n_predictions")),
        "severity": _severity(check.get("severity")),
        "coverage": check.get("coverage"),
    }
    verdicts = check.get("verdicts") or ()
    drift = [v for v in verdicts if v["signal"] == "drift" and v["status"] not in ("no_data", "error")]
    if drift:
        worst = [_severity(v["severity"]) for v in drift]
        raw["drift_detected"] = check.get("drift_detected")
        raw["drift_severity"] = max(worst)
        raw["n_drifted"] = sum(_severity(v["severity"]) > Severity.NONE for v in drift if v.get("feature"))
        raw["max_drift_score"] = check.get("max_drift_score")
    raw |= _of_outputs([v for v in verdicts if v["signal"] == "output" and v["status"] not in ("no_data", "error")])
    performance = [v for v in verdicts if v["signal"] == "performance" and v["status"] not in ("no_data", "error")]
    if performance:
        raw["performance_degraded"] = check.get("performance_degraded")
        raw["performance_severity"] = max(_severity(v["severity"]) for v in performance)
    quality = check.get("quality") or {}
    if quality.get("status", "no_data") != "no_data":
        raw["quality_failed"] = quality.get("n_failed")
        raw["quality_severity"] = max((_severity(v["severity"]) for v in quality["verdicts"]), default=Severity.NONE)
        raw["broken_columns"] = len(quality["broken"])
    realized = (check.get("performance") or {}).get("realized") or {}
    raw |= {name: found.get("value") for name, found in realized.items()}
    raw["f1_score"] = raw.get("f1")
    numbers = {name: number_or_none(value) for name, value in raw.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _of_outputs(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    moved = {str(v["feature"]): _severity(v["severity"]) > Severity.NONE for v in verdicts}
    own = {f"{role}_drift": has_moved for role, has_moved in moved.items()}
    values = {f"{v['feature']}_drift_value": v.get("value") for v in verdicts}
    return own | values | ({"output_drift": any(moved.values())} if moved else {})


def _severity(word: Any) -> Severity:
    return Severity[str(word or "none").upper()]
