"""What a report says of one column, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftwell.reports.reading import items, mapping
from driftwell.reports.tones import tone
from driftwell.reports.words import (
    DASH,
    distance,
    figure,
    method_word,
    number,
    percent,
    probability,
    sentence,
    severity_word,
    share_change,
    short_figure,
    whole,
)

__all__ = ["amount", "column_view"]

MAX_NEW = 12
MAX_PARTS = 6
OWN_UNIT = ("wasserstein", "energy")
"""Methods whose value is in the unit of the column: significant digits, not decimals."""

HASHED = ("ngrams",)
"""Facets whose categories are the numbers of hashed cells: no words can be told from them."""


def column_view(name: str, column: Mapping[str, Any] | None) -> dict[str, Any]:
    """One column in words; what is absent reads as a dash."""
    c = column if isinstance(column, Mapping) else {}
    status = str(c.get("status") or "no_data")
    judged = status not in ("no_data", "error", "broken")
    severity = str(c.get("severity") or "none") if judged else status
    drifted = judged and bool(c.get("drifted"))
    value, threshold = number(c.get("value")), number(c.get("threshold"))
    new = _new_categories(c.get("new_categories"))
    facet = _decisive(c)
    distribution = _readable(c.get("distribution"), facet)
    return {
        "name": str(name),
        "kind": str(c.get("kind") or DASH),
        "method": method_word(c.get("method")),
        "status": status,
        "judged": judged,
        "drifted": drifted,
        "severity": severity,
        "tone": tone(severity),
        "word": severity_word(severity),
        "value": amount(c.get("method"), value),
        "value_raw": value,
        "spread": _spread(c),
        "threshold": _limit(threshold) if judged else DASH,
        "threshold_raw": threshold,
        "p": probability(c.get("p_adjusted")),
        "p_raw": number(c.get("p_adjusted")),
        "score": distance(c.get("score")),
        "score_raw": number(c.get("score")),
        "missing": share_change(c.get("missing_reference"), c.get("missing_current")),
        "missing_raw": number(c.get("missing_shift")),
        "rows": (whole(c.get("n_reference")), whole(c.get("n_current"))),
        "new": new[:MAX_NEW],
        "new_count": len(new),
        "new_rows": sum(count for _, count in new),
        "gist": _gist(c, value, threshold, drifted=drifted, judged=judged),
        "reason": sentence(c.get("error") or c.get("reason")),
        "distribution": distribution,
        "has_ecdf": bool(mapping(distribution).get("ecdf")),
        "facet": facet.replace("_", " "),
        "statistics": _statistics(c),
        "threshold_from": _threshold_words(c, threshold) if judged else "",
        "facets": [_facet(name, facet) for name, facet in mapping(c.get("facets")).items()],
        "contributions": _contributions(c, facet),
        "measures": [_measure(m) for m in mapping(c.get("measures")).values() if isinstance(m, Mapping)],
    }


def _gist(c: Mapping[str, Any], value: float | None, threshold: float | None, *, drifted: bool, judged: bool) -> str:
    if not judged:
        return str(c.get("error") or c.get("reason") or "not judged")
    against = "" if threshold is None or value is None else f" {'≥' if value >= threshold else '<'} {_limit(threshold)}"
    p = f", adjusted p {probability(c.get('p_adjusted'))}" if number(c.get("p_adjusted")) is not None else ""
    return f"{method_word(c.get('method'))} {amount(c.get('method'), value)}{against}{p}"


def _limit(threshold: float | None) -> str:
    return "none" if threshold is None else short_figure(threshold, 3)


def amount(method: object, value: object) -> str:
    """The value of a method, in significant digits where it is in the unit of the column."""
    return figure(value) if method in OWN_UNIT else distance(value)


def _spread(c: Mapping[str, Any]) -> str:
    """The interval where there is one, else the certified bounds where the value is not exact."""
    method, interval = c.get("method"), c.get("interval")
    if isinstance(interval, (list, tuple)) and len(interval) == 2:
        ends = [amount(method, end) for end in interval]
        return "" if ends[0] == ends[1] else f"population {ends[0]} to {ends[1]}"
    low, high = number(c.get("low")), number(c.get("high"))
    first, last = amount(method, low), amount(method, high)
    return "" if low is None or high is None or first == last else f"bounds {first} to {last}"


def _new_categories(value: object) -> list[tuple[str, int]]:
    found = value if isinstance(value, Mapping) else {}
    return sorted(((str(k), int(number(n) or 0)) for k, n in found.items()), key=lambda item: -item[1])


def _statistics(c: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """``(label, reference, current)`` rows of the small table beside the charts."""
    distribution = mapping(c.get("distribution"))
    stats = mapping(distribution.get("stats"))
    sides = [mapping(stats.get(side)) for side in ("reference", "current")]
    rows = [("Rows", whole(c.get("n_reference")), whole(c.get("n_current")))]
    rows += [
        (label, figure(sides[0].get(key), 4), figure(sides[1].get(key), 4))
        for key, label in (
            ("mean", "Mean"),
            ("std", "Standard deviation"),
            ("min", "Minimum"),
            ("max", "Maximum"),
        )
        if stats
    ]
    rows.append(("Missing", percent(c.get("missing_reference")), percent(c.get("missing_current"))))
    return rows


def _threshold_words(c: Mapping[str, Any], threshold: float | None) -> str:
    """Where the threshold came from, and the value without what the sample sizes alone add to it."""
    source = str(c.get("threshold_from") or "")
    words = (
        []
        if not source
        else [f"Threshold {_limit(threshold)}: {source}" if threshold is not None else sentence(source)]
    )
    debiased = number(c.get("debiased"))
    if debiased is not None:
        words.append(f"Without what the sample sizes alone add, the value is {amount(c.get('method'), debiased)}")
    return " ".join(sentence(part) for part in words)


def _facet(name: str, facet: object) -> dict[str, Any]:
    """One part of a column that has several, in a line."""
    c = mapping(facet)
    status = str(c.get("status") or "no_data")
    word = str(c.get("severity") or "none") if status in ("ok", "drift") else status
    return {
        "name": str(name).replace("_", " "),
        "tone": tone(word),
        "word": severity_word(word),
        "method": method_word(c.get("method")),
        "value": amount(c.get("method"), c.get("value")),
        "p": probability(c.get("p_adjusted")),
    }


def _decisive(c: Mapping[str, Any]) -> str:
    """The facet that speaks for a column of several; empty for any other column."""
    told = ("method", "value", "p_adjusted", "score")
    own = [c.get(key) for key in told]
    facets = mapping(c.get("facets"))
    return next((str(name) for name, f in facets.items() if [mapping(f).get(key) for key in told] == own), "")


def _readable(distribution: object, facet: str) -> Mapping[str, Any] | None:
    """The distribution with labels that can be read; None where there is none."""
    if not isinstance(distribution, Mapping):
        return None
    labels = items(distribution.get("labels"))
    return {**distribution, "labels": [_label(label, facet) for label in labels]} if labels else distribution


def _label(label: object, facet: str) -> str:
    text = str(label)
    return f"cell {int(text)}" if facet in HASHED and text.isdecimal() else text


def _contributions(c: Mapping[str, Any], facet: str) -> list[tuple[str, str, str, str]]:
    """``(group, reference, current, part of the PSI)`` of the groups that moved most; none that adds nothing."""
    parts = [mapping(part) for part in items(c.get("contributions"))]
    total = sum(number(part.get("psi")) or 0.0 for part in parts)
    shown = [part for part in parts[:MAX_PARTS] if (number(part.get("psi")) or 0.0) >= 0.01 * total > 0]
    return [
        (_label(part.get("label"), facet), percent(part.get("reference")), percent(part.get("current")),
         percent((number(part.get("psi")) or 0.0) / total))
        for part in shown
    ]  # fmt: skip


def _measure(m: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """``(method, value, bounds or interval, p)`` of one method of the pass."""
    return (
        method_word(m.get("method")),
        amount(m.get("method"), m.get("value")),
        _spread(m),
        probability(m.get("p_value")),
    )
