"""A column of lists takes names by position as an array does, and names are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftwell.drift import compare
from driftwell.errors import BadInput, ColumnError
from driftwell.frame import read_table
from driftwell.profiles import Reference, profile
from driftwell.testing import inject

X = np.random.default_rng(0).normal(size=(200, 2))
NAMES = ["a", "b"]
FORMS = {
    "dict of lists": {"s": X.tolist()},
    "dict of an array": {"s": X},
    "list of dicts": [{"s": row} for row in X.tolist()],
    "pandas lists": pd.DataFrame({"s": X.tolist()}),
    "pandas arrays": pd.DataFrame({"s": list(X)}),
    "polars list": pl.DataFrame({"s": X.tolist()}),
    "polars array": pl.DataFrame({"s": X}),
    "arrow list": pa.table({"s": X.tolist()}),
    "arrow fixed": pa.table({"s": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 2)}),
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_go_by_the_rule_of_arrays(form: str) -> None:
    ref = Reference.from_data(X, feature_names=NAMES)
    assert Reference.from_data(FORMS[form], feature_names=NAMES).id == ref.id
    assert profile(FORMS[form], ref).to_bytes() == profile(X, ref).to_bytes()
    assert {name: c.status for name, c in compare(ref, FORMS[form]).columns.items()} == {"a": "ok", "b": "ok"}
    assert list(compare({"a": X[:, 0], "b": X[:, 1]}, FORMS[form]).columns) == NAMES


def test_other_columns_stay_and_null_lists_are_missing() -> None:
    table = {"id": [1, 2], "s": [[1.0, 2.0], None], "y": [0, 1]}
    assert read_table(table, feature_names=NAMES).to_pydict() == {
        "id": [1, 2], "a": [1.0, None], "b": [2.0, None], "y": [0, 1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lists", "width"), [([[1.0, 2.0, 3.0]], "3"), ([[1.0], [1.0, 2.0]], "1 to 2"), ([[], []], "0")]
)
def test_lists_of_another_width_are_one_clear_error(lists: list[Any], width: str) -> None:
    with pytest.raises(ColumnError, match=f"the lists of 's' have {width} elements, 2 are expected: a, b"):
        read_table({"s": lists}, feature_names=NAMES)


@pytest.mark.parametrize(
    "table",
    [{"s": [[1.0, 2.0]], "t": [[1.0, 2.0]]}, {"a": [1.0], "s": [[1.0, 2.0]]}, {"s": [None]}, {"a": [[1.0, 2.0]]}],
    ids=["two lists", "a name is there", "nulls", "the name is the list's"],
)
def test_other_tables_are_left_as_they_are(table: Any) -> None:
    assert read_table(table, feature_names=NAMES).to_pydict() == table


def test_a_series_may_still_be_renamed() -> None:
    lists = [list(row) for row in X]
    ref = Reference.from_data({"s": lists})
    assert compare(ref, {"signal": lists}, feature_map={"signal": "s"}).columns["s"].status == "ok"


@pytest.mark.parametrize("names", [np.array(NAMES), pd.Index(NAMES), ("a", "b")], ids=lambda n: type(n).__name__)
def test_names_of_any_sequence(names: Any) -> None:
    ref = Reference.from_data(X, feature_names=names)
    assert ref.kinds == {"a": "numeric", "b": "numeric"}
    assert all(type(name) is str for name in ref.kinds)


@pytest.mark.parametrize("names", [3, [3], "ab", b"ab", [None, "a"]])
def test_what_are_no_names_is_one_clear_error(names: Any) -> None:
    with pytest.raises(BadInput, match="feature_names is a list of names"):
        Reference.from_data(X, feature_names=names)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Reference.from_data(X, prediction=3), "prediction is the name of a column. Got 3"),
        (lambda: Reference.from_data(X, kinds=["numeric"]), "kinds is a dict"),
        (lambda: profile(X, kinds="numeric"), "kinds is a dict"),
        (lambda: profile(X).columns["f0"].quantile("a"), "q must be a number"),
        (lambda: inject({"a": [1.0]}, "unit", "a", 2, seed="a"), "seed must be a whole number"),
        (lambda: inject({"a": [1.0]}, "unit", "a", 2, seed=-1), "seed must be a whole number"),
    ],
)
def test_arguments_of_another_type_are_one_clear_error(call: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        call()
