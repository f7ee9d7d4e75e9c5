"""The page of one model version: its signals, drift over time, performance, what happened, what came in."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from driftwell.monitor.checks.coverage import KNOWN_ALREADY, lost
from driftwell.reports.monitoring import (
    alert_rows,
    check_rows,
    check_view,
    heat_view,
    oldest_first,
    performance_panels,
    window_of,
)
from driftwell.reports.reading import items, mapping
from driftwell.reports.views import column_view, multivariate_view, quality_view, tone
from driftwell.reports.words import (
    DASH,
    figure,
    moment,
    number,
    parse_time,
    percent,
    sentence,
    severity_word,
    span,
    whole,
)
from driftwell.service.views.links import Links
from driftwell.service.views.signals import headline, signal_tiles
from driftwell.service.views.status import Check, is_firing, is_stale, model_status

__all__ = ["model_view", "timeline"]

TIMELINE = 20


def model_view(
    model: str,
    version: str,
    *,
    models: Sequence[tuple[str, str, int, int]],
    has_reference: bool,
    checks: Sequence[Check],
    full: Check | None,
    alerts: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    totals: Mapping[str, Any],
    capture: Mapping[str, Any],
    losses: Mapping[str, int],
    losses_today: Mapping[str, int],
    recent: Sequence[Mapping[str, Any]],
    traffic: Sequence[tuple[str, float]],
    links: Links,
) -> dict[str, Any]:
    """One model version: what each signal says, drift over time, performance, what happened, what came in.

    Parameters
    ----------
    checks
        Newest first, without distributions; ``full`` is the newest with them.
    traffic
        ``traffic_points``.
    capture
        ``Monitor.stats()`` of this process.
    losses, losses_today
        What all processes offered and did not store, by reason; that of the last 24 hours.
    """
    known = oldest_first(checks)
    newest: Check = known[-1] if known else {}
    mine = [a for a in alerts if a.get("version") in (version, None) and a.get("state") != "inactive"]
    firing = [a for a in mine if is_firing(a, version)]
    status, why = model_status(newest, firing)
    panels = performance_panels(known)
    columns = _column_rows(mapping(full), lambda name: links.feature(model, version, name))
    return {
        "title": model,
        "name": model,
        "version": version,
        "versions": [(v, links.model(model, v), v == version) for m, v, _, _ in models if m == model],
        "status": status,
        "tone": tone(status),
        "word": severity_word(status),
        "why": sentence(why) if newest else "",
        "headline": headline(newest),
        "next_step": next_step(model, version, totals, has_reference=has_reference, has_check=bool(newest)),
        "signals": signal_tiles(newest, totals, losses_today),
        "stale": is_stale(newest, totals.get("last_us")),
        "window": span(*window_of(newest)) if newest else "",
        "check": check_view(newest) if newest else None,
        "notes": [sentence(note) for note in items(mapping(newest.get("drift")).get("notes"))],
        "heat": heat_view(known, lambda name: links.feature(model, version, name)),
        "panels": panels,
        "quality": quality_view(newest.get("quality")),
        "multivariate": multivariate_view(mapping(newest.get("drift")).get("multivariate")),
        "columns": columns,
        "outputs": _output_panels(mapping(full)),
        "timeline": timeline(mine, runs, known),
        "alerts": alert_rows(firing),
        "checks": check_rows(list(reversed(known))[:TIMELINE], panels),
        "main_metric": panels[0]["word"] if panels else "",
        "recent": [_recent_row(row) for row in recent],
        "facts": _model_facts(totals, capture, losses),
        "traffic": list(traffic),
        "feedback": f"driftwell feedback labels.csv --model {shlex.quote(model)}",
    }


def next_step(
    model: str, version: str, totals: Mapping[str, Any], *, has_reference: bool, has_check: bool
) -> dict[str, Any] | None:
    """What is still missing before checks can say something, and the command that brings it; None when nothing is."""
    name, of_version = f"--model {shlex.quote(model)}", f"--version {shlex.quote(version)}"
    if not totals.get("predictions"):
        return {
            "title": "Record a first prediction",
            "words": "Nothing has been recorded yet. Send a file, or record from your application.",
            "code": [f"driftwell log predictions.parquet {name} {of_version}"],
        }
    if not has_reference:
        return {
            "title": "Give it a reference",
            "words": "A check compares a window of predictions with the reference: what normal looked like in "
            "training or validation data.",
            "code": [f"driftwell baseline training.parquet {name} {of_version}", f"driftwell check {name}"],
        }
    if not has_check:
        return {
            "title": "Run a first check",
            "words": "A check compares a window of predictions with the reference.",
            "code": [f"driftwell check {name}"],
        }
    return None


def _model_facts(
    totals: Mapping[str, Any], capture: Mapping[str, Any], losses: Mapping[str, int]
) -> list[tuple[str, str, str]]:
    predictions, labels = number(totals.get("predictions")) or 0, number(totals.get("labels")) or 0
    output = mapping(totals.get("output"))
    here = f"in this process {_total(capture.get('stored'))} stored and {_total(capture.get('waiting'))} waiting"
    gone = {reason.partition(".")[2]: n for reason, n in sorted(losses.items()) if reason not in KNOWN_ALREADY}
    reasons = ", ".join(f"{reason} {whole(n)}" for reason, n in gone.items())
    return [
        ("Predictions", whole(predictions), f"since {moment(totals.get('first_us'))}" if predictions else ""),
        ("Labels", whole(labels), f"{percent(labels / predictions)} of the predictions" if predictions else ""),
        ("Mean output", figure(output.get("mean")), f"from {figure(output.get('min'))} to {figure(output.get('max'))}"),
        ("Lost", whole(lost(losses)), f"{reasons}; {here}" if reasons else here),
        *_spool_facts(capture),
    ]


def _spool_facts(capture: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What waits on disk for the store, and what came from processes that ended before they could store it."""
    waiting, recovered = number(mapping(capture.get("spool")).get("waiting")), number(capture.get("recovered"))
    facts = [("Waiting on disk", whole(waiting), "in the spool, until the store answers")] if waiting else []
    return facts + ([("Recovered", whole(recovered), "from processes that had ended")] if recovered else [])


def _total(value: object) -> str:
    """A count, or the sum of counts by reason."""
    found = [value] if not isinstance(value, Mapping) else list(value.values())
    return whole(sum(number(n) or 0 for n in found))


def _column_rows(check: Check, link: Callable[[str], str]) -> list[dict[str, Any]]:
    drift = mapping(check.get("drift"))
    rows = [column_view(name, c) for name, c in mapping(drift.get("columns")).items()]
    for row in rows:
        row["href"] = link(row["name"])
    return rows


def _output_panels(check: Check) -> list[dict[str, Any]]:
    outputs = mapping(mapping(check.get("drift")).get("outputs"))
    return [column_view(name, c) for name, c in outputs.items() if isinstance(c, Mapping) and "status" in c]


def timeline(
    alerts: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], checks: Sequence[Check]
) -> list[dict[str, str]]:
    """Alerts, retraining runs and alarms in one list, newest first, at most ``TIMELINE``."""
    found: list[tuple[float, dict[str, str]]] = []

    def add(when: Any, kind: str, tone_: str, word: str, words: str) -> None:
        time = parse_time(when)
        entry = {"when": moment(when), "kind": kind, "tone": tone_, "word": word, "words": words}
        found.append((time.timestamp() if time else 0.0, entry))

    for alert in alerts:
        firing = alert.get("state") == "firing"
        word = f"{alert.get('rule')} {alert.get('state')}"
        add(alert.get("changed_us") or alert.get("since_us"), "Alert",
            tone(alert.get("severity")) if firing else "ok", word, str(alert.get("message") or ""))  # fmt: skip
    for run in runs:
        state = str(run.get("state"))
        shade = {"failed": "error", "completed": "ok"}.get(state, "low")
        words = str(run.get("error") or run.get("reason") or "")
        add(run.get("at_us") or run.get("requested_us"), "Retraining", shade, state, words)
    for before, check in zip([{}, *checks], checks, strict=False):
        if _alarmed(check) and not _alarmed(before):  # an alarm that goes on is no news
            named = ", ".join(str(name) for name in items(check.get("culprits"))[:3])
            add(window_of(check)[1], "Alarm", tone(check.get("status")), severity_word(check.get("status")), named)
    found.sort(key=lambda pair: -pair[0])
    return [entry for _, entry in found[:TIMELINE]]


def _alarmed(check: Check) -> bool:
    return bool(mapping(check.get("alarm")).get("fired"))


def _recent_row(row: Mapping[str, Any]) -> dict[str, str]:
    features = mapping(row.get("features"))
    return {
        "when": moment(row.get("timestamp")),
        "id": str(row.get("prediction_id") or ""),
        "prediction": _value(row.get("prediction")),
        "score": figure(row.get("score")),
        "label": _value(row.get("true_label")),
        "features": ", ".join(f"{name} {_value(value)}" for name, value in list(features.items())[:4]),
        "more": str(max(len(features) - 4, 0) or ""),
    }


def _value(value: object) -> str:
    if value is None:
        return DASH
    found = number(value)
    text = figure(found) if found is not None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
