"""One column in words."""

from __future__ import annotations

from typing import Any

import pytest

from driftwell.reports import render_drift
from driftwell.reports.columns import column_view
from driftwell.reports.views import drift_view, multivariate_view, quality_view


def test_an_interval_says_whose_it_is(report: dict[str, Any]) -> None:
    report["columns"]["age"] |= {"value": 0.012, "interval": [0.001, 0.008]}
    view = column_view("age", report["columns"]["age"])
    assert view["spread"] == "population 0.001 to 0.008"
    assert "Population" in dict(drift_view(report)["judged"])


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ([0.0, 0.00001], "population 0 to <0.001"),
        ([5e-324, 0.004], "population 0 to 0.004"),
        ([0.00001, 0.0002], ""),
    ],
)
def test_intervals_of_almost_nothing(report: dict[str, Any], interval: list[float], words: str) -> None:
    assert column_view("age", report["columns"]["age"] | {"interval": interval})["spread"] == words


def facets(report: dict[str, Any]) -> dict[str, Any]:
    """A text whose n-grams moved most: facets as ``compare`` folds them."""
    cells = {"type": "categorical", "labels": ["0325", "0007"], "reference": [0.5, 0.5], "current": [0.1, 0.9]}
    parts = [{"label": "0325", "reference": 0.5, "current": 0.1, "psi": 0.6}]
    ngrams = report["columns"]["income"] | {"distribution": cells, "contributions": parts}
    return ngrams | {"kind": "text", "facets": {"length": report["columns"]["age"], "ngrams": ngrams}}


def test_the_charts_of_a_column_of_several_name_the_facet(report: dict[str, Any]) -> None:
    text = facets(report)
    assert column_view("note", text)["facet"] == "ngrams"
    assert "Distribution of its ngrams" in render_drift(report | {"columns": {"note": text}})
    assert column_view("age", report["columns"]["age"])["facet"] == ""


def test_hashed_cells_are_named_as_such(report: dict[str, Any]) -> None:
    view = column_view("note", facets(report))
    assert view["distribution"]["labels"] == ["cell 325", "cell 7"]
    assert view["contributions"][0][0] == "cell 325"


def test_categories_that_are_numbers_stay_what_they_are(report: dict[str, Any]) -> None:
    zips = {"type": "categorical", "labels": ["0325"], "reference": [1.0], "current": [1.0]}
    assert column_view("zip", report["columns"]["city"] | {"distribution": zips})["distribution"]["labels"] == ["0325"]


def test_examples_are_distinct_and_whole_numbers_whole() -> None:
    verdict = {"rule": "range", "status": "warning", "column": "n", "examples": [1.0, 1.0, 2.5, "x", 1.0]}
    assert quality_view({"verdicts": [verdict]})[0]["examples"] == ["1", "2.5", "x"]
    row = {"season": 1.0, "city": "Oslo"}
    assert quality_view({"verdicts": [verdict | {"examples": [row]}]})[0]["examples"] == ["(season 1, city Oslo)"]


def test_the_statistic_of_the_portfolio_is_a_p_value() -> None:
    view = multivariate_view({"method": "portfolio", "statistic": 0.001, "p_value": 0.002, "drifted": True})
    assert view is not None
    assert view["statistic"] == "the smallest p-value of its tests is 0.001"


def test_the_level_is_written_without_empty_digits(report: dict[str, Any]) -> None:
    (rule,) = [words for term, words in drift_view(report)["judged"] if term == "Drifted"]
    assert "is at most 0.05)" in rule
