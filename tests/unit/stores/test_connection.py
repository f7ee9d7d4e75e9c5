"""Connections: a full disk, a stuck writer, threads, forks, and a log that stays small."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from driftwell.errors import StoreError
from driftwell.stores.base import AppendResult
from driftwell.stores.checks import ALWAYS, count_leaves, make_batch
from driftwell.stores.sqlite import SQLiteStore
from driftwell.stores.sqlite import connection as module
from driftwell.stores.sqlite.connection import Database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "s.db")
    yield store
    store.close()


def ids(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def test_full_disk_loses_nothing_and_passes(store: SQLiteStore) -> None:
    store.append(make_batch("first", ids("a", 10)), count_leaves)
    with store.database.read() as connection:  # the pool hands out this one connection again
        usual = connection.pragma("max_page_count")
        connection.pragma("max_page_count", connection.pragma("page_count") + 5)
    large = make_batch("large", ids("b", 5_000))
    with pytest.raises(StoreError, match="no space left"):
        store.append(large, count_leaves)
    assert store.count("m", None, *ALWAYS) == 10
    assert sum(leaf.n for leaf in store.leaves("m", None, *ALWAYS)) == 10
    with store.database.read() as connection:
        connection.pragma("max_page_count", usual)
    assert store.append(large, count_leaves) == AppendResult(5_000)
    assert store.info()["integrity"] == "ok"


def test_stuck_writer_is_reported(tmp_path: Path) -> None:
    impatient = Database(tmp_path / "s.db", busy_seconds=0.05)
    other = apsw.Connection(str(tmp_path / "s.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="stayed locked by another writer"), impatient.write():
        pass
    other.execute("ROLLBACK")
    with impatient.write():
        pass
    impatient.close()


def test_failed_transaction_is_undone(store: SQLiteStore) -> None:
    def set_and_fail() -> None:
        with store.database.write() as connection:
            connection.execute("INSERT INTO marks VALUES ('m', 7)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        set_and_fail()
    assert store.get_mark("m") == 0


def test_closed_store_says_so(store: SQLiteStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.models()


def test_threads_share_a_store(store: SQLiteStore) -> None:
    def append_some(name: str) -> None:
        for i in range(20):
            store.append(make_batch(f"{name}{i}", [f"{name}{i}", f"shared{i}"]), count_leaves)

    threads = [threading.Thread(target=append_some, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count("m", None, *ALWAYS) == 8 * 20 + 20


def test_idle_connections_are_few(store: SQLiteStore) -> None:
    together = threading.Barrier(20)

    def hold_one() -> None:
        with store.database.read():
            together.wait()

    threads = [threading.Thread(target=hold_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.database._idle) <= module.MOST_IDLE


class FakeConnection:
    """Notes the checkpoints asked for; the busy ones fail, as they do while somebody reads."""

    def __init__(self, patience: module._Patience) -> None:
        self.patience, self.busy, self.asked = patience, False, []

    def wal_checkpoint(self, name: str, mode: int) -> None:
        assert self.patience.limit_seconds < 1  # nobody waits long for a reader here
        self.asked.append("restart" if mode == apsw.SQLITE_CHECKPOINT_RESTART else "passive")
        if self.busy:
            raise apsw.BusyError("database is locked")


def test_crowded_log_is_copied_with_force_but_not_again_at_once() -> None:
    patience = module._Patience(limit_seconds=60)
    keeper, connection = module._LogKeeper(patience), FakeConnection(patience)
    log = [keeper(connection, "main", pages) for pages in (999, 1_000, 15_999, 16_000, 500)]
    connection.busy = True
    log += [keeper(connection, "main", pages) for pages in (16_000, 16_500, 17_000)]
    assert connection.asked == ["passive", "passive", "restart", "restart", "passive", "restart"]
    assert set(log) == {apsw.SQLITE_OK}  # a copy that fails is no failure of the commit
    assert patience.limit_seconds == 60


def test_waiting_writer_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda s: (slept.append(s), now.__setitem__(0, now[0] + s)))
    patience, attempts = module._Patience(limit_seconds=2), 0
    while patience(attempts):
        attempts += 1
    assert 2 < now[0] < 2.01
    early, late = slept[:100], slept[-100:]
    assert sum(late) < sum(early) / 3  # who has waited long asks more often


FORKING = """
    import os, sys, threading
    from driftwell.stores.checks import ALWAYS, count_leaves, make_batch
    from driftwell.stores.sqlite import SQLiteStore

    path = sys.argv[1]
    store = SQLiteStore(path)
    store.append(make_batch("before", ["a"]), count_leaves)
    stop = threading.Event()

    def busy():  # a thread that is at work in the store at the moment of the fork
        i = 0
        while not stop.is_set():
            store.append(make_batch(f"busy{i}", [f"busy{i}"]), count_leaves)
            i += 1

    thread = threading.Thread(target=busy)
    thread.start()
    children = []
    for k in range(4):
        child = os.fork()
        if not child:
            for i in range(25):
                store.append(make_batch(f"child{k}-{i}", [f"child{k}-{i}"]), count_leaves)
            inode = os.stat(path).st_ino
            held = [line for line in open("/proc/locks") if f":{inode} " in line and f" {os.getpid()} " in line]
            os._exit(0 if held else 9)  # a connection of this process' own holds locks of its own
        children.append(child)
    store.append(make_batch("parent", ["parent"]), count_leaves)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    thread.join()
    found = store.read("m", None, *ALWAYS)["prediction_id"].to_pylist()
    print(codes, len([i for i in found if i.startswith("child")]), "parent" in found, store.info()["integrity"])
"""


@pytest.mark.skipif(not hasattr(os, "fork") or not os.path.exists("/proc/locks"), reason="needs fork and /proc")
def test_forked_children_and_parent_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), str(tmp_path / "s.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "[0, 0, 0, 0] 100 True ok"


LOST = [("s.db",), ("s.db", "s.db-wal"), ("s.db", "s.db-wal", "s.db-shm")]


@pytest.mark.parametrize("names", LOST, ids=["file", "file and log", "everything"])
def test_a_deleted_file_is_made_anew_and_keeps_what_comes_then(store: SQLiteStore, tmp_path, names, caplog) -> None:
    store.append(make_batch("before", ids("a", 10)), count_leaves)
    for name in names:
        (tmp_path / name).unlink()
    assert store.append(make_batch("after", ids("b", 20)), count_leaves) == AppendResult(20)
    assert store.append(make_batch("later", ids("c", 5)), count_leaves) == AppendResult(5)
    assert [record.getMessage().count("removed or replaced") for record in caplog.records] == [1]

    other = SQLiteStore(tmp_path / "s.db")  # what a process sees that starts now
    assert other.count("m", "v1", *ALWAYS) == 25
    other.close()
    store.close()
    ((check,),) = apsw.Connection(str(tmp_path / "s.db")).execute("PRAGMA integrity_check").fetchall()
    assert check == "ok"


def test_a_file_deleted_within_a_transaction_fails_it(store: SQLiteStore, tmp_path: Path) -> None:
    def deleting(batch):
        (tmp_path / "s.db").unlink(missing_ok=True)
        return count_leaves(batch)

    def write_and_delete() -> None:
        with store.database.write() as connection:
            connection.execute("INSERT INTO streams (model, version) VALUES ('m', 'v1')")
            (tmp_path / "s.db").unlink()

    with pytest.raises(StoreError, match="was removed while it was written to"):
        write_and_delete()
    assert store.append(make_batch("b", ids("b", 3)), deleting) == AppendResult(3)  # the leaves are built before
    assert store.count("m", "v1", *ALWAYS) == 3


def test_a_restored_copy_is_read_and_written(store: SQLiteStore, tmp_path: Path) -> None:
    store.append(make_batch("a", ids("a", 10)), count_leaves)
    copy = SQLiteStore(tmp_path / "copy.db")
    copy.append(make_batch("z", ids("z", 4)), count_leaves)
    copy.close()
    for name in ("s.db-wal", "s.db-shm"):
        (tmp_path / name).unlink()
    (tmp_path / "copy.db").replace(tmp_path / "s.db")
    assert store.count("m", "v1", *ALWAYS) == 4
    store.append(make_batch("b", ids("b", 2)), count_leaves)
    assert store.count("m", "v1", *ALWAYS) == 6


def test_a_deleted_folder_fails_until_it_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    store = SQLiteStore(folder / "s.db")
    store.append(make_batch("a", ids("a", 1)), count_leaves)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(StoreError, match=r"does .*gone exist"):
        store.append(make_batch("b", ids("b", 2)), count_leaves)
    folder.mkdir()
    assert store.append(make_batch("b", ids("b", 2)), count_leaves) == AppendResult(2)
    store.close()


def test_a_fork_from_c_in_the_middle_of_a_transaction_is_refused(tmp_path: Path) -> None:
    """What the thread of the parent was using cannot be closed, and SQLite would take its locks for this process's."""
    database = Database(tmp_path / "s.db")
    with database.read():
        database._after_unprepared_fork()
        with pytest.raises(StoreError, match="forked while"), database.write():
            pass
    database.close()
