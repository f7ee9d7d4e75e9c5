"""What an InfluxDB store declares not to do, and what it does all the same within one process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from tests.servers.influx import InfluxServer, available

from driftwell.errors import NotSupported
from driftwell.stores.base import AppendResult
from driftwell.stores.checks import ALWAYS, NOON, SECOND, Law, count_leaves, laws, make_batch, merge_counts
from driftwell.stores.influx import InfluxStore
from driftwell.stores.split import SplitLedger, SplitStore
from driftwell.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(not available(), reason="influxd is not installed")

NAMES = (f"laws{i}" for i in itertools.count())


class CountingLedger(SQLiteStore):
    """Merges the mere counts that the laws use as leaf states."""

    seal = partialmethod(SQLiteStore.seal, merge=merge_counts)
    replace_leaves = partialmethod(SQLiteStore.replace_leaves, merge=merge_counts)


class CountingSplitLedger(SplitLedger):
    replace_leaves = partialmethod(SplitLedger.replace_leaves, merge=merge_counts)


@pytest.fixture(scope="module")
def server(servers: Callable[[str], Any]) -> InfluxServer:
    return servers("influx")


@pytest.fixture
def store(server: InfluxServer) -> Iterator[InfluxStore]:
    store = InfluxStore(server.database(next(NAMES)))
    yield store
    store.close()


OF_ONE_PROCESS = [law for law in laws() if law.needs == {"exact_dedupe"}]


@pytest.mark.parametrize("law", OF_ONE_PROCESS, ids=lambda law: law.__name__.removeprefix("law_"))
def test_dedupe_is_exact_in_one_process(law: Law, store: InfluxStore, tmp_path: Path) -> None:
    ledger = CountingLedger(tmp_path / "ledger.db")
    law(SplitStore(store, ledger), CountingSplitLedger(store, ledger))
    ledger.close()


def test_capabilities_are_declared(store: InfluxStore) -> None:
    found = store.capabilities
    assert (found.ledger, found.exact_dedupe, found.delete, found.durable) == (False, False, False, True)


@pytest.mark.parametrize("what", [{"prediction_ids": ["a"]}, {"entity_ids": ["u"]}])
def test_delete_is_refused_and_names_who_can(store: InfluxStore, what: dict[str, list[str]]) -> None:
    with pytest.raises(NotSupported, match="PostgreSQL or SQLite"):
        store.delete(**what)


def test_another_process_does_not_know_an_id_at_another_time(server: InfluxServer, store: InfluxStore) -> None:
    """The declared difference: dedupe is exact in one process, and by event time between several."""
    other = InfluxStore(server.database(store.url.rpartition("/")[2]))
    assert store.append(make_batch("b1", ["a", "b"]), count_leaves) == AppendResult(2)
    assert other.append(make_batch("b2", ["a", "b"]), count_leaves) == AppendResult(0, duplicate=2)
    later = make_batch("b3", ["a"], start_us=NOON + 9 * SECOND)
    assert store.append(later, count_leaves) == AppendResult(0, duplicate=1)
    assert other.append(later, count_leaves) == AppendResult(1)
    assert store.count("m", "v1", *ALWAYS) == 3
    other.close()
