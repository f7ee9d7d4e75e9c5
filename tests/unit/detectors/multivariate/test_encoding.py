"""How two samples become two matrices: each documented rule, and each kind of bad input."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftwell.detectors.multivariate.encoding import encode, encode_rows
from driftwell.detectors.multivariate.scaling import standardised
from driftwell.errors import BadInput, ColumnError, InsufficientData


def vectors(rows: np.ndarray) -> pa.Table:
    """A column ``v`` of lists of one length."""
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])})


def test_arrays_are_taken_as_they_are() -> None:
    data = encode(np.array([[1, 200], [3, 400]]), [[5.5, 6.0], [7.0, 8.0]])
    assert data.pooled.tolist() == [[1, 200], [3, 400], [5.5, 6], [7, 8]]
    assert (data.n_reference, data.n_current, data.columns) == (2, 2, ("f0", "f1"))


def test_one_dimension_is_one_column() -> None:
    assert encode([1.0, 2.0], np.array([True, False])).pooled.tolist() == [[1], [2], [1], [0]]


def test_cells_of_arrays_that_are_not_finite_get_median_and_mark() -> None:
    data = encode([[1.0, 0.0], [math.nan, 0.0], [3.0, 0.0]], [[math.inf, 0.0], [8.0, 0.0]])
    assert data.pooled[:, :2].tolist() == [[1, 0], [3, 1], [3, 0], [3, 1], [8, 0]]  # the median of 1, 3, 8
    assert data.groups == {"f0": [0, 1], "f1": [2]}


def test_none_in_an_object_array_is_missing() -> None:
    assert encode(np.array([1, None, 2], object), [4.0, 4.0]).pooled[1].tolist() == [3.0, 1.0]


def test_column_without_any_finite_cell_becomes_zero() -> None:
    assert encode([math.nan, math.nan], [math.nan, math.inf]).pooled.tolist() == [[0, 1]] * 4


def test_numbers_of_tables_are_standardised_over_both() -> None:
    data = encode({"a": [1.0, 2.0, 3.0], "k": [7, 7, 7]}, {"k": [7, 7], "a": [6.0, 8.0]})
    # Mean 4, variance (9 + 4 + 1 + 4 + 16) / 5 = 6.8.
    assert data.pooled[:, 0] == pytest.approx((np.array([1, 2, 3, 6, 8]) - 4) / math.sqrt(6.8))
    assert data.pooled[:, 1].tolist() == [0] * 5


def test_samples_are_encoded_alike_whichever_is_the_reference() -> None:
    a = {"a": [1.0, None, 3.0], "c": ["x", "y", None]}
    b = {"a": [5.0, 6.0], "c": ["z", "x"]}
    one, other = encode(a, b).pooled, encode(b, a).pooled
    assert np.array_equal(np.sort(one, axis=None), np.sort(np.concatenate([other[2:], other[:2]]), axis=None))


def test_categories_and_booleans_become_marks() -> None:
    data = encode({"c": ["x", "y", "x"], "b": [True, False, None]}, {"c": ["z", "x"], "b": [True, True]})
    assert data.groups == {"c": [0, 1, 2], "b": [3, 4, 5]}
    assert data.pooled[:, :3].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert data.pooled[:, 3:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]]


def test_rare_categories_share_one_mark() -> None:
    many = [f"c{i:03}" for i in range(50)]
    data = encode({"c": many + many[:20]}, {"c": many})
    assert data.pooled.shape == (120, 21)
    assert data.pooled.sum(axis=0).tolist() == [3.0] * 20 + [60.0]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_read_like_dicts(make) -> None:
    x, y = {"a": [1.0, None, 4.0], "c": ["u", "v", "u"]}, {"a": [2.0, 2.0], "c": ["v", None]}
    assert np.array_equal(encode(make(x), make(y)).pooled, encode(x, y).pooled)


def test_column_empty_on_one_side_takes_the_other_kind() -> None:
    data = encode({"c": [None, None], "n": [None, None]}, {"c": ["u", "v"], "n": [1, 3]})
    assert data.groups == {"c": [0, 1, 2], "n": [3, 4]}
    other = encode({"c": ["u", "v"], "n": [1, 3]}, {"c": [None, None], "n": [None, None]})
    assert other.groups == data.groups


def test_table_against_array_is_read_by_position() -> None:
    data = encode({"a": [1.0, 2.0], "b": [3.0, 4.0]}, np.array([[1.0, 3.0], [2.0, 4.0]]))
    assert np.array_equal(data.pooled[:2], data.pooled[2:])
    with pytest.raises(ColumnError, match="1 columns, 2 are expected"):
        encode({"a": [1.0, 2.0], "b": [3.0, 4.0]}, np.array([1.0, 2.0]))


def test_column_without_a_kind_is_left_out_and_named() -> None:
    day = [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 2)]
    data = encode({"t": day, "a": [1, 2]}, {"t": day, "a": [1, 2]})
    assert data.columns == ("a",)
    assert len(data.notes) == 1
    assert "'t' was left out" in data.notes[0]
    with pytest.raises(BadInput, match="no column that can be used; column 't' was left out"):
        encode({"t": day}, {"t": day})


def test_free_text_and_series_are_left_out_and_named() -> None:
    notes = [f"parcel {i} arrived late" for i in range(30)]
    lists = [[1.0] * (i % 3) for i in range(30)]
    rows = {"note": notes, "signal": lists, "a": list(range(30))}
    data = encode(rows, rows)
    assert data.columns == ("a",)
    assert data.notes == (
        "column 'note' was left out: texts are not encoded",
        "column 'signal' was left out: series of several lengths are not encoded",
    )


def test_vectors_together_count_as_one_standardised_number() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(5, 1, size=(40, 6)) * [1, 2, 3, 4, 5, 6], rng.normal(size=(50, 6))
    data = encode(
        vectors(x).append_column("a", [np.arange(40.0)]), {"v": [list(row) for row in y], "a": np.arange(50.0)}
    )
    assert data.groups == {"v": list(range(6)), "a": [6]}
    centred = np.concatenate([x, y]) - np.concatenate([x, y]).mean(axis=0)
    assert data.pooled[:, :6] == pytest.approx(centred / math.sqrt((centred**2).sum() / 90))
    assert (data.pooled[:, :6] ** 2).sum() == pytest.approx((data.pooled[:, 6] ** 2).sum())


def test_lists_of_one_length_are_vectors() -> None:
    x, y = [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], None]
    lists, kind = {"v": x}, pa.list_(pa.float64(), 2)
    expected = encode(pa.table({"v": pa.array(x, kind)}), pa.table({"v": pa.array(y, kind)})).pooled
    assert np.array_equal(encode(lists, {"v": y}).pooled, expected)
    with pytest.raises(BadInput, match="series of several lengths are not encoded"):
        encode(lists, {"v": [[1.0], [2.0]]})


def test_missing_vectors_get_medians_and_a_mark() -> None:
    kind = pa.list_(pa.float64(), 2)
    x = pa.table({"v": pa.array([[0.0, 1.0], None, [4.0, math.nan]], kind)})
    y = pa.table({"v": pa.array([[2.0, 3.0], [4.0, 8.0]], kind)})
    data = encode(x, y)
    assert data.pooled[:, 2].tolist() == [0, 1, 1, 0, 0]
    # Medians of the three whole vectors are 2 and 3: rows 1 and 2 lie where the fourth does.
    assert data.pooled[1].tolist() == pytest.approx([*data.pooled[3, :2], 1.0])
    empty = pa.table({"v": pa.array([None, None], kind)})
    assert encode(empty, empty).pooled.tolist() == [[1.0]] * 4


def test_given_kinds_decide_and_name_what_cannot_be_read() -> None:
    x = pa.table({"code": [1, 2, 1], "v": [[1.0, 2.0]] * 3, "n": [1.0, 2.0, 3.0]})
    y = pa.table({"code": [2, 3], "v": [[1.0, 2.0, 3.0]] * 2, "n": ["a", "b"]})
    data, changed = encode_rows(x, y, {"code": "categorical", "v": "vector", "n": "numeric"})
    assert data.groups == {"code": [0, 1, 2]}
    assert changed["v"] == "vectors of 3 elements where the reference has 2"
    assert "text where numeric values were expected" in changed["n"]


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), ColumnError, "2 columns, the current sample 4"),
        ({"a": [1, 2], "b": [1, 2]}, {"a": [1, 2], "c": [1, 2]}, ColumnError, r"lacks \['b'\].*lacks \['c'\]"),
        ({"a": [1.0, 2.0]}, {"a": ["u", "v"]}, ColumnError, "'a': text where numeric"),
        (np.array(["a", "b"]), np.array(["a", "b"]), BadInput, "not of numbers"),
        ([1, "b"], [1, 2], BadInput, "not of numbers"),
        (np.array([1, object()], object), [1, 2], BadInput, "not numbers"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), BadInput, "1 or 2 dimensions"),
        ([[1, 2], [3]], [[1, 2]], BadInput, "rows of equal length"),
        (np.zeros((3, 0)), np.zeros((3, 0)), BadInput, "no columns"),
        (np.array([1j, 2j]), [1, 2], BadInput, "not of numbers"),
        ([], [], InsufficientData, "reference has 0 rows"),
        ({"a": []}, {"a": []}, InsufficientData, "reference has 0 rows"),
        ({"a": [1.0, 2.0]}, {"a": []}, InsufficientData, "current sample has 0 rows"),
        (
            vectors(np.ones((3, 2))),
            vectors(np.ones((3, 4))),
            ColumnError,
            "vectors of 4 elements where the reference has 2",
        ),
        (7, 7, BadInput, "cannot read a table from int"),
        (np.array(["2020-01-01"] * 2, "datetime64[D]"), [1, 2], BadInput, "not of numbers"),
    ],
)
def test_bad_input_is_one_clear_error(x, y, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        encode(x, y)


def test_standardising_survives_huge_and_tiny_values() -> None:
    for factor in (1e300, 1.0, 1e-300):
        column = standardised(np.array([[1.0], [2.0], [6.0]]) * factor)
        assert column[:, 0] == pytest.approx(np.array([-2, -1, 3]) / math.sqrt(14 / 3))
