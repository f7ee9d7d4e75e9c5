"""Predictions of many windows counted once; the numbers of rows are counted by hand on an hour's axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftwell.reports import render_monitoring
from driftwell.reports.coverage import coverage_words, missing_words, predictions_checked
from driftwell.reports.monitoring import monitoring_view

START = datetime(2026, 3, 4, tzinfo=UTC)


def check(start: float, end: float, n: int, **more: Any) -> dict[str, Any]:
    window = {name: (START + timedelta(hours=h)).isoformat() for name, h in (("start", start), ("end", end))}
    return {"model": "m", "version": "v", "window": window, "n_predictions": n, "status": "ok", **more}


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], (0, True)),
        ([(0, 1, 60), (1, 2, 50), (5, 6, 40)], (150, True)),  # apart, with a gap
        ([(0, 1, 60), (0, 1, 60), (1, 2, 50)], (110, True)),  # the first checked twice
        ([(0, 1, 60), (0, 1, 61)], (61, True)),  # again, with a late row
        ([(0, 3, 180), (1, 2, 60), (2, 3, 61)], (180, True)),  # one holds the others
        ([(0, 2, 100), (0, 1, 60), (1, 2, 45)], (105, True)),  # its parts were checked later
        ([(0, 2, 100), (1, 3, 120), (2, 4, 90)], (190, True)),  # the middle one lies in the two around it
        ([(0, 2, 100), (1, 3, 120)], (120, False)),  # 120 to 220: where the rows of the shared hour are is not known
        ([(0, 2, 100), (1, 3, 250), (2, 4, 90)], (250, False)),
    ],
)
def test_no_prediction_is_counted_twice(windows, expected):
    checks = [check(*window) for window in windows]
    assert predictions_checked(checks) == expected
    assert predictions_checked(reversed(checks)) == expected


def test_versions_share_no_predictions():
    assert predictions_checked([check(0, 2, 100), check(1, 3, 120, version="w")]) == (220, True)


def test_a_window_that_cannot_be_read_is_counted_by_itself():
    assert predictions_checked([check(0, 1, 60), {"n_predictions": 7}, {"sample_count": 3}]) == (70, True)


def test_the_report_says_where_it_cannot_know():
    def fact(*checks: dict[str, Any]) -> tuple[str, str]:
        facts = {name: (value, aside) for name, value, aside in monitoring_view("", checks)["facts"]}
        return facts["Predictions checked"]

    assert fact(check(0, 1, 1_500), check(1, 2, 60)) == ("1,560", "")
    assert fact(check(0, 2, 1_500), check(1, 3, 1_200)) == ("at least 1,500", "the windows overlap")


def test_what_is_missing_is_said_of_a_check_and_of_many():
    checks = [{"coverage": 0.9999}, {"coverage": 0.5}, {"coverage": 1.0}, {"coverage": None}, {}]
    words = [coverage_words(check) for check in checks]
    assert words == [">99.9% of what was offered was stored", "50.0% of what was offered was stored", "", "", ""]
    assert missing_words(checks) == (
        "Predictions are missing in 2 of 5 checks; in the worst, 50.0% of what was offered was stored."
    )
    assert missing_words(checks[2:]) == ""


def test_the_report_over_many_checks_shows_it():
    window = {"start": "2026-01-20T18:00:00Z", "end": "2026-01-20T19:00:00Z"}
    check = {"status": "ok", "window": window, "n_predictions": 900, "coverage": 0.9}
    page = render_monitoring("m", [check])
    assert "90.0% of what was offered was stored" in page
    assert "of what was offered" not in render_monitoring("m", [check | {"coverage": 1.0}])
