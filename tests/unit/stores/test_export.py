"""Export by the hour: the file holds what one read of everything holds, whatever the hours have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell.errors import BadInput, StoreError
from driftwell.stores.base import HOUR_US, Label
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.export import export_parquet, typed
from driftwell.stores.memory import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


def fill(store: MemoryStore, hour: int, **columns: object) -> None:
    ids = [f"{hour}-{i}" for i in range(3)]
    store.append(make_batch(f"b{hour}", ids, start_us=NOON + hour * HOUR_US, **columns), count_leaves)


def test_all_hours_are_written_in_order_and_read_one_at_a_time(store, tmp_path, monkeypatch):
    for hour in (30, 0, 2):
        fill(store, hour, score=0.5)
    sizes, read = [], store.read

    def watched(*args, **kwargs) -> pa.Table:
        rows = read(*args, **kwargs)
        sizes.append(rows.num_rows)
        return rows

    monkeypatch.setattr(store, "read", watched)
    path = tmp_path / "folder" / "rows.parquet"
    assert export_parquet(store, path, "m", None, *ALWAYS) == 9
    assert max(sizes) == 3
    found = pq.read_table(path)
    expected = read("m", None, *ALWAYS)
    assert found.column_names == expected.column_names
    assert found.column("prediction_id").to_pylist() == expected.column("prediction_id").to_pylist()
    assert found.column("x").to_pylist() == [0.0, 1.0, 2.0] * 3
    assert list(path.parent.iterdir()) == [path]


def test_hours_with_other_columns_and_kinds_make_one_table(store, tmp_path):
    fill(store, 0, features=[{"x": 1, "a": "one"}] * 3, prediction="1")
    fill(store, 1, features=[{"x": 2.5, "b": True}] * 3, prediction="2.5")
    fill(store, 2, features=[{"x": "many"}] * 3, prediction=None)
    export_parquet(store, tmp_path / "rows.parquet", "m", None, *ALWAYS)
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found.column("x").to_pylist() == ["1"] * 3 + ["2.5"] * 3 + ["many"] * 3
    assert found.column("a").to_pylist() == ["one"] * 3 + [None] * 6
    assert found.column("b").to_pylist() == [None] * 3 + [True] * 3 + [None] * 3
    assert found.column("prediction").to_pylist() == [1.0] * 3 + [2.5] * 3 + [None] * 3


def test_values_of_several_kinds_stay_json(store, tmp_path):
    fill(store, 0, prediction='"late"')
    fill(store, 1, prediction="1")
    store.add_labels([Label("0-0", "true", NOON), Label("1-0", "false", NOON)])
    export_parquet(store, tmp_path / "rows.parquet", "m", "v1", *ALWAYS, labelled=True, columns=["prediction"])
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found.to_pydict() == {"prediction": ['"late"', "1"]}
    export_parquet(store, tmp_path / "rows.parquet", "m", "v1", *ALWAYS, labelled=True)
    assert pq.read_table(tmp_path / "rows.parquet").column("true_label").to_pylist() == [True, False]


def test_a_span_without_rows_is_a_table_of_the_row_columns(store, tmp_path):
    assert export_parquet(store, tmp_path / "rows.parquet", "m", None, 0, NOON) == 0
    assert pq.read_table(tmp_path / "rows.parquet").column_names == store.read("m", None, 0, NOON).column_names


def test_rows_of_another_kind_that_arrive_meanwhile_are_told_and_leave_no_file(store, tmp_path, monkeypatch):
    fill(store, 0, prediction="1")
    read, calls = store.read, []

    def meanwhile(*args, **kwargs) -> pa.Table:
        calls.append(args)
        if len(calls) == 2:
            store.append(make_batch("b9", ["9"], prediction='"late"'), count_leaves)
        return read(*args, **kwargs)

    monkeypatch.setattr(store, "read", meanwhile)
    with pytest.raises(StoreError, match="export again"):
        export_parquet(store, tmp_path / "rows.parquet", "m", None, *ALWAYS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(store, tmp_path: Path):
    fill(store, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot write .*rows\.parquet"):
        export_parquet(store, tmp_path / "file" / "rows.parquet", "m", None, *ALWAYS)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "2", None], [1, 2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (['"a"', '"1"'], ["a", "1"]),
        (["true", None], [True, None]),
        (["true", "1"], ["true", "1"]),
        ([str(1 << 64)], [str(1 << 64)]),
        (['{"a":1}'], ['{"a":1}']),
    ],
)
def test_json_becomes_what_it_was_where_all_is_of_one_kind(texts, values):
    assert typed(pa.table({"prediction": pa.array(texts, pa.string())})).column(0).to_pylist() == values
