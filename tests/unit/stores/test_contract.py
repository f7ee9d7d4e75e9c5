"""Every law of the stores, over a real SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path

import pytest

from driftwell.stores.checks import Law, laws, merge_counts
from driftwell.stores.sqlite import SQLiteStore


class CountingStore(SQLiteStore):
    """Merges the mere counts that the laws use as leaf states."""

    seal = partialmethod(SQLiteStore.seal, merge=merge_counts)
    replace_leaves = partialmethod(SQLiteStore.replace_leaves, merge=merge_counts)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    store = CountingStore(tmp_path / "laws.db")
    yield store
    assert store.info()["integrity"] == "ok"
    store.close()


@pytest.mark.parametrize("law", laws(), ids=lambda law: law.__name__.removeprefix("law_"))
def test_sqlite_obeys(law: Law, store: CountingStore) -> None:
    law(store, store)


def test_laws_notice_a_store_that_breaks_them(tmp_path: Path) -> None:
    class Reversed(CountingStore):
        def recent(self, *args, **kwargs):
            return super().recent(*args, **kwargs)[::-1]

    broken = Reversed(tmp_path / "broken.db")
    (law,) = (law for law in laws() if law.__name__ == "law_recent_rows_are_newest_first")
    with pytest.raises(AssertionError, match="JSON is decoded"):
        law(broken, broken)
