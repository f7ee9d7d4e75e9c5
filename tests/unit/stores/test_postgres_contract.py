"""Every law of the stores, over a real PostgreSQL server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partialmethod

import pytest
from tests.servers import postgres
from tests.servers.postgres import PostgresServer

from driftwell.stores.checks import Law, laws, merge_counts
from driftwell.stores.memory import MemoryStore
from driftwell.stores.postgres import PostgresStore
from driftwell.stores.split import SplitLedger, SplitStore

pytestmark = pytest.mark.skipif(not postgres.available(), reason="no PostgreSQL server can be started here")
numbers = itertools.count()


class CountingStore(PostgresStore):
    """Merges the mere counts that the laws use as leaf states."""

    seal = partialmethod(PostgresStore.seal, merge=merge_counts)
    replace_leaves = partialmethod(PostgresStore.replace_leaves, merge=merge_counts)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture
def store(server: PostgresServer) -> Iterator[CountingStore]:
    store = CountingStore(server.url_of(schema=f"law_{next(numbers)}"))
    yield store
    assert store.info()["integrity"] == "ok"
    store.close()


@pytest.mark.parametrize("law", laws(), ids=lambda law: law.__name__.removeprefix("law_"))
def test_postgres_obeys(law: Law, store: CountingStore) -> None:
    law(store, store)


OF_LEAVES = [law for law in laws() if any(word in law.__name__ for word in ("leaves", "seal", "mark", "sweep"))]


@pytest.mark.parametrize("law", OF_LEAVES, ids=lambda law: law.__name__.removeprefix("law_"))
def test_postgres_is_the_ledger_of_rows_elsewhere(law: Law, store: CountingStore) -> None:
    rows = MemoryStore()
    law(SplitStore(rows, store), MergingLedger(rows, store))
    rows.close()


class MergingLedger(SplitLedger):
    """Merges the mere counts that the laws use as leaf states."""

    replace_leaves = partialmethod(SplitLedger.replace_leaves, merge=merge_counts)
