"""The HTTP contract row by row against a real `driftwell serve`: every path, field, status and metric promised."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

import driftwell as dw
from driftwell.routes.scopes import SCOPES
from driftwell.routes.tokens import make_token
from driftwell.stores import open_store

RNG = np.random.default_rng(2013)
NOW = datetime.now(UTC)
PROBLEM = "application/problem+json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
STATISTICS = {"mean", "std", "min", "max"}
VISIBLE_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """A running service, its folder, and a client that may do everything."""

    url: str
    folder: Path
    store: str
    client: httpx2.Client

    def as_(self, *scopes: str) -> httpx2.Client:
        """A client whose token has only these scopes."""
        return httpx2.Client(base_url=self.url, headers=bearer(self.store, *scopes), timeout=30)


def bearer(store: str, *scopes: str) -> dict[str, str]:
    ledger = open_store(store)
    try:
        return {"Authorization": f"Bearer {make_token(ledger, scopes or ('admin',))[0]}"}
    finally:
        ledger.close()


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Service]:
    """`driftwell serve` with these settings in its environment."""
    store = f"sqlite:///{folder}/driftwell.db"
    words = [sys.executable, "-m", "driftwell", "serve", "--port", "0", "--store", store]
    own = {f"DRIFTWELL_{name.upper()}": value for name, value in settings.items()}
    with (folder / "serve.log").open("w") as errors:
        process = subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **own},
        )  # fmt: skip
        try:
            said = process.stdout.readline()
            assert " on http" in said, f"{said}{(folder / 'serve.log').read_text()}"
            url = said.partition(" on ")[2].split()[0]
            with httpx2.Client(base_url=url, headers=bearer(store), timeout=30) as client:
                yield Service(url, folder, store, client)
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()
    assert "Traceback" not in (folder / "serve.log").read_text()


def table(n: int, shift: float = 0.0) -> pa.Table:
    return pa.table({"age": RNG.normal(40 + shift, 10, n), "city": RNG.choice(["Rome", "Oslo"], n).tolist()})


def rows(n: int, model: str, *, shift: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    """Predictions of the last minutes, each with every field that the contract names."""
    return [
        {
            "model": model,
            "version": "v1",
            "prediction_id": f"{model}-{i}",
            "timestamp": (NOW - timedelta(seconds=i)).isoformat(),
            "features": features,
            "prediction": int(features["age"] > 45),
            "score": float(np.clip(features["age"] / 100, 0, 1)),
            "segment": "north" if features["city"] == "Oslo" else "south",
            "entity_id": f"user-{i % 7}",
            "latency_seconds": 0.02,
            "metadata": {"endpoint": "/predict"},
            **more,
        }
        for i, features in enumerate(table(n, shift).to_pylist())
    ]


def post(client: httpx2.Client, records: Any, **query: str) -> dict[str, Any]:
    answer = client.post("/api/v1/predictions", json=records, params=query)
    assert answer.status_code == 202, answer.text
    return answer.json()


def put(client: httpx2.Client, model: str, body: bytes, kind: str, **query: str) -> dict[str, Any]:
    answer = client.put(f"/api/v1/models/{model}/reference", content=body, headers={"content-type": kind}, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def parquet(rows_: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows_, sink)
    return sink.getvalue()


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def samples(text: str) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """Samples by their full name."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, []).append((one.labels, one.value))
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One model with a reference, drifted rows, labels, a metric of the user's own and a recorded check; one beside."""
    with serving(tmp_path_factory.mktemp("contract")) as one:
        client = one.client
        reference = dw.Reference.from_data(table(2000), performance={"accuracy": 0.9})
        put(client, "full", reference.to_json(), "application/json", version="v1")
        post(client, rows(400, "full", shift=25))
        labels = [{"prediction_id": f"full-{i}", "true_label": i % 2} for i in range(200)]
        assert client.post("/api/v1/feedback", json=labels).json()["matched"] == 200
        assert client.post("/api/v1/checks", json={"model": "full", "window": "PT1H"}).status_code == 200
        assert client.post("/monitoring/trigger-retraining?model=full").status_code == 200
        monitor = dw.Monitor("full", version="v1", store=one.store)
        monitor.record_metric("revenue", 1250.0, timestamp=NOW, region="north")
        monitor.close()
        post(client, rows(5, "beside"))
        yield one


# -- fields ------------------------------------------------------------------------------------------------

FIELDS: dict[str, set[str]] = {
    "/api/v1/collector/stats": {
        *("total_predictions", "buffered_predictions", "errors_count", "input_statistics"),
        *("output_statistics", "time_range", "features"),
    },
    "/api/v1/drift/status": {
        *("status", "drift_detected", "psi", "psi_feature", "ks_statistic", "ks_p_value", "ks_feature", "mmd"),
        *("mmd_p_value", "interpretation", "recommendation", "severity", "alarm", "features"),
    },
    "/api/v1/drift/performance": {"total_predictions", "output_statistics", "realized", "estimated", "labels"},
    "/metrics/drift": {"feature_scores", "last_check", "drift_detected"},
    "/monitoring/status": {
        *("status", "model", "version", "monitoring", "reference_id", "last_check", "next_check", "drift"),
        *("performance", "quality", "counts", "retraining"),
    },
}


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("model", ["full", "beside"])
def test_every_field_is_there(service, path, model):
    answer = service.client.get(path, params={"model": model})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert FIELDS[path] - set(answer.json()) == set()


def test_what_a_check_says_is_filled_in(service):
    found = service.client.get("/api/v1/drift/status?model=full").json()
    assert (found["status"], found["drift_detected"], found["severity"]) == ("analyzed", True, "high")
    assert (found["psi_feature"], found["ks_feature"]) == ("age", "age")
    assert found["psi"] > 0.25
    assert 0 < found["ks_statistic"] < 1
    assert found["ks_p_value"] < 0.001
    assert "CRITICAL DRIFT" in found["interpretation"]
    assert found["recommendation"] == "TRIGGER RETRAINING"
    assert set(found["alarm"]) >= {"fired", "active", "evidence", "bar"}
    assert set(found["features"]) == {"age", "city"}


def test_numbers_are_those_of_the_rows(service):
    """Counts and means by hand from the rows that were sent."""
    sent = rows(50, "counted")
    post(service.client, sent)
    ages, scores = ([float(f(row)) for row in sent] for f in (lambda r: r["features"]["age"], lambda r: r["score"]))
    found = service.client.get("/api/v1/collector/stats?model=counted").json()
    assert found["total_predictions"] == 50
    assert found["input_statistics"] == pytest.approx(expected(ages))
    assert found["output_statistics"] == pytest.approx(expected(scores))
    assert found["time_range"]["last"].startswith(f"{NOW:%Y-%m-%dT%H:%M:%S}")
    assert found["time_range"]["last"].endswith("Z")
    hours = service.client.get("/api/v1/hourly/summary?model=counted").json()
    assert sum(hour["count"] for hour in hours.values()) == 50
    assert all(set(hour) == {"count", "input_mean", "output_mean"} for hour in hours.values())
    recent = service.client.get("/api/v1/collector/recent?model=counted&n=10").json()
    assert [row["prediction_id"] for row in recent] == [f"counted-{i}" for i in range(10)]
    assert recent[0]["input"] == sent[0]["features"]
    assert recent[0]["output"] == sent[0]["prediction"]
    assert recent[0]["metadata"]["endpoint"] == "/predict"


def expected(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)),
        "min": min(values),
        "max": max(values),
    }


def test_performance_has_values_with_intervals(service):
    found = service.client.get("/api/v1/drift/performance?model=full").json()
    assert found["total_predictions"] == 400
    assert found["labels"] == {"matched": 200, "coverage": 0.5}
    assert set(found["output_statistics"]) == STATISTICS
    for metric in ("accuracy", "precision", "recall", "f1"):
        one = found["realized"][metric]
        assert one["low"] <= one["value"] <= one["high"]
        assert one["n"] == 200
    assert found["estimated"] is None
    assert found["reason"]


def test_status_tells_what_runs_and_what_was_asked_for(service):
    found = service.client.get("/monitoring/status?model=full").json()
    assert (found["status"], found["model"], found["version"]) == ("critical", "full", "v1")
    assert found["monitoring"] is True
    assert found["next_check"].endswith("Z")
    assert found["counts"]["predictions"] == 400
    assert set(found["retraining"]) == {"last", "running", "cooldown_until"}
    assert found["retraining"]["last"]["reason"].startswith("manual")


def test_scores_lie_between_zero_and_one(service):
    found = service.client.get("/metrics/drift?model=full").json()
    assert found["drift_detected"] is True
    assert found["feature_scores"].keys() == {"age", "city"}
    assert all(0 <= score <= 1 for score in found["feature_scores"].values())
    assert found["feature_scores"]["age"] > 0.5
    assert datetime.fromisoformat(found["last_check"]).tzinfo is not None


def test_given_one_of_score_and_probability_the_other_follows(service):
    post(service.client, [{"model": "chances", "probability": 0.2}, {"model": "chances", "probability": 0.4}])
    found = service.client.get("/api/v1/drift/performance?model=chances").json()
    assert found["output_statistics"]["mean"] == pytest.approx(0.3)


# -- windows and marks -------------------------------------------------------------------------------------


def test_window_and_time_choose_the_rows(service):
    def counted(**query: Any) -> int:
        answer = service.client.get("/api/v1/drift/status", params={"model": "full", **query})
        assert answer.status_code == 200, answer.text
        return answer.json()["sample_count"]

    assert counted(window="PT1H", at=(NOW + timedelta(seconds=1)).isoformat()) == 400
    assert counted(window="PT1M", at=NOW.isoformat()) == 60  # the first second in, the last one not
    assert counted(window="150") == 150
    naive = (NOW - timedelta(seconds=100)).replace(tzinfo=None).isoformat()
    assert counted(window="PT10S", at=naive) == 10


def test_hours_are_the_newest_that_have_data(service):
    times = [NOW - timedelta(hours=hours) for hours in (1, 2, 300)]
    post(service.client, [{"model": "hours", "timestamp": t.isoformat(), "features": {"x": 1}} for t in times])
    newest = service.client.get("/api/v1/hourly/summary?model=hours&hours=2").json()
    assert list(newest) == [f"{t:%Y-%m-%dT%H}:00:00" for t in reversed(times[:2])]
    assert len(service.client.get("/api/v1/hourly/summary?model=hours").json()) == 3


def test_clear_hides_and_all_shows(service):
    client, where = service.client, {"model": "marked"}
    put(client, "marked", parquet(table(500)), "application/vnd.apache.parquet", version="v1")
    post(client, rows(150, "marked"))
    assert client.get("/api/v1/drift/status", params=where).json()["status"] == "analyzed"
    assert client.delete("/api/v1/collector/clear", params=where).json() == {"status": "cleared", "cleared": 150}
    assert client.get("/api/v1/collector/stats", params=where).json()["total_predictions"] == 0
    assert client.get("/api/v1/collector/recent", params=where).json() == []
    assert client.get("/api/v1/hourly/summary", params=where).json() == {}
    assert client.get("/api/v1/drift/status", params=where).json()["status"] == "insufficient_data"
    every = where | {"since": "all"}
    assert client.get("/api/v1/collector/stats", params=every).json()["total_predictions"] == 150
    assert len(client.get("/api/v1/collector/recent", params=every).json()) == 10
    assert sum(h["count"] for h in client.get("/api/v1/hourly/summary", params=every).json().values()) == 150
    assert client.get("/api/v1/drift/status", params=every).json()["status"] == "analyzed"


def test_what_is_posted_is_seen_everywhere_within_two_seconds(service):
    client, where = service.client, {"model": "seen"}
    put(client, "seen", parquet(table(500)), "application/vnd.apache.parquet", version="v1")
    started = time.monotonic()
    post(client, rows(120, "seen"))
    assert client.get("/api/v1/collector/stats", params=where).json()["total_predictions"] == 120
    assert len(client.get("/api/v1/collector/recent", params=where | {"n": 200}).json()) == 120
    assert client.get("/api/v1/drift/status", params=where).json()["sample_count"] == 120
    assert client.get("/api/v1/drift/performance", params=where).json()["total_predictions"] == 120
    assert sum(h["count"] for h in client.get("/api/v1/hourly/summary", params=where).json().values()) == 120
    assert client.get("/monitoring/status", params=where).json()["counts"]["predictions"] == 120
    assert time.monotonic() - started < VISIBLE_SECONDS
    text = client.get("/metrics").text
    assert ({"model": "seen", "version": "v1"}, 120) in samples(text)["driftwell_predictions_total"]


# -- the reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "make"),
    [
        ("by-json", "application/json", lambda: dw.Reference.from_data(table(600)).to_json()),
        ("by-parquet", "application/vnd.apache.parquet", lambda: parquet(table(600))),
        ("by-npy", "application/x-npy", lambda: npy(RNG.normal(40, 10, (600, 2)))),
        ("by-bytes", "application/octet-stream", lambda: npy(RNG.normal(40, 10, (600, 2)))),
    ],
)
def test_reference_of_each_kind_then_drift_status(service, name, kind, make):
    stored = put(service.client, name, make(), kind, version="v7")
    assert (stored["status"], stored["version"], stored["n_rows"]) == ("reference_stored", "v7", 600)
    calm = service.client.get("/api/v1/drift/status", params={"model": name}).json()
    assert calm["status"] == "insufficient_data"
    moved: list[Any] = [[float(x), float(y)] for x, y in RNG.normal(80, 10, (150, 2))]
    if stored["features"] == ["age", "city"]:
        moved = [{"age": row[0], "city": "Rome"} for row in moved]
    post(service.client, [{"model": name, "features": features} for features in moved])
    found = service.client.get("/api/v1/drift/status", params={"model": name}).json()
    assert (found["status"], found["drift_detected"]) == ("analyzed", True)
    assert service.client.get("/monitoring/status", params={"model": name}).json()["version"] == "v7"


def test_without_a_reference_that_is_said(service):
    found = service.client.get("/api/v1/drift/status?model=beside").json()
    assert (found["status"], found["drift_detected"], found["recommendation"]) == ("no_reference", None, None)
    assert found["reason"]


# -- labels ------------------------------------------------------------------------------------------------


def test_feedback_counts_each_fate(service):
    post(service.client, rows(4, "fates"))

    def sent(*labels: Any, **query: str) -> dict[str, Any]:
        body = [{"prediction_id": name, "true_label": value} for name, value in labels]
        answer = service.client.post("/api/v1/feedback", json=body, params=query)
        assert answer.status_code == 202, answer.text
        return answer.json()

    assert sent(("fates-0", 1), ("fates-1", 0))["matched"] == 2
    again = sent(("fates-0", 1), ("fates-1", 1), ("unknown", 1))
    assert [again[name] for name in ("matched", "early", "duplicate", "conflicting")] == [0, 1, 1, 1]
    assert again["pending"] == 0


def test_monitoring_feedback_takes_query_and_json(service):
    post(service.client, rows(2, "one-label"))
    where = {"model": "one-label"}
    by_query = service.client.post(
        "/monitoring/feedback", params=where | {"prediction_id": "one-label-0", "true_label": "1"}
    )
    by_json = service.client.post(
        "/monitoring/feedback", params=where, json={"prediction_id": "one-label-1", "true_label": 0}
    )
    assert by_query.json() == by_json.json() == {"status": "feedback_recorded", "matched": True}
    assert service.client.get("/api/v1/drift/performance", params=where).json()["labels"]["matched"] == 2


def test_label_belongs_to_every_version_that_scored_the_id(service):
    both = [{"model": "shadow", "version": v, "prediction_id": "s", "prediction": 1} for v in ("v1", "v2")]
    post(service.client, both)
    assert service.client.post("/api/v1/feedback", json={"prediction_id": "s", "true_label": 1}).status_code == 202
    for version in ("v1", "v2"):
        where = {"model": "shadow", "version": version}
        assert service.client.get("/api/v1/drift/performance", params=where).json()["labels"]["matched"] == 1


# -- files, retraining -------------------------------------------------------------------------------------


def test_save_writes_the_documented_file(service):
    saved = service.client.post("/api/v1/collector/save?model=full").json()
    assert saved["status"] == "saved"
    assert saved["filepath"].startswith("data/production/predictions_")
    document = json.loads((service.folder / saved["filepath"]).read_text())
    assert (document["model"], document["version"]) == ("full", "v1")
    assert document["saved_at"].endswith("Z")
    assert len(document["predictions"]) == 400


def test_check_drift_compares_what_is_sent(service):
    sent = {"baseline_file": ("b.npy", npy(RNG.normal(0, 1, (500, 2)))),
            "data_file": ("d.npy", npy(RNG.normal(3, 1, (500, 2))))}  # fmt: skip
    answer = service.client.post("/api/v1/monitoring/check-drift", files=sent)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["drift_detected"], answer.json()["severity"]) == (True, "high")
    assert answer.json()["report"]["summary"]["n_current"] == 500


def test_check_drift_reads_a_folder_named_in_the_form(service):
    folder = service.folder / "data" / "week"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(300, 25), folder / "part.parquet")
    form = {"model": "full", "data_dir": "week"}
    answer = service.client.post("/api/v1/monitoring/check-drift", data=form, files={"none": b""})
    assert answer.status_code == 200, answer.text
    assert answer.json()["drift_detected"] is True


def test_retraining_is_triggered_with_reason_and_details(service):
    answer = service.client.post(
        "/monitoring/trigger-retraining?model=full", json={"reason": "new data", "details": {"asked_by": "ops"}}
    )
    assert answer.status_code == 200
    assert answer.json()["status"] == "retraining_triggered"
    assert answer.json()["id"]
    last = service.client.get("/monitoring/status?model=full").json()["retraining"]["last"]
    assert last["reason"].startswith("new data")


# -- refusals ----------------------------------------------------------------------------------------------


def addressed(path: str) -> str:
    return path.replace("{model}", "full")


@pytest.mark.parametrize(("verb", "path"), sorted(SCOPES))
def test_every_path_asks_for_its_scope(service, verb, path):
    bare = httpx2.request(verb, service.url + addressed(path))
    assert bare.status_code == 401
    assert bare.headers["content-type"] == PROBLEM
    assert bare.headers["www-authenticate"].startswith("Bearer")
    other = "read" if SCOPES[verb, path] != "read" else "ingest"
    with service.as_(other) as client:
        refused = client.request(verb, addressed(path))
    assert refused.status_code == 403
    assert refused.json()["missing_scope"] == SCOPES[verb, path]


def test_probes_need_no_token_and_metrics_do_unless_public(service, tmp_path):
    assert [httpx2.get(service.url + path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [
        200, 200, 401
    ]  # fmt: skip
    with serving(tmp_path, metrics_public="true") as open_:
        assert httpx2.get(f"{open_.url}/metrics").status_code == 200


JSON = {"content-type": "application/json"}
REFUSED: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/monitoring/status?model=nobody", {}, 404),
    ("GET", "/monitoring/status?model=full&version=v99", {}, 404),
    ("POST", "/monitoring/trigger-retraining?model=nobody", {}, 404),
    ("GET", "/api/v1/nothing", {}, 404),
    ("POST", "/api/v1/predictions", {"content": b" " * (16 * 2**20 + 1), "headers": JSON}, 413),
    ("POST", "/api/v1/feedback", {"content": b" " * (16 * 2**20 + 1), "headers": JSON}, 413),
    ("POST", "/api/v1/predictions", {"content": b"x", "headers": {"content-type": "text/csv"}}, 415),
    ("POST", "/api/v1/predictions", {"content": b"x", "headers": {"content-type": "application/vnd.apache.arrow.stream"}}, 422),  # noqa: E501
    ("POST", "/api/v1/predictions", {"json": {"specversion": "1.0"}, "headers": {"content-type": "application/cloudevents+json"}}, 422),  # noqa: E501
    ("POST", "/api/v1/feedback", {"content": b"x"}, 415),
    ("PUT", "/api/v1/models/full/reference", {"content": b"x", "headers": {"content-type": "text/csv"}}, 415),
    ("POST", "/api/v1/monitoring/check-drift", {"json": {}}, 415),
    ("POST", "/monitoring/trigger-retraining?model=full", {"content": b"x", "headers": {"content-type": "text/plain"}}, 415),  # noqa: E501
    ("POST", "/api/v1/predictions", {"content": b"{", "headers": JSON}, 422),
    ("POST", "/api/v1/predictions", {"json": {"model": "full", "probability": 1.5}}, 422),
    ("POST", "/api/v1/predictions", {"json": {"features": {}}}, 422),
    ("POST", "/api/v1/feedback", {"json": {"prediction_id": "full-1"}}, 422),
    ("POST", "/monitoring/feedback?model=full", {}, 422),
    ("GET", "/api/v1/drift/status?model=full&window=soon", {}, 422),
    ("GET", "/api/v1/drift/status?model=full&window=0", {}, 422),
    ("GET", "/api/v1/drift/status?model=full&at=tomorrow", {}, 422),
    ("GET", "/api/v1/collector/stats?model=full&since=yesterday", {}, 422),
    ("GET", "/api/v1/collector/recent?model=full&n=0", {}, 422),
    ("GET", "/api/v1/hourly/summary?model=full&hours=0", {}, 422),
    ("PUT", "/api/v1/models/full/reference", {"content": b"{}", "headers": JSON}, 422),
    ("POST", "/api/v1/checks", {"json": {"model": "full", "window": "PT1H", "when": 1}}, 422),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "path", "sent", "status"), REFUSED, ids=lambda v: str(v)[:60])
def test_refusal_is_a_problem_with_its_status(service, verb, path, sent, status):
    answer = service.client.request(verb, path, **sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


NAMED_OTHERWISE = {
    *("/api/v1/feedback", "/api/v1/models/{model}/reference", "/api/v1/monitoring/check-drift"),
    *("/metrics", "/openapi.json"),
}
"""An id, the path or a baseline stands for the model, or all models are meant."""


@pytest.mark.parametrize(("verb", "path"), sorted(one for one in SCOPES if one[1] not in NAMED_OTHERWISE))
def test_of_several_models_one_must_be_named(service, verb, path):
    label = {"prediction_id": "x", "true_label": 1}
    body = {"json": label if path.endswith(("feedback", "predictions")) else {}} if verb == "POST" else {}
    if path.endswith("cloudevents"):
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"features": {}}}
        body = {"json": event, "headers": {"content-type": "application/cloudevents+json"}}
    answer = service.client.request(verb, path, **body)
    assert answer.status_code == 422, answer.text
    assert "full" in answer.text
    assert "beside" in answer.text


def test_id_of_several_models_is_a_conflict_that_names_them(service):
    post(service.client, [{"model": name, "prediction_id": "common"} for name in ("left", "right")])
    answer = service.client.post("/api/v1/feedback", json={"prediction_id": "common", "true_label": 1})
    assert answer.status_code == 409
    assert answer.json()["ambiguous"] == {"common": ["left", "right"]}
    named = {"prediction_id": "common", "true_label": 1, "model": "left"}
    assert service.client.post("/api/v1/feedback", json=named).json()["matched"] == 1


@pytest.mark.parametrize(
    ("bounds", "many"),
    [({"durability": "queued", "queue_records": "10"}, 11), ({"queue_records": "10", "spool_bytes": "20KiB"}, 200)],
    ids=["queue", "spool"],
)
def test_full_queue_is_429_and_nothing_of_it_was_taken(tmp_path, bounds, many):
    """The service journals unless told otherwise: then the disk is what is full, and a small queue bounds nothing."""
    with serving(tmp_path, **bounds) as small:
        answer = small.client.post("/api/v1/predictions", json=rows(many, "big"))
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        post(small.client, rows(10, "big"))
        assert small.client.get("/api/v1/collector/stats").json()["total_predictions"] == 10


# -- metrics -----------------------------------------------------------------------------------------------

OF_A_MODEL = [
    *("precision", "recall", "accuracy", "f1_score", "drift_detected", "drift_p_value", "drift_distance"),
    *("feature_drift_score", "monitoring_status", "performance_degraded", "retraining_triggered_total"),
    *("predictions_total", "feedback_total", "prediction_latency_seconds_bucket", "prediction_latency_seconds_sum"),
    *("prediction_latency_seconds_count", "custom_metric", "monitor_run_duration_seconds"),
    *("monitor_last_success_timestamp_seconds", "alerts_firing"),
]
OF_THE_PROCESS = ["capture_dropped_total", "capture_rejected_total", "capture_queue_length", "build_info"]


@pytest.mark.parametrize("path", ["/metrics", "/monitoring/metrics?model=full"])
def test_every_metric_of_the_contract_is_exported(service, path):
    answer = service.client.get(path)
    assert answer.headers["content-type"] == TEXT
    found = samples(answer.text)
    for name in OF_A_MODEL:
        own = [labels for labels, _ in found.get(f"driftwell_{name}", []) if labels["model"] == "full"]
        assert own, name
        assert all(labels["version"] == "v1" for labels in own if name != "custom_metric")
    assert [name for name in OF_THE_PROCESS if f"driftwell_{name}" not in found] == []


def test_metrics_have_the_values_of_the_answers(service):
    found = samples(service.client.get("/metrics").text)

    def value(name: str, /, **labels: str) -> float:
        (one,) = [
            v for own, v in found[f"driftwell_{name}"] if labels.items() <= own.items() and own["model"] == "full"
        ]
        return one

    scores = service.client.get("/metrics/drift?model=full").json()["feature_scores"]
    assert value("feature_drift_score", feature="age") == scores["age"]
    assert value("drift_distance") == max(scores.values())
    assert value("drift_detected") == 1
    assert value("predictions_total") == 400
    assert value("feedback_total") == 200
    assert value("retraining_triggered_total") >= 1
    assert value("custom_metric", name="revenue", region="north") == 1250
    assert value("prediction_latency_seconds_count") == 400
    assert value("prediction_latency_seconds_sum") == pytest.approx(400 * 0.02)
    assert value("prediction_latency_seconds_bucket", le="0.01") == 0
    assert value("prediction_latency_seconds_bucket", le="0.025") == 400


def test_losses_are_series_before_the_first_one(service):
    """A counter that appears with its first loss shows no increase to Prometheus: that alert would come too late."""
    found = samples(service.client.get("/metrics").text)
    dropped = {labels["reason"]: value for labels, value in found["driftwell_capture_dropped_total"]}
    assert dropped.keys() >= {"queue_full", "store_failed"}
    assert set(dropped.values()) == {0}


def test_rejections_are_counted_by_reason(service):
    twice = [{"model": "again", "prediction_id": "a", "prediction": 1}] * 2
    post(service.client, twice)
    stats = service.client.get("/api/v1/collector/stats?model=again").json()
    assert (stats["total_predictions"], stats["errors_count"]) == (1, 1)
    found = samples(service.client.get("/metrics").text)["driftwell_capture_rejected_total"]
    assert {labels["reason"]: value for labels, value in found}["duplicate"] >= 1


@pytest.mark.parametrize(("prefix", "name"), [("", "predictions_total"), ("fraud", "fraud_predictions_total")])
def test_prefix_is_free(tmp_path, prefix, name):
    (tmp_path / "driftwell.toml").write_text(f'metrics_prefix = "{prefix}"')
    with serving(tmp_path) as named:
        post(named.client, rows(1, "m"))
        named.client.get("/api/v1/collector/stats")
        found = samples(named.client.get("/metrics").text)
        assert found[name] == [({"model": "m", "version": "v1"}, 1)]
        assert [one for one in found if one.startswith("driftwell_")] == []


def test_prometheus_can_be_switched_off(tmp_path):
    with serving(tmp_path, enable_prometheus="false") as quiet:
        post(quiet.client, rows(1, "m"))
        for path in ("/metrics", "/monitoring/metrics"):
            answer = quiet.client.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"] == "Prometheus not available"
