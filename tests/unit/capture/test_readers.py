"""What a cell becomes in a column of each kind, by hand; category texts are those of ``driftwell.frame.text_of``."""

import math
from datetime import UTC, date, datetime

import numpy as np
import pytest

from driftwell.capture.conversion.readers import ARROW_TYPES, read_column
from driftwell.capture.snapshot import Unread
from driftwell.frame import KINDS, text_of

FIVE = datetime(2026, 1, 20, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "values", "read", "invalid"),
    [
        ("numeric", [1.5, None], [1.5, None], {}),
        ("numeric", [2, True, "x", None, "3"], [2.0, 1.0, None, None, None], {2: "x", 4: "3"}),
        ("numeric", [2**63, Unread("NaT"), Unread("odd")], [float(2**63), None, None], {2: "odd"}),
        ("boolean", [True, 0, 1.0, 2, "true", math.nan], [True, False, True, None, None, None], {3: "2", 4: "true"}),
        ("categorical", ["a", 3.0, 3, 2.5, True, math.nan, None], ["a", "3", "3", "2.5", "true", None, None], {}),
        ("text", ["a b", "", None, math.nan, 3], ["a b", "", None, None, None], {4: "3"}),
        (
            "datetime",
            ["2026-01-20T18:00:00+01:00", "2026-01-20t17:00:00z", "2026-01-20 17:00", FIVE, date(2026, 1, 20)],
            [FIVE, FIVE, FIVE, FIVE, datetime(2026, 1, 20, tzinfo=UTC)],
            {},
        ),
        (
            "datetime",
            ["soon", 1_768_928_400, "0001-01-01T00:00:00+05:00", Unread("NaT"), math.nan, None],
            [None] * 6,
            {0: "soon", 1: "1768928400", 2: "0001-01-01T00:00:00+05:00"},
        ),
        ("series", [[1, None, 2.5], [], np.array([True, False])], [[1.0, None, 2.5], [], [1.0, 0.0]], {}),
        (
            "series",
            [[1, "x"], [[1.0]], 7, "1,2", math.nan, None],
            [None] * 6,
            {0: 'series of 2 elements: [1,"x"]', 1: "series of 1 elements: [[1.0]]", 2: "7", 3: "1,2"},
        ),
        ("vector", [[1, 2], np.array([3.0, 4.0]), None], [[1.0, 2.0], [3.0, 4.0], None], {}),
        (
            "vector",
            [[1, None], [], [1.0, math.inf]],
            [None] * 3,
            {
                0: "series of 2 elements: [1,null]",
                1: "series of 0 elements: []",
                2: "series of 2 elements: [1.0,null]",
            },
        ),
    ],
)
def test_cells_of_each_kind(kind, values, read, invalid):
    assert read_column(values, kind) == (read, invalid)


def test_category_texts_agree_with_tables():
    values = [3.0, 1e16, -0.0, 2.5, True, 1e-7]
    assert read_column(values, "categorical")[0] == [text_of(v) for v in values]


def test_nan_stays_nan_in_numeric_columns():
    read, invalid = read_column([math.nan, None, "x"], "numeric")
    assert math.isnan(read[0])
    assert read[1] is None
    assert invalid == {2: "x"}


def test_series_are_invalid_text_in_other_columns():
    for value in ([0.5] * 300, np.full(300, 0.5)):
        text = read_column([value], "numeric")[1][0]
        assert text.startswith("series of 300 elements: [0.5,0.5")
        assert len(text) <= 200


def test_times_and_dicts_are_invalid_text():
    read, invalid = read_column([datetime(2026, 1, 1, tzinfo=UTC), {"a": 1}, b"x"], "categorical")
    assert read == [None, None, None]
    assert invalid == {0: "2026-01-01 00:00:00+00:00", 1: 'dict: {"a":1}', 2: 'bytes: "eA=="'}


def test_vectors_of_another_length_are_invalid():
    assert read_column([[1.0, 2.0], [1.0], None], "vector", length=2) == (
        [[1.0, 2.0], None, None],
        {1: "series of 1 elements: [1.0]"},
    )


def test_every_kind_of_a_column_can_be_recorded():
    assert set(ARROW_TYPES) == set(KINDS)
