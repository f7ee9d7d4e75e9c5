"""Whole tables: roles by name or by the reference, kinds as for single records."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from driftwell.capture import table_intake
from driftwell.capture.redaction import Redaction
from driftwell.errors import StoreError
from driftwell.profiles.reference import Reference


def offer(recorder, table, roles=None, **options):
    ids = recorder.offer_table("m", "v", table, roles or {}, **options)
    assert recorder.flush(10)
    return ids


def test_every_role_is_found_by_name(recorder, store):
    table = {
        "prediction_id": [1, None], "timestamp": ["2026-01-20T12:00:00Z", None], "prediction": ["a", "b"],
        "score": [0.5, None], "probability": [None, 0.25], "segment": ["s", None], "entity_id": [7, 8],
        "latency_seconds": [0.1, None], "true_label": ["a", None], "age": [31.0, None], "city": ["Oslo", None],
    }  # fmt: skip
    ids = offer(recorder, table)
    first, second = store.rows()
    assert ids == ["1", second["prediction_id"]] == [first["prediction_id"], ids[1]]
    assert first["timestamp"] == datetime(2026, 1, 20, 12, tzinfo=UTC)
    assert (first["prediction"], first["score"], first["segment"], first["entity_id"]) == ('"a"', 0.5, "s", "7")
    assert (second["score"], second["probability"], second["latency_seconds"]) == (0.25, "0.25", None)
    assert first["features"] == {"age": 31.0, "city": "Oslo"}
    assert second["features"] == {"age": None, "city": None}
    assert [(x.prediction_id, x.true_label) for x in store.labels] == [("1", '"a"')]


def test_rows_go_to_the_model_and_version_they_name(recorder, store):
    offer(recorder, {"model": ["x", None, "x"], "version": ["1", "2", None], "a": [1.0, 2.0, 3.0]})
    assert {(b.model, b.version, tuple(r["features"]["a"] for r in b.rows.to_pylist())) for b in store.batches} == {
        ("x", "1", (1.0,)), ("m", "2", (2.0,)), ("x", "v", (3.0,)),
    }  # fmt: skip
    assert recorder.stats("x")["stored"] == 2


def test_a_reference_decides_features_and_roles(make, store):
    reference = Reference.from_data({"age": [1.0, 2.0], "score": [1.0, 2.0], "said": ["a", "b"]},
                                    feature_names=["age"], prediction="said")  # fmt: skip
    recorder = make(reference_for=lambda m, v: reference)
    offer(recorder, {"age": [31], "said": ["a"], "extra": [1]}, reference.roles)
    (row,) = store.rows()
    assert (row["features"], row["prediction"]) == ({"age": 31.0}, '"a"')
    assert recorder.stats()["ignored_features"] == {"extra": 1}


def test_a_feature_of_the_reference_is_no_role(make, store):
    reference = Reference.from_data({"model": ["Volvo", "Saab"], "latency_seconds": [-1.0, 2.0]})
    recorder = make(reference_for=lambda m, v: reference)
    offer(recorder, {"model": ["Saab"], "latency_seconds": [-5.0]}, reference.roles)
    (batch,) = store.batches
    (row,) = batch.rows.to_pylist()
    assert (batch.model, row["latency_seconds"]) == ("m", None)
    assert row["features"] == {"model": "Saab", "latency_seconds": -5.0}


def test_features_the_table_lacks_are_null(make, store):
    reference = Reference.from_data({"age": [1.0, 2.0], "city": ["a", "b"]})
    offer(make(reference_for=lambda m, v: reference), {"age": [31]})
    assert store.rows()[0]["features"] == {"age": 31.0, "city": None}


@pytest.mark.parametrize("table", [np.ones((2, 3)), [[1, 2, 3]]])
def test_arrays_take_the_reference_names_or_are_refused(make, store, table):
    names = iter([["a", "b", "c"], ["a", "b"]])
    references = [Reference.from_data({n: [1.0, 2.0] for n in found}) for found in names]
    right, wrong = (make(reference_for=lambda m, v, r=reference: r) for reference in references)
    assert len(offer(right, table)) == len(table)
    assert store.rows()[0]["features"] == {"a": 1.0, "b": 2.0 if isinstance(table, list) else 1.0, "c": table[0][2]}
    assert offer(wrong, table) == []
    assert wrong.stats()["rejected"] == {"feature_count": 1}


def frames():
    columns = {"x": [1.5, None], "n": [1, 2], "b": [True, False], "c": ["u", None]}
    pandas = pd.DataFrame(columns)
    yield pandas
    yield pandas.astype({"c": "category"})
    yield pl.DataFrame(columns)
    yield pa.table(columns)
    yield columns


@pytest.mark.parametrize("table", list(frames()), ids=["pandas", "pandas category", "polars", "arrow", "dict"])
def test_all_data_frames_give_the_same_rows(recorder, store, table):
    offer(recorder, table)
    found = [row["features"] for row in store.rows()]
    assert found == [{"x": 1.5, "n": 1.0, "b": True, "c": "u"}, {"x": None, "n": 2.0, "b": False, "c": None}]


def test_mixed_cells_are_read_one_by_one(make, store):
    offer(make(kinds={"m": "numeric"}), {"m": [1, "x", 2.5, None]})
    assert [row["features"]["m"] for row in store.rows()] == [1.0, None, 2.5, None]
    assert [row["invalid"] for row in store.rows()] == [None, '{"m":"x"}', None, None]


def test_times_of_tables(recorder, store, caplog):
    offer(recorder, pd.DataFrame({"timestamp": pd.to_datetime(["2026-01-20T12:00:00.123456789"]), "a": [1.0]}))
    offer(recorder, {"timestamp": [1_768_910_400.5], "a": [1.0]})
    offer(recorder, {"timestamp": ["never"], "a": [1.0]})
    moments = [row["timestamp"] for row in store.rows()]
    assert moments == [
        datetime(2026, 1, 20, 12, 0, 0, 123456, tzinfo=UTC),
        datetime(2026, 1, 20, 12, 0, 0, 500000, tzinfo=UTC),
    ]
    assert recorder.stats()["rejected"] == {"timestamp": 1}
    assert caplog.text.count("times without a zone are taken as UTC") == 1


def test_the_table_may_be_changed_after_the_call(make, store):
    store_later = make(flush_seconds=60)
    array = np.array([1.0, 2.0])
    store_later.offer_table("m", "v", {"a": array}, {})
    array[:] = 99
    assert store_later.flush(10)
    assert [row["features"]["a"] for row in store.rows()] == [1.0, 2.0]


def test_nan_and_null_of_tables_stay_apart(recorder, store):
    offer(recorder, pa.table({"a": pa.array([math.nan, None])}))
    first, second = (row["features"]["a"] for row in store.rows())
    assert math.isnan(first)
    assert second is None


@pytest.mark.parametrize("table", [object(), 3, "no such file.parquet", {"a": [1], "b": [1, 2]}])
def test_what_is_no_table_is_counted_not_raised(recorder, table):
    assert recorder.offer_table("m", "v", table, {}) == []
    assert recorder.stats()["rejected"] == {"table": 1}


def test_bad_rows_of_a_table_are_counted_one_by_one(recorder, store):
    offer(recorder, {"prediction_id": ["a", "b" * 600, "c"], "latency_seconds": [0.1, 0.1, -1.0], "x": [1.0, 2.0, 3.0]})
    assert [row["prediction_id"] for row in store.rows()] == ["a"]
    assert store.rows()[0]["features"] == {"x": 1.0}
    assert recorder.stats()["rejected"] == {"prediction_id": 1, "latency_seconds": 1}


def test_classes_in_a_column_of_dicts(recorder, store):
    offer(recorder, [{"probability": {"a": 0.25, "b": 0.75}, "x": 1}, {"probability": {"b": 1.0}, "x": 2}])
    assert [row["probability"] for row in store.rows()] == ['{"a":0.25,"b":0.75}', '{"b":1.0}']


def test_table_larger_than_the_queue_waits_for_the_store(tmp_path, monkeypatch):
    from driftwell.monitor.monitor import Monitor

    monkeypatch.setattr(table_intake, "TABLE_SECONDS", 60.0)  # a busy machine may need longer than 5 seconds
    monitor = Monitor("m", store=f"sqlite:///{tmp_path}/s.db", queue_records=20_000)
    ids = monitor.record_batch({"x": np.arange(75_000.0)})
    assert monitor.flush(60)
    stats = monitor.stats()
    monitor.close()
    assert (len(set(ids)), stats["stored"], stats["dropped"]) == (75_000, 75_000, {})


def test_table_waits_for_room_and_not_for_everything(make, store, monkeypatch):
    """While the store is at work on what came first, there is room again as soon as that is stored."""
    monkeypatch.setattr(table_intake, "TABLE_SECONDS", 10.0)
    recorder = make(queue_records=20_000, flush_seconds=0.01)
    offer(recorder, {"a": np.arange(45_000.0)})
    assert (recorder.stats()["stored"], recorder.stats()["dropped"]) == (45_000, {})


def test_tables_are_kept_while_nobody_knows_the_reference(make, store):
    """A store that is away from the start cannot say what columns mean; by then it can."""
    table = {"x": [20.0, 30.0], "segment": ["a", "b"], "said": [0, 1]}
    reference = Reference.from_data(table, feature_names=["x", "segment"], prediction="said")
    answer: list[Any] = [StoreError("away")]

    def reference_for(model: str, version: str) -> Any:
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    store.broken = StoreError("away")
    recorder = make(reference_for=reference_for)
    ids = recorder.offer_table("m", "v", {"x": [1.0], "segment": ["a"], "said": [1], "prediction_id": ["p"]}, {})
    assert ids == ["p"]
    assert len(recorder.offer_table("m", "v", [[2.0, "b"]], {})) == 1
    assert len(recorder.offer_table("m", "v", [[2.0, "b", 3.0]], {})) == 1
    answer[0], store.broken = reference, None
    assert recorder.flush(20)
    rows = store.rows()
    assert [row["features"] for row in rows] == [{"x": 1.0, "segment": "a"}, {"x": 2.0, "segment": "b"}]
    assert [(row["prediction"], row["segment"]) for row in rows] == [("1", "a"), (None, None)]
    assert recorder.stats()["rejected"] == {"feature_count": 1}


def test_what_redaction_takes_away_is_not_in_the_log(make, caplog):
    recorder = make(redact_for=lambda model: Redaction.of({"a": "drop"}, None))
    assert recorder.offer_table("m", "v", {"a": ["secret", 1], "b": [1]}, {}) == []
    assert recorder.stats()["rejected"] == {"table": 1}
    assert "raised ColumnError" in caplog.text
