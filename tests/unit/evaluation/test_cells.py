import decimal
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftwell.errors import BadInput
from driftwell.evaluation.cells import Numbers, Texts, as_numbers, as_texts, read_cells
from driftwell.frame import read_table


def words(cells):
    assert isinstance(cells, Texts)
    return [None if code < 0 else cells.texts[code] for code in cells.codes.tolist()]


def numbers(cells):
    assert isinstance(cells, Numbers)
    return [None if math.isnan(v) else v for v in cells.values.tolist()]


@pytest.mark.parametrize(
    "column",
    [
        [1, 0, None],
        [1.0, 0.0, float("nan")],
        [True, False, None],
        [1, False, None],
        [np.int64(1), np.float32(0), None],
        [1, 0, math.inf],
        np.array([1.0, 0.0, -np.inf]),
        np.array([[1.0], [0.0], [np.nan]]),
        np.array([1, 0, None], object),
        pa.array([1, 0, None], pa.uint8()),
        pa.chunked_array([pa.array([True]), pa.array([False, None])]),
        pa.array([decimal.Decimal(1), decimal.Decimal(0), None]),
        pa.array([1, 0, None]).dictionary_encode(),
        pd.Series([1, 0, None]),
        pd.Series([True, False, None], dtype="boolean"),
        pl.Series([1, 0, None]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_numbers_are_read_from_anything(column):
    assert numbers(read_cells(column)) == [1.0, 0.0, None]


@pytest.mark.parametrize(
    "column",
    [
        ["late", "on time", None],
        [np.str_("late"), "on time", float("nan")],
        np.array(["late", "on time", None], object),
        pa.array(["late", "on time", None], pa.large_string()),
        pa.chunked_array([pa.array(["late"]), pa.array(["on time", None])]),
        pa.array(["late", "on time", None]).dictionary_encode(),
        pa.DictionaryArray.from_arrays([0, 1, 2], ["late", "on time", None]),
        pd.Series(["late", "on time", None]),
        pd.Series(["late", "on time", None], dtype="category"),
        pl.Series(["late", "on time", None]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_texts_are_read_from_anything(column):
    assert words(read_cells(column)) == ["late", "on time", None]


def test_mixed_types_become_text_cell_by_cell():
    assert words(read_cells([1, "a", 2.0, True, None, [1, 2]])) == ["1", "a", "2", "true", None, "[1, 2]"]


def test_a_mixed_column_of_a_table_keeps_its_values():
    column = read_table({"label": [1, "a", None, True]}).column("label")
    assert words(read_cells(column)) == ["1", "a", None, "true"]


@pytest.mark.parametrize(
    "column", [[], [None, None], np.array([], float), pa.chunked_array([], pa.string()), pa.nulls(0)]
)
def test_columns_of_nothing_compare_with_any(column):
    empty = read_cells(column)
    n = len(column)
    assert [len(c) for c in as_numbers([empty, read_cells(np.ones(n))])] == [n, n]
    assert [c.tolist() for c in as_texts([empty, read_cells(pa.array(["a"] * n, pa.string()))])[0]] == [
        [-1] * n,
        [0] * n,
    ]


@pytest.mark.parametrize("column", [[2**53 + 1, 2**53 + 2], np.array([2**53 + 1, 2**53 + 2]), [2**70, 2**70 + 1]])
def test_integers_beyond_a_float_stay_apart(column):
    assert len(set(words(read_cells(column)))) == 2


def test_text_that_spells_numbers_joins_numbers():
    columns = as_numbers([read_cells([1, 0, 2]), read_cells(["1.0", "False", " 2 "])])
    assert columns is not None
    assert columns[0].tolist() == columns[1].tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize("texts", [["1", "n/a"], ["nan", "1"]])
def test_one_odd_text_makes_all_of_it_text(texts):
    columns = [read_cells([1, 0]), read_cells(texts)]
    assert as_numbers(columns) is None
    coded, classes = as_texts(columns)
    assert classes[coded[0][0]] == "1"
    assert [classes[code] for code in coded[1]] == texts


def test_texts_alone_stay_text_even_if_they_look_like_numbers():
    assert as_numbers([read_cells(["1"]), read_cells(["1.0"])]) is None


def test_forced_numbers_lose_what_is_none():
    forced = as_numbers([read_cells(["1.5", "n/a", None])], force=True)
    assert np.array_equal(forced[0], [1.5, np.nan, np.nan], equal_nan=True)


def test_a_matrix_is_refused():
    with pytest.raises(BadInput, match=r"one value a row.*\(3, 2\)"):
        read_cells(np.zeros((3, 2)))
