"""PUT of a reference: the kinds of body, which version it belongs to, and what follows from it."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell.profiles import Reference

URL = "/api/v1/models/flights/reference"
TABLE = pa.table({"age": np.arange(300.0), "city": ["Rome", "Oslo", "Bonn"] * 100})


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    return sink.getvalue()


def npy(array, **options) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, **options)
    return sink.getvalue()


@pytest.fixture
def put(service, headers):
    client = service()

    def send(content, kind, url=URL):
        return client.put(url, content=content, headers=headers | {"content-type": kind})

    send.client = client
    return send


@pytest.mark.parametrize(
    ("kind", "content", "features"),
    [
        ("application/json", Reference.from_data(TABLE).to_json(), ["age", "city"]),
        ("application/octet-stream", Reference.from_data(TABLE).to_json(), ["age", "city"]),
        ("application/vnd.apache.parquet", parquet(), ["age", "city"]),
        ("application/x-parquet", parquet(), ["age", "city"]),
        ("application/octet-stream", parquet(), ["age", "city"]),
        ("application/x-npy", npy(np.ones((300, 2))), ["f0", "f1"]),
        ("application/octet-stream", npy(np.arange(300.0)), ["value"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_body_is_read(put, runtime, kind, content, features):
    answer = put(content, kind)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["features"] == features
    assert document["n_rows"] == 300
    assert runtime.reference_for("flights", document["version"]).id == document["reference_id"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b"{}"),
        ("application/json", b"\x93NUMPY"),
        ("application/x-npy", b"PAR1"),
        ("application/x-npy", npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)),
        ("application/x-npy", npy(np.ones(300))[:50]),
        ("application/x-npy", npy(np.ones((2, 2, 2)))),
        ("application/vnd.apache.parquet", parquet()[:100]),
        ("application/octet-stream", b"anything"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_body_is_422_and_changes_nothing(put, runtime, kind, content):
    answer = put(content, kind)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert runtime.reference_for("flights", "1") is None


def test_version_of_the_query_counts(put, runtime):
    put(parquet(), "application/x-parquet", f"{URL}?version=v2")
    assert runtime.reference_for("flights", "v2") is not None


def test_newest_version_is_meant_without_one(put, runtime):
    runtime.recorder.offer("flights", "v7", {"age": 1.0}, 1)
    runtime.recorder.flush(10)
    assert put(parquet(), "application/x-parquet").json()["version"] == "v7"


def test_model_is_known_from_then_on(put, headers):
    put(parquet(), "application/x-parquet")
    answer = put.client.get("/monitoring/status", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["model"] == "flights"


@pytest.mark.parametrize("name", ["x" * 201, "%00", "a%0ab"])
def test_names_that_cannot_be_used_are_422(put, name):
    for url in (f"/api/v1/models/{name}/reference", f"{URL}?version={name}"):
        assert put(parquet(), "application/x-parquet", url).status_code == 422


def test_too_long_a_body_is_413(put, headers):
    context = put.client.app.state.driftwell
    put.client.app.state.driftwell = type(context)(context.runtime, context.config, context.served, 100)
    assert put(parquet(), "application/x-parquet").status_code == 413
