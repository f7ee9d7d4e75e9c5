"""Sealing and rebuilding with real profiles, and with other processes at work in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from driftwell.profiles.profile import Profile
from driftwell.stores.base import HOUR_US, Leaf, PredictionBatch
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, make_batch, merge_counts
from driftwell.stores.sqlite import SQLiteStore
from driftwell.stores.windows import leaf_builder

LATER = NOON + 99 * HOUR_US


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "s.db")
    yield store
    store.close()


def counted(store: SQLiteStore, edges_id: str) -> int:
    return sum(leaf.n for leaf in store.leaves("m", None, *ALWAYS) if leaf.edges_id == edges_id)


def test_sealed_profiles_equal_the_profile_of_all_rows(store: SQLiteStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = [{"x": float(v), "colour": str(rng.choice(["red", "blue"]))} for v in rng.normal(size=90)]
    build = leaf_builder(None)
    for i in range(9):
        ids = [f"{i}-{k}" for k in range(10)]
        store.append(make_batch(f"b{i}", ids, features=values[i * 10 : i * 10 + 10], score=0.5), build)
    assert store.seal(LATER, more_than=2) == 1
    (sealed,) = store.leaves("m", "v1", *ALWAYS)

    whole = make_batch("all", [str(k) for k in range(90)], features=values, step_us=0, score=0.5)
    (expected,) = build(whole)
    assert (sealed.n, sealed.edges_id) == (90, expected.edges_id)
    assert sealed.state == expected.state
    column = Profile.from_bytes(sealed.state).columns["x"]
    assert column.mean == pytest.approx(np.mean([v["x"] for v in values]), rel=1e-9)


def test_leaves_merged_while_they_are_counted_anew_are_all_replaced(store: SQLiteStore) -> None:
    for i in range(3):
        store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    meanwhile = iter(["once"])

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        if next(meanwhile, None):  # another process stores a batch in the old bins and seals the hour
            store.append(make_batch("b9", ["9"]), count_leaves)
            store.seal(LATER, more_than=1, merge=merge_counts)
        return edges_of("new")(batch)

    assert store.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 4
    assert (counted(store, "new"), counted(store, "counts")) == (4, 0)


def test_two_processes_that_rebuild_do_not_count_twice(store: SQLiteStore) -> None:
    for i in range(3):
        store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    meanwhile = iter(["once"])

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        if next(meanwhile, None):
            assert store.replace_leaves("m", "v1", "new", edges_of("new"), merge=merge_counts) == 3
        return edges_of("new")(batch)

    assert store.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 0
    assert (counted(store, "new"), counted(store, "counts")) == (3, 0)


def test_batch_stored_while_rebuilding_stays_in_its_bins_until_the_next_time(store: SQLiteStore) -> None:
    store.append(make_batch("b1", ["1"]), count_leaves)

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        store.append(make_batch("b2", ["2"]), count_leaves)
        return edges_of("new")(batch)

    assert store.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 1
    assert (counted(store, "new"), counted(store, "counts")) == (1, 1)
    assert store.replace_leaves("m", "v1", "new", edges_of("new"), merge=merge_counts) == 1
    assert (counted(store, "new"), counted(store, "counts")) == (2, 0)


def test_long_history_is_merged_on_the_way(store: SQLiteStore) -> None:
    for i in range(200):
        store.append(make_batch(f"b{i}", [str(i)], start_us=NOON + i), count_leaves)
    assert store.replace_leaves("m", "v1", "new", edges_of("new"), merge=merge_counts) == 200
    leaves = store.leaves("m", "v1", *ALWAYS)
    assert (sum(leaf.n for leaf in leaves), sum(int(leaf.state) for leaf in leaves)) == (200, 200)
    assert len(leaves) < 64


def test_leaves_sealed_by_another_process_meanwhile_are_left_to_it(store: SQLiteStore) -> None:
    for i in range(4):
        store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    meanwhile = iter(["once"])

    def merge(states: Sequence[bytes]) -> bytes:
        if next(meanwhile, None):
            assert store.seal(LATER, more_than=1, merge=merge_counts) == 1
        return merge_counts(states)

    assert store.seal(LATER, more_than=1, merge=merge) == 0
    assert [leaf.n for leaf in store.leaves("m", None, *ALWAYS)] == [4]


def test_leaves_are_built_outside_the_transaction_and_again_without_known_rows(store: SQLiteStore) -> None:
    store.append(make_batch("b1", ["a", "b"]), count_leaves)
    sizes = []

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        store.set_mark("m")  # would wait for ever if the store held the write lock now
        sizes.append(len(batch))
        return count_leaves(batch)

    store.append(make_batch("b2", ["b", "c", "c"]), build)
    assert sizes == [2, 1]  # without the repeated row, then also without the known one
    store.append(make_batch("b3", ["a", "b"]), build)
    assert sizes == [2, 1, 2]  # no rows left, no leaves to build
    assert counted(store, "counts") == 3


def test_same_new_rows_from_two_writers_are_stored_once(store: SQLiteStore) -> None:
    other = iter([make_batch("b1", ["a", "b"]), make_batch("b2", ["c"])])

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        for theirs in other:  # each time we are about to store, somebody else has stored some of it
            store.append(theirs, count_leaves)
            break
        return count_leaves(batch)

    result = store.append(make_batch("b3", ["a", "b", "c", "d"]), build)
    assert (result.stored, result.duplicate) == (1, 3)
    assert (store.count("m", None, *ALWAYS), counted(store, "counts")) == (4, 4)
