"""What the drift report says, as plain values: the templates and the Markdown writer only lay it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftwell.reports.columns import column_view
from driftwell.reports.reading import items, mapping, records
from driftwell.reports.tones import TONES, tone
from driftwell.reports.verdict import facts, headline, lead, pill, reference_words
from driftwell.reports.words import (
    figure,
    method_word,
    moment,
    number,
    percent,
    probability,
    sentence,
    severity_word,
    short_figure,
    whole,
)

__all__ = ["TONES", "column_view", "drift_view", "tone"]

CORRECTIONS = {
    "bh": "Benjamini–Hochberg: of the columns that pass, at most {alpha} are expected to do so by luck",
    "bonferroni": "Bonferroni: the chance that even one column passes by luck is at most {alpha}",
    "none": "no correction: each column passes by luck with a chance of {alpha}",
}
STATISTICS = {"portfolio": "the smallest p-value of its tests is"}
"""What the statistic of a test of whole rows is, where it is no distance."""

MAX_PARTS = 6
MAX_DRAWN = 100
"""Stable columns that are drawn: a page of very many stays small enough to open."""


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
    quality = quality_view(report.get("quality"))
    others = [c for c in columns if not c["drifted"] and c["judged"]]
    for column in others[MAX_DRAWN:]:
        column |= {"href": "", "distribution": None}
    shade, word = pill(report, columns, outputs)
    return {
        "created": moment(report["created"]) if report.get("created") else "",
        "reference": reference_words(summary),
        "tone": shade,
        "word": word,
        "headline": headline(report, columns, outputs, quality),
        "lead": lead(report, columns, outputs, quality),
        "facts": facts(report, columns, outputs),
        "columns": columns,
        "drifted": [c for c in columns if c["drifted"]],
        "others": others[:MAX_DRAWN],
        "undrawn": len(others[MAX_DRAWN:]),
        "unjudged": [c for c in columns if not c["judged"]],
        "outputs": outputs,
        "outputs_drifted": any(c["drifted"] for c in outputs),
        "quality": quality,
        "multivariate": multivariate_view(report.get("multivariate")),
        "notes": _notes(report),
        "judged": judged_sentences(summary, [*columns, *outputs]),
    }


def _notes(report: Mapping[str, Any]) -> list[str]:
    """The notes, without those that the table of broken rules says in the same words."""
    verdicts = records(mapping(report.get("quality")).get("verdicts"))
    told = {f"{v.get('column')} is broken, not drifted: {v.get('reason') or v.get('rule')}" for v in verdicts}
    return [note for note in map(str, items(report.get("notes"))) if note not in told]


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
            "examples": list(dict.fromkeys(_example(example) for example in items(v.get("examples"))))[:5],
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
    method = str(m.get("method"))
    judged = m.get("p_value") is not None
    drifted = judged and bool(m.get("drifted"))
    shares = sorted(mapping(m.get("contributions")).items(), key=lambda item: -(number(item[1]) or 0.0))
    return {
        "method": method_word(m.get("method")),
        "tone": "medium" if drifted else "ok" if judged else "none",
        "word": "Drift" if drifted else "Stable" if judged else "Not judged",
        "statistic": f"{STATISTICS[method]} {probability(m.get('statistic'))}"
        if method in STATISTICS
        else f"statistic {figure(m.get('statistic'))}",
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
    significant = f"its p-value, corrected over all tested columns, is at most {short_figure(summary.get('alpha'))}"
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
    if any(c["spread"].startswith("population") for c in columns):
        out.append(
            (
                "Population",
                "An interval beside a value holds, with 95% confidence, the value of the populations behind the rows: "
                "without sampling noise. That noise alone makes a distance larger, so the interval can lie below it.",
            )
        )
    out.append(
        (
            "Drift score",
            "A number in 0…1 to rank columns by: the largest distance between the two cumulative shares of "
            "a numeric column, half the sum of absolute differences of shares of a categorical one.",
        )
    )
    return out


def _example(value: object) -> str:
    """A value that breaks a rule: whole numbers without decimals, of a row its first cells."""
    if isinstance(value, Mapping):
        cells = [f"{name} {_example(cell)}" for name, cell in value.items()]
        return f"({', '.join([*cells[:MAX_PARTS], '…'] if len(cells) > MAX_PARTS else cells)})"
    known = number(value)
    if known is None:
        return str(value)
    return f"{known:.0f}" if known == int(known) and abs(known) < 1e15 else f"{known:.6g}"
