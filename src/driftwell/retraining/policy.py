"""When a check asks for retraining: a policy, and a pure decision over the check and the runs so far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from driftwell.config import parse_duration
from driftwell.errors import BadInput
from driftwell.results import isoformat, plain

__all__ = [
    "DETAILS",
    "Code",
    "Decision",
    "Policy",
    "active_run",
    "cooldown_until",
    "decide",
    "decide_manual",
]

Code: TypeAlias = Literal[
    "triggered", "no_signal", "no_data", "data_quality", "too_few_rows", "running", "cooldown", "no_target"
]

DETAILS = (
    "model",
    "version",
    "signal",
    "metric",
    "feature",
    "value",
    "threshold",
    "severity",
    "window_start",
    "window_end",
    "n",
    "check_id",
    "triggered_by",
)
"""What a callback is told, all JSON scalars; null where it does not apply."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Policy:
    """What asks for retraining, and what holds it back.

    Parameters
    ----------
    on_performance
        A performance drop beyond chance asks for it (a performance verdict of severity high).
    on_drift
        Critical drift asks for it: a column of severity high (PSI above 0.25), or a drifted column whose
        drift score is above ``drift_score``.
    minimum_rows
        Fewest predictions in the window.
    cooldown
        Least time from one run to the next, in the time of the checks.
    stale_after
        Wall-clock time after which a run without a result counts as failed, so that it no longer keeps others
        from starting.

    Examples
    --------
    >>> Policy(cooldown="P7D").cooldown_us == 7 * 86_400_000_000
    True
    """

    on_performance: bool = True
    on_drift: bool = True
    drift_score: float = 0.5
    minimum_rows: int = 100
    cooldown: str | timedelta = "PT24H"
    stale_after: str | timedelta = "PT24H"
    cooldown_us: int = field(init=False, repr=False, compare=False)
    stale_us: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.drift_score <= 1:
            raise BadInput(f"drift_score must be a number from 0 to 1, got {self.drift_score!r}")
        if self.minimum_rows < 0:
            raise BadInput(f"minimum_rows must be 0 or more, got {self.minimum_rows!r}")
        object.__setattr__(self, "cooldown_us", _microseconds(self.cooldown))
        object.__setattr__(self, "stale_us", _microseconds(self.stale_after))


def _microseconds(duration: str | timedelta) -> int:
    return round(parse_duration(duration) / timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to retrain, why (a sentence, and a ``code`` for programs), and what the callback is told."""

    trigger: bool
    reason: str
    details: dict[str, Any] = field(default_factory=dict)
    code: Code = "triggered"


def decide(policy: Policy, check: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], at_us: int) -> Decision:
    """Whether a check (``CheckResult.to_dict()``) at ``at_us`` asks for retraining; pure.

    A performance drop goes before drift. Held back, in this order, by data that is broken, too few rows, a
    run that has not ended, and the cool-down. ``runs`` are the model's runs (``Ledger.runs``), in any order.

    Examples
    --------
    >>> decide(Policy(), {"status": "ok", "verdicts": [], "sample_count": 500}, [], 0).code
    'no_signal'
    """
    found = _signal(policy, check)
    if found is None:
        judged = check.get("status") not in ("no_data", "error")
        code: Code = "no_signal" if judged else "no_data"
        return Decision(False, "nothing asks for retraining" if judged else "nothing could be judged", code=code)
    reason, details = found
    if any(v["signal"] == "quality" and v["severity"] == "high" for v in check.get("verdicts", ())):
        return Decision(False, f"{reason}, but the data is broken", details, "data_quality")
    if (check.get("sample_count") or 0) < policy.minimum_rows:
        return Decision(False, f"{reason}, but fewer than {policy.minimum_rows} rows", details, "too_few_rows")
    running = active_run(runs)
    if running is not None:
        return Decision(False, f"{reason}, but run {running['id']} has not ended", details, "running")
    until = cooldown_until(policy, runs)
    if until is not None and at_us < until:
        rest = isoformat(EPOCH + timedelta(microseconds=until))
        return Decision(False, f"{reason}, but the cool-down lasts until {rest}", details, "cooldown")
    return Decision(True, reason, details)


def decide_manual(
    runs: Iterable[Mapping[str, Any]],
    model: str,
    version: str,
    reason: str,
    details: Mapping[str, Any] | None,
) -> Decision:
    """Whether a person's request starts a run: no cool-down holds it back, but a run that has not ended does.

    Values of ``details`` that are not JSON scalars become JSON text, so that the callback gets one flat dict.

    Examples
    --------
    >>> decide_manual([], "flights", "v1", "new data", {"rows": 10}).details["rows"]
    10
    """
    given = {str(name): _scalar(value) for name, value in (details or {}).items()}
    fixed = {"model": model, "version": version, "triggered_by": "manual"}
    told = dict.fromkeys(DETAILS) | given | fixed
    running = active_run(runs)
    if running is not None:
        return Decision(False, f"run {running['id']} has not ended", told, "running")
    return Decision(True, reason, told)


def active_run(runs: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """A run that has not ended; one that no target was there to take does not count."""
    return next((run for run in runs if run["targets"] and run["state"] in ("requested", "running")), None)


def cooldown_until(policy: Policy, runs: Iterable[Mapping[str, Any]]) -> int | None:
    """The end of the cool-down after the newest run, None when there was none.

    Examples
    --------
    >>> cooldown_until(Policy(cooldown="PT1H"), [{"at_us": 5, "targets": ["callback:train"]}])
    3600000005
    """
    starts = [run["at_us"] for run in runs if run["targets"]]
    return max(starts) + policy.cooldown_us if starts else None


def _signal(policy: Policy, check: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The sentence and the details of what asks for retraining most."""
    high = [v for v in check.get("verdicts", ()) if v["severity"] == "high"]
    performance = [v for v in high if v["signal"] == "performance"]
    if policy.on_performance and performance:
        worst = performance[0]
        return f"performance drop: {_words(worst)}", _details(check, worst)
    if not policy.on_drift:
        return None
    drift = [v for v in high if v["signal"] == "drift"]
    if drift:
        worst = max(drift, key=lambda v: v["value"] or 0.0)
        return f"critical drift: {_words(worst)}", _details(check, worst)
    scores = {name: score for name, score in check.get("drifted_features", {}).items() if score is not None}
    name = max(scores, key=lambda one: scores[one], default=None)
    if name is None or scores[name] <= policy.drift_score:
        return None
    own: Mapping[str, Any] = next((v for v in check["verdicts"] if v["signal"] == "drift" and v["feature"] == name), {})
    worst = {**own, "signal": "drift", "feature": name, "metric": "drift_score"}
    worst |= {"value": scores[name], "threshold": policy.drift_score}
    return f"critical drift: {_words(worst)}", _details(check, worst)


def _words(verdict: Mapping[str, Any]) -> str:
    of = f" of {verdict['feature']}" if verdict.get("feature") else ""
    value, threshold = verdict.get("value"), verdict.get("threshold")
    limit = "" if threshold is None else f" (threshold {threshold:.6g})"
    return f"{verdict['metric']}{of}" + ("" if value is None else f" is {value:.6g}{limit}")


def _details(check: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Any]:
    window = check.get("window") or {}
    known = {
        **{name: verdict.get(name) for name in ("signal", "metric", "feature", "value", "threshold", "n")},
        "severity": verdict.get("severity") or check.get("severity"),
        **{name: check.get(name) for name in ("model", "version", "check_id")},
        "window_start": window.get("start"),
        "window_end": window.get("end"),
        "triggered_by": "policy",
    }
    return {name: _scalar(known[name]) for name in DETAILS}


def _scalar(value: Any) -> Any:
    found = plain(value)
    scalar = found is None or isinstance(found, bool | int | float | str)
    return found if scalar else json.dumps(found, ensure_ascii=False)
