"""Whole processes that are killed, restarted and started twice: what was answered is stored, once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from driftwell.routes.tokens import make_token
from driftwell.stores import open_ledger, open_store

APP = """
import os
from fastapi import FastAPI
import driftwell as dw

monitor = dw.Monitor("m", version="v1", store="sqlite:///{folder}/s.db", durability="journal")
app = FastAPI()
app.add_middleware(dw.CaptureMiddleware, monitor=monitor, path="/predict", features="x", prediction="y")


@app.post("/predict")
def predict(body: dict) -> dict:
    return {{"y": 1}}


@app.get("/pid")
def pid() -> int:
    return os.getpid()
"""
ALWAYS = (0, 1 << 62)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def process(words: list[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, so that what it started ends with it."""
    with (folder / f"{time.monotonic_ns()}.log").open("wb") as log:
        started = subprocess.Popen(
            words, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def stored_ids(folder: Path) -> list[str]:
    store = open_store(f"sqlite:///{folder}/s.db")
    try:
        found: list[str] = store.outcomes("m", None, *ALWAYS)["prediction_id"].to_pylist()
        return found
    finally:
        store.close()


def adopt(folder: Path, *, wait_seconds: float = 30.0) -> None:
    """Open the store as any later process would, and leave it when nothing is left in the spool."""
    code = (
        "import time, pathlib, driftwell as dw\n"
        f"monitor = dw.Monitor('m', version='v1', store='sqlite:///{folder}/s.db')\n"
        f"spool = pathlib.Path('{folder}/s.db-spool')\n"
        f"deadline = time.monotonic() + {wait_seconds}\n"
        "while time.monotonic() < deadline:\n"
        "    monitor.flush(5)\n"
        "    if not [f for f in spool.glob('*') if f.is_file() and f.stat().st_size > 4096]: break\n"
        "    time.sleep(0.2)\n"
        "monitor.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=wait_seconds + 30)


class Posting(threading.Thread):
    """Posts predictions with ids of its own until told to stop; ``answered`` are those that got their answer."""

    def __init__(self, url: str, name: str, headers: dict[str, str], body: Callable[[str], object]) -> None:
        super().__init__(daemon=True)
        self.url, self.prefix, self.headers, self.body = url, name, headers, body
        self.answered: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        i = 0
        while not self.stop.is_set():
            one = f"{self.prefix}-{i}"
            i += 1
            try:
                answer = httpx2.post(
                    self.url, json=self.body(one), headers={**self.headers, "x-request-id": one}, timeout=5
                )
            except httpx2.TransportError:
                time.sleep(0.02)  # killed, or not up yet: nobody promised anything
                continue
            if answer.status_code in (200, 202):
                self.answered.append(one)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code < 500
    except httpx2.TransportError:
        return False


def children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in text.split()]


def workers(supervisor: int) -> list[int]:
    """The worker processes of uvicorn: those of its children that serve, not Python's resource tracker."""
    return [pid for pid in children(supervisor) if b"spawn_main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it ended a moment ago
        return b""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the worker processes")
def test_four_uvicorn_workers_killed_and_reloaded_under_traffic_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(folder=tmp_path))
    port = free_port()
    options = f"--port {port} --workers 4 --timeout-worker-healthcheck 60 --log-level warning".split()
    words = [sys.executable, "-m", "uvicorn", "app:app", *options]
    rng = random.Random(4)
    with process(words, tmp_path) as supervisor:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/pid"))
        posting = [Posting(f"{url}/predict", f"t{n}", {}, lambda one: {"x": {"a": 1.0}}) for n in range(2)]
        for one in posting:
            one.start()
        for _ in range(3):
            time.sleep(rng.uniform(0.3, 0.8))
            os.kill(rng.choice(workers(supervisor.pid)), signal.SIGKILL)
        time.sleep(0.5)
        before = set(workers(supervisor.pid))
        supervisor.send_signal(signal.SIGHUP)  # uvicorn's reload: every worker is replaced
        wait_for(lambda: len(workers(supervisor.pid)) >= 4 and not before & set(workers(supervisor.pid)))
        seen = sum(len(one.answered) for one in posting)
        wait_for(lambda: sum(len(one.answered) for one in posting) > seen + 20)
        for one in posting:
            one.stop.set()
            one.join()
        supervisor.terminate()
        supervisor.wait(30)
    adopt(tmp_path)
    answered = {one for thread in posting for one in thread.answered}
    stored = stored_ids(tmp_path)
    assert len(answered) > 50
    assert answered - set(stored) == set()
    assert len(stored) == len(set(stored))


@contextmanager
def service(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "driftwell", "serve", "--port", str(port), "--store", f"sqlite:///{folder}/s.db"]
    with process(words, folder) as started:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield started


def token(folder: Path) -> dict[str, str]:
    ledger = open_ledger(f"sqlite:///{folder}/s.db")
    try:
        return {"Authorization": f"Bearer {make_token(ledger, ('ingest',))[0]}"}
    finally:
        ledger.close()


@pytest.mark.slow
def test_a_service_killed_at_any_moment_keeps_what_it_accepted(tmp_path: Path) -> None:
    """`driftwell serve` journals unless told otherwise: 202 is a promise."""
    headers, port, rng = token(tmp_path), free_port(), random.Random(9)
    url = f"http://127.0.0.1:{port}/api/v1/predictions"
    posting = Posting(
        url, "p", headers, lambda one: {"model": "m", "version": "v1", "prediction_id": one, "features": {"a": 1.0}}
    )
    posting.start()
    for _ in range(4):
        with service(tmp_path, port) as running:
            time.sleep(rng.uniform(0.1, 0.9))
            running.kill()
            running.wait()
    posting.stop.set()
    posting.join()
    adopt(tmp_path)
    stored = stored_ids(tmp_path)
    assert len(posting.answered) > 20
    assert set(posting.answered) - set(stored) == set()
    assert len(stored) == len(set(stored))


@pytest.mark.slow
def test_two_services_that_flush_the_same_spool_count_it_once(tmp_path: Path) -> None:
    headers, ports = token(tmp_path), [free_port(), free_port()]
    rows = [{"model": "m", "version": "v1", "prediction_id": str(i), "features": {"a": 1.0 * i}} for i in range(500)]
    with service(tmp_path, ports[0]) as running:
        for start in range(0, 500, 100):
            url = f"http://127.0.0.1:{ports[0]}/api/v1/predictions"
            assert httpx2.post(url, json=rows[start : start + 100], headers=headers, timeout=10).status_code == 202
        running.kill()  # the newest are in the spool only
        running.wait()
    with service(tmp_path, ports[0]), service(tmp_path, ports[1]):
        wait_for(lambda: len(stored_ids(tmp_path)) >= 500)
        time.sleep(1.5)  # time for whoever would store them again
    stored = stored_ids(tmp_path)
    assert sorted(stored, key=int) == [str(i) for i in range(500)]
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    leaves = open_ledger(f"sqlite:///{tmp_path}/s.db")
    hours = leaves.leaves("m", "v1", *ALWAYS)
    assert sum(leaf.n for leaf in hours) == 500
    assert store.totals("m", "v1")["predictions"] == 500
    leaves.close()
    store.close()
