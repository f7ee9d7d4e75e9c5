"""Reading and exporting stored rows: values come back as what they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score

import driftwell as dw
from driftwell.errors import BadInput, ColumnError
from driftwell.stores.export import json_values, typed

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
NOW = START + timedelta(hours=1)


class Unsayable:
    def __repr__(self) -> str:
        raise RuntimeError


def column(*texts: str | None) -> pa.Table:
    return pa.table({"prediction": pa.array(texts, pa.string())})


@pytest.mark.parametrize(
    ("texts", "values", "kind"),
    [
        (("1", "2", None), [1, 2, None], pa.int64()),
        (("1", "2.5"), [1.0, 2.5], pa.float64()),
        (('"a"', None, '"1"'), ["a", None, "1"], pa.string()),
        (("true", "false"), [True, False], pa.bool_()),
        (("1", '"a"'), ["1", '"a"'], pa.string()),
        (("true", "1"), ["true", "1"], pa.string()),
        (('{"a":0.5}',), ['{"a":0.5}'], pa.string()),
        (("36893488147419103232",), ["36893488147419103232"], pa.string()),
        ((None, None), [None, None], pa.string()),
        ((), [], pa.string()),
    ],
)
def test_columns_of_one_kind_get_their_type_and_others_stay_text(texts, values, kind):
    found = typed(column(*texts))["prediction"]
    assert found.to_pylist() == values
    assert found.type == kind


def test_other_columns_are_left_alone():
    table = pa.table({"note": ["1", "2"], "true_label": ["1", "2"]})
    assert typed(table).to_pydict() == {"note": ["1", "2"], "true_label": [1, 2]}


def test_json_values_decode_each_text():
    assert json_values(pa.chunked_array([["1", None], ['"a"', "1"]])) == [1, None, "a", 1]


@pytest.fixture
def filled(make):
    """Ten predictions, the even ones labelled."""
    monitor = make()
    for i in range(10):
        monitor.record_prediction(
            {"x": float(i), "city": "Oslo", "score": -1.0},
            i % 3,
            score=i / 10,
            prediction_id=f"p{i}",
            timestamp=START + timedelta(minutes=i),
        )
    for i in range(0, 10, 2):
        monitor.record_feedback(f"p{i}", i % 4)
    monitor.flush()
    return monitor


def test_read_gives_the_rows_of_the_window_in_the_order_of_time(filled):
    rows = filled.read("PT6M", at=START + timedelta(minutes=9))
    assert rows["prediction_id"].to_pylist() == ["p3", "p4", "p5", "p6", "p7", "p8"]
    assert rows["x"].to_pylist() == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert rows["prediction"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert rows["true_label"].to_pylist() == [None, 0, None, 2, None, 0]
    assert rows["feature.score"].to_pylist() == [-1.0] * 6
    assert rows["score"].to_pylist() == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def test_read_takes_a_number_of_records(filled):
    assert filled.read(3, at=NOW)["prediction_id"].to_pylist() == ["p7", "p8", "p9"]


def test_read_keeps_the_columns_asked_for_in_their_order(filled):
    rows = filled.read("PT1H", columns=["true_label", "x"], at=NOW)
    assert rows.column_names == ["true_label", "x"]
    assert rows.num_rows == 10


@pytest.mark.parametrize(
    ("asked", "close"), [("ctiy", "city"), ("true_lable", "true_label"), ("feature.scor", "feature.score")]
)
def test_read_of_an_unknown_column_names_the_nearest(filled, asked, close):
    with pytest.raises(ColumnError, match=f"has a column '{asked}'; did you mean '{close}'"):
        filled.read("PT1H", columns=["x", asked], at=NOW)
    with pytest.raises(ColumnError):
        filled.read("PT1H", columns=[asked], at=START)  # no row in the window


def test_read_of_a_column_that_only_other_rows_have_leaves_it_out(filled):
    filled.record_prediction({"late": 1.0}, 0, timestamp=START + timedelta(hours=3))
    filled.flush()
    assert filled.read("PT1H", columns=["x", "late"], at=NOW).column_names == ["x"]


def test_read_before_the_first_row_refuses_no_column(make):
    assert make("empty").read("PT1H", columns=["anything"]).num_rows == 0


@pytest.mark.parametrize(("labelled", "kept"), [(True, range(0, 10, 2)), (False, range(1, 10, 2)), (None, range(10))])
def test_read_keeps_labelled_rows_or_the_others(filled, labelled, kept):
    rows = filled.read("PT1H", labelled=labelled, at=NOW)
    assert rows["prediction_id"].to_pylist() == [f"p{i}" for i in kept]


def test_read_with_a_limit_keeps_the_newest(filled):
    assert filled.read("PT1H", labelled=True, limit=2, at=NOW)["prediction_id"].to_pylist() == ["p6", "p8"]


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({}, "fghij"),
        ({"labelled": True}, "gi"),
        ({"labelled": False}, "fhj"),
        ({"limit": 2}, "ij"),
        ({"labelled": True, "limit": 1}, "i"),
        ({"labelled": True, "columns": ["prediction_id", "x"]}, "gi"),
    ],
)
def test_read_of_a_number_of_records_parts_rows_of_one_time(make, chosen, kept):
    """Ten rows of one time: the newest five are the last to arrive, labelled or not."""
    monitor = make("ties")
    for i, name in enumerate("abcdefghij"):
        label = None if i % 2 else 1
        monitor.record_prediction({"x": 1.0}, 1, prediction_id=name, timestamp=START, true_label=label)
    found = monitor.read(5, **chosen)
    assert "".join(found["prediction_id"].to_pylist()) == kept
    assert found.column_names == chosen.get("columns", found.column_names)


def test_read_of_an_empty_window_has_no_rows(filled):
    assert filled.read("PT1H", at=START).num_rows == 0
    assert filled.read("PT1H", columns=["prediction", "score", "true_label"], at=START).num_rows == 0


def test_export_is_ready_for_training_and_for_measuring(filled, tmp_path):
    path = filled.export(tmp_path / "new" / "rows.parquet", "PT1H", at=NOW)
    table = pq.read_table(path)
    assert table["prediction_id"].to_pylist() == ["p0", "p2", "p4", "p6", "p8"]
    assert table["true_label"].type == table["prediction"].type == pa.int64()
    expected = accuracy_score([i % 4 for i in range(0, 10, 2)], [i % 3 for i in range(0, 10, 2)])
    assert dw.performance(str(path))["accuracy"].value == pytest.approx(expected)


@pytest.mark.parametrize("path", [5, b"rows.parquet", ["rows.parquet"], "a\0.parquet", Unsayable()])
def test_what_is_no_path_is_one_clear_error(filled, path):
    with pytest.raises(BadInput, match=r"^a path is text or a pathlib\.Path\. Got "):
        filled.export(path)
    with pytest.raises(BadInput, match=r"^a path is text or a pathlib\.Path\. Got "):
        filled.save_batch(path)


def test_what_cannot_even_be_shown_is_one_clear_error(filled):
    with pytest.raises(BadInput, match=r"a window is a duration .* Got <Unsayable>"):
        filled.check(Unsayable())
    with pytest.raises(BadInput, match=r"a time must be .* Got <Unsayable>"):
        filled.check(at=Unsayable())
    with pytest.raises(BadInput, match=r"limit must be a whole number .* Got <Unsayable>"):
        filled.read(limit=Unsayable())


def test_export_of_unlabelled_rows_too(filled, tmp_path):
    assert pq.read_table(filled.export(tmp_path / "all.parquet", "PT1H", labelled=None, at=NOW)).num_rows == 10


def test_export_to_where_nothing_can_be_written_is_one_clear_error(filled, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        filled.export(tmp_path / "taken" / "rows.parquet", "PT1H", at=NOW)


def test_amounts_come_back_as_amounts(monitor, tmp_path):
    amounts = [1.5, 2.0, 10.25]
    for i, amount in enumerate(amounts):
        monitor.record_prediction({"x": 1.0}, amount, prediction_id=f"p{i}", timestamp=START, true_label=amount + 1)
    path = monitor.export(tmp_path / "rows.parquet", "PT1H", at=NOW)
    assert np.asarray(pq.read_table(path)["true_label"]).tolist() == [2.5, 3.0, 11.25]
    assert dw.performance(str(path))["mae"].value == pytest.approx(1.0)
