"""Figures, times and lists as a reader expects them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.reports.words import (
    axis_labels,
    clean,
    figure,
    joined,
    method_word,
    metric_word,
    moment,
    number,
    parse_time,
    percent,
    probability,
    shorten,
    span,
)


@given(st.floats(-1e300, 1e300))
def test_a_figure_reads_back_to_three_digits(value: float) -> None:
    text = figure(value).replace("−", "-").replace(",", "")
    assert float(text) == pytest.approx(value, rel=6e-3)


@given(st.floats(1e-9, 1 - 1e-9))
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float) -> None:
    assert percent(share) not in ("0%", "0.0%", "100%", "100.0%")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "3", True, 10**400, [1]])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    assert number(value) is None
    assert figure(value) == percent(value) == probability(value) == "–"


@given(st.text(st.characters(exclude_characters="…")), st.integers(4, 40))
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shorten(name, width)
    whole = clean(name)
    assert len(short) <= max(width, 1)
    head, found, tail = short.partition("…")
    assert short == whole or (found and whole.startswith(head) and whole.endswith(tail))


def test_wide_characters_take_two_columns() -> None:
    assert shorten("日本語の列名がここにあります", 10) == "日本語…す"


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2013-03-04T00:00:00Z", "2013-03-11T00:00:00Z", "4 Mar – 11 Mar 2013"),
        ("2013-12-30T00:00:00Z", "2014-01-06T00:00:00Z", "30 Dec 2013 – 6 Jan 2014"),
        ("2013-03-04T10:00:00Z", "2013-03-04T11:00:00Z", "4 Mar 2013, 10:00–11:00 UTC"),
        ("2013-03-04T23:30:00Z", "2013-03-05T00:30:00Z", "4 Mar 2013, 23:30 – 5 Mar 2013, 00:30 UTC"),
        ("2013-03-04T05:00:00Z", "2013-03-11T05:00:00Z", "4 Mar – 11 Mar 2013"),
        (None, "soon", "– – soon"),
    ],
)
def test_windows_in_words(start: str | None, end: str, words: str) -> None:
    assert span(start, end) == words


def test_axis_labels_name_hours_only_where_days_repeat() -> None:
    days = ["2013-03-04T00:00:00Z", "2013-03-05T00:00:00Z"]
    assert axis_labels(days) == ["4 Mar", "5 Mar"]
    assert axis_labels([days[0], "2013-03-04T06:30:00Z"]) == ["4 Mar 00:00", "4 Mar 06:30"]


def test_times_are_read_in_every_form_the_ledger_uses() -> None:
    expected = datetime(2013, 3, 4, 18, 5, tzinfo=UTC)
    for value in ("2013-03-04T18:05:00Z", "2013-03-04T19:05:00+01:00", expected, 1_362_420_300_000_000):
        assert parse_time(value) == expected
    assert moment(expected) == "4 Mar 2013, 18:05 UTC"
    for nothing in (None, "", "yesterday", 10**30, True):
        assert parse_time(nothing) is None


def test_names_of_methods_and_metrics() -> None:
    assert [method_word(m) for m in ("psi", "jensen_shannon", "std_shift", None)] == [
        "PSI", "Jensen–Shannon", "Std shift", ""]  # fmt: skip
    assert [metric_word(m) for m in ("f1", "roc_auc", "balanced_accuracy")] == ["F1", "ROC AUC", "Balanced accuracy"]


def test_lists_name_a_few_and_count_the_rest() -> None:
    assert joined([]) == ""
    assert joined("abcd", 3) == "a, b, c and 1 more"
