"""The row sample: the same rows whatever the order, the types or the batches; a fair draw; bounded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.frame import Frame
from driftwell.profiles import Reference
from driftwell.profiles.reference.sample import MAX_CELLS, MAX_ROWS, row_hashes


def table(n: int = 60, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "age": np.round(rng.normal(40, 10, n)),
            "city": rng.choice(["Oslo", "Bergen", "Voss"], n).tolist(),
            "member": (rng.random(n) < 0.3).tolist(),
            "signal": [list(range(int(k))) for k in rng.integers(0, 4, n)],
            "when": pa.array(rng.integers(0, 10**15, n), pa.timestamp("us")),
            "prediction": rng.integers(0, 2, n),
            "true_label": rng.integers(0, 2, n),
        }
    )


def big(n: int) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table({"x": rng.normal(size=n), "y": rng.integers(0, 3, n).astype(float)})


# -- the same rows -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(60)), st.integers(1, 59))
def test_order_of_rows_and_columns_and_batches_do_not_matter(order: list[int], cut: int) -> None:
    rows = table()
    want = Reference.from_data(rows).sample
    assert want is not None
    shuffled = rows.take(order).select(list(reversed(rows.column_names)))
    batched = pa.concat_tables([shuffled.slice(0, cut), shuffled.slice(cut)])
    found = Reference.from_data(batched).sample
    assert found is not None
    assert found.select(want.column_names).equals(want)


def test_no_row_of_many_is_kept_by_its_place() -> None:
    rows = big(3 * MAX_ROWS)
    want = Reference.from_data(rows).sample
    order = np.random.default_rng(5).permutation(len(rows))
    assert Reference.from_data(rows.take(order)).sample.equals(want)
    assert want.num_rows == MAX_ROWS


@pytest.mark.parametrize("data", [pa.int8(), pa.uint32(), pa.int64(), pa.float32(), pa.decimal128(9, 2)])
def test_arrow_types_of_the_same_numbers_do_not_matter(data: pa.DataType) -> None:
    whole = pa.array([5, 0, None, 7, 100] * 10, pa.int64())
    want = Reference.from_data(pa.table({"x": whole.cast(pa.float64())})).sample
    source = whole.cast(pa.decimal128(22, 2)) if pa.types.is_decimal(data) else whole
    assert Reference.from_data(pa.table({"x": source.cast(data)})).sample.equals(want)


def test_dictionaries_and_pandas_categories_are_the_same_text() -> None:
    cities = ["Oslo", "Bergen", None, "Oslo"] * 10
    want = Reference.from_data({"city": cities}).sample
    assert Reference.from_data(pa.table({"city": pa.array(cities).dictionary_encode()})).sample.equals(want)
    assert Reference.from_data(pd.DataFrame({"city": pd.Categorical(cities)})).sample.equals(want)


def test_equal_numbers_hash_alike_and_missing_is_none_of_them() -> None:
    values = pa.array([0.0, -0.0, np.nan, -np.nan, None, 5e-324, np.inf, -np.inf])
    found = row_hashes(Frame.of(pa.table({"x": values})).columns, 8)
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found.tolist())) == 6


def test_the_place_of_a_cell_matters() -> None:
    def hashes(**columns: Any) -> list[int]:
        return row_hashes(Frame.of(pa.table(columns)).columns, 2).tolist()

    assert len(set(hashes(a=[1.0, 2.0], b=[2.0, 1.0]))) == 2  # between columns
    assert len(set(hashes(s=[[1.0, 2.0], [2.0, 1.0]]))) == 2  # within a list
    assert len(set(hashes(s=[[], None]))) == 2
    assert hashes(a=[1.0, 2.0]) != hashes(b=[1.0, 2.0])


# -- a fair draw ---------------------------------------------------------------------------------------------


def test_regular_rows_are_drawn_evenly() -> None:
    # A full grid of small whole numbers is what weak hashes fail on: each level of each column is drawn as often as any
    # other (scipy's chi-squared test; there is no seed, so the bound only has to be beyond chance).
    grid = np.array(np.meshgrid(range(100), range(100), range(10))).reshape(3, -1).astype(float)
    rows = pa.table({f"c{i}": part for i, part in enumerate(grid)})
    assert len(np.unique(row_hashes(Frame.of(rows).columns, len(rows)))) == len(rows)
    sample = Reference.from_data(rows).sample
    for name in rows.column_names:
        counts = np.bincount(sample[name].to_numpy().astype(int))
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
    pairs = np.bincount((sample["c0"].to_numpy() // 10 * 10 + sample["c1"].to_numpy() // 10).astype(int))
    assert scipy.stats.chisquare(pairs).pvalue > 1e-4


def test_sample_looks_like_its_table() -> None:
    rows = big(60_000)
    sample = Reference.from_data(rows).sample
    assert scipy.stats.kstest(sample["x"].to_numpy(), "norm").pvalue > 1e-4
    counts = np.bincount(sample["y"].to_numpy().astype(int))
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_equal_rows_each_count() -> None:
    # Half of 40,000 rows are one and the same row: of 5,000 drawn about half are it (hypergeometric, 5 sd = 165).
    x = np.concatenate((np.zeros(20_000), np.random.default_rng(2).normal(size=20_000)))
    ref = Reference.from_data({"x": x})
    assert abs(int(np.sum(ref.sample["x"].to_numpy() == 0)) - 2_500) < 165
    assert ref.history.repeated == 19_999
    small = Reference.from_data({"x": [1.0] * 5 + [2.0]}).sample
    assert Counter(small["x"].to_pylist()) == {1.0: 5, 2.0: 1}


# -- what is kept --------------------------------------------------------------------------------------------


def test_features_outputs_and_label_are_kept_in_one_type_a_kind() -> None:
    rows = table().append_column("prediction_id", pa.array([str(i) for i in range(60)]))
    sample = Reference.from_data(rows).sample
    assert {field.name: field.type for field in sample.schema} == {
        "age": pa.float64(),
        "city": pa.string(),
        "member": pa.bool_(),
        "signal": pa.list_(pa.int64()),
        "when": pa.timestamp("us"),
        "prediction": pa.string(),  # two whole numbers are classes
        "true_label": pa.float64(),
    }
    ages = Counter(table()["age"].to_pylist())
    assert Counter(sample["age"].to_pylist()) == ages


def test_rows_of_one_sample_belong_together() -> None:
    x = np.arange(20_000.0)
    sample = Reference.from_data({"x": x, "y": 2 * x, "s": [f"{int(v)}" for v in x]}).sample
    assert np.array_equal(2 * sample["x"].to_numpy(), sample["y"].to_numpy())
    assert [str(int(v)) for v in sample["x"].to_pylist()] == sample["s"].to_pylist()


def test_free_text_is_hashed_but_not_kept() -> None:
    rows = {"x": np.zeros(50), "note": [f"parcel {i} arrived late" for i in range(50)]}
    ref = Reference.from_data(rows, kinds={"note": "text"})
    assert ref.sample.column_names == ["x"]
    assert ref.history.repeated == 0


def test_wide_tables_keep_fewer_rows() -> None:
    n_columns = 200
    rows = np.random.default_rng(0).normal(size=(4_000, n_columns))
    assert Reference.from_data(rows).sample.num_rows == MAX_CELLS // n_columns


def test_sample_is_no_part_of_the_id() -> None:
    rows = table()
    labelled = Reference.from_data(rows)
    assert Reference.from_data(rows.drop_columns(["true_label"])).id == labelled.id
