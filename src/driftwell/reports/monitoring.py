"""What many checks of one model say together, as plain values for the report and for the pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from driftwell.reports.coverage import coverage_words, missing_words, predictions_checked
from driftwell.reports.reading import items, mapping, records
from driftwell.reports.views import column_view, tone
from driftwell.reports.words import (
    DASH,
    axis_labels,
    distance,
    figure,
    joined,
    method_word,
    metric_word,
    moment,
    number,
    parse_time,
    percent,
    sentence,
    severity_word,
    span,
    whole,
)

__all__ = [
    "alert_rows",
    "check_rows",
    "check_view",
    "feature_series",
    "heat_view",
    "metric_points",
    "monitoring_view",
    "oldest_first",
    "performance_panels",
    "window_of",
]

Check = Mapping[str, Any]
MAX_PANELS = 4
MAX_MOVED = 6
ERRORS = ("log_loss", "brier", "ece", "mae", "mse", "rmse", "rmsle", "mape", "smape")
"""Metrics of which less is better."""

PREFERRED = ("f1", "roc_auc", "accuracy", "recall", "precision", "log_loss", "brier",
             "mae", "rmse", "r2", "mape")  # fmt: skip
"""Which metrics are drawn first where the baseline names none."""


def monitoring_view(title: str, checks: Sequence[Check], *, alerts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Everything the report over many checks shows, in words."""
    known = oldest_first(checks)
    newest = known[-1] if known else {}
    panels = performance_panels(known)
    fired = [a for a in alerts if a.get("state") != "inactive"]
    status = str(newest.get("status") or "no_data")
    return {
        "title": title or "Monitoring report",
        "model": " ".join(str(newest[k]) for k in ("model", "version") if newest.get(k)),
        "period": span(window_of(known[0])[0], window_of(newest)[1]) if known else "",
        "tone": tone(status),
        "word": f"Last check: {severity_word(status).lower()}" if known else "No checks yet",
        "headline": _headline(known),
        "lead": _lead(known, panels),
        "facts": _facts(known, panels, fired),
        "heat": heat_view(known),
        "panels": panels,
        "moved": _moved(known),
        "alerts": alert_rows(fired),
        "checks": check_rows(reversed(known), panels),
        "main_metric": panels[0]["word"] if panels else "",
    }


def oldest_first(checks: Iterable[Check]) -> list[Check]:
    """Checks by the end of their window; those whose window cannot be read come first."""
    known = [c for c in checks if isinstance(c, Mapping)]
    return sorted(known, key=lambda c: getattr(parse_time(window_of(c)[1]), "timestamp", lambda: 0.0)())


def heat_view(checks: Sequence[Check], link: Callable[[str], str] | None = None) -> dict[str, Any] | None:
    """The arguments of ``charts.heatmap``: drift scores of features over checks, the largest rows first.

    None when no check has a score.
    """
    scored = [(c, _scores(c)) for c in checks]
    worst: dict[str, float] = {}
    for _, scores in scored:
        for name, score in scores.items():
            found = number(score)
            worst[name] = max(worst.get(name, -1.0), -1.0 if found is None else found)
    if not worst:
        return None
    rows = sorted(worst, key=lambda name: (-worst[name], name))
    return {
        "rows": rows,
        "columns": axis_labels([window_of(c)[0] for c, _ in scored]),
        "grid": [[scores.get(name) for _, scores in scored] for name in rows],
        "levels": [[_level(c, name) for c, _ in scored] for name in rows],
        "links": [link(name) for name in rows] if link else None,
    }


def performance_panels(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """One chart a metric: points with intervals, and the limit from which it counts as degraded."""
    names = Counter(name for c in checks for name, m in _realized(c).items() if number(m.get("value")) is not None)
    judged = {_base(str(v.get("metric"))) for c in checks for v in _verdicts(c, "performance")}
    order = {name: i for i, name in enumerate(PREFERRED)}
    chosen = sorted(names, key=lambda n: (n not in judged, order.get(n, len(order)), n))[:MAX_PANELS]
    return [_panel(name, checks) for name in chosen]


def metric_points(checks: Sequence[Check], name: str) -> list[tuple[str, float | None]]:
    """``(label, value)`` of a realized metric over the checks; None where a check has none."""
    labels = axis_labels([window_of(c)[0] for c in checks])
    return [(label, number(_realized(c).get(name, {}).get("value"))) for label, c in zip(labels, checks, strict=True)]


def feature_series(checks: Sequence[Check], name: str) -> dict[str, Any]:
    """The value of a feature's deciding method over the checks, with its threshold; the drift score where the
    checks used several methods or none."""
    labels = axis_labels([window_of(c)[0] for c in checks])
    columns = [mapping(_columns(c).get(name)) for c in checks]
    methods = {c.get("method") for c in columns if number(c.get("value")) is not None}
    if len(methods) == 1:
        values = [number(c.get("value")) for c in columns]
        limits = [number(c.get("threshold")) for c in columns]
        threshold = next((v for v in reversed(limits) if v is not None), None)
        word = method_word(methods.pop())
    else:
        values, threshold, word = [number(_scores(c).get(name)) for c in checks], None, "Drift score"
    return {"word": word, "threshold": threshold, "points": list(zip(labels, values, strict=True))}


def check_view(check: Check) -> dict[str, Any]:
    """One check in words: its status, realized performance and what it found."""
    status = str(check.get("status") or "no_data")
    baseline = mapping(mapping(check.get("performance")).get("baseline"))
    judged = {_base(str(v.get("metric"))): v for v in _verdicts(check, "performance")}
    metrics = [
        {
            "word": metric_word(name),
            "value": figure(m.get("value")),
            "interval": _interval(m),
            "n": whole(m.get("n")),
            "baseline": figure(baseline.get(name, baseline.get(f"{name}_score"))),
            "tone": tone(judged[name].get("status")) if name in judged else "",
            "word_severity": severity_word(judged[name].get("status")) if name in judged else "",
        }
        for name, m in _realized(check).items()
    ]
    return {
        "window": span(*window_of(check)),
        "tone": tone(status),
        "word": severity_word(status),
        "rows": whole(check.get("n_predictions", check.get("sample_count"))),
        "metrics": metrics,
        "labels": _label_words(mapping(mapping(check.get("performance")).get("labels"))),
        "coverage": coverage_words(check),
        "no_metrics": sentence(mapping(check.get("performance")).get("reason")),
        "findings": [_finding(v) for v in records(check.get("verdicts")) if _bad(v)],
        "alarm": _alarm(check),
    }


def check_rows(checks: Iterable[Check], panels: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """A table row for each check, in the order given."""
    main = panels[0]["name"] if panels else None
    rows = []
    for check in checks:
        status = str(check.get("status") or "no_data")
        drifted = mapping(check.get("drifted_features"))
        named = items(check.get("culprits")) or sorted(drifted, key=lambda n: -(number(drifted[n]) or 0.0))
        metric = _realized(check).get(main, {}) if main else {}
        known = [score for score in map(number, _scores(check).values()) if score is not None]
        rows.append(
            {
                "window": span(*window_of(check)),
                "tone": tone(status),
                "word": severity_word(status),
                "rows": whole(check.get("n_predictions", check.get("sample_count"))),
                "coverage": coverage_words(check),
                "drifted": joined(map(str, named), 3) or ("none" if status not in ("no_data", "error") else DASH),
                "score": distance(max(known, default=None)),
                "metric": figure(metric.get("value")),
                "interval": _interval(metric),
                "alarm": _alarm(check),
                "reason": str(check.get("reason") or ""),
            }
        )
    return rows


def alert_rows(alerts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A table row for each alert state, in the order given (the ledger's: newest change first)."""
    return [
        {
            "rule": str(a.get("rule") or a.get("key") or DASH),
            "tone": tone(a.get("severity")),
            "word": severity_word(a.get("severity")),
            "state": str(a.get("state") or DASH),
            "since": moment(a.get("since_us", a.get("since"))),
            "value": figure(a.get("value")),
            "message": str(a.get("message") or ""),
        }
        for a in alerts
    ]


# -- words ---------------------------------------------------------------------------------------------------


def _headline(checks: Sequence[Check]) -> str:
    if not checks:
        return "No checks yet"
    judged = [c for c in checks if c.get("status") not in ("no_data", "error")]
    drifted = [c for c in judged if c.get("drift_detected")]
    if not judged:
        return f"None of {len(checks)} checks could be judged"
    if not drifted:
        return f"No drift in {len(judged)} check{'s' * (len(judged) != 1)}"
    often = _often(drifted)
    most = f", most often in {often[0][0]}" if often else ""
    return f"Drift in {len(drifted)} of {len(judged)} check{'s' * (len(judged) != 1)}{most}"


def _lead(checks: Sequence[Check], panels: Sequence[Mapping[str, Any]]) -> list[str]:
    if not checks:
        return ["Checks appear here once one has run: call monitor.check(), or run driftwell check."]
    often = _often([c for c in checks if c.get("drift_detected")])
    sentences = []
    if often:
        named = joined([f"{name} ({n} of {len(checks)})" for name, n in often], 4)
        sentences.append(f"Features that drifted, and in how many checks: {named}.")
    for panel in panels[:1]:
        known = [(label, y) for label, y in panel["points"] if y is not None]
        if len(known) > 1:
            (first, a), (last, b) = known[0], known[-1]
            is_error = panel["name"] in ERRORS
            when, worst = (max if is_error else min)(known, key=lambda p: p[1])
            sentences.append(
                f"{panel['word']} was {figure(a)} on {first} and {figure(b)} on {last}; "
                f"at its worst it was {figure(worst)} on {when}."
            )
    if words := missing_words(checks):
        sentences.append(words)
    degraded = sum(bool(c.get("performance_degraded")) for c in checks)
    if degraded:
        sentences.append(f"Performance counted as degraded in {degraded} of {len(checks)} checks.")
    return sentences


def _facts(
    checks: Sequence[Check], panels: Sequence[Mapping[str, Any]], alerts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    statuses = Counter(str(c.get("status") or "no_data") for c in checks)
    words = ", ".join(f"{n} {severity_word(s).lower()}" for s, n in statuses.most_common())
    rows, exact = predictions_checked(checks)
    firing = sum(a.get("state") == "firing" for a in alerts)
    facts = [
        ("Checks", whole(len(checks)), words),
        ("Predictions checked", *((whole(rows), "") if exact else (f"at least {whole(rows)}", "the windows overlap"))),
        ("With drift", whole(sum(bool(c.get("drift_detected")) for c in checks)), ""),
    ]
    for panel in panels[:1]:
        last = [y for _, y in panel["points"] if y is not None]
        aside = f"baseline {figure(panel['baseline'])}" if panel["baseline"] is not None else ""
        facts.append((f"{panel['word']}, last", figure(last[-1]), aside))
    if alerts:
        facts.append(("Alerts firing", whole(firing), f"{len(alerts)} in all"))
    return facts


def _often(checks: Iterable[Check]) -> list[tuple[str, int]]:
    return Counter(str(n) for c in checks for n in mapping(c.get("drifted_features"))).most_common()


# -- parts ---------------------------------------------------------------------------------------------------


def _panel(name: str, checks: Sequence[Check]) -> dict[str, Any]:
    values = [_realized(c).get(name, {}) for c in checks]
    limits = [
        number(v.get("threshold"))
        for c in checks
        for v in _verdicts(c, "performance")
        if _base(str(v.get("metric"))) == name
    ]
    baselines = [mapping(mapping(c.get("performance")).get("baseline")) for c in checks]
    known = [number(b.get(name, b.get(f"{name}_score"))) for b in baselines]
    return {
        "name": name,
        "word": metric_word(name),
        "points": metric_points(checks, name),
        "band": [(m.get("low"), m.get("high")) for m in values],
        "threshold": next((v for v in reversed(limits) if v is not None), None),
        "baseline": next((v for v in reversed(known) if v is not None), None),
    }


def _moved(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The features that drifted most often, each in the one of those checks in which its score was largest."""
    out = []
    drifted = [c for c in checks if c.get("drift_detected")]
    for i, (name, times) in enumerate(_often(drifted)[:MAX_MOVED]):
        its = [c for c in drifted if name in mapping(c.get("drifted_features"))]
        worst = max(its, key=lambda c: number(_scores(c).get(name)) or -1.0)
        column = column_view(name, _columns(worst).get(name))
        column |= {
            "anchor": f"m{i}",
            "times": times,
            "checks": len(checks),
            "when": span(*window_of(worst)),
            "over_time": feature_series(checks, name),
        }
        out.append(column)
    return out


def _finding(v: Mapping[str, Any]) -> dict[str, str]:
    about = v.get("feature") or metric_word(v.get("metric"))
    severity = v.get("severity") if v.get("severity") not in (None, "none") else v.get("status")
    return {
        "signal": str(v.get("signal") or ""),
        "about": str(about),
        "tone": tone(severity),
        "word": severity_word(severity),
        "reason": sentence(v.get("reason")),
    }


def _label_words(labels: Mapping[str, Any]) -> str:
    if not labels:
        return ""
    return f"{whole(labels.get('matched'))} labels, {percent(labels.get('coverage'))} of the predictions"


def _bad(verdict: Mapping[str, Any]) -> bool:
    return verdict.get("status") not in ("ok", None) or verdict.get("severity") not in ("none", None)


def _alarm(check: Check) -> str:
    alarm = mapping(check.get("alarm"))
    return "fired" if alarm.get("fired") else "active" if alarm.get("active") else ""


def _interval(m: Mapping[str, Any]) -> str:
    low, high = number(m.get("low")), number(m.get("high"))
    return "" if low is None or high is None else f"{figure(low)} to {figure(high)}"


def _realized(check: Check) -> dict[str, Mapping[str, Any]]:
    found = mapping(mapping(check.get("performance")).get("realized"))
    return {str(name): m for name, m in found.items() if isinstance(m, Mapping)}


def _verdicts(check: Check, signal: str) -> list[Mapping[str, Any]]:
    return [v for v in records(check.get("verdicts")) if v.get("signal") == signal]


def _base(metric: str) -> str:
    return metric.removesuffix("_score")


def _scores(check: Check) -> Mapping[str, Any]:
    """Drift scores by feature; none of a check with too few rows, whose scores are mostly chance, and none of a
    broken feature, whose values say nothing."""
    drift = mapping(check.get("drift"))
    if drift.get("status") == "no_data":
        return {}
    broken = {name for name, column in _columns(check).items() if mapping(column).get("status") == "broken"}
    return {name: score for name, score in mapping(drift.get("scores")).items() if name not in broken}


def _columns(check: Check) -> Mapping[str, Any]:
    return mapping(mapping(check.get("drift")).get("columns"))


def _level(check: Check, name: str) -> int | None:
    """0 not drifted, 1 drifted, 2 drifted far; None where the feature was not judged."""
    column = mapping(_columns(check).get(name))
    if name not in _scores(check) or column.get("status") in ("no_data", "error", "broken"):
        return None
    return 0 if not column.get("drifted") else 2 if column.get("severity") == "high" else 1


def window_of(check: Check) -> tuple[Any, Any]:
    """Start and end of a check's window as they are written; None where they are absent."""
    window = mapping(check.get("window"))
    return window.get("start"), window.get("end")
