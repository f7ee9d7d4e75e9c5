"""The InfluxDB store over a real server: why its schema is as it is, and that nothing is overwritten, lost or bent."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.servers.influx import InfluxServer, available
from tests.servers.workers import WORKERS

from driftwell.capture.recorder import Recorder
from driftwell.errors import StoreError
from driftwell.stores.base import HOUR_US, AppendResult, Label
from driftwell.stores.checks import ALWAYS, NOON, SECOND, count_leaves, make_batch
from driftwell.stores.influx import InfluxStore
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import bucket_of, nanosecond_of
from driftwell.stores.influx.writers import Claim, claim_number, numbers_in_use, release

pytestmark = pytest.mark.skipif(not available(), reason="influxd is not installed")

FAR_US = 9 * 10**15


@pytest.fixture(scope="module")
def server() -> Iterator[InfluxServer]:
    with InfluxServer() as server:
        yield server


@pytest.fixture
def name(server: InfluxServer, request: pytest.FixtureRequest) -> str:
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)
    server.ask(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture
def store(server: InfluxServer, name: str) -> Iterator[InfluxStore]:
    store = InfluxStore(server.database(name))
    yield store
    store.close()


def rows_in(server: InfluxServer, query: str, database: str) -> list[list[Any]]:
    """The rows of the server's own answer."""
    (result,) = json.loads(server.ask(query, database))["results"]
    return [row for series in result.get("series", []) for row in series["values"]]


def ids_of(store: InfluxStore, model: str = "m") -> list[str]:
    return store.outcomes(model, None, 0, FAR_US)["prediction_id"].to_pylist()


def same_place(n: int, like: str = "0") -> list[str]:
    """Ids whose hash gives the nanosecond of ``like``."""
    found = (f"{i}" for i in range(10**7) if nanosecond_of(f"{i}") == nanosecond_of(like))
    return [next(found) for _ in range(n)]


# -- the two reasons for the schema --------------------------------------------------------------------------


def test_server_refuses_a_category_in_a_numbers_field(server: InfluxServer, store: InfluxStore, name: str) -> None:
    status, said = server.write(b"plain,f=x value=1 1\nplain,f=x value=2 2\n", name)
    assert status == 204
    status, said = server.write(b'plain,f=x value="red" 3\nplain,f=x value=4 4\n', name)
    assert status == 400
    assert b"field type conflict" in said
    assert b"dropped=1" in said
    assert [row[1] for row in rows_in(server, "SELECT value FROM plain", name)] == [1, 2, 4]
    # The same feature as a number, then as a category: each kind has a field of its own.
    assert store.append(make_batch("b1", ["1"], features=[{"x": 1.5}]), count_leaves).stored == 1
    assert store.append(make_batch("b2", ["2"], features=[{"x": "red"}]), count_leaves).stored == 1
    assert store.read("m", "v1", *ALWAYS)["x"].to_pylist() == ["1.5", "red"]


def test_server_overwrites_points_of_equal_time(server: InfluxServer, store: InfluxStore, name: str) -> None:
    server.write(b"plain,f=x value=1 7\nplain,f=x value=2 7\n", name)
    assert rows_in(server, "SELECT value FROM plain", name) == [[7, 2]]
    store.append(make_batch("b", ["a", "b"], step_us=0), count_leaves)
    assert rows_in(server, "SELECT count(value) FROM model_features", name) == [[0, 2]]
    assert store.count("m", "v1", *ALWAYS) == 2


# -- nothing overwrites --------------------------------------------------------------------------------------


def test_ids_of_one_microsecond_and_one_hash_stay_apart(store: InfluxStore) -> None:
    ids = same_place(6)
    assert len({nanosecond_of(i) for i in ids}) == 1
    store.append(make_batch("b1", ids[:3], step_us=0), count_leaves)
    store.append(make_batch("b2", ids[3:], step_us=0), count_leaves)
    rows = store.read("m", "v1", *ALWAYS)
    assert rows["prediction_id"].to_pylist() == ids
    assert rows["x"].to_pylist() == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    assert set(rows["timestamp"].cast("int64").to_pylist()) == {NOON}
    # Offered again they are known, in any order.
    assert store.append(make_batch("b3", ids[::-1], step_us=0), count_leaves) == AppendResult(0, duplicate=6)


def test_more_ids_than_nanoseconds_in_one_microsecond(server: InfluxServer, store: InfluxStore, name: str) -> None:
    ids = [f"id-{i}" for i in range(2_300)]
    store.append(make_batch("b1", ids[:1_500], step_us=0), count_leaves)
    store.append(make_batch("b2", ids[1_500:], step_us=0), count_leaves)
    rows = store.read("m", "v1", NOON, NOON + 1)
    assert rows["prediction_id"].to_pylist() == ids
    assert rows["x"].to_pylist() == [*map(float, range(1_500)), *map(float, range(800))]
    slots = rows_in(server, 'SHOW TAG VALUES FROM model_predictions WITH KEY = "slot"', name)
    assert sorted(value for _, value in slots) == ["0", "0.1", "0.2"]


def test_two_writers_of_one_microsecond_at_once(server: InfluxServer, name: str) -> None:
    stores = [InfluxStore(server.database(name)) for _ in range(4)]
    ids = same_place(40)
    results = []

    def write(k: int) -> None:
        results.extend(stores[k].append(make_batch(f"b{i}", [ids[i]]), count_leaves) for i in range(k, 40, 4))

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [AppendResult(1)] * 40
    assert sorted(ids_of(stores[0])) == sorted(ids)
    assert stores[1].read("m", "v1", *ALWAYS)["x"].to_pylist() == [0.0] * 40
    for store in stores:
        store.close()


def test_writer_numbers_are_never_held_twice(server: InfluxServer, name: str) -> None:
    client = Client(InfluxStore(server.database(name))._address)
    claims: list[Any] = []
    threads = [threading.Thread(target=lambda: claims.append(claim_number(client))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({claim.number for claim in claims}) == len(claims) == 6
    assert claim_number(client, claims[0].number) is None
    release(client, claims[0])
    assert claims[0].number not in numbers_in_use(client)
    assert claim_number(client, claims[0].number) is not None
    client.close()


def test_point_that_is_being_written_is_asked_for_again(
    server: InfluxServer, store: InfluxStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server shows some fields of a point before the others: here each field comes in a write of its own."""
    lines: list[str] = []
    monkeypatch.setattr(Client, "write", lambda self, some, **_: lines.extend(some))
    monkeypatch.setattr("driftwell.stores.influx.append.attach_waiting", lambda *_: 0)
    monkeypatch.setattr("driftwell.stores.influx.process.claim_number", lambda client: Claim(0, "test", time.time()))
    given = {"segment": "eu", "score": 0.5, "prediction": "1", "entity_id": "u", "metadata": "{}", "invalid": "{}"}
    store.append(make_batch("b", ["1"], **given), count_leaves)
    monkeypatch.undo()
    rest = [line for line in lines if not line.startswith("model_predictions")]
    (prediction,) = (line for line in lines if line.startswith("model_predictions"))
    server.write("\n".join(rest).encode(), name)
    head, fields, at = prediction.split(" ")
    parts = sorted(fields.split(","), reverse=True)
    assert len(parts) == 15
    started = threading.Event()

    def write_slowly() -> None:
        for part in parts:
            server.write(f"{head} {part} {at}".encode(), name)
            started.set()
            time.sleep(0.01)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert started.wait(10)
    seen = set()
    while writer.is_alive() or not seen:
        seen |= {json.dumps(row, default=str) for row in store.recent("m", None, 1)}
    writer.join()
    (row,) = (json.loads(text) for text in seen)  # the whole of it, or nothing
    assert {key: row[key] for key in ("segment", "score", "prediction", "entity_id")} == {
        "segment": "eu", "score": 0.5, "prediction": 1, "entity_id": "u"
    }  # fmt: skip
    assert row["features"] == {"x": 0.0, "colour": "red"}


# -- values and names ----------------------------------------------------------------------------------------


def test_values_come_back_to_the_bit(store: InfluxStore) -> None:
    numbers = [1.5, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, None]
    features = pa.StructArray.from_arrays(
        [
            pa.array(numbers),
            pa.array([2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0, 2**53, 7, None]),
            pa.array([True, False, None, True, False, None, True, False]),
            pa.array(["", " ", None, 'say "hi"', "a\\", "a\nb\r\tc", "ünï 😀", "x" * 70_000]),
            pa.array([np.nan, 1, 2, 3, 4, 5, 6, 7], pa.float32()),
            pa.array([NOON, -1, None, 0, 2**53 + 1, 1, 2, 3], pa.timestamp("us", "UTC")),
            pa.array([["a"], [], None, [None, "b"], ["ü"], [""], ["c"], ["d"]]),
        ],
        names=["number", "whole", "truth", "text", "small", "at", "list"],
    )
    ids = [str(i) for i in range(8)]
    scores = [math.inf, -math.inf, 0.5, None, 1e300, -0.0, 3, 4]
    store.append(make_batch("b", ids, features=features, score=scores), count_leaves)
    (batch,) = store.batches("m", "v1")
    found = batch.rows["features"].combine_chunks()
    assert found.type == features.type
    for column in ("number", "whole", "truth", "text", "at", "list"):
        assert found.field(column).to_pylist() == features.field(column).to_pylist()
    assert math.copysign(1, found.field("number")[1].as_py()) == -1
    assert math.isnan(found.field("small")[0].as_py())
    assert store.outcomes("m", "v1", *ALWAYS)["score"].to_pylist() == scores


ODD = [
    *("a,b c=d", "back\\slash\\", 'quo"te', "it's", "new\nline", "", "%", "%41", "100%", "\x00\x01\x7f", " lead"),
    *("ünïcödé 😀\u2028", "true", "1i", "#comment", "time", "a.b", "x" * 5_000),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_names_come_back(store: InfluxStore, odd: str) -> None:
    other = odd + "2"
    features = [{odd: 1.0, other: "text"}]
    batch = make_batch(odd, ["1"], model=odd, version=odd, features=features, segment=odd, entity_id=other)
    store.append(batch, count_leaves)
    store.append(make_batch("2", ["1"], model=odd, version=other, features=features), count_leaves)
    assert store.models() == sorted([(odd, odd, 1, NOON), (odd, other, 1, NOON)])
    rows = store.read(odd, odd, *ALWAYS)
    assert (rows["segment"].to_pylist(), rows["entity_id"].to_pylist()) == ([odd], [other])
    (newest,) = store.recent(odd, odd, 1)
    assert newest["features"] == {odd: 1.0, other: "text"}
    assert [b for _, b in store.batch_index(odd, odd)] == [odd]


def test_thousand_columns(store: InfluxStore) -> None:
    names = [f"column {i}" for i in range(1_000)]
    rows = [{name: i + k / 7 for i, name in enumerate(names)} for k in range(20)]
    store.append(make_batch("b", [str(k) for k in range(20)], features=rows), count_leaves)
    assert [row["features"] for row in reversed(store.recent("m", "v1", 20))] == rows
    assert store.read("m", "v1", *ALWAYS, columns=["column 999"])["column 999"].to_pylist() == [
        999 + k / 7 for k in range(20)
    ]


def test_schema_is_the_documented_one(server: InfluxServer, store: InfluxStore, name: str) -> None:
    features = [{"x": 2.5, "colour": "red"}]
    store.append(
        make_batch("b", ["id-1"], features=features, prediction='"late"', score=0.5, segment="eu"), count_leaves
    )
    store.add_labels([Label("id-1", "1", NOON)])
    at = NOON * 1000 + nanosecond_of("id-1")
    where = "WHERE model = 'm' AND version = 'v1'"
    number = rows_in(server, f"SELECT value, prediction_id FROM model_features {where} AND feature_name = 'x'", name)
    assert number == [[at, 2.5, "id-1"]]
    text = rows_in(server, f"SELECT text, prediction_id FROM model_features {where} AND feature_name = 'colour'", name)
    assert text == [[at, "red", "id-1"]]
    fields = "prediction_id, prediction, score, segment, true_label"
    assert rows_in(server, f"SELECT {fields} FROM model_predictions {where}", name) == [
        [at, "id-1", '"late"', 0.5, "eu", "1"]
    ]
    tags = {key for (key,) in rows_in(server, "SHOW TAG KEYS FROM model_features", name)}
    assert tags == {"model", "version", "feature_name", "slot"}
    tags = {key for (key,) in rows_in(server, "SHOW TAG KEYS FROM model_predictions", name)}
    assert tags == {"model", "version", "slot", "bucket"}
    fields = {key for key, _ in rows_in(server, "SHOW FIELD KEYS FROM model_predictions", name)}
    assert not fields & tags  # InfluxDB 3 refuses a name that is both


# -- failures ------------------------------------------------------------------------------------------------


def test_partly_refused_batch_is_stored_when_offered_again(server: InfluxServer, store: InfluxStore, name: str) -> None:
    """Somebody else's point made ``value`` a text: numbers are refused, texts of the same batch are taken."""
    server.write(b'model_features,model=z value="text" %d' % (NOON * 1000), name)
    batch = make_batch("b", ["1", "2"])
    with pytest.raises(StoreError, match=r"field type conflict.*dropped=2"):
        store.append(batch, count_leaves)
    assert store.count("m", "v1", *ALWAYS) == 0  # no half row is shown
    assert store.models() == []
    server.ask("DROP MEASUREMENT model_features", name)
    assert store.append(batch, count_leaves) == AppendResult(2)
    assert store.read("m", "v1", *ALWAYS)["x"].to_pylist() == [0.0, 1.0]


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_interrupted_batch_is_completed_in_its_places(
    server: InfluxServer, name: str, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """A process dies after any of its writes, another offers the batch again: each row once, and whole."""
    ids = same_place(3)
    batch = make_batch("b", ids, step_us=0, features=[{"x": 1.0}, {"x": None}, {"x": 3.0}])
    first = InfluxStore(server.database(name))
    writes = []
    write = Client.write

    def failing(self: Client, lines: list[str]) -> None:
        write(self, lines)
        writes.append(lines)
        if len(writes) == fails_at:
            raise StoreError("cut")

    monkeypatch.setattr(Client, "write", failing)
    with pytest.raises(StoreError, match="cut"):
        first.append(batch, count_leaves)
    monkeypatch.setattr(Client, "write", write)
    other = InfluxStore(server.database(name))
    counted: list[int] = []
    result = other.append(batch, lambda fresh: counted.append(len(fresh)) or [])
    was_complete = fails_at == 5
    assert result == (AppendResult(0, duplicate=3) if was_complete else AppendResult(3))
    assert counted == ([] if was_complete else [3])  # all of it, or its leaf would lack the rows written before
    rows = other.read("m", "v1", *ALWAYS)
    assert rows["prediction_id"].to_pylist() == ids
    assert rows["x"].to_pylist() == [1.0, None, 3.0]
    assert [len(b) for b in other.batches("m", "v1")] == [3]
    assert first.append(batch, count_leaves) == AppendResult(0, duplicate=3)
    assert len(ids_of(first)) == 3
    first.close()
    other.close()


def test_wrong_password_is_said_without_it(server: InfluxServer) -> None:
    store = InfluxStore(f"influxdb://drift:Geheim%20wort@127.0.0.1:{server.port}/driftwell")
    with pytest.raises(StoreError, match="check the user and password") as caught:
        store.append(make_batch("b", ["1"]), count_leaves)
    (problem,) = store.info()["problems"]
    shown = f"{caught.value!r} {caught.value.__cause__!r} {store!r} {store.url} {problem} {store.__dict__}"
    assert "Geheim" not in shown
    assert "R2VoZWlt" not in shown
    store.close()


def test_missing_database_is_created_or_named(server: InfluxServer) -> None:
    store = InfluxStore(server.database("fresh one"))
    assert store.models() == []
    assert store.totals("m", None)["predictions"] == 0
    assert "does not exist yet" in store.info()["problems"][0]
    assert store.append(make_batch("b", ["1"]), count_leaves).stored == 1
    assert store.info()["problems"] == []
    store.close()
    server.ask("CREATE USER plain WITH PASSWORD 'plain'")
    server.ask('GRANT ALL ON "fresh one" TO plain')
    plain = InfluxStore(f"influxdb://plain:plain@127.0.0.1:{server.port}/nowhere")
    with pytest.raises(StoreError, match="lacks the right"):
        plain.append(make_batch("b", ["1"]), count_leaves)
    plain.close()
    granted = InfluxStore(f"influxdb://plain:plain@127.0.0.1:{server.port}/fresh%20one")
    assert granted.append(make_batch("b2", ["2"]), count_leaves).stored == 1
    assert granted.read("m", None, *ALWAYS).num_rows == 2
    granted.close()


def test_server_without_login_and_short_policy_are_problems() -> None:
    with InfluxServer(auth=False) as open_server:
        store = InfluxStore(open_server.url)
        open_server.ask("CREATE DATABASE driftwell WITH DURATION 2d")
        about = store.info()
        store.close()
    assert about["kind"] == "influxdb"
    assert about["server_version"].startswith("1.6")
    assert [p.split(":")[0] for p in about["problems"]] == [
        "the server itself deletes what is older than 48h0m0s",
        "the server answers without a login",
    ]


def test_recorder_loses_nothing_while_the_server_is_away() -> None:
    with InfluxServer() as away:
        store = InfluxStore(away.url)
        recorder = Recorder(
            store, reference_for=lambda m, v: None, leaf_builder=lambda r: count_leaves, flush_seconds=0.02
        )
        ids = [recorder.offer("m", "v", {"a": i, "c": "x"}, i % 2) for i in range(300)]
        away.kill()
        ids += [recorder.offer("m", "v", {"a": i, "c": "x"}, i % 2) for i in range(300)]
        recorder.offer_label(ids[0], 1)
        assert not recorder.flush(0.3)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.count("m", None, 0, FAR_US)
        assert "cannot be reached" in store.info()["problems"][0]
        away.start()
        ids += [recorder.offer("m", "v", {"a": i, "c": "x"}, i % 2) for i in range(300)]
        assert recorder.flush(60)
        stats = recorder.stats()
        recorder.close()
        assert sorted(ids_of(store)) == sorted(ids)
        assert store.read("m", "v", 0, FAR_US).num_rows == 900
        assert sum(len(batch) for batch in store.batches("m", "v")) == 900
        store.close()
    assert (stats["stored"], stats["dropped"], stats["rejected"]) == (900, {}, {})
    assert stats["labels"]["matched"] == 1


def write_many(url: str, writer: int, results: Any) -> None:
    """Batches at the same times as the other writers'; every second id is one that they send too."""
    store = InfluxStore(url)
    stored = duplicate = 0
    for first in range(0, 200, 40):
        ids = [f"shared-{i}" if i % 2 else f"own-{writer}-{i}" for i in range(first, first + 40)]
        result = store.append(make_batch(f"{writer}-{first}", ids, start_us=NOON + first * SECOND), count_leaves)
        stored, duplicate = stored + result.stored, duplicate + result.duplicate
    store.close()
    results.put((stored, duplicate))


def test_four_processes_lose_nothing_and_readers_see_whole_rows(server: InfluxServer, store: InfluxStore) -> None:
    url = server.database(store.url.rpartition("/")[2])
    results = WORKERS.SimpleQueue()
    writers = [WORKERS.Process(target=write_many, args=(url, w, results)) for w in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        rows = store.read("m", "v1", *ALWAYS, columns=["prediction_id", "colour"])
        assert rows.num_rows == 0 or set(rows["colour"].to_pylist()) == {"red"}
        time.sleep(0.1)
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    stored, duplicate = zip(*(results.get() for _ in writers), strict=True)
    assert sum(stored) + sum(duplicate) == 800
    found = ids_of(store)
    own = {f"own-{w}-{i}" for w in range(4) for i in range(0, 200, 2)}
    shared = {f"shared-{i}" for i in range(1, 200, 2)}
    assert set(found) == own | shared
    # What two processes write at one moment may be there twice, and is then counted as it is stored.
    assert len(found) == sum(stored) == store.count("m", "v1", *ALWAYS)
    assert len([i for i in found if i in own]) == len(own)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_forked_child_writes_in_a_slot_of_its_own(server: InfluxServer, store: InfluxStore, name: str) -> None:
    ids = same_place(6)
    store.append(make_batch("parent", ids[:2], step_us=0), count_leaves)

    def append_in_child() -> None:
        store.append(make_batch("child", ids[2:4], step_us=0), count_leaves)
        store.close()

    child = multiprocessing.get_context("fork").Process(target=append_in_child)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    store.append(make_batch("parent 2", ids[4:], step_us=0), count_leaves)
    assert sorted(ids_of(store)) == sorted(ids)
    slots = rows_in(server, 'SHOW TAG VALUES FROM model_predictions WITH KEY = "slot"', name)
    assert sorted(value for _, value in slots) == ["0", "1"]


# -- labels and retention ------------------------------------------------------------------------------------


def test_labels_find_predictions_in_every_bucket(store: InfluxStore) -> None:
    ids = [f"id {i}'\"\\" for i in range(1_500)]
    store.append(make_batch("b", ids), count_leaves)
    assert len({bucket_of(i) for i in ids}) == 64
    few, many = ids[:5], ids[5:]
    assert store.add_labels([Label(i, "1", NOON) for i in few]).matched == 5
    assert store.add_labels([Label(i, "0", NOON) for i in many]).matched == 1_495
    assert store.totals("m", None)["labels"] == 1_500
    counts = store.add_labels([Label(ids[0], "1", NOON), Label(ids[1], "2", NOON), Label("nobody", "1", NOON)])
    assert counts.fates == ("duplicate", "conflicting", "early")


def test_label_kept_while_its_prediction_was_written_finds_it(
    server: InfluxServer, store: InfluxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for the prediction and the keeping of the label another process writes the prediction."""
    other = InfluxStore(server.database(store.url.rpartition("/")[2]))
    write = Client.write

    def overtaken(self: Client, lines: list[str]) -> None:
        if any(line.startswith("model_labels") for line in lines):
            monkeypatch.setattr(Client, "write", write)
            other.append(make_batch("b", ["a"]), count_leaves)
        write(self, lines)

    monkeypatch.setattr(Client, "write", overtaken)
    assert store.add_labels([Label("a", "1", NOON)]).fates == ("matched",)
    assert store.outcomes("m", None, *ALWAYS)["true_label"].to_pylist() == ["1"]
    other.close()


def test_prune_counts_from_arrival_not_event_time(server: InfluxServer, store: InfluxStore, name: str) -> None:
    def batch(name: str, ids: list[str], event_hour: int, arrival_hour: int):
        made = make_batch(name, ids, start_us=NOON + event_hour * HOUR_US)
        return type(made)(made.batch_id, "m", "v1", made.rows, made.content_hash, NOON + arrival_hour * HOUR_US)

    store.append(batch("old", ["a", "b"], 5, 0), count_leaves)  # arrived early, happened late
    store.append(batch("straddling", ["c"], 1, 0), count_leaves)
    store.append(batch("late", ["d", "e"], 1, 9), count_leaves)  # arrived late, happened early
    before = NOON + HOUR_US
    gone = store.prune(rows_before_us=before)
    assert (gone.rows, gone.predictions) == (3, 0)
    assert ids_of(store) == ["c", "d", "e", "a", "b"]  # outcomes stay
    assert store.read("m", "v1", *ALWAYS)["prediction_id"].to_pylist() == ["d", "e"]
    assert [b for _, b in store.batch_index("m", "v1")] == ["late"]
    kept = {i for _, i in rows_in(server, "SELECT prediction_id FROM model_features", name)}
    assert kept == {"c", "d", "e"}  # c lies among younger rows: hidden, deleted with them
    assert store.add_labels([Label("a", "1", NOON)]).matched == 1  # a label later than the rows still counts
    gone = store.prune(predictions_before_us=before)
    assert (gone.rows, gone.predictions) == (0, 3)
    assert ids_of(store) == ["d", "e"]
    assert store.count("m", "v1", *ALWAYS) == store.totals("m", "v1")["predictions"] == 2
    assert store.append(batch("again", ["a"], 5, 9), count_leaves).stored == 1
    later = NOON + 10 * HOUR_US
    assert store.prune(rows_before_us=later, predictions_before_us=later).predictions == 3
    assert store.models() == []
    for measurement in ("model_features", "model_predictions", "model_batches"):
        assert rows_in(server, f"SELECT * FROM {measurement}", name) == []


def test_prune_leaves_the_slots_of_others_to_them(server: InfluxServer, store: InfluxStore, name: str) -> None:
    other = InfluxStore(server.database(name))
    other.append(make_batch("b", ["a"]), count_leaves)
    store.prune(rows_before_us=FAR_US)
    assert store.read("m", "v1", *ALWAYS).num_rows == 0
    count = "SELECT count(prediction_id) FROM model_features"
    assert rows_in(server, count, name) == [[0, 2]]  # it may be writing there
    other.prune(rows_before_us=FAR_US)
    assert rows_in(server, count, name) == []
    other.append(make_batch("b2", ["b"]), count_leaves)
    other.close()  # gives its number back
    store.prune(rows_before_us=FAR_US + 1)
    assert rows_in(server, count, name) == []
