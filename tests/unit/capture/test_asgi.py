"""The middleware: raw ASGI calls and a real FastAPI application; nothing of an answer is ever changed."""

from __future__ import annotations

import asyncio
import gzip
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
import pytest
from fastapi import BackgroundTasks, Body, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.middleware.gzip import GZipMiddleware

from driftwell.capture.middleware.asgi import CaptureMiddleware
from driftwell.capture.recorder import Recorder
from driftwell.capture.redaction import Redaction
from driftwell.config import MonitorSettings
from driftwell.errors import BadInput

BODY = msgspec.json.encode({"x": {"a": 1}})
JSON = [(b"content-type", b"application/json")]
GZIP = [*JSON, (b"content-encoding", b"gzip")]


@dataclass
class Model:
    """All a monitor is to the middleware."""

    recorder: Recorder
    name: str = "m"
    version: str = "v"
    settings: MonitorSettings = field(default_factory=MonitorSettings)


@pytest.fixture
def monitor(recorder) -> Model:
    return Model(recorder)


def seen(monitor: Model) -> dict[str, Any]:
    assert monitor.recorder.flush(10)
    return monitor.recorder.stats()


def scope(method: str = "POST", path: str = "/predict", headers: Any = JSON, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": headers, **more}


def answering(body: bytes = b'{"y": 0.5}', headers: Any = JSON, status: int = 200, chunks: int = 1) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        size = -(-len(body) // chunks) or 1
        parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        for i, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": i < len(parts) - 1})

    return app


def call(app: Any, scope: dict[str, Any], parts: Any = (BODY,)) -> list[dict[str, Any]]:
    """One request through raw ASGI; the messages that were sent."""
    waiting = [{"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts)]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_a_prediction_is_recorded_and_the_answer_untouched(monitor, store):
    bare = call(answering(), scope())
    assert call(CaptureMiddleware(answering(), monitor=monitor), scope()) == bare
    assert seen(monitor)["stored"] == 1
    (row,) = store.rows()
    assert (row["features"], row["prediction"]) == ({"a": 1.0}, "0.5")
    assert row["latency_seconds"] > 0
    assert msgspec.json.decode(row["metadata"]) == {
        "endpoint": "/predict",
        "batch_index": 0,
        "batch_size": 1,
        "status": 200,
    }


def test_bodies_in_chunks_are_put_together(monitor, store):
    app = CaptureMiddleware(answering(chunks=5), monitor=monitor)
    sent = call(app, scope(), [BODY[:3], b"", BODY[3:]])
    assert b"".join(m.get("body", b"") for m in sent) == b'{"y": 0.5}'
    assert len(sent) == 6
    assert seen(monitor)["stored"] == 1


@pytest.mark.parametrize(
    "other",
    [scope("HEAD"), scope("GET"), scope("OPTIONS"), scope(path="/predict/"), scope(path="/health"),
     {"type": "websocket", "path": "/predict"}],
)  # fmt: skip
def test_everything_else_passes_with_the_very_same_callables(monitor, other):
    got = []

    async def app(*args: Any) -> None:
        got.append(args)

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    asyncio.run(CaptureMiddleware(app, monitor=monitor)(other, receive, send))
    assert got == [(other, receive, send)]
    assert (seen(monitor)["offered"], seen(monitor)["skipped"]) == (0, {})


@pytest.mark.parametrize(
    ("app", "request_scope", "parts", "reason"),
    [
        (answering(b"late", [(b"content-type", b"text/plain")]), scope(), (BODY,), "not_json"),
        (answering(b"{}", []), scope(), (BODY,), "not_json"),
        (answering(b"{"), scope(), (BODY,), "not_json"),
        (answering(), scope(headers=[(b"content-type", b"text/csv")]), (b"a,b",), "not_json"),
        (answering(b"data: 1", [(b"Content-Type", b"text/event-stream")]), scope(), (BODY,), "streaming"),
        (answering(headers=[*JSON, (b"content-encoding", b"br")]), scope(), (BODY,), "encoded"),
        (answering(headers=[*JSON, (b"content-encoding", b"gzip")]), scope(), (BODY,), "encoded"),
        (answering(), scope(headers=[*JSON, (b"content-encoding", b"gzip")]), (gzip.compress(BODY)[:-1],), "encoded"),
        (answering(gzip.compress(b" " * 101), GZIP), scope(), (BODY,), "too_large"),
        (answering(b"x" * 101), scope(), (BODY,), "too_large"),
        (answering(), scope(), (b"x" * 60, b"x" * 60), "too_large"),
        (answering(status=422), scope(), (BODY,), "status"),
        (answering(status=302), scope(), (BODY,), "status"),
        (answering(b"", status=204), scope(), (BODY,), "not_json"),
    ],
)
def test_what_is_passed_over_is_counted_and_untouched(monitor, app, request_scope, parts, reason):
    watched = CaptureMiddleware(app, monitor=monitor, max_body=100)
    assert call(watched, request_scope, parts) == call(app, request_scope, parts)
    assert (seen(monitor)["skipped"], seen(monitor)["offered"]) == ({reason: 1}, 0)


def test_an_answer_of_500_is_an_error(monitor):
    call(CaptureMiddleware(answering(status=503), monitor=monitor), scope())
    assert (seen(monitor)["errors"], seen(monitor)["offered"]) == (1, 0)


def test_an_exception_passes_through_and_is_an_error(monitor):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        call(CaptureMiddleware(app, monitor=monitor), scope())
    assert (seen(monitor)["errors"], seen(monitor)["skipped"]) == (1, {})


def test_an_exception_after_the_answer_costs_no_record(monitor):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering()(scope, receive, send)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(CaptureMiddleware(app, monitor=monitor), scope())
    assert (seen(monitor)["stored"], seen(monitor)["errors"]) == (1, 0)


def test_a_client_that_left_is_no_error_of_the_application(monitor):
    async def gives_up(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    call(CaptureMiddleware(gives_up, monitor=monitor), scope())
    assert (seen(monitor)["skipped"], seen(monitor)["errors"]) == ({"incomplete": 1}, 0)


def test_a_cancelled_request_is_incomplete(monitor):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        call(CaptureMiddleware(app, monitor=monitor), scope())
    assert seen(monitor)["skipped"] == {"incomplete": 1}


def test_a_failing_connection_after_the_answer_costs_no_record(monitor):
    async def receive() -> Any:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(CaptureMiddleware(answering(), monitor=monitor)(scope(), receive, send))
    assert (seen(monitor)["stored"], seen(monitor)["errors"]) == (1, 0)


def test_the_id_of_a_header_is_used(monitor, store):
    call(CaptureMiddleware(answering(), monitor=monitor), scope(headers=[*JSON, (b"X-Request-ID", b"abc")]))
    answer = answering(headers=[*JSON, (b"x-request-id", b"from the answer")])
    call(CaptureMiddleware(answer, monitor=monitor), scope())
    seen(monitor)
    assert [row["prediction_id"] for row in store.rows()] == ["abc", "from the answer"]


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [([], b'{"y": 1}', None), ([(b"x-request-id", b"abc")], b'{"y": 1, "x-request-id": "other"}', b"abc"),
     ([(b"x-request-id", b"bad\r\nid: 1")], b'{"y": 1}', None)],
)  # fmt: skip
def test_the_id_the_client_is_told_is_the_id_recorded(monitor, store, headers, body, told):
    app = CaptureMiddleware(answering(body), monitor=monitor, response_id_header="X-Prediction-ID")
    start, rest = call(app, scope(headers=[*JSON, *headers]))
    named = dict(start["headers"])[b"x-prediction-id"]
    assert told in (None, named)
    assert (start["status"], rest["body"]) == (200, body)
    seen(monitor)
    assert [row["prediction_id"] for row in store.rows()] == [named.decode()]


def test_a_header_of_the_application_stays_and_is_the_id(monitor, store):
    own = answering(headers=[*JSON, (b"x-prediction-id", b"own")])
    start, _ = call(CaptureMiddleware(own, monitor=monitor, response_id_header="X-Prediction-ID"), scope())
    assert start["headers"] == [*JSON, (b"x-prediction-id", b"own")]
    seen(monitor)
    assert store.rows()[0]["prediction_id"] == "own"


def test_sampling_decides_by_the_id(monitor, store):
    app = CaptureMiddleware(answering(), monitor=monitor, sample=0.5)
    for i in range(400):
        call(app, scope(headers=[*JSON, (b"x-request-id", b"id-%d" % i)]))
    stats = seen(monitor)
    assert stats["stored"] + stats["skipped"]["sampled"] == 400
    assert 140 < stats["stored"] < 260  # 6 standard deviations of a binomial
    kept = {row["prediction_id"] for row in store.rows()}
    again = {f"id-{i}" for i in range(400)} & kept
    assert kept == again
    nothing = CaptureMiddleware(answering(), monitor=Model(monitor.recorder, "other"), sample=0.0)
    call(nothing, scope())
    assert seen(monitor)["skipped"]["sampled"] == 401 - len(kept)


def test_the_share_of_the_monitor_holds_too(monitor, monkeypatch):
    half = Model(monitor.recorder, settings=MonitorSettings(sample_rate=0.0))
    copied = []
    monkeypatch.setattr("driftwell.capture.middleware.asgi.Passage", lambda *_: copied.append(1))
    call(CaptureMiddleware(answering(), monitor=half), scope())
    call(CaptureMiddleware(answering(), monitor=half, sample=0.5), scope())
    assert copied == []
    found = seen(monitor)
    assert (found["offered"], found["skipped"]) == (0, {"sampled": 2})


def test_an_application_mounted_below_a_path(monitor):
    app = CaptureMiddleware(answering(), monitor=monitor)
    call(app, scope(path="/api/predict", root_path="/api"))
    call(app, scope(path="/predict", root_path="/api"))
    assert seen(monitor)["stored"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"path": "predict"},
        {"features": 3},
        {"sample": 2},
        {"prediction_id": lambda q, r: "a", "response_id_header": "X-Id"},
    ],
)
def test_a_wrong_option_is_an_error_at_once(monitor, options):
    with pytest.raises(BadInput):
        CaptureMiddleware(answering(), monitor=monitor, **options)


def test_a_closed_recorder_leaves_the_answer_alone(monitor):
    monitor.recorder.close()
    assert call(CaptureMiddleware(answering(), monitor=monitor), scope()) == call(answering(), scope())
    assert monitor.recorder.stats()["dropped"] == {"closed": 1}


# -- compressed, disconnected, switched off -------------------------------------------------------------------------


def test_gzip_is_unpacked_on_the_thread_of_the_recorder(monitor, store):
    app = answering(gzip.compress(b'{"y": 0.5}'), GZIP)
    call(CaptureMiddleware(app, monitor=monitor), scope(headers=GZIP), (gzip.compress(BODY),))
    assert seen(monitor)["stored"] == 1
    assert (store.rows()[0]["features"], store.rows()[0]["prediction"]) == ({"a": 1.0}, "0.5")


def test_a_client_that_leaves_while_it_is_read_is_no_error(monitor):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ConnectionError("as Starlette raises ClientDisconnect")

    with pytest.raises(ConnectionError):
        call(CaptureMiddleware(app, monitor=monitor), scope())
    assert (seen(monitor)["skipped"], seen(monitor)["errors"]) == ({"incomplete": 1}, 0)


def test_a_client_that_takes_no_answer_is_no_error(monitor):
    async def send(message: Any) -> None:
        raise OSError("gone")

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY}

    with pytest.raises(OSError, match="gone"):
        asyncio.run(CaptureMiddleware(answering(), monitor=monitor)(scope(), receive, send))
    assert seen(monitor)["errors"] == 0


def test_the_kill_switch_leaves_the_very_same_callables(monitor):
    got = []

    async def app(*args: Any) -> None:
        got.append(args)

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    watched, one = CaptureMiddleware(app, monitor=monitor), scope()
    monitor.recorder.enabled = False
    asyncio.run(watched(one, receive, send))
    assert got == [(one, receive, send)]
    monitor.recorder.enabled = True
    call(CaptureMiddleware(answering(), monitor=monitor), scope())
    assert seen(monitor)["stored"] == 1


def test_bodies_that_are_not_recorded_are_not_kept(monitor):
    held = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 50, "more_body": True})
            held.append(send.__self__._request + send.__self__._response)
        await send({"type": "http.response.body", "body": b""})

    call(CaptureMiddleware(app, monitor=monitor), scope())
    assert held == [[], [], []]
    assert seen(monitor)["skipped"] == {"streaming": 1}


def test_a_chunk_that_changes_later_was_copied(monitor, store):
    chunk = bytearray(b'{"y": 0.5}')

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": JSON})
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        chunk[6:9] = b"9.9"
        await send({"type": "http.response.body", "body": b""})

    call(CaptureMiddleware(app, monitor=monitor), scope())
    seen(monitor)
    assert store.rows()[0]["prediction"] == "0.5"


def test_requests_at_the_same_time_are_kept_apart(monitor, store):
    gates = [asyncio.Event() for _ in range(4)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = msgspec.json.decode((await receive())["body"])
        await gates[body["x"]["a"]].wait()
        await answering(msgspec.json.encode({"y": body["x"]["a"]}))(scope, nothing_more, send)

    async def nothing_more() -> Any:
        return {"type": "http.disconnect"}

    async def run() -> None:
        watched = CaptureMiddleware(app, monitor=monitor)

        async def one(i: int) -> None:
            async def receive() -> Any:
                return {"type": "http.request", "body": msgspec.json.encode({"x": {"a": i}})}

            async def send(message: Any) -> None: ...

            await watched(scope(), receive, send)

        tasks = [asyncio.create_task(one(i)) for i in range(4)]
        for i in (2, 0, 3, 1):
            gates[i].set()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert seen(monitor)["stored"] == 4
    assert all(row["features"]["a"] == float(row["prediction"]) for row in store.rows())


def test_context_variables_pass_both_ways(monitor):
    outside, inside = ContextVar("outside", default="unset"), ContextVar("inside", default="unset")
    found = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(outside.get())
        inside.set("by the application")
        await answering()(scope, receive, send)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        outside.set("by the server")
        await CaptureMiddleware(app, monitor=monitor)(scope, receive, send)
        found.append(inside.get())

    call(outer, scope())
    assert found == ["by the server", "by the application"]


# -- journal and redaction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_with_a_journal_the_record_is_written_before_the_client_has_its_answer(monitor, backend):
    if backend == "trio":
        pytest.importorskip("trio")
    order: list[Any] = []

    class Journal:
        enabled, journaling = True, True
        redact_for = staticmethod(lambda model: None)

        def names_for(self, model: str, version: str) -> None: ...

        def make_id(self, ended: float) -> str: ...

        def offer_exchange_now(self, exchange: Any) -> None:
            order.append(("written", threading.current_thread() is threading.main_thread(), exchange.response))

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        order.append((message["type"], message.get("more_body")))

    watched = CaptureMiddleware(answering(chunks=2), monitor=Model(Journal()))
    anyio.run(watched, scope(), receive, send, backend=backend)
    assert order == [
        ("http.response.start", None),
        ("http.response.body", True),
        ("written", False, b'{"y": 0.5}'),
        ("http.response.body", False),
    ]


def test_a_process_without_threads_queues_what_it_cannot_journal(monitor, monkeypatch):
    offered = []
    monkeypatch.setattr(monitor.recorder, "journaling", True)
    monkeypatch.setattr(monitor.recorder, "offer_exchange", offered.append)

    async def no_thread(*args: Any) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    assert call(CaptureMiddleware(answering(), monitor=monitor), scope()) == call(answering(), scope())
    assert len(offered) == 1


def test_exchanges_are_redacted_before_they_become_records(make, store):
    redaction = Redaction.of({"a": "drop", "prediction_id": "hash", "entity_id": "drop"}, b"k" * 16)
    monitor = Model(make(redact_for={"m": redaction}.get))
    app = CaptureMiddleware(answering(), monitor=monitor, entity_id="who")
    body = msgspec.json.encode({"x": {"a": "raw", "b": 2}, "who": "raw"})
    call(app, scope(headers=[*JSON, (b"x-request-id", b"raw")]), (body,))
    assert seen(monitor)["stored"] == 1
    (row,) = store.rows()
    assert (row["features"], row["entity_id"], row["prediction_id"]) == ({"b": 2.0}, None, redaction.id("raw"))
    assert "raw" not in str(row)


def test_a_function_that_fails_quotes_no_value_in_the_log(make, caplog):
    monitor = Model(make(redact_for=lambda model: Redaction.of({"a": "drop"})))
    app = CaptureMiddleware(answering(), monitor=monitor, features=lambda request, response: int(request["x"]["a"]))
    call(app, scope(), (b'{"x": {"a": "secret"}}',))
    assert seen(monitor)["rejected"] == {"extractor": 1}
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


# -- a real application --------------------------------------------------------------------------------------------


def fastapi_app(monitor: Model, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        rows = (await request.json())["instances"]
        return JSONResponse({"predictions": [row["a"] > 1 for row in rows], "scores": [row["a"] / 4 for row in rows]})

    @app.post("/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    @app.post("/streams")
    async def streams(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(iter(['{"predictions":', " [1]}"]), media_type="application/json")

    @app.websocket("/predict")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    @app.get("/health")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    app.add_middleware(
        CaptureMiddleware,
        monitor=monitor,
        **{"features": "instances", "prediction": "predictions", "score": "scores", **options},
    )
    return app


def test_a_fastapi_application_of_many_rows(monitor, store):
    with TestClient(fastapi_app(monitor)) as client:
        rows = [{"a": 1}, {"a": 2}, {"a": 3}]
        answer = client.post("/predict", json={"instances": rows}, headers={"X-Request-ID": "r1"})
        assert answer.json() == {"predictions": [False, True, True], "scores": [0.25, 0.5, 0.75]}
        assert client.get("/health").text == "ok"
        with client.websocket_connect("/predict") as socket:
            assert socket.receive_text() == "hello"
    assert seen(monitor)["stored"] == 3
    assert [(r["prediction_id"], r["prediction"], r["score"]) for r in store.rows()] == [
        ("r1:0", "false", 0.25), ("r1:1", "true", 0.5), ("r1:2", "true", 0.75),
    ]  # fmt: skip


def test_a_fastapi_application_that_fails(monitor):
    client = TestClient(fastapi_app(monitor, path="/fails"), raise_server_exceptions=False)
    assert client.post("/fails").status_code == 500
    assert seen(monitor)["errors"] == 1


def test_json_in_a_streaming_response(monitor, store):
    client = TestClient(fastapi_app(monitor, path="/streams", score=None))
    assert client.post("/streams", json={"instances": [{"a": 1}]}).json() == {"predictions": [1]}
    assert seen(monitor)["stored"] == 1


def test_compression_outside_sees_what_the_application_said(monitor):
    app = fastapi_app(monitor)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    answer = TestClient(app).post("/predict", json={"instances": [{"a": 3}]})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["scores"] == [0.75]
    assert seen(monitor)["stored"] == 1


def test_a_background_task_delays_no_record_and_no_latency(monitor, store):
    app, stored_before_its_end = FastAPI(), []

    @app.post("/predict")
    async def predict(tasks: BackgroundTasks, x: dict[str, float] = Body(embed=True)) -> dict[str, float]:  # noqa: B008
        tasks.add_task(lambda: stored_before_its_end.append(monitor.recorder.flush(10) and len(store.rows())))
        return {"y": 0.5}

    app.add_middleware(CaptureMiddleware, monitor=monitor)
    assert TestClient(app).post("/predict", json={"x": {"a": 1}}).json() == {"y": 0.5}
    assert stored_before_its_end == [1]


def test_hostile_functions_cost_nothing_but_the_record(monitor):
    def hostile(request: Any, response: Any) -> Any:
        request.clear()
        raise SystemExit("theirs")

    client = TestClient(fastapi_app(monitor, timestamp=hostile))
    assert client.post("/predict", json={"instances": [{"a": 1}]}).status_code == 200
    assert seen(monitor)["rejected"] == {"extractor": 1}
