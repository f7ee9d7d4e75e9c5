"""What goes into PostgreSQL comes back, once, whoever writes and prunes meanwhile; what is deleted does not."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partialmethod
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from tests.servers import postgres
from tests.servers.postgres import PostgresServer
from tests.servers.workers import WORKERS

from driftwell.errors import BadInput
from driftwell.stores.base import HOUR_US, AppendResult, Label, Leaf, Loss, PredictionBatch, Pruned
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, labelled, make_batch, merge_counts
from driftwell.stores.encoding import decode_whole
from driftwell.stores.postgres import PostgresStore, retention
from driftwell.stores.postgres.copying import binary_rows
from driftwell.stores.postgres.texts import escape, unescape

pytestmark = pytest.mark.skipif(not postgres.available(), reason="no PostgreSQL server can be started here")
LATER = NOON + 99 * HOUR_US
WRITERS, ROWS, SIZE = 4, 600, 50


class CountingStore(PostgresStore):
    """Merges the mere counts of ``count_leaves``."""

    seal = partialmethod(PostgresStore.seal, merge=merge_counts)
    replace_leaves = partialmethod(PostgresStore.replace_leaves, merge=merge_counts)


@pytest.fixture(scope="module")
def server(servers: Callable[[str], Any]) -> PostgresServer:
    return servers("postgres")


@pytest.fixture
def store(server: PostgresServer) -> Iterator[CountingStore]:
    server.empty("rows")
    store = CountingStore(server.url_of(schema="rows"))
    yield store
    store.close()


def rows_of(store: PostgresStore, sql: str) -> list[tuple]:
    """What the driver alone reads."""
    with psycopg.connect(**store.database.address.parameters) as own:
        return own.execute(sql).fetchall()


def counted(store: PostgresStore, edges_id: str) -> int:
    return sum(leaf.n for leaf in store.leaves("m", None, *ALWAYS) if leaf.edges_id == edges_id)


# -- texts and tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a\0b", "\x1a", "\x1a0", "\x1a1", "\0\x1a\x1a0\0", "plain"])
def test_escaped_text_has_no_nul_and_comes_back(text: str) -> None:
    assert "\0" not in escape(text)
    assert unescape(escape(text)) == text


@pytest.mark.parametrize("odd", ["", "a\0b", "\x1a0", "ü🛫", "'; DROP TABLE predictions; --", "x" * 10_000, 'a"%s\\'])
def test_any_text_can_be_an_id(store: CountingStore, odd: str) -> None:
    assert store.append(make_batch("b1", [odd, "a"], segment=odd, entity_id=odd), count_leaves) == AppendResult(2)
    assert store.append(make_batch("b2", [odd]), count_leaves) == AppendResult(0, duplicate=1)
    assert store.add_labels([Label(odd, "1", NOON), Label(f"{odd}?", "2", NOON)]) == labelled("matched", "early")
    assert store.append(make_batch("b3", [f"{odd}?"], start_us=NOON + 9), count_leaves).labels_matched == 1
    outcomes = store.outcomes("m", None, *ALWAYS)
    assert outcomes["prediction_id"].to_pylist() == [odd, f"{odd}?", "a"]
    assert outcomes["segment"].to_pylist() == [odd, None, odd]
    assert store.delete(prediction_ids=[odd]) == 1
    assert store.delete(entity_ids=[odd]) == 1


def test_odd_names_and_documents_come_back(store: CountingStore) -> None:
    odd = "a\0'\"%s\\ü"
    store.append(make_batch(odd, ["a"], model=odd, version=odd, features=[{odd: odd}]), count_leaves)
    assert store.models() == [(odd, odd, 1, NOON)]
    assert store.read(odd, odd, *ALWAYS)[odd].to_pylist() == [odd]
    assert store.batch_index(odd, odd) == [(1, odd)]
    store.put_alert({"key": odd, "model": odd, "changed_us": 1, "value": 1.0, "text": odd})
    assert store.get_alerts(odd) == [{"key": odd, "model": odd, "changed_us": 1, "value": 1.0, "text": odd}]
    store.put_metric(odd, odd, math.nan, 5, {odd: odd})
    assert store.metrics(odd, 0, 9) == [{"name": odd, "value": None, "time_us": 5, "labels": {odd: odd}}]


def test_overlong_id_is_refused_and_nothing_of_it_stored(store: CountingStore) -> None:
    text = np.random.default_rng(1).bytes(6_000).hex()  # does not compress into an index entry
    with pytest.raises(BadInput, match="too long"):
        store.append(make_batch("b", ["a", text]), count_leaves)
    assert store.models() == []


def test_thousand_columns_come_back(store: CountingStore) -> None:
    values = np.random.default_rng(5).normal(size=(40, 1_000))
    features = pa.StructArray.from_arrays([pa.array(column) for column in values.T], [f"f{i}" for i in range(1_000)])
    batch = make_batch("b", [str(i) for i in range(40)], features=features)
    store.append(batch, count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    assert np.array_equal(np.column_stack([rows[f"f{i}"].to_numpy() for i in range(1_000)]), values)


def test_not_finite_numbers_are_kept_and_not_averaged(store: CountingStore) -> None:
    odd = [math.nan, math.inf, -math.inf, 2.0]
    store.append(make_batch("b", list("abcd"), features=[{"x": v} for v in odd], score=odd), count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    for name in ("x", "score"):
        assert np.array_equal(rows[name].to_numpy(), odd, equal_nan=True)
    assert np.array_equal(store.outcomes("m", "v1", *ALWAYS)["score"].to_numpy(), odd, equal_nan=True)
    assert store.totals("m", None)["output"] == {"n": 1, "mean": 2.0, "std": None, "min": 2.0, "max": 2.0}


def test_tables_say_the_same_in_sql(store: CountingStore) -> None:
    store.append(make_batch("b", ["a", "b"], prediction='"late"', score=[0.5, None], entity_id="u"), count_leaves)
    store.add_labels([Label("a", "1", NOON + 7)])
    sql = "SELECT model, version, prediction_id, time AT TIME ZONE 'UTC', score, true_label FROM outcomes ORDER BY 3"
    found = [(*row[:3], row[3].isoformat(), *row[4:]) for row in rows_of(store, sql)]
    assert found == [
        ("m", "v1", "a", "2026-01-01T12:00:00", 0.5, "1"),
        ("m", "v1", "b", "2026-01-01T12:00:01", None, None),
    ]


# -- several writers -----------------------------------------------------------------------------------------


def write_overlapping(url: str, writer: int, results: Any) -> None:
    """Batches in which every second id is one that the others send too, each in another order."""
    store = PostgresStore(url)
    stored = duplicate = 0
    for first in range(0, ROWS, SIZE):
        ids = [f"shared-{i}" if i % 2 else f"own-{writer}-{i}" for i in range(first, first + SIZE)]
        result = store.append(make_batch(f"{writer}-{first}", ids[:: 1 if writer % 2 else -1]), count_leaves)
        stored, duplicate = stored + result.stored, duplicate + result.duplicate
        store.add_labels([Label(f"shared-{first + 1 + writer % 2 * 2}", "1", NOON)])
    store.close()
    results.put((stored, duplicate))


def test_four_writers_store_each_row_once_and_no_label_is_missed(server: PostgresServer, store: CountingStore) -> None:
    results = WORKERS.Queue()
    url = server.url_of(schema=store.database.address.schema)
    writers = [WORKERS.Process(target=write_overlapping, args=(url, w, results)) for w in range(WRITERS)]
    for writer in writers:
        writer.start()
    stored, duplicate = zip(*(results.get(timeout=100) for _ in writers), strict=True)
    for writer in writers:
        writer.join(60)
    own = {f"own-{w}-{i}" for w in range(WRITERS) for i in range(0, ROWS, 2)}
    expected = own | {f"shared-{i}" for i in range(1, ROWS, 2)}
    found = Counter(store.read("m", "v1", *ALWAYS)["prediction_id"].to_pylist())
    assert (set(found), set(found.values())) == (expected, {1})
    assert (sum(stored), sum(stored) + sum(duplicate)) == (len(expected), WRITERS * ROWS)
    assert store.count("m", "v1", *ALWAYS) == counted(store, "counts") == len(expected)
    assert rows_of(store, "SELECT count(*) FROM early_labels") == [(0,)]
    assert store.totals("m", "v1")["labels"] == 2 * ROWS // SIZE
    assert rows_of(store, "SELECT count(*) FROM labels") == [(2 * ROWS // SIZE,)]
    arrivals = [arrival for arrival, _ in store.batch_index("m", "v1")]
    assert arrivals == sorted(set(arrivals))


def test_mark_waits_for_batches_on_their_way(store: CountingStore) -> None:
    """A batch that drew its number before the mark must not be committed after it unseen."""
    store.append(make_batch("b0", ["z"]), count_leaves)
    marks: list[int] = []
    with store.database.write() as own:
        own.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/model/m', 0))")
        marking = threading.Thread(target=lambda: marks.append(store.set_mark("m")))
        marking.start()
        marking.join(0.2)
        assert marks == []
        own.execute("INSERT INTO batches VALUES (nextval('arrivals'), 1, 'late', 0, NULL, NULL)")
    marking.join(10)
    assert marks == [2]
    store.append(make_batch("b1", ["a"]), count_leaves)
    assert [row["prediction_id"] for row in store.recent("m", None, 9, after_arrival=marks[0])] == ["a"]


def test_same_new_rows_from_two_writers_are_stored_once(store: CountingStore) -> None:
    other = iter([make_batch("b1", ["a", "b"]), make_batch("b2", ["c"])])

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        for theirs in other:  # each time we are about to store, somebody else has stored some of it
            store.append(theirs, count_leaves)
            break
        return count_leaves(batch)

    result = store.append(make_batch("b3", ["a", "b", "c", "d"]), build)
    assert (result.stored, result.duplicate) == (1, 3)
    assert store.count("m", None, *ALWAYS) == counted(store, "counts") == 4


def test_batch_id_taken_by_another_model_at_this_moment_is_a_duplicate(store: CountingStore) -> None:
    results: list[AppendResult] = []
    with store.database.write() as own:
        own.execute("INSERT INTO batches VALUES (nextval('arrivals'), 77, 'b', 0, NULL, NULL)")
        other = threading.Thread(target=lambda: results.append(store.append(make_batch("b", ["a"]), count_leaves)))
        other.start()
        other.join(0.2)
        assert results == []
    other.join(10)
    assert results == [AppendResult(0, duplicate=1)]
    assert store.count("m", None, *ALWAYS) == 0
    assert store.append(make_batch("b2", ["a"]), count_leaves) == AppendResult(1)


def test_label_of_a_prediction_being_stored_waits_for_it(store: CountingStore) -> None:
    """Not kept as an early one, which would wait for ever."""
    labelled_as: list[Any] = []
    labelling = threading.Thread(target=lambda: labelled_as.append(store.add_labels([Label("a", "1", NOON)])))

    with store.database.write() as own:
        own.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(current_schema() || '/appending', 0))")
        labelling.start()
        labelling.join(0.2)
        assert labelled_as == []
        own.execute("INSERT INTO streams (model, version) VALUES ('m', 'v1')")
        own.execute("INSERT INTO predictions VALUES (1 << 24, 1, 'a', 5, 0, NULL, NULL, NULL, NULL, NULL)")
    labelling.join(10)
    assert labelled_as == [labelled("matched")]


# -- retention -----------------------------------------------------------------------------------------------


def test_pruning_beside_a_reader_disturbs_nobody(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCHES_TOGETHER", 2)
    for i in range(7):
        store.append(make_batch(f"b{i}", [f"{i}", f"{i}x"], start_us=NOON + i), count_leaves)
    store.add_labels([Label("0", "1", NOON), Label("6", "1", NOON)])
    with store.database.read() as reader:
        before = reader.execute("SELECT count(*) FROM batch_rows").fetchall()
        assert store.prune(rows_before_us=NOON + 5) == Pruned(rows=10)
        assert reader.execute("SELECT count(*) FROM batch_rows").fetchall() == before == [(7,)]
    assert store.read("m", "v1", *ALWAYS).num_rows == 4
    assert store.outcomes("m", "v1", *ALWAYS).num_rows == 14
    assert store.prune(rows_before_us=NOON + 5, predictions_before_us=NOON + 3) == Pruned(predictions=6)
    assert store.outcomes("m", "v1", *ALWAYS)["true_label"].to_pylist().count("1") == 1
    assert store.prune(predictions_before_us=NOON + 3) == Pruned()
    assert store.append(make_batch("b0", ["0", "0x"]), count_leaves) == AppendResult(0, duplicate=2)
    assert counted(store, "counts") == 14
    assert [len(batch) for batch in store.batches("m", "v1")] == [2, 2]


def test_batch_pruned_before_it_is_read_is_empty(store: CountingStore) -> None:
    store.append(make_batch("b", ["a"]), count_leaves)
    batches = store.batches("m", "v1")
    store.prune(rows_before_us=NOON + 1)
    assert (len(batches[0]), batches[0].batch_id, batches[0].rows["features"].to_pylist()) == (0, "b", [])


def test_deleted_rows_are_nowhere_in_the_tables(store: CountingStore) -> None:
    secret = "mr-secret-0815"
    features = [{"name": "other"}, {"name": secret}, {"name": None}]
    store.append(make_batch("b", ["a", secret, "c"], features=features, entity_id=["x", secret, None]), count_leaves)
    store.append(make_batch("b2", ["d"], features=[{"name": secret}], entity_id=secret, model="n"), count_leaves)
    store.add_labels([Label(secret, "1", NOON), Label("a", "1", NOON), Label("e", f'"{secret}"', NOON)])
    assert store.delete(entity_ids=[secret], model="n") == 1
    assert store.delete(prediction_ids=[secret, "e"], entity_ids=[secret]) == 1
    for (table,) in rows_of(store, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"):
        assert secret not in str(rows_of(store, f"SELECT * FROM {table}")), table
    (batch,) = store.batches("m", "v1")
    assert secret not in str(batch.rows.to_pylist())
    with store.database.read() as own:
        ((schema, message),) = own.execute(
            "SELECT s.message, r.message FROM batch_rows r JOIN arrow_schemas s ON s.id = r.schema"
        ).fetchall()
    assert secret not in str(decode_whole(schema, [message]).to_pylist())
    assert store.read("m", "v1", *ALWAYS)["name"].to_pylist() == ["other", None]
    assert [row["prediction_id"] for row in store.recent("m", None, 9)] == ["c", "a"]
    assert store.totals("m", None)["labels"] == 1
    assert store.batch_index("n", "v1") == []
    assert store.append(make_batch("b3", [secret]), count_leaves) == AppendResult(1)


def test_leaves_of_pruned_rows_are_never_dropped(store: CountingStore) -> None:
    """b0 is gone; b0 and b1 were sealed into one leaf of the first hour; b1 also has rows in the second hour."""
    store.append(make_batch("b0", ["0", "0x"]), count_leaves)
    store.append(make_batch("b1", ["1", "1x"], step_us=HOUR_US), count_leaves)
    assert store.seal(LATER, more_than=1) == 1
    store.append(make_batch("b2", ["2"], start_us=NOON + HOUR_US), count_leaves)
    store.prune(rows_before_us=NOON + 1)  # all but b2, which arrived an hour later
    assert store.replace_leaves("m", "v1", "new", edges_of("new")) == 1
    assert (counted(store, "counts"), counted(store, "new")) == (4, 1)
    assert store.replace_leaves("m", "v1", "newer", edges_of("newer")) == 1
    assert (counted(store, "counts"), counted(store, "newer")) == (4, 1)


def test_batch_half_in_a_leaf_that_stays_is_counted_once(store: CountingStore) -> None:
    store.append(make_batch("b0", ["0", "0x"], start_us=NOON), count_leaves)
    late = make_batch("b1", ["1", "1x"], start_us=NOON + 5, step_us=HOUR_US)
    store.append(late, count_leaves)
    assert store.seal(LATER, more_than=1) == 1
    store.prune(rows_before_us=NOON + 1)
    for edges in ("new", "newer", "counts", "last"):
        store.replace_leaves("m", "v1", edges, edges_of(edges))
        by_hour = {f.hour_us: (f.n, f.edges_id) for f in store.leaves("m", "v1", *ALWAYS)}
        assert by_hour == {NOON: (3, "counts"), NOON + HOUR_US: (1, edges)}


def test_rebuilding_beside_writers_and_sealers_counts_once(store: CountingStore) -> None:
    for i in range(3):
        store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    meanwhile = iter(["once"])

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        if next(meanwhile, None):  # another process stores a batch in the old bins and seals the hour
            store.append(make_batch("b9", ["9"]), count_leaves)
            store.seal(LATER, more_than=1)
        return edges_of("new")(batch)

    assert store.replace_leaves("m", "v1", "new", build) == 4
    assert (counted(store, "new"), counted(store, "counts")) == (4, 0)


def test_history_and_losses_are_pruned_by_time(store: CountingStore) -> None:
    losses = [Loss("m", "v1", NOON + i * HOUR_US, "dropped.queue_full", f"p{k}", 3) for i in range(3) for k in range(2)]
    store.put_losses(losses)
    store.put_losses([losses[0]])  # told twice, counted once
    assert store.losses("m", None, NOON, NOON + 2 * HOUR_US) == {"dropped.queue_full": 12}
    store.append(make_batch("b", ["a", "b"], step_us=HOUR_US), count_leaves)
    store.put_reference("m", "v1", "r", b"document")
    assert store.prune_history(NOON + HOUR_US) == 3  # two losses and a leaf of the first hour
    assert store.losses("m", None, 0, LATER) == {"dropped.queue_full": 12}
    assert (counted(store, "counts"), store.find_reference("r")) == (1, b"document")


def test_binary_rows_are_what_the_driver_writes(store: CountingStore) -> None:
    """Slices, nulls at either end, empty texts and all-null columns, read back by the driver."""
    text = pa.array(["skipped", "", None, "a\0b", "ü", None]).slice(1)
    columns = {
        "a": pa.array([None, 1, -2, 3, None], pa.int64()),
        "b": text,
        "c": pa.array([None] * 5, pa.string()),
        "d": pa.array([0.5, None, math.inf, -0.0, 1e-300]),
        "e": pa.array([1, 2, 3, 4, 5], pa.int32()),
    }
    with psycopg.connect(**store.database.address.parameters) as own, own.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a int8, b text, c text, d float8, e int4)")
        with cursor.copy("COPY t FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(binary_rows(list(columns.values())))
        found = cursor.execute("SELECT a, b, c, d, e FROM t ORDER BY e").fetchall()
    expected = [tuple(row.values()) for row in pa.table(columns).to_pylist()]
    assert found == [(a, None if b is None else escape(b), c, d, e) for a, b, c, d, e in expected]
