"""One contract for every store: all laws, over real servers, each law in a place of its own.

A store that is no ledger is tested with SQLite as the ledger beside it. Laws that need what a store declares not to do
are not asked of it. Server stores are skipped where the server or its driver is missing.
"""

from __future__ import annotations

import importlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partialmethod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.servers.running import SERVERS, started

from driftwell.errors import DriftwellError, StoreError
from driftwell.stores import open_store
from driftwell.stores.base import AppendResult
from driftwell.stores.checks import ALWAYS, Law, count_leaves, laws, make_batch, merge_counts
from driftwell.stores.memory import MemoryStore
from driftwell.stores.split import SplitLedger, SplitStore

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
    """A store, how it is opened in a place that nobody used before, and the ledger beside it where it is none."""

    store: str  # module and class
    place: Callable[[Any, int], str] = lambda folder, i: f"{folder}/{i}.db"  # of the server or a folder, and a number
    server: str = ""  # one of ``SERVERS``
    ledger: str = "sqlite"


def with_option(url: str, option: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{option}"


def in_schema(server: Any, _: int) -> str:
    server.empty("laws")
    return with_option(server.url, "schema=laws")


def under_prefix(server: Any, i: int) -> str:
    return with_option(server.url, f"prefix=law{i}")


def in_database(server: Any, i: int) -> str:
    return urlsplit(server.url)._replace(path=f"/law{i}").geturl()


REDIS = "driftwell.stores.redis:RedisStore"
BACKENDS = {
    "sqlite": Backend("driftwell.stores.sqlite:SQLiteStore"),
    "memory": Backend("driftwell.stores.memory:MemoryStore", lambda _folder, _i: ""),
    "postgres": Backend("driftwell.stores.postgres:PostgresStore", in_schema, "postgres"),
    "redis": Backend(REDIS, under_prefix, "redis"),
    "redis_beside_postgres": Backend(REDIS, under_prefix, "redis", ledger="postgres"),
    "influx": Backend("driftwell.stores.influx:InfluxStore", in_database, "influx"),
}
NUMBERS = itertools.count()


def opened(name: str, servers: Callable[[str], Any], folder: Path) -> Any:
    """The store of a backend in a new place; one that is a ledger merges the counts of the laws."""
    backend = BACKENDS[name]
    place = backend.place(servers(backend.server) if backend.server else folder, next(NUMBERS))
    module, _, kind = backend.store.partition(":")
    found = getattr(importlib.import_module(module), kind)
    found = counting(found) if hasattr(found, "put_check") else found
    return found(place) if place else found()


@pytest.fixture
def pair(request: pytest.FixtureRequest, servers: Callable[[str], Any], tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """An empty store and its ledger."""
    with closing(opened(request.param, servers, tmp_path)) as rows:
        if rows.capabilities.ledger:
            yield rows, rows
            assert rows.info()["integrity"] == "ok"
            return
        with closing(opened(BACKENDS[request.param].ledger, servers, tmp_path)) as ledger:
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
    if found["kind"] in ("postgresql", "redis", "influxdb"):
        assert abs(found["server_time_us"] / 1e6 - time.time()) < 3  # InfluxDB tells it to the second


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
