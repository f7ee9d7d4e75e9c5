"""Every law of the stores, over a real Redis server with SQLite as the ledger beside it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path

import pytest
from tests.servers.redis import RedisServer, available

from driftwell.stores.checks import Law, laws, merge_counts
from driftwell.stores.redis import RedisStore
from driftwell.stores.split import SplitLedger, SplitStore
from driftwell.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(not available(), reason="needs redis-server and redis-py")


class CountingLedger(SQLiteStore):
    """Merges the mere counts that the laws use as leaf states."""

    seal = partialmethod(SQLiteStore.seal, merge=merge_counts)


class CountingSplit(SplitLedger):
    replace_leaves = partialmethod(SplitLedger.replace_leaves, merge=merge_counts)


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


@pytest.mark.parametrize("law", laws(), ids=lambda law: law.__name__.removeprefix("law_"))
def test_redis_obeys(law: Law, store: RedisStore, tmp_path: Path) -> None:
    missing = [name for name in getattr(law, "needs", ()) if not getattr(store.capabilities, name)]
    if missing:
        pytest.skip(f"not a promise of this store: {missing}")
    ledger = CountingLedger(tmp_path / "ledger.db")
    law(SplitStore(store, ledger), CountingSplit(store, ledger))
    ledger.close()
