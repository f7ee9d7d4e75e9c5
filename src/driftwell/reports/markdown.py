"""The drift report as Markdown, for tickets, pull requests and chats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftwell.reports.views import drift_view
from driftwell.reports.words import clean, joined

__all__ = ["render_markdown"]

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$])")


def render_markdown(report: Mapping[str, Any]) -> str:
    """A drift report as Markdown: the verdict, the table of columns, the reasons, how it was judged.

    Parameters
    ----------
    report
        ``DriftResult.to_dict()``.

    Examples
    --------
    >>> render_markdown({"status": "no_data", "columns": {}}).splitlines()[0]
    '# There was nothing to compare'
    """
    view = drift_view(report)
    parts = [f"# {_plain(view['headline'])}", " ".join(_plain(s) for s in view["lead"])]
    parts.append(_table(["", ""], [(label, _with_aside(value, aside)) for label, value, aside in view["facts"]]))
    if view["notes"]:
        parts.append(_list("Notes", [_plain(note) for note in view["notes"]]))
    if view["quality"]:
        parts += ["## Data quality", _quality(view["quality"])]
    if view["multivariate"]:
        parts += ["## All columns together", _together(view["multivariate"])]
    tables = [_titled("Columns", view["columns"], "Column")]
    tables.insert(0 if view["outputs_drifted"] else 1, _titled("Outputs", view["outputs"], "Output"))
    parts += tables
    moved = [*view["drifted"], *(column for column in view["outputs"] if column["drifted"])]
    for title, columns in (("What moved", moved), ("Not judged", view["unjudged"])):
        if columns:
            parts.append(_list(title, [_line(column) for column in columns]))
    parts.append(_list("How this was judged", [f"**{term}.** {_plain(words)}" for term, words in view["judged"]]))
    parts.append(f"Report made {view['created']}." if view["created"] else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _quality(quality: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (v["about"], v["rule"], v["word"], v["rows"],
         " ".join([v["reason"], *([f"For example {', '.join(v['examples'])}."] if v["examples"] else [])]))
        for v in quality
    ]  # fmt: skip
    return _table(["Column", "Rule", "Finding", "Rows", "Why"], rows)


def _together(found: Mapping[str, Any]) -> str:
    current, reference = found["rows"][::-1]
    rows = f"{found['method']} on {current} current and {reference} reference rows"
    test = f"{rows}: {found['statistic']}, p {found['p']}."
    return " ".join([f"**{found['word']}.**", *map(_plain, [test, found["reason"], *found["notes"]])]).strip()


def _titled(title: str, columns: Sequence[Mapping[str, Any]], first: str) -> str:
    return f"## {title}\n\n{_columns(columns, first)}" if columns else ""


def _columns(columns: Sequence[Mapping[str, Any]], first: str) -> str:
    head = [first, "Kind", "Method", "Value", "Threshold", "Adjusted p", "Severity", "Missing", "New"]
    return _table(
        head,
        [
            (c["name"], c["kind"], c["method"], _with_aside(c["value"], c["spread"]), c["threshold"], c["p"],
             c["word"], c["missing"], str(c["new_count"] or "–"))
            for c in columns
        ],
    )  # fmt: skip


def _line(column: Mapping[str, Any]) -> str:
    new = f" New: {_plain(joined([name for name, _ in column['new']], 8))}." if column["new"] else ""
    why = _plain(column["reason"] or column["gist"])
    return f"**{_plain(column['name'])}** ({column['word'].lower()}): {why}{new}"


def _with_aside(value: str, aside: str) -> str:
    return f"{value} ({aside})" if aside else value


def _list(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: object) -> str:
    """Text without meaning to Markdown or HTML, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(clean(text).split()))
