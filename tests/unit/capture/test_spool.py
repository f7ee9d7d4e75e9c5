"""The spool keeps what was written, whole entries only, and gives each chain to one owner."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from driftwell.capture.spool import files as spool_module
from driftwell.capture.spool.chain import Chain
from driftwell.capture.spool.files import Spool, SpoolFullError
from driftwell.capture.spool.frames import FRAME_BYTES, Damage, frame, scan

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FORKS = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def contents(chain: Chain, start: int = 0) -> list[bytes]:
    return [bytes(entry.content) for entry in chain.entries(start)]


def dead(folder: Path, *entries: bytes, **options) -> None:
    """The files of a process that is gone."""
    spool = Spool(folder, most_bytes=10**9, **options)
    for entry in entries:
        spool.append(entry)
    spool.close()


def log_of(folder: Path) -> Path:
    (path,) = folder.glob("*.log")
    return path


# -- entries -----------------------------------------------------------------------------------------------------


def test_an_entry_is_marked_measured_and_summed():
    head, content = frame(b"content")[:FRAME_BYTES], frame(b"content")[FRAME_BYTES:]
    assert content == b"content"
    assert head == b"\xd7\x0b\xf5\x1e" + struct.pack("<II", 7, zlib.crc32(b"content", 7))


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_write_cut_short_costs_only_itself(cut):
    data = frame(b"first") + frame(b"second")
    damage = Damage()
    assert [bytes(c) for _, c in scan(data[: len(data) - min(cut, FRAME_BYTES + 5)], damage)] == [b"first"]
    assert (len(damage.corrupt), len(damage.torn)) == (0, 1)


def test_any_damaged_byte_costs_at_most_one_entry():
    entries = [frame(bytes([65 + i]) * 40) for i in range(5)]
    data = b"".join(entries)
    for at in range(len(data)):
        damage = Damage()
        spoilt = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        found = [bytes(c) for _, c in scan(spoilt, damage)]
        hit = at // len(entries[0])
        assert found == [bytes([65 + i]) * 40 for i in range(5) if i != hit]
        assert (len(damage.corrupt), len(damage.torn)) == ((0, 1) if hit == 4 else (1, 0))


def test_zeros_after_a_power_cut_are_a_torn_end():
    damage = Damage()
    assert len(list(scan(frame(b"a") + bytes(4096), damage))) == 1
    assert len(damage.torn) == 1


def test_noise_is_never_taken_for_an_entry():
    rng = random.Random(0)
    for _ in range(50):
        assert list(scan(rng.randbytes(2_000), Damage())) == []


# -- one process -------------------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_entry(tmp_path):
    spool = Spool(tmp_path / "s", most_bytes=10**6)
    assert spool.adopt() is None
    spool.close()
    assert not (tmp_path / "s").exists()


def test_files_are_private_and_go_when_all_is_settled(tmp_path):
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "s", most_bytes=10**6)
        end = spool.append(b"x" * 10)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "s").iterdir()} == {0o600}
    spool.mark(end, end)
    spool.close()
    assert list((tmp_path / "s").iterdir()) == []


def test_room_comes_back_segment_by_segment(tmp_path):
    spool = Spool(tmp_path, most_bytes=80_000)  # segments of 10,000 bytes
    ends = [spool.append(b"x" * 990) for _ in range(70)]
    most = spool.look_around().bytes
    assert len(list(tmp_path.glob("*.log"))) == 7
    spool.mark(ends[34], ends[34])
    assert spool.look_around().bytes < most * 0.6
    assert [entry.end for entry in spool.entries(ends[34])] == ends[35:]
    spool.mark(ends[-1], ends[-1])
    assert list(tmp_path.glob("*.log")) == []
    assert spool.append(b"y") > ends[-1]
    spool.close()


def test_a_full_spool_refuses_the_newest_and_keeps_the_rest(tmp_path):
    spool = Spool(tmp_path, most_bytes=10_000)
    kept = 10_000 // (500 + FRAME_BYTES)
    for _ in range(kept):
        spool.append(b"x" * 500)
    with pytest.raises(SpoolFullError):
        spool.append(b"x" * 500)
    assert len(list(spool.entries(0))) == kept
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= 10_000
    spool.mark(spool.end, spool.end)
    spool.append(b"again")
    spool.close()


def test_the_bound_covers_what_other_processes_wrote(tmp_path):
    dead(tmp_path, b"x" * 9_000)
    spool = Spool(tmp_path, most_bytes=10_000)
    spool.look_around()
    with pytest.raises(SpoolFullError):
        spool.append(b"x" * 2_000)
    spool.close()


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    spool = Spool(tmp_path, most_bytes=10**6)
    spool.append(b"first")
    real = os.pwrite

    def half(fd: int, data: bytes, at: int) -> int:
        if len(data) > 500:
            return real(fd, data[:400], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        spool.append(b"x" * 800)
    monkeypatch.undo()
    spool.append(b"third")
    spool.close()
    chain = Spool(tmp_path, most_bytes=10**6).adopt()
    assert contents(chain) == [b"first", b"third"]
    assert chain.damage == Damage()
    chain.close()


def test_a_limit_of_the_system_leaves_nothing_half_written(tmp_path):
    code = f"""
import resource, signal
from driftwell.capture.spool.files import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
spool = Spool({str(tmp_path)!r}, most_bytes=10**6)
failed = 0
for i in range(10):
    try:
        spool.append(b"x" * 300)
    except OSError:
        failed += 1
print(failed)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(found.stdout) == 10 - 2_000 // (300 + FRAME_BYTES)
    chain = Spool(tmp_path, most_bytes=10**6).adopt()
    assert contents(chain) == [b"x" * 300] * (2_000 // (300 + FRAME_BYTES))
    assert chain.damage == Damage()
    chain.close()


def test_threads_with_fsync_wait_for_their_own_entry(tmp_path, monkeypatch):
    synced: list[int] = []
    real = os.fsync
    spool = Spool(tmp_path, most_bytes=10**6, fsync=True)
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    done: list[bool] = []

    def work() -> None:
        for _ in range(20):
            with spool.lock:
                end = spool.append(b"x")
            spool.sync(end)
            done.append(spool._synced >= end)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 80
    assert all(done)
    count = len(synced)
    spool.sync(spool.end)
    assert len(synced) == count
    spool.close()


# -- several processes -------------------------------------------------------------------------------------------


def test_a_living_process_keeps_its_files(tmp_path):
    one, other = Spool(tmp_path, most_bytes=10**6), Spool(tmp_path, most_bytes=10**6)
    one.append(b"mine")
    assert other.adopt() is None
    one.close()
    chain = other.adopt()
    assert contents(chain) == [b"mine"]
    other.release(chain, finished=True)
    assert list(tmp_path.iterdir()) == []


def test_of_many_adopters_each_chain_goes_to_one(tmp_path):
    for i in range(20):
        dead(tmp_path, f"entry {i}".encode())
    start, found = threading.Barrier(8), []

    def adopt() -> None:
        spool = Spool(tmp_path, most_bytes=10**6)
        start.wait()
        while (chain := spool.adopt()) is not None:
            found.extend(contents(chain))
            spool.release(chain, finished=True)

    threads = [threading.Thread(target=adopt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"entry {i}".encode() for i in range(20))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_finished_meanwhile_is_not_adopted(tmp_path, monkeypatch):
    """The second one opens the head before the first removes it, and locks it after."""
    dead(tmp_path, b"x")
    first, second = Spool(tmp_path, most_bytes=10**6), Spool(tmp_path, most_bytes=10**6)
    chain = first.adopt()
    real = spool_module._lock
    monkeypatch.setattr(spool_module, "_lock", lambda fd: (first.release(chain, finished=True), real(fd))[1])
    assert second.adopt() is None


def test_an_adopter_that_stops_leaves_the_rest_to_the_next(tmp_path):
    dead(tmp_path, b"a", b"b", b"c")
    first = Spool(tmp_path, most_bytes=10**6)
    chain = first.adopt()
    end = next(iter(chain.entries(0))).end
    chain.mark(end, end)
    first.close()
    chain = Spool(tmp_path, most_bytes=10**6).adopt()
    assert contents(chain, chain.settled) == [b"b", b"c"]
    chain.close()


@FORK
@FORKS
def test_a_forked_child_holds_no_lock_of_its_parent(tmp_path):
    """The parent dies while its child lives: its files are free."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        signal.alarm(30)
        spool = Spool(tmp_path, most_bytes=10**6)
        spool.append(b"parent")
        child = os.fork()
        if child == 0:
            spool.after_fork_in_child()
            spool.append(b"child")
            os.write(writing, str(os.getpid()).encode())
            signal.pause()
        os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(reading, 100))
    spool = Spool(tmp_path, most_bytes=10**6)
    chain = spool.adopt()
    assert contents(chain) == [b"parent"]
    assert spool.adopt() is None
    spool.close()
    os.close(reading)
    os.close(writing)
    os.kill(child, signal.SIGKILL)


def test_a_program_that_is_started_inherits_no_lock(tmp_path):
    spool = Spool(tmp_path, most_bytes=10**6)
    spool.append(b"x")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    spool.close()
    other = Spool(tmp_path, most_bytes=10**6)
    deadline = time.monotonic() + 5  # the system closes what is not inherited a moment after the start
    while (chain := other.adopt()) is None and time.monotonic() < deadline:
        time.sleep(0.001)
    other.close()
    child.communicate(b"\n", timeout=30)
    assert chain is not None


def test_files_of_a_newer_format_are_left_alone_and_said(tmp_path, caplog):
    dead(tmp_path, b"x")
    (head,) = tmp_path.glob("*.head")
    data = bytearray(head.read_bytes())
    data[8:10] = (99).to_bytes(2, "little")
    head.write_bytes(data)
    spool = Spool(tmp_path, most_bytes=10**6)
    assert spool.adopt() is spool.adopt() is None
    assert caplog.text.count("format 99") == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"DRIFT", b"garbage" * 10])
def test_a_damaged_head_is_left_alone_and_said(tmp_path, caplog, content):
    dead(tmp_path, b"x")
    next(tmp_path.glob("*.head")).write_bytes(content)
    assert Spool(tmp_path, most_bytes=10**6).adopt() is None
    assert "left alone" in caplog.text
    assert len(list(tmp_path.iterdir())) == 2


def test_a_head_without_entries_is_swept_away(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "0123.head").touch()
    assert Spool(tmp_path, most_bytes=10**6).adopt() is None
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_records_of_another_store_are_left_alone(tmp_path):
    dead(tmp_path, b"x", store="postgresql://a/b")
    assert Spool(tmp_path, most_bytes=10**6, store="postgresql://a/c").adopt() is None
    chain = Spool(tmp_path, most_bytes=10**6, store="postgresql://a/b").adopt()
    assert contents(chain) == [b"x"]
    chain.close()


def test_a_torn_tail_and_a_corrupt_middle_cost_no_other_entry(tmp_path):
    dead(tmp_path, *(f"entry {i}".encode() * 10 for i in range(10)))
    path = log_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"entry 4") + 2] ^= 1
    path.write_bytes(data[:-3])
    chain = Spool(tmp_path, most_bytes=10**6).adopt()
    assert contents(chain) == [f"entry {i}".encode() * 10 for i in range(9) if i != 4]
    assert (len(chain.damage.corrupt), len(chain.damage.torn)) == (1, 1)
    chain.close()
