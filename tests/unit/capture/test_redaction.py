"""Rules of redaction: what they make of values, what they refuse at the start, and that nothing raw slips through."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import threading
import uuid
from collections import ChainMap
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient

import driftwell as dw
from driftwell.capture.redaction import Redaction
from driftwell.errors import ConfigError
from driftwell.frame import read_table

KEY = b"sixteen bytes or more"


def token(text: str, key: bytes = KEY) -> str:
    return hashlib.blake2b(text.encode(), key=key, digest_size=16).hexdigest()


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("raw")

    def __str__(self) -> str:
        raise RuntimeError("raw")

    __repr__ = __str__


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("rule", "value", "kept"),
    [
        ("keep", 3, 3),
        ("hash", "a@b.org", token("a@b.org")),
        ("hash", 3, token("3")),
        ("hash", 3.0, token("3")),
        ("hash", Decimal("3.00"), token("3")),
        ("hash", np.int64(3), token("3")),
        ("hash", np.array([3]), token("3")),
        ("hash", True, token("true")),
        ("hash", Colour.RED, token("red")),
        ("hash", date(2026, 1, 2), token("2026-01-02T00:00:00+00:00")),
        ("hash", uuid.UUID(int=5), token("00000000-0000-0000-0000-000000000005")),
        ("hash", ["a", "b"], [token("a"), token("b")]),
        ({"bucket": 10}, 36, 30.0),
        ({"bucket": 10}, -1, -10.0),
        ({"bucket": 0.5}, Decimal("1.7"), 1.5),
        ({"bucket": 10}, np.float32(36), 30.0),
        ({"bucket": 10}, [36, None, 41], [30.0, None, 40.0]),
        ({"bucket": 10}, np.array([36.0, 41.0]), [30.0, 40.0]),
        ({"bucket": 10}, pd.Series([36, 41]), [30.0, 40.0]),
        ({"bucket": [0, 18, 65]}, 17.9, 0.0),
        ({"bucket": [0, 18, 65]}, 18, 18.0),
        ({"bucket": [0, 18, 65]}, 99, 65.0),
        ({"bucket": [0, 18, 65]}, -5, 0.0),
        ({"bucket": "day"}, datetime(2026, 5, 6, 7, 8, 9), datetime(2026, 5, 6, tzinfo=UTC)),
        ({"bucket": "hour"}, "2026-05-06T07:08:09Z", datetime(2026, 5, 6, 7, tzinfo=UTC)),
        ({"bucket": "month"}, date(2026, 5, 6), datetime(2026, 5, 1, tzinfo=UTC)),
        ({"bucket": "year"}, np.datetime64("2026-05-06T07", "ns"), datetime(2026, 1, 1, tzinfo=UTC)),
        (
            {"bucket": "day"},
            datetime(2026, 5, 6, 1, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 5, 5, tzinfo=UTC),
        ),
        ({"truncate": 2}, "75001", "75"),
        ({"truncate": 2}, "7", "7"),
    ],
)
def test_what_a_rule_makes_of_a_value(rule, value, kept):
    assert Redaction.of({"a": rule}, KEY).apply({"a": value, "b": 1}, {})[0] == {"a": kept, "b": 1}


@pytest.mark.parametrize("rule", ["drop", "hash", {"bucket": 10}, {"bucket": "day"}, {"truncate": 2}])
@pytest.mark.parametrize(
    "value",
    [Hostile, object, lambda: {1: Hostile()}, lambda: b"bytes", lambda: "no time, no number", lambda: 10**5000],
)
def test_nothing_raw_passes_where_a_rule_cannot_hold(rule, value, caplog):
    value = value()
    redaction = Redaction.of({"a": rule, "metadata.m": rule}, KEY)
    features, fields = redaction.apply({"a": value, "b": 1}, {"metadata": {"m": value, "n": 1}})
    assert (features["b"], fields["metadata"]["n"]) == (1, 1)
    for left in (features.get("a"), fields["metadata"].get("m")):
        assert left in (None, {}, token("no time, no number"), "no")
    assert "raw" not in caplog.text
    assert "no time" not in caplog.text


def test_missing_values_stay_missing():
    redaction = Redaction.of({"*": "hash"}, KEY)
    kept, _ = redaction.apply({"a": None, "b": float("nan"), "c": pd.NA, "d": pd.NaT, "e": np.datetime64("NaT")}, {})
    assert math.isnan(kept.pop("b"))
    assert all(value is None for value in kept.values())
    assert redaction.lost == {}


def test_what_cannot_be_changed_is_counted_and_said_once(caplog):
    redaction = Redaction.of({"a": {"bucket": 10}})
    for _ in range(10_000):
        assert redaction.apply({"a": "secret text"}, {}) == ({}, {})
    assert redaction.lost == {"a": 10_000}
    assert [record.getMessage() for record in caplog.records] == [
        "values of a cannot be redacted as their rule says, and are dropped"
    ]


def test_the_record_of_the_caller_is_left_alone():
    features, fields = {"a": 1, "b": 2}, {"entity_id": "e", "metadata": {"m": {"n": 1}}}
    redaction = Redaction.of({"a": "drop", "entity_id": "drop", "metadata": "drop"})
    assert redaction.apply(features, fields) == ({"b": 2}, {"entity_id": None, "metadata": None})
    assert (features, fields) == ({"a": 1, "b": 2}, {"entity_id": "e", "metadata": {"m": {"n": 1}}})


def test_a_star_is_for_every_feature_without_a_rule():
    redaction = Redaction.of({"*": "drop", "age": "keep", "zip": {"truncate": 1}})
    assert redaction.apply({"age": 3, "zip": "75", "name": "Ada"}, {"segment": "s"})[0] == {"age": 3, "zip": "7"}


@pytest.mark.parametrize("features", [{3: 1.0, "b": 2}, {3.0: 1.0, "b": 2}, {np.int64(3): 1.0, "b": 2}])
def test_names_that_are_numbers_are_meant_as_their_text(features):
    assert Redaction.of({"3": "drop"}).apply(features, {})[0] == {"b": 2}


@pytest.mark.parametrize(
    "features",
    [[36, "x", 5], (36, "x", 5), np.array([36, "x", 5], object), np.array([[36, "x", 5]], object)],
)
def test_features_by_position_have_the_names_of_the_reference(features):
    redaction = Redaction.of({"age": {"bucket": 10}, "name": "drop"})
    assert redaction.apply(features, {}, names=["age", "name", "n"])[0] == [30.0, None, 5]


def test_positions_without_names_go_by_number():
    assert Redaction.of({"f1": "drop"}).apply([1, 2, 3], {})[0] == [1, None, 3]
    assert Redaction.of({"value": {"bucket": 10}}).apply([11, 22], {})[0] == [10.0, 20.0]
    assert Redaction.of({"value": {"bucket": 10}}).apply([11, 22, 33], {}, names=["value"])[0] == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("names", [None, ["name", "x"]])
def test_where_nobody_knows_which_position_is_meant_nothing_is_kept(names):
    redaction = Redaction.of({"name": "drop"})
    assert redaction.apply(["Ada", 1, 2], {}, names)[0] == [None, None, None]
    assert redaction.lost == {"features by position": 3}


def test_other_rows():
    redaction = Redaction.of({"a": "drop"})
    assert redaction.apply(pd.Series({"a": 1, "b": 2}), {})[0] == {"b": 2}
    assert redaction.apply(ChainMap({"a": 1}, {"b": 2}), {})[0] == {"b": 2}
    assert redaction.apply(None, {})[0] is None


def test_what_is_no_row_is_nothing_that_could_be_kept():
    for features in ("raw text", Hostile(), {"raw"}, 3):
        assert type(Redaction.of({"a": "drop"}).apply(features, {})[0]) is object


def test_metadata_by_key_at_any_depth():
    rules = {"metadata.user": "drop", "metadata.ip": "hash", "metadata.a.b": {"truncate": 1}, "metadata.c.d": "keep",
             "metadata.c": "drop"}  # fmt: skip
    given = {"user": {"name": {"first": "Ada"}}, "ip": ["10.0.0.1"], "a": {"b": "long", "x": 1}, "a.b": "long",
             "c": {"d": 1, "e": 2}, "n": None}  # fmt: skip
    assert Redaction.of(rules, KEY).apply(None, {"metadata": given})[1]["metadata"] == {
        "ip": [token("10.0.0.1")], "a": {"b": "l", "x": 1}, "a.b": "l", "c": {"d": 1}, "n": None,
    }  # fmt: skip


def test_all_metadata_but_some():
    redaction = Redaction.of({"metadata": "drop", "metadata.region": "keep"})
    assert redaction.apply(None, {"metadata": {"region": "eu", "user": {"a": 1}}})[1] == {"metadata": {"region": "eu"}}


def test_metadata_that_contains_itself_or_is_none():
    redaction = Redaction.of({"metadata.a": "drop"})
    endless: dict[str, Any] = {"a": "raw", "b": 1}
    endless["again"] = endless
    assert redaction.apply(None, {"metadata": endless})[1] == {"metadata": None}
    for no_metadata in ("raw", ["raw"]):
        assert redaction.apply(None, {"metadata": no_metadata})[1] == {"metadata": ""}
    assert redaction.apply(None, {"metadata": Hostile()})[1] == {"metadata": None}


def test_fields():
    redaction = Redaction.of(
        {"entity_id": "hash", "segment": {"truncate": 2}, "prediction": "hash", "true_label": "hash",
         "prediction_id": "hash", "score": {"bucket": 0.5}}, KEY)  # fmt: skip
    given = {"entity_id": 17, "segment": "north", "prediction": np.array(["late"]), "true_label": "late", "score": 0.7,
             "probability": {"late": 0.7, "early": 0.3}, "timestamp": 5, "prediction_id": "p"}  # fmt: skip
    assert redaction.apply(None, given)[1] == {
        "entity_id": token("17"), "segment": "no", "prediction": token("late"), "true_label": token("late"),
        "score": 0.5, "probability": {token("late"): 0.7, token("early"): 0.3}, "timestamp": 5,
        "prediction_id": token("p"),
    }  # fmt: skip
    assert (redaction.id("p"), redaction.id(""), redaction.label("late")) == (token("p"), "", token("late"))
    assert redaction.value("entity_id", "17") == token("17")


def test_a_dropped_prediction_leaves_no_classes():
    redaction = Redaction.of({"prediction": "drop"})
    assert redaction.apply(None, {"prediction": 1, "probability": {"a": 1.0}})[1] == {
        "prediction": None,
        "probability": None,
    }
    assert redaction.apply(None, {"probability": [0.5, 0.5]})[1] == {"probability": [0.5, 0.5]}
    assert Redaction.of({"probability": "drop"}).apply(None, {"probability": 0.5})[1] == {"probability": None}


def test_a_table_becomes_what_its_rows_become():
    rules = {"name": "drop", "age": {"bucket": 10}, "mail": "hash", "born": {"bucket": "month"}, "zip": {"truncate": 2},
             "entity_id": "hash", "metadata.ip": "drop", "v": {"bucket": 1}, "mixed": "hash"}  # fmt: skip
    redaction = Redaction.of(rules, KEY)
    rows = [
        {"name": "Ada", "age": 36, "mail": "a@b", "born": datetime(2000, 2, 3, tzinfo=UTC), "zip": "75001",
         "entity_id": 17, "metadata": {"ip": "1.2.3.4", "x": 1}, "v": [1.5, 2.5], "mixed": "x", "kept": 1.5},
        {"name": "Bob", "age": None, "mail": None, "born": None, "zip": "", "entity_id": 18,
         "metadata": {"ip": None, "x": 2}, "v": None, "mixed": True, "kept": None},
    ]  # fmt: skip
    found = redaction.apply_table(read_table(rows)).to_pylist()
    columns = ("age", "mail", "born", "zip", "entity_id", "v", "kept")
    assert [{name: row[name] for name in columns} for row in found] == [
        {"age": 30.0, "mail": token("a@b"), "born": datetime(2000, 2, 1, tzinfo=UTC), "zip": "75",
         "entity_id": token("17"), "v": [1.0, 2.0], "kept": 1.5},
        {"age": None, "mail": None, "born": None, "zip": "", "entity_id": token("18"), "v": None, "kept": None},
    ]  # fmt: skip
    assert [row["metadata"]["x"] for row in found] == [1, 2]
    assert "1.2.3.4" not in str(found)
    assert [row["mixed"] for row in found] == [token("x"), token("true")]
    assert all("name" not in row for row in found)


def test_columns_of_a_table_have_their_roles():
    table = pa.table({"who": ["a"], "prediction_id": ["p"], "when": [1]})
    redaction = Redaction.of({"entity_id": "drop", "prediction_id": "hash", "*": "drop"}, KEY)
    roles = {"entity_id": "who", "timestamp": "when"}
    assert redaction.apply_table(table, roles).to_pydict() == {"prediction_id": ["p"], "when": [1]}
    assert redaction.apply_table(table, roles, ids=True).to_pydict() == {"prediction_id": [token("p")], "when": [1]}


def test_a_table_without_names_keeps_nothing_a_rule_may_mean():
    table = read_table(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert Redaction.of({"name": "drop"}).apply_table(table).column_names == []
    assert Redaction.of({"f0": "drop"}).apply_table(table).column_names == ["f1"]
    assert Redaction.of({"entity_id": "drop"}).apply_table(table).column_names == ["f0", "f1"]


@pytest.mark.parametrize(
    ("rules", "key", "message"),
    [
        ({"a": "mask"}, None, r"no rule for 'a' is 'mask'\. Rules are 'keep', 'drop', 'hash'"),
        ({"a": {"bucket": 0}}, None, "no rule"),
        ({"a": {"bucket": []}}, None, "no rule"),
        ({"a": {"bucket": [2, 1]}}, None, "no rule"),
        ({"a": {"bucket": float("nan")}}, None, "no rule"),
        ({"a": {"bucket": "week"}}, None, "no rule"),
        ({"a": {"truncate": 0}}, None, "no rule"),
        ({"a": {"truncate": True}}, None, "no rule"),
        ({"a": {"bucket": 1, "truncate": 1}}, None, "no rule"),
        ({"a": None}, None, "no rule"),
        ({"a": "hash"}, None, "set redact_key, or DRIFTWELL_REDACT_KEY"),
        ({"a": "hash"}, b"short", "16 bytes or more"),
        ({"timestamp": "drop"}, None, "timestamp cannot be redacted"),
        ({"prediction_id": "drop"}, None, "the only rule for prediction_id is 'hash'"),
        ({"probability": {"bucket": 1}}, None, "the only rule for probability is 'drop'"),
        ({"prediction": "hash"}, KEY, "give prediction and true_label one rule"),
        ({3: "drop"}, None, "rule by column name"),
        (["a"], None, "rule by column name"),
    ],
)
def test_a_wrong_rule_is_an_error_at_the_start(rules, key, message):
    with pytest.raises(ConfigError, match=message) as error:
        Redaction.of(rules, key)
    assert "short" not in str(error.value)


def test_tokens_depend_on_the_key_alone():
    long = b"k" * 200
    assert Redaction.of({"a": "hash"}, long).value("a", "x") == token("x", hashlib.blake2b(long).digest())
    assert Redaction.of({"a": "hash"}, KEY).value("a", "x") != Redaction.of({"a": "hash"}, KEY + b"!").value("a", "x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_any_thread_of_a_forked_child_counts_afresh():
    redaction = Redaction.of({"a": {"bucket": 1}})
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        thread = threading.Thread(target=redaction.apply, args=({"a": "x"}, {}))
        thread.start()
        thread.join()
        os._exit(redaction.lost["a"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert redaction.lost == {}


@pytest.mark.parametrize("durability", ["queued", "journal"])
def test_no_file_ever_holds_what_was_redacted(tmp_path, durability, caplog):
    rules = dict.fromkeys(("name", "segment", "metadata.user"), "drop") | {"age": {"bucket": 10}, "mail": "hash",
             "entity_id": "hash", "prediction_id": "hash", "prediction": "hash", "true_label": "hash"}  # fmt: skip
    reference = dw.Reference.from_data({"age": [10.0, 20.0, 30.0], "mail": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]})
    monitor = dw.Monitor("m", "v", reference, store=f"sqlite:///{tmp_path}/a.db", durability=durability, redact=rules,
                         redact_key="sixteen bytes or more", check_every="P1D", flush_seconds=60)  # fmt: skip
    app = FastAPI()

    @app.post("/predict")
    def predict(x: dict[str, Any] = Body(embed=True)) -> dict[str, str]:  # noqa: B008 - FastAPI's way
        return {"y": "RAW prediction", "id": "RAW id of the answer"}

    app.add_middleware(dw.CaptureMiddleware, monitor=monitor, prediction_id="id")
    raw = {"age": "RAW age", "mail": "RAW mail", "name": "RAW name", "x": 1.0}
    with TestClient(app) as client:
        client.post("/predict", json={"x": raw})
    fields = {"segment": "RAW segment", "entity_id": "RAW entity", "metadata": {"user": "RAW user", "n": 1}}
    told = monitor.record_prediction(raw, "RAW prediction", prediction_id="RAW id", **fields)
    monitor.record_prediction(["RAW age", "RAW mail", 1.0], "RAW prediction", true_label="RAW prediction")
    ids = monitor.record_batch([raw | fields | {"prediction": "RAW prediction", "prediction_id": "RAW of a table"}])
    monitor.record_feedback(told, "RAW prediction")
    monitor.record_feedback(ids[0], "RAW prediction")
    monitor.record_feedback("RAW id that comes later", "RAW prediction")
    assert (told, ids) == ("RAW id", ["RAW of a table"])
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(len(content) > 500 for content in written)
    assert monitor.flush(20)
    stats, rows = monitor.stats(), monitor.recent(10)
    monitor.close()
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert (stats["stored"], stats["labels"]["matched"], stats["labels"]["early"]) == (4, 3, 1)
    assert {(row["features"]["age"], row["features"]["x"]) for row in rows} == {(None, 1.0)}
    assert {row["features"]["mail"] for row in rows} == {token("RAW mail", b"sixteen bytes or more")}
    assert sum(row["true_label"] == row["prediction"] for row in rows) == 3
    assert "RAW" not in caplog.text
    assert not any(b"RAW" in content for content in written)


def test_a_reference_of_redacted_rows_matches_the_rows(tmp_path):
    training = {"age": [23.0, 36.0, 58.0] * 50, "mail": ["a", "b", "c"] * 50, "name": ["x", "y", "z"] * 50}
    rules = {"age": {"bucket": 10}, "mail": "hash", "name": "drop"}
    with dw.Monitor("m", "v", store=f"sqlite:///{tmp_path}/a.db", redact=rules, redact_key="k" * 16,
                    check_every="P1D") as monitor:  # fmt: skip
        table = monitor.redact(training)
        assert (table.column_names, table.column("age").to_pylist()[:3]) == (["age", "mail"], [20.0, 30.0, 50.0])
        monitor.set_reference(table)
        monitor.record_batch(training)
        check = monitor.check("PT1H", extend_to="P1D", at=datetime.now(UTC) + timedelta(minutes=1))
    assert check.n_predictions == 150
    assert not check.drift_detected


class Tag(str):
    """Text that claims to differ from itself, as only NaN does."""

    def __ne__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("rule", ["hash", {"bucket": 10}, {"bucket": "day"}, {"truncate": 2}])
def test_no_value_passes_because_of_what_it_says_of_itself(rule):
    redaction = Redaction.of({"mail": rule, "segment": rule}, KEY)
    for value in (Tag("raw"), [Tag("raw")], {"raw": 1}, {"k": {"raw": "raw"}}, [{"raw": 1}]):
        kept = redaction.apply({"mail": value}, {"segment": value})
        assert "raw" not in str(kept).replace(token("raw"), "")


def test_nan_stays_missing_under_every_rule():
    redaction = Redaction.of({"a": "hash", "b": {"bucket": 10}}, KEY)
    features, _ = redaction.apply({"a": float("nan"), "b": np.float64("nan")}, {})
    assert np.isnan(features["a"])
    assert np.isnan(features["b"])
    assert redaction.lost == {}
