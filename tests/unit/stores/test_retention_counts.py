"""Whatever is sealed, pruned, counted anew, swept or repeated, in any order: every stored row is in the leaves once."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.stores.base import HOUR_US
from driftwell.stores.checks import ALWAYS, NOON, edges_of, make_batch, merge_counts
from driftwell.stores.memory import MemoryStore
from driftwell.stores.split import SplitLedger, SplitStore, sweep

MINUTE = HOUR_US // 60
EDGES = st.sampled_from(["plain", "r1", "r2"])
ROWS = st.lists(st.tuples(st.integers(0, 239), st.sampled_from([None, "eu"])), min_size=1, max_size=4)
APPEND = st.tuples(st.sampled_from(["append", "append", "crash"]), ROWS, EDGES)
OTHER = (
    st.tuples(st.just("seal"), st.integers(1, 2), st.none())
    | st.tuples(st.just("prune"), st.integers(0, 3), st.none())
    | st.tuples(st.just("reference"), st.none(), EDGES)
    | st.tuples(st.just("again"), st.integers(0, 9), EDGES)
    | st.tuples(st.just("mark"), st.none(), st.none())
    | st.tuples(st.just("sweep"), st.none(), EDGES)
)
ROUNDS = st.lists(
    st.tuples(st.lists(APPEND, min_size=1, max_size=4), st.lists(OTHER, min_size=1, max_size=5)), min_size=1, max_size=3
)


class Counting(MemoryStore):
    seal = partialmethod(MemoryStore.seal, merge=merge_counts)
    replace_leaves = partialmethod(MemoryStore.replace_leaves, merge=merge_counts)


class CountingSplit(SplitLedger):
    replace_leaves = partialmethod(SplitLedger.replace_leaves, merge=merge_counts)


@dataclass
class Life:
    """A store and what was stored in it: ``cells`` counts rows by hour and segment."""

    rows: Any
    store: Any
    ledger: Any
    batches: list[Any] = field(default_factory=list)
    cells: Counter[Any] = field(default_factory=Counter)

    def live(self, what: str, value: Any, edges: str | None) -> None:
        if what in ("append", "crash"):
            self._append(value, edges, crash=what == "crash" and self.rows is not self.store)
        elif what == "again" and self.batches:
            batch = self.batches[value % len(self.batches)]
            assert self.store.append(batch, edges_of(edges)).stored == 0
        elif what == "seal":
            self.ledger.seal(NOON + 9 * HOUR_US, more_than=value)
        elif what == "prune":  # all but the newest; what no leaf counts yet would be lost, so the sweep comes first
            self.live("sweep", None, "plain")
            self.store.prune(rows_before_us=NOON + len(self.batches) - value)
        elif what == "reference":
            self.ledger.replace_leaves("m", "v1", edges, edges_of(edges))
        elif what == "mark":
            self.ledger.set_mark("m")
        elif what == "sweep" and self.rows is not self.store:
            sweep(self.rows, self.ledger, lambda model, version: edges_of(edges))

    def _append(self, rows: list[Any], edges: str | None, *, crash: bool) -> None:
        number = len(self.batches)
        times, segments = [NOON + minute * MINUTE for minute, _ in rows], [segment for _, segment in rows]
        ids = [f"{number}-{i}" for i in range(len(rows))]
        batch = make_batch(f"b{number}", ids, timestamp=times, segment=segments, start_us=NOON + number)
        target = self.rows if crash else self.store  # a crash comes after the rows and before their leaf
        assert target.append(batch, edges_of(edges)).stored == len(rows)
        self.batches.append(batch)
        self.cells.update((at // HOUR_US * HOUR_US, s) for at, s in zip(times, segments, strict=True))

    def counted(self) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for leaf in self.ledger.leaves("m", None, *ALWAYS):
            assert leaf.n == int(leaf.state)
            found[leaf.hour_us, leaf.segment] += leaf.n
        return found


@pytest.mark.parametrize("split", [False, True], ids=["one database", "rows and ledger apart"])
@settings(max_examples=80, deadline=None)
@given(rounds=ROUNDS)
def test_every_row_is_counted_once(split: bool, rounds: list[Any]) -> None:
    with closing(Counting()) as rows, closing(Counting()) as ledger:
        life = Life(rows, SplitStore(rows, ledger), CountingSplit(rows, ledger)) if split else Life(rows, rows, rows)
        for step in itertools.chain.from_iterable((*appends, *others) for appends, others in rounds):
            life.live(*step)
        life.live("sweep", None, "plain")
        assert life.counted() == life.cells
        assert rows.count("m", None, *ALWAYS) == life.cells.total()
