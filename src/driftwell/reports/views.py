"""What the drift report says, as plain values: the templates and the Markdown writer only lay it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftwell.reports.reading import items, mapping, records
from driftwell.reports.words import (
    DASH,
    distance,
    figure,
    joined,
    method_word,
    moment,
    number,
    percent,
    probability,
    sentence,
    severity_word,
    share_change,
    short_figure,
    whole,
)

__all__ = ["TONES", "column_view", "drift_view", "tone"]

TONES = {
    "high": "high",
    "critical": "high",
    "medium": "medium",
    "warning": "medium",
    "low": "low",
    "info": "low",
    "learning": "low",
    "none": "ok",
    "ok": "ok",
    "error": "error",
}
"""Severity or status → the class that gives its shape and colour; anything else is ``none``: no verdict."""

CORRECTIONS = {
    "bh": "Benjamini–Hochberg: of the columns that pass, at most {alpha} are expected to do so by luck",
    "bonferroni": "Bonferroni: the chance that even one column passes by luck is at most {alpha}",
    "none": "no correction: each column passes by luck with a chance of {alpha}",
}
PILLS = {"none": "Stable", "no_data": "Not judged"}
MAX_NEW = 12
MAX_PARTS = 6
OWN_UNIT = ("wasserstein", "energy")
"""Methods whose value is in the unit of the column: significant digits, not decimals."""


def tone(severity: object) -> str:
    """The class of a severity or status."""
    return TONES.get(str(severity), "none")


def drift_view(report: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the drift report shows, in words, from ``DriftResult.to_dict()``."""
    summary = mapping(report.get("summary"))
    columns = [column_view(name, c) for name, c in mapping(report.get("columns")).items()]
    outputs = [
        column_view(name, c)
        for name, c in mapping(report.get("outputs")).items()
        if isinstance(c, Mapping) and "status" in c
    ]
    for i, column in enumerate([*columns, *outputs]):
        column |= {"anchor": f"c{i}", "href": f"#c{i}"}
    severity = "no_data" if report.get("status") == "no_data" else str(report.get("severity") or "none")
    return {
        "created": moment(report.get("created")),
        "reference": _reference_words(summary),
        "severity": severity,
        "tone": tone(severity),
        "word": PILLS.get(severity) or f"{severity_word(severity)} severity",
        "headline": _headline(report, columns),
        "lead": _lead(report, columns),
        "facts": _facts(report, summary, columns),
        "columns": columns,
        "drifted": [c for c in columns if c["drifted"]],
        "others": [c for c in columns if not c["drifted"] and c["judged"]],
        "unjudged": [c for c in columns if not c["judged"]],
        "outputs": outputs,
        "quality": quality_view(report.get("quality")),
        "multivariate": multivariate_view(report.get("multivariate")),
        "notes": [str(note) for note in items(report.get("notes"))],
        "judged": judged_sentences(summary, columns),
    }


def column_view(name: str, column: Mapping[str, Any] | None) -> dict[str, Any]:
    """One column in words; what is absent reads as a dash."""
    c = column if isinstance(column, Mapping) else {}
    status = str(c.get("status") or "no_data")
    judged = status not in ("no_data", "error")
    severity = str(c.get("severity") or "none") if judged else status
    drifted = judged and bool(c.get("drifted"))
    value, threshold = number(c.get("value")), number(c.get("threshold"))
    new = _new_categories(c.get("new_categories"))
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
        "value": _amount(c.get("method"), value),
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
        "distribution": c.get("distribution") if isinstance(c.get("distribution"), Mapping) else None,
        "has_ecdf": bool(mapping(c.get("distribution")).get("ecdf")),
        "statistics": _statistics(c),
        "facets": [_facet(name, facet) for name, facet in mapping(c.get("facets")).items()],
        "contributions": _contributions(c),
        "measures": [_measure(m) for m in mapping(c.get("measures")).values() if isinstance(m, Mapping)],
    }


def quality_view(quality: object) -> list[dict[str, Any]]:
    """The quality verdicts that failed, worst first; a rule that holds is not shown."""
    failed = [v for v in records(mapping(quality).get("verdicts")) if str(v.get("status")) in ("warning", "critical")]
    found = [
        {
            "about": str(v.get("column") or "all columns"),
            "rule": str(v.get("rule") or "").replace("_", " "),
            "tone": tone(v.get("status")),
            "word": severity_word(v.get("status")),
            "rows": whole(v.get("count")),
            "examples": [str(example) for example in items(v.get("examples"))][:5],
            "reason": sentence(v.get("reason")),
        }
        for v in failed
    ]
    return sorted(found, key=lambda v: v["tone"] != "high")


def multivariate_view(found: object) -> dict[str, Any] | None:
    """The test of whole rows in words; None where none was asked for."""
    m = mapping(found)
    if not m:
        return None
    judged = m.get("p_value") is not None
    drifted = judged and bool(m.get("drifted"))
    shares = sorted(mapping(m.get("contributions")).items(), key=lambda item: -(number(item[1]) or 0.0))
    return {
        "method": method_word(m.get("method")),
        "tone": "medium" if drifted else "ok" if judged else "none",
        "word": "Drift" if drifted else "Stable" if judged else "Not judged",
        "statistic": figure(m.get("statistic")),
        "p": probability(m.get("p_value")),
        "rows": (whole(m.get("n_reference")), whole(m.get("n_current"))),
        "reason": sentence(m.get("reason")),
        "notes": [sentence(note) for note in items(m.get("notes"))],
        "contributions": [(str(name), figure(share)) for name, share in shares[:MAX_PARTS]],
    }


def judged_sentences(summary: Mapping[str, Any], columns: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """How a column is judged: ``(term, explanation)`` pairs."""
    alpha = percent(summary.get("alpha"))
    correction = CORRECTIONS.get(str(summary.get("correction")), "").format(alpha=alpha)
    significant = f"its p-value, corrected over all tested columns, is at most {figure(summary.get('alpha'))}"
    relevant = "its value reaches the threshold of its method"
    decision = str(summary.get("decision") or "beyond_noise")
    rule = {
        "threshold": f"when {relevant}, whatever its p-value",
        "p_value": f"when {significant}, whatever its size",
    }.get(decision, f"when both gates open: it is significant ({significant}), and relevant ({relevant})")
    out = [("Drifted", f"A column has drifted {rule}.")]
    if decision != "threshold" and correction:
        out.append(("Correction", f"{correction}."))
    limits = {(c["method"], c["threshold"]) for c in columns if c["judged"] and c["value_raw"] is not None}
    if limits:
        words = "; ".join(
            f"{name} {limit}" if limit != "none" else f"{name} by significance alone"
            for name, limit in sorted(limits)[:8]
        )
        out.append(("Thresholds", f"{words}."))
    if summary.get("min_samples") is not None:
        least = whole(summary.get("min_samples"))
        out.append(("Rows", f"Fewer than {least} rows on either side are not judged, and never called stable."))
    out.append(
        (
            "Drift score",
            "A number in 0…1 to rank columns by: the largest distance between the two cumulative shares of "
            "a numeric column, half the sum of absolute differences of shares of a categorical one.",
        )
    )
    return out


# -- the verdict in words ------------------------------------------------------------------------------------


def _headline(report: Mapping[str, Any], columns: list[dict[str, Any]]) -> str:
    moved = [c["name"] for c in columns if c["drifted"]]
    judged = sum(c["judged"] for c in columns)
    if not columns:
        return "There was nothing to compare"
    if moved:
        verb = "column has" if judged == 1 else "columns have" if len(moved) != 1 else "columns has"
        return f"{len(moved)} of {judged} {verb} drifted: {joined(moved)}"
    if report.get("status") == "no_data" or not judged:
        return "Not enough rows to tell"
    return f"Nothing has drifted in {judged} column{'s' * (judged != 1)}"


def _lead(report: Mapping[str, Any], columns: list[dict[str, Any]]) -> list[str]:
    summary = mapping(report.get("summary"))
    sizes = [whole(summary.get(key)) for key in ("n_current", "n_reference")]
    sentences = [f"This compares {sizes[0]} current rows with {sizes[1]} reference rows."]
    moved = [c for c in columns if c["drifted"]]
    if moved:
        sentences = [f"{_largest(moved)} {_sure(summary, moved)}", *sentences]
    elif report.get("status") == "no_data":
        least = whole(summary.get("min_samples"))
        sentences.append(
            f"Below {least} rows on either side nothing is judged: gather more rows, widen the window, "
            "or lower min_samples."
        )
    else:
        sentences.append(_nearest(columns))
    troubled = [c for c in columns if not c["judged"]]
    if troubled and len(troubled) < len(columns):
        names = joined(c["name"] for c in troubled)
        sentences.append(f"Not judged: {names}; the reasons are below.")
    return [s for s in sentences if s]


def _largest(moved: list[dict[str, Any]]) -> str:
    top = max(moved, key=lambda c: c["score_raw"] or 0.0)
    against = f", threshold {top['threshold']}" if top["threshold_raw"] is not None else ""
    return f"{top['name']} moved most: {top['method']} {top['value']}{against}, {top['word'].lower()} severity."


def _sure(summary: Mapping[str, Any], moved: list[dict[str, Any]]) -> str:
    known = [c["p_raw"] for c in moved if c["p_raw"] is not None]
    if str(summary.get("decision")) == "threshold" or not known:
        return "Judged by value alone; chance was not weighed."
    worst = probability(max(known))
    least = f"below {worst[1:]}" if worst.startswith("<") else f"of at most {worst}"
    which = "Its adjusted p-value is" if len(moved) == 1 else "Each of them has an adjusted p-value"
    words = least.removeprefix("of ") if len(moved) == 1 else least
    return f"{which} {words}: more than the sample sizes explain."


def _nearest(columns: list[dict[str, Any]]) -> str:
    ranked = [c for c in columns if c["judged"] and c["value_raw"] is not None and c["threshold_raw"]]
    if not ranked:
        return ""
    top = max(ranked, key=lambda c: c["value_raw"] / c["threshold_raw"])
    return f"Closest to its threshold is {top['name']}: {top['method']} {top['value']} of {top['threshold']}."


def _facts(
    report: Mapping[str, Any], summary: Mapping[str, Any], columns: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """``(label, figure, aside)`` of the numbers under the headline."""
    judged = sum(c["judged"] for c in columns)
    scored = [c for c in columns if c["score_raw"] is not None]
    top = max(scored, key=lambda c: c["score_raw"], default=None)
    aside = ", ".join(
        f"{summary[key]} {word}" for key, word in (("n_no_data", "without data"), ("n_errors", "with errors"))
        if number(summary.get(key))
    )  # fmt: skip
    drifted = sum(c["drifted"] for c in columns)
    return [
        ("Columns drifted", f"{drifted} of {judged}", aside),
        ("Largest drift score", top["score"] if top else DASH, top["name"] if top else ""),
        ("Reference rows", whole(summary.get("n_reference")), _reference_words(summary)),
        ("Current rows", whole(summary.get("n_current")), moment(report.get("created"))),
    ]


def _reference_words(summary: Mapping[str, Any]) -> str:
    named = [str(summary[k]) for k in ("reference_name", "reference_version") if summary.get(k)]
    return " ".join(named)


# -- columns -------------------------------------------------------------------------------------------------


def _gist(c: Mapping[str, Any], value: float | None, threshold: float | None, *, drifted: bool, judged: bool) -> str:
    if not judged:
        return str(c.get("error") or c.get("reason") or "not judged")
    against = "" if threshold is None or value is None else f" {'≥' if value >= threshold else '<'} {_limit(threshold)}"
    p = f", adjusted p {probability(c.get('p_adjusted'))}" if number(c.get("p_adjusted")) is not None else ""
    return f"{method_word(c.get('method'))} {_amount(c.get('method'), value)}{against}{p}"


def _limit(threshold: float | None) -> str:
    return "none" if threshold is None else short_figure(threshold, 3)


def _amount(method: object, value: object) -> str:
    return figure(value) if method in OWN_UNIT else distance(value)


def _spread(c: Mapping[str, Any]) -> str:
    """The interval where there is one, else the certified bounds where the value is not exact."""
    method, interval = c.get("method"), c.get("interval")
    if isinstance(interval, (list, tuple)) and len(interval) == 2:
        return f"95% {_amount(method, interval[0])} to {_amount(method, interval[1])}"
    low, high = number(c.get("low")), number(c.get("high"))
    first, last = _amount(method, low), _amount(method, high)
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
        "value": _amount(c.get("method"), c.get("value")),
        "p": probability(c.get("p_adjusted")),
    }


def _contributions(c: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """``(group, reference, current, part of the PSI)`` of the groups that moved most; those that add nothing left out."""
    parts = [mapping(part) for part in items(c.get("contributions"))]
    total = sum(number(part.get("psi")) or 0.0 for part in parts)
    shown = [part for part in parts[:MAX_PARTS] if (number(part.get("psi")) or 0.0) >= 0.01 * total > 0]
    return [
        (str(part.get("label")), percent(part.get("reference")), percent(part.get("current")),
         percent((number(part.get("psi")) or 0.0) / total))
        for part in shown
    ]  # fmt: skip


def _measure(m: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """``(method, value, bounds or interval, p)`` of one method of the pass."""
    return (
        method_word(m.get("method")),
        _amount(m.get("method"), m.get("value")),
        _spread(m),
        probability(m.get("p_value")),
    )
