"""Durations, sizes and kinds of values."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.config import format_duration, parse_duration, parse_size
from driftwell.config.values import KINDS, NETWORKS, PATH, TOLERANCE, one_of
from driftwell.errors import BadInput
from driftwell.frame import KINDS as ALL_KINDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H", 3600),
        ("PT30M", 1800),
        ("P7D", 7 * 86_400),
        ("P2W", 14 * 86_400),
        ("P1DT1H1M1S", 86_400 + 3661),
        ("PT0.5H", 1800),
        ("PT1,5S", 1.5),
        ("PT0S", 0),
    ],
)
def test_iso_durations_are_read(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "1h", "PT1", "P1M", "P1Y", "-PT1H", "PT1H ", "pt1h", "P1DT", "PT1H30", "PTnanH", "PT٣H"],
)
def test_other_text_is_no_duration(text):
    with pytest.raises(BadInput, match="ISO 8601"):
        parse_duration(text)


@pytest.mark.parametrize("value", [3600, 1.5, None, ["PT1H"]])
def test_numbers_are_no_durations(value):
    with pytest.raises(BadInput, match="PT1H"):
        parse_duration(value)


def test_a_timedelta_is_a_duration_unless_negative():
    assert parse_duration(timedelta(hours=2)) == timedelta(hours=2)
    with pytest.raises(BadInput, match="negative"):
        parse_duration(timedelta(hours=-2))


def test_a_duration_beyond_timedelta_is_refused():
    with pytest.raises(BadInput, match="too long"):
        parse_duration("P999999999W")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_formatting_undoes_parsing(value):
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MiB", 268_435_456),
        ("1GiB", 1_073_741_824),
        ("1GB", 1_000_000_000),
        ("10 kb", 10_000),
        ("0.5KiB", 512),
        ("7", 7),
        ("7B", 7),
        (123, 123),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "MiB", "-1", "1 MiBs", "1e9", True, None, "1.MiB", "٣"])
def test_other_values_are_no_size(value):
    with pytest.raises(BadInput, match="256MiB"):
        parse_size(value)


def test_large_whole_sizes_are_exact():
    assert parse_size("999999999999999") == 999_999_999_999_999


@pytest.mark.parametrize("value", [0.05, {"abs": 0.05}, {"f1": 0.1, "accuracy": {"abs": 0.02}}, '{"abs": 0.05}'])
def test_tolerances_keep_their_shape(value):
    read = TOLERANCE.read(value)
    assert read == ({"abs": 0.05} if isinstance(value, str) else value)


@pytest.mark.parametrize("value", [{"abs": 0.05, "f1": 0.1}, {"abs": {"abs": 1}}, {"f1": {"rel": 1}}, -1, "much"])
def test_ambiguous_tolerances_are_refused(value):
    with pytest.raises((ValueError, TypeError)):
        TOLERANCE.read(value)


def test_networks_are_normalised_and_checked():
    assert NETWORKS.read("127.0.0.1, 10.0.0.0/8") == ("127.0.0.1/32", "10.0.0.0/8")
    with pytest.raises(ValueError, match="host bits"):
        NETWORKS.read(["10.0.0.1/8"])


def test_a_path_is_text(tmp_path):
    assert PATH.read(tmp_path) == str(tmp_path)
    with pytest.raises(TypeError):
        PATH.read(b"bytes")


def test_one_of_names_its_words():
    assert one_of("log", "file").words == "log or file"


def test_every_kind_of_a_column_can_be_named():
    table = {kind: kind for kind in ALL_KINDS}
    assert KINDS.read(table) == table
    assert all(kind in KINDS.words for kind in ALL_KINDS)
