"""What the collector's answers say, against NumPy and a plain group-by over the same rows."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from driftwell.errors import BadInput, NotSupported

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
EMPTY = {"mean": None, "std": None, "min": None, "max": None}
RNG = np.random.default_rng(31)


def made(n: int, *, minutes: int = 7) -> list[dict]:
    """Rows every few minutes: two numbers, a text, a truth value, a score, sometimes nothing."""
    return [
        {
            "features": {
                "age": None if i % 11 == 0 else float(RNG.normal(40, 10)),
                "count": int(RNG.integers(0, 9)),
                "city": ["Oslo", "Bergen"][i % 2],
                "member": i % 3 == 0,
            },
            "prediction": ["late", "in time"][i % 2],
            "score": float(RNG.random()),
            "timestamp": START + timedelta(minutes=minutes * i),
            "prediction_id": f"p{i}",
            "segment": ["north", None][i % 2],
        }
        for i in range(n)
    ]


def record(monitor, rows) -> None:
    for row in rows:
        monitor.record_prediction(**row)
    assert monitor.flush(10)


def statistics(values) -> dict:
    """By NumPy; the spread is that of a sample."""
    known = np.array([v for v in values if v is not None], dtype=float)
    if not known.size:
        return EMPTY
    std = float(np.std(known, ddof=1)) if known.size > 1 else None
    return {"mean": float(known.mean()), "std": std, "min": float(known.min()), "max": float(known.max())}


def numbers(rows, *names: str) -> list:
    return [row["features"][name] for row in rows for name in names]


def close(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (None if value is None else pytest.approx(value, rel=1e-12)), key


# -- collector_stats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_bins", [False, True], ids=["without a reference", "in its bins"])
def test_collector_stats_are_numpy_s(make, in_bins):
    rows = made(200)
    monitor = make()
    if in_bins:
        monitor.set_reference([{**row["features"], "score": row["score"]} for row in made(300)])
    record(monitor, rows)
    found = monitor.collector_stats()
    assert (found["total_predictions"], found["buffered_predictions"], found["errors_count"]) == (200, 200, 0)
    assert found["time_range"] == {"first": "2026-01-20T18:00:00Z", "last": "2026-01-21T17:13:00Z"}
    close(found["input_statistics"], statistics(numbers(rows, "age", "count")))
    close(found["output_statistics"], statistics([row["score"] for row in rows]))
    assert set(found["features"]) == {"age", "count", "city", "member"}
    for name in ("age", "count"):
        own = found["features"][name]
        close({key: own[key] for key in EMPTY}, statistics(numbers(rows, name)))
    assert {n: (f["kind"], f["missing"], f["count"]) for n, f in found["features"].items()} == {
        "age": ("numeric", 19, 181),
        "count": ("numeric", 0, 200),
        "city": ("categorical", 0, 0),
        "member": ("boolean", 0, 0),
    }


def test_nothing_collected_has_every_field_and_no_number(monitor):
    assert monitor.collector_stats() == {
        "total_predictions": 0,
        "buffered_predictions": 0,
        "errors_count": 0,
        "input_statistics": EMPTY,
        "output_statistics": EMPTY,
        "time_range": {"first": None, "last": None},
        "features": {},
    }


def test_class_names_have_no_output_statistics(monitor):
    for word in ("late", "in time"):
        monitor.record_prediction({"x": 1.0}, word)
    assert monitor.collector_stats()["output_statistics"] == EMPTY


def test_numeric_predictions_are_outputs_where_there_is_no_score(monitor):
    values = [3, 1.5, -2]
    for value in values:
        monitor.record_prediction({"x": 1.0}, value)
    close(monitor.collector_stats()["output_statistics"], statistics(values))


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e18])
def test_numbers_of_any_magnitude_are_described(make, scale):
    values = [scale * k for k in (1.0, 2.5, 7.0)]
    monitor = make()
    monitor.set_reference({"x": [scale * k for k in range(1, 300)]})
    for value in values:
        monitor.record_prediction({"x": value}, 1, timestamp=START)
    expected = statistics([k / scale for k in values])
    found = monitor.collector_stats()["input_statistics"]
    for key, value in expected.items():
        assert found[key] / scale == pytest.approx(value, rel=1e-9), key
    assert monitor.hourly_summary()["2026-01-20T18:00:00"]["input_mean"] / scale == pytest.approx(3.5, rel=1e-9)


def test_a_feature_that_some_rows_lack_is_missing_in_them_sealed_or_not(monitor):
    for features in ({"x": 1.0}, {"x": 2.0, "y": 5.0}, {"x": 3.0}):
        monitor.record_prediction(features, 1, timestamp=START)
        monitor.flush()
    before = monitor.collector_stats()
    assert before["features"]["y"]["missing"] == 2
    monitor.runtime.ledger.seal(2**60, more_than=1)
    assert monitor.collector_stats() == before


def test_errors_count_what_was_rejected_and_dropped(monitor):
    record(monitor, made(3))
    monitor.record_prediction({"x": 1.0}, 1, timestamp="noon")
    monitor.record_prediction({"age": 5.0}, "late", prediction_id="p1", timestamp=START)
    found = monitor.collector_stats()
    assert found["errors_count"] == 2
    assert found["total_predictions"] == 3


def test_buffered_is_what_display_keeps_at_hand(make):
    monitor = make(max_samples=5)
    record(monitor, made(9))
    found = monitor.collector_stats()
    assert (found["total_predictions"], found["buffered_predictions"]) == (9, 5)


# -- clear: statistics start afresh --------------------------------------------------------------------------------


def test_after_clear_statistics_start_afresh(monitor):
    old, new = made(40), [row | {"prediction_id": f"new-{i}"} for i, row in enumerate(made(25))]
    record(monitor, old)
    assert monitor.clear() == {"status": "cleared", "cleared": 40}
    assert monitor.collector_stats()["total_predictions"] == 0
    assert monitor.recent(5) == []
    assert monitor.hourly_summary() == {}
    record(monitor, new)
    close(monitor.collector_stats()["input_statistics"], statistics(numbers(new, "age", "count")))
    assert {row["prediction_id"] for row in monitor.recent(99)} == {row["prediction_id"] for row in new}
    assert sum(hour["count"] for hour in monitor.hourly_summary().values()) == 25
    assert monitor.clear()["cleared"] == 25


def test_since_all_shows_what_clear_left_out(monitor):
    old, new = made(40), [row | {"prediction_id": f"new-{i}"} for i, row in enumerate(made(25))]
    record(monitor, old)
    monitor.clear()
    record(monitor, new)
    found = monitor.collector_stats(since="all")
    assert found["total_predictions"] == 65
    close(found["input_statistics"], statistics(numbers(old + new, "age", "count")))
    assert len(monitor.recent_http(99, since="all")) == 65
    assert sum(hour["count"] for hour in monitor.hourly_summary(since="all").values()) == 65


def test_clear_deletes_nothing(monitor):
    record(monitor, made(40))
    monitor.clear()
    assert monitor.read("P7D", at=START + timedelta(days=6)).num_rows == 40
    assert monitor.status()["counts"]["predictions"] == 40


def test_a_new_reference_starts_statistics_afresh_and_the_same_again_does_not(monitor, reference):
    record(monitor, made(40))
    monitor.set_reference(reference)
    assert monitor.collector_stats()["total_predictions"] == 0
    record(monitor, [row | {"prediction_id": f"new-{i}"} for i, row in enumerate(made(3))])
    monitor.set_reference(reference)
    assert monitor.collector_stats()["total_predictions"] == 3


# -- hourly_summary ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True])
def test_hourly_summary_is_a_group_by(monitor, sealed):
    rows = made(150, minutes=13)
    for start in range(0, 150, 30):
        record(monitor, rows[start : start + 30])
    if sealed:
        monitor.runtime.ledger.seal(2**60, more_than=1)
    groups = defaultdict(list)
    for row in rows:
        groups[row["timestamp"].strftime("%Y-%m-%dT%H:00:00")].append(row)
    found = monitor.hourly_summary()
    assert list(found) == sorted(groups)
    for hour, own in groups.items():
        assert found[hour] == {
            "count": len(own),
            "input_mean": pytest.approx(statistics(numbers(own, "age", "count"))["mean"], rel=1e-12),
            "output_mean": pytest.approx(np.mean([row["score"] for row in own]), rel=1e-12),
        }


def test_hourly_summary_keeps_the_newest_hours_that_have_data(monitor):
    for day in (0, 1, 5, 30):
        monitor.record_prediction({"x": float(day)}, 1, timestamp=START + timedelta(days=day))
    assert list(monitor.hourly_summary(hours=2)) == ["2026-01-25T18:00:00", "2026-02-19T18:00:00"]
    assert monitor.hourly_summary(hours=1)["2026-02-19T18:00:00"]["input_mean"] == 30.0


def test_an_hour_without_numbers_has_no_means(monitor):
    monitor.record_prediction({"city": "Oslo"}, "late", timestamp=START)
    monitor.record_prediction(None, "late", timestamp=START)
    assert monitor.hourly_summary() == {"2026-01-20T18:00:00": {"count": 2, "input_mean": None, "output_mean": None}}


# -- recent --------------------------------------------------------------------------------------------------------


def test_recent_is_newest_first_by_event_time(monitor):
    rows = made(9)
    record(monitor, [rows[i] for i in (3, 8, 0, 5, 1, 7, 2, 6, 4)])
    assert [row["prediction_id"] for row in monitor.recent(4)] == ["p8", "p7", "p6", "p5"]
    assert len(monitor.recent(99)) == 9
    assert monitor.recent(0) == []


def test_recent_tells_everything_of_a_record(monitor):
    monitor.record_prediction(
        {"x": 1.5, "city": "Oslo"},
        "late",
        probability={"late": 0.75, "in time": 0.25},
        prediction_id="p1",
        timestamp=START,
        segment="north",
        entity_id="u1",
        latency_seconds=0.25,
        metadata={"host": "a"},
        true_label="late",
    )
    monitor.flush()
    expected = {
        "prediction_id": "p1",
        "timestamp": START,
        "features": {"x": 1.5, "city": "Oslo"},
        "prediction": "late",
        "score": 0.75,
        "probability": {"late": 0.75, "in time": 0.25},
        "true_label": "late",
        "segment": "north",
        "entity_id": "u1",
        "latency_seconds": 0.25,
        "metadata": {"host": "a"},
        "model": "flights",
        "version": "v1",
    }
    (found,) = monitor.recent(1)
    assert {key: found[key] for key in expected} == expected


def test_recent_holds_what_still_waits_and_says_nothing_twice(make):
    monitor = make(flush_seconds=60.0)
    rows = made(6)
    record(monitor, rows[:4])
    for row in rows[4:]:
        monitor.record_prediction(**row)
    found = monitor.recent(5)
    assert [row["prediction_id"] for row in found] == ["p5", "p4", "p3", "p2", "p1"]
    assert found[0]["features"]["city"] == "Bergen"
    assert found[0]["timestamp"] == rows[5]["timestamp"]


def test_of_records_at_one_moment_the_later_call_is_newer(make):
    monitor = make(flush_seconds=60.0)
    for i in range(3):
        monitor.record_prediction({"x": float(i)}, 1, prediction_id=f"p{i}", timestamp=START)
    assert [row["prediction_id"] for row in monitor.recent(3)] == ["p2", "p1", "p0"]
    monitor.flush()
    assert [row["prediction_id"] for row in monitor.recent(3)] == ["p2", "p1", "p0"]


def test_recent_of_a_negative_number_is_an_error(monitor):
    with pytest.raises(BadInput, match="negative"):
        monitor.recent(-1)


def test_recent_http_speaks_of_input_and_output(monitor):
    monitor.record_prediction({"x": 1.5}, "late", score=0.5, prediction_id="a", timestamp=START)
    later = START + timedelta(minutes=1)
    monitor.record_prediction({"x": math.inf}, score=0.5, prediction_id="b", timestamp=later, metadata={"host": "a"})
    assert monitor.recent_http(5) == [
        {
            "prediction_id": "b",
            "timestamp": "2026-01-20T18:01:00Z",
            "input": {"x": None},
            "output": 0.5,
            "metadata": {"host": "a"},
        },
        {
            "prediction_id": "a",
            "timestamp": "2026-01-20T18:00:00Z",
            "input": {"x": 1.5},
            "output": "late",
            "metadata": {},
        },
    ]


def test_attributions_are_kept_in_the_metadata(monitor):
    monitor.record_prediction({"x": 1.5}, 1, metadata={"host": "a"}, attributions={"x": 0.7})
    monitor.flush()
    assert monitor.recent(1)[0]["metadata"] == {"host": "a", "attributions": {"x": 0.7}}


@pytest.mark.parametrize(
    "more", [{"attributions": 5}, {"attributions": {"x": object()}}, {"metadata": 7, "attributions": {}}]
)
def test_no_attributions_raise_and_each_record_is_accounted_for(monitor, more):
    assert monitor.record_prediction({"x": 1.5}, 1, **more)
    monitor.flush()
    stats = monitor.stats()
    assert stats["offered"] == 1 == stats["stored"] + sum(stats["rejected"].values())


# -- save_batch ----------------------------------------------------------------------------------------------------


def test_save_batch_writes_the_document_of_the_contract(monitor, tmp_path):
    record(monitor, made(4))
    answer = monitor.save_batch()
    assert answer["status"] == "saved"
    (file,) = (tmp_path / "saved").glob("predictions_*.json")
    assert str(file) == answer["filepath"]
    document = json.loads(file.read_text())
    assert (document["model"], document["version"]) == ("flights", "v1")
    assert datetime.fromisoformat(document["saved_at"]).tzinfo is not None
    assert [row["prediction_id"] for row in document["predictions"]] == ["p3", "p2", "p1", "p0"]
    assert document["predictions"][0]["timestamp"] == "2026-01-20T18:21:00Z"


def test_two_batches_saved_at_once_are_two_files(monitor, tmp_path):
    record(monitor, made(1))
    assert monitor.save_batch()["filepath"] != monitor.save_batch()["filepath"]


def test_save_batch_keeps_the_newest_since_the_mark(make, tmp_path):
    monitor = make(max_samples=3)
    record(monitor, made(4))
    monitor.clear()
    record(monitor, [row | {"prediction_id": f"new-{i}"} for i, row in enumerate(made(5))])
    monitor.save_batch(tmp_path / "batch.json")
    monitor.save_batch(tmp_path / "batch.parquet")
    found = [row["prediction_id"] for row in json.loads((tmp_path / "batch.json").read_text())["predictions"]]
    assert found == ["new-4", "new-3", "new-2"]
    assert pq.read_table(tmp_path / "batch.parquet")["prediction_id"].to_pylist() == found[::-1]


def test_rows_of_many_shapes_fit_one_parquet_file(monitor, tmp_path):
    monitor.record_prediction({"x": 1}, 1, timestamp=START)
    monitor.record_prediction({"y": "a"}, "late", probability={"a": 0.5, "b": 0.5}, timestamp=START)
    monitor.record_prediction({}, 2.5, probability=0.25, metadata={"host": "a"}, timestamp=START)
    monitor.record_prediction(None, True, timestamp=START)
    monitor.save_batch(tmp_path / "batch.parquet")
    table = pq.read_table(tmp_path / "batch.parquet")
    assert table["x"].to_pylist() == [1.0, None, None, None]
    assert [json.loads(text) for text in table["prediction"].to_pylist()] == [1, "late", 2.5, True]


@pytest.mark.parametrize("name", ["batch.csv", "batch"])
def test_other_formats_are_refused_and_leave_nothing_behind(monitor, tmp_path, name):
    with pytest.raises(NotSupported, match=r"\.json and \.parquet"):
        monitor.save_batch(tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["batch.json", "batch.parquet"])
def test_a_file_that_cannot_be_written_is_one_clear_error(monitor, tmp_path, name):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        monitor.save_batch(tmp_path / "taken" / name)
