"""A Redis server that is down, slow, full, locked or a replica: one sentence, no secret, nothing half-written."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers.redis import PASSWORD, RedisServer, available

from driftwell.capture.recorder import Recorder
from driftwell.errors import BadInput, FormatError, StoreError
from driftwell.stores.base import Label
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.redis import RedisStore
from driftwell.stores.redis.address import parse_address
from driftwell.stores.split import SplitStore
from driftwell.stores.sqlite import SQLiteStore

pytestmark = [
    pytest.mark.skipif(not available(), reason="needs redis-server and redis-py"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    server.cli("FLUSHALL")
    store = RedisStore(server.url)
    yield store
    store.close()


class StallingProxy:
    """Passes bytes on to the server until it is told to stall; then it takes them and says nothing."""

    def __init__(self, port: int) -> None:
        self.stalls = threading.Event()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.stalls.clear()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for source, sink, answers in ((near, far, False), (far, near, True)):
                    self._threads.append(threading.Thread(target=self._pass, args=(source, sink, answers), daemon=True))
                    self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (answers and self.stalls.is_set()):
                    sink.sendall(data)


def messages_of(error: BaseException) -> str:
    """Everything a traceback would show."""
    causes: list[str] = []
    one: BaseException | None = error
    while one is not None:
        causes.append(f"{one!r} {one}")
        one = one.__cause__ or one.__context__
    return " ".join(causes)


def refused(words: str, work: Callable[[], object]) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        work()
    assert PASSWORD not in messages_of(caught.value)
    assert "hunter2" not in messages_of(caught.value)


def test_wrong_password_or_database_is_told_without_the_password(server: RedisServer) -> None:
    base = f"127.0.0.1:{server.port}"
    refused("refuses the name or password", lambda: RedisStore(f"redis://:hunter2@{base}/0"))
    refused("refuses the name or password", lambda: RedisStore(f"redis://{base}/0"))
    refused("refuses the name or password", lambda: RedisStore(f"redis://nobody:hunter2@{base}/0"))
    refused("DB index", lambda: RedisStore(server.url.removesuffix("/0") + "/99"))
    refused("refuses the name or password", lambda: RedisStore(f"redis://{base}/0?password=hunter2"))


def test_address_that_cannot_be_used_is_told_without_the_password(store: RedisStore) -> None:
    for url in (
        "http://:hunter2@h/0",
        "redis://:hunter2@h:port/0",
        "redis://:hunter2@h/zero",
        "redis://:hunter2@h/0?max_rows=-1",
        "redis://:hunter2@h/0?prefix=",
        "redis://:hunter2@h/0?prefix={}",
        "redis://:hunter2@h/0?decode_responses=true",
        "redis://:hunter2@h/0?socket_timeout=soon",
        "redis://:hunter2@h/0?no_such_option=1",
    ):
        with pytest.raises(BadInput) as caught:
            RedisStore(url)
        assert "hunter2" not in messages_of(caught.value), url
    assert PASSWORD not in f"{store.url} {store!r} {parse_address('redis://:' + PASSWORD + '@h/0')!r}"
    assert "hunter2" not in parse_address("redis://h/0?password=hunter2&ssl_password=hunter2").shown
    for hours in (0, -1, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="retention_hours"):
            RedisStore("redis://127.0.0.1/0", retention_hours=hours)


def test_server_that_repeats_the_password_is_not_quoted() -> None:
    """As servers do that do not know a command: ``unknown command 'AUTH', with args beginning with …``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as near:
                    while data := near.recv(65_536):
                        near.sendall(b"-ERR unknown command, with args beginning with: %r\r\n" % data)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    address = f"127.0.0.1:{listener.getsockname()[1]}/0?protocol=2"
    refused(r"unknown command, .*\*\*\*", lambda: RedisStore(f"redis://:hunter2@{address}"))
    refused(r"unknown command, .*\*\*\*", lambda: RedisStore(f"redis://:%68unter2@{address}"))
    refused(r"unknown command, .*\*\*\*", lambda: RedisStore(f"redis://{address}&password=hunter2"))
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_server_that_is_down_is_told_and_found_again() -> None:
    with RedisServer(appendonly=True, appendfsync="always") as own:
        store = RedisStore(own.url)
        store.append(make_batch("b1", ["a"]), count_leaves)
        own.stop()
        refused("cannot be reached", lambda: store.append(make_batch("b2", ["b"]), count_leaves))
        refused("cannot be reached", lambda: store.read("m", None, *ALWAYS))
        refused("cannot be reached", lambda: RedisStore(own.url))
        own.start()
        assert store.append(make_batch("b2", ["b"]), count_leaves).stored == 1
        own.kill()
        own.start()
        assert store.append(make_batch("b3", ["b", "c"]), count_leaves).stored == 1
        assert store.read("m", None, *ALWAYS)["prediction_id"].to_pylist() == ["a", "b", "c"]
        store.close()
    refused("is closed", lambda: store.count("m", None, *ALWAYS))


def test_slow_server_is_an_error_and_what_it_did_is_not_done_twice(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    proxy = StallingProxy(server.port)
    store = RedisStore(f"redis://:{PASSWORD}@127.0.0.1:{proxy.port}/0?socket_timeout=0.4")
    mark = store.append(make_batch("b0", ["known", "other"]), count_leaves).arrival
    assert mark is not None
    batch = make_batch("b1", ["a", "b", "known", "known"])
    store.add_labels([Label("a", "1", NOON)])
    proxy.stalls.set()
    before = time.monotonic()
    refused("did not answer in time", lambda: store.append(batch, count_leaves))
    assert time.monotonic() - before < 2
    refused("did not answer in time", lambda: store.read("m", None, *ALWAYS))
    proxy.stalls.clear()

    # The first call of the script said which rows are known, and that answer was lost: nothing is stored yet.
    built: list[list[str]] = []
    result = store.append(batch, lambda b: built.append(b.rows["prediction_id"].to_pylist()) or [])
    assert (result.stored, result.duplicate, result.labels_matched) == (2, 2, 1)
    assert (result.arrival or 0) > mark
    assert built[-1] == ["a", "b"]

    # Now the call that stores is the one whose answer is lost.
    proxy.stalls.set()
    lost = make_batch("b2", ["x", "y", "x"])
    refused("did not answer in time", lambda: store.append(lost, count_leaves))
    assert server.cli("HLEN", "driftwell:{all}:s1:ids") == "6"
    proxy.stalls.clear()
    built.clear()
    result = store.append(lost, lambda b: built.append(b.rows["prediction_id"].to_pylist()) or [])
    assert (result.stored, result.duplicate, built[-1]) == (2, 1, ["x", "y"])
    assert store.read("m", None, *ALWAYS, after_arrival=(result.arrival or 0) - 1).num_rows == 2
    again = store.append(lost, count_leaves)
    assert (again.stored, again.duplicate, again.arrival) == (0, 3, None)
    store.close()
    proxy.close()


def test_full_server_refuses_and_nothing_is_half_written() -> None:
    with RedisServer("--maxmemory", "6mb", "--maxmemory-policy", "noeviction") as own:
        store = RedisStore(own.url)
        stored = 0
        noise = os.urandom

        def fill(number: int) -> int:
            ids = [f"{number}-{i}-{noise(16).hex()}" for i in range(500)]
            batch = make_batch(f"b{number}", ids, segment=[noise(60).hex() for _ in ids])
            return store.append(batch, count_leaves).stored

        def fill_up() -> None:
            nonlocal stored
            for number in range(1_000):
                stored += fill(number)

        refused("out of memory: raise its maxmemory", fill_up)
        own.cli("CONFIG", "SET", "maxmemory", "3mb")
        refused("out of memory", lambda: store.add_labels([Label("early", '"x"', NOON)]))
        assert stored > 0
        assert store.count("m", None, *ALWAYS) == stored
        assert store.outcomes("m", None, *ALWAYS).num_rows == stored
        assert own.cli("HLEN", "driftwell:{all}:s1:ids") == own.cli("GET", "driftwell:{all}:rows") == str(stored)
        assert own.cli("ZCARD", "driftwell:{all}:order") == own.cli("HLEN", "driftwell:{all}:batches")
        assert any("memory is" in problem for problem in store.info()["problems"])
        own.cli("CONFIG", "SET", "maxmemory", "100mb")
        assert fill(1_000) == 500
        assert store.count("m", None, *ALWAYS) == stored + 500
        store.close()


def test_full_server_takes_a_batch_where_old_ones_can_go() -> None:
    with RedisServer("--maxmemory", "6mb") as own:
        short = RedisStore(own.url, retention_hours=1.5 / 3_600)
        for number in range(3):
            ids = [f"{number}-{i}-{os.urandom(16).hex()}" for i in range(500)]
            short.append(make_batch(f"b{number}", ids), count_leaves)
        own.cli("SETRANGE", "filler", "5000000", "x")  # another user of the server
        time.sleep(1.6)
        # Values went by their time to live; ids and indexes have to be cleaned before there is room.
        own.cli("CONFIG", "SET", "maxmemory", str(int(memory_of(own)) - 20_000))
        assert short.append(make_batch("new", ["a"]), count_leaves).stored == 1
        short.close()


def memory_of(server: RedisServer) -> str:
    lines = dict(line.split(":", 1) for line in server.cli("INFO", "memory").splitlines() if ":" in line)
    return lines["used_memory"]


def test_replica_and_newer_layout_are_refused(server: RedisServer) -> None:
    with RedisServer() as replica:
        replica.cli("CONFIG", "SET", "masterauth", PASSWORD)
        RedisStore(server.url).close()
        replica.cli("REPLICAOF", "127.0.0.1", str(server.port))
        refused("read-only replica", lambda: RedisStore(replica.url).append(make_batch("b", ["a"]), count_leaves))
    server.cli("SET", "driftwell:{all}:layout", "2")
    with pytest.raises(FormatError, match="newer version"):
        RedisStore(server.url)
    server.cli("DEL", "driftwell:{all}:layout")


def test_what_is_wrong_with_the_server_is_told(server: RedisServer, store: RedisStore) -> None:
    problems = " ".join(store.info()["problems"])
    assert "maxmemory is not set" in problems
    assert "append-only file is off" in problems
    server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert "set it to noeviction" in " ".join(store.info()["problems"])
    server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    info = store.info()
    assert (info["kind"], info["server_version"]) == ("redis", server_field(server, "server", "redis_version"))
    with RedisServer("--maxmemory", "200mb", appendonly=True) as good:
        store = RedisStore(good.url)
        assert store.info()["problems"] == []
        store.close()


def server_field(server: RedisServer, section: str, name: str) -> str:
    lines = dict(line.split(":", 1) for line in server.cli("INFO", section).splitlines() if ":" in line)
    return lines[name]


def test_all_keys_lie_in_one_slot_of_a_cluster() -> None:
    with RedisServer("--cluster-enabled", "yes") as node:
        node.cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + 10
        while "cluster_state:ok" not in node.cli("CLUSTER", "INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        store = RedisStore(node.url)
        store.add_labels([Label("b", "1", NOON)])
        for version in ("v1", "v2"):
            assert store.append(make_batch(version, ["a", "b"], version=version), count_leaves).labels_matched == 1
        assert store.read("m", None, *ALWAYS).num_rows == 4
        assert store.delete(prediction_ids=["a"]) == 2
        slots = {node.cli("CLUSTER", "KEYSLOT", key) for key in node.cli("KEYS", "*").splitlines()}
        assert len(slots) == 1
        store.close()


def test_child_of_a_fork_has_connections_of_its_own(store: RedisStore) -> None:
    store.append(make_batch("parent", ["p"]), count_leaves)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            stored = [store.append(make_batch(f"c{i}", [f"c{i}"]), count_leaves).stored for i in range(50)]
            code = 0 if stored == [1] * 50 else 2
        finally:
            os._exit(code)
    for i in range(50):
        assert store.append(make_batch(f"p{i}", [f"p{i}"]), count_leaves).stored == 1
    assert os.waitpid(child, 0)[1] == 0
    assert store.count("m", None, *ALWAYS) == 101


@pytest.mark.slow
def test_stop_and_start_under_traffic_loses_nothing(tmp_path: Path) -> None:
    with RedisServer(appendonly=True, appendfsync="always") as own:
        ledger = SQLiteStore(tmp_path / "ledger.db")
        store = SplitStore(RedisStore(own.url), ledger)
        recorder = Recorder(
            store, reference_for=lambda m, v: None, leaf_builder=lambda r: count_leaves, flush_seconds=0.02
        )
        made: list[str] = []
        done = threading.Event()

        def traffic() -> None:
            while not done.is_set():
                made.append(recorder.offer("m", "v1", {"x": len(made)}, 1))
                time.sleep(0.001)

        thread = threading.Thread(target=traffic)
        thread.start()
        for end in (own.stop, own.kill):
            time.sleep(0.4)
            end()
            time.sleep(0.3)
            own.start()
        time.sleep(0.3)
        done.set()
        thread.join()
        assert recorder.flush(30)
        stats = recorder.stats()
        recorder.close()
        stored = store.outcomes("m", "v1", 0, 10**17)["prediction_id"].to_pylist()
        store.close()
        counted = sum(leaf.n for leaf in ledger.leaves("m", None, 0, 10**17))
        ledger.close()
    assert sorted(stored) == sorted(made)
    assert counted == len(made)
    assert (stats["stored"], stats["dropped"], stats["rejected"]) == (len(made), {}, {})


def test_unix_socket_is_an_address_too() -> None:
    with tempfile.TemporaryDirectory() as folder, RedisServer("--unixsocket", f"{folder}/s") as own:
        store = RedisStore(f"unix://:{PASSWORD}@{folder}/s?db=3&max_rows=7")
        assert store.url == f"unix://{folder}/s?db=3&max_rows=7"
        assert store.append(make_batch("b", ["a"]), count_leaves).stored == 1
        assert own.cli("-n", "3", "GET", "driftwell:{all}:rows") == "1"
        store.close()
