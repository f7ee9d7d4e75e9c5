"""Forks of every kind: at once from several threads, from C with one hook, with none."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from driftwell.capture import worker, writer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORK_FROM_C = """
    import ctypes, os, signal, sys
    import driftwell as dw

    monitor = dw.Monitor("m", "v1", store=f"sqlite:///{sys.argv[1]}/s.db", durability=sys.argv[2])
    for i in range(5):
        monitor.record_prediction({"a": i}, 1)
    assert monitor.flush(20)
    ready, told = os.pipe()
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        signal.alarm(50)
        if sys.argv[3] == "one hook":
            ctypes.pythonapi.PyOS_AfterFork_Child()
        ids = [monitor.record_prediction({"a": i}, 1) for i in range(20)]
        os.write(told, ids[0].encode())
        good = monitor.flush(20)
        stats = monitor.stats()
        print(good, stats["offered"], stats["stored"], stats["dropped"], stats["rejected"], flush=True)
        os._exit(0)
    ids = [monitor.record_prediction({"a": i}, 1) for i in range(20)]
    assert os.read(ready, 100).decode() not in ids
    os.waitpid(child, 0)
    good = monitor.flush(20)
    stats = monitor.stats()
    print(good, stats["offered"], stats["stored"], stats["dropped"], stats["rejected"], len(monitor.recent(100)))
    monitor.close()
"""

FORK_AT_ONCE = """
    import os, signal, sys, threading, time
    from driftwell.client import Client

    signal.alarm(50)
    client = Client("http://127.0.0.1:1", token="t", model="m", version="v")
    client.record_prediction({"a": 1}, 1)
    stop = time.monotonic() + 1.5

    def forks():
        while time.monotonic() < stop:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)

    threads = [threading.Thread(target=forks) for _ in range(4)]
    for one in threads:
        one.start()
    n = 1
    while time.monotonic() < stop:
        client.record_prediction({"a": 1}, 1)
        n += 1
    for one in threads:
        one.join()
    stats = client.stats()
    print(stats["offered"] == n, n > 100, flush=True)
    os._exit(0)
"""


def run(code: str, *words: str) -> list[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="calls the fork of the C library")
@pytest.mark.parametrize("durability", ["queued", "journal"])
@pytest.mark.parametrize("hooks", ["one hook", "no hook"])
def test_a_fork_from_c_without_preparation(tmp_path, durability, hooks):
    """A server written in C may fork by itself, and run what follows a fork alone, or nothing."""
    of_child, of_parent = run(FORK_FROM_C, str(tmp_path), durability, hooks)
    assert of_child == "True 20 20 {} {}"
    assert of_parent == "True 25 25 {} {} 45"


def test_threads_that_fork_at_once(tmp_path):
    assert run(FORK_AT_ONCE) == ["True True"]


@pytest.fixture
def converting(make, monkeypatch):
    """A recorder whose thread is in the middle of a conversion, and the event that lets it end."""
    begun, end, prepare = threading.Event(), threading.Event(), writer.prepare

    def slow(*args):
        begun.set()
        end.wait(20)
        return prepare(*args)

    monkeypatch.setattr(writer, "prepare", slow)
    recorder = make()
    recorder.offer("m", "v", {"a": 1.0})
    assert begun.wait(10)
    yield recorder, end
    end.set()


def test_a_fork_waits_until_nothing_is_being_converted(converting, monkeypatch):
    """Arrow and the import of a module have locks of their own, which a child must not inherit in use."""
    monkeypatch.setattr(worker, "FORK_SECONDS", 10.0)
    recorder, end = converting
    threading.Timer(0.2, end.set).start()
    recorder.before_fork()
    ended = end.is_set()
    recorder.after_fork_in_parent()
    assert ended
    assert recorder.flush(10)


def test_a_fork_does_not_wait_for_long(converting, monkeypatch):
    monkeypatch.setattr(worker, "FORK_SECONDS", 0.1)
    recorder, end = converting
    start = time.monotonic()
    recorder.before_fork()
    recorder.after_fork_in_parent()
    assert time.monotonic() - start < 5
    end.set()
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 1
