"""What a Redis store keeps and how long: by age, by count, by pruning and deleting; nothing of it is left behind."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.servers.redis import RedisServer, available
from tests.servers.workers import WORKERS

from driftwell.errors import BadInput
from driftwell.stores.base import HOUR_US, AppendResult, Label, Pruned
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.redis import RedisStore
from driftwell.stores.redis.rows import NARROW_TOGETHER

pytestmark = pytest.mark.skipif(not available(), reason="needs redis-server and redis-py")
WRITERS, ROWS, SIZE = 4, 1_000, 50
# What stays when no row does: numbers that only count up, and the layout.
COUNTERS = {"arrival", "stream", "layout", "rows", "early:number", "fallen"}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def clean(server: RedisServer) -> RedisServer:
    server.cli("FLUSHALL")
    return server


@pytest.fixture
def store(clean: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(clean.url)
    yield store
    store.close()


def keys_of(server: RedisServer) -> set[str]:
    return {key.removeprefix("driftwell:{all}:") for key in server.cli("KEYS", "*").splitlines()}


def ids_of(store: RedisStore) -> list[str]:
    return list(store.outcomes("m", None, *ALWAYS)["prediction_id"].to_pylist())


def test_rows_end_with_their_time_and_leave_nothing_behind(clean: RedisServer) -> None:
    store, long = RedisStore(clean.url, retention_hours=1 / 3_600), RedisStore(clean.url)
    for version in ("v1", "v2"):
        store.append(make_batch(version, ["a", "b"], version=version, step_us=HOUR_US), count_leaves)
    store.add_labels([Label("a", "1", NOON), Label("never", "1", NOON)])
    first = store.batch_index("m", "v1")[0][0]
    assert 0 < int(clean.cli("PTTL", f"driftwell:{{all}}:b{first}")) <= 1_000
    assert store.count("m", None, *ALWAYS) == 4
    listed = store.batches("m", "v1")
    time.sleep(1.05)
    assert clean.cli("EXISTS", f"driftwell:{{all}}:b{first}") == "0"  # the server did this, without us
    assert len(listed[0]) == 0
    assert store.read("m", None, *ALWAYS).num_rows == 0
    assert (store.models(), store.batch_index("m", "v1"), store.count("m", None, *ALWAYS)) == ([], [], 0)
    assert store.totals("m", None)["labels"] == 0
    assert keys_of(clean) <= COUNTERS
    assert store.info()["fell_out"] == {"age": 4, "count": 0, "early": 1}
    assert any("1 labels fell out" in problem for problem in store.info()["problems"])
    # What is forgotten is new again, and each row keeps the time of the store that wrote it.
    assert long.append(make_batch("v1", ["a"]), count_leaves) == AppendResult(1)
    (again,) = long.batch_index("m", "v1")
    assert int(clean.cli("PTTL", f"driftwell:{{all}}:b{again[0]}")) > 23 * 3_600_000
    store.close()
    long.close()


def test_append_cleans_what_is_old(clean: RedisServer) -> None:
    store = RedisStore(clean.url, retention_hours=0.4 / 3_600)
    for number in range(20):
        store.append(make_batch(f"old{number}", [f"{number}-{i}" for i in range(10)]), count_leaves)
    time.sleep(0.45)
    store.append(make_batch("new", ["n"]), count_leaves)
    assert clean.cli("HLEN", "driftwell:{all}:s1:ids") == "1"
    assert clean.cli("ZCARD", "driftwell:{all}:order") == "1"
    store.close()


def test_oldest_batches_make_room(clean: RedisServer) -> None:
    store = RedisStore(f"{clean.url}?max_rows=100&prefix=small:")
    for number in range(25):
        ids = [f"{number}-{i}" for i in range(10)]
        assert store.append(make_batch(f"b{number}", ids), count_leaves).stored == 10
        assert clean.cli("GET", "small:{all}:rows") == str(min(number * 10 + 10, 100))
    store.add_labels([Label(f"{number}-1", "1", NOON) for number in (3, 24)])
    assert {i.split("-")[0] for i in ids_of(store)} == {str(number) for number in range(15, 25)}
    assert store.count("m", None, *ALWAYS) == store.totals("m", None)["predictions"] == 100
    assert clean.cli("HLEN", "small:{all}:s1:ids") == "100"
    info = store.info()
    assert (info["rows"], info["max_rows"], info["fell_out"]["count"]) == (100, 100, 150)
    assert any("150 rows fell out before their time" in problem for problem in info["problems"])
    with pytest.raises(BadInput, match="split it or raise max_rows"):
        store.append(make_batch("big", [str(i) for i in range(101)]), count_leaves)
    smaller = RedisStore(f"{clean.url}?max_rows=30&prefix=small:")
    assert smaller.count("m", None, *ALWAYS) == 30
    smaller.close()
    store.close()


def test_arrivals_go_on_upwards_when_the_server_lost_all(clean: RedisServer, store: RedisStore) -> None:
    before = [store.append(make_batch(f"b{i}", [f"{i}"]), count_leaves).arrival or 0 for i in range(50)]
    assert before == sorted(set(before))
    clean.cli("FLUSHALL")
    time.sleep(0.06)  # numbers are milliseconds; batches that came faster than one each run ahead of the clock
    after = store.append(make_batch("b50", ["50"]), count_leaves).arrival or 0
    assert after > before[-1]
    assert store.read("m", None, *ALWAYS, after_arrival=before[-1]).num_rows == 1
    assert clean.cli("GET", "driftwell:{all}:layout") == "1"


def test_stores_of_two_prefixes_do_not_meet(clean: RedisServer) -> None:
    one, two = (RedisStore(f"{clean.url}?prefix={prefix}") for prefix in ("one:", "{two}:"))
    for store in (one, two):
        assert store.append(make_batch("b", ["a"]), count_leaves).stored == 1
    assert {key.split(":")[0] for key in clean.cli("KEYS", "*").splitlines()} == {"one", "{two}"}
    assert one.delete(prediction_ids=["a"]) == 1
    assert two.count("m", None, *ALWAYS) == 1
    one.close()
    two.close()


def test_pruned_predictions_leave_nothing_behind(clean: RedisServer, store: RedisStore) -> None:
    for number in range(5):
        batch = make_batch(f"b{number}", [f"{number}-{i}" for i in range(3)], features=[{f"x{number}": 1.0}] * 3)
        store.append(replace(batch, arrived_us=NOON + number), count_leaves)
    store.add_labels([Label("1-1", "1", NOON)])
    assert clean.cli("HLEN", "driftwell:{all}:schemas") == "5"
    assert store.prune(rows_before_us=NOON + 2) == Pruned(rows=6)
    assert clean.cli("HLEN", "driftwell:{all}:schemas") == "3"
    assert store.prune(predictions_before_us=NOON + 9) == Pruned(rows=9, predictions=15)
    assert keys_of(clean) <= COUNTERS
    assert clean.cli("GET", "driftwell:{all}:rows") == "0"


def everything_in(server: RedisServer) -> bytes:
    """All that the server holds, small Arrow messages written out."""
    import redis

    found = []
    with redis.Redis.from_url(server.url) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            values = [key, client.get(key)] if kind == b"string" else []
            values += client.zrange(key, 0, -1) if kind == b"zset" else []
            values += [part for pair in client.hgetall(key).items() for part in pair] if kind == b"hash" else []
            for value in values:
                with contextlib.suppress(zlib.error):
                    found.append(zlib.decompress(value))
                found.append(value)
    return b" ".join(found)


def test_deleted_person_is_in_no_value_of_the_server(clean: RedisServer, store: RedisStore) -> None:
    who = ["person-77", "someone", None]
    for number in range(3):
        ids = [f"secret-{number}", f"b-{number}", f"c-{number}"]
        store.append(make_batch(f"x{number}", ids, entity_id=who, segment=who), count_leaves)
    store.append(make_batch("pruned", ["secret-9", "d"], entity_id=who[:2]), count_leaves)
    store.add_labels([Label("secret-1", '"secret-label"', NOON), Label("secret-early", '"secret-label"', NOON)])
    assert store.delete(prediction_ids=["secret-early"], entity_ids=["person-77"]) == 4
    assert store.read("m", None, *ALWAYS).num_rows == 7
    assert clean.cli("HLEN", "driftwell:{all}:s1:ids") == clean.cli("GET", "driftwell:{all}:rows") == "7"
    assert b"someone" in everything_in(clean)
    assert not [word for word in (b"secret", b"person-77") if word in everything_in(clean)]
    assert store.append(make_batch("y", ["secret-1"]), count_leaves) == AppendResult(1)


def test_limits_read_the_right_rows_of_many_batches(store: RedisStore) -> None:
    """Batches overlap in time and hours, more of them than are read at once; checked against sorting all rows."""
    rows = []
    for number in range(3 * NARROW_TOGETHER):
        version = f"v{number % 2}"
        times = [NOON + (number * 7_919 % 5_000) * 1_000_000 + step * 1_800_000_000 for step in range(4)]
        ids = [f"{number}-{i}" for i in range(4)]
        store.append(make_batch(f"b{number}", ids, version=version, timestamp=times), count_leaves)
        rows += [(time_us, number, i, version) for i, time_us in enumerate(times)]
    rows.sort()
    expected = [f"{number}-{i}" for _, number, i, _ in rows]
    for limit in (0, 1, 5, 200, 600, 10_000):
        read = store.read("m", None, *ALWAYS, limit=limit)["prediction_id"].to_pylist()
        assert read == expected[len(expected) - min(limit, len(expected)) :]
    first = [f"{number}-{i}" for _, number, i, version in rows if version == "v1"]
    assert store.outcomes("m", "v1", *ALWAYS, limit=7)["prediction_id"].to_pylist() == first[-7:]
    assert [row["prediction_id"] for row in store.recent("m", None, 9)] == expected[:-10:-1]
    labelled = expected[10:14]
    store.add_labels([Label(i, "1", NOON) for i in labelled])
    read = store.read("m", None, *ALWAYS, limit=3, labelled=True)
    assert read["prediction_id"].to_pylist() == labelled[-3:]
    cut = (NOON + 1_234_567_890, NOON + HOUR_US + 55)
    inside = sum(cut[0] <= time_us < cut[1] for time_us, *_ in rows)
    assert store.count("m", None, *cut) == inside == store.read("m", None, *cut).num_rows
    start, end, n = store.newest("m", None, cut[1], 100)
    before = [time_us for time_us, *_ in rows if time_us < cut[1]]
    assert (start, end, n) == (before[-100], before[-1] + 1, sum(time_us >= before[-100] for time_us in before))


def test_many_labels_are_cut_into_calls(store: RedisStore) -> None:
    ids = [f"id{i}" for i in range(12_000)]
    store.append(make_batch("b", ids), count_leaves)
    counts = store.add_labels([Label(i, str(n), NOON) for n, i in enumerate(ids)] + [Label("id3", "3", NOON)])
    assert (counts.matched, counts.duplicate, len(counts.fates)) == (12_000, 1, 12_001)
    found = store.outcomes("m", None, *ALWAYS)
    assert found["true_label"].to_pylist() == [str(n) for n in range(12_000)]


def test_reading_while_rows_are_deleted_and_pruned(store: RedisStore) -> None:
    """Every row read carries its own features, whatever is taken from its batch meanwhile."""
    for number in range(10):
        ids = [f"{number}-{i}" for i in range(100)]
        batch = make_batch(f"b{number}", ids, features=[{"own": i} for i in ids])
        store.append(replace(batch, arrived_us=NOON + number), count_leaves)
    errors: list[object] = []

    def remove() -> None:
        try:
            for i in range(0, 60, 3):
                store.delete(prediction_ids=[f"{number}-{i}" for number in range(10)])
                store.prune(rows_before_us=NOON + i // 12)
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=remove)
    thread.start()
    reads = 0
    while thread.is_alive() or not reads:
        rows = store.read("m", None, *ALWAYS)
        assert rows["prediction_id"].to_pylist() == rows["own"].to_pylist()
        reads += 1
    thread.join()
    assert not errors
    assert store.outcomes("m", None, *ALWAYS).num_rows == 10 * 80
    assert store.read("m", None, *ALWAYS).num_rows == 6 * 80


def write_overlapping(url: str, writer: int, results) -> None:
    """Rows in batches of 50; every second row has an id that the other writers send too."""
    store = RedisStore(url)
    stored = duplicate = 0
    for first in range(0, ROWS, SIZE):
        ids = [f"shared-{i}" if i % 2 else f"own-{writer}-{i}" for i in range(first, first + SIZE)]
        fresh: list[int] = []
        result = store.append(make_batch(f"{writer}-{first}", ids), lambda b, n=fresh: n.append(len(b)) or [])
        stored, duplicate = stored + result.stored, duplicate + result.duplicate
        assert result.conflict == 0
        assert fresh[-1] == result.stored
        store.add_labels([Label(i, "1", NOON) for i in ids[:10]])
    store.close()
    results.put((stored, duplicate))


@pytest.mark.slow
def test_four_writers_store_each_row_once(clean: RedisServer, store: RedisStore) -> None:
    results = WORKERS.SimpleQueue()
    writers = [WORKERS.Process(target=write_overlapping, args=(clean.url, w, results)) for w in range(WRITERS)]
    for writer in writers:
        writer.start()
    stored, duplicate = zip(*(results.get() for _ in range(WRITERS)), strict=True)
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    expected = {f"shared-{i}" for i in range(1, ROWS, 2)} | {
        f"own-{w}-{i}" for w in range(WRITERS) for i in range(0, ROWS, 2)
    }
    found = Counter(store.read("m", "v1", *ALWAYS)["prediction_id"].to_pylist())
    assert set(found) == expected
    assert set(found.values()) == {1}
    assert (sum(stored), sum(stored) + sum(duplicate)) == (len(expected), WRITERS * ROWS)
    assert store.count("m", "v1", *ALWAYS) == store.totals("m", "v1")["predictions"] == len(expected)
    assert sum(len(batch) for batch in store.batches("m", "v1")) == len(expected)
    labelled = {i for first in range(0, ROWS, SIZE) for i in range(first, first + 10)}
    expected_labels = len([i for i in labelled if i % 2]) + WRITERS * len([i for i in labelled if i % 2 == 0])
    assert store.totals("m", None)["labels"] == expected_labels


def test_odd_texts_come_back(store: RedisStore) -> None:
    odd = ["", "nul\0inside", "Zürich 東京 🚀", "a b", "1:x", "\n", "'\"\\", "{all}", "x" * 5_000]
    store.add_labels([Label(f"{name}!", '"early \0 ü"', NOON, model=name) for name in odd if name])
    for name in odd:
        model = name or "m"
        result = store.append(make_batch(f"b{name}", [name, f"{name}!"], model=model, segment=name), count_leaves)
        assert (result.stored, result.labels_matched) == (2, int(bool(name)))
    for name in odd:
        rows = store.outcomes(name or "m", "v1", *ALWAYS)
        assert rows["segment"].to_pylist() == [name, name]
        assert rows["true_label"].to_pylist() == [None, '"early \0 ü"' if name else None]
        assert store.delete(prediction_ids=[f"{name}!"], model=name or "m") == 1
    assert [model for model, *_ in store.models()] == sorted(name or "m" for name in odd)


def test_moments_far_from_now_are_kept_to_the_microsecond(store: RedisStore) -> None:
    times = [-62_135_596_800_000_000 + 1, -1, 0, 1, 253_402_300_799_999_999]
    store.append(make_batch("b", list("abcde"), timestamp=times), count_leaves)
    found = store.read("m", None, -(1 << 62), 1 << 62)
    assert found["timestamp"].cast("int64").to_pylist() == times
    assert store.count("m", None, -1, 1) == 2
    assert store.count("m", None, times[4], times[4] + 1) == 1
    assert store.newest("m", None, 1 << 62, 1) == (times[4], times[4] + 1, 1)
    assert sorted(store.hourly_outputs("m", None)) == sorted({t // HOUR_US * HOUR_US for t in times})
