"""Every path of the contract, its parameters and its errors, over a model that only remembers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from driftwell.errors import (
    BadInput,
    MissingDependency,
    MissingReference,
    NotSupported,
    StoreError,
    UnknownName,
)
from driftwell.routes import one_model_router
from driftwell.routes.endpoints import INGEST_PATHS, ONE_MODEL_PATHS
from driftwell.routes.paths import Path
from driftwell.stores.base import LabelCounts

DESCRIBED = [one for one in ONE_MODEL_PATHS if not isinstance(one.answer, dict)]


def _send(client: TestClient, one: Path):
    body = {"prediction_id": "p1", "true_label": 1} if one.path == "/monitoring/feedback" else None
    return client.request(one.method, one.path, json=body)


@pytest.mark.parametrize("one", DESCRIBED, ids=lambda one: f"{one.method} {one.path}")
def test_answer_has_the_described_fields(client, one):
    response = _send(client, one)
    assert response.status_code == one.status
    TypeAdapter(one.answer).validate_json(response.content, strict=True)


def test_nan_is_sent_as_null(client):
    assert client.get("/api/v1/collector/stats").json()["output_statistics"]["mean"] is None


def test_parameters_reach_the_model(client, model):
    client.get("/api/v1/collector/stats?since=all")
    client.get("/api/v1/collector/recent?n=3")
    client.get("/api/v1/hourly/summary?hours=5&since=all")
    client.get("/api/v1/drift/status?window=PT1H&at=2026-01-20T18:00:00")
    client.get("/api/v1/drift/status?window=1000")
    assert model.calls == [
        ("collector_stats", "all"),
        ("recent_http", 3, None),
        ("hourly_summary", 5, "all"),
        ("drift_status", "PT1H", datetime(2026, 1, 20, 18, tzinfo=UTC), None),
        ("drift_status", 1000, None, None),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "/api/v1/collector/recent?n=0",
        "/api/v1/collector/recent?n=ten",
        "/api/v1/collector/stats?since=yesterday",
        "/api/v1/hourly/summary?hours=0",
        "/api/v1/drift/status?at=soon",
    ],
)
def test_bad_parameter_is_a_problem_naming_it(client, url):
    response = client.get(url)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    name = url.partition("?")[2].partition("=")[0]
    assert name in response.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("the window is odd"), 422),
        (UnknownName("model", "x", ["y"]), 404),
        (MissingReference("no reference"), 404),
        (NotSupported("not here"), 422),
        (MissingDependency("sklearn", "estimation"), 501),
        (StoreError("disk full"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_status(client, model, error, status):
    def fail(*args):
        raise error

    model.drift_scores = fail
    response = client.get("/metrics/drift")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == str(error)
    assert response.json()["status"] == status


def test_unreachable_store_says_when_to_retry(client, model):
    def fail():
        raise StoreError("locked")

    model.drift_scores = fail
    assert client.get("/metrics/drift").headers["retry-after"] == "1"


def _client_of(resolve) -> TestClient:
    app = FastAPI()
    app.include_router(one_model_router(resolve, guard=None))
    return TestClient(app)


def test_stats_before_any_set_up():
    answer = _client_of(lambda model, version: None).get("/api/v1/collector/stats")
    assert answer.json() == {"status": "collector_not_initialized"}


def test_other_paths_before_any_set_up_are_404():
    client = _client_of(lambda model, version: None)
    answers = [_send(client, one) for one in ONE_MODEL_PATHS if one.path != "/api/v1/collector/stats"]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert all("no model yet" in answer.json()["detail"] for answer in answers)


def test_model_and_version_choose(model):
    asked = []
    client = _client_of(lambda name, version: asked.append((name, version)) or model)
    client.get("/monitoring/status?model=flights&version=v2")
    client.get("/monitoring/status")
    assert asked == [("flights", "v2"), (None, None)]


def test_without_ingest_its_paths_are_absent(model):
    client = _client_of(lambda name, version: model)
    assert [client.post(one.path, json={}).status_code for one in INGEST_PATHS] == [404, 404, 404]


# -- feedback and retraining ---------------------------------------------------------------------------------


def test_feedback_by_query(client, model):
    answer = client.post("/monitoring/feedback?prediction_id=p1&true_label=1")
    assert answer.json() == {"status": "feedback_recorded", "matched": True}
    assert model.calls == [("record_feedback", "p1", 1, None)]


@pytest.mark.parametrize(
    ("text", "label"), [("late", "late"), ("true", True), ("0.5", 0.5), ('"1"', "1"), ("nan", "nan")]
)
def test_label_in_the_query_is_json_or_text(client, model, text, label):
    client.post("/monitoring/feedback", params={"prediction_id": "p1", "true_label": text})
    assert model.calls[0][2] == label


def test_feedback_by_json(client, model):
    body = {"prediction_id": 7, "true_label": "late", "timestamp": "2026-01-20T18:00:00Z"}
    client.post("/monitoring/feedback", json=body)
    assert model.calls == [("record_feedback", "7", "late", datetime(2026, 1, 20, 18, tzinfo=UTC))]


def test_feedback_not_yet_committed_is_pending(client, model):
    model.ticket.outcome = None
    answer = client.post("/monitoring/feedback", json={"prediction_id": "p1", "true_label": 1})
    assert answer.json() == {"status": "pending", "matched": False}
    assert model.ticket.waited == [2.0]


def test_feedback_that_could_not_be_kept_is_503(client, model):
    model.ticket.outcome = LabelCounts()
    answer = client.post("/monitoring/feedback", json={"prediction_id": "p1", "true_label": 1})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_feedback_of_an_early_label_is_not_matched(client, model):
    model.ticket.outcome = LabelCounts(early=1)
    answer = client.post("/monitoring/feedback", json={"prediction_id": "p1", "true_label": 1})
    assert answer.json() == {"status": "feedback_recorded", "matched": False}


def test_feedback_without_a_label_names_what_is_missing(client):
    answer = client.post("/monitoring/feedback?prediction_id=p1")
    assert answer.status_code == 422
    assert "prediction_id" in answer.json()["detail"]
    answer = client.post("/monitoring/feedback", json={"prediction_id": "p1"})
    assert "true_label" in answer.json()["detail"]


def test_retraining_without_a_body_is_manual(client, model):
    answer = client.post("/monitoring/trigger-retraining")
    assert answer.json() == {"status": "retraining_triggered", "id": "run-1"}
    assert model.calls == [("trigger_retraining", "manual", None)]


def test_retraining_passes_reason_and_details(client, model):
    client.post("/monitoring/trigger-retraining", json={"reason": "new data", "details": {"rows": 5}})
    assert model.calls == [("trigger_retraining", "new data", {"rows": 5})]


def test_retraining_that_did_not_start_is_409(client, model):
    model.trigger_answer = {"status": "running", "id": None, "reason": "one is running"}
    answer = client.post("/monitoring/trigger-retraining", json={})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "one is running"


# -- metrics -------------------------------------------------------------------------------------------------


def test_metrics_are_prometheus_text(client, model):
    answer = client.get("/monitoring/metrics")
    assert answer.text == model.metrics
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_switched_off(client, model):
    model.metrics = None
    answer = client.get("/monitoring/metrics")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Prometheus not available"
