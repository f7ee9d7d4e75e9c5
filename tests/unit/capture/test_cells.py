"""Kinds and columns: what a cell becomes, by hand; category texts are those of ``driftwell.frame.text_of``."""

import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from driftwell.capture.cells import MAX_FEATURES, Shape, kind_of, named_cells, read_column
from driftwell.capture.snapshot import RefusedError, Unread
from driftwell.frame import text_of


def test_kinds_shown_by_values():
    assert [kind_of(v) for v in (True, 1, 1.5, "a", None, [1], Unread("x"))] == [
        "boolean", "numeric", "numeric", "categorical", None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "values", "read", "invalid"),
    [
        ("numeric", [1.5, None], [1.5, None], {}),
        ("numeric", [2, True, "x", None, "3"], [2.0, 1.0, None, None, None], {2: "x", 4: "3"}),
        ("numeric", [2**63, Unread("NaT"), Unread("odd")], [float(2**63), None, None], {2: "odd"}),
        ("boolean", [True, 0, 1.0, 2, "true", math.nan], [True, False, True, None, None, None], {3: "2", 4: "true"}),
        ("categorical", ["a", 3.0, 3, 2.5, True, math.nan, None], ["a", "3", "3", "2.5", "true", None, None], {}),
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


def test_series_are_invalid_text_with_the_reason():
    for value in ([0.5] * 300, np.full(300, 0.5)):
        text = read_column([value], "numeric")[1][0]
        assert text.startswith("series of 300 elements, which have no kind in this version: [0.5,0.5")
        assert len(text) <= 200


def test_times_and_dicts_are_invalid_text():
    read, invalid = read_column([datetime(2026, 1, 1, tzinfo=UTC), {"a": 1}, b"x"], "categorical")
    assert read == [None, None, None]
    assert invalid == {0: "2026-01-01 00:00:00+00:00", 1: 'dict: {"a":1}', 2: 'bytes: "eA=="'}


def test_positions_take_the_names_of_the_reference():
    shape = Shape({"age": "numeric", "city": "categorical"}, fixed=True)
    assert named_cells([31, "Oslo"], shape) == {"age": 31, "city": "Oslo"}
    with pytest.raises(RefusedError, match="feature_count"):
        named_cells([31], shape)


def test_positions_without_a_reference():
    assert named_cells(np.array([1.0, 2.0]), Shape()) == {"f0": 1.0, "f1": 2.0}
    assert len(named_cells([0.0] * 256, Shape())) == 256
    assert list(named_cells([0.0] * 257, Shape())) == ["value"]
    assert named_cells({0: 1, 1.5: 2}, Shape()) == {"0": 1, "1.5": 2}
    assert named_cells(None, Shape()) is None


def test_a_kind_is_learned_once_and_kept():
    shape = Shape()
    assert shape.kind("a", [None, None]) is None
    assert shape.kind("a", [None, "x", 1]) == "categorical"
    assert shape.kind("a", [1.0]) == "categorical"
    assert Shape(given={"a": "categorical"}).kind("a", [1]) == "categorical"


def test_features_the_reference_does_not_know_are_counted():
    ignored = Counter()
    shape = Shape({"age": "numeric"}, fixed=True)
    assert shape.names_of([{"age": 1, "extra": 2}, None, {"extra": 3}], ignored) == ["age"]
    assert ignored == {"extra": 2}


def test_learned_names_are_bounded():
    ignored = Counter()
    shape = Shape({"known": "numeric"})
    rows = [{f"f{i}": 1.0 for i in range(MAX_FEATURES + 5)} | {"known": 1.0}]
    names = shape.names_of(rows, ignored)
    assert len(names) == MAX_FEATURES
    assert "known" in names
    assert ignored.total() == 6
