"""What is posted in each wire format reaches the recorder as the same records."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from driftwell.capture.wire.cloudevents import Event
from driftwell.routes import Ingest, one_model_router
from driftwell.routes.pairs import Half, Pairs

STREAM = "application/vnd.apache.arrow.stream"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
PREDICTIONS, EVENTS = "/api/v1/predictions", "/api/v1/cloudevents"
ASK = {"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [31.0, 44.0]}]}
REPLY = {
    "model_name": "iris", "model_version": "3",
    "outputs": [{"name": "predict", "shape": [2, 1], "datatype": "INT64", "data": [0, 1]}],
}  # fmt: skip


def kserve(kind: str, id_: str = "e1", **changes: str) -> dict[str, str]:
    """The headers of KServe's request logger (kserve, pkg/logger/worker.go)."""
    return {
        "ce-specversion": "1.0", "ce-id": id_, "ce-source": "http://localhost:9081/",
        "ce-type": f"org.kubeflow.serving.inference.{kind}", "ce-time": "2026-01-20T18:00:00Z",
        "ce-inferenceservicename": "flights", "ce-namespace": "default", "ce-component": "predictor",
        "ce-endpoint": "default", "content-type": "application/json", **changes,
    }  # fmt: skip


def event(**changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e1", "source": "/s", "type": "app.scored", "data": {"features": {}}} | changes


def stream(columns: Any) -> bytes:
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def post(client: TestClient, body: Any, kind: str, url: str = PREDICTIONS) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(url, content=content, headers={"content-type": kind})


def send(client: TestClient, kind: str, body: Any, **changes: str) -> Any:
    return client.post(EVENTS, json=body, headers=kserve(kind, **changes))


# -- exchanges in JSON -----------------------------------------------------------------------------------------------


def test_request_and_response_in_a_rows_place(client, recording):
    body = {
        "request": ASK,
        "response": REPLY,
        "prediction_id": "x",
        "segment": "eu",
        "timestamp": "2026-01-20T18:00:00Z",
    }
    answer = client.post(PREDICTIONS, json=body).json()
    assert answer["ids"] == ["x:0", "x:1"]
    first = recording.offered[0]
    assert (first["model"], first["version"], first["features"], first["prediction"]) == ("iris", "3", {"age": 31.0}, 0)
    assert (first["segment"], first["metadata"]) == ("eu", {"batch_index": 0, "batch_size": 2})


def test_query_names_the_model_of_an_exchange(client, recording):
    client.post(f"{PREDICTIONS}?model=flights&version=v1", json={"request": ASK, "response": REPLY})
    assert {(row["model"], row["version"]) for row in recording.offered} == {("flights", "v1")}


def test_exchange_that_cannot_be_read_does_not_spoil_rows(client, recording):
    answer = client.post(PREDICTIONS, json=[{"request": {}, "response": {}}, {"features": {"a": 1}}]).json()
    assert (answer["accepted"], answer["ids"]) == (1, [None, "made-1"])
    assert answer["rejected"][0]["index"] == 0
    assert recording.refused == [("m", "1", {"invalid_row": 1})]


def test_names_for_columns_without_any(client, recording):
    matrix = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    reply = {"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [3]}]}
    client.post(PREDICTIONS, json={"request": matrix, "response": reply, "feature_names": ["a", "b"]})
    assert recording.offered[0]["features"] == {"a": 1, "b": 2}


def test_further_outputs_are_ignored_fields(client):
    reply = {"outputs": [*REPLY["outputs"], {"name": "emb", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    answer = client.post(PREDICTIONS, json={"request": ASK, "response": reply}).json()
    assert answer["ignored_fields"] == {"outputs.emb": 2}


def test_headers_of_tritons_binary_data_are_415(client):
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": "20"}
    answer = client.post(PREDICTIONS, content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "binary extension" in answer.json()["detail"]


def test_far_more_rows_than_a_request_may_have_are_413(client, recording):
    body = {"request": {"instances": [0] * 60_000}, "response": {"predictions": [0] * 60_000}}
    recording.space = 10**6
    assert client.post(PREDICTIONS, json=[body, body]).status_code == 413
    assert recording.offered == []


# -- events ----------------------------------------------------------------------------------------------------------


def test_structured_event_of_our_own_row(client, recording):
    data = {"features": {"a": 1}, "prediction": 1, "metadata": {"mine": 1}}
    sent = event(data=data, time="2026-01-20T18:00:00Z", sampledrate=10, modelversion="v2")
    answer = post(client, sent, f"{STRUCTURED}; charset=utf-8")
    assert (answer.status_code, answer.json()["ids"], answer.json()["waiting"]) == (202, ["e1"], 0)
    (row,) = recording.offered
    assert row["timestamp"].isoformat() == "2026-01-20T18:00:00+00:00"
    assert row["version"] == "v2"
    assert row["metadata"] == {"source": "/s", "type": "app.scored", "sampledrate": 10, "modelversion": "v2", "mine": 1}


def test_rows_of_one_event_are_numbered(client):
    assert post(client, event(data=[{"features": {}}, {"prediction_id": "own"}]), STRUCTURED).json()["ids"] == [
        "e1:0",
        "own",
    ]


def test_binary_event(client, recording):
    headers = {k: v for k, v in kserve("x").items() if k != "ce-type"} | {"ce-type": "app.scored"}
    client.post(PREDICTIONS, json={"features": {"a": 1}}, headers=headers)
    assert (recording.offered[0]["prediction_id"], recording.offered[0]["model"]) == ("e1", "flights")


def test_bad_event_of_a_batch_does_not_spoil_the_others(client, recording):
    batch = [event(id="a"), event(id=""), 7, event(id="b", data=...)]
    batch[3].pop("data")
    answer = post(client, [*batch, event(id="c")], BATCH, EVENTS).json()
    assert answer["ids"] == ["a", None, None, None, "c"]
    assert [one["index"] for one in answer["rejected"]] == [1, 2, 3]
    assert recording.refused == [("m", "1", {"invalid_row": 1})] * 3


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (STRUCTURED, [], 422),
        (STRUCTURED, b"{", 422),
        (BATCH, {}, 422),
        (STRUCTURED, event(specversion="9"), 422),
        (STRUCTURED, event(data="text"), 422),
        (STRUCTURED, b"[" * 100_000, 422),
        ("application/json", {"features": {}}, 415),
        ("application/cloudevents+avro", b"", 415),
    ],
)
def test_unusable_events_are_problems(client, recording, kind, body, status):
    answer = post(client, body, kind, EVENTS)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert sum(sum(reasons.values()) for _, _, reasons in recording.refused) == 1


def test_dataref_is_never_fetched(client):
    sent = event(dataref="http://127.0.0.1:1/secret")
    sent.pop("data")
    assert "dataref is not fetched" in post(client, sent, STRUCTURED).json()["detail"]


# -- halves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("request", "response"), ("response", "request")])
def test_halves_meet_in_any_order(client, recording, order):
    bodies = {"request": ASK, "response": REPLY}
    first, second = (send(client, kind, bodies[kind]) for kind in order)
    assert (first.status_code, first.json()["accepted"], first.json()["waiting"]) == (202, 0, 1)
    assert (second.json()["accepted"], second.json()["ids"], second.json()["waiting"]) == (2, ["e1:0", "e1:1"], 0)
    row = recording.offered[1]
    assert (row["model"], row["version"], row["features"], row["prediction"]) == ("flights", "3", {"age": 44.0}, 1)
    assert row["metadata"]["namespace"] == "default"
    assert row["metadata"]["type"] == "org.kubeflow.serving.inference.request"


def test_events_delivered_twice_are_no_second_record(client, recording):
    for kind in ("request", "request", "response", "request", "response"):
        assert send(client, kind, ASK if kind == "request" else REPLY).status_code == 202
    assert len(recording.offered) == 2
    assert recording.refused == [("flights", "1", {"duplicate": 1})]


def test_halves_of_mlserver_are_told_by_their_payload(client, recording):
    """mlserver/cloudevents.py: the headers are inside the body, of spec 0.3, and source and id are the same."""
    for kind, body in (("request", ASK), ("response", REPLY)):
        headers = {
            "Ce-Id": "b2", "Ce-Specversion": "0.3", "Ce-Source": "io.seldon.serving.deployment.income.default",
            "Ce-Type": f"io.seldon.serving.inference.{kind}", "Ce-Inferenceservicename": "income",
            "Ce-Endpoint": "NOTIMPLEMENTED", "Ce-Namespace": "default",
        }  # fmt: skip
        answer = client.post(PREDICTIONS, json=body | {"id": "b2", "parameters": {"headers": headers}})
        assert answer.status_code == 202
    assert [(row["model"], row["prediction_id"]) for row in recording.offered] == [
        ("income", "b2:0"),
        ("income", "b2:1"),
    ]


def test_halves_of_azure_meet_by_correlation_id(client, recording):
    """Lines of Azure's collector as one batch: events have ids of their own and one correlationid."""
    lines = [
        event(id="1", type="azureml.inference.model_inputs", correlationid="c7", data=[{"BMI": 27.4, "Age": 43}]),
        event(id="2", type="azureml.inference.model_outputs", correlationid="c7", data=[{"0": 1}]),
    ]
    assert post(client, lines, f"{BATCH}", f"{EVENTS}?model=diabetes").json()["ids"] == ["c7"]
    assert recording.offered[0]["features"] == {"BMI": 27.4, "Age": 43}
    assert recording.offered[0]["prediction"] == 1


def test_two_requests_under_one_correlation_id_are_not_guessed_apart(client):
    half = {"type": "azureml.inference.request", "correlationid": "c7", "data": {"data": [[1, 2]]}}
    answer = post(client, [event(id="1", **half), event(id="2", **half)], BATCH).json()
    assert (answer["waiting"], answer["rejected"][0]["index"]) == (1, 0)
    assert "already" in answer["rejected"][0]["reason"]


def test_halves_of_different_length_are_refused(client, recording):
    send(client, "request", ASK)
    short = {"predictions": [1]}
    answer = send(client, "response", short)
    assert answer.status_code == 422
    assert "do not belong together" in answer.json()["detail"]
    assert recording.refused == [("m", "1", {"invalid_row": 1})]


def test_half_without_the_other_is_counted_when_its_time_is_over(recording, model):
    now = [0.0]
    ingest = Ingest(recording, lambda m, v: (m or "m", v or "1"), pairs=Pairs(age_seconds=60, clock=lambda: now[0]))
    client = client_of(ingest, model)
    send(client, "request", ASK, id_="lonely")
    now[0] = 61.0
    send(client, "request", ASK, id_="later")
    assert recording.refused == [("flights", "1", {"unpaired": 2})]


def test_halves_that_wait_at_the_end_are_counted(recording, model):
    ingest = Ingest(recording, lambda m, v: (m or "m", v or "1"))
    with client_of(ingest, model) as client:
        send(client, "response", REPLY)
        assert recording.refused == []
    assert recording.refused == [("flights", "1", {"unpaired": 2})]


def test_full_queue_leaves_the_halves_as_they_were(client, recording):
    send(client, "request", ASK)
    recording.space = 1
    refused = send(client, "response", REPLY)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    recording.space = 1000
    assert send(client, "response", REPLY).json()["ids"] == ["e1:0", "e1:1"]
    assert len(recording.offered) == 2


def test_one_models_router_takes_events_of_any_service(recording, model):
    ingest = Ingest(recording, lambda m, v: ("own", v or "1"), model="own")
    client = client_of(ingest, model)
    send(client, "request", ASK)
    send(client, "response", REPLY)
    assert {row["model"] for row in recording.offered} == {"own"}


def test_pairs_are_bounded_and_the_oldest_leave():
    def half(i: int) -> Half:
        return Half(Event(str(i), "/s", "org.kubeflow.serving.inference.request", b"x" * 500), 1)

    by_count, by_bytes = Pairs(most_halves=10), Pairs(most_bytes=15_000)
    for pairs in (by_count, by_bytes):
        gone = []
        for i in range(100):
            pairs.meet(half(i))
            gone += pairs.leaving()
        assert len(pairs) == 10
        assert [one.event.id for one in gone] == [str(i) for i in range(90)]
        assert len(pairs.leaving(all_of_them=True)) == 10
        assert len(pairs) == 0


# -- streams ---------------------------------------------------------------------------------------------------------


def test_stream_is_offered_as_a_table(client, recording):
    answer = post(client, stream({"prediction_id": ["a", "b"], "age": [1, 2]}), STREAM, f"{PREDICTIONS}?model=flights")
    assert (answer.status_code, answer.json()["accepted"], answer.json()["ids"]) == (202, 2, ["row-0", "row-1"])
    ((name, version, table, _),) = recording.tables
    assert (name, version, table.column_names) == ("flights", "1", ["prediction_id", "age"])


def test_columns_say_where_rows_belong(recording, model):
    def place(name: str | None, version: str | None) -> tuple[str, str]:
        from driftwell.errors import BadInput

        if name is None:
            raise BadInput("model is missing")
        return name, version or "1"

    client = client_of(Ingest(recording, place), model)
    body = stream({"model": ["a", "b", None, "a"], "version": ["1", "1", "1", "2"], "x": [10, 20, 30, 40]})
    answer = post(client, body, STREAM).json()
    found = {(name, version): table["x"].to_pylist() for name, version, table, _ in recording.tables}
    assert found == {("a", "1"): [10], ("b", "1"): [20], ("a", "2"): [40]}
    assert answer["accepted"] == 3
    assert answer["rejected"] == [{"index": 2, "reason": "model is missing"}]
    assert answer["ids"][2] is None


def test_column_named_model_is_a_feature_when_the_query_names_one(client, recording):
    post(client, stream({"model": ["T", "S"]}), STREAM, f"{PREDICTIONS}?model=cars")
    ((name, _, table, roles),) = recording.tables
    assert (name, table.column_names) == ("cars", ["model"])
    assert roles["model"] not in table.column_names


def test_stream_without_room_is_429_and_nothing_is_taken(client, recording):
    recording.space = 1
    answer = post(client, stream({"x": [1, 2]}), STREAM)
    assert (answer.status_code, answer.headers["retry-after"], recording.tables) == (429, "1", [])
    assert recording.refused == []


def test_stream_too_large_in_memory_is_413(recording, model):
    client = client_of(Ingest(recording, lambda m, v: ("m", "1"), max_body_bytes=10_000), model)
    assert post(client, stream({"x": pa.nulls(50_000)}), STREAM).status_code == 413
    assert recording.refused == [("m", "1", {"http_413": 1})]


def test_stream_that_is_none_is_422(client, recording):
    assert post(client, b"PAR1", STREAM).status_code == 422
    assert recording.refused == [("m", "1", {"http_422": 1})]


def client_of(ingest: Ingest, model: Any) -> TestClient:
    app = FastAPI()
    app.include_router(one_model_router(lambda name, version: model, guard=None, ingest=ingest))
    return TestClient(app, raise_server_exceptions=False)
