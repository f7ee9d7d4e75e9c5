"""The verdict of a drift report in words: its pill, its headline, and the sentences and figures under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftwell.reports.reading import mapping
from driftwell.reports.tones import tone
from driftwell.reports.words import DASH, joined, number, probability, severity_word, whole

__all__ = ["facts", "headline", "lead", "pill", "reference_words"]

Column = Mapping[str, Any]

GRAVITY = {"low": 1, "medium": 2, "warning": 2, "high": 3, "critical": 3, "broken": 3, "error": 3}
"""How grave a severity or status is; anything else is no finding."""

TROUBLES = (("broken", "is broken", "are broken"), ("error", "cannot be read", "cannot be read"))
"""The statuses of a column that is no ground for a verdict, with how one and how several of them are said."""


def pill(report: Mapping[str, Any], columns: Sequence[Column], outputs: Sequence[Column]) -> tuple[str, str]:
    """``(tone, word)`` of the gravest of what drifted, what is broken, and what the data's quality is."""
    drift = [str(report.get("severity")), *(c["severity"] for c in (*columns, *outputs) if c["drifted"])]
    troubles = [c["status"] for c in columns if not c["judged"]]
    found = [*drift, *troubles, str(mapping(report.get("quality")).get("status"))]
    worst = max(found, key=lambda word: GRAVITY.get(word, 0))
    if GRAVITY.get(worst, 0):
        return tone(worst), f"{severity_word(worst)} severity" if worst in drift else severity_word(worst)
    return ("none", "Not judged") if report.get("status") == "no_data" else (tone("none"), severity_word("none"))


def headline(
    report: Mapping[str, Any], columns: Sequence[Column], outputs: Sequence[Column], quality: Sequence[Column]
) -> str:
    """What was found, in one line: what drifted, what is broken, which rules of quality do not hold."""
    if not columns:
        return "There was nothing to compare"
    moved, answers = _names(columns), _names(outputs)
    judged = sum(c["judged"] for c in columns)
    broken = _troubles(columns)
    if moved:
        verb = "column has" if judged == 1 else "columns have" if len(moved) != 1 else "columns has"
        return "; ".join([f"{len(moved)} of {judged} {verb} drifted: {joined(moved)}", *broken])
    together = bool(mapping(report.get("multivariate")).get("drifted"))
    calm = judged > 0 and report.get("status") != "no_data" and not answers and not together
    if broken and calm:
        return "; ".join([*broken, "nothing else has drifted"])
    rules = len(quality)
    breaks = [f"the data breaks {'a quality rule' if rules == 1 else f'{rules} quality rules'}"] if rules else []
    said = "; ".join([*(broken or breaks), _unmoved(report, judged, answers, together=together)])
    return said[:1].upper() + said[1:]


def lead(
    report: Mapping[str, Any], columns: Sequence[Column], outputs: Sequence[Column], quality: Sequence[Column]
) -> list[str]:
    """The sentences under the headline."""
    summary = mapping(report.get("summary"))
    sizes = [whole(summary.get(key)) for key in ("n_current", "n_reference")]
    sentences = [f"This compares {sizes[0]} current rows with {sizes[1]} reference rows."]
    moved, answers = [c for c in columns if c["drifted"]], [c for c in outputs if c["drifted"]]
    if moved or answers:
        sentences = [f"{_largest(moved or answers)} {_sure(summary, moved or answers)}", *sentences]
        if moved and answers:
            sentences.append(f"Of the outputs, {_have(_names(answers))} drifted.")
    elif report.get("status") == "no_data":
        least = whole(summary.get("min_samples"))
        sentences.append(
            f"Below {least} rows on either side nothing is judged: gather more rows, widen the window, "
            "or lower min_samples."
        )
    else:
        sentences.append(_nearest(columns))
    broken = [c["name"] for c in columns if c["status"] == "broken"]
    unknown = [c["name"] for c in columns if not c["judged"] and c["status"] != "broken"]
    rules = [v["reason"] for v in quality if v["about"] not in (*broken, *unknown)]
    sentences += [f"Broken: {joined(broken)}; what they break is told under Data quality."] if len(broken) > 1 else []
    sentences += [f"Broken: {broken[0]}; what it breaks is told under Data quality."] if len(broken) == 1 else []
    sentences += [f"Data quality: {rules[0]}"] if rules else []
    if unknown and len(unknown) < len(columns):
        sentences.append(f"Not judged: {joined(unknown)}; the reasons are below.")
    return [s for s in sentences if s]


def facts(
    report: Mapping[str, Any], columns: Sequence[Column], outputs: Sequence[Column]
) -> list[tuple[str, str, str]]:
    """``(label, figure, aside)`` of the numbers under the headline."""
    summary = mapping(report.get("summary"))
    judged = [c for c in columns if c["judged"]]
    top = max((c for c in judged if c["score_raw"] is not None), key=lambda c: c["score_raw"], default=None)
    statuses = [c["status"] for c in columns]
    words = (("broken", "broken"), ("no_data", "without data"), ("error", "with errors"))
    asides = [f"{statuses.count(status)} {word}" for status, word in words if status in statuses]
    answered = [("Outputs drifted", f"{len(_names(outputs))} of {len(outputs)}", joined(_names(outputs)))]
    return [
        ("Columns drifted", f"{len(_names(columns))} of {len(judged)}", ", ".join(asides)),
        *(answered if outputs else []),
        ("Largest drift score", top["score"] if top else DASH, top["name"] if top else ""),
        ("Reference rows", whole(summary.get("n_reference")), reference_words(summary)),
        ("Current rows", whole(summary.get("n_current")), ""),
    ]


def reference_words(summary: Mapping[str, Any]) -> str:
    """Name and version of the reference; empty where it has none."""
    return " ".join(str(summary[k]) for k in ("reference_name", "reference_version") if summary.get(k))


# -- parts ---------------------------------------------------------------------------------------------------


def _names(columns: Iterable[Column]) -> list[str]:
    return [c["name"] for c in columns if c["drifted"]]


def _have(names: Sequence[str]) -> str:
    return f"{joined(names)} {'has' if len(names) == 1 else 'have'}"


def _troubles(columns: Sequence[Column]) -> list[str]:
    counts = [(sum(c["status"] == status for c in columns), one, many) for status, one, many in TROUBLES]
    return [f"{n} column {one}" if n == 1 else f"{n} columns {many}" for n, one, many in counts if n]


def _unmoved(report: Mapping[str, Any], judged: int, answers: Sequence[str], *, together: bool) -> str:
    """What there is to say where no column has drifted."""
    still = f"nothing has drifted in {judged} column{'s' * (judged != 1)}"
    if answers:
        return f"{still}, but {_have(answers)}" if judged else f"{_have(answers)} drifted"
    if together:
        return "no column has drifted by itself, but all of them together have"
    return still if judged and report.get("status") != "no_data" else "not enough rows to tell"


def _largest(moved: Sequence[Column]) -> str:
    top = max(moved, key=lambda c: c["score_raw"] or 0.0)
    against = f", threshold {top['threshold']}" if top["threshold_raw"] is not None else ""
    return f"{top['name']} moved most: {top['method']} {top['value']}{against}, {top['word'].lower()} severity."


def _sure(summary: Mapping[str, Any], moved: Sequence[Column]) -> str:
    known = [c["p_raw"] for c in moved if c["p_raw"] is not None]
    if str(summary.get("decision")) == "threshold" or not known:
        return "Judged by value alone; chance was not weighed."
    worst = probability(max(known))
    least = f"below {worst[1:]}" if worst.startswith("<") else f"of at most {worst}"
    which = "Its adjusted p-value is" if len(moved) == 1 else "Each of them has an adjusted p-value"
    words = least.removeprefix("of ") if len(moved) == 1 else least
    return f"{which} {words}: more than the sample sizes explain."


def _nearest(columns: Sequence[Column]) -> str:
    ranked = [c for c in columns if c["judged"] and c["value_raw"] is not None and c["threshold_raw"]]
    if not ranked:
        return ""
    top = max(ranked, key=lambda c: number(c["value_raw"] / c["threshold_raw"]) or 0.0)
    return f"Closest to its threshold is {top['name']}: {top['method']} {top['value']} of {top['threshold']}."
