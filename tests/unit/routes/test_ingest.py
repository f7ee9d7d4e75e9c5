"""What may be posted as predictions and labels, and what is said about rows that cannot be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from driftwell.errors import BadInput
from driftwell.routes import Ingest, one_model_router
from driftwell.routes.ingest import accept_feedback, accept_predictions
from driftwell.routes.problems import ProblemError
from driftwell.stores.base import LabelCounts

NOW = datetime(2026, 1, 20, 18, tzinfo=UTC)


def accept(rows, ingest, **names):
    return accept_predictions(rows, ingest, model=names.get("model"), version=names.get("version"), now=NOW)


def reasons(rows, ingest):
    with pytest.raises(ProblemError) as caught:
        accept(rows, ingest)
    assert caught.value.status == 422
    return [one["reason"] for one in caught.value.members["rejected"]]


def test_one_object_is_202_with_its_id(client, recording):
    answer = client.post("/api/v1/predictions", json={"features": {"a": 1}, "prediction": "late"})
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "ids": ["made-1"], "rejected": [], "ignored_fields": {}}


def test_every_field_reaches_the_recorder(recording, ingest):
    row = {
        "model": "flights",
        "version": "v2",
        "prediction_id": "p1",
        "timestamp": "2026-01-20T17:00:00+01:00",
        "features": {"a": 1.5, "b": None},
        "prediction": {"class": "late"},
        "score": 3,
        "probability": {"late": 0.75, "on time": 0.25},
        "segment": "JFK",
        "entity_id": "N1",
        "latency_seconds": 0.01,
        "metadata": {"k": [1]},
        "true_label": False,
    }
    accept([row], ingest)
    kept = recording.offered[0]
    assert kept.pop("timestamp") == datetime(2026, 1, 20, 16, tzinfo=UTC)
    assert kept == {key: value for key, value in row.items() if key != "timestamp"}


def test_request_id_is_another_name(recording, ingest):
    accept([{"request_id": 12}], ingest)
    assert recording.offered[0]["prediction_id"] == "12"


def test_naive_time_is_utc(recording, ingest):
    accept([{"timestamp": "2026-01-20T18:00:00"}], ingest)
    assert recording.offered[0]["timestamp"] == NOW


def test_query_stands_in_for_missing_names(recording, ingest):
    accept([{}, {"model": "b", "version": "9"}], ingest, model="a", version="2")
    assert [(one["model"], one["version"]) for one in recording.offered] == [("a", "2"), ("b", "9")]


def test_bad_rows_do_not_spoil_good_ones(recording, ingest):
    rows = [{"prediction_id": "p0"}, {"score": "high"}, [1, 2], {"prediction_id": "p3"}]
    answer = accept(rows, ingest)
    assert answer["accepted"] == 2
    assert answer["ids"] == ["p0", None, None, "p3"]
    assert [one["index"] for one in answer["rejected"]] == [1, 2]
    assert "$.score" in answer["rejected"][0]["reason"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prediction_id": ""}, "prediction_id"),
        ({"prediction_id": "a\nb"}, "prediction_id"),
        ({"prediction_id": "x" * 513}, "512"),
        ({"model": ""}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"version": "a\0"}, "version"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "1900"),
        ({"timestamp": (NOW + timedelta(hours=25)).isoformat()}, "24 hours"),
        ({"probability": 1.5}, "0…1"),
        ({"probability": {"a": -0.1}}, "0…1"),
        ({"probability": [0.5, 2]}, "0…1"),
        ({"latency_seconds": -1}, "latency_seconds"),
        ({"features": "a=1"}, "features"),
        ({"metadata": [1]}, "metadata"),
    ],
    ids=str,
)
def test_reason_names_the_field(ingest, row, says):
    assert says in reasons([row], ingest)[0]


def test_time_up_to_a_day_ahead_is_taken(recording, ingest):
    accept([{"timestamp": (NOW + timedelta(hours=24)).isoformat()}], ingest)
    assert len(recording.offered) == 1


def test_unknown_fields_are_counted(ingest):
    answer = accept([{"colour": 1, "predicition": 2}, {"colour": 1}], ingest)
    assert answer["ignored_fields"] == {"colour": 2, "predicition": 1}


def test_missing_model_rejects_the_row(recording):
    asked = []

    def place(model, version):
        asked.append(model)
        if model is None:
            raise BadInput("model is missing and several are served: a, b")
        return model, version or "1"

    answer = accept([{}, {"model": "a"}, {}], Ingest(recording, place))
    assert answer["accepted"] == 1
    reason = "model is missing and several are served: a, b"
    assert answer["rejected"] == [{"index": 0, "reason": reason}, {"index": 2, "reason": reason}]
    assert asked == [None, "a"]


def test_names_are_placed_once_a_request(recording):
    asked = []

    def place(model, version):
        asked.append((model, version))
        return model, "1"

    accept([{"model": "a"}, {"model": "a"}, {"model": "b"}], Ingest(recording, place))
    assert asked == [("a", None), ("b", None)]


def test_full_queue_takes_nothing(client, recording):
    recording.space = 1
    answer = client.post("/api/v1/predictions", json=[{}, {}])
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert recording.offered == []


def test_empty_list_is_no_error(ingest):
    assert accept([], ingest)["accepted"] == 0


@pytest.mark.parametrize("body", [b"{", b"[1", b'{"score": NaN}', b"\xff\xfe", b"3", b'"text"', b""])
def test_malformed_body_is_422(client, body):
    answer = client.post("/api/v1/predictions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_deeply_nested_body_is_422(client):
    body = '{"features": ' * 1 + "[" * 100_000 + "]" * 100_000 + "}"
    answer = client.post("/api/v1/predictions", content=body.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/cloudevents+xml",
        "application/x-www-form-urlencoded",
    ],
)
def test_other_content_types_are_415(client, kind):
    answer = client.post("/api/v1/predictions", content=b"{}", headers={"content-type": kind} if kind else {})
    assert answer.status_code == 415
    assert answer.json()["accepted"] == [
        "application/json",
        "application/vnd.apache.arrow.stream",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
    ]


def test_compressed_body_is_415(client):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert client.post("/api/v1/predictions", content=b"x", headers=headers).status_code == 415


def test_content_type_parameters_are_allowed(client):
    headers = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/api/v1/predictions", content=b"{}", headers=headers).status_code == 202


# -- labels --------------------------------------------------------------------------------------------------


def test_label_counts_are_added_up(client, recording):
    recording.outcomes = {
        "b": LabelCounts(early=1),
        "c": LabelCounts(duplicate=1),
        "d": LabelCounts(conflicting=1),
        "e": None,
    }
    rows = [{"prediction_id": one, "true_label": 1} for one in "abcde"]
    answer = client.post("/api/v1/feedback", json=rows)
    assert answer.status_code == 202
    assert answer.json() == {
        "matched": 1,
        "early": 1,
        "duplicate": 1,
        "conflicting": 1,
        "pending": 1,
        "rejected": [],
    }
    told = client.post("/api/v1/feedback?fates=true", json=rows).json()
    assert told["fates"] == ["matched", "early", "duplicate", "conflicting", "pending"]


def test_label_that_could_not_be_kept_is_rejected(client, recording):
    recording.outcomes = {"lost": LabelCounts()}
    rows = [{"prediction_id": one, "true_label": 1} for one in ("kept", "lost")]
    answer = client.post("/api/v1/feedback", json=rows).json()
    assert answer["matched"] == 1
    assert [one["index"] for one in answer["rejected"]] == [1]
    assert "send it again" in answer["rejected"][0]["reason"]


def test_all_labels_share_two_seconds(recording, ingest):
    moments = iter([10.0, 10.0, 11.5, 13.0])
    rows = [{"prediction_id": one, "true_label": 1} for one in "abc"]
    accept_feedback(rows, ingest, model=None, clock=lambda: next(moments))
    assert [ticket.waited for ticket in recording.tickets] == [[2.0], [0.5], [0.0]]


def test_model_of_a_label(recording, ingest):
    rows = [{"prediction_id": 1, "true_label": 0}, {"prediction_id": 2, "true_label": 0, "model": "b"}]
    accept_feedback(rows, ingest, model="a")
    accept_feedback(rows[:1], ingest, model=None)
    accept_feedback(rows[:1], Ingest(recording, ingest.place, model="own"), model=None)
    assert [label[2] for label in recording.labels] == ["a", "b", None, "own"]


def test_ambiguous_id_is_409_naming_the_models(client, recording):
    recording.outcomes = {"p1": LabelCounts(ambiguous={"p1": ["a", "b"]})}
    rows = [{"prediction_id": "p1", "true_label": 1}, {"prediction_id": "p2", "true_label": 1}]
    answer = client.post("/api/v1/feedback", json=rows)
    assert answer.status_code == 409
    document = answer.json()
    assert document["ambiguous"] == {"p1": ["a", "b"]}
    assert document["matched"] == 1
    assert "p1: a, b" in document["detail"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"true_label": 1}, "prediction_id"),
        ({"prediction_id": "p"}, "true_label"),
        ({"prediction_id": "p", "true_label": None}, "true_label"),
        ({"prediction_id": "p", "true_label": [1]}, "true_label"),
        ({"prediction_id": "", "true_label": 1}, "prediction_id"),
        ({"prediction_id": "p", "true_label": 1, "timestamp": 5}, "timestamp"),
    ],
    ids=str,
)
def test_unusable_label_says_why(client, row, says):
    answer = client.post("/api/v1/feedback", json=row)
    assert answer.status_code == 422
    assert says in answer.json()["rejected"][0]["reason"]


def test_body_limit_holds_without_a_length(recording, model):
    app = FastAPI()
    small = Ingest(recording, lambda m, v: ("m", "1"), max_body_bytes=100)
    app.include_router(one_model_router(lambda m, v: model, guard=None, ingest=small))
    client = TestClient(app)
    body = json.dumps([{"segment": "x" * 200}]).encode()
    declared = client.post("/api/v1/predictions", content=body, headers={"content-type": "application/json"})
    chunked = client.post(
        "/api/v1/predictions",
        content=(body[at : at + 50] for at in range(0, len(body), 50)),
        headers={"content-type": "application/json"},
    )
    assert [declared.status_code, chunked.status_code] == [413, 413]
    assert declared.json()["limit_bytes"] == 100
    assert recording.offered == []


def test_refused_rows_are_counted_where_they_belong(ingest, recording):
    rows = [
        {"features": {}},
        {"model": "n", "version": "2", "probability": 3},
        {"score": "high"},
        "no row",
        {"model": 7},
    ]
    accept(rows, ingest)
    assert recording.refused == [
        ("n", "2", {"invalid_row": 1}), ("m", "1", {"invalid_row": 1}),
        ("m", "1", {"invalid_row": 1}), ("m", "1", {"invalid_row": 1}),
    ]  # fmt: skip


def test_rows_are_counted_too_when_none_can_be_used(ingest, recording):
    with pytest.raises(ProblemError):
        accept([{"score": "high"}], ingest)
    assert recording.refused == [("m", "1", {"invalid_row": 1})]


def test_a_request_that_may_be_sent_again_counts_nothing(ingest, recording):
    recording.space = 0
    with pytest.raises(ProblemError) as refused:
        accept([{"features": {}}, {"score": "high"}], ingest)
    assert refused.value.status == 429
    assert recording.refused == []


def test_refused_labels_are_counted(ingest, recording):
    rows = [{"prediction_id": "a", "true_label": 1}, {"prediction_id": "b", "true_label": [1]}, {"true_label": 1}]
    accept_feedback(rows, ingest, model="m")
    assert recording.refused == [("m", {"invalid_row": 2})]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/csv", b"a,b", 415),
        ("application/json", b"{", 422),
        ("application/json", b'{"metadata": "' + b"x" * 200, 413),
    ],
)
def test_a_body_without_rows_counts_as_one(model, recording, kind, body, status):
    small = Ingest(recording, lambda m, v: (m or "m", v or "1"), max_body_bytes=100)
    app = FastAPI()
    app.include_router(one_model_router(lambda name, version: model, guard=None, ingest=small))
    answer = TestClient(app).post("/api/v1/predictions?version=3", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert recording.refused == [("m", "3", {f"http_{status}": 1})]


@pytest.mark.parametrize(
    ("path", "kind", "body", "status"),
    [
        ("/api/v1/feedback", "text/csv", b"a,b", 415),
        ("/api/v1/feedback", "application/json", b"{", 422),
        ("/api/v1/feedback", "application/json", b"7", 422),
        ("/api/v1/feedback", "application/json", b'{"metadata": "' + b"x" * 200, 413),
        ("/monitoring/feedback", "text/csv", b"a,b", 415),
        ("/monitoring/feedback", "application/json", b"{}", 422),
        ("/monitoring/feedback", "application/json", b'{"prediction_id": "", "true_label": 1}', 422),
        ("/monitoring/feedback", "application/json", b'{"prediction_id": "p", "true_label": null}', 422),
        ("/monitoring/feedback", "application/json", b" " * 65_537, 413),
    ],
)
def test_a_body_without_labels_counts_as_one(model, recording, path, kind, body, status):
    small = Ingest(recording, lambda m, v: (m or "m", v or "1"), max_body_bytes=100, model="m")
    app = FastAPI()
    app.include_router(one_model_router(lambda name, version: model, guard=None, ingest=small))
    client = TestClient(app)
    assert client.post(path, content=body, headers={"Content-Type": kind}).status_code == status
    assert client.post(f"{path}?model=n", content=body, headers={"Content-Type": kind}).status_code == status
    assert recording.refused == [("m", {f"http_{status}": 1}), ("n", {f"http_{status}": 1})]
