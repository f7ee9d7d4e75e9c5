"""The service as its users meet it: `driftwell serve` as a process, real HTTP, a real SQLite file."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftwell.profiles import Reference

START_SECONDS = 60
STOPPED = (0, -signal.SIGTERM)
RNG = np.random.default_rng(20_130_101)


def driftwell(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One command of the command line."""
    return subprocess.run(
        [sys.executable, "-m", "driftwell", *words], cwd=cwd, capture_output=True, text=True, check=False
    )


class Service:
    """`driftwell serve` in a folder of its own, and the tokens made for it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder}/driftwell.db"
        self._errors = (folder / "serve.log").open("a")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "driftwell",
                "serve",
                "--port",
                "0",
                "--store",
                self.store,
                "--json",
                *options,
            ],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            said = self._announcement()
        except AssertionError:
            self._end()
            raise
        self.url, self.login = said["url"], said["login"]

    def _announcement(self) -> dict[str, Any]:
        text = ""
        for line in self.process.stdout:
            text += line
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                continue
        raise AssertionError(f"serve ended early: {(self.folder / 'serve.log').read_text()}")

    def token(self, *scopes: str, expires: str | None = None) -> str:
        words = [word for scope in scopes for word in ("--scope", scope)]
        words += ["--expires", expires] if expires else []
        done = driftwell("token", "create", *words, "--store", self.store, "--json", cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["token"]

    def client(self, *scopes: str) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token(*scopes)}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30)

    def stop(self) -> int:
        """End it as a supervisor does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self._end()
        finally:
            assert "Traceback" not in (self.folder / "serve.log").read_text()

    def _end(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self._errors.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Service(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(service):
    with service.client() as one:
        yield one


def rows_of(n: int, *, shift: float = 0.0, start: str = "p", **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "prediction_id": f"{start}{i}",
            "features": {"age": float(age), "city": city},
            "prediction": "late" if age > 50 else "on time",
            "score": float(np.clip(age / 100, 0, 1)),
            "latency_seconds": 0.01,
            **more,
        }
        for i, (age, city) in enumerate(
            zip(RNG.normal(40 + shift, 10, n), RNG.choice(["Rome", "Oslo"], n), strict=True)
        )
    ]


def reference_table(n: int = 2000) -> pa.Table:
    return pa.table({"age": RNG.normal(40, 10, n), "city": RNG.choice(["Rome", "Oslo"], n).tolist()})


def post(client: httpx2.Client, rows: Any, **query: str) -> dict[str, Any]:
    answer = client.post("/api/v1/predictions", json=rows, params=query)
    assert answer.status_code == 202, answer.text
    return answer.json()


def ask(client: httpx2.Client, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- before the first record: these run first, on a service of their own -----------------------------------


def test_before_the_first_record(tmp_path):
    service = Service(tmp_path)
    try:
        with service.client() as client:
            assert ask(client, "/api/v1/collector/stats") == {"status": "collector_not_initialized"}
            assert client.get("/api/v1/drift/status").status_code == 404
            assert client.get("/metrics").status_code == 200
            assert ask(client, "/api/v1/checks") == []
            assert httpx2.get(f"{service.url}/healthz").json() == {"status": "ok"}
            assert httpx2.get(f"{service.url}/readyz").json() == {"status": "ready"}
    finally:
        assert service.stop() in STOPPED


# -- predictions and labels --------------------------------------------------------------------------------


def test_posted_predictions_are_seen_at_once(client):
    answer = post(client, rows_of(50, model="seen", start="s"))
    assert answer["accepted"] == 50
    stats = ask(client, "/api/v1/collector/stats", model="seen")
    assert stats["total_predictions"] == 50
    assert stats["errors_count"] == 0
    assert set(stats["features"]) == {"age", "city"}
    assert 20 < stats["input_statistics"]["mean"] < 60
    recent = ask(client, "/api/v1/collector/recent", model="seen", n=3)
    assert len(recent) == 3
    assert set(recent[0]) >= {"prediction_id", "timestamp", "input", "output", "metadata"}
    hourly = ask(client, "/api/v1/hourly/summary", model="seen")
    assert sum(hour["count"] for hour in hourly.values()) == 50
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00", hour) for hour in hourly)
    assert ask(client, "/monitoring/status", model="seen")["counts"]["predictions"] == 50
    assert ask(client, "/api/v1/drift/performance", model="seen")["total_predictions"] == 50


def test_what_is_posted_twice_counts_once(client):
    rows = rows_of(10, model="twice", start="t")
    post(client, rows)
    post(client, rows)
    assert ask(client, "/api/v1/collector/stats", model="twice")["total_predictions"] == 10


def test_bad_rows_are_named_and_the_good_ones_kept(client):
    answer = post(client, [{"prediction_id": "ok"}, {"score": "high"}, {"prediction_id": ""}], model="mixed")
    assert answer["ids"] == ["ok", None, None]
    assert [one["index"] for one in answer["rejected"]] == [1, 2]
    assert ask(client, "/api/v1/collector/stats", model="mixed")["total_predictions"] == 1


def test_labels_are_matched_and_counted(client):
    post(client, rows_of(3, model="labels", start="l"))

    def label(one: str, truth: Any) -> dict[str, Any]:
        answer = client.post("/api/v1/feedback", json={"prediction_id": one, "true_label": truth, "model": "labels"})
        assert answer.status_code == 202, answer.text
        return {name: count for name, count in answer.json().items() if count}

    assert label("l0", "late") == {"matched": 1}
    assert label("l0", "late") == {"duplicate": 1}
    assert label("l0", "on time") == {"conflicting": 1}
    assert label("l99", "late") == {"early": 1}
    post(client, [{"model": "labels", "prediction_id": "l99", "prediction": "late"}])
    found = ask(client, "/api/v1/drift/performance", model="labels")
    assert found["labels"] == {"matched": 2, "coverage": 0.5}


def test_label_of_several_models_needs_a_name(client):
    post(client, [{"model": "a", "prediction_id": "shared"}, {"model": "b", "prediction_id": "shared"}])
    answer = client.post("/api/v1/feedback", json={"prediction_id": "shared", "true_label": 1})
    assert answer.status_code == 409
    assert answer.json()["ambiguous"] == {"shared": ["a", "b"]}


def test_monitoring_feedback_by_query(client):
    post(client, [{"model": "query", "prediction_id": "q1", "prediction": 1}])
    answer = client.post("/monitoring/feedback", params={"model": "query", "prediction_id": "q1", "true_label": "1"})
    assert answer.json() == {"status": "feedback_recorded", "matched": True}


def test_several_models_need_a_name(client):
    post(client, [{"model": "one"}, {"model": "two"}])
    answer = client.get("/monitoring/status")
    assert answer.status_code == 422
    assert {"one", "two"} <= set(answer.json()["models"])
    assert client.get("/monitoring/status?model=three").status_code == 404
    assert client.get("/monitoring/status?model=one&version=9").status_code == 404
    refused = client.post("/api/v1/predictions", json={"features": {}})
    assert refused.status_code == 422
    assert "model is missing" in refused.json()["rejected"][0]["reason"]


# -- reference, checks, drift ------------------------------------------------------------------------------


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_drift_is_found_after_a_reference_arrives(client):
    post(client, rows_of(400, shift=25, model="drifting", start="d"))
    assert ask(client, "/api/v1/drift/status", model="drifting")["status"] == "no_reference"
    put = client.put(
        "/api/v1/models/drifting/reference",
        content=Reference.from_data(reference_table()).to_json(),
        headers={"content-type": "application/json"},
    )
    assert put.status_code == 200, put.text
    post(client, rows_of(400, shift=25, model="drifting", start="e"))
    check = client.post("/api/v1/checks", json={"model": "drifting", "window": "PT1H"})
    assert check.status_code == 200, check.text
    assert check.json()["drift_detected"] is True
    assert "age" in check.json()["drifted_features"]
    assert check.json()["reference_id"] == put.json()["reference_id"]
    listed = ask(client, "/api/v1/checks", model="drifting", limit=5)
    assert check.json()["check_id"] in [one["check_id"] for one in listed]
    status = ask(client, "/api/v1/drift/status", model="drifting")
    assert status["status"] == "analyzed"
    assert status["psi_feature"] == "age"
    assert "CRITICAL DRIFT" in status["interpretation"]
    assert status["recommendation"] == "TRIGGER RETRAINING"
    assert status["mmd"] is None
    assert status["reason"]
    scores = ask(client, "/metrics/drift", model="drifting")
    assert scores["drift_detected"] is True
    assert scores["feature_scores"]["age"] > 0.5
    samples = metrics(client.get("/metrics").text)
    assert samples["driftwell_drift_detected", "drifting"] == 1
    assert samples["driftwell_predictions_total", "drifting"] == 800
    assert client.get("/monitoring/metrics?model=drifting").status_code == 200


def test_times_texts_vectors_and_series_are_posted_and_checked(client):
    rng = np.random.default_rng(7)
    words = np.array(["parcel", "late", "door", "rain", "gate", "north"])

    def table(n: int) -> list[dict[str, Any]]:
        return [
            {
                "at": f"2026-01-{1 + i % 28:02}T{i % 24:02}:30:00Z",
                "note": " ".join(rng.choice(words, 4)),
                "emb": rng.normal(size=3).tolist(),
                "sig": rng.normal(size=5 + i % 3).tolist(),
            }
            for i in range(n)
        ]

    rows = table(400)
    at = pa.array([row.pop("at") for row in rows]).cast(pa.timestamp("us", "UTC"))
    reference = Reference.from_data(
        pa.Table.from_pylist(rows).append_column("at", at), kinds={"note": "text", "emb": "vector"}
    )
    assert set(reference.kinds.values()) == {"datetime", "text", "vector", "series"}
    put = client.put(
        "/api/v1/models/kinds/reference",
        content=reference.to_json(),
        headers={"content-type": "application/json"},
    )
    assert put.status_code == 200, put.text
    good = table(200)
    bad = [good[0] | cell for cell in ({"at": "soon"}, {"note": 3}, {"emb": [1.0]}, {"sig": "1,2"})]
    posted = [{"prediction_id": f"k{i}", "features": row} for i, row in enumerate(good + bad)]
    assert post(client, posted, model="kinds")["accepted"] == 204
    (newest,) = ask(client, "/api/v1/collector/recent", model="kinds", n=1)
    assert newest["input"] == bad[-1] | {"sig": None}
    stats = ask(client, "/api/v1/collector/stats", model="kinds")
    assert (stats["total_predictions"], stats["errors_count"]) == (204, 0)
    assert {name: one["missing"] for name, one in stats["features"].items()} == dict.fromkeys(good[0], 1)
    check = client.post("/api/v1/checks", json={"model": "kinds", "window": "PT1H"}).json()
    assert set(check["drift"]["columns"]) == set(good[0])
    assert {one["status"] for one in check["drift"]["columns"].values()} <= {"ok", "drift"}


def metrics(text: str) -> dict[tuple[str, str], float]:
    return {
        (one.name, one.labels.get("model", "")): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("application/vnd.apache.parquet", lambda: parquet(reference_table())),
        ("application/octet-stream", lambda: parquet(reference_table())),
        ("application/x-npy", lambda: npy(RNG.normal(size=(500, 2)))),
        ("application/octet-stream", lambda: npy(RNG.normal(size=(500, 2)))),
        ("application/octet-stream", lambda: Reference.from_data(reference_table()).to_json()),
    ],
)
def test_reference_by_content_type(client, kind, make):
    answer = client.put("/api/v1/models/put/reference?version=v7", content=make(), headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == "v7"
    assert answer.json()["n_rows"] in (500, 2000)
    assert ask(client, "/monitoring/status", model="put")["reference_id"] == answer.json()["reference_id"]


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def test_reference_that_cannot_be_read_is_422(client):
    for kind in ("application/json", "application/x-npy", "application/vnd.apache.parquet"):
        answer = client.put("/api/v1/models/m/reference", content=b"broken", headers={"content-type": kind})
        assert answer.status_code == 422, kind
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    answer = client.put(
        "/api/v1/models/m/reference",
        content=pickled.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert answer.status_code == 422
    assert client.put("/api/v1/models/m/reference", content=b"x").status_code == 415


def test_check_drift_of_files(client, service, tmp_path):
    baseline = {"baseline_file": ("b.json", Reference.from_data(reference_table()).to_json())}
    moved = parquet(pa.table({"age": RNG.normal(80, 10, 500), "city": ["Rome"] * 500}))
    answer = client.post("/api/v1/monitoring/check-drift", files=baseline | {"data_file": ("current.parquet", moved)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["drift_detected"] is True
    assert answer.json()["severity"] == "high"
    assert answer.json()["report"]["columns"]["age"]["drifted"] is True
    folder = service.folder / "data" / "week1"
    folder.mkdir(parents=True)
    pq.write_table(reference_table(), folder / "part1.parquet")
    pq.write_table(reference_table(), folder / "part2.parquet")
    for name in ("week1", "data/week1"):
        answer = client.post("/api/v1/monitoring/check-drift", files=baseline, params={"data_dir": name})
        assert answer.status_code == 200, answer.text
        assert answer.json()["drift_detected"] is False
        assert answer.json()["report"]["summary"]["n_current"] == 4000
    outside = client.post("/api/v1/monitoring/check-drift", files=baseline, params={"data_dir": "../.."})
    assert outside.status_code == 403
    image = client.post("/api/v1/monitoring/check-drift", files=baseline | {"data_file": ("x.jpg", b"\xff\xd8")})
    assert image.status_code == 422
    assert "images" in image.json()["detail"]


# -- save, clear, retraining -------------------------------------------------------------------------------


def test_save_writes_what_was_collected(client, service):
    post(client, rows_of(5, model="saved", start="v"))
    saved = client.post("/api/v1/collector/save?model=saved").json()
    assert saved["status"] == "saved"
    document = json.loads((service.folder / saved["filepath"]).read_text())
    assert re.fullmatch(r"data/production/predictions_.*\.json", saved["filepath"])
    assert document["model"] == "saved"
    assert len(document["predictions"]) == 5


def test_clear_starts_afresh_and_deletes_nothing(client):
    post(client, rows_of(5, model="cleared", start="c"))
    ask(client, "/api/v1/collector/stats", model="cleared")
    assert client.delete("/api/v1/collector/clear?model=cleared").json() == {
        "status": "cleared",
        "cleared": 5,
    }
    assert ask(client, "/api/v1/collector/stats", model="cleared")["total_predictions"] == 0
    assert ask(client, "/api/v1/collector/recent", model="cleared") == []
    assert ask(client, "/api/v1/hourly/summary", model="cleared") == {}
    everything = ask(client, "/api/v1/collector/stats", model="cleared", since="all")
    assert everything["total_predictions"] == 5


def test_retraining_can_be_asked_for(client):
    post(client, rows_of(1, model="trained", start="r"))
    answer = client.post("/monitoring/trigger-retraining?model=trained", json={"reason": "new data"})
    assert answer.status_code in (200, 409), answer.text
    if answer.status_code == 200:
        assert answer.json()["status"] == "retraining_triggered"
    else:
        assert answer.json()["detail"]


# -- tokens and browsers -----------------------------------------------------------------------------------


def test_scopes_are_kept_apart(service):
    with service.client("ingest") as ingest, service.client("read") as read:
        assert ingest.post("/api/v1/predictions", json={"model": "scoped"}).status_code == 202
        refused = ingest.get("/api/v1/collector/stats?model=scoped")
        assert refused.status_code == 403
        assert refused.json()["missing_scope"] == "read"
        assert read.get("/api/v1/collector/stats?model=scoped").status_code == 200
        assert read.post("/api/v1/predictions", json={"model": "scoped"}).status_code == 403
        assert read.delete("/api/v1/collector/clear?model=scoped").json()["missing_scope"] == "write"


def test_no_token_and_a_wrong_token_are_401(service):
    for headers in ({}, {"Authorization": "Bearer dw_wrong"}):
        answer = httpx2.get(f"{service.url}/api/v1/collector/stats", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    assert httpx2.get(f"{service.url}/metrics").status_code == 401
    assert httpx2.get(f"{service.url}/openapi.json").status_code == 401


def test_printed_link_logs_the_browser_in_once(service):
    with httpx2.Client(base_url=service.url) as browser:
        answer = browser.get(service.login)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert browser.get("/api/v1/checks?model=one").status_code == 200
        assert browser.post("/api/v1/collector/save?model=one").status_code == 403
    assert httpx2.get(service.login).status_code == 401
    assert service.login.partition("token=")[2] not in (service.folder / "serve.log").read_text()


# -- the process -------------------------------------------------------------------------------------------


def test_port_in_use_is_one_clear_line(service, tmp_path):
    port = service.url.rpartition(":")[2]
    done = driftwell("serve", "--port", port, "--store", f"sqlite:///{tmp_path}/x.db", cwd=tmp_path)
    assert done.returncode == 2
    assert port in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_auth_elsewhere_is_refused(tmp_path):
    done = driftwell("serve", "--host", "0.0.0.0", "--no-auth", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "loopback" in done.stderr


def test_no_auth_answers_loopback_names_only(tmp_path):
    service = Service(tmp_path, "--no-auth")
    try:
        stats = f"{service.url}/api/v1/collector/stats"
        assert httpx2.get(stats).status_code == 200
        assert httpx2.get(stats, headers={"Host": "evil.example"}).status_code == 421
        posted = httpx2.post(
            f"{service.url}/api/v1/predictions",
            json={"model": "m"},
            headers={"Origin": "http://evil.example"},
        )
        assert posted.status_code == 403
    finally:
        service.stop()


def test_what_was_accepted_survives_a_stop(tmp_path):
    first = Service(tmp_path)
    with first.client() as client, httpx2.Client(base_url=first.url) as browser:
        browser.get(first.login)
        cookie = dict(browser.cookies)
        post(client, rows_of(200, model="kept", start="k"))
    assert first.stop() in STOPPED
    second = Service(tmp_path, "--port", first.url.rpartition(":")[2])
    try:
        with httpx2.Client(base_url=second.url, cookies=cookie) as browser:
            assert ask(browser, "/api/v1/collector/stats", model="kept")["total_predictions"] == 200
    finally:
        second.stop()


def test_two_services_share_one_file(tmp_path):
    first, second = Service(tmp_path), Service(tmp_path)
    try:
        with first.client() as one, httpx2.Client(base_url=second.url, headers=one.headers) as other:
            post(one, rows_of(20, model="shared", start="x"))
            post(other, rows_of(30, model="shared", start="y"))
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline:
                stats = [ask(c, "/api/v1/collector/stats", model="shared") for c in (one, other)]
                if [s["total_predictions"] for s in stats] == [50, 50]:
                    break
            assert [s["total_predictions"] for s in stats] == [50, 50]
    finally:
        first.stop()
        second.stop()
