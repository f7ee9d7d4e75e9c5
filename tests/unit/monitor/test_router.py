"""``monitor.router()`` inside a user's own application: every one-model path, every field of the contract."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from driftwell.errors import BadInput
from driftwell.routes.tokens import make_token

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
STATISTICS = {"mean", "std", "min", "max"}
RNG = np.random.default_rng(20_260_120)
LEARNT = {"age": RNG.normal(40, 10, 2_000), "fare": RNG.normal(10, 2, 2_000)}


def client_of(monitor, **options: Any) -> TestClient:
    app = FastAPI()
    app.include_router(monitor.router(**({"auth": None} | options)))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(make) -> TestClient:
    return client_of(make(reference=LEARNT))


def posted(client: TestClient, n: int = 300, *, age: float = 20.0) -> list[dict[str, Any]]:
    """Post ``n`` predictions of one hour, and the labels of the first two hundred."""
    rng = np.random.default_rng(9)
    rows = [
        {
            "prediction_id": f"p{i}",
            "timestamp": (START + timedelta(seconds=i)).isoformat(),
            "features": {"age": float(rng.normal(40 + age, 10)), "fare": float(rng.normal(10, 2))},
            "prediction": i % 2,
            "score": float(rng.random()),
            "metadata": {"host": "a"},
        }
        for i in range(n)
    ]
    answer = client.post("/api/v1/predictions", json=rows)
    assert (answer.status_code, answer.json()["ids"]) == (202, [row["prediction_id"] for row in rows])
    labels = [{"prediction_id": f"p{i}", "true_label": (i // 2) % 2} for i in range(min(n, 200))]
    counts = client.post("/api/v1/feedback", json=labels)
    assert counts.status_code == 202
    assert counts.json() == {
        "matched": len(labels),
        "early": 0,
        "duplicate": 0,
        "conflicting": 0,
        "pending": 0,
        "rejected": [],
    }
    return rows


def got(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- every path, every field ---------------------------------------------------------------------------------------


def test_collector_stats(client):
    rows = posted(client)
    found = got(client, "/api/v1/collector/stats")
    assert found.keys() >= {"total_predictions", "buffered_predictions", "errors_count", "features"}
    assert (found["total_predictions"], found["errors_count"]) == (300, 0)
    assert found["input_statistics"].keys() == found["output_statistics"].keys() == STATISTICS
    values = [value for row in rows for value in row["features"].values()]
    assert found["input_statistics"]["mean"] == pytest.approx(np.mean(values), rel=1e-9)
    assert found["output_statistics"]["std"] == pytest.approx(np.std([row["score"] for row in rows], ddof=1))
    assert found["time_range"] == {"first": "2026-01-20T18:00:00Z", "last": "2026-01-20T18:04:59Z"}


def test_collector_recent(client):
    rows = posted(client)
    found = got(client, "/api/v1/collector/recent?n=3")
    assert [row["prediction_id"] for row in found] == ["p299", "p298", "p297"]
    assert found[0] == {
        "prediction_id": "p299",
        "timestamp": "2026-01-20T18:04:59Z",
        "input": rows[299]["features"],
        "output": 1,
        "metadata": {"host": "a"},
    }
    assert len(got(client, "/api/v1/collector/recent")) == 10


def test_collector_save(client, tmp_path):
    posted(client, 5)
    answer = client.post("/api/v1/collector/save")
    assert (answer.status_code, answer.json()["status"]) == (200, "saved")
    path = answer.json()["filepath"]
    assert os.path.dirname(path) == str(tmp_path / "saved")
    with open(path) as file:
        document = json.load(file)
    assert document.keys() == {"model", "version", "saved_at", "predictions"}
    assert len(document["predictions"]) == 5


def test_collector_clear(client):
    posted(client, 5)
    assert client.delete("/api/v1/collector/clear").json() == {"status": "cleared", "cleared": 5}
    assert got(client, "/api/v1/collector/stats")["total_predictions"] == 0
    assert got(client, "/api/v1/collector/recent") == []
    assert got(client, "/api/v1/hourly/summary") == {}
    assert got(client, "/api/v1/drift/status")["status"] == "insufficient_data"
    assert got(client, "/api/v1/collector/stats?since=all")["total_predictions"] == 5
    assert len(got(client, "/api/v1/collector/recent?since=all")) == 5
    assert got(client, "/api/v1/hourly/summary?since=all")["2026-01-20T18:00:00"]["count"] == 5


def test_drift_status(client):
    posted(client)
    found = got(client, "/api/v1/drift/status")
    assert found.keys() >= {
        *("status", "drift_detected", "psi", "psi_feature", "ks_statistic", "ks_p_value", "ks_feature", "mmd"),
        *("mmd_p_value", "interpretation", "recommendation", "severity", "alarm", "features"),
    }
    assert (found["status"], found["drift_detected"], found["psi_feature"]) == ("analyzed", True, "age")
    assert "CRITICAL DRIFT" in found["interpretation"]
    assert found["recommendation"] == "TRIGGER RETRAINING"
    asked = got(client, "/api/v1/drift/status?window=PT1H&at=2026-01-20T18:02:00Z")
    assert asked["sample_count"] == 120
    assert got(client, "/api/v1/drift/status?window=150")["sample_count"] == 150


def test_drift_performance(client):
    posted(client)
    found = got(client, "/api/v1/drift/performance")
    assert found.keys() >= {"total_predictions", "output_statistics", "realized", "estimated", "labels"}
    assert found["realized"]["accuracy"].keys() >= {"value", "low", "high", "n"}
    assert (found["realized"]["accuracy"]["value"], found["realized"]["accuracy"]["n"]) == (0.5, 200)
    assert found["labels"] == {"matched": 200, "coverage": pytest.approx(2 / 3)}
    assert (found["estimated"], "reason" in found) == (None, True)


def test_hourly_summary(client):
    rows = posted(client)
    found = got(client, "/api/v1/hourly/summary")
    values = [value for row in rows for value in row["features"].values()]
    assert found == {
        "2026-01-20T18:00:00": {
            "count": 300,
            "input_mean": pytest.approx(np.mean(values), rel=1e-9),
            "output_mean": pytest.approx(np.mean([row["score"] for row in rows]), rel=1e-9),
        }
    }


def test_metrics_drift(client, make):
    posted(client)
    assert got(client, "/metrics/drift").keys() >= {"feature_scores", "last_check", "drift_detected"}
    make().check("PT1H", at=START + timedelta(hours=1))
    found = got(client, "/metrics/drift")
    assert (found["last_check"], found["drift_detected"]) == ("2026-01-20T19:00:00Z", True)
    assert 0.5 < found["feature_scores"]["age"] <= 1


def test_monitoring_status(client):
    posted(client)
    found = got(client, "/monitoring/status")
    assert found.keys() >= {
        *("status", "model", "version", "monitoring", "reference_id", "last_check", "next_check", "drift"),
        *("performance", "quality", "counts", "retraining"),
    }
    assert found["retraining"].keys() == {"last", "running", "cooldown_until"}
    assert (found["model"], found["version"], found["counts"]["predictions"]) == ("flights", "v1", 300)


def test_monitoring_feedback(client):
    posted(client, 5)
    client.post("/api/v1/predictions", json={"prediction_id": "x", "features": {"age": 1.0}, "prediction": 1})
    asked = client.post("/monitoring/feedback?prediction_id=x&true_label=1").json()
    assert asked == {"status": "feedback_recorded", "matched": True}
    early = client.post("/monitoring/feedback", json={"prediction_id": "y", "true_label": 1}).json()
    assert early == {"status": "feedback_recorded", "matched": False}


def test_monitoring_metrics(client):
    posted(client)
    answer = client.get("/monitoring/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {s.name: s for family in text_string_to_metric_families(answer.text) for s in family.samples}
    assert samples["driftwell_predictions_total"].value == 300
    assert samples["driftwell_predictions_total"].labels == {"model": "flights", "version": "v1"}


def test_monitoring_metrics_when_switched_off(make):
    answer = client_of(make(enable_prometheus=False)).get("/monitoring/metrics")
    assert (answer.status_code, answer.json()["error"]) == (404, "Prometheus not available")


def test_trigger_retraining(client):
    answer = client.post("/monitoring/trigger-retraining", json={"reason": "new data", "details": {"rows": 7}})
    assert (answer.status_code, answer.json()["status"]) == (200, "retraining_triggered")
    last = got(client, "/monitoring/status")["retraining"]["last"]
    assert (last["id"], last["reason"], last["details"]["rows"]) == (answer.json()["id"], "new data", 7)
    assert client.post("/monitoring/trigger-retraining").json()["status"] == "retraining_triggered"


READS = (
    *("/api/v1/collector/stats", "/api/v1/collector/recent", "/api/v1/drift/status", "/api/v1/drift/performance"),
    *("/api/v1/hourly/summary", "/metrics/drift", "/monitoring/status", "/monitoring/metrics"),
)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("learnt", [False, True])
def test_nothing_recorded_yet_is_answered_too(make, path, learnt):
    assert client_of(make(reference=LEARNT if learnt else None)).get(path).status_code == 200


# -- which model, which version ------------------------------------------------------------------------------------


def test_its_own_model_and_version_may_be_named(client):
    posted(client, 5)
    assert got(client, "/api/v1/collector/stats?model=flights&version=v1")["total_predictions"] == 5


def test_another_model_is_not_here(client):
    answer = client.get("/api/v1/collector/stats?model=flight")
    assert answer.status_code == 404
    assert "did you mean 'flights'" in answer.json()["detail"]


def test_records_of_another_version_are_answered_for_by_its_name(client):
    posted(client, 5)
    client.post("/api/v1/predictions", json={"version": "v2", "features": {"age": 1.0}, "prediction": 1})
    assert got(client, "/api/v1/collector/stats")["total_predictions"] == 5
    assert got(client, "/api/v1/collector/stats?version=v2")["total_predictions"] == 1
    assert got(client, "/monitoring/status?version=v2")["version"] == "v2"
    assert client.get("/monitoring/status?version=v3").status_code == 404


def test_records_of_another_model_are_rejected(client):
    answer = client.post("/api/v1/predictions", json={"model": "hotels", "features": {"age": 1.0}, "prediction": 1})
    assert answer.status_code == 422
    assert "hotels" in answer.json()["detail"]


# -- bad questions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        "window=an+hour",
        "window=0",
        "window=-PT1H",
        "at=noon",
        "window=PT1H&at=10000-01-01T00:00:00Z",
        "since=yesterday",
    ],
)
def test_a_bad_window_or_time_is_a_422(client, question):
    assert client.get(f"/api/v1/drift/status?{question}").status_code == 422


@pytest.mark.parametrize(
    "question",
    [
        "window=P999999999D",
        "window=9999999999999999999999",
        "at=0001-01-01T00:00:00Z",
        "at=9999-12-31T23:59:59Z",
        "at=2026-01-20T18:00:00",
    ],
)
def test_an_extreme_window_or_time_is_answered(client, question):
    posted(client, 5)
    assert got(client, f"/api/v1/drift/status?{question}")["status"] == "insufficient_data"


# -- who may ask ---------------------------------------------------------------------------------------------------


def test_tokens_of_its_store_open_it_by_scope(make):
    monitor = make()
    client = client_of(monitor, auth="token")
    assert client.get("/monitoring/status").status_code == 401
    reader, _ = make_token(monitor.runtime.ledger, ["read"])
    headers = {"Authorization": f"Bearer {reader}"}
    assert client.get("/monitoring/status", headers=headers).status_code == 200
    refused = client.post("/api/v1/predictions", headers=headers, json={"features": {}, "prediction": 1})
    assert refused.status_code == 403


def test_an_open_router_is_an_explicit_choice_said_once(make, caplog):
    client = client_of(make(), auth=None)
    for _ in range(3):
        assert client.get("/monitoring/status").status_code == 200
    assert [r.getMessage() for r in caplog.records if "open" in r.getMessage()] == [
        "the monitoring paths of flights are open: whoever reaches the application can use them"
    ]


def test_tokens_are_asked_for_unless_told_otherwise(make):
    app = FastAPI()
    app.include_router(make().router())
    assert TestClient(app).get("/monitoring/status").status_code == 401


def test_another_kind_of_auth_is_refused(make):
    with pytest.raises(BadInput, match="'token' or None"):
        make().router(auth="basic")


def test_dependencies_of_the_user_come_first(make):
    def closed() -> None:
        raise HTTPException(418, "closed on Sundays")

    answer = client_of(make(), dependencies=[Depends(closed)]).get("/monitoring/status")
    assert answer.status_code == 418
