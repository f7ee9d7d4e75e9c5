"""The metrics contract, read back with prometheus_client's own parser and, where there is one, promtool."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import ks_2samp

from driftwell._version import __version__
from driftwell.errors import StoreError
from driftwell.monitor.exporter import ModelSample, exposition, metrics_text
from driftwell.monitor.runtime import Runtime

CHECK = {
    "status": "warning",
    "timestamp": "2026-01-20T18:00:00Z",
    "drift_detected": True,
    "performance_degraded": False,
    "max_drift_score": 0.5,
    "coverage": 0.975,
    "duration_seconds": 0.25,
    "quality": {"status": "critical", "n_failed": 3, "broken": ["sex"], "verdicts": []},
    "drift": {
        "scores": {"age": 0.5, "fare": 0.1, "city": None, "sex": 0.3},
        "columns": {"age": {"p_adjusted": 0.001}, "fare": {"p_adjusted": 0.5}, "city": {"p_adjusted": None}},
    },
    "performance": {
        "realized": {
            "accuracy": {"value": 0.85, "low": 0.8, "high": 0.9, "n": 100},
            "f1": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 100},
            "roc_auc": {"value": None, "low": None, "high": None, "n": 0},
        }
    },
}
FULL = ModelSample(
    "flights",
    "v1",
    predictions=1000,
    feedback=400,
    monitoring=True,
    retrainings=2,
    check=CHECK,
    capture={"latency": {"buckets": [(0.01, 3), (0.1, 5), (None, 6)], "sum": 1.25}},
    alerts={"critical": 1},
    custom=(("revenue", {"region": "eu", "model": "theirs", "1st": "x"}, 12.5),),
)
CAPTURE = {
    "offered": 120,
    "stored": 100,
    "waiting": 13,
    "recovered": 5,
    "unjournaled": 1,
    "dropped": {"queue_full": 3},
    "rejected": {"duplicate": 4},
    "queue_length": 7,
    "last_success": "2026-01-20T18:00:00Z",
    "spool": {"bytes": 4096, "files": 2, "waiting": 6, "unreadable": 0},
}


def parsed(text: str) -> dict[tuple, float]:
    """``{(sample name, (label, value)…): value}``."""
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def values(name: str, text: str) -> dict[tuple, float]:
    """The samples of one name, without the labels model and version."""
    own = {("model", "flights"), ("version", "v1")}
    found = parsed(text).items()
    return {tuple(one for one in key[1:] if one not in own): value for key, value in found if key[0] == name}


@pytest.fixture(scope="module")
def text() -> str:
    return exposition([FULL], CAPTURE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", {(): 0.85}),
        ("f1_score", {(): 0.7}),
        ("precision", {}),
        ("performance_score", {
            (("kind", "realized"), ("metric", "accuracy")): 0.85,
            (("kind", "realized"), ("metric", "f1")): 0.7,
        }),
        ("drift_detected", {(): 1.0}),
        ("drift_p_value", {(): 0.001}),
        ("drift_distance", {(): 0.5}),
        ("performance_degraded", {(): 0.0}),
        ("quality_failed", {(): 3.0}),
        ("broken_columns", {(): 1.0}),
        ("monitoring_status", {(): 1.0}),
        ("retraining_triggered_total", {(): 2.0}),
        ("predictions_total", {(): 1000.0}),
        ("feedback_total", {(): 400.0}),
        ("monitor_run_duration_seconds", {(): 0.25}),
        ("monitor_last_success_timestamp_seconds", {(): 1768932000.0}),  # date -d 2026-01-20T18:00:00Z +%s
        ("alerts_firing", {
            (("severity", "critical"),): 1.0, (("severity", "info"),): 0.0, (("severity", "warning"),): 0.0
        }),
        ("feature_drift_score", {
            (("feature", "age"),): 0.5, (("feature", "sex"),): 0.3, (("feature", "fare"),): 0.1
        }),
        ("series_dropped", {(): 0.0}),
        ("prediction_latency_seconds_bucket", {
            (("le", "0.01"),): 3, (("le", "0.1"),): 5, (("le", "+Inf"),): 6
        }),
        ("prediction_latency_seconds_sum", {(): 1.25}),
        ("prediction_latency_seconds_count", {(): 6}),
        ("capture_dropped_total", {
            (("reason", "queue_full"),): 3.0, (("reason", "spool_full"),): 0.0, (("reason", "store_failed"),): 0.0
        }),
        ("capture_offered_total", {(): 120.0}),
        ("capture_stored_total", {(): 100.0}),
        ("capture_waiting", {(): 13.0}),
        ("capture_recovered_total", {(): 5.0}),
        ("capture_unjournaled_total", {(): 1.0}),
        ("capture_spool_bytes", {(): 4096.0}),
        ("capture_spool_waiting", {(): 6.0}),
        ("capture_last_success_timestamp_seconds", {(): 1768932000.0}),
        ("capture_coverage_ratio", {(): 0.975}),
        ("capture_rejected_total", {(("reason", "conflict"),): 0.0, (("reason", "duplicate"),): 4.0}),
        ("capture_queue_length", {(): 7.0}),
        ("build_info", {(("driftwell_version", __version__),): 1.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_metric_has_its_value(text, name, expected):
    assert values(f"driftwell_{name}", text) == expected


def test_the_multivariate_test_gives_p_value_and_distance_where_it_judged():
    test = {"method": "mmd", "status": "drift", "statistic": 0.0123, "p_value": 0.02}
    judged = CHECK | {"drift": CHECK["drift"] | {"multivariate": test}}
    said = exposition([replace(FULL, check=judged)], CAPTURE)
    assert values("driftwell_drift_p_value", said) == {(): 0.02}
    assert values("driftwell_drift_distance", said) == {(): 0.0123}
    failed = CHECK | {"drift": CHECK["drift"] | {"multivariate": test | {"statistic": None, "p_value": None}}}
    said = exposition([replace(FULL, check=failed)], CAPTURE)
    assert values("driftwell_drift_p_value", said) == {(): 0.001}
    assert values("driftwell_drift_distance", said) == {(): 0.5}


def test_users_labels_do_not_replace_ours(text):
    own = {("label_1st", "x"), ("label_model", "theirs"), ("name", "revenue"), ("region", "eu")}
    assert {frozenset(key): v for key, v in values("driftwell_custom_metric", text).items()} == {frozenset(own): 12.5}


def test_a_model_without_checks_exports_no_guess():
    text = exposition([ModelSample("flights", "v1", predictions=3)], {})
    assert values("driftwell_predictions_total", text) == {(): 3.0}
    for name in ("accuracy", "drift_detected", "drift_p_value", "feature_drift_score"):
        assert values(f"driftwell_{name}", text) == {}


def test_a_failed_check_is_no_success():
    text = exposition([ModelSample("flights", "v1", check=CHECK | {"status": "error"})], {})
    assert values("driftwell_monitor_last_success_timestamp_seconds", text) == {}


def test_cap_keeps_what_drifted_most_and_says_how_many_are_left_out():
    scores = {f"f{i:03}": i / 1000 for i in range(100)}
    check = CHECK | {"drift": {"scores": scores, "columns": {}}}
    text = exposition([ModelSample("flights", "v1", check=check)], {}, top_features=3)
    kept = values("driftwell_feature_drift_score", text)
    assert set(kept) == {(("feature", "f099"),), (("feature", "f098"),), (("feature", "f097"),)}
    assert values("driftwell_series_dropped", text) == {(): 97.0}


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("", "accuracy"),
        ("fraud", "fraud_accuracy"),
        ("fraud-model", "fraud_model_accuracy"),
        ("2nd", "_2nd_accuracy"),
    ],
)
def test_prefix_is_free_and_may_be_empty(prefix, name):
    assert values(name, exposition([FULL], CAPTURE, prefix=prefix)) == {(): 0.85}


def test_names_are_escaped():
    odd = 'a "b"\\c\nd'
    text = exposition([ModelSample(odd, "v1", check=CHECK)], {})
    assert parsed(text)[("driftwell_accuracy", ("model", odd), ("version", "v1"))] == 0.85


def test_every_family_has_help(text):
    families = list(text_string_to_metric_families(text))
    assert len(families) > 20
    assert [one.name for one in families if not one.documentation] == []


def test_models_share_one_family():
    text = exposition([FULL, ModelSample("b", "1", predictions=5)], {})
    assert text.count("# TYPE driftwell_predictions_total counter") == 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_scrape_reads_store_and_ledger(tmp_path):
    now = datetime(2026, 1, 20, 18, tzinfo=UTC)
    table = pa.table({"age": np.linspace(0, 100, 300)})
    runtime = Runtime.open(f"sqlite:///{tmp_path}/x.db")
    try:
        monitor = runtime.monitor("flights", "v1")
        monitor.set_reference(table)
        for i in range(200):
            moment = now - timedelta(minutes=1 + i % 30)
            monitor.record_prediction({"age": 75.0 + i % 25}, 1, prediction_id=f"p{i}", timestamp=moment)
        for i in range(150):
            monitor.record_feedback(f"p{i}", int(i % 3 > 0))
        monitor.record_metric("revenue", 2.0, timestamp=now - timedelta(hours=2))
        monitor.record_metric("revenue", 3.0, timestamp=now - timedelta(hours=1))
        monitor.check(window="PT1H", at=now)
        monitor.trigger_retraining("manual")
        text = metrics_text(runtime, lambda: [("flights", "v1")], monitoring=True, clock=now.timestamp)
    finally:
        runtime.close()
    expected = {
        "predictions_total": 200,
        "feedback_total": 150,
        "accuracy": 100 / 150,  # a prediction of 1 is right where i % 3 > 0
        "drift_detected": 1,
        "quality_failed": 0,
        "broken_columns": 0,
        "monitoring_status": 1,
        "retraining_triggered_total": 1,
        "monitor_last_success_timestamp_seconds": now.timestamp(),
    }
    found = {name: values(f"driftwell_{name}", text).get(()) for name in expected}
    assert found == pytest.approx(expected)
    exact = ks_2samp(np.linspace(0, 100, 300), 75.0 + np.arange(200) % 25).statistic
    assert exact - 0.01 <= values("driftwell_drift_distance", text)[()] <= exact + 1e-9  # binned: a lower bound
    assert list(values("driftwell_custom_metric", text).values()) == [3.0]
    assert sum(values("driftwell_alerts_firing", text).values()) > 0


def test_while_the_store_is_away_the_process_still_tells_what_waits(tmp_path, monkeypatch):
    runtime = Runtime.open(f"sqlite:///{tmp_path}/x.db", flush_seconds=60)
    runtime.monitor("flights", "v1").record_prediction({"x": 1.0})

    def away(*_: object) -> None:
        raise StoreError("away")

    with monkeypatch.context() as broken:
        broken.setattr(runtime.ledger, "get_mark", away)
        found = parsed(metrics_text(runtime, lambda: [("flights", "v1")]))
    assert (found[("driftwell_store_up",)], found[("driftwell_capture_waiting",)]) == (0.0, 1.0)
    assert not any(("model", "flights") in key for key in found)
    assert parsed(metrics_text(runtime, list))[("driftwell_store_up",)] == 1.0
    runtime.close()
