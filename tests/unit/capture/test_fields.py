"""Single fields of a record: expected values by hand and from the datetime module."""

import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from driftwell.capture.conversion import fields
from driftwell.capture.conversion.fields import Notes
from driftwell.capture.snapshot import RefusedError, Unread

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
NOON_US = round(NOON.timestamp()) * 1_000_000


def time_of(value, notes=None):
    return fields.read_time(value, NOON_US, notes or Notes())


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-20T12:00:00Z",
        "2026-01-20t12:00:00z",
        "2026-01-20T13:00:00+01:00",
        NOON,
        NOON.astimezone(timezone(timedelta(hours=-5))),
        NOON.timestamp(),
        int(NOON.timestamp()),
        None,
    ],
)
def test_one_moment_in_many_forms(value):
    assert time_of(value) == NOON_US


def test_microseconds_are_exact():
    assert time_of("2026-01-20T11:59:59.123456Z") == NOON_US - 1_000_000 + 123_456


@pytest.mark.parametrize("value", ["2026-01-20T12:00:00", datetime(2026, 1, 20, 12), date(2026, 1, 20)])
def test_a_naive_time_is_utc_and_noted(value):
    notes = Notes()
    assert time_of(value, notes) in (NOON_US, NOON_US - 12 * 3_600_000_000)
    assert notes.naive_time


@pytest.mark.parametrize(
    "value", ["yesterday", "", True, math.nan, math.inf, Unread("NaT"), [1], "1899-12-31T23:59:59Z", -1e10]
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(RefusedError, match=r"^timestamp$"):
        time_of(value)


def test_the_future_is_skewed_up_to_a_day_then_refused():
    notes = Notes()
    assert time_of(NOON + timedelta(hours=24), notes) == NOON_US + 86_400_000_000
    assert time_of(NOON + timedelta(seconds=0.5), notes) > NOON_US
    assert notes.skewed == 1
    with pytest.raises(RefusedError, match="future_timestamp"):
        time_of(NOON + timedelta(hours=24, microseconds=1))


@pytest.mark.parametrize(
    ("value", "classes", "text", "score"),
    [
        (0.25, (), "0.25", 0.25),
        (1, (), "1.0", 1.0),
        (1.0000001, (), "1.0", 1.0),
        ({"no": 0.4, "yes": 0.6}, (), '{"no":0.4,"yes":0.6}', 0.6),
        ({"no": 0.4, "yes": 0.6}, ("yes", "no"), '{"no":0.4,"yes":0.6}', 0.4),
        ({0: 0.4, 1: 0.6}, ("0", "1"), '{"0":0.4,"1":0.6}', 0.6),
        ([0.3, 0.7], ("late", "on time"), '{"late":0.3,"on time":0.7}', 0.7),
        ([0.3, 0.7], (), '{"0":0.3,"1":0.7}', 0.7),
        (np.array([[0.3, 0.7]]), (), '{"0":0.3,"1":0.7}', 0.7),
        (np.array([0.3]), (), "0.3", 0.3),
        ({"a": 0.3}, ("a", "b"), '{"a":0.3}', None),
        ({"a": 0.3, "b": None}, (), '{"a":0.3}', 0.3),
        (None, (), None, None),
    ],
)
def test_probability_and_the_score_that_follows(value, classes, text, score):
    assert fields.read_probability(value, classes) == (text, score)


@pytest.mark.parametrize(
    "value", [1.5, -0.1, math.nan, "0.5", {"a": 2}, {}, [0.1, 0.2, 0.7], [[0.5, 0.5]], Unread("x")]
)
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(RefusedError, match="probability"):
        fields.read_probability(value, ("a", "b"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), ("3", '"3"'), (3.0, "3.0"), (True, "true"), (math.nan, "null"), ([1, 2], "[1,2]"),
     (np.array([7]), "7"), (np.array([1.5, 2.5]), "[1.5,2.5]"), (Unread("x"), '"x"'), (None, None)],
)  # fmt: skip
def test_predictions_are_json(value, text):
    assert fields.read_json(value, "prediction") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (3, "3"), (3.0, "3"), (True, "true"), (math.nan, None), (Unread("u"), "u"), (None, None)],
)
def test_names_are_canonical_text(value, text):
    assert fields.read_text(value, "segment") == text


def test_other_fields_refuse_by_name():
    for call, value in [
        (lambda v: fields.read_text(v, "segment"), [1]),
        (lambda v: fields.read_number(v, "score"), "0.5"),
        (lambda v: fields.read_non_negative(v, "latency_seconds"), -1),
        (lambda v: fields.read_non_negative(v, "latency_seconds"), math.nan),
        (fields.read_metadata, [1]),
        (fields.read_metadata, "{}"),
    ]:
        with pytest.raises(RefusedError):
            call(value)


def test_scores_may_be_any_number():
    assert fields.read_number(-7, "score") == -7.0
    assert math.isnan(fields.read_number(math.nan, "score"))
    assert fields.read_number(np.array([0.5]), "score") == 0.5
