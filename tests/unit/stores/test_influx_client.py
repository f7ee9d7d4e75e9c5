"""Addresses, and the HTTP client against a server that misbehaves as told: what is sent, what refusals say."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from driftwell.errors import BadInput, DriftwellError, NotSupported, StoreError
from driftwell.stores.base import Label
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.influx import InfluxStore, client
from driftwell.stores.influx.address import parse_address
from driftwell.stores.influx.lines import bucket_of, field_text, key, nanosecond_of, portions, tag, untag
from driftwell.stores.influx.retention import subtract

TOKEN = "to-ken_Value=="
NOTHING = (200, {}, b'{"results":[]}\n')


@dataclass
class Stub:
    """A server that answers each request with what ``answer`` makes of it."""

    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]] = lambda request: NOTHING

    def url(self, login: str = "") -> str:
        return f"influxdb://{login}127.0.0.1:{self.port}/metrics"


@pytest.fixture
def stub() -> Iterator[Stub]:
    found = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            parts = urlsplit(self.path)
            request = {"path": parts.path, "options": parse_qs(parts.query), "body": body, "headers": self.headers}
            found.seen.append(request)
            status, headers, text = found.answer(request)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(text))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that went away are what is tested
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def refusal_of(stub: Stub, login: str = "ann:pa%20ss@") -> str:
    store = InfluxStore(stub.url(login))
    with pytest.raises(StoreError) as caught:
        store.add_labels([Label("a", "1", NOON)])
    with pytest.raises(StoreError):
        store.append(make_batch("b", ["1"]), count_leaves)
    store.close()
    shown = f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"
    assert "pa ss" not in shown
    assert "pa%20ss" not in shown
    return str(caught.value)


# -- addresses -----------------------------------------------------------------------------------------------


def test_address_in_all_its_forms() -> None:
    plain = parse_address("influxdb://ann:p%40ss@db.example/drift?rp=short", {})
    assert plain.authorization == "Basic " + base64.b64encode(b"ann:p@ss").decode()
    assert (plain.url, plain.retention_policy) == ("influxdb://db.example:8086/drift", "short")
    secure = parse_address("influxdb+https://:tok%3D@[::1]:9999/my%20bucket/autogen", {"INFLUXDB_TOKEN": "other"})
    assert secure.authorization == "Token tok="
    assert (secure.secure, secure.host, secure.port, secure.database) == (True, "::1", 9999, "my bucket/autogen")
    assert secure.url == "influxdb+https://[::1]:9999/my bucket/autogen"
    assert parse_address("influxdb://h/d", {}).authorization is None
    assert parse_address("influxdb://h/d", {"INFLUXDB_TOKEN": "t"}).authorization == "Token t"
    assert (
        parse_address("influxdb://h/d?token_env=MINE", {"INFLUXDB_TOKEN": "t", "MINE": "u"}).authorization == "Token u"
    )
    assert parse_address("influxdb://a:b@h/d", {"INFLUXDB_TOKEN": "t"}).authorization.startswith("Basic ")


@pytest.mark.parametrize(
    "url",
    [
        *("influxdb://ann:Geheim@host", "influxdb://ann:Geheim@/db", "influxdb://ann:Geheim@host:port/db"),
        *("influxdb://ann:Geheim@host/db?x=1", "influxdb://ann:Geheim@host/db?token", "influxdb://ann:Geheim@[::1/db"),
        *("http://ann:Geheim@host/db", "influxdb://:Geheim%0A@host/db", "influxdb://host/db?token_env=GEHEIM"),
    ],
)
def test_unusable_address_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_address(url, {})
    assert "Geheim" not in f"{caught.value!r}{caught.value.__cause__!r}"


# -- line protocol (expected by the rules of the server's documentation) --------------------------------------


def test_escaping() -> None:
    tags = {"model": tag("a b,c=d"), "feature_name": tag("x\\\n")}
    assert key("model_features", tags) == "model_features,feature_name=x%5C%0A,model=a\\ b\\,c\\=d"
    assert field_text('say "a\\b"\n') == '"say \\"a\\\\b\\"\n"'
    assert [untag(tag(name)) for name in ("", "%", "%25", "a%0A", "ü\u2028", "\x00")] == [
        *("", "%", "%25", "a%0A", "ü\u2028", "\x00")
    ]
    with pytest.raises(BadInput, match="8,000 bytes"):
        tag("x" * 9_000)
    with pytest.raises(BadInput, match="Unicode"):
        tag("\ud800")


def test_requests_are_neither_long_nor_large() -> None:
    small = list(portions([["m v=1"] * 60_000, ["m v=2"] * 60_000]))
    assert [len(portion) for portion in small] == [50_000, 10_000, 50_000, 10_000]
    large = list(portions([["m v=1"], ["x" * 6_000_000] * 7]))
    assert [sum(map(len, portion)) for portion in large] == [12_000_005, 12_000_000, 12_000_000, 6_000_000]
    assert list(portions([[], []])) == []


def test_places_are_as_documented() -> None:
    # CRC-32 of "123456789" is 0xCBF43926 (the check value in every table of CRCs).
    assert nanosecond_of("123456789") == 0xCBF43926 % 1000
    assert bucket_of("123456789") == f"{0xCBF43926 // 1000 % 64:02x}"


def test_ranges_to_delete() -> None:
    assert subtract([(0, 10)], []) == [(0, 10)]
    assert subtract([(0, 10), (11, 20)], [(5, 5)]) == [(0, 4), (6, 20)]
    assert subtract([(0, 10)], [(-5, 3), (9, 40)]) == [(4, 8)]
    assert subtract([(3, 4)], [(0, 10)]) == []


# -- what is sent --------------------------------------------------------------------------------------------


def test_token_and_bucket_mapping_of_newer_servers(stub: Stub) -> None:
    """InfluxDB 2 and 3 take the token in the header, and the bucket by its database and retention policy."""
    points: list[str] = []

    def answer(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if request["headers"]["Authorization"] != f"Token {TOKEN}":
            return 401, {}, b'{"code":"unauthorized","message":"unauthorized access"}'
        assert request["options"]["db"] == ["metrics"]
        assert request["options"]["rp"] == ["week"]
        if request["path"] == "/write":
            assert request["options"]["precision"] == ["ns"]
            points.extend(request["body"].decode().split("\n"))
            return 204, {}, b""
        query = parse_qs(request["body"].decode())["q"][0]
        if "FROM model_writers" in query and points:
            owner = points[0].split("owner=")[1].strip('"')
            series = {"name": "model_writers", "tags": {"writer": "0"}, "columns": ["time", "owner", "released"]}
            found = {"results": [{"statement_id": 0, "series": [series | {"values": [[1, owner, None]]}]}]}
            return 200, {}, json.dumps(found).encode()
        if query.startswith("DELETE"):
            return 405, {}, b'{"error":"not implemented: DELETE"}'
        return NOTHING

    stub.answer = answer
    store = InfluxStore(f"influxdb://:{TOKEN.replace('=', '%3D')}@127.0.0.1:{stub.port}/metrics?rp=week")
    assert store.append(make_batch("b", ["1", "2"]), count_leaves).stored == 2
    kinds = [line.partition(",")[0] for line in points]
    assert kinds == [
        "model_writers",
        "model_schemas",
        *["model_features"] * 4,
        *["model_predictions"] * 2,
        "model_batches",
    ]
    assert store.prune(rows_before_us=NOON).rows == 0
    store.close()
    other = InfluxStore(stub.url(":wrong@"))
    with pytest.raises(StoreError, match="check the user and password or the token"):
        other.count("m", None, *ALWAYS)
    other.close()


def test_bodies_are_compressed_and_connections_kept(stub: Stub) -> None:
    stub.answer = lambda request: (204, {}, b"") if request["path"] == "/write" else NOTHING
    found = client.Client(parse_address(stub.url(), {}))
    found.write(["m v=1"])
    found.write(["m v=1"] * 1_000)
    assert found.ask("SELECT 1") == []
    assert [request["headers"]["Content-Encoding"] for request in stub.seen] == [None, "gzip", None]
    assert stub.seen[1]["body"] == b"\n".join([b"m v=1"] * 1_000)
    assert all(request["headers"]["Authorization"] is None for request in stub.seen)
    assert len(found._idle) == 1
    found.close()
    with pytest.raises(StoreError, match="is closed"):
        found.ask("SELECT 1")


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (500, '{"error":"engine: error writing WAL entry: no space left on device"}', "disk of .* is full"),
        (503, "Service Unavailable", "answered 503: Service Unavailable"),
        (500, '{"error":"timeout"}', "answered 500: timeout"),
        (401, '{"error":"authorization failed for ann with pa ss"}', "check the user and password"),
        (403, '{"error":"\\"ann\\" user is not authorized to write"}', "lacks the right"),
        (302, "", "give the final one"),
        (413, "Request Entity Too Large", "answered 413"),
        (429, "", "answered 429: status 429"),
        (400, '{"error":"partial write: points beyond retention policy dropped=3"}', "retention policy dropped=3"),
    ],
)
def test_refusals_are_store_errors_without_secrets(stub: Stub, status: int, text: str, said: str) -> None:
    stub.answer = lambda request: (status, {"Location": "http://127.0.0.1:1/"}, text.encode())
    found = refusal_of(stub)
    assert found.startswith(("influxdb://127.0.0.1", "the disk of influxdb://127.0.0.1"))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found)


def test_no_answer_in_time(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "QUERY_SECONDS", 0.1)
    monkeypatch.setattr(client, "WRITE_SECONDS", 0.1)
    stop = threading.Event()
    stub.answer = lambda request: (stop.wait(5) and NOTHING) or NOTHING
    before = time.monotonic()
    assert "did not answer within 0.1 s" in refusal_of(stub)
    assert time.monotonic() - before < 2
    stop.set()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (200, {"Content-Length": "900", "Connection": "close"}, b'{"results":[{"statement_id":0}]}\n'),
            "IncompleteRead",
        ),
        ((200, {"Connection": "close"}, b'{"results":[{"statement_id":0,"series":[{"name":"m","colu'), "cut short"),
        ((200, {}, b"<html>a proxy</html>"), "no InfluxDB"),
        ((200, {}, b'{"results":[{"statement_id":0,"error":"shard is gone"}]}'), "shard is gone"),
        ((200, {}, b'{"error":"killed"}'), "killed"),
    ],
)
def test_answer_in_pieces_is_no_answer(stub: Stub, answer: tuple[int, dict[str, str], bytes], said: str) -> None:
    stub.answer = lambda request: answer
    store = InfluxStore(stub.url())
    with pytest.raises(StoreError, match=said):
        store.count("m", None, *ALWAYS)
    store.close()


def test_statement_that_the_server_lacks_is_not_supported(stub: Stub) -> None:
    stub.answer = lambda request: (405, {}, b'{"error":"DELETE not supported"}')
    found = client.Client(parse_address(stub.url(), {}))
    with pytest.raises(NotSupported):
        found.ask("DELETE FROM m")
    found.close()


def test_server_that_is_away(stub: Stub) -> None:
    store = InfluxStore("influxdb://ann:Geheim@127.0.0.1:1/db")
    for call in (lambda: store.models(), lambda: store.append(make_batch("b", ["1"]), count_leaves)):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            call()
        assert "Geheim" not in repr(caught.value)
    store.close()
    with pytest.raises(DriftwellError, match="is closed"):
        store.models()


def test_event_time_that_the_server_cannot_hold(stub: Stub) -> None:
    store = InfluxStore(stub.url())
    with pytest.raises(BadInput, match="1677-09-21 to 2262-04-11"):
        store.append(make_batch("b", ["1"], start_us=10**16), count_leaves)
    assert stub.seen == []
    store.close()
