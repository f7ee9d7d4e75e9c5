"""What each signal of the newest check says, in a tile; and all of them in a headline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from driftwell.monitor.checks.coverage import lost
from driftwell.reports.coverage import coverage_words
from driftwell.reports.reading import items, mapping, records
from driftwell.reports.views import tone
from driftwell.reports.words import figure, joined, metric_word, moment, number, severity_word, whole
from driftwell.service.views.status import Check

__all__ = ["headline", "signal_tiles"]

WORST = ("critical", "warning", "error", "ok", "no_data")
"""Which of a signal's verdicts stands for it: one that could be judged before those that could not."""

Verdict = Mapping[str, Any]


def headline(newest: Check) -> str:
    """What the newest check found, what is broken first."""
    if not newest:
        return "No check has run yet"
    parts = [words for words in (_broken(newest), _drifted(newest), _answers(newest)) if words]
    if newest.get("performance_degraded"):
        parts.append("performance has degraded")
    if parts:
        return "; ".join(parts)
    status = newest.get("status")
    if status == "no_data" and newest.get("reference_id") is None:
        return "There is no reference to compare with"
    if status == "no_data":
        return "The newest check had too little to judge"
    return "The newest check could not run" if status == "error" else "Nothing moved in the newest check"


def signal_tiles(newest: Check, totals: Mapping[str, Any], losses: Mapping[str, int]) -> list[dict[str, str]]:
    """A tile a signal: whether records come in (``losses`` of the last day), and what the newest check says of quality,
    drift, outputs and performance."""
    gone = lost(losses)
    missing = coverage_words(newest)
    last = moment(totals.get("last_us"))
    tile = {
        "name": "Capture",
        "tone": "medium" if gone or missing else "ok" if totals.get("predictions") else "none",
        "word": f"{whole(gone)} lost today"
        if gone
        else "Incomplete"
        if missing
        else "Complete"
        if totals.get("predictions")
        else "No data",
        "words": missing or (f"newest prediction {last}" if totals.get("predictions") else "nothing has been recorded"),
    }
    return [tile, *(_tile(key, name, newest) for key, (name, _) in SIGNALS.items())]


def _tile(key: str, name: str, newest: Check) -> dict[str, str]:
    verdicts = _verdicts(newest, key)
    if not verdicts:
        return {"name": name, "tone": "none", "word": "No data", "words": "not judged yet"}
    worst = min(verdicts, key=lambda v: WORST.index(v["status"]) if v.get("status") in WORST else len(WORST))
    found = str(worst.get("status"))
    if found in ("no_data", "error"):
        about = f"{worst['feature']}: " if worst.get("feature") else ""
        words = f"{about}{worst.get('reason') or 'not judged'}"
    else:
        words = SIGNALS[key][1](worst, verdicts)
    return {"name": name, "tone": tone(found), "word": severity_word(found), "words": words}


def _of_quality(worst: Verdict, verdicts: Sequence[Verdict]) -> str:
    failed = sum(_has_moved(v) for v in verdicts)
    if not failed:
        return str(worst.get("reason") or "every rule holds")
    about = dict.fromkeys(str(v.get("feature") or "all columns") for v in verdicts if _has_moved(v))
    return f"{failed} rule{'s' * (failed != 1)} failed: {joined(about)}"


def _of_drift(_: Verdict, verdicts: Sequence[Verdict]) -> str:
    columns = [v for v in verdicts if v.get("feature")]
    words = f"{sum(map(_has_moved, columns))} of {len(columns)} columns drifted"
    return f"{words}, and all together" if any(_has_moved(v) for v in verdicts if not v.get("feature")) else words


def _of_outputs(_: Verdict, verdicts: Sequence[Verdict]) -> str:
    moved = [str(v.get("feature")) for v in verdicts if _has_moved(v)]
    return f"{joined(moved)} moved" if moved else f"{joined([str(v.get('feature')) for v in verdicts])} stayed"


def _of_performance(worst: Verdict, _: Sequence[Verdict]) -> str:
    limit = number(worst.get("threshold"))
    against = f", limit {figure(limit)}" if limit is not None else ""
    word = metric_word(str(worst.get("metric")).removesuffix("_score"))
    return f"{word} {figure(worst.get('value'))}{against}"


SIGNALS: dict[str, tuple[str, Callable[[Verdict, Sequence[Verdict]], str]]] = {
    "quality": ("Data quality", _of_quality),
    "drift": ("Drift", _of_drift),
    "output": ("Outputs", _of_outputs),
    "performance": ("Performance", _of_performance),
}


def _broken(newest: Check) -> str:
    broken = [str(name) for name in items(mapping(newest.get("quality")).get("broken"))]
    return f"{joined(broken, 2)} {'is' if len(broken) == 1 else 'are'} broken" if broken else ""


def _drifted(newest: Check) -> str:
    named = [str(name) for name in items(newest.get("culprits")) or list(mapping(newest.get("drifted_features")))]
    if named:
        return f"{joined(named, 2)} drifted"
    return "all columns together drifted" if newest.get("drift_detected") else ""


def _answers(newest: Check) -> str:
    moved = [str(v.get("feature")) for v in _verdicts(newest, "output") if _has_moved(v)]
    return f"the {joined(moved)} moved" if moved else ""


def _verdicts(newest: Check, signal: str) -> list[Verdict]:
    return [v for v in records(newest.get("verdicts")) if v.get("signal") == signal]


def _has_moved(verdict: Verdict) -> bool:
    return verdict.get("severity") not in ("none", None)
