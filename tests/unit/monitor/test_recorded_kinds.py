"""Times, texts, vectors and series recorded one by one: stored, counted, checked and read again. Which cells cannot be
read, and which columns moved, is known beforehand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
KINDS = {"at": "datetime", "note": "text", "emb": "vector", "sig": "series"}
WORDS = ("parcel", "arrived", "late", "again", "door", "rain", "gate", "seven", "north", "lift")
BROKEN = {
    "at": ("soon", 7, [1]),
    "note": (3, ["a"]),
    "emb": ([1.0], [1.0, 2.0, 3.0, float("nan")], "1,2,3,4"),
    "sig": (["a"], 5, [[1.0]]),
}
N_BROKEN = sum(map(len, BROKEN.values()))


def columns(n, seed):
    rng = np.random.default_rng(seed)
    return {
        "at": [NOON + timedelta(minutes=int(m)) for m in rng.integers(-5_000, 5_000, n)],
        "note": [" ".join(rng.choice(WORDS, int(size))) for size in rng.integers(3, 7, n)],
        "emb": list(rng.normal(size=(n, 4))),
        "sig": [rng.normal(size=int(size)) for size in rng.integers(3, 9, n)],
    }


def as_table(rows):
    return pa.table(
        {
            "at": pa.array(rows["at"], pa.timestamp("ns", "UTC")),
            "note": pa.array(rows["note"]).dictionary_encode(),
            "emb": pa.FixedSizeListArray.from_arrays(np.concatenate(rows["emb"]), 4),
            "sig": pa.array([values.tolist() for values in rows["sig"]]),
            "timestamp": [NOON + timedelta(seconds=i) for i in range(len(rows["at"]))],
        }
    )


@pytest.fixture(scope="module")
def reference():
    found = Reference.from_data(columns(500, 1), kinds={"note": "text", "emb": "vector"})
    assert found.kinds == KINDS
    return found


@pytest.fixture(params=["with a reference", "without one"])
def monitor(request, make, reference):
    return make(reference=reference) if request.param == "with a reference" else make(kinds=KINDS)


def record(monitor, rows, *, start=0):
    """A row a second; times as text and as objects, lists as lists and as arrays."""
    for i in range(len(rows["at"])):
        at, emb, sig = (rows[name][i] for name in ("at", "emb", "sig"))
        odd = {"at": at.isoformat(), "note": rows["note"][i], "emb": emb, "sig": tuple(sig)}
        even = {"at": at, "note": rows["note"][i], "emb": emb.tolist(), "sig": sig}
        monitor.record_prediction(odd if i % 2 else even, timestamp=NOON + timedelta(seconds=start + i))


def record_broken(monitor, *, start=0):
    row = {name: values[0] for name, values in columns(1, 5).items()}
    cells = [{name: value} for name, values in BROKEN.items() for value in values]
    for i, cell in enumerate(cells):
        monitor.record_prediction(row | cell, prediction_id=f"b{i}", timestamp=NOON + timedelta(seconds=start + i))
    return cells


def test_rows_come_back_as_they_were_recorded(monitor):
    rows = columns(20, 2)
    record(monitor, rows)
    expected = {name: [v.tolist() if isinstance(v, np.ndarray) else v for v in rows[name]] for name in KINDS}
    assert [row["features"] for row in reversed(monitor.recent(20))] == [
        dict(zip(expected, cells, strict=True)) for cells in zip(*expected.values(), strict=True)
    ]
    assert monitor.flush(30)
    found = monitor.read("PT1H", at=NOON + timedelta(hours=1))
    assert {name: found[name].to_pylist() for name in KINDS} == expected
    assert found["invalid"].null_count == 20


def test_rows_of_a_table_are_stored_as_single_records_are(monitor):
    rows = columns(20, 2)
    monitor.record_batch(as_table(rows))
    assert monitor.flush(30)
    found = monitor.read("PT1H", at=NOON + timedelta(hours=1))
    assert found["invalid"].null_count == 20
    assert found["at"].to_pylist() == rows["at"]
    for name in ("emb", "sig"):
        assert found[name].to_pylist() == [values.tolist() for values in rows[name]]


def test_a_cell_that_cannot_be_read_is_invalid_and_its_row_is_kept(monitor):
    cells = record_broken(monitor)
    assert monitor.flush(30)
    stats = monitor.stats()
    assert (stats["stored"], stats["rejected"], stats["dropped"]) == (N_BROKEN, {}, {})
    stored = {row["prediction_id"]: row for row in monitor.recent(N_BROKEN)}
    for i, cell in enumerate(cells):
        (name,) = cell
        row = stored[f"b{i}"]
        assert list(row["invalid"]) == [name]
        assert row["features"][name] is None
        assert all(row["features"][other] is not None for other in KINDS if other != name)


def test_leaves_count_what_is_invalid_and_keep_no_text(monitor, reference):
    record(monitor, columns(50, 3))
    record_broken(monitor, start=100)
    assert monitor.flush(30)
    leaves = monitor.runtime.ledger.leaves("flights", "v1", 0, 2**62)
    assert sum(leaf.n for leaf in leaves) == 50 + N_BROKEN
    assert not any(word.encode() in leaf.state for leaf in leaves for word in WORDS)
    features = monitor.collector_stats()["features"]
    assert {name: (features[name]["kind"], features[name]["missing"]) for name in KINDS} == {
        name: (kind, len(BROKEN[name])) for name, kind in KINDS.items()
    }


def test_a_check_judges_every_kind(make, reference):
    monitor = make(reference=reference)
    record(monitor, columns(400, 4))
    found = monitor.check("PT1H", at=NOON + timedelta(hours=1))
    assert (found.status, found.n_predictions) == ("ok", 400)
    moved = columns(400, 6)
    moved["emb"] = [vector + 3.0 for vector in moved["emb"]]
    moved["sig"] = [values * 4.0 for values in moved["sig"]]
    record(monitor, moved, start=3_600)
    found = monitor.check("PT1H", at=NOON + timedelta(hours=2))
    assert set(found.drifted_features) == {"emb", "sig"}
    assert {v.feature for v in found.verdicts if v.status == "error"} == set()


@pytest.mark.parametrize(("quality", "status"), [(None, "error"), (False, "critical")])
def test_a_column_without_any_value_keeps_no_other_from_its_verdict(make, reference, quality, status):
    """Broken where quality is judged; else its missing values are the drift."""
    monitor = make(reference=reference, quality=quality)
    rows = columns(200, 7)
    for i in range(200):
        row = {"at": rows["at"][i], "note": rows["note"][i], "emb": rows["emb"][i], "sig": None}
        monitor.record_prediction(row, timestamp=NOON + timedelta(seconds=i))
    found = monitor.check("PT1H", at=NOON + timedelta(hours=1))
    judged = {v.feature: v.status for v in found.verdicts if v.signal == "drift"}
    # 200 times in the 168 hours of a week are too few in each for any test.
    assert {name: judged[name] for name in ("at", "note", "emb")} == {"at": "no_data", "note": "ok", "emb": "ok"}
    assert judged["sig"] == status


def test_rows_recorded_before_their_reference_are_counted_in_its_bins(make, reference):
    monitor = make(kinds=KINDS)
    record(monitor, columns(300, 8))
    monitor.flush(30)
    monitor.set_reference(reference)
    found = monitor.check("PT1H", at=NOON + timedelta(hours=1))
    assert (found.status, found.n_predictions) == ("ok", 300)


def test_one_array_is_positions_or_a_series(make):
    monitor = make()
    monitor.record_prediction(np.arange(256.0), prediction_id="row")
    monitor.record_prediction(np.arange(257.0), prediction_id="series")
    said = make("signals", kinds={"value": "series"})
    said.record_prediction([1.0, 2.0])
    by_id = {row["prediction_id"]: row["features"] for row in monitor.recent(2)}
    assert (by_id["row"]["f0"], by_id["row"]["f255"], by_id["row"].get("value")) == (0.0, 255.0, None)
    assert (by_id["series"]["value"], by_id["series"].get("f0")) == (np.arange(257.0).tolist(), None)
    assert said.recent(1)[0]["features"] == {"value": [1.0, 2.0]}


def test_one_array_is_the_series_of_the_reference(make):
    rng = np.random.default_rng(9)
    reference = Reference.from_data({"value": [rng.normal(size=30) for _ in range(200)]})
    monitor = make(reference=reference)
    for i in range(100):
        monitor.record_prediction(rng.normal(size=20 + i % 20), timestamp=NOON + timedelta(seconds=i))
    found = monitor.check("PT1H", at=NOON + timedelta(hours=1))
    assert monitor.stats()["rejected"] == {}
    # lengths of 20 to 39 where the reference has 30
    assert list(found.drifted_features) == ["value"]
