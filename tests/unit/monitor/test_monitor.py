"""What a user holds: names, options, recording, and its life from start to close."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

import driftwell as dw
from driftwell import Monitor, create_monitor
from driftwell.errors import BadInput, ConfigError, FormatError, NotSupported

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)


def is_balanced(stats: dict) -> bool:
    return stats["offered"] == stats["stored"] + stats["waiting"] + sum(stats["dropped"].values()) + sum(
        stats["rejected"].values()
    )


# -- names and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "options", "name"),
    [
        ({"name": "flights"}, {}, "flights"),
        ({"name": "flights"}, {"name": "hotels"}, "hotels"),
        ({"metrics_prefix": "airline"}, {}, "airline"),
        ({"name": "flights", "metrics_prefix": "airline"}, {}, "flights"),
        ({"metrics_prefix": ""}, {}, "default"),
        (None, {"metrics_prefix": "airline"}, "airline"),
        (None, {}, "default"),
    ],
)
def test_create_monitor_finds_its_name(url, config, options, name):
    monitor = create_monitor(config, store=url, **options)
    assert (monitor.name, monitor.version) == (name, "1")
    monitor.close()


def test_create_monitor_takes_the_words_of_the_options(url):
    monitor = create_monitor({"min_samples": 50, "version": "v2", "sample": 0.5}, store=url, drift_threshold=0.3)
    settings = monitor.settings
    assert (settings.drift_min_samples, settings.sample_rate, settings.drift_threshold) == (50, 0.5, 0.3)
    assert monitor.version == "v2"
    monitor.close()


def test_create_monitor_of_something_else_is_one_clear_error():
    with pytest.raises(BadInput, match="options as a dict"):
        create_monitor("driftwell.toml")


def test_an_unknown_option_names_the_nearest_and_leaves_no_file(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'drift_threshold'"):
        Monitor("flights", store=f"sqlite:///{tmp_path}/new.db", drift_treshold=0.3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"false_alarm_budget": 1000}, {"alarm": "budget"}])
def test_an_option_of_a_later_version_says_so(url, options):
    with pytest.raises(NotSupported, match="not available in this version"):
        Monitor("flights", store=url, **options)


@pytest.mark.parametrize("name", ["", None, 7, "a\nb", "x" * 201])
def test_a_name_that_could_not_be_shown_is_refused(url, name):
    with pytest.raises(BadInput, match="model name"):
        Monitor(name, store=url)


@pytest.mark.parametrize("version", [1, "a\tb", "x" * 201])
def test_a_version_that_could_not_be_shown_is_refused(url, version):
    with pytest.raises(BadInput, match="version"):
        Monitor("flights", version, store=url)


def test_the_store_may_be_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_STORE", f"sqlite:///{tmp_path}/named.db")
    Monitor("flights").close()
    assert (tmp_path / "named.db").exists()


def test_a_store_of_another_kind_is_one_clear_error():
    with pytest.raises(NotSupported, match="sqlite"):
        Monitor("flights", store="mysql://localhost/x")


# -- recording -----------------------------------------------------------------------------------------------------


def test_every_record_meets_one_fate(make):
    monitor = make()
    monitor.record_prediction({"x": 1.0}, 1, prediction_id="a")
    monitor.record_prediction({"x": 1.0}, 1, prediction_id="a")
    monitor.record_prediction({"x": 2.0}, 1, prediction_id="a")
    monitor.record_prediction({"x": 1.0}, 1, timestamp="noon")
    monitor.record_prediction({"x": object()}, object())
    assert monitor.flush(10)
    stats = monitor.stats()
    assert (stats["offered"], stats["stored"], stats["waiting"]) == (5, 2, 0)
    assert stats["rejected"] == {"duplicate": 1, "conflict": 1, "timestamp": 1}
    assert is_balanced(stats)


def test_ids_are_made_where_none_are_given(monitor):
    ids = [monitor.record_prediction({"x": 1.0}, 1) for _ in range(50)]
    monitor.flush()
    assert len(set(ids)) == 50
    assert {row["prediction_id"] for row in monitor.recent(99)} == set(ids)


def test_a_share_of_the_records_is_the_same_in_every_process(make):
    ids = [f"p{i}" for i in range(400)]
    kept = []
    for name in ("one", "two"):
        monitor = make(name, sample=0.25)
        for pid in ids:
            assert monitor.record_prediction({"x": 1.0}, 1, prediction_id=pid) == pid
        monitor.flush()
        kept.append({row["prediction_id"] for row in monitor.recent(999)})
    assert kept[0] == kept[1]
    assert 60 <= len(kept[0]) <= 140  # 100 expected; four standard deviations are 35


def test_feedback_tells_what_became_of_it(monitor):
    monitor.record_prediction({"x": 1.0}, 1, prediction_id="a")
    monitor.flush()
    fates = [
        monitor.record_feedback("a", 1).wait(20),
        monitor.record_feedback("a", 1).wait(20),
        monitor.record_feedback("a", 0).wait(20),
        monitor.record_feedback("later", 0).wait(20),
    ]
    assert [(f.matched, f.duplicate, f.conflicting, f.early) for f in fates] == [
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
    ]
    assert monitor.recent(1)[0]["true_label"] == 1


def test_records_of_another_version_go_there(make):
    monitor, other = make(version="v1"), make(version="v2")
    monitor.record_batch({"x": [1.0, 2.0, 3.0], "version": ["v1", "v2", "v2"]})
    monitor.flush()
    assert len(monitor.recent(9)) == 1
    assert [row["version"] for row in other.recent(9)] == ["v2", "v2"]


def test_a_label_belongs_to_every_version_that_scored_the_id(make):
    monitor, other = make(version="v1"), make(version="v2")
    for one in (monitor, other):
        one.record_prediction({"x": 1.0}, 1, prediction_id="shared")
        one.flush()
    monitor.record_feedback("shared", 0).wait(20)
    assert [one.recent(1)[0]["true_label"] for one in (monitor, other)] == [0, 0]


# -- life ----------------------------------------------------------------------------------------------------------


def test_records_after_close_are_counted_as_dropped(make):
    monitor = make()
    monitor.record_prediction({"x": 1.0}, 1)
    monitor.close()
    assert monitor.record_prediction({"x": 2.0}, 1)
    assert monitor.record_feedback("a", 1).wait(1) is not None
    stats = monitor.stats()
    assert (stats["stored"], stats["dropped"]) == (1, {"closed": 1})
    assert is_balanced(stats)
    monitor.close()


def test_a_context_checks_in_the_background_and_stores_everything(url):
    with Monitor("flights", store=url) as monitor:
        assert monitor.status()["monitoring"] is True
        assert monitor.status()["next_check"] is not None
        monitor.record_prediction({"x": 1.0}, 1)
    assert monitor.stats()["stored"] == 1
    again = Monitor("flights", store=url)
    assert again.collector_stats()["total_predictions"] == 1
    assert again.status()["monitoring"] is False
    again.close()


def test_an_async_context_does_the_same(url):
    async def run() -> Monitor:
        async with Monitor("flights", store=url) as monitor:
            assert (await asyncio.to_thread(monitor.status))["monitoring"] is True
            monitor.record_prediction({"x": 1.0}, 1)
        return monitor

    assert asyncio.run(run()).stats()["stored"] == 1


def test_an_error_inside_a_context_passes_through(url):
    with pytest.raises(ZeroDivisionError), Monitor("flights", store=url) as monitor:
        monitor.record_prediction({"x": 1 / 0}, 1)


def test_start_checks_again_and_again_over_its_own_interval(make):
    monitor = make(check_every=timedelta(milliseconds=20))
    checked = threading.Event()
    seen: list[timedelta] = []
    real = monitor.check

    def check(*args, **more):
        result = real(*args, **more)
        seen.append(result.window.end - result.window.start)
        if len(seen) == 2:
            checked.set()
        return result

    monitor.check = check
    assert monitor.start() is monitor.start()
    assert checked.wait(20)
    monitor.stop()
    assert set(seen) == {timedelta(milliseconds=20)}
    assert monitor.status()["monitoring"] is False
    monitor.stop()


def test_prometheus_text_says_whether_this_monitor_runs(make):
    monitor = make()
    assert 'driftwell_monitoring_status{model="flights",version="v1"} 0.0' in monitor.metrics_text()
    monitor.start()
    assert 'driftwell_monitoring_status{model="flights",version="v1"} 1.0' in monitor.metrics_text()
    assert make("quiet", enable_prometheus=False).metrics_text() is None


def test_a_label_without_a_model_counts_for_the_model_that_scored_its_id(make):
    monitor = make()
    other = monitor.runtime.monitor("other", "v1")
    for i in range(3):
        monitor.record_prediction({"x": 1.0}, 1, prediction_id=f"p{i}")
    monitor.flush()
    for i in range(2):
        monitor.recorder.offer_label(f"p{i}", 1)
    monitor.recorder.offer_label("nobody", 1)
    monitor.flush()
    own, all_labels = monitor.stats()["labels"], monitor.recorder.stats()["labels"]
    assert (own["offered"], own["matched"], own["waiting"]) == (2, 2, 0)
    assert monitor.status()["counts"]["capture"]["labels"]["matched"] == 2
    assert other.stats()["labels"]["matched"] == 0
    assert (all_labels["offered"], all_labels["matched"], all_labels["early"], all_labels["waiting"]) == (3, 2, 1, 0)


def test_rows_refused_over_http_are_errors_of_their_model(make):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    monitor = make()
    app = FastAPI()
    app.include_router(monitor.router(auth=None))
    client = TestClient(app)
    rows = [{"features": {"x": 1.0}}, {"features": {"x": 2.0}, "score": "high"}]
    assert client.post("/api/v1/predictions", json=rows).status_code == 202
    assert client.post("/api/v1/predictions", content=b"a", headers={"content-type": "text/csv"}).status_code == 415
    monitor.flush()
    found = monitor.stats()
    assert found["rejected"] == {"invalid_row": 1, "http_415": 1}
    assert found["offered"] == found["stored"] + found["waiting"] + 2 == 3
    assert client.get("/api/v1/collector/stats").json()["errors_count"] == 2
    lines = monitor.metrics_text().splitlines()
    (counted,) = (line for line in lines if line.startswith("driftwell_capture_rejected_total") and "http_415" in line)
    assert counted.endswith(" 1.0")


@pytest.mark.parametrize("store", [5, ["sqlite:///x.db"]])
def test_a_store_that_is_no_address_is_one_clear_error(store):
    with pytest.raises(BadInput, match="a store is named by its address"):
        Monitor("flights", store=store)


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.recent("5"),
        lambda m: m.recent(2.5),
        lambda m: m.recent_http(-1),
        lambda m: m.hourly_summary("x"),
        lambda m: m.read(limit="x"),
    ],
)
def test_what_is_no_number_of_rows_is_one_clear_error(monitor, ask):
    with pytest.raises(BadInput, match="must be a whole number and not negative"):
        ask(monitor)


def test_columns_as_one_text_are_refused(monitor):
    with pytest.raises(BadInput, match=r"such as \['x'\]"):
        monitor.read(columns="x")


class Hostile:
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


def test_objects_that_cannot_be_shown_are_one_clear_error_in_tables_and_counted_in_records(monitor):
    with pytest.raises(BadInput, match="a cell of type Hostile cannot be read"):
        dw.compare({"x": [Hostile()] * 200}, {"x": [1.0] * 200})
    monitor.record_prediction({"x": Hostile()}, 1)
    monitor.record_batch({"x": [Hostile()]})
    monitor.flush()
    found = monitor.stats()
    assert (found["offered"], found["stored"], found["rejected"]) == (2, 1, {"table": 1})
    assert monitor.recent(1)[0]["invalid"].keys() == {"x"}


def test_an_interval_that_is_no_number_is_one_clear_error():
    with pytest.raises(BadInput, match="interval must be between 0 and 1"):
        dw.performance({"l": [0, 1], "p": [0, 1]}, label="l", prediction="p", interval="x")


def test_a_check_that_a_damaged_store_prevents_is_said_once_in_one_line(make, monkeypatch, caplog):
    monitor = make()

    def damaged(*_, **__):
        raise FormatError("the store is damaged: restore a copy")

    for name in ("count", "read", "newest"):
        monkeypatch.setattr(monitor.runtime.store, name, damaged)
    for _ in range(3):
        assert monitor.check().status == "error"
    lines = [record for record in caplog.records if "damaged" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info is None
    assert "check of flights v1 failed: FormatError: the store is damaged" in lines[0].getMessage()
