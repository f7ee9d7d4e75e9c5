"""The pill and the headline are as grave as the gravest finding, wherever it was made."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference, compare
from driftwell.reports import render_drift
from driftwell.reports.views import drift_view


def calm(report: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The report with two stable columns and stable outputs."""
    columns = {name: report["columns"]["age"] | {"name": name} for name in ("age", "height")}
    return report | {"columns": columns, "status": "ok", "severity": "none", "drift_detected": False} | changes


def quality(status: str, column: str | None = None) -> dict[str, Any]:
    verdict = {"rule": "duplicates", "column": column, "status": status, "count": 3000,
               "reason": "60.0% of 5,000 rows repeat an earlier one"}  # fmt: skip
    return {"status": status, "verdicts": [verdict]}


def test_nothing_found_is_stable(report: dict[str, Any]) -> None:
    view = drift_view(calm(report, quality={"status": "ok", "verdicts": []}))
    assert (view["tone"], view["word"]) == ("ok", "Stable")
    assert view["headline"] == "Nothing has drifted in 2 columns"


def test_a_broken_column_is_never_green(report: dict[str, Any]) -> None:
    found = calm(report, status="broken", quality=quality("critical", "age"))
    found["columns"]["age"] |= {"status": "broken", "reason": "broken: another unit", "score": 1.0}
    view = drift_view(found)
    assert (view["tone"], view["word"]) == ("error", "Broken")
    assert view["headline"] == "1 column is broken; nothing else has drifted"
    facts = {label: (figure, aside) for label, figure, aside in view["facts"]}
    assert facts["Columns drifted"] == ("0 of 1", "1 broken")
    assert facts["Largest drift score"] == ("0.031", "height"), "a broken column has no drift"


@pytest.mark.parametrize(
    ("status", "tone", "word"), [("critical", "high", "Critical"), ("warning", "medium", "Warning")]
)
def test_a_rule_of_the_rows_is_never_green(report: dict[str, Any], status: str, tone: str, word: str) -> None:
    view = drift_view(calm(report, quality=quality(status)))
    assert (view["tone"], view["word"]) == (tone, word)
    assert view["headline"] == "The data breaks a quality rule; nothing has drifted in 2 columns"
    assert "Data quality: 60.0% of 5,000 rows repeat an earlier one." in view["lead"]


def test_drifted_outputs_are_never_green(report: dict[str, Any]) -> None:
    found = calm(report)
    for column in found["outputs"].values():
        column |= {"drifted": True, "status": "drift", "severity": "medium"}
    view = drift_view(found)
    assert (view["tone"], view["word"]) == ("medium", "Medium severity")
    assert view["headline"] == "Nothing has drifted in 2 columns, but prediction and score have"
    assert ("Outputs drifted", "2 of 2", "prediction and score") in view["facts"]
    page = render_drift(found)
    assert page.index('id="outputs"') < page.index('id="columns"') < page.index('id="others"')


def test_the_graver_of_drift_and_quality_has_the_pill(report: dict[str, Any]) -> None:
    assert drift_view(report | {"quality": quality("warning")})["word"] == "High severity"
    low = calm(report, status="drift", severity="low", multivariate={"drifted": True, "p_value": 0.01})
    assert drift_view(low)["word"] == "Low severity"
    assert drift_view(low | {"quality": quality("critical")})["word"] == "Critical"


def test_another_unit_is_said_to_be_broken() -> None:
    rng = np.random.default_rng(3)
    before, after = ({"temp": rng.uniform(0, 1, 800), "hum": rng.uniform(0, 1, 800)} for _ in range(2))
    found = compare(Reference.from_data(before), pa.table(after | {"temp": 1000 * after["temp"]}))
    view = drift_view(found.to_dict())
    assert view["headline"] == "1 column is broken; nothing else has drifted"
    assert view["word"] == "Broken"


def test_stable_columns_beyond_a_hundred_are_told_and_not_drawn(report: dict[str, Any]) -> None:
    columns = {f"f{i:03d}": report["columns"]["age"] | {"name": f"f{i:03d}"} for i in range(150)}
    columns["f149"] |= {"drifted": True, "status": "drift", "severity": "high"}
    page = render_drift(report | {"columns": columns, "outputs": {}})
    assert page.count("<details") == 101
    assert "49 more stable columns are in the table above and not drawn" in page
    assert len(set(re.findall(r"<bdi>(f\d{3})</bdi>", page))) == 150, "every column has its row"
    links = set(re.findall(r'href="#(c\d+)"', page))
    assert links == set(re.findall(r'<details[^>]* id="(c\d+)"', page)), "no link leads nowhere"
