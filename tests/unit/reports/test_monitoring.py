"""What many checks say together: order, honest gaps, and which numbers are drawn."""

from __future__ import annotations

from typing import Any

from driftwell.reports.monitoring import (
    alert_rows,
    check_rows,
    check_view,
    feature_series,
    heat_view,
    monitoring_view,
    oldest_first,
    performance_panels,
)

Checks = list[dict[str, Any]]


def test_checks_are_ordered_by_their_window(checks: Checks) -> None:
    shuffled = [checks[2], checks[0], checks[3], checks[1]]
    assert [c["check_id"] for c in oldest_first(shuffled)] == ["check-0", "check-1", "check-2", "check-3"]


def test_the_heat_map_puts_what_moved_most_first(checks: Checks) -> None:
    heat = heat_view(checks)
    assert heat is not None
    assert heat["rows"] == ["dep_delay", "origin", "temp"]
    assert heat["columns"] == ["4 Mar", "11 Mar", "18 Mar", "25 Mar"]
    assert [round(v, 2) for v in heat["grid"][0]] == [0.1, 0.15, 0.2, 0.25]
    assert heat["levels"][0] == [0, 1, 1, 1]
    assert heat["grid"][2] == [None] * 4


def test_scores_of_too_few_rows_are_not_drawn(checks: Checks, too_small: dict[str, Any]) -> None:
    heat = heat_view([*checks, too_small])
    assert heat is not None
    assert [row[-1] for row in heat["grid"]] == [None, None, None]
    assert check_rows([too_small])[0]["score"] == "–"


def test_no_scores_are_no_heat_map(too_small: dict[str, Any]) -> None:
    assert heat_view([]) is None
    assert heat_view([too_small]) is None


def test_judged_metrics_are_drawn_first_with_limit_and_baseline(checks: Checks) -> None:
    first, second = performance_panels(checks)
    assert (first["name"], first["word"], first["threshold"], first["baseline"]) == ("f1", "F1", 0.7315, 0.77)
    assert [round(y, 2) for _, y in first["points"]] == [0.77, 0.75, 0.73, 0.71]
    assert first["band"][0] == (0.75, 0.79)
    assert (second["name"], second["threshold"]) == ("accuracy", None)


def test_a_check_without_labels_is_a_gap(checks: Checks, too_small: dict[str, Any]) -> None:
    panel = performance_panels([*checks, too_small])[0]
    assert panel["points"][-1] == ("1 Apr", None) or panel["points"][-1][1] is None
    assert panel["band"][-1] == (None, None)


def test_a_feature_over_time_is_its_method_and_threshold(checks: Checks) -> None:
    found = feature_series(checks, "dep_delay")
    assert (found["word"], found["threshold"]) == ("PSI", 0.1)
    assert [round(y, 2) for _, y in found["points"]] == [0.05, 0.15, 0.25, 0.35]


def test_methods_that_changed_fall_back_to_the_score(checks: Checks) -> None:
    checks[0]["drift"]["columns"]["dep_delay"]["method"] = "ks"
    found = feature_series(checks, "dep_delay")
    assert (found["word"], found["threshold"]) == ("Drift score", None)
    assert [round(y, 2) for _, y in found["points"]] == [0.1, 0.15, 0.2, 0.25]


def test_one_check_in_words(checks: Checks) -> None:
    view = check_view(checks[3])
    assert (view["word"], view["rows"], view["alarm"]) == ("Critical", "5,003", "active")
    assert view["labels"] == "4,900 labels, 98.0% of the predictions"
    f1, accuracy = view["metrics"]
    assert (f1["value"], f1["baseline"], f1["tone"]) == ("0.710", "0.770", "high")
    assert accuracy["tone"] == "", "a metric without a baseline has no verdict"
    assert [f["about"] for f in view["findings"]] == ["F1 score"]


def test_the_summary_counts_only_judged_checks(checks: Checks, too_small: dict[str, Any]) -> None:
    view = monitoring_view("t", [*checks, too_small])
    assert view["headline"] == "Drift in 3 of 4 checks, most often in dep_delay"
    assert view["word"] == "Last check: no data"
    assert {label: figure for label, figure, _ in view["facts"]}["Predictions checked"] == "20,043"


def test_errors_are_worst_when_they_are_largest(checks: Checks) -> None:
    for i, value in enumerate([2.0, 9.0, 3.0, 4.0]):
        checks[i]["performance"] = {"realized": {"mae": {"value": value}}}
    assert "at its worst it was 9 on 11 Mar" in " ".join(monitoring_view("t", checks)["lead"])


def test_what_moved_is_shown_in_its_worst_check(checks: Checks, too_small: dict[str, Any]) -> None:
    (moved,) = monitoring_view("t", [*checks, too_small])["moved"]
    assert (moved["name"], moved["times"], moved["when"]) == ("dep_delay", 3, check_rows([checks[3]])[0]["window"])


def test_what_moved_is_shown_where_it_drifted(checks: Checks) -> None:
    """A column may drift by its missing values, its largest score lying in a week that was judged stable."""
    checks[0]["drift"]["scores"]["dep_delay"] = 0.9
    (moved,) = monitoring_view("t", checks)["moved"]
    assert moved["when"] == check_rows([checks[3]])[0]["window"]


def test_rules_that_never_fired_are_no_alerts() -> None:
    view = monitoring_view("t", [], alerts=[{"rule": "quiet", "state": "inactive"}, {"rule": "r", "state": "resolved"}])
    assert [row["rule"] for row in view["alerts"]] == ["r"]
    assert view["facts"][-1] == ("Alerts firing", "0", "1 in all")


def test_alerts_read_ledger_times() -> None:
    (row,) = alert_rows([{"rule": "r", "severity": "warning", "state": "resolved", "since_us": 0, "value": None}])
    assert (row["since"], row["tone"], row["value"]) == ("1 Jan 1970, 00:00 UTC", "medium", "–")
