"""Predictions of many windows counted once; the numbers of rows are counted by hand on an hour's axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftwell.reports.coverage import predictions_checked
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
