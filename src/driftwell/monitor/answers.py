"""The dicts of the HTTP contract, from store and ledger alone: pure reading, the same for Monitor and service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from driftwell.monitor.moments import Moments, pooled
from driftwell.monitor.pipeline import DAY, CheckContext, labelled_rows, realized_performance, run_check
from driftwell.monitor.windowing import from_us
from driftwell.profiles.format.codec import summaries
from driftwell.results import isoformat, plain
from driftwell.stores.base import HOUR_US, Leaf

__all__ = [
    "EMPTY_STATISTICS",
    "check_now",
    "collector_stats",
    "drift_performance",
    "drift_scores",
    "drift_status",
    "hourly_summary",
    "newest_check",
    "recent",
    "recent_http",
    "status",
]

FOREVER_US = 2**62
CHECKS_LOOKED_AT = 100
EMPTY_STATISTICS: dict[str, float | None] = {"mean": None, "std": None, "min": None, "max": None}
INTERPRETATION = {
    "ok": ("STABLE: nothing moved beyond its threshold and beyond chance", "CONTINUE NORMAL OPERATION"),
    "moderate": ("MODERATE DRIFT: {names} moved", "INCREASE MONITORING"),
    "critical": ("CRITICAL DRIFT: {names} moved far", "TRIGGER RETRAINING"),
}
FEATURE_KEYS = (
    *("kind", "status", "method", "value", "threshold", "p_adjusted", "score", "drifted", "severity"),
    *("missing_shift", "new_categories", "n_reference", "n_current", "reason", "error"),
)
OUTPUT_KEYS = tuple(key for key in FEATURE_KEYS if key not in ("error", "new_categories"))
TOGETHER_KEYS = ("method", "status", "statistic", "p_value", "drifted", "severity", "n_used", "contributions", "reason")
NO_TEST = "mmd is null: no test of whole rows is switched on; multivariate = 'mmd' does so"


def collector_stats(context: CheckContext, capture: Mapping[str, Any]) -> dict[str, Any]:
    """Totals and statistics of what was collected after the mark; ``capture`` are this process's ``stats()``.

    Spreads are of a sample (n - 1). A feature that some of the predictions lack is missing in them.
    """
    totals = context.store.totals(context.model, context.version, after_arrival=context.mark)
    columns: dict[str, Moments] = {}
    present: dict[str, int] = {}
    kinds: dict[str, str] = {}
    rows = 0
    for leaf in _leaves(context, -FOREVER_US, FOREVER_US):
        rows += leaf.n
        for name, summary in summaries(leaf.state).items():
            kinds[name] = summary.kind
            present[name] = present.get(name, 0) + leaf.n - summary.missing
            columns[name] = columns.get(name, Moments()) + Moments.of(summary)
    features = {
        name: {"kind": kinds[name], "missing": rows - present[name], "count": columns[name].n} | columns[name].to_dict()
        for name in sorted(columns)
    }
    return {
        "total_predictions": totals["predictions"],
        "buffered_predictions": min(totals["predictions"], context.settings.max_samples),
        "errors_count": sum(capture["dropped"].values()) + sum(capture["rejected"].values()),
        "input_statistics": pooled(columns.values()).to_dict(),
        "output_statistics": output_statistics(totals),
        "time_range": {"first": _moment(totals["first_us"]), "last": _moment(totals["last_us"])},
        "features": features,
    }


def output_statistics(totals: dict[str, Any]) -> dict[str, float | None]:
    """Mean, std, min and max of the score, else of the numeric prediction; None for class names."""
    output = totals.get("output") or {}
    return {key: output.get(key) for key in EMPTY_STATISTICS}


def hourly_summary(context: CheckContext, hours: int) -> dict[str, Any]:
    """Count, input mean and output mean of the newest ``hours`` hours that have data, oldest first."""
    mark = context.mark
    outputs = context.store.hourly_outputs(context.model, context.version, hours=hours, after_arrival=mark)
    if not outputs:
        return {}
    inputs: dict[int, Moments] = {}
    first, last = min(outputs), max(outputs) + HOUR_US
    for leaf in _leaves(context, first, last):
        if leaf.hour_us in outputs:
            own = pooled(Moments.of(summary) for summary in summaries(leaf.state).values())
            inputs[leaf.hour_us] = inputs.get(leaf.hour_us, Moments()) + own
    return {
        from_us(hour).strftime("%Y-%m-%dT%H:%M:%S"): {
            "count": count,
            "input_mean": inputs.get(hour, Moments()).mean,
            "output_mean": mean,
        }
        for hour, (count, mean) in sorted(outputs.items())
    }


def drift_status(check: dict[str, Any] | None, *, has_reference: bool) -> dict[str, Any]:
    """What the newest check says about drift, in the words of the HTTP contract; undefined is null, never absent."""
    drift = (check or {}).get("drift") or {}
    head = drift.get("headline") or dict.fromkeys(("psi", "psi_feature", "ks_statistic", "ks_p_value", "ks_feature"))
    columns = (drift.get("columns") or {}).values()
    sound = drift.get("status") == "broken" and any(column.get("status") == "ok" for column in columns)
    judged = sound or drift.get("status") in ("ok", "drift")
    together = drift.get("multivariate") or {}
    mmd = together if together.get("method") == "mmd" else {}
    severity = drift.get("severity", "none")
    words, advice = _interpret(check or {}, severity) if judged else (None, None)
    if not judged:
        words = _why_not_judged(check or {})
    return {
        "status": "analyzed" if judged else "no_reference" if not has_reference else "insufficient_data",
        "drift_detected": bool((check or {}).get("drift_detected")) if judged else None,
        **head,
        "mmd": mmd.get("statistic"),
        "mmd_p_value": mmd.get("p_value"),
        "multivariate": {key: together.get(key) for key in TOGETHER_KEYS} if together else None,
        "interpretation": words,
        "recommendation": advice,
        "severity": severity if judged else None,
        "alarm": (check or {}).get("alarm") or {"fired": False, "active": False, "evidence": None, "bar": None},
        "features": {
            name: {key: column.get(key) for key in FEATURE_KEYS} for name, column in drift.get("columns", {}).items()
        },
        "outputs": _outputs(drift),
        "sample_count": (check or {}).get("sample_count"),
        "window": (check or {}).get("window"),
        "timestamp": (check or {}).get("timestamp"),
        "reference_id": (check or {}).get("reference_id"),
        "reason": _why_no_mmd(together) if judged else words,
    }


def drift_performance(context: CheckContext) -> dict[str, Any]:
    """Realized performance of the newest labelled predictions, and what is known of all labels."""
    totals = context.store.totals(context.model, context.version)
    newest = labelled_rows(context, -FOREVER_US, FOREVER_US, limit=context.settings.performance_window_size)
    found, _ = realized_performance(context, newest, totals["predictions"])
    return {
        "total_predictions": totals["predictions"],
        "output_statistics": output_statistics(totals),
        "realized": found["realized"],
        "estimated": None,
        "labels": {
            "matched": totals["labels"],
            "coverage": totals["labels"] / totals["predictions"] if totals["predictions"] else None,
        },
        "reason": found["reason"] or "performance without labels is not available in this version",
    }


def recent(context: CheckContext, waiting: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The ``n`` newest predictions after the mark, newest first: stored ones, and those still ``waiting``."""
    stored = context.store.recent(context.model, context.version, n, after_arrival=context.mark)
    known = {row["prediction_id"] for row in stored}
    rows = [row for row in reversed(waiting) if row["prediction_id"] not in known] + stored
    return sorted(rows, key=lambda row: row["timestamp"], reverse=True)[:n]


def recent_http(context: CheckContext, n: int) -> list[dict[str, Any]]:
    """The same in the words of the HTTP contract; the output is the prediction, else the score."""
    return [
        {
            "prediction_id": row["prediction_id"],
            "timestamp": isoformat(row["timestamp"]),
            "input": plain(row["features"]),
            "output": plain(row["score"] if row["prediction"] is None else row["prediction"]),
            "metadata": plain(row["metadata"] or {}),
        }
        for row in recent(context, (), n)
    ]


def newest_check(context: CheckContext, *, any_mark: bool = True) -> dict[str, Any] | None:
    """The newest recorded check, without the distributions of its columns; unless ``any_mark``, of those that ran
    since the mark was set. Checks of replayed history are not recorded in the order of their windows."""
    for limit in (1, CHECKS_LOOKED_AT):
        found = context.ledger.checks(context.model, context.version, limit=limit)
        own = [check for check in found if any_mark or check.get("mark", 0) == context.mark]
        if own or len(found) < limit:
            break
    return own[0] if own else None


def check_now(
    context: CheckContext, window: Any = None, at: datetime | None = None, *, only_after_mark: bool = False
) -> dict[str, Any]:
    """A check that is not recorded. Default: the 24 hours of event time that end with the newest prediction, so that
    replayed history is judged in its own time."""
    if at is None:
        _, end, count = context.store.newest(context.model, context.version, FOREVER_US, 1)
        at = from_us(end) if count else datetime.now(UTC)
    own = replace(context, only_after_mark=only_after_mark)
    return run_check(own, window=DAY if window is None else window, at=at, record=False).to_dict()


def drift_scores(check: dict[str, Any] | None) -> dict[str, Any]:
    """``feature_scores, last_check, drift_detected`` of the newest check."""
    if check is None:
        return {"feature_scores": {}, "last_check": None, "drift_detected": None, "reason": "no check has run yet"}
    return {
        "feature_scores": (check.get("drift") or {}).get("scores", {}),
        "last_check": check["timestamp"],
        "drift_detected": check["drift_detected"],
    }


def status(context: CheckContext, next_check: datetime | None) -> dict[str, Any]:
    """``/monitoring/status`` but for what only the process knows: the newest check, and what is stored."""
    check = newest_check(context) or {}
    performance = check.get("performance") or {}
    totals = context.store.totals(context.model, context.version)
    return {
        "status": check.get("status", "no_data"),
        "model": context.model,
        "version": context.version,
        "monitoring": next_check is not None,
        "reference_id": context.reference.id if context.reference else None,
        "last_check": check.get("timestamp"),
        "next_check": isoformat(next_check) if next_check else None,
        "drift": {
            "drift_detected": check.get("drift_detected"),
            "severity": (check.get("drift") or {}).get("severity"),
            "drifted_features": check.get("drifted_features", {}),
            "max_drift_score": check.get("max_drift_score"),
            "outputs": _outputs(check.get("drift") or {}),
        },
        "performance": {
            "performance_degraded": check.get("performance_degraded"),
            "realized": performance.get("realized", {}),
            "baseline": performance.get("baseline", {}),
        },
        "quality": check.get("quality"),
        "counts": {
            "predictions": totals["predictions"],
            "labels": totals["labels"],
            "coverage": check.get("coverage"),
        },
        "reason": None if check.get("quality") else "data quality has not been judged yet",
    }


def _why_not_judged(check: dict[str, Any]) -> str:
    """Why drift could not be judged; what performance or quality lack is said elsewhere."""
    if not check:
        return "nothing has been judged yet"
    reasons = [v.get("reason") for v in check.get("verdicts", ()) if v.get("signal") == "drift"]
    return "; ".join(dict.fromkeys(r for r in reasons if r)) or "drift detection is switched off"


def _outputs(drift: dict[str, Any]) -> dict[str, Any]:
    """Prediction, score and confidence as far as they were judged; their drift is no feature's."""
    return {role: {key: found.get(key) for key in OUTPUT_KEYS} for role, found in (drift.get("outputs") or {}).items()}


def _why_no_mmd(together: dict[str, Any]) -> str | None:
    if not together:
        return NO_TEST
    if together["method"] != "mmd":
        return f"mmd is null: the test of whole rows is {together['method']}"
    return None if together.get("statistic") is not None else f"mmd is null: {together.get('reason')}"


def _interpret(check: dict[str, Any], severity: str) -> tuple[str, str]:
    names = ", ".join(check.get("culprits") or check.get("drifted_features") or [])
    key = "ok" if not check.get("drift_detected") else "critical" if severity == "high" else "moderate"
    words, advice = INTERPRETATION[key]
    return words.format(names=names or "all columns together"), advice


def _leaves(context: CheckContext, start_us: int, end_us: int) -> list[Leaf]:
    return context.ledger.leaves(context.model, context.version, start_us, end_us, after_arrival=context.mark)


def _moment(value: int | None) -> str | None:
    return None if value is None else isoformat(from_us(value))
