"""The page of one feature: reference and current, its drift and its missing values over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftwell.reports.monitoring import feature_series, oldest_first, window_of
from driftwell.reports.reading import mapping
from driftwell.reports.views import column_view, quality_view
from driftwell.reports.words import DASH, axis_labels, distance, number, span
from driftwell.service.views.links import Links
from driftwell.service.views.status import Check

__all__ = ["feature_view"]

ROWS = 25


def feature_view(
    model: str, version: str, feature: str, *, checks: Sequence[Check], full: Check | None, links: Links
) -> dict[str, Any] | None:
    """One feature: its distribution in the check ``full``, its drift and its missing values over ``checks``.

    None when no check knows the feature.
    """
    known = [c for c in oldest_first(checks) if feature in _columns(c)]
    shown = full if full is not None and feature in _columns(full) else None
    if not known and shown is None:
        return None
    columns = [mapping(_columns(c)[feature]) for c in known]
    labels = axis_labels([window_of(c)[0] for c in known])
    newest = known[-1] if known else {}
    at: Check = shown or newest
    return {
        "title": f"{feature} · {model}",
        "model": model,
        "version": version,
        "model_href": links.model(model, version),
        "column": column_view(feature, _columns(at).get(feature)),
        "quality": [verdict for verdict in quality_view(at.get("quality")) if verdict["about"] == feature],
        "window": span(*window_of(at)),
        "is_newest": at.get("check_id") == newest.get("check_id"),
        "newest_href": links.feature(model, version, feature),
        "over_time": feature_series(known, feature),
        "missing": [(label, number(c.get("missing_current"))) for label, c in zip(labels, columns, strict=True)],
        "rows": [
            _feature_row(check, column, links.feature(model, version, feature, str(check.get("check_id"))))
            for check, column in list(zip(known, columns, strict=True))[: -ROWS - 1 : -1]
        ],
    }


def _feature_row(check: Check, column: Mapping[str, Any], href: str) -> dict[str, Any]:
    row = column_view(str(column.get("name") or ""), column)
    return {
        "href": href,
        "window": span(*window_of(check)),
        "score_words": distance(column.get("score")) if row["judged"] else DASH,
        **{key: row[key] for key in ("tone", "word", "value", "method", "spread", "p", "missing", "new_count")},
    }


def _columns(check: Check) -> Mapping[str, Any]:
    return mapping(mapping(check.get("drift")).get("columns"))
