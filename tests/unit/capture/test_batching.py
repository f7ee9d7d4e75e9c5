"""Records become a batch in the layout of ``stores/base.py``; read back through a real SQLite encoding too."""

import hashlib
import math
import random
from datetime import UTC, datetime

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from driftwell.capture.conversion.batching import batch_of_records
from driftwell.capture.conversion.cells import Shape
from driftwell.capture.conversion.rows import label_of
from driftwell.capture.records import FIELDS, make_record
from driftwell.capture.snapshot import RefusedError
from driftwell.profiles.reference import Reference
from driftwell.stores.base import ROW_COLUMNS
from driftwell.stores.encoding import columns_of

NOW = 1_768_910_400.0  # 2026-01-20T12:00:00Z


def record(features, prediction_id="p", **values):
    return make_record("m", "v", prediction_id, NOW, features, [values.get(name) for name in FIELDS])


def batch_of(*records, shape=None):
    return batch_of_records("b", "m", "v", records, shape or Shape())


def hashes(*records, shape=None):
    return batch_of(*records, shape=shape).batch.content_hash.tolist()


def test_the_layout_is_that_of_a_batch():
    prepared = batch_of(record({"a": 1, "b": "x", "c": True}, prediction=1, score=0.5, latency_seconds=0.1))
    schema = prepared.batch.rows.schema
    assert schema.names == [*ROW_COLUMNS, "features"]
    types = {name: schema.field(name).type for name in ROW_COLUMNS}
    assert types.pop("timestamp") == pa.timestamp("us", "UTC")
    assert {types.pop(name) for name in ("score", "latency_seconds")} == {pa.float64()}
    assert set(types.values()) == {pa.string()}
    assert schema.field("features").type == pa.struct([("a", pa.float64()), ("b", pa.string()), ("c", pa.bool_())])
    assert prepared.batch.content_hash.dtype == np.int64
    assert prepared.batch.arrived_us == round(NOW * 1e6)
    columns_of(prepared.batch.rows)  # what the store accepts


def test_null_nan_and_absent_stay_apart():
    rows = batch_of(
        record({"a": 1.0}), record({"a": math.nan}), record({"a": None}), record({}), record(None)
    ).batch.rows
    found = [row["features"] for row in rows.to_pylist()]
    assert math.isnan(found[1]["a"])
    assert found[2] == {"a": None} == found[3]
    assert found[4] is None


def test_fields_are_kept_as_the_store_wants_them():
    (row,) = batch_of(
        record(
            {"a": 1},
            prediction="3",
            probability={"no": 0.25, "yes": 0.75},
            timestamp="2026-01-20T11:00:00Z",
            segment=7,
            entity_id="u1",
            metadata={"k": [1, None]},
        )
    ).batch.rows.to_pylist()
    assert row["prediction"] == '"3"'
    assert (row["score"], row["probability"]) == (0.75, '{"no":0.25,"yes":0.75}')
    assert row["timestamp"] == datetime(2026, 1, 20, 11, tzinfo=UTC)
    assert (row["segment"], row["entity_id"], row["metadata"]) == ("7", "u1", '{"k":[1,null]}')


def test_a_given_score_wins_and_makes_no_probability():
    rows = batch_of(record(None, score=7, probability=0.5), record(None, score=0.5)).batch.rows.to_pylist()
    assert [(row["score"], row["probability"]) for row in rows] == [(7.0, "0.5"), (0.5, None)]


def test_an_unreadable_cell_is_null_with_its_text_and_the_record_stays():
    shape = Shape({"age": "numeric"})
    rows = batch_of(record({"age": "old"}), record({"age": 3}), shape=shape).batch.rows.to_pylist()
    assert [row["features"]["age"] for row in rows] == [None, 3.0]
    assert [row["invalid"] for row in rows] == ['{"age":"old"}', None]


def test_a_reference_decides_names_kinds_and_classes():
    table = {"age": [20.0, 30.0], "city": ["Oslo", "Bergen"], "prediction": ["late", "on time"]}
    shape = Shape.of(Reference.from_data(table))
    prepared = batch_of(record({"city": 5.0, "new": 1}, probability=[0.1, 0.9]), record([40, "Oslo"]), shape=shape)
    rows = prepared.batch.rows.to_pylist()
    assert [row["features"] for row in rows] == [{"age": None, "city": "5"}, {"age": 40.0, "city": "Oslo"}]
    assert (rows[0]["score"], rows[0]["probability"]) == (0.9, '{"late":0.1,"on time":0.9}')
    assert prepared.notes.ignored == {"new": 1}


def test_each_bad_record_is_counted_by_reason_and_spoils_no_other():
    shape = Shape({"a": "numeric"}, fixed=True)
    prepared = batch_of(
        record([1, 2]),
        record(None, prediction_id=""),
        record(None, timestamp="soon"),
        record(None, probability=3),
        record(None, latency_seconds=-1),
        record({"a": 1}, prediction_id="good"),
        shape=shape,
    )
    assert prepared.notes.rejected == {
        "feature_count": 1, "prediction_id": 1, "timestamp": 1, "probability": 1, "latency_seconds": 1,
    }  # fmt: skip
    assert prepared.batch.rows.column("prediction_id").to_pylist() == ["good"]


def test_a_column_without_any_value_is_left_out_until_it_shows_its_kind():
    shape = Shape()
    assert batch_of(record({"a": None, "b": 1}), shape=shape).batch.rows.schema.field("features").type == pa.struct(
        [("b", pa.float64())]
    )
    later = batch_of(record({"a": "x", "b": None}), shape=shape).batch.rows
    assert later.column("features").to_pylist() == [{"a": "x", "b": None}]


def test_a_batch_of_nothing_has_the_layout():
    rows = batch_of(record(None, prediction_id="")).batch.rows
    assert rows.num_rows == 0
    assert rows.schema.names == [*ROW_COLUMNS, "features"]


def test_the_content_hash_sees_content_only():
    one = record({"a": 1.0, "b": "x"}, prediction=1, score=0.5)
    same = record({"b": "x", "a": 1}, "other id", prediction=1, score=0.5, timestamp=1.0, segment="s")
    assert len(set(hashes(one, same))) == 1
    assert hashes(one) == hashes(one, record({"c": 1}))[:1]
    assert hashes(record({"a": 1.0})) == hashes(record({"a": 1.0, "b": None}))
    assert hashes(record({"a": 1.0, "b": "x"})) == hashes(record({"b": "x", "a": 1.0}))


@pytest.mark.parametrize(
    "other",
    [
        record({"a": 2.0, "b": "x"}, prediction=1, score=0.5),
        record({"a": 1.0, "b": "y"}, prediction=1, score=0.5),
        record({"a": 1.0, "b": "x"}, prediction="1", score=0.5),
        record({"a": 1.0, "b": "x"}, prediction=1, score=0.6),
        record({"a": 1.0, "b": "x"}, prediction=1, probability=0.5),
        record({"a": "bad", "b": "x"}, prediction=1, score=0.5),
    ],
)
def test_the_content_hash_tells_records_apart(other):
    shape = Shape({"a": "numeric", "b": "categorical"})
    assert len(set(hashes(record({"a": 1.0, "b": "x"}, prediction=1, score=0.5), other, shape=shape))) == 2


def test_labels_of_records_come_along():
    prepared = batch_of(
        record(None, "p1", true_label=1), record(None, "p2", true_label=math.nan), record(None, "p3", true_label={1, 2})
    )
    assert [(x.prediction_id, msgspec.json.decode(x.true_label), x.model) for x in prepared.labels] == [
        ("p1", 1, "m"),
        ("p3", [1, 2], "m"),
    ]


@pytest.mark.parametrize(("prediction_id", "label"), [("p", None), ("p", math.nan), ("", 1), ("x" * 513, 1)])
def test_labels_without_truth_or_id_are_refused(prediction_id, label):
    with pytest.raises(RefusedError):
        label_of(prediction_id, label, None, 0, None)


def test_the_content_hash_is_the_one_that_stores_know():
    """It must never change, or rows sent again would be taken for others: BLAKE2b of MessagePack, names in order."""
    said = ({"a": 1.0, "b": "x"}, "1", 0.5, None, None)
    digest = hashlib.blake2b(msgspec.msgpack.encode(said), digest_size=8).digest()
    assert hashes(record({"b": "x", "a": 1.0}, prediction=1, score=0.5)) == [
        int.from_bytes(digest, "little", signed=True)
    ]


def test_a_row_is_the_same_in_any_company():
    """Alone, or among many with other names, missing values and refused records, whole blocks of them alike."""
    rng = random.Random(7)
    shape = Shape(dict.fromkeys("abc", "numeric") | {"d": "categorical"})
    records = []
    for i in range(500):
        features = {name: float(i) for name in "abc"} | {"d": str(i)}
        if i // 64 in (1, 4):  # the other blocks have the same names throughout
            features = {name: features[name] for name in rng.sample("abcd", rng.randint(0, 4))}
        if i // 64 in (2, 4):
            features |= {"c": None, "a": "unread"}
        timestamp = "never" if i % 100 == 99 else None
        records.append(record(None if i == 70 else features, f"p{i}", prediction=i, score=i / 7, timestamp=timestamp))
    together = batch_of(*records, shape=shape)
    alone = [batch_of(one, shape=shape) for one in records]
    assert together.notes.rejected == {"timestamp": 5}
    assert together.batch.content_hash.tolist() == [one for each in alone for one in each.batch.content_hash.tolist()]
    kept = [row for each in alone for row in each.batch.rows.to_pylist()]
    for row, own in zip(together.batch.rows.to_pylist(), kept, strict=True):
        features, its = row.pop("features"), own.pop("features")
        assert row == own
        assert features == (its and dict.fromkeys("abcd") | its) or not its
