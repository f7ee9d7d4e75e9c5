"""The laws of pruning, deleting, odd clocks, odd names and many writers; ``checks.laws()`` includes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from driftwell.errors import BadInput
from driftwell.stores.base import HOUR_US, AppendResult, Label, Leaf, Ledger, PredictionBatch, PredictionStore, Pruned
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, labelled, make_batch, needs, same

__all__: list[str] = []

DAY = 24 * HOUR_US
ODD_NAMES = (
    'o\'clock "quoted" `ticks`',
    "Zürich 東京 🚀 e\u0301",
    "x'); DROP TABLE predictions; --",
    "%s %(x)s ? $1 :name {curly} [0] *",
    "comma,equals=space back\\slash\\",
    "tab\tin it",
    "a/b#c?d&e:f@g",
    " leading and trailing ",
    "x" * 2_000,
    "two\nlines",
    "nul\0inside",
)
REFUSABLE = ("\n", "\0")
"""Characters that some servers cannot keep: a name with one of them may be refused, but never be cut or changed."""


def law_pruned_rows_leave_their_outcomes(store: PredictionStore, ledger: Ledger) -> None:
    old = make_batch("old", ["a", "b"], score=[0.5, 1.0], segment="eu")
    store.append(old, count_leaves)
    store.append(make_batch("new", ["c"], start_us=NOON + DAY), count_leaves)
    store.add_labels([Label("a", "1", NOON)])
    before = (store.outcomes("m", None, *ALWAYS), store.totals("m", None), ledger.leaves("m", None, *ALWAYS))
    same(store.prune(), Pruned(), "without a moment nothing is pruned")
    same(store.prune(rows_before_us=NOON), Pruned(), "nor is what arrived at the moment")
    same(store.prune(rows_before_us=NOON + 1), Pruned(rows=2), "the rows of batches from before it are")
    same(store.prune(rows_before_us=NOON + 1), Pruned(), "once")
    same(_ids(store.read("m", None, *ALWAYS)), ["c"], "their features are gone")
    same([batch.batch_id for batch in store.batches("m", "v1")], ["new"], "and so are their batches")
    same([batch_id for _, batch_id in store.batch_index("m", "v1")], ["new"], "in the index too")
    after = (store.outcomes("m", None, *ALWAYS), store.totals("m", None), ledger.leaves("m", None, *ALWAYS))
    same(after, before, "outcomes, totals and leaves are what they were")
    same(store.count("m", None, *ALWAYS), 3, "and so is the count")


def law_late_label_counts_after_its_rows_are_gone(store: PredictionStore, ledger: Ledger) -> None:
    batch = make_batch("b", ["a", "b"])
    store.append(batch, count_leaves)
    store.prune(rows_before_us=NOON + DAY)
    same(store.add_labels([Label("b", "1", NOON + DAY)]), labelled("matched"), "the prediction is still known")
    same(store.outcomes("m", None, *ALWAYS)["true_label"].to_pylist(), [None, "1"], "and has its label")
    for wanted, ids in ((True, ["b"]), (False, ["a"])):
        same(_ids(store.outcomes("m", None, *ALWAYS, labelled=wanted)), ids, "those with a label, and those without")
    same(store.totals("m", None)["labels"], 1, "which is counted")
    same(store.append(batch, count_leaves), AppendResult(0, duplicate=2), "the batch offered again is known")
    _same_counts(store, ledger, 2)


def law_pruned_predictions_are_forgotten(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("old", ["a", "b"]), count_leaves)
    store.append(make_batch("new", ["c"], start_us=NOON + DAY), count_leaves)
    pruned = store.prune(rows_before_us=NOON + DAY, predictions_before_us=NOON + DAY)
    same(pruned, Pruned(rows=2, predictions=2), "rows and predictions of the older batch go")
    same(_ids(store.outcomes("m", None, *ALWAYS)), ["c"], "outcomes have none of it")
    same([row["prediction_id"] for row in store.recent("m", None, 9)], ["c"], "nor have the recent rows")
    same(sum(leaf.n for leaf in ledger.leaves("m", None, *ALWAYS)), 3, "leaves stay")
    same(store.add_labels([Label("a", "1", NOON)]), labelled("early"), "a label for one has nothing to find")
    again = store.prune(rows_before_us=NOON + DAY, predictions_before_us=NOON + DAY)
    same(again, Pruned(), "safe to repeat")


def law_pruning_goes_by_arrival(store: PredictionStore, ledger: Ledger) -> None:
    early_event = replace(make_batch("b1", ["a"], start_us=NOON - 40 * DAY), arrived_us=NOON)
    late_event = replace(make_batch("b2", ["b"], start_us=NOON + HOUR_US), arrived_us=NOON - DAY)
    for batch in (early_event, late_event):
        store.append(batch, count_leaves)
    same(store.prune(rows_before_us=NOON), Pruned(rows=1), "what arrived before goes")
    same(_ids(store.read("m", None, *ALWAYS)), ["a"], "whatever its event time")


@needs("delete")
def law_deleted_rows_are_not_pruned_again(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["a", "b", "c"]), count_leaves)
    store.append(make_batch("b2", ["d", "e"]), count_leaves)
    store.delete(prediction_ids=["b", "e"])
    same(store.prune(rows_before_us=NOON + DAY), Pruned(rows=3), "the rows that were still there are counted")
    same(store.prune(predictions_before_us=NOON + DAY), Pruned(predictions=3), "and so are the predictions")
    store.append(make_batch("b3", ["f", "g"]), count_leaves)
    store.delete(prediction_ids=["f"])
    pruned = store.prune(predictions_before_us=NOON + DAY)
    same(pruned, Pruned(rows=1, predictions=1), "both at once")


def law_leaves_of_rows_pruned_meanwhile_stay(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("stays", ["a", "b"]), count_leaves)
    store.append(replace(make_batch("goes", ["c"]), arrived_us=NOON - DAY), count_leaves)

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        store.prune(rows_before_us=NOON)  # after the batches were listed, before "goes" is read
        return edges_of("new")(batch)

    same(ledger.replace_leaves("m", "v1", "new", build), 1, "one batch is counted anew")
    found = sorted((leaf.edges_id, leaf.n) for leaf in ledger.leaves("m", "v1", *ALWAYS))
    same(found, [("counts", 1), ("new", 2)], "the leaf of the other stays as it is")


def law_reading_goes_on_while_rows_are_pruned(store: PredictionStore, ledger: Ledger) -> None:
    for i in range(6):
        ids = [f"{i}-{k}" for k in range(50)]
        store.append(make_batch(f"b{i}", ids, start_us=NOON + i * HOUR_US), count_leaves)
    listed = store.batches("m", "v1")
    sizes: list[int] = []

    def prune() -> None:
        for i in range(6):
            store.prune(rows_before_us=NOON + i * HOUR_US + 1)

    def read() -> None:
        sizes.extend(store.read("m", None, *ALWAYS).num_rows for _ in range(6))

    _together([prune, read])
    same([n for n in sizes if n % 50], [], "a batch is read whole or not at all")
    same(sizes, sorted(sizes, reverse=True), "and stays gone")
    same([len(batch) for batch in listed], [0] * 6, "a batch listed before has no rows when they are gone")
    same(store.count("m", None, *ALWAYS), 300, "the predictions are all there")


@needs("delete")
def law_deleted_predictions_are_nowhere(store: PredictionStore, ledger: Ledger) -> None:
    batch = make_batch("b", ["a", "b", "c"], features=[{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], score=[0.1, 0.2, 0.3])
    store.append(batch, count_leaves)
    store.append(make_batch("b2", ["b"], version="v2"), count_leaves)
    store.add_labels([Label("b", "1", NOON), Label("early", "1", NOON)])
    same(store.delete(prediction_ids=["nobody"]), 0, "an unknown id is no error")
    same(store.delete(prediction_ids=["b", "b", "early"]), 2, "all versions are deleted, once")
    rows = store.read("m", None, *ALWAYS)
    same((_ids(rows), rows["x"].to_pylist()), (["a", "c"], [1.0, 3.0]), "the others keep their features")
    same(_ids(store.outcomes("m", None, *ALWAYS)), ["a", "c"], "outcomes")
    same([row["prediction_id"] for row in store.recent("m", None, 9)], ["c", "a"], "recent rows")
    (left,) = store.batches("m", "v1")
    same(left.rows["prediction_id"].to_pylist(), ["a", "c"], "batches")
    same([f["x"] for f in left.rows["features"].to_pylist()], [1.0, 3.0], "with their features")
    same(len(left.content_hash), 2, "and their hashes")
    same(store.totals("m", None)["labels"], 0, "its label is gone")
    same(sum(leaf.n for leaf in ledger.leaves("m", None, *ALWAYS)), 4, "counts in leaves stay")
    same(store.append(batch, count_leaves).stored, 0, "the batch offered again brings nothing back")
    same(_ids(store.outcomes("m", None, *ALWAYS)), ["a", "c"], "nothing at all")
    same(store.append(make_batch("b3", ["early"]), count_leaves).labels_matched, 0, "early labels are gone too")


@needs("delete")
def law_subject_is_deleted_with_all_predictions(store: PredictionStore, ledger: Ledger) -> None:
    who = ["Zoë 🚀", "o'hara", None]
    store.append(make_batch("b1", ["a", "b", "c"], entity_id=who), count_leaves)
    store.append(make_batch("b2", ["d"], entity_id="Zoë 🚀", model="n"), count_leaves)
    store.append(make_batch("b3", ["e", "f"], entity_id=who[:2], start_us=NOON + DAY), count_leaves)
    same(store.delete(entity_ids=["Zo"]), 0, "a part of a name is nobody")
    same(store.delete(entity_ids=["Zoë 🚀"], model="n"), 1, "of one model")
    same(_ids(store.outcomes("m", None, *ALWAYS)), ["a", "b", "c", "e", "f"], "which leaves the other alone")
    store.prune(rows_before_us=NOON + 1)
    same(store.delete(entity_ids=["Zoë 🚀"], prediction_ids=["c"]), 3, "of all, rows kept or not, and an id beside")
    same(_ids(store.outcomes("m", None, *ALWAYS)), ["b", "f"], "others stay")
    same(_ids(store.read("m", None, *ALWAYS)), ["f"], "with their features")
    same(store.delete(), 0, "nobody named, nothing deleted")


def law_index_lists_batches_by_arrival(store: PredictionStore, ledger: Ledger) -> None:
    same(store.batch_index("m", "v1"), [], "nothing at first")
    arrivals = []
    for i, version in enumerate(("v1", "v2", "v1")):
        batch = make_batch(f"b{i}", [str(i)], version=version, start_us=NOON - i * HOUR_US)
        arrivals.append(store.append(batch, count_leaves).arrival)
        same(store.append(batch, count_leaves).arrival, None, "a repeated batch does not arrive")
    same(arrivals, sorted(set(arrivals), key=lambda a: a or 0), "arrival numbers increase")
    same(store.batch_index("m", "v1"), [(arrivals[0], "b0"), (arrivals[2], "b2")], "of the version, oldest first")
    same([b.batch_id for b in store.batches("m", "v1")], ["b0", "b2"], "as the batches are")


def law_clocks_may_be_wrong(store: PredictionStore, ledger: Ledger) -> None:
    for name, hours in (("future", 1), ("now", 0), ("past", -1)):
        batch = make_batch(name, [name], start_us=NOON + hours * HOUR_US)
        store.append(replace(batch, arrived_us=NOON), count_leaves)
    same(_ids(store.read("m", None, *ALWAYS)), ["past", "now", "future"], "rows stand by event time")
    same([row["prediction_id"] for row in store.recent("m", None, 2)], ["future", "now"], "the newest by it too")
    same([b for _, b in store.batch_index("m", "v1")], ["future", "now", "past"], "batches by arrival")
    hours_of = [leaf.hour_us for leaf in ledger.leaves("m", None, *ALWAYS)]
    same(sorted(hours_of), [NOON - HOUR_US, NOON, NOON + HOUR_US], "each in its own hour")
    same(store.newest("m", None, NOON + 1, 1), (NOON, NOON + 1, 1), "a window ends before the future")


def law_thousand_columns_come_back(store: PredictionStore, ledger: Ledger) -> None:
    names = [f"feature_{i}" for i in range(1_000)]
    columns = [pa.array([float(i), None]) if i % 2 else pa.array([f"t{i}", "ü"]) for i in range(1_000)]
    features = pa.StructArray.from_arrays(columns, names=names)
    store.append(make_batch("b", ["a", "b"], features=features), count_leaves)
    rows = store.read("m", None, *ALWAYS)
    same([rows[name].to_pylist() for name in names], [column.to_pylist() for column in columns], "all of them")
    same(store.read("m", None, *ALWAYS, columns=["feature_999"])["feature_999"].to_pylist(), [999.0, None], "or one")


def law_odd_names_come_back(store: PredictionStore, ledger: Ledger) -> None:
    for i, name in enumerate(ODD_NAMES):
        batch = make_batch(
            f"batch {name}", [name], model=name, version=name, segment=name, entity_id=name, features=[{name: name}]
        )
        try:
            store.append(batch, count_leaves)
        except BadInput:
            same(any(character in name for character in REFUSABLE), True, f"only these may be refused: {name!r}")
            continue
        rows = store.read(name, name, *ALWAYS)
        found = [rows[column].to_pylist() for column in ("prediction_id", "version", "segment", "entity_id", name)]
        same(found, [[name]] * 5, f"{name[:40]!r} comes back")
        same(store.add_labels([Label(name, "1", NOON, name)]).matched, 1, "and is found by its label")
        same([b for _, b in store.batch_index(name, name)], [f"batch {name}"], "and by its batch")
        same(sum(leaf.n for leaf in ledger.leaves(name, name, *ALWAYS)), 1, "and by its leaf")
        same(len(store.models()) <= i + 1, True, "and is no other's")


def law_writers_at_once_lose_nothing(store: PredictionStore, ledger: Ledger) -> None:
    results: list[AppendResult] = []

    def write(name: str) -> Callable[[], None]:
        def run() -> None:
            for i in range(5):
                batch = make_batch(f"{name}{i}", [f"{name}{i}-{k}" for k in range(10)])
                results.extend((store.append(batch, count_leaves), store.append(batch, count_leaves)))

        return run

    _together([write(name) for name in "abcd"])
    same(sum(result.stored for result in results), 200, "each row is stored by one")
    _same_counts(store, ledger, 200)
    arrivals = [result.arrival for result in results if result.arrival is not None]
    same(len(set(arrivals)), 20, "each batch has an arrival number of its own")


@needs("exact_dedupe")
def law_writers_of_the_same_ids_count_them_once(store: PredictionStore, ledger: Ledger) -> None:
    results: list[AppendResult] = []

    def write(name: str, shift: int) -> Callable[[], None]:
        def run() -> None:
            for i in range(5):
                ids = [str((shift + i * 10 + k) % 60) for k in range(20)]
                results.append(store.append(make_batch(f"{name}{i}", ids), count_leaves))

        return run

    _together([write(name, 7 * i) for i, name in enumerate("abcd")])
    same(sum(result.stored for result in results), 60, "each id is stored by one")
    same(sum(r.stored + r.duplicate + r.conflict for r in results), 400, "and told as known to the others")
    _same_counts(store, ledger, 60)


def law_same_batch_from_many_is_stored_once(store: PredictionStore, ledger: Ledger) -> None:
    batch: PredictionBatch = make_batch("b", ["a", "b", "c"])
    results: list[AppendResult] = []
    _together([lambda: results.append(store.append(batch, count_leaves))] * 4)
    same(sorted(result.stored for result in results), [0, 0, 0, 3], "by one of them")
    _same_counts(store, ledger, 3)


def _together(works: list[Callable[[], Any]]) -> None:
    """Run all at once in threads of their own; the first error is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> None:
        try:
            start.wait()
            work()
        except BaseException as exc:  # noqa: BLE001 - told to the thread that waits
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _ids(rows: pa.Table) -> list[str]:
    return list(rows["prediction_id"].to_pylist())


def _same_counts(store: PredictionStore, ledger: Ledger, n: int) -> None:
    same(store.count("m", None, *ALWAYS), n, "count of rows")
    same(store.totals("m", None)["predictions"], n, "total of rows")
    same(sum(leaf.n for leaf in ledger.leaves("m", None, *ALWAYS)), n, "rows in the leaves")
