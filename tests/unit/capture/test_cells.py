"""The features of a record by name, and what is learned of them, by hand."""

from collections import Counter
from datetime import UTC, date, datetime

import numpy as np
import pytest

from driftwell import Reference
from driftwell.capture.conversion.cells import MAX_FEATURES, Shape, kind_of, named_cells
from driftwell.capture.snapshot import RefusedError, Unread


def test_kinds_shown_by_values():
    shown = {"boolean": (True,), "numeric": (1, 1.5), "categorical": ("a", "2026-01-01"), None: (None, Unread("x")),
             "series": ([1], np.ones(3)), "datetime": (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1))}  # fmt: skip
    assert {kind: tuple(kind_of(v) for v in values) for kind, values in shown.items()} == {
        kind: (kind,) * len(values) for kind, values in shown.items()
    }


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


def test_a_list_is_the_series_value_where_that_is_known():
    assert named_cells([1.0, 2.0], Shape(given={"value": "series"})) == {"value": [1.0, 2.0]}
    assert named_cells([1.0, 2.0], Shape({"value": "series"}, fixed=True)) == {"value": [1.0, 2.0]}
    assert named_cells([[1.0, 2.0]], Shape({"signal": "series"}, fixed=True)) == {"signal": [1.0, 2.0]}


def test_the_length_of_a_vector_is_the_references_or_that_of_the_first():
    reference = Reference.from_data({"v": [[1.0, 2.0], [3.0, 4.0]]}, kinds={"v": "vector"})
    assert Shape.of(reference).length("v", [[1.0]]) == 2
    assert Shape.of(reference, {"embedding": "v"}).length("embedding", []) == 2
    shape = Shape(given={"v": "vector"})
    assert shape.kind("v", [None, [1.0, 2.0, 3.0]]) == "vector"
    assert [shape.length("v", values) for values in ([None], [None, [1.0, 2.0, 3.0]], [[1.0]])] == [None, 3, 3]
    assert Shape(kinds={"s": "series"}).length("s", [[1.0]]) is None


def test_a_kind_is_learned_once_and_kept():
    shape = Shape()
    assert shape.kind("a", [None, None]) is None
    assert shape.kind("a", [None, "x", 1]) == "categorical"
    assert shape.kind("a", [1.0]) == "categorical"
    assert Shape(given={"a": "categorical"}).kind("a", [1]) == "categorical"


def test_features_the_reference_does_not_know_are_counted():
    ignored = Counter()
    shape = Shape({"age": "numeric"}, fixed=True)
    assert shape.names_of({("age", "extra"): 1, ("extra",): 1}, ignored) == ["age"]
    assert ignored == {"extra": 2}


def test_learned_names_are_bounded():
    ignored = Counter()
    shape = Shape({"known": "numeric"})
    layout = (*(f"f{i}" for i in range(MAX_FEATURES + 5)), "known")
    names = shape.names_of({layout: 1}, ignored)
    assert len(names) == MAX_FEATURES
    assert "known" in names
    assert ignored.total() == 6
