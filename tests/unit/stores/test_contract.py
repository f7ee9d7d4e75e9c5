"""One contract for every store: all laws, over real servers, each law in a place of its own.

A store that is no ledger is tested with SQLite as the ledger beside it. Laws that need what a store declares not to do
are not asked of it. Server stores are skipped where the server or its driver is missing.
"""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partialmethod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from driftwell.errors import DriftwellError, StoreError
from driftwell.stores import open_store
from driftwell.stores.base import AppendResult
from driftwell.stores.checks import ALWAYS, Law, count_leaves, laws, make_batch, merge_counts
from driftwell.stores.memory import MemoryStore
from driftwell.stores.split import SplitLedger, SplitStore
from driftwell.stores.sqlite import SQLiteStore

WRONG_PASSWORD = "not-the-password"


@cache
def counting(kind: type) -> type:
    """The same class, but merging the mere counts that the laws use as leaf states."""
    own = {name: partialmethod(getattr(kind, name), merge=merge_counts) for name in ("seal", "replace_leaves")}
    return type(f"Counting{kind.__name__}", (kind,), own)


class CountingSplitLedger(SplitLedger):
    replace_leaves = partialmethod(SplitLedger.replace_leaves, merge=merge_counts)


@dataclass(frozen=True)
class Backend:
    """How a store is opened in a place that nobody used before; ``server`` names the module of a server's class."""

    name: str
    store: str  # module and class
    place: Callable[[Any, int], str]
    server: str = ""


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("sqlite", "driftwell.stores.sqlite:SQLiteStore", lambda folder, i: f"{folder}/{i}.db"),
        Backend("memory", "driftwell.stores.memory:MemoryStore", lambda folder, i: ""),
        Backend(
            "postgres",
            "driftwell.stores.postgres:PostgresStore",
            lambda server, i: with_option(server.url, f"schema=law{i}"),
            "PostgresServer",
        ),
        Backend(
            "redis",
            "driftwell.stores.redis:RedisStore",
            lambda server, i: with_option(server.url, f"prefix=law{i}"),
            "RedisServer",
        ),
        Backend(
            "influx",
            "driftwell.stores.influx:InfluxStore",
            lambda server, i: urlsplit(server.url)._replace(path=f"/law{i}").geturl(),
            "InfluxServer",
        ),
    )
}
SERVERS = [name for name, backend in BACKENDS.items() if backend.server]
NUMBERS = itertools.count()


def with_option(url: str, option: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{option}"


def named(backend: Backend) -> Any:
    module, _, name = backend.store.partition(":")
    return getattr(importlib.import_module(module), name)


@contextmanager
def started(name: str) -> Iterator[Any]:
    """A running server of this backend; skips where it is missing."""
    module = pytest.importorskip(f"tests.servers.{name}", reason=f"there is no server of {name} to test with")
    if not module.available():
        pytest.skip(f"the server of {name} or its driver is not installed")
    server = getattr(module, BACKENDS[name].server)()
    server.start()
    try:
        yield server
    finally:
        for end in ("stop", "close", "remove"):
            getattr(server, end, lambda: None)()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """What the place of a backend is made of: its server, started when it is first asked for, or a folder."""
    running: dict[str, Any] = {}
    contexts: list[Any] = []

    def find(name: str) -> Any:
        if not BACKENDS[name].server:
            return tmp_path_factory.mktemp(name)
        if name not in running:
            context = started(name)
            running[name] = context.__enter__()
            contexts.append(context)
        return running[name]

    yield find
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def pair(request: pytest.FixtureRequest, servers: Callable[[str], Any], tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """An empty store and its ledger."""
    backend = BACKENDS[request.param]
    place = backend.place(servers(backend.name), next(NUMBERS))
    kind = named(backend)
    if hasattr(kind, "put_check"):  # a ledger too
        with closing(counting(kind)(place) if place else counting(kind)()) as store:
            yield store, store
            assert store.info()["integrity"] == "ok"
        return
    with closing(kind(place)) as rows, closing(counting(SQLiteStore)(tmp_path / "ledger.db")) as ledger:
        yield SplitStore(rows, ledger), CountingSplitLedger(rows, ledger)


@pytest.mark.parametrize("pair", BACKENDS, indirect=True)
@pytest.mark.parametrize("law", laws(), ids=lambda law: law.__name__.removeprefix("law_"))
def test_every_store_obeys(law: Law, pair: tuple[Any, Any]) -> None:
    store, ledger = pair
    missing = sorted(name for name in law.needs if not getattr(store.capabilities, name))
    if missing:
        pytest.skip(f"this store declares that it has no {', '.join(missing)}")
    law(store, ledger)


@pytest.mark.parametrize("pair", BACKENDS, indirect=True)
def test_every_store_tells_its_state(pair: tuple[Any, Any]) -> None:
    store, _ = pair
    store.append(make_batch("b", ["a"]), count_leaves)
    found = store.info()
    assert found["kind"] in store.url or found["kind"] == "influxdb"
    assert re.match(r"\d+\.\d+", str(found["server_version"]).lstrip("v"))
    assert found["bytes"] is None or found["bytes"] > 0
    assert all(isinstance(problem, str) for problem in found["problems"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_store_goes_on_when_its_server_is_back(name: str, tmp_path: Path) -> None:
    with started(name) as server, closing(open_store(server.url)) as store:
        store.append(make_batch("b1", ["a"]), count_leaves)
        server.stop()
        with pytest.raises(StoreError) as caught:
            store.append(make_batch("b2", ["b"]), count_leaves)
        password = urlsplit(server.url).password
        assert password not in str(caught.value)
        server.start()
        found = store.append(make_batch("b2", ["b"]), count_leaves)
        assert (found.stored, found.duplicate) == (1, 0)
        if store.capabilities.durable:
            assert store.outcomes("m", None, *ALWAYS)["prediction_id"].to_pylist() == ["a", "b"]
        assert store.append(make_batch("b2", ["b"]), count_leaves) == AppendResult(0, duplicate=1)


@pytest.mark.parametrize("name", SERVERS)
def test_a_wrong_password_is_told_without_it(name: str, servers: Callable[[str], Any]) -> None:
    url = servers(name).url
    right = urlsplit(url).password
    assert right
    with (
        pytest.raises(StoreError, match=r"(?i)password|authenti|user") as caught,
        closing(open_store(url.replace(f":{right}@", f":{WRONG_PASSWORD}@"))) as store,
    ):
        store.models()
    said = repr(caught.value) + repr(caught.value.__cause__)
    assert WRONG_PASSWORD not in said
    assert right not in said


@pytest.mark.parametrize("name", SERVERS)
def test_addresses_are_shown_without_passwords(name: str, servers: Callable[[str], Any]) -> None:
    url = servers(name).url
    with closing(open_store(url)) as store:
        assert urlsplit(url).password not in store.url + repr(store) + str(store.info())


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_not_there_is_named(name: str, servers: Callable[[str], Any]) -> None:
    url = servers(name).url
    port = urlsplit(url).port
    with (
        pytest.raises(StoreError, match=r"127\.0\.0\.1") as caught,
        closing(open_store(url.replace(f":{port}", ":1"))) as store,
    ):
        store.models()
    assert urlsplit(url).password not in str(caught.value)


def test_laws_notice_a_store_that_breaks_them() -> None:
    class Reversed(counting(MemoryStore)):
        def recent(self, *args: Any, **kwargs: Any) -> Any:
            return super().recent(*args, **kwargs)[::-1]

    (law,) = (law for law in laws() if law.__name__ == "law_recent_rows_are_newest_first")
    with closing(Reversed()) as broken, pytest.raises(AssertionError, match="JSON is decoded"):
        law(broken, broken)


def test_a_law_needs_only_what_there_is() -> None:
    from driftwell.stores.checks import needs

    with pytest.raises(DriftwellError, match="exact_dedupe"):
        needs("exact_dedup")
