"""What the drift report says, as plain values: the templates and the Markdown writer only lay it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftwell.reports.columns import column_view
from driftwell.reports.reading import items, mapping, records
from driftwell.reports.tones import TONES, tone
from driftwell.reports.words import (
    DASH,
    figure,
    joined,
    method_word,
    moment,
    number,
    percent,
    probability,
    sentence,
    severity_word,
    whole,
)

__all__ = ["TONES", "column_view", "drift_view", "tone"]

CORRECTIONS = {
    "bh": "Benjamini–Hochberg: of the columns that pass, at most {alpha} are expected to do so by luck",
    "bonferroni": "Bonferroni: the chance that even one column passes by luck is at most {alpha}",
    "none": "no correction: each column passes by luck with a chance of {alpha}",
}
PILLS = {"none": "Stable", "no_data": "Not judged"}
MAX_PARTS = 6


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
    if mapping(report.get("multivariate")).get("drifted"):
        return "No column has drifted by itself, but all of them together have"
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
