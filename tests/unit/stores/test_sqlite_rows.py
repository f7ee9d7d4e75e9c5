"""What rows may hold, and what of it is read back."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.errors import BadInput
from driftwell.stores import encoding
from driftwell.stores.base import ROW_COLUMNS, AppendResult, Label, PredictionBatch
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.encoding import SMALL_ROWS, blank_rows, columns_of, decode, decode_whole, encode
from driftwell.stores.sqlite import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "s.db")
    yield store
    store.close()


def with_features(features: Any, *, batch_id: str = "b", prefix: str = "", **columns: Any) -> PredictionBatch:
    """A batch whose struct of features is given as an Arrow array or a list of dicts."""
    array = features if isinstance(features, pa.Array) else pa.array(features)
    batch = make_batch(batch_id, [f"{prefix}{i}" for i in range(len(array))], **columns)
    at = batch.rows.column_names.index("features")
    rows = batch.rows.set_column(at, "features", array)
    return PredictionBatch(batch.batch_id, "m", "v1", rows, batch.content_hash, NOON)


@pytest.mark.parametrize("n", [1, SMALL_ROWS - 1, SMALL_ROWS, 3_000])
def test_encoding_is_undone_by_decoding(n: int) -> None:
    features = [{"x": i / 7, "name": f"n{i % 5}", "list": [i, None], "missing": None} for i in range(n)]
    rows = with_features(features, score=[float(i) for i in range(n)]).rows
    schema, message = encode(columns_of(rows))
    assert decode_whole(schema, [message]).equals(rows)
    assert decode_whole(schema, [message, message]).num_rows == 2 * n
    assert decode(schema, [message], ["x"]).column_names == ["x"]


def test_single_row_is_stored_small() -> None:
    rows = with_features([{f"f{i}": i / 3 for i in range(20)}], prediction="1").rows
    _, message = encode(columns_of(rows))
    assert len(message) < 800  # 20 floats are 160 bytes; a whole Arrow stream would be some 3,500


def test_same_features_share_one_stored_schema(store: SQLiteStore) -> None:
    for i in range(5):
        store.append(make_batch(f"b{i}", [f"{i}"]), count_leaves)
    with store.database.read() as connection:
        assert connection.execute("SELECT count(*) FROM arrow_schemas").get == 1


def test_rows_without_features_are_told_from_rows_of_missing_ones(store: SQLiteStore) -> None:
    kind = pa.struct({"x": pa.float64()})
    store.append(with_features(pa.array([None, {"x": None}, {"x": 1.0}], kind)), count_leaves)
    (batch,) = store.batches("m", "v1")
    assert batch.rows["features"].to_pylist() == [None, {"x": None}, {"x": 1.0}]
    assert store.read("m", "v1", *ALWAYS)["x"].to_pylist() == [None, None, 1.0]
    assert [row["features"] for row in store.recent("m", None, 3)] == [{"x": 1.0}, {"x": None}, {}]


@pytest.mark.parametrize("features", [pa.nulls(2), pa.array([{}, None], pa.struct([]))])
def test_batch_without_any_feature_is_kept(store: SQLiteStore, features: pa.Array) -> None:
    store.append(with_features(features, prediction="1"), count_leaves)
    assert store.read("m", "v1", *ALWAYS)["prediction"].to_pylist() == ["1", "1"]
    assert [row["features"] for row in store.recent("m", None, 2)] == [{}, {}]
    assert len(store.batches("m", "v1")[0]) == 2


def test_dictionary_columns_come_back_as_their_values(store: SQLiteStore) -> None:
    colours = pa.array(["red", None, "blue"]).dictionary_encode()
    store.append(with_features(pa.StructArray.from_arrays([colours], ["colour"])), count_leaves)
    store.append(with_features([{"colour": "green"}], batch_id="b2", prefix="other"), count_leaves)
    colour = store.read("m", "v1", *ALWAYS, columns=["prediction_id", "colour"])
    found = dict(zip(*colour.to_pydict().values(), strict=True))
    assert found == {"0": "red", "1": None, "2": "blue", "other0": "green"}


def test_columns_that_come_and_go_are_null_where_they_are_not(store: SQLiteStore) -> None:
    store.append(with_features([{"a": 1}], prefix="x"), count_leaves)
    store.append(with_features([{"a": 2.5, "b": True}], batch_id="b2", prefix="y"), count_leaves)
    rows = store.read("m", "v1", *ALWAYS).sort_by("prediction_id")
    assert rows["a"].to_pylist() == [1.0, 2.5]
    assert rows["b"].to_pylist() == [None, True]


def test_column_whose_kinds_clash_is_read_as_text_and_no_other(store: SQLiteStore) -> None:
    for i, value in enumerate([1.5, "one", [1, 2], True]):
        store.append(with_features([{"odd": value, "even": 2.0}], batch_id=f"b{i}", prefix=f"{i}-"), count_leaves)
    rows = store.read("m", "v1", *ALWAYS).sort_by("prediction_id")
    assert rows["odd"].to_pylist() == ["1.5", "one", "[1,2]", "true"]
    assert rows["even"].to_pylist() == [2.0] * 4


def test_not_finite_numbers_are_kept_and_not_averaged(store: SQLiteStore) -> None:
    odd = [math.nan, math.inf, -math.inf, 2.0]
    store.append(with_features([{"x": v} for v in odd], score=odd), count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    assert np.array_equal(rows["x"].to_numpy(), odd, equal_nan=True)
    assert np.array_equal(rows["score"].to_numpy(), odd, equal_nan=True)
    assert store.totals("m", None)["output"] == {"n": 1, "mean": 2.0, "std": None, "min": 2.0, "max": 2.0}


def test_huge_outputs_do_not_overflow_into_errors(store: SQLiteStore) -> None:
    for i, score in enumerate((1.7e308, -1.7e308, 1e200)):
        store.append(make_batch(f"b{i}", [f"{i}", f"{i}x"], score=score), count_leaves)
    output = store.totals("m", None)["output"]
    assert (output["n"], output["min"], output["max"], output["std"]) == (6, -1.7e308, 1.7e308, None)


@pytest.mark.parametrize("odd", ["", "a\0b", "ü🛫", "'; DROP TABLE predictions; --", "x" * 10_000])
def test_any_text_can_be_an_id(store: SQLiteStore, odd: str) -> None:
    store.append(make_batch("b1", [odd, "a"]), count_leaves)
    assert store.append(make_batch("b2", [odd]), count_leaves) == AppendResult(0, duplicate=1)
    assert store.add_labels([Label(odd, "1", NOON)]).matched == 1
    assert store.outcomes("m", None, *ALWAYS)["prediction_id"].to_pylist() == [odd, "a"]


def test_label_that_is_not_text_spoils_nothing(store: SQLiteStore) -> None:
    store.append(make_batch("b", ["a"]), count_leaves)
    with pytest.raises(BadInput, match="not valid Unicode"):
        store.add_labels([Label("a", "1", NOON), Label("\ud800", "1", NOON)])
    assert store.totals("m", None)["labels"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop_columns("score"), "needs a column 'score'"),
        (lambda rows: rows.set_column(3, "score", [["high", "low"]]), "'score' of type double"),
        (lambda rows: rows.set_column(0, "prediction_id", [["a", None]]), "needs a prediction_id and a timestamp"),
        (lambda rows: rows.drop_columns("features"), "column 'features'"),
    ],
)
def test_malformed_batch_is_refused_whole(store: SQLiteStore, change: Any, message: str) -> None:
    batch = make_batch("b", ["a", "b"])
    bad = PredictionBatch("b", "m", "v1", change(batch.rows), batch.content_hash, NOON)
    with pytest.raises(BadInput, match=message):
        store.append(bad, count_leaves)
    assert store.models() == []


def test_content_hashes_must_match_the_rows(store: SQLiteStore) -> None:
    batch = make_batch("b", ["a", "b"])
    with pytest.raises(BadInput, match="1 content hashes for 2 rows"):
        store.append(PredictionBatch("b", "m", "v1", batch.rows, batch.content_hash[:1], NOON), count_leaves)


def test_times_before_1970_have_their_hours_too(store: SQLiteStore) -> None:
    store.append(make_batch("b", ["a", "b"], start_us=-5, step_us=10, score=1.0), count_leaves)
    assert store.count("m", None, -10, 0) == 1
    assert store.count("m", None, -3_600_000_000, 3_600_000_000) == 2
    assert store.hourly_outputs("m", None) == {-3_600_000_000: (1, 1.0), 0: (1, 1.0)}


def test_stored_batches_can_be_sliced(store: SQLiteStore) -> None:
    for i in range(4):
        store.append(make_batch(f"b{i}", [f"{i}"]), count_leaves)
    batches = store.batches("m", "v1")
    assert [batch.batch_id for batch in batches[1:3]] == ["b1", "b2"]
    assert batches[-1].batch_id == "b3"
    assert len(batches[:0]) == 0


def test_reading_one_column_decodes_no_other(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(make_batch("b", ["a", "b"]), count_leaves)
    fields: list[list[int]] = []
    real = encoding._read_messages
    monkeypatch.setattr(
        encoding, "_read_messages", lambda schema, messages, want: fields.append(want) or real(schema, messages, want)
    )
    store.read("m", "v1", *ALWAYS, columns=["x"])
    store.outcomes("m", "v1", *ALWAYS)
    assert fields == [[11]]


def test_rows_whose_features_are_gone_keep_their_outcome(store: SQLiteStore) -> None:
    store.append(make_batch("b1", ["a"]), count_leaves)
    store.append(make_batch("b2", ["b"], start_us=NOON + 1), count_leaves)
    store.add_labels([Label("b", "1", NOON)])
    with store.database.write() as connection:  # what pruning by arrival will do
        connection.execute("DELETE FROM batch_rows WHERE arrival = 1")
    rows = store.read("m", "v1", *ALWAYS)
    assert (rows["prediction_id"].to_pylist(), rows["true_label"].to_pylist()) == (["b"], ["1"])
    assert store.outcomes("m", "v1", *ALWAYS)["prediction_id"].to_pylist() == ["a", "b"]
    assert store.append(make_batch("b1", ["a"]), count_leaves).duplicate == 1


@pytest.mark.parametrize("n", [3, SMALL_ROWS + 3])
def test_blanked_rows_hold_nothing_and_the_others_stay(n: int) -> None:
    features = [{"x": float(i), "name": f"person {i}"} for i in range(n - 1)]
    given = make_batch("b", [f"id-{i}" for i in range(n)], features=[*features, None])
    schema, message = encode(columns_of(given.rows))
    once = blank_rows(schema, message, [0])
    twice = blank_rows(schema, once, [0, 2])
    for blanked, gone in ((once, [0]), (twice, [0, 2])):
        rows = decode_whole(schema, [blanked]).to_pylist()
        assert [row for i, row in enumerate(rows) if i not in gone] == [
            row for i, row in enumerate(given.rows.to_pylist()) if i not in gone
        ]
        assert {value for i in gone for value in rows[i].values()} == {None}
        stored = pa.ipc.open_stream(schema + (blanked if blanked[:1] == b"\xff" else zlib.decompress(blanked)))
        whether = stored.read_all().column(len(ROW_COLUMNS)).to_pylist()  # features or none: always known
        assert whether == [i not in gone for i in range(n - 1)] + [False]
