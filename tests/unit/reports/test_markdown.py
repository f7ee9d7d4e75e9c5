"""Markdown that renders the same verdicts and lets no name become markup."""

from __future__ import annotations

from typing import Any

from driftwell.reports import render_markdown


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_it_starts_with_the_verdict(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    assert text.startswith("# 2 of 4 columns have drifted: income and city; 1 column cannot be read\n")
    assert "5,000 current rows with 68,785 reference rows" in text


def test_every_column_has_a_row_of_the_same_width(report: dict[str, Any]) -> None:
    table = [row for row in rows(render_markdown(report)) if len(row) == 9]
    wanted = 2 + len(report["columns"]) + 2 + len(report["outputs"])
    assert len(table) == wanted, "a name with a pipe or a line break would break its row"


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


def test_quality_outputs_and_whole_rows_have_sections(report: dict[str, Any]) -> None:
    report["outputs"]["score"] |= {"drifted": True, "status": "drift", "severity": "high"}
    report["quality"] = {"status": "warning", "verdicts": [
        {"rule": "range", "column": "age", "status": "warning", "count": 1200, "examples": [120.0, 120.0, 130.5],
         "reason": "1,200 of 5,000 values lie outside the reference's 0 to 99"}]}  # fmt: skip
    report["multivariate"] = {"method": "portfolio", "statistic": 0.001, "p_value": 0.002, "drifted": True,
                              "n_reference": 5000, "n_current": 5000}  # fmt: skip
    text = render_markdown(report)
    assert "| age | range | Warning | 1,200 | 1,200 of 5,000 values" in text
    assert "For example 120, 130.5." in text
    assert "the smallest p-value of its tests is 0.001, p 0.002" in text
    places = [text.index(f"## {title}") for title in ("Data quality", "All columns together", "Outputs", "Columns")]
    assert places == sorted(places)
    assert "Report made 21 Nov 2026, 09:35 UTC." in text
    assert "09:35" not in text.partition("## ")[0], "the report's date is none of the data's"
