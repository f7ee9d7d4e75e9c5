"""The page of all models: one row each, what needs attention first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftwell.reports.monitoring import performance_panels, window_of
from driftwell.reports.reading import mapping
from driftwell.reports.views import tone
from driftwell.reports.words import DASH, figure, moment, severity_word, span, whole
from driftwell.service.views.links import Links
from driftwell.service.views.status import RANKS, Check, is_firing, is_stale, model_status, newest_versions

__all__ = ["fleet_view"]

Key = tuple[str, str]
Traffic = Sequence[tuple[str, float]]


def fleet_view(
    models: Sequence[tuple[str, str, int, int]],
    checks: Mapping[Key, Sequence[Check]],
    traffic: Mapping[Key, Traffic],
    alerts: Sequence[Mapping[str, Any]],
    links: Links,
    *,
    store: str = "",
) -> dict[str, Any]:
    """One row a model, its newest version, what needs attention first.

    Parameters
    ----------
    models
        ``Runtime.models()``: what has rows or a reference.
    checks
        Checks of each ``(model, version)``, newest first; the newest decides the status.
    traffic
        ``traffic_points`` of each ``(model, version)``.
    store
        The address the empty page suggests to write to.
    """
    newest = newest_versions(models)
    rows = []
    for name, (version, n, last_us) in newest.items():
        known = checks.get((name, version), ())
        firing = [a for a in alerts if a.get("model") == name and is_firing(a, version)]
        rows.append(_fleet_row(name, version, n, last_us, known, traffic.get((name, version), ()), firing, links))
        rows[-1]["versions"] = sum(row[0] == name for row in models)
    rows.sort(key=lambda row: (RANKS.index(row["status"]), row["name"]))
    troubled = sum(row["status"] in ("critical", "warning", "error") for row in rows)
    return {
        "title": "Models",
        "headline": _fleet_headline(len(rows), troubled),
        "rows": rows,
        "store": store,
        "shown": moment(max((last for _, _, n, last in models if n), default=None)),
    }


def _fleet_headline(count: int, troubled: int) -> str:
    if not count:
        return "No models yet"
    models = f"{count} model{'s' * (count != 1)}"
    if not troubled:
        return f"{models}, none needs attention"
    return f"{troubled} of {models} need{'s' * (troubled == 1)} attention"


def _fleet_row(
    name: str,
    version: str,
    n: int,
    last_us: int,
    checks: Sequence[Check],
    traffic: Traffic,
    firing: Sequence[Mapping[str, Any]],
    links: Links,
) -> dict[str, Any]:
    newest = checks[0] if checks else {}
    status, why = model_status(newest, firing)
    if not n:
        why = "no prediction yet"
    drifted = mapping(newest.get("drifted_features"))
    judged = mapping(newest.get("drift")).get("status") in ("ok", "drift", "broken")
    return {
        "name": name,
        "version": version,
        "href": links.model(name),
        "status": status,
        "rank": RANKS.index(status),
        "tone": tone(status),
        "word": severity_word(status),
        "why": why,
        "predictions": whole(n),
        "traffic": [count for _, count in traffic],
        "performance": _performance_words(checks),
        "drifted": str(len(drifted)) if judged else DASH,
        "drifted_names": ", ".join(str(f) for f in list(drifted)[:3]),
        "alerts": len(firing),
        "checked": span(*window_of(newest)) if newest else "never",
        "checked_sort": str(window_of(newest)[1] or ""),
        "stale": is_stale(newest, last_us),
    }


def _performance_words(checks: Sequence[Check]) -> dict[str, str] | None:
    """The main metric of the newest check that has one, beside its baseline."""
    for check in checks:
        for panel in performance_panels([check])[:1]:
            value = panel["points"][0][1]
            base = panel["baseline"]
            against = f"baseline {figure(base)}" if base is not None else ""
            return {"word": panel["word"], "value": figure(value), "against": against}
    return None
