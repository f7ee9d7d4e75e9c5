"""Every wire format against a real `driftwell serve`: sent as other systems send it, read back from the service."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell.client import Client
from driftwell.routes.tokens import make_token
from driftwell.stores import open_store

STREAM = "application/vnd.apache.arrow.stream"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a service that runs as a process of its own; its token may post and read."""
    folder: Path = tmp_path_factory.mktemp("wire")
    store = f"sqlite:///{folder}/driftwell.db"
    ledger = open_store(store)
    token, _ = make_token(ledger, ["ingest", "read", "write"])
    ledger.close()
    words = [sys.executable, "-m", "driftwell", "serve", "--port", "0", "--store", store]
    with (folder / "serve.log").open("w") as errors:
        process = subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        try:
            said = process.stdout.readline()
            assert " on http" in said, f"{said}{(folder / 'serve.log').read_text()}"
            url = said.partition(" on ")[2].split()[0]
            headers = {"Authorization": f"Bearer {token}"}
            with httpx2.Client(base_url=url, headers=headers, timeout=30) as client:
                client.token = token
                yield client
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


def stream(table: Any, compression: str | None = None) -> bytes:
    table = pa.table(table)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def post(service: httpx2.Client, content: Any, kind: str, **query: str) -> httpx2.Response:
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return service.post("/api/v1/predictions", content=content, headers={"content-type": kind}, params=query)


def total(service: httpx2.Client, model: str) -> int:
    answer = service.get("/api/v1/collector/stats", params={"model": model})
    return answer.json()["total_predictions"] if answer.status_code == 200 else 0


def recent(service: httpx2.Client, model: str, n: int) -> dict[str, dict[str, Any]]:
    """The newest predictions by id, once there are ``n`` of them."""
    end = time.monotonic() + 10
    while total(service, model) < n:
        assert time.monotonic() < end, "they did not arrive in time"
        time.sleep(0.05)
    rows = service.get("/api/v1/collector/recent", params={"model": model, "n": n}).json()
    return {row["prediction_id"]: row for row in rows}


def test_stream_of_polars_and_of_arrow(service):
    sink = io.BytesIO()
    frame = pl.DataFrame({"prediction_id": ["p1", "p2"], "age": [31, 44], "city": ["Oslo", None], "prediction": [0, 1]})
    frame.write_ipc_stream(sink)
    answer = post(service, sink.getvalue(), STREAM, model="polars")
    assert (answer.status_code, answer.json()["ids"]) == (202, ["p1", "p2"])
    found = recent(service, "polars", 2)
    assert found["p1"]["input"] == {"age": 31, "city": "Oslo"}
    assert found["p2"]["output"] == 1
    compressed = stream({"x": np.arange(5_000.0), "score": np.linspace(0, 1, 5_000)}, "zstd")
    assert len(set(post(service, compressed, STREAM, model="arrow").json()["ids"])) == 5_000
    recent(service, "arrow", 5_000)


def test_stream_sent_twice_is_stored_once(service):
    body = stream({"prediction_id": [f"t{i}" for i in range(100)], "x": np.arange(100.0)})
    with ThreadPoolExecutor(4) as threads:
        assert {
            one.status_code for one in threads.map(lambda _: post(service, body, STREAM, model="twice"), range(8))
        } == {202}
    assert len(recent(service, "twice", 100)) == 100
    time.sleep(1.2)  # more than a flush
    assert total(service, "twice") == 100


def test_stream_goes_by_the_reference(service):
    table = {"age": np.linspace(20, 60, 300), "city": ["Oslo", "Rome", "Bonn"] * 100}
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    put = service.put(
        "/api/v1/models/referenced/reference",
        content=sink.getvalue(),
        headers={"content-type": "application/vnd.apache.parquet"},
    )
    assert put.status_code in (200, 201), put.text
    body = stream({"prediction_id": ["r1"], "age": [33], "city": ["Oslo"], "further": [1]})
    assert post(service, body, STREAM, model="referenced").status_code == 202
    assert recent(service, "referenced", 1)["r1"]["input"] == {"age": 33, "city": "Oslo"}


def kserve(kind: str, id_: str, **changes: str) -> dict[str, str]:
    """The headers of kserve's pkg/logger/worker.go, as Go's SDK writes them."""
    return {
        "Ce-Specversion": "1.0", "Ce-Id": id_, "Ce-Source": "http://localhost:9081/",
        "Ce-Type": f"org.kubeflow.serving.inference.{kind}", "Ce-Time": "2026-01-20T18:00:00.123456789Z",
        "Ce-Inferenceservicename": "sklearn-iris", "Ce-Namespace": "default", "Ce-Component": "predictor",
        "Ce-Endpoint": "default", "Ce-Metadata": "{}", "Content-Type": "application/json", **changes,
    }  # fmt: skip


def test_request_logger_of_kserve(service):
    """The iris example of KServe's documentation: V1, two rows; the response copies the request's content type."""
    ask, reply = {"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}, {"predictions": [1, 1]}
    curl = {"Content-Type": "application/x-www-form-urlencoded"}
    for kind, body in (("response", reply), ("request", ask), ("request", ask), ("response", reply)):
        answer = service.post("/api/v1/cloudevents", content=json.dumps(body), headers=kserve(kind, "k1", **curl))
        assert answer.status_code == 202, answer.text
    found = recent(service, "sklearn-iris", 2)
    assert found.keys() == {"k1:0", "k1:1"}
    assert found["k1:0"]["input"] == {"f0": 6.8, "f1": 2.8, "f2": 4.8, "f3": 1.4}
    assert found["k1:0"]["timestamp"].startswith("2026-01-20T18:00:00.123456")
    assert found["k1:1"]["metadata"]["source"] == "http://localhost:9081/"
    label = service.post("/api/v1/feedback?fates=true", json={"prediction_id": "k1:0", "true_label": 1})
    assert label.json()["fates"] == ["matched"]


def test_many_pairs_from_many_threads_in_any_order(service):
    def send(i: int) -> int:
        kind, body = ("request", {"instances": [{"x": i // 2}]}) if i % 2 else ("response", {"predictions": [i // 2]})
        headers = kserve(kind, f"pair-{i // 2}", **{"Ce-Inferenceservicename": "pairs"})
        return service.post("/api/v1/cloudevents", json=body, headers=headers).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(send, np.random.default_rng(1).permutation(400).tolist())) == {202}
    found = recent(service, "pairs", 200)
    assert all(row["input"]["x"] == row["output"] for row in found.values())
    assert found.keys() == {f"pair-{i}" for i in range(200)}


def test_open_inference_protocol_in_a_rows_place(service):
    body = {
        "request": {"id": "v2", "inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [31.0]}]},
        "response": {"outputs": [{"name": "predict_proba", "shape": [1, 2], "datatype": "FP64", "data": [0.25, 0.75]}]},
    }
    assert post(service, body, "application/json", model="v2").json()["ids"] == ["v2"]
    assert recent(service, "v2", 1)["v2"]["input"] == {"age": 31.0}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"x" * (16 * 2**20 + 1), STREAM, 413),
        (stream({"zeros": np.zeros(12_000_000)}, "zstd"), STREAM, 413),
        (stream({"u": pa.array([b"0" * 16], pa.uuid())}), STREAM, 422),
        (b"[" * 50_000, STRUCTURED, 422),
        ({"specversion": "1.0", "id": "1", "source": "/", "type": "t"}, STRUCTURED, 422),
        ([], STRUCTURED, 422),
        (b"", "application/cloudevents+avro", 415),
    ],
    ids=["too long", "a bomb", "extension type", "deep", "no data", "no event", "avro"],
)
def test_refusals_are_problems(service, content, kind, status):
    answer = post(service, content, kind, model="refused")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_every_format_is_in_the_openapi_document(service):
    paths = service.get("/openapi.json").json()["paths"]
    kinds = paths["/api/v1/predictions"]["post"]["requestBody"]["content"]
    assert kinds.keys() == {"application/json", STREAM, STRUCTURED, BATCH}
    assert paths["/api/v1/cloudevents"]["post"]["requestBody"]["content"].keys() == {STRUCTURED, BATCH}


def test_client_of_another_process(service):
    with Client(str(service.base_url), service.token, model="remote", version="v1") as client:
        ids = client.record_batch({"x": np.arange(1_000.0), "prediction": np.arange(1_000)})
        assert client.flush(20)
        assert client.stats()["stored"] == 1_000
    assert recent(service, "remote", 1_000).keys() == set(ids)
