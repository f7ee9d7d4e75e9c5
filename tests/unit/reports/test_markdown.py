"""Markdown that renders the same verdicts and lets no name become markup."""

from __future__ import annotations

from typing import Any

from driftwell.reports import render_markdown


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_it_starts_with_the_verdict(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert text.startswith("# 2 of 4 columns have drifted: income and city\n")
    assert "5,000 current rows with 68,785 reference rows" in text


def test_every_column_has_a_row_of_the_same_width(report: dict[str, Any]) -> None:
    table = [row for row in rows(render_markdown(report)) if len(row) == 9]
    assert len(table) == 2 + len(report["columns"]), "a name with a pipe or a line break would break its row"


def test_names_are_text_and_never_markup(report: dict[str, Any]) -> None:
    report["columns"]["a | b\n# c [x](y) <img>"] = report["columns"]["age"]
    text = render_markdown(report)
    assert "<img>" not in text
    assert "<script>" not in text
    assert "a \\| b \\# c \\[x\\]\\(y\\) \\<img\\>" in text


def test_reasons_and_rules_are_listed(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert "- **broken** (error): Text where numbers were expected." in text
    assert "## How this was judged" in text
    assert "New: Voss and" in text
