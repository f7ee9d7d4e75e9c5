"""Retention in SQLite: what is deleted is in no byte of the file, space is given back, others are hardly held up."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import apsw
import numpy as np
import pytest

from driftwell.stores.base import HOUR_US, Label, Pruned
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, make_batch, merge_counts
from driftwell.stores.sqlite import SQLiteStore, retention
from driftwell.stores.sqlite.health import problems
from driftwell.stores.sqlite.migration import APPLICATION_ID, newest_version


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "s.db")
    yield store
    assert store.info()["integrity"] == "ok"
    store.close()


def raw(folder: Path) -> bytes:
    """All bytes of the file and its log."""
    return b"".join((folder / name).read_bytes() for name in sorted(os.listdir(folder)) if name.startswith("s.db"))


def messages(store: SQLiteStore) -> dict[int, bytes]:
    with store.database.read() as connection:
        return dict(connection.execute("SELECT arrival, message FROM batch_rows").fetchall())


# -- deleting --------------------------------------------------------------------------------------------------


def test_nothing_of_a_deleted_prediction_is_in_a_byte_of_the_file(store, tmp_path):
    """Texts that are not squeezed are searched as they are; squeezed rows by the bytes they were stored as."""
    rng = np.random.default_rng(7)
    ids = [rng.bytes(12).hex() for _ in range(4_000)]
    who = [f"subject-{rng.bytes(10).hex()}" for _ in ids]
    store.add_labels([Label(i, f'"label-{i}"', NOON) for i in ids[::7]])
    sizes = itertools.cycle([1, 3, 30, 200, 90])
    start = 0
    while start < len(ids):
        stop = start + next(sizes)
        features = [{"name": name} for name in who[start:stop]]
        batch = make_batch(f"b{start}", ids[start:stop], entity_id=who[start:stop], features=features)
        store.append(batch, count_leaves)
        start = stop
    store.add_labels([Label(i, f'"label-{i}"', NOON) for i in ids[1::3]])
    gone = rng.permutation(len(ids))[:900]
    before = messages(store)
    assert ids[gone[0]].encode() in raw(tmp_path)
    deleted = store.delete(prediction_ids=[ids[i] for i in gone[:500]], entity_ids=[who[i] for i in gone[500:]])
    assert deleted == 900
    found = raw(tmp_path)
    assert [text for i in gone for text in (ids[i], who[i]) if text.encode() in found] == []
    after = messages(store)
    rewritten = [message for arrival, message in before.items() if message != after.get(arrival)]
    assert len(rewritten) > 20
    kept = b"".join(after.values())
    slices = {message[i : i + 32] for message in rewritten for i in range(0, len(message) - 32, 32)}
    own = [piece for piece in slices if piece not in kept and len(set(piece)) > 16]  # not Arrow's own numbers
    assert len(own) > 500
    assert [piece for piece in own if piece in found] == []
    left = [name for i, name in enumerate(ids) if i not in set(gone.tolist())]
    assert sorted(store.read("m", None, *ALWAYS)["prediction_id"].to_pylist()) == sorted(left)
    names = dict(zip(ids, who, strict=True))
    rows = store.read("m", None, *ALWAYS, columns=["prediction_id", "name"])
    assert all(names[i] == name for i, name in zip(*rows.to_pydict().values(), strict=True))


def test_pages_whose_middle_still_holds_a_deleted_text_are_found(store, tmp_path):
    """The page is made by hand: what SQLite leaves behind depends on how pages were split."""
    store.append(make_batch("b", [f"id-{i}" for i in range(50)]), count_leaves)
    store.database.empty_log()
    store.database.close()
    data = bytearray((tmp_path / "s.db").read_bytes())
    page = next(p for p in range(1, len(data) // 4096) if data[p * 4096] == 13 and b"counts" in data[p * 4096 :][:4096])
    middle = page * 4096 + 8 + 2 * int.from_bytes(data[page * 4096 + 3 : page * 4096 + 5], "big") + 20
    data[middle : middle + 9] = b"somebody!"
    (tmp_path / "s.db").write_bytes(bytes(data))
    again = SQLiteStore(tmp_path / "s.db")
    again.delete(entity_ids=["nobody"])
    assert b"somebody!" in raw(tmp_path)
    again.delete(entity_ids=["somebody!"])
    assert b"somebody!" not in raw(tmp_path)
    assert again.count("m", None, *ALWAYS) == 50
    again.close()
    store.database = again.database = type(store.database)(tmp_path / "s.db")


def test_a_reader_that_stays_is_told(store, tmp_path, monkeypatch, caplog):
    store.append(make_batch("b", ["secret-1", "b"]), count_leaves)
    monkeypatch.setattr(type(store.database).empty_log, "__defaults__", (0.05,))
    other = apsw.Connection(str(tmp_path / "s.db"))
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM predictions").get == 2
    assert store.delete(prediction_ids=["secret-1"]) == 1
    assert "long reader" in caplog.text
    assert other.execute("SELECT count(*) FROM predictions").get == 2  # it was not disturbed
    other.execute("COMMIT")
    other.close()
    store.delete(prediction_ids=["secret-1"])
    assert b"secret-1" not in raw(tmp_path)


def test_rows_that_stay_keep_their_place_in_a_batch(store):
    n = 1_000  # squeezed by Arrow
    store.append(make_batch("b", [str(i) for i in range(n)], step_us=1), count_leaves)
    assert store.delete(prediction_ids=[str(i) for i in range(0, n, 3)]) == 334
    kept = [i for i in range(n) if i % 3]
    rows = store.read("m", None, *ALWAYS)
    assert rows["x"].to_pylist() == [float(i) for i in kept]
    (batch,) = store.batches("m", "v1")
    assert batch.rows["prediction_id"].to_pylist() == [str(i) for i in kept]
    assert store.replace_leaves("m", "v1", "new", edges_of("new"), merge=merge_counts) == 1
    assert sum(leaf.n for leaf in store.leaves("m", "v1", *ALWAYS)) == 666
    store.delete(prediction_ids=[str(i) for i in range(n)])
    assert store.batch_index("m", "v1") == []


# -- pruning ---------------------------------------------------------------------------------------------------


def fill(store: SQLiteStore, batches: int, rows: int = 500) -> None:
    rng = np.random.default_rng(1)
    for i in range(batches):
        features = [{"x": float(x), "y": float(y)} for x, y in rng.normal(size=(rows, 2))]
        ids = [f"{i}-{k}" for k in range(rows)]
        store.append(make_batch(f"b{i}", ids, start_us=NOON + i * HOUR_US, features=features), count_leaves)


def test_space_is_given_back_to_the_disk(store, tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "SPARE_PAGES", 10)
    fill(store, 40)
    store.database.empty_log()
    size = os.path.getsize(tmp_path / "s.db")
    assert store.info()["returns_space"]
    assert store.prune(rows_before_us=NOON + 99 * HOUR_US) == Pruned(rows=20_000)
    store.database.empty_log()
    rows_alone = os.path.getsize(tmp_path / "s.db")
    store.prune(predictions_before_us=NOON + 99 * HOUR_US)
    store.database.empty_log()
    assert os.path.getsize(tmp_path / "s.db") < size / 4 < rows_alone < size * 0.9


def test_pruning_is_done_in_short_transactions(store, monkeypatch):
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 1_000)
    monkeypatch.setattr(retention, "PREDICTIONS_AT_ONCE", 800)
    fill(store, 6)
    changed: list[int] = []
    write = store.database.write

    def counted():
        return _Counting(write(), changed)

    monkeypatch.setattr(store.database, "write", counted)
    assert store.prune(predictions_before_us=NOON + 99 * HOUR_US) == Pruned(3_000, 3_000)
    assert max(changed) <= 800
    assert sum(changed) == 3_000 + 6


class _Counting:
    """Notes how many rows a transaction changed."""

    def __init__(self, context, changed):
        self.context, self.changed = context, changed

    def __enter__(self):
        self.connection = self.context.__enter__()
        self.before = self.connection.total_changes()
        return self.connection

    def __exit__(self, *exc):
        self.changed.append(self.connection.total_changes() - self.before)
        return self.context.__exit__(*exc)


def test_writers_go_on_while_rows_are_pruned(store, monkeypatch):
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 500)
    fill(store, 30)
    waits: list[float] = []
    done = threading.Event()

    def write() -> None:
        for i in itertools.count():
            began = time.monotonic()
            store.append(make_batch(f"w{i}", [f"w{i}"], start_us=NOON + 999 * HOUR_US), count_leaves)
            waits.append(time.monotonic() - began)
            if done.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    store.prune(rows_before_us=NOON + 99 * HOUR_US, predictions_before_us=NOON + 99 * HOUR_US)
    done.set()
    writer.join()
    assert len(waits) > 5
    assert max(waits) < 1.0
    assert store.outcomes("m", None, *ALWAYS).num_rows == len(waits)


def test_a_batch_that_leaves_several_hours_is_taken_apart_exactly(store):
    """A sealed hour with a gone batch stays; of a batch in it and in the next hour only the next is counted anew."""
    minute = HOUR_US // 60
    store.append(make_batch("b0", ["0"], start_us=NOON), count_leaves)
    both = make_batch("b1", ["1", "2"], start_us=NOON + 59 * minute, step_us=minute)
    store.append(both, count_leaves)
    assert store.seal(NOON + HOUR_US, more_than=1, merge=merge_counts) == 1
    store.append(make_batch("b2", ["3"], start_us=NOON + 61 * minute), count_leaves)
    assert store.seal(NOON + 2 * HOUR_US, more_than=1, merge=merge_counts) == 1
    store.prune(rows_before_us=NOON + 1)
    for edges in ("new", "newer"):
        assert store.replace_leaves("m", "v1", edges, edges_of(edges), merge=merge_counts) == 2
        found = [(leaf.hour_us, leaf.edges_id, leaf.n) for leaf in store.leaves("m", "v1", *ALWAYS)]
        assert sorted(found) == [(NOON, "counts", 2), (NOON + HOUR_US, edges, 1), (NOON + HOUR_US, edges, 1)]


# -- files of the first schema ---------------------------------------------------------------------------------


def first_schema(path: Path) -> None:
    """A file as the first schema wrote it: two batches, sealed into one leaf, the first of them pruned by nobody."""
    fresh = SQLiteStore(path.with_name("fresh.db"))
    for i in range(2):
        fresh.append(make_batch(f"b{i}", [str(i)], start_us=NOON + i), count_leaves)
    connection = apsw.Connection(str(path))
    script = resources.files("driftwell.stores.sqlite") / "migrations" / "0001_initial.sql"
    connection.execute(script.read_text(encoding="utf-8")).fetchall()
    with fresh.database.read() as other:
        for table in ("streams", "arrow_schemas", "batch_rows", "predictions", "hourly"):
            for row in other.execute(f"SELECT * FROM {table}"):
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    fresh.close()
    for i in (1, 2):
        connection.execute("INSERT INTO batches VALUES (?, ?, 1, ?, 'counts')", (i, f"b{i - 1}", NOON + i - 1))
    values = (1, 1, NOON, None, "counts", 2, 1, 2, b"2")
    connection.execute("INSERT INTO leaves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 1)
    connection.pragma("journal_mode", "wal")
    connection.close()


def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path):
    first_schema(tmp_path / "s.db")
    store = SQLiteStore(tmp_path / "s.db")
    assert store.info()["schema_version"] == newest_version() >= 2
    assert not store.info()["returns_space"]  # only a new file can
    assert store.read("m", None, *ALWAYS)["prediction_id"].to_pylist() == ["0", "1"]
    assert store.append(make_batch("b1", ["1"], start_us=NOON + 1), count_leaves).stored == 0
    assert store.append(make_batch("b2", ["2"], start_us=NOON + 2), count_leaves).arrival == 3
    assert store.replace_leaves("m", "v1", "new", edges_of("new"), merge=merge_counts) == 3
    assert [(leaf.edges_id, leaf.n) for leaf in store.leaves("m", "v1", *ALWAYS)] == [("new", 1)] * 3
    assert store.put_leaves("m", "v1", "elsewhere", 7, NOON, []) is True
    store.close()


def test_a_leaf_that_the_first_schema_sealed_stays_when_one_of_its_batches_is_gone(tmp_path):
    first_schema(tmp_path / "s.db")
    store = SQLiteStore(tmp_path / "s.db")
    assert store.prune(rows_before_us=NOON + 1) == Pruned(rows=1)
    store.append(make_batch("b2", ["2"], start_us=NOON + 2), count_leaves)
    for edges in ("new", "newer"):
        store.replace_leaves("m", "v1", edges, edges_of(edges), merge=merge_counts)
        found = sorted((leaf.edges_id, leaf.n) for leaf in store.leaves("m", "v1", *ALWAYS))
        assert found == [("counts", 2), (edges, 1)]
    store.close()


# -- what doctor is told ---------------------------------------------------------------------------------------


def test_a_new_file_is_for_its_owner_alone(store, tmp_path):
    store.append(make_batch("b", ["a"]), count_leaves)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)}
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)


def test_a_file_that_everybody_reads_is_told(store, tmp_path):
    usual = store.info()["problems"]
    (tmp_path / "s.db").chmod(0o644)
    (told,) = set(store.info()["problems"]) - set(usual)
    assert "mode 0644" in told
    assert "chmod 600" in told


@pytest.mark.parametrize(("kind", "told"), [("nfs4", True), ("ext4", False)])
def test_a_network_file_system_is_told(store, tmp_path, kind, told):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    found = problems(store.database.path, "ok", mounts=str(mounts))
    assert any("network file system (nfs4)" in problem for problem in found) is told


def test_a_full_disk_an_old_library_a_large_log_and_damage_are_told(store, monkeypatch):
    from driftwell.stores.sqlite import health

    usage = health.shutil.disk_usage("/")._replace(total=100 << 30, free=200 << 20)
    monkeypatch.setattr(health.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(health.apsw, "sqlite_lib_version", lambda: "3.51.2")
    monkeypatch.setattr(health, "LARGE_LOG_BYTES", 100)
    store.append(make_batch("b", ["a"]), count_leaves)
    found = " | ".join(problems(store.database.path, "row 7 missing from index"))
    for words in ("200 MB left", "SQLite 3.51.2 can damage", "write-ahead log", "is damaged (row 7"):
        assert words in found
