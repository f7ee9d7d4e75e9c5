"""The client of another process against a real service under uvicorn: nothing lost, nothing double, nothing raised."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from driftwell.capture.spool import files as spool
from driftwell.client import Client
from driftwell.config import Config
from driftwell.errors import BadInput, ConfigError, NotSupported
from driftwell.monitor.runtime import Runtime
from driftwell.routes.tokens import make_token
from driftwell.service.app import create_app

NOW = datetime.now(UTC).replace(microsecond=0)


class Service:
    """A service on a port of its own, which can be stopped and started again."""

    def __init__(self, folder: Any) -> None:
        self.runtime = Runtime.open(f"sqlite:///{folder}/driftwell.db", collection_dir=str(folder))
        self.token, _ = make_token(self.runtime.ledger, ["ingest"])
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        app = create_app(self.runtime, Config())
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="critical"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        eventually(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def rows(self, model: str = "flights", version: str = "v1", n: int = 10_000) -> dict[str, dict[str, Any]]:
        assert self.runtime.recorder.flush(10)
        return {row["prediction_id"]: row for row in self.runtime.store.recent(model, version, n)}


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    one = Service(tmp_path)
    one.start()
    yield one
    one.stop()
    one.runtime.close()


@pytest.fixture
def client(service) -> Iterator[Client]:
    with Client(service.url, service.token, model="flights", version="v1", flush_seconds=0.05) as one:
        yield one


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def eventually(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these answers in turn, the last of them from then on, and keeps what it was sent."""
    left, seen = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append({"path": self.path, "headers": dict(self.headers), "body": body, "at": time.monotonic()})
            status, headers, document = left.pop(0) if len(left) > 1 else left[0]
            answer = msgspec.json.encode(document(body) if callable(document) else document)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(answer))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


GOOD = (202, {}, {"accepted": 1, "ids": ["x"], "rejected": [], "ignored_fields": {}})


def balanced(stats: dict[str, Any]) -> bool:
    lost = sum(stats["dropped"].values()) + sum(stats["rejected"].values())
    return bool(stats["offered"] == stats["stored"] + stats["waiting"] + lost)


# -- what arrives ----------------------------------------------------------------------------------------------------


def test_record_arrives_as_it_was_given(service, client):
    features = {
        "age": 31,
        "city": "Oslo",
        "late": True,
        "since": NOW,
        "curve": [1.0, 2.0],
        "score": "a feature",
        "none": None,
    }
    given = {
        "score": 0.25, "probability": {"no": 0.75, "yes": 0.25}, "timestamp": NOW, "segment": "eu", "entity_id": "u1",
        "latency_seconds": 0.5, "metadata": {"k": [1, {"deep": None}]},
    }  # fmt: skip
    made = client.record_prediction(features, {"label": "no"}, prediction_id="p1", true_label="yes", **given)
    assert (made, client.flush(10)) == ("p1", True)
    row = service.rows()["p1"]
    assert {name: row[name] for name in given} == given
    assert row["prediction"] == {"label": "no"}
    assert row["true_label"] == "yes"
    assert row["features"] == {
        "age": 31.0,
        "city": "Oslo",
        "late": True,
        "since": NOW,
        "curve": [1.0, 2.0],
        "score": "a feature",
    }


def test_types_are_kept_apart(service, client):
    for i, value in enumerate([3, "3", 3.5, True, None, [1, 2], {"a": 1}]):
        client.record_prediction({"x": 1.0}, value, prediction_id=f"p{i}")
    assert client.flush(10)
    found = service.rows()
    assert [found[f"p{i}"]["prediction"] for i in range(7)] == [3, "3", 3.5, True, None, [1, 2], {"a": 1}]


def test_cells_of_another_kind_are_told(service, client):
    client.record_prediction({"age": 1.0}, 1, prediction_id="a")
    client.record_prediction({"age": "unknown"}, 1, prediction_id="b")
    assert client.flush(10)
    found = service.rows()
    assert (found["a"]["invalid"], found["b"]["invalid"]) == (None, {"age": "unknown"})


def test_batch_arrives(service, client):
    table = pa.table({"age": np.arange(2_500.0), "city": ["Oslo"] * 2_500, "prediction": np.arange(2_500)})
    ids = client.record_batch(table)
    assert client.flush(10)
    found = service.rows()
    assert [found[one]["features"]["age"] for one in ids] == list(range(2_500))
    assert {row["features"]["city"] for row in found.values()} == {"Oslo"}


def test_positions_and_classes_have_the_names_given(service):
    with Client(
        service.url, service.token, model="flights", version="v1", feature_names=["a", "b"], classes=["yes", "no"]
    ) as one:
        one.record_prediction([1, 2], 0, probability=[0.25, 0.75], prediction_id="list")
        one.record_prediction(np.array([[3.0, 4.0]]), 0, probability=np.array([0.5, 0.5]), prediction_id="array")
        (third,) = one.record_batch(np.array([[5.0, 6.0]]))
    found = service.rows()
    assert found["list"]["features"] == {"a": 1.0, "b": 2.0}
    assert found["list"]["probability"] == {"yes": 0.25, "no": 0.75}
    assert found["array"]["features"] == {"a": 3.0, "b": 4.0}
    assert found[third]["features"] == {"a": 5.0, "b": 6.0}


def test_without_a_version_the_service_takes_its_own(service):
    with Client(service.url, service.token, model="new") as one:
        one.record_prediction({"x": 1}, 1)
    service.runtime.recorder.flush(10)
    assert [row[:3] for row in service.runtime.models()] == [("new", "1", 1)]


def test_labels_meet_each_fate(service, client):
    client.record_prediction({"x": 1}, 1, prediction_id="p")
    assert client.flush(10)
    outcomes = [client.record_feedback(*one).wait(10) for one in (("p", 1), ("p", 1), ("p", 0), ("later", 1))]
    assert [one.fates for one in outcomes] == [("matched",), ("duplicate",), ("conflicting",), ("early",)]
    labels = client.stats()["labels"]
    assert [labels[name] for name in ("matched", "duplicate", "conflicting", "early", "offered")] == [1, 1, 1, 1, 4]


def test_many_labels_at_once_keep_their_fates(service, client):
    for i in range(50):
        client.record_prediction({"x": i}, 1, prediction_id=f"p{i}")
    assert client.flush(10)
    tickets = [client.record_feedback(f"p{i}" if i < 50 else f"e{i}", 1) for i in range(60)]
    assert client.flush(10)
    assert [ticket.wait(0).fates for ticket in tickets] == [("matched",)] * 50 + [("early",)] * 10


# -- nothing lost, nothing double ------------------------------------------------------------------------------------


def test_service_stopped_and_started_under_four_threads(service, client):
    stop_at = threading.Event()

    def record(thread: int) -> None:
        for i in range(1_000):
            client.record_prediction({"thread": thread, "i": i}, i, prediction_id=f"{thread}-{i}")
            if i == 300 and thread == 0:
                stop_at.set()
            if i % 50 == 0:
                time.sleep(0.005)

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(record, one) for one in range(4)]
        assert stop_at.wait(10)
        service.stop()
        for one in done:
            one.result()
    assert client.stats()["stored"] < 4_000
    service.start()
    assert client.flush(30)
    stats = client.stats()
    assert (stats["offered"], stats["stored"], stats["waiting"]) == (4_000, 4_000, 0)
    assert not stats["dropped"]
    assert not stats["rejected"]
    found = service.rows()
    assert found.keys() == {f"{thread}-{i}" for thread in range(4) for i in range(1_000)}
    assert service.runtime.store.count("flights", None, 0, 2**62) == 4_000


def test_answer_that_is_lost_makes_no_second_record(service, client, monkeypatch):
    """The service takes the rows, the answer never arrives: they are sent again and known again."""
    from driftwell.capture.wire.sender import Sender
    from driftwell.errors import StoreError

    post, times = Sender._post, []

    def broken(self: Sender, *what: Any) -> Any:
        answer = post(self, *what)
        times.append(answer[0])
        if len(times) == 1:
            raise StoreError("the connection broke")
        return answer

    monkeypatch.setattr(Sender, "_post", broken)
    ids = [client.record_prediction({"x": i}, i) for i in range(20)]
    assert client.flush(10)
    assert times == [202, 202]
    assert service.rows().keys() == set(ids)
    assert service.runtime.recorder.stats()["rejected"] == {"duplicate": 20}
    assert client.stats()["stored"] == 20


def test_large_batches_are_split_until_they_fit(service):
    app = create_app(service.runtime, Config())
    assert app is not None
    with Client(service.url, service.token, model="flights", version="v1") as one:
        text = "x" * 1_000_000
        ids = [one.record_prediction({"text": text + str(i)}, 1) for i in range(20)]
        assert one.flush(20)
        assert one.stats()["stored"] == 20
    assert service.rows().keys() == set(ids)


def test_too_large_row_is_refused_alone():
    with (
        answering((413, {}, {}), (413, {}, {}), (413, {}, {}), GOOD) as (url, seen),
        Client(url, model="m", flush_seconds=0.05) as one,
    ):
        for i in range(4):
            one.record_prediction({"x": i}, i)
        assert one.flush(10)
        stats = one.stats()
    # four rows, then two, then one of them alone: that one is refused, the others are sent
    assert (stats["stored"], stats["rejected"]) == (3, {"http_413": 1})
    assert balanced(stats)
    assert len(seen) == 5


# -- what a service may answer ---------------------------------------------------------------------------------------


def test_retry_after_is_honoured():
    with (
        answering((429, {"Retry-After": "1"}, {}), GOOD) as (url, seen),
        Client(url, model="m", flush_seconds=0.05) as one,
    ):
        one.record_prediction({"x": 1}, 1)
        assert one.flush(10)
        assert one.stats()["stored"] == 1
    assert len(seen) == 2
    assert seen[1]["at"] - seen[0]["at"] >= 1.0


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_is_said_once_and_records_wait(tmp_path, caplog, status):
    (tmp_path / "token").write_text("dw_old\n")
    good = (202, {}, {"rejected": []})
    with (
        caplog.at_level(logging.ERROR),
        answering(*[(status, {}, {"detail": "no"})] * 4, good) as (url, seen),
        Client(url, token_file=tmp_path / "token", model="m", flush_seconds=0.05) as one,
    ):
        one.record_prediction({"x": 1}, 1)
        eventually(lambda: len(seen) >= 1)
        (tmp_path / "token").write_text("dw_new\n")
        assert one.flush(10)
        assert one.stats()["stored"] == 1
    assert [row.levelname for row in caplog.records if row.name == "driftwell.client"] == ["ERROR"]
    assert "dw_" not in caplog.text
    sent = [one["headers"]["Authorization"] for one in seen]
    assert (sent[0], sent[-1]) == ("Bearer dw_old", "Bearer dw_new")


@pytest.mark.parametrize("answer", [(307, {"Location": "http://127.0.0.1:1/"}, {}), (502, {}, {}), (404, {}, {})])
def test_other_troubles_are_waited_out(answer):
    with answering(answer, GOOD) as (url, seen), Client(url, model="m", flush_seconds=0.05) as one:
        one.record_prediction({"x": 1}, 1)
        assert one.flush(10)
        assert one.stats()["stored"] == 1
    assert {one["path"].partition("?")[0] for one in seen} == {"/api/v1/predictions"}


def test_what_the_service_never_takes_is_rejected_with_its_reason():
    with (
        answering((422, {}, {"detail": "no such model"}), GOOD) as (url, _),
        Client(url, model="m", flush_seconds=0.05) as one,
    ):
        one.record_prediction({"x": 1}, 1)
        assert one.flush(10)
        one.record_prediction({"x": 2}, 1)
        assert one.flush(10)
        stats = one.stats()
    assert (stats["stored"], stats["rejected"]) == (1, {"http_422": 1})
    assert balanced(stats)


def test_labels_not_yet_committed_are_asked_for_again():
    pending = (202, {}, {"fates": ["pending"], "rejected": []})
    matched = (202, {}, {"fates": ["duplicate"], "rejected": []})
    with answering(pending, matched) as (url, seen), Client(url, model="m", flush_seconds=0.05) as one:
        assert one.record_feedback("p", 1).wait(10).fates == ("duplicate",)
    assert len(seen) == 2


def test_id_of_several_models_is_ambiguous(service):
    with (
        answering((409, {}, {"fates": ["ambiguous"], "ambiguous": {"p": ["a", "b"]}})) as (url, _),
        Client(url, model="m") as one,
    ):
        assert one.record_feedback("p", 1).wait(10).ambiguous == {"p": ["a", "b"]}
        assert one.stats()["labels"]["ambiguous"] == 1


def test_refused_labels_are_rejected():
    with answering((422, {}, {"detail": "bad"})) as (url, _), Client(url, model="m", flush_seconds=0.05) as one:
        one.record_feedback("p", 1).wait(10)
        labels = one.stats()["labels"]
    assert labels["rejected"] == {"http_422": 1}


# -- bounds and faults -----------------------------------------------------------------------------------------------


def test_dead_service_costs_no_call_and_no_memory_without_bound():
    one = Client(f"http://127.0.0.1:{free_port()}", model="m", queue_records=100, flush_seconds=0.05)
    started = time.monotonic()
    ids = [one.record_prediction({"x": i}, i) for i in range(1_000)]
    assert time.monotonic() - started < 2.0
    assert len(set(ids)) == 1_000
    assert one.stats()["dropped"] == {"queue_full": 900}
    one.close(0.1)
    stats = one.stats()
    assert stats["dropped"] == {"queue_full": 900, "store_failed": 100}
    assert balanced(stats)


def test_hostile_values_never_raise(service, client):
    class Hostile:
        ndim = 1

        def __len__(self) -> int:
            raise RuntimeError

        def __str__(self) -> str:
            raise RuntimeError

        def __array__(self, *what: Any) -> Any:
            raise RuntimeError

    for value in (Hostile(), object(), "text", b"bytes", 3):
        assert client.record_prediction(value, Hostile(), probability=Hostile(), metadata=Hostile())
    assert client.record_batch(Hostile()) == []
    client.record_feedback(Hostile(), Hostile())
    assert client.flush(10)
    assert balanced(client.stats())


def test_after_close_records_are_dropped_and_counted(service):
    one = Client(service.url, service.token, model="flights")
    one.close()
    one.record_prediction({"x": 1}, 1)
    assert one.stats()["dropped"] == {"closed": 1}


def test_token_of_the_environment(service, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_TOKEN", service.token)
    with Client(service.url, model="flights", version="v1") as one:
        pid = one.record_prediction({"x": 1}, 1)
    assert service.rows().keys() == {pid}


def test_token_is_shown_nowhere(service, client):
    shown = f"{client!r}{client._sender!r}{client._sender._token!r}"
    assert service.token not in shown


def test_token_on_an_open_line_is_warned_of(caplog):
    Client("http://driftwell.example.com", "dw_secret", model="m").close()
    assert "use https" in caplog.text
    assert "dw_secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "driftwell.example.com",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x?a=1",
        "http://x#a",
        None,
        "http://x:y",
    ],
)
def test_unusable_address_fails_at_once(url):
    with pytest.raises(BadInput, match="url"):
        Client(url, model="m")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": ""}, BadInput),
        ({"model": "m", "version": "a\nb"}, BadInput),
        ({"model": "m", "sample_rate": 0}, BadInput),
        ({"model": "m", "verify": False}, BadInput),
        ({"model": "m", "durability": "forever"}, BadInput),
        ({"model": "m", "durability": "journal"}, ConfigError),
        ({"model": "m", "token_file": "/nonexistent"}, ConfigError),
        ({"model": "m", "token": "a", "token_file": "b"}, ConfigError),
    ],
)
def test_unusable_options_fail_at_once(options, error):
    with pytest.raises(error):
        Client("http://127.0.0.1:1", **options)


def test_self_signed_certificate_is_not_trusted(tmp_path):
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
             "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]  # fmt: skip
    try:
        subprocess.run(words, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(202)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"https://localhost:{server.server_address[1]}"
    try:
        for verify, stored in ((True, 0), (str(certificate), 1)):
            one = Client(url, model="m", verify=verify, flush_seconds=0.05)
            one.record_prediction({"x": 1}, 1)
            assert one.flush(5 if stored else 0.5) is bool(stored)
            one.close(0.1)
            assert one.stats()["stored"] == stored
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_client_needs_no_web_framework(tmp_path):
    code = (
        "import sys\nfrom driftwell.client import Client\n"
        "one = Client('http://127.0.0.1:1', model='m'); one.record_prediction({'x': 1}, 1); one.close(0.05)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not {"fastapi", "starlette", "uvicorn", "scipy", "sklearn", "typer", "apsw"} & set(done.stdout.split())


# -- disk and redaction ----------------------------------------------------------------------------------------------


def test_journal_survives_the_death_of_the_process(service, tmp_path):
    """Killed with the service away: the next client on the same folder sends what was left, once."""
    service.stop()
    code = (
        "import os, signal, sys\nfrom driftwell.client import Client\n"
        f"one = Client({service.url!r}, 'dw_x', model='flights', version='v1',"
        f" durability='journal', spool_dir={str(tmp_path / 'spool')!r})\n"
        "for i in range(50): one.record_prediction({'x': i}, i, prediction_id=f'p{i}')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == -9, done.stderr
    service.start()
    options = {"durability": "journal", "spool_dir": tmp_path / "spool", "flush_seconds": 0.05}
    with Client(service.url, service.token, model="flights", version="v1", **options) as one:
        one.record_prediction({"x": 50}, 50, prediction_id="p50")
        eventually(lambda: one.stats()["recovered"] == 50)
        assert one.flush(10)
        assert balanced(one.stats())
    assert service.rows().keys() == {f"p{i}" for i in range(51)}


def test_redaction_happens_before_anything_leaves():
    with (
        answering(GOOD) as (url, seen),
        Client(
            url, model="m", redact={"email": "drop", "name": "hash"}, redact_key="k" * 16, flush_seconds=0.05
        ) as one,
    ):
        one.record_prediction({"email": "ann@example.com", "name": "Ann-Unique", "age": 31}, 1)
        one.record_batch({"email": ["bob@example.com"], "name": ["Bob-Unique"], "age": [30.0]})
        assert one.flush(10)
        assert one.stats()["stored"] == 2
    sent = b"".join(one["body"] for one in seen)
    assert b"age" in sent
    assert not any(word in sent for word in (b"example.com", b"Ann-Unique", b"Bob-Unique"))


def test_forked_child_has_its_own_connection_and_counts(service, tmp_path):
    code = f"""
import os
from driftwell.capture.spool import files as spool
from driftwell.client import Client
one = Client({service.url!r}, {service.token!r}, model="flights", version="v1", flush_seconds=0.05)
one.record_prediction({{"x": 1}}, 1, prediction_id="before")
assert one.flush(10)
child = os.fork()
one.record_prediction({{"x": 1}}, 1, prediction_id="after" if child else "child")
assert one.flush(10)
stats = one.stats()
assert (stats["offered"], stats["stored"]) == ((2, 2) if child else (1, 1)), stats
one.close()
if child == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert service.rows().keys() == {"before", "after", "child"}


def test_without_file_locks_records_wait_in_memory(tmp_path, monkeypatch, caplog):
    """As on Windows."""
    monkeypatch.setattr(spool, "fcntl", None)
    options = {"token": "dwt_x", "model": "m", "spool_dir": tmp_path / "spool"}
    with Client("http://127.0.0.1:9", **options) as client:
        assert client.stats()["spool"]["files"] == 0
    assert "wait in memory only" in caplog.text
    with pytest.raises(NotSupported, match="file locks"):
        Client("http://127.0.0.1:9", durability="journal", **options)
