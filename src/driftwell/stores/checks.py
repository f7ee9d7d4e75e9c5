"""The laws of rows and labels that every ``PredictionStore`` obeys, as functions a contract test runs.

Each law takes an empty store and its ledger (one object where one is both) and raises ``AssertionError`` when
the store breaks it; ``laws()`` gives them all, those of ``retention_checks`` and ``ledger_checks`` included. A law
binds the stores that have all capabilities in ``law.needs``. Leaves are built by ``count_leaves``, so the ledger under
test must merge leaf states with ``merge_counts``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from driftwell.errors import UnknownName
from driftwell.stores.base import (
    HOUR_US,
    ROW_COLUMNS,
    AppendResult,
    Capabilities,
    Label,
    LabelCounts,
    Leaf,
    Ledger,
    PredictionBatch,
    PredictionStore,
)

__all__ = ["Law", "count_leaves", "edges_of", "labelled", "laws", "make_batch", "merge_counts", "needs", "same"]


class Law(Protocol):
    """A law: raises ``AssertionError`` where a store breaks it. ``needs``: the capabilities it is about."""

    __name__: str
    needs: frozenset[str]

    def __call__(self, store: PredictionStore, ledger: Ledger) -> None: ...


NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
SECOND = 1_000_000
ALWAYS = (0, NOON * 2)

_TYPES = {"timestamp": pa.timestamp("us", "UTC"), "score": pa.float64(), "latency_seconds": pa.float64()}


def laws() -> list[Law]:
    """All laws: of rows and labels here, of retention, and of the ledger."""
    from driftwell.stores import ledger_checks, retention_checks

    named = globals() | vars(retention_checks) | vars(ledger_checks)
    found = [law for name, law in named.items() if name.startswith("law_")]
    return [law if hasattr(law, "needs") else needs()(law) for law in found]


def needs(*capabilities: str) -> Callable[[Callable[[PredictionStore, Ledger], None]], Law]:
    """Mark a law that binds only the stores with these capabilities (names of the fields of ``Capabilities``)."""
    unknown = set(capabilities) - {field.name for field in fields(Capabilities)}
    if unknown:
        raise UnknownName("capability", min(unknown), (field.name for field in fields(Capabilities)))

    def mark(law: Callable[[PredictionStore, Ledger], None]) -> Law:
        marked = cast(Law, law)
        marked.needs = frozenset(capabilities)
        return marked

    return mark


def make_batch(
    batch_id: str,
    ids: Sequence[str],
    *,
    model: str = "m",
    version: str = "v1",
    start_us: int = NOON,
    step_us: int = SECOND,
    content: int = 0,
    features: Sequence[Any] | None = None,
    **columns: Any,
) -> PredictionBatch:
    """A batch with one row an id, ``step_us`` apart; ``columns`` fill row columns, with lists or one value.

    Without ``features`` a row has ``{"x": its position, "colour": "red"}``. ``content`` is the hash of all.
    """
    n = len(ids)
    times = [start_us + i * step_us for i in range(n)]
    given = {"prediction_id": list(ids), "timestamp": times} | columns
    arrays = {}
    for name in ROW_COLUMNS:
        value = given.get(name)
        arrays[name] = pa.array(value if isinstance(value, list) else [value] * n, _TYPES.get(name, pa.string()))
    if features is None:
        kind = pa.struct({"x": pa.float64(), "colour": pa.string()})
        arrays["features"] = pa.array([{"x": float(i), "colour": "red"} for i in range(n)], kind)
    else:
        arrays["features"] = pa.array(features)
    rows = pa.table(arrays)
    return PredictionBatch(batch_id, model, version, rows, np.full(n, content, dtype=np.int64), start_us)


def edges_of(edges_id: str) -> Callable[[PredictionBatch], list[Leaf]]:
    """A leaf builder whose states are mere counts, "in the bins" ``edges_id``: a leaf a segment and hour."""

    def build(batch: PredictionBatch) -> list[Leaf]:
        times = batch.rows.column("timestamp").cast("int64").to_pylist()
        counts: dict[tuple[str | None, int], int] = {}
        for segment, time_us in zip(batch.rows.column("segment").to_pylist(), times, strict=True):
            key = (segment, time_us // HOUR_US * HOUR_US)
            counts[key] = counts.get(key, 0) + 1
        return [
            Leaf(batch.model, batch.version, segment, hour_us, edges_id, n, str(n).encode())
            for (segment, hour_us), n in counts.items()
        ]

    return build


count_leaves = edges_of("counts")


def merge_counts(states: Sequence[bytes]) -> bytes:
    """Merge states made by ``count_leaves``."""
    return str(sum(int(state) for state in states)).encode()


def labelled(*fates: str, ambiguous: dict[str, list[str]] | None = None) -> LabelCounts:
    """What ``add_labels`` answers when its labels meet these fates."""
    n = Counter(fates)
    return LabelCounts(n["matched"], n["early"], n["duplicate"], n["conflicting"], ambiguous or {}, fates)


def same(actual: object, expected: object, claim: str) -> None:
    """Raise ``AssertionError`` naming the claim unless both are equal."""
    if actual != expected:
        raise AssertionError(f"{claim}: expected {expected!r}, got {actual!r}")


def law_repeated_batch_changes_nothing(store: PredictionStore, ledger: Ledger) -> None:
    batch = make_batch("b", ["1", "2", "3"])
    same(store.append(batch, count_leaves), AppendResult(3), "a new batch is stored")
    same(store.append(batch, count_leaves), AppendResult(0, duplicate=3), "its repetition is not")
    _same_counts(store, ledger, 3)


@needs("exact_dedupe")
def law_same_id_and_content_is_a_duplicate(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["1", "2"]), count_leaves)
    again = make_batch("b2", ["2", "3", "3"])
    same(
        store.append(again, count_leaves),
        AppendResult(1, duplicate=2),
        "known and repeated ids are duplicates",
    )
    _same_counts(store, ledger, 3)


@needs("exact_dedupe")
def law_same_id_other_content_is_a_conflict(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["1"], prediction='"first"'), count_leaves)
    other = make_batch("b2", ["1", "2"], prediction='"second"', content=7)
    same(store.append(other, count_leaves), AppendResult(1, conflict=1), "the other content is a conflict")
    kept = store.outcomes("m", "v1", *ALWAYS)
    found = dict(zip(kept["prediction_id"].to_pylist(), kept["prediction"].to_pylist(), strict=True))
    same(found, {"1": '"first"', "2": '"second"'}, "the first stands")
    _same_counts(store, ledger, 2)


@needs("exact_dedupe")
def law_batch_of_known_rows_stores_nothing(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["1", "2"]), count_leaves)
    same(
        store.append(make_batch("b2", ["2", "1"]), count_leaves),
        AppendResult(0, duplicate=2),
        "all are known",
    )
    same(store.append(make_batch("b3", []), count_leaves), AppendResult(0), "an empty batch is no error")
    _same_counts(store, ledger, 2)


def law_versions_may_share_an_id(store: PredictionStore, ledger: Ledger) -> None:
    for version in ("v1", "v2"):
        stored = store.append(make_batch(version, ["1"], version=version), count_leaves)
        same(stored, AppendResult(1), "each version keeps its own row")
    same(store.models(), [("m", "v1", 1, NOON), ("m", "v2", 1, NOON)], "both are listed, by name")
    same(store.count("m", None, *ALWAYS), 2, "no version means all of them")


def law_rows_come_back_as_they_were(store: PredictionStore, ledger: Ledger) -> None:
    given: dict[str, Any] = {
        "prediction": ['"late"', "1"], "score": [0.75, None], "probability": ["0.75", '{"late":0.2}'],
        "segment": ["eu", None], "entity_id": [None, "u1"], "latency_seconds": [0.01, None],
        "metadata": ['{"a":1}', None], "invalid": [None, '{"x":"?"}'],
    }  # fmt: skip
    features = [{"x": 1.5, "score": "high"}, {"x": None, "score": None}]
    store.append(make_batch("b", ["1", "2"], features=features, **given), count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    expected = ["version", *ROW_COLUMNS, "true_label", "label_time", "x", "feature.score"]
    same(rows.column_names, expected, "a feature named like a row column is set apart")
    for name, values in given.items():
        same(rows[name].to_pylist(), values, f"{name} comes back")
    same(rows["x"].to_pylist(), [1.5, None], "features come back")
    same(rows["feature.score"].to_pylist(), ["high", None], "features come back under their new name")
    same(
        rows["timestamp"].cast("int64").to_pylist(),
        [NOON, NOON + SECOND],
        "times come back to the microsecond",
    )
    same(
        store.read("m", "v1", *ALWAYS, columns=["x", "no such"]).column_names,
        ["x"],
        "only the columns asked for",
    )


def law_times_and_lists_come_back(store: PredictionStore, ledger: Ledger) -> None:
    kinds = {"at": pa.timestamp("us", "UTC"), "signal": pa.list_(pa.float64())}
    at = pa.array([NOON, None, NOON - 1], kinds["at"])
    signal = pa.array([[1.5, None], [], None], kinds["signal"])
    features = pa.StructArray.from_arrays([at, signal], names=list(kinds))
    store.append(make_batch("b", ["1", "2", "3"], features=features), count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    same({name: rows.schema.field(name).type for name in kinds}, kinds, "features keep their types")
    same(rows["at"].to_pylist(), at.to_pylist(), "times come back to the microsecond")
    same(rows["signal"].to_pylist(), signal.to_pylist(), "lists come back, empty ones apart from none")
    (batch,) = store.batches("m", "v1")
    same(batch.rows["features"].to_pylist(), features.to_pylist(), "batches too")
    newest = store.recent("m", "v1", 3)
    same([row["features"]["signal"] for row in reversed(newest)], signal.to_pylist(), "recent rows too")


def law_windows_are_half_open_and_sorted(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("late", ["c", "d"], start_us=NOON + 2 * SECOND), count_leaves)
    store.append(make_batch("early", ["a", "b"], features=[{"x": 1.0}] * 2), count_leaves)
    window = (NOON + SECOND, NOON + 3 * SECOND)
    same(_ids(store.read("m", "v1", *window)), ["b", "c"], "the start is in, the end is out, by event time")
    same(_ids(store.outcomes("m", "v1", *window)), ["b", "c"], "outcomes have the same rows")
    same(store.count("m", "v1", *window), 2, "and so has the count")
    same(_ids(store.read("m", None, *ALWAYS, limit=3)), ["b", "c", "d"], "a limit keeps the newest")
    same(store.read("m", "v1", 0, NOON).num_rows, 0, "an empty window is an empty table")
    same(set(ROW_COLUMNS) <= set(store.read("m", "v1", 0, NOON).column_names), True, "with the row columns")
    same(store.read("nobody", None, *ALWAYS).num_rows, 0, "and so is an unknown model")


def law_whole_hours_count_like_cut_ones(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", [str(i) for i in range(48)], step_us=HOUR_US // 8), count_leaves)
    times = [NOON + i * HOUR_US // 8 for i in range(48)]
    for start, end in ((0, 6), (1, 5), (0.5, 3.25), (2.125, 2.25), (3, 3), (4, 2)):
        low, high = NOON + int(start * HOUR_US), NOON + int(end * HOUR_US)
        same(
            store.count("m", "v1", low, high),
            sum(low <= t < high for t in times),
            f"count of {start}…{end} h",
        )


def law_newest_span_holds_n_rows(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", list("abcdef")), count_leaves)
    span = store.newest("m", "v1", NOON + 4 * SECOND, 2)
    same(span, (NOON + 2 * SECOND, NOON + 3 * SECOND + 1, 2), "the span of the two newest before the moment")
    same(store.newest("m", None, NOON, 2), (NOON, NOON, 0), "an empty span when there is nothing before")


def law_rows_of_one_time_stand_in_order_of_arrival(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["c", "a", "b"], step_us=0), count_leaves)
    store.append(make_batch("b2", ["z"], version="v2"), count_leaves)
    store.append(make_batch("b3", ["y", "late"], step_us=SECOND), count_leaves)
    at_noon = (NOON, NOON + 1)
    same(_ids(store.read("m", "v1", *at_noon)), ["c", "a", "b", "y"], "rows of one time, as they came")
    same(_ids(store.read("m", "v1", *at_noon, limit=2)), ["b", "y"], "a limit keeps the last to arrive")
    same(_ids(store.read("m", None, *ALWAYS, limit=3)), ["z", "y", "late"], "of all versions too")
    same(_ids(store.outcomes("m", "v1", *at_noon, limit=2)), ["b", "y"], "outcomes keep the same")
    same(_ids(store.read("m", "v1", *at_noon, limit=0)), [], "none where none is asked for")
    store.add_labels([Label(name, "1", NOON) for name in ("c", "a", "y")])
    same(_ids(store.read("m", "v1", *at_noon, limit=2, labelled=True)), ["a", "y"], "of those with a label")
    same(_ids(store.outcomes("m", "v1", *at_noon, limit=2, labelled=True)), ["a", "y"], "in outcomes too")
    same(
        store.newest("m", "v1", NOON + SECOND, 2), (NOON, NOON + 1, 4), "the newest two share their time with two more"
    )


def law_arrival_mark_hides_older_batches(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("old", ["a"], score=1.0), count_leaves)
    mark = ledger.set_mark("m")
    store.append(make_batch("new", ["b"], score=3.0, start_us=NOON - HOUR_US), count_leaves)
    same(_ids(store.read("m", "v1", *ALWAYS, after_arrival=mark)), ["b"], "read")
    same([r["prediction_id"] for r in store.recent("m", None, 9, after_arrival=mark)], ["b"], "recent")
    same(store.totals("m", "v1", after_arrival=mark)["output"]["mean"], 3.0, "totals")
    same(store.hourly_outputs("m", "v1", after_arrival=mark), {NOON - HOUR_US: (1, 3.0)}, "hourly outputs")


def law_recent_rows_are_newest_first(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("late", ["b"], start_us=NOON + 9, prediction='"x"', metadata='{"k": 1}'), count_leaves)
    store.append(make_batch("early", ["a"], features=[{"y": [1, 2]}], version="v2", score=0.5), count_leaves)
    store.add_labels([Label("b", "true", NOON)])
    newest, older = store.recent("m", None, 5)
    picked = {name: newest[name] for name in ("prediction_id", "prediction", "metadata", "true_label", "version")}
    expected = {
        "prediction_id": "b",
        "prediction": "x",
        "metadata": {"k": 1},
        "true_label": True,
        "version": "v1",
    }
    same(picked, expected, "JSON is decoded")
    same(newest["timestamp"].isoformat(), "2026-01-01T12:00:00.000009+00:00", "times are aware")
    same(
        (older["prediction_id"], older["features"], older["score"]),
        ("a", {"y": [1, 2]}, 0.5),
        "then the older",
    )
    same(set(newest), {*ROW_COLUMNS, "features", "model", "version", "true_label"}, "all keys are there")
    same(len(store.recent("m", None, 1)), 1, "no more than asked for")


def law_totals_are_of_score_or_number(store: PredictionStore, ledger: Ledger) -> None:
    empty = {"n": 0, "mean": None, "std": None, "min": None, "max": None}
    nothing = {"predictions": 0, "labels": 0, "first_us": None, "last_us": None, "output": empty}
    same(store.totals("m", None), nothing, "totals of nothing")
    store.append(make_batch("b1", ["a", "b"], score=[1.0, None], prediction=['"x"', "3"]), count_leaves)
    store.append(make_batch("b2", ["c", "d"], start_us=NOON + HOUR_US, prediction=["5", "true"]), count_leaves)
    store.add_labels([Label("a", "1", NOON)])
    totals = store.totals("m", None)
    # mean (1 + 3 + 5) / 3, variance (4 + 0 + 4) / 2
    output = {"n": 3, "mean": 3.0, "std": 2.0, "min": 1.0, "max": 5.0}
    same(
        {k: round(v, 12) for k, v in totals.pop("output").items()},
        {k: round(v, 12) for k, v in output.items()},
        "output",
    )
    last = NOON + HOUR_US + SECOND
    same(totals, {"predictions": 4, "labels": 1, "first_us": NOON, "last_us": last}, "totals")
    same(store.hourly_outputs("m", None), {NOON: (2, 2.0), NOON + HOUR_US: (2, 5.0)}, "hourly outputs")
    same(store.hourly_outputs("m", None, hours=1), {NOON + HOUR_US: (2, 5.0)}, "the newest hours")


@needs("exact_dedupe")
def law_batches_come_back_oldest_first(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b1", ["a", "b"], content=5), count_leaves)
    store.append(make_batch("b2", ["b", "c"], content=5), edges_of("other"))
    first, second = store.batches("m", "v1")
    same((first.batch_id, second.batch_id), ("b1", "b2"), "oldest first")
    same(second.rows["prediction_id"].to_pylist(), ["c"], "only the rows that were stored")
    same(second.content_hash.tolist(), [5], "with their hashes")
    same(second.rows["features"].to_pylist(), [{"x": 1.0, "colour": "red"}], "and their features in a struct")
    others = store.batches("m", "v1", edges_id_not="other")
    same([batch.batch_id for batch in others], ["b1"], "those counted in other bins")


def law_late_label_finds_its_prediction(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", ["a", "b"]), count_leaves)
    same(store.add_labels([Label("a", "1", NOON + 5)]), labelled("matched"), "the label is matched")
    rows = store.read("m", "v1", *ALWAYS, labelled=True)
    same((_ids(rows), rows["true_label"].to_pylist()), (["a"], ["1"]), "labelled rows")
    same(rows["label_time"].cast("int64").to_pylist(), [NOON + 5], "and when the label came")
    same(_ids(store.read("m", "v1", *ALWAYS, labelled=False)), ["b"], "rows without a label")
    same(store.outcomes("m", "v1", *ALWAYS)["true_label"].to_pylist(), ["1", None], "outcomes have them too")


def law_early_label_waits_for_its_prediction(store: PredictionStore, ledger: Ledger) -> None:
    early = [Label("a", "1", NOON), Label("b", "2", NOON, model="m"), Label("c", "3", NOON, model="other")]
    same(store.add_labels(early), labelled("early", "early", "early"), "labels before their predictions are kept")
    stored = store.append(make_batch("b", ["a", "b", "c"]), count_leaves)
    same(stored, AppendResult(3, labels_matched=2), "those of this model are found")
    same(store.outcomes("m", None, *ALWAYS)["true_label"].to_pylist(), ["1", "2", None], "and attached")
    same(store.add_labels(early[:2]), labelled("duplicate", "duplicate"), "after that they are known")


def law_first_label_stands(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("b", ["a"]), count_leaves)
    many = [
        Label("a", "1", NOON),
        Label("a", "1", NOON),
        Label("a", "2", NOON),
        Label("z", "1", NOON),
        Label("z", "2", NOON),
    ]
    same(
        store.add_labels(many),
        labelled("matched", "duplicate", "conflicting", "early", "conflicting"),
        "one is matched, one early, the others are counted",
    )
    same(store.add_labels(many[1:3]), labelled("duplicate", "conflicting"), "in another call too")
    store.append(make_batch("b2", ["z"]), count_leaves)
    same(store.outcomes("m", None, *ALWAYS)["true_label"].to_pylist(), ["1", "1"], "the first stands")


def law_label_goes_to_all_versions(store: PredictionStore, ledger: Ledger) -> None:
    for version in ("v1", "v2"):
        store.append(make_batch(version, ["a"], version=version), count_leaves)
    same(store.add_labels([Label("a", "1", NOON)]), labelled("matched"), "one label is counted once")
    same(store.append(make_batch("v3", ["a"], version="v3"), count_leaves).labels_matched, 1, "a later version")
    same(store.outcomes("m", None, *ALWAYS)["true_label"].to_pylist(), ["1"] * 3, "all versions have it")


def law_label_names_the_model_it_went_to(store: PredictionStore, ledger: Ledger) -> None:
    store.append(make_batch("m", ["a", "b"], model="m"), count_leaves)
    store.append(make_batch("n", ["b", "c"], model="n"), count_leaves)
    labels = [Label("a", "1", NOON), Label("c", "1", NOON), Label("b", "1", NOON), Label("b", "1", NOON, model="n")]
    expected = ("m", "n", None, "n", None)
    same(store.add_labels([*labels, Label("z", "1", NOON)]).models, expected, "None for several and for none")


def law_label_of_two_models_is_ambiguous(store: PredictionStore, ledger: Ledger) -> None:
    for model in ("m", "n"):
        store.append(make_batch(model, ["a"], model=model), count_leaves)
    same(
        store.add_labels([Label("a", "1", NOON)]), labelled("ambiguous", ambiguous={"a": ["m", "n"]}), "both are named"
    )
    same(store.totals("m", None)["labels"], 0, "nothing is stored")
    same(store.add_labels([Label("a", "1", NOON, model="n")]), labelled("matched"), "the model decides")
    same((store.totals("m", None)["labels"], store.totals("n", None)["labels"]), (0, 1), "only there")


def _ids(rows: pa.Table) -> list[str]:
    return list(rows["prediction_id"].to_pylist())


def _same_counts(store: PredictionStore, ledger: Ledger, n: int) -> None:
    same(store.count("m", None, *ALWAYS), n, "count of rows")
    same(store.totals("m", None)["predictions"], n, "total of rows")
    same(sum(leaf.n for leaf in ledger.leaves("m", None, *ALWAYS)), n, "rows in the leaves")
