"""Whatever way the same records and labels come in, the store ends up the same."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.stores.base import HOUR_US, Label
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch, merge_counts
from driftwell.stores.memory import MemoryStore

IDS = [f"id{i}" for i in range(12)]
LABELLED = IDS[::2]


def time_of(prediction_id: str) -> int:
    return NOON + IDS.index(prediction_id) * HOUR_US // 3


def some_of(ids: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(ids), min_size=1, max_size=6)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    """Batches and label posts in any order, each id in at least one of each kind, many of them repeated."""
    steps = [("batch", ids) for ids in draw(st.lists(some_of(IDS), max_size=8))]
    steps += [("labels", ids) for ids in draw(st.lists(some_of(LABELLED), max_size=4))]
    cut = draw(st.integers(1, len(IDS)))
    steps += [("batch", IDS[:cut]), ("batch", IDS[cut:] or IDS[:1]), ("labels", LABELLED)]
    if draw(st.booleans()):
        steps.append(("seal", []))
    return draw(st.permutations(steps))


def replay(store: MemoryStore, history: list[tuple[str, list[str]]]) -> int:
    """Runs the steps; the number of labels that found their prediction."""
    found = 0
    for number, (what, ids) in enumerate(history):
        if what == "labels":
            found += store.add_labels([Label(i, f'"{i}"', time_of(i) + 1) for i in ids]).matched
        elif what == "seal":
            store.seal(NOON + 99 * HOUR_US, more_than=1, merge=merge_counts)
        else:
            predictions, times = [str(IDS.index(i)) for i in ids], [time_of(i) for i in ids]
            batch = make_batch(f"b{number}", ids, prediction=predictions, timestamp=times)
            first = store.append(batch, count_leaves)
            assert first.stored + first.duplicate == len(ids)
            found += first.labels_matched
            assert store.append(batch, count_leaves).stored == 0
    return found


def state_of(store: MemoryStore) -> dict[str, Any]:
    outcomes = store.outcomes("m", "v1", *ALWAYS)
    leaves: dict[int, int] = {}
    for leaf in store.leaves("m", "v1", *ALWAYS):
        leaves[leaf.hour_us] = leaves.get(leaf.hour_us, 0) + leaf.n
    totals = store.totals("m", "v1")
    totals["output"] = {k: round(v, 9) for k, v in totals["output"].items()}
    return {
        "rows": outcomes.select(["prediction_id", "timestamp", "prediction", "true_label", "label_time"]).to_pylist(),
        "leaves": leaves,
        "totals": totals,
        "hourly": {h: (n, round(mean or 0, 9)) for h, (n, mean) in store.hourly_outputs("m", "v1").items()},
        "labelled": store.read("m", "v1", *ALWAYS, labelled=True).num_rows,
    }


@settings(max_examples=60, deadline=None)
@given(histories())
def test_any_split_order_and_repetition_ends_the_same(history: list[tuple[str, list[str]]]) -> None:
    with closing(MemoryStore()) as store, closing(MemoryStore()) as plain:
        assert replay(store, history) == len(LABELLED)
        replay(plain, [("batch", IDS), ("labels", LABELLED)])
        assert state_of(store) == state_of(plain)
