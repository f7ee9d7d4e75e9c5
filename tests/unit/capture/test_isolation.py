"""The monitor must never break a prediction: the rules of isolation, each with tests that are named after it.

What the recorder's own tests show already (a full queue, closing, duplicates, ids after a fork …) is not repeated.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient

import driftwell as dw
from driftwell.capture.decorator import captured
from driftwell.capture.ids import is_kept
from driftwell.capture.middleware.asgi import CaptureMiddleware
from driftwell.capture.recorder import Recorder
from driftwell.capture.redaction import Redaction
from driftwell.config import MonitorSettings
from driftwell.errors import ConfigError, StoreError

FIELDS = ("score", "probability", "prediction_id", "timestamp", "segment", "entity_id", "latency_seconds", "metadata",
          "true_label")  # fmt: skip


class Model:
    """All a monitor is to the middleware and the decorator."""

    name, version, settings = "m", "v", MonitorSettings()

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def record_prediction(self, features: Any, prediction: Any = None, **fields: Any) -> str:
        return self.recorder.offer("m", "v", features, prediction, **fields)


def hostile(*methods: str, error: type[BaseException] = RuntimeError) -> Any:
    """An object whose methods of these names raise."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error("raw")

    return type("Hostile", (), dict.fromkeys(methods, method))()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> Any:
    value: dict[str, Any] = {}
    value["itself"] = value
    return value


HOSTILE: dict[str, Callable[[], Any]] = {
    **{name: lambda name=name: hostile(name) for name in (
        "__str__", "__repr__", "__array__", "__float__", "__int__", "__iter__", "__len__", "__getattr__", "__eq__",
        "__hash__", "__bool__", "__index__", "__getattribute__", "__del__")},
    "everything": lambda: hostile("__str__", "__repr__", "__array__", "__iter__", "__getattr__", "__len__", "__eq__"),
    "a huge integer": lambda: 10**5_000,
    "deep nesting": lambda: nested(5_000),
    "itself inside": endless,
    "a lone surrogate": lambda: "\ud800",
    "a null character": lambda: "\x00",
    "an array of objects": lambda: np.array([object(), None], object),
    "an empty array": lambda: np.zeros((0, 3)),
    "not a number": lambda: float("nan"),
    "a class": lambda: int,
    "a generator": lambda: (i for i in range(3)),
    "bytes": lambda: b"\xff",
}  # fmt: skip


def adds_up(stats: dict[str, Any]) -> bool:
    lost = sum(stats["dropped"].values()) + sum(stats["rejected"].values())
    return stats["offered"] == stats["stored"] + stats["waiting"] + lost


def child(code: str, folder: Path, *, environment: dict[str, str] | None = None, error: int = 0) -> str:
    """What a fresh interpreter prints."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=env, timeout=60)
    assert done.returncode == error, done.stderr
    return done.stdout.strip()


def stored(folder: Path, name: str = "m") -> int:
    with dw.Monitor(name, "v", store=f"sqlite:///{folder}/a.db", check_every="P1D") as monitor:
        return len(monitor.recent(10_000))


# -- 1: public calls never raise ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make_value", HOSTILE.values(), ids=HOSTILE)
def test_rule_1_never_raises(recorder, make_value):
    value = make_value()
    recorder.offer("m", "v", value)
    recorder.offer("m", "v", {"a": value, "b": 1.0})
    recorder.offer("m", "v", [value, 1.0])
    recorder.offer("m", "v", {"a": 1.0}, value)
    for name in FIELDS:
        assert isinstance(recorder.offer("m", "v", {"a": 1.0}, **{name: value}), str)
    recorder.offer("m", "v", {"a": 1.0}, metadata={"a": value})
    recorder.offer_label("id", value)
    recorder.offer_label(value, 1)
    recorder.offer_table("m", "v", value, {})
    assert recorder.flush(10)
    assert adds_up(recorder.stats())


def test_rule_1_an_interrupt_passes_through(recorder):
    with pytest.raises(KeyboardInterrupt):
        recorder.offer("m", "v", {"a": hostile("__str__", error=KeyboardInterrupt)})
    assert recorder.offer("m", "v", {"a": 1.0}, prediction_id="next") == "next"
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 1


def test_rule_1_misconfiguration_fails_at_the_start_only(tmp_path):
    with pytest.raises(ConfigError, match="redact"):
        dw.Monitor("m", "v", store=f"sqlite:///{tmp_path}/a.db", redact={"a": "mask"})


# -- 2: never blocks, bounded by count and bytes --------------------------------------------------------------------


def test_rule_2_a_stuck_store_blocks_nobody(make, store):
    store.gate = threading.Event()
    recorder = make(queue_records=500)
    recorder.offer("m", "v", {"a": 1.0})
    start = time.perf_counter()
    for _ in range(5_000):
        recorder.offer("m", "v", {"a": 1.0})
        recorder.offer_label("id", 1)
    assert time.perf_counter() - start < 5  # the store would have held up each for 10
    stats = recorder.stats()
    assert stats["queue_length"] <= 500
    assert stats["dropped"]["queue_full"] + stats["waiting"] == 5_001
    assert adds_up(stats)


def test_rule_2_exchanges_are_bounded_in_bytes(make, store):
    store.gate = threading.Event()
    recorder = make(queue_bytes=200_000, flush_seconds=60)
    app = FastAPI()

    @app.post("/predict")
    def predict(x: dict[str, str] = Body(embed=True)) -> dict[str, int]:  # noqa: B008 - FastAPI's way
        return {"y": 1}

    app.add_middleware(CaptureMiddleware, monitor=Model(recorder))
    client = TestClient(app)
    for _ in range(20):
        assert client.post("/predict", json={"x": {"a": "x" * 20_000}}).status_code == 200
    assert recorder.stats()["dropped"]["queue_full"] >= 11


# -- 3: values are frozen at the call -------------------------------------------------------------------------------


def test_rule_3_what_changes_after_the_call_is_not_seen(make, store):
    recorder = make(flush_seconds=60)
    array, series, features, metadata = np.array([1.0, 2.0]), [1.0, 2.0], {"a": 1.0}, {"k": [1]}
    recorder.offer("m", "array", array)
    recorder.offer("m", "dict", features, metadata=metadata)
    recorder.offer("m", "series", {"s": series, "v": array})
    array[:] = 9
    series[:] = [9.0, 9.0]
    features["a"] = 9
    metadata["k"].append(9)
    assert recorder.flush(10)
    assert [row["features"] for row in store.rows()] == [
        {"f0": 1.0, "f1": 2.0}, {"a": 1.0}, {"s": [1.0, 2.0], "v": [1.0, 2.0]},
    ]  # fmt: skip
    assert store.rows()[1]["metadata"] == '{"k":[1]}'


def test_rule_3_a_dict_that_another_thread_changes(recorder):
    features: dict[str, float] = {str(i): float(i) for i in range(50)}
    done = threading.Event()

    def change() -> None:
        i = 0
        while not done.is_set():
            features[f"new{i % 100}"] = 1.0
            features.pop(f"new{(i + 50) % 100}", None)
            i += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2_000):
            recorder.offer("m", "v", features)
    finally:
        done.set()
        thread.join()
    assert recorder.flush(30)
    assert recorder.stats()["stored"] + sum(recorder.stats()["rejected"].values()) == 2_000


# -- 4: conversion off the hot path, bad records in quarantine ------------------------------------------------------


def test_rule_4_records_are_read_on_the_recorders_thread(recorder, monkeypatch):
    import driftwell.capture.conversion.groups as groups

    seen = []
    read = groups.batch_of_records

    def spy(*args: Any) -> Any:
        seen.append(threading.current_thread() is threading.main_thread())
        return read(*args)

    monkeypatch.setattr(groups, "batch_of_records", spy)
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    assert seen
    assert not any(seen)


def test_rule_4_bad_records_among_good_ones(recorder, store):
    for i in range(100):
        recorder.offer("m", "v", {"a": float(i)}, timestamp="never" if i % 10 == 0 else None)
        recorder.offer("m", "v", {"a": 1.0}, nested(2_000))
    assert recorder.flush(30)
    stats = recorder.stats()
    assert (stats["stored"], stats["rejected"]) == (90, {"timestamp": 10, "prediction": 100})
    assert adds_up(stats)


# -- 5: functions and rules of the user's are guarded ---------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_rule_5_redaction_of_hostile_values(make, store):
    redaction = Redaction.of({"*": "hash", "metadata": "hash"}, b"k" * 16)
    recorder = make(redact_for=lambda model: redaction)
    for make_value in HOSTILE.values():
        value = make_value()
        recorder.offer("m", "v", {"a": value}, metadata={"a": value})
        recorder.offer("m", "v", value)
    assert recorder.flush(10)
    assert adds_up(recorder.stats())
    assert "raw" not in str(store.rows())


def test_rule_5_a_redaction_with_a_defect_costs_the_record_only(make, caplog):
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("a defect")

    recorder = make(redact_for=lambda model: Broken())
    assert isinstance(recorder.offer("m", "v", {"a": "raw"}), str)
    assert recorder.offer_table("m", "v", {"a": ["raw"]}, {}) == []
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 0
    assert adds_up(recorder.stats())


# -- 6: forks, threads, the end of a process ------------------------------------------------------------------------


def test_rule_6_the_thread_is_a_daemon_that_starts_with_the_first_record(make):
    before = set(threading.enumerate())
    recorder = make()
    assert set(threading.enumerate()) == before
    recorder.offer("m", "v", {"a": 1.0})
    assert [thread.daemon for thread in set(threading.enumerate()) - before] == [True]


RECORD = """
import os, signal, sys, time
import driftwell as dw
monitor = dw.Monitor("m", "v", store="sqlite:///a.db", flush_seconds=60, check_every="P1D", **{options})
for i in range(50):
    monitor.record_prediction({{"a": float(i)}}, 1, prediction_id=f"{{os.getpid()}}:{{i}}")
"""


def test_rule_6_what_waits_is_stored_at_exit(tmp_path):
    child(RECORD.format(options={}), tmp_path)
    assert stored(tmp_path) == 50


def test_rule_6_a_sigterm_that_ends_the_process_in_order_loses_nothing(tmp_path):
    code = RECORD.format(options={}) + (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)\n"
    )
    child(code, tmp_path, error=3)
    assert stored(tmp_path) == 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_rule_6_parent_and_child_store_their_own(tmp_path):
    code = RECORD.format(options={}) + (
        "if os.fork() == 0:\n"
        "    for i in range(50):\n"
        "        monitor.record_prediction({'a': 1.0}, 1, prediction_id=f'child:{i}')\n"
        "    monitor.flush(20)\n"
        "    os._exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.wait()[1]) == 0\n"
    )
    child(code, tmp_path)
    assert stored(tmp_path) == 100


# -- 7: a breaker with back-off -------------------------------------------------------------------------------------


def test_rule_7_a_dead_store_is_tried_ever_less_often(make, store):
    store.broken = StoreError("dead")
    recorder = make(flush_seconds=0.001)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        recorder.offer("m", "v", {"a": 1.0})
        time.sleep(0.001)
    # Pauses of at least 0.05, 0.1, 0.2, 0.4 and 0.8 s.
    assert 2 <= len(store.tried) <= 6
    store.broken = None
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == recorder.stats()["offered"]


# -- 8: few lines in the log, everything counted --------------------------------------------------------------------


def test_rule_8_ten_thousand_failures_are_a_few_lines(make, store, caplog):
    caplog.set_level(logging.DEBUG, "driftwell")
    recorder = make(redact_for={"m": Redaction.of({"r": {"bucket": 1}})}.get)
    seen = captured(Model(recorder), lambda a: a, {"segment": lambda given, result: 1 / 0})
    for i in range(2_500):
        recorder.offer("m", "v", {1, 2})
        recorder.offer("m", "v", {"r": "text"}, timestamp="never")
        recorder.offer_table("m", "v", i, {})
        seen(1)
        if i % 500 == 0:
            recorder.flush(10)
    assert recorder.flush(30)
    assert len(caplog.records) <= 6
    stats = recorder.stats()
    assert stats["rejected"]["features"] == stats["rejected"]["timestamp"] == stats["rejected"]["extractor"] == 2_500
    assert adds_up(stats)
    assert {"dropped", "stored", "rejected", "queue_length", "last_success"} <= stats.keys()


# -- 9: kill switch, sampling ---------------------------------------------------------------------------------------


def test_rule_9_the_environment_switches_everything_off(tmp_path):
    code = RECORD.format(options={}) + (
        "import threading\n"
        "monitor.record_batch({'a': [1.0]})\n"
        "monitor.record_feedback('x', 1).wait(0)\n"
        "@monitor.capture()\n"
        "def predict(a): return a\n"
        "predict(1)\n"
        "with monitor.capturing({'a': 1}) as record: record.prediction = 1\n"
        "stats = monitor.stats()\n"
        "print(stats['offered'], stats['stored'], monitor.recorder.enabled,"
        " [t.name for t in threading.enumerate() if 'recorder' in t.name])\n"
    )
    assert child(code, tmp_path, environment={"DRIFTWELL_DISABLED": "1"}) == "0 0 False []"
    assert stored(tmp_path) == 0


def test_rule_9_it_can_be_switched_while_running(recorder, store):
    for enabled in (True, False, True):
        recorder.enabled = enabled
        recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    assert len(store.rows()) == 2


def test_rule_9_every_process_samples_alike(tmp_path):
    code = "from driftwell.capture.ids import is_kept; print([i for i in range(200) if is_kept(f'id{i}', 0.3)])"
    here = [i for i in range(200) if is_kept(f"id{i}", 0.3)]
    assert 20 < len(here) < 100
    for seed in ("1", "2"):
        assert child(code, tmp_path, environment={"PYTHONHASHSEED": seed}) == str(here)


# -- 10: no side effects of an import -------------------------------------------------------------------------------

STATE = """
import atexit, faulthandler, gc, json, logging, os, random, signal, socket, sys, threading, warnings
sockets = []
real = socket.socket.__init__
def counted(self, *a, **k):
    sockets.append(1)
    real(self, *a, **k)
socket.socket.__init__ = counted
def state():
    return {
        "threads": [t.name for t in threading.enumerate()],
        "sockets": len(sockets),
        "handlers": [str(signal.getsignal(s)) for s in signal.valid_signals()],
        "logging": [[one.level, len(one.handlers), one.disabled] for one in map(logging.getLogger, ("", "driftwell"))],
        "logging of all": [str(logging.lastResort), logging.root.manager.disable],
        "hooks": [str(sys.excepthook), str(threading.excepthook), str(sys.unraisablehook), str(sys.getprofile())],
        "environment": dict(os.environ), "random": random.getstate()[1][:5], "gc": [gc.isenabled(), gc.get_threshold()],
        "folder": os.listdir("."), "switch": sys.getswitchinterval(), "cwd": os.getcwd(),
        "json": [json.dumps.__module__, socket.socket.connect.__module__ if hasattr(socket.socket.connect, "__module__")
                 else ""],
    }
before, callbacks, filters = state(), atexit._ncallbacks(), list(warnings.filters)
"""


def test_rule_10_an_import_changes_nothing(tmp_path):
    code = STATE + (
        "import driftwell\n"
        "assert state() == before, (state(), before)\n"
        "assert atexit._ncallbacks() == callbacks and list(warnings.filters) == filters\n"
    )
    child(code, tmp_path)


def test_rule_10_nor_does_the_import_of_all_that_records(tmp_path):
    code = STATE + (
        "from driftwell import CaptureMiddleware, Monitor\n"
        "import driftwell.capture.recorder, driftwell.capture.redaction, driftwell.capture.decorator\n"
        "assert state() == before, (state(), before)\n"
    )
    child(code, tmp_path)


# -- 11: a spool that survives --------------------------------------------------------------------------------------


def test_rule_11_a_journal_outlives_a_killed_process(tmp_path):
    code = RECORD.format(options={"durability": "journal"}) + "os.kill(os.getpid(), signal.SIGKILL)\n"
    child(code, tmp_path, error=-signal.SIGKILL)
    with dw.Monitor("m", "v", store=f"sqlite:///{tmp_path}/a.db", check_every="P1D") as monitor:
        deadline = time.monotonic() + 20
        while len(monitor.recent(100)) < 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(monitor.recent(100)) == 50


# -- 12: an outage leaves the application ready ---------------------------------------------------------------------


def test_rule_12_a_dead_store_leaves_the_application_ready(make, store, monkeypatch):
    monkeypatch.setattr("driftwell.capture.middleware.asgi.SHUTDOWN_SECONDS", 0.2)
    store.broken = store.blind = StoreError("dead")
    app = FastAPI()

    @app.post("/predict")
    def predict(x: dict[str, float] = Body(embed=True)) -> dict[str, float]:  # noqa: B008 - FastAPI's way
        return {"y": 0.5}

    @app.get("/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    app.add_middleware(CaptureMiddleware, monitor=Model(make(queue_records=10)))
    start = time.perf_counter()
    with TestClient(app) as client:
        for _ in range(50):
            assert client.post("/predict", json={"x": {"a": 1}}).json() == {"y": 0.5}
            assert client.get("/ready").json() == {"ready": True}
        before_the_end = time.perf_counter() - start
    assert before_the_end < 5
    assert time.perf_counter() - start < 7  # shutting down waits for the store no longer than it is told to


# -- 13: nothing that an object raises reaches the application ---------------------------------------------------------


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, RuntimeError])
def test_rule_13_an_object_that_raises_an_exit(make, kind):
    class Hostile:
        def __str__(self) -> str:
            raise kind(3)

        def __array__(self, *args: Any, **options: Any) -> Any:
            raise kind(3)

    hostile: Any = Hostile()
    for redaction in (None, Redaction.of({"a": "hash", "segment": {"truncate": 2}}, b"k" * 16)):
        recorder = make(redact_for=lambda model, redaction=redaction: redaction)
        recorder.offer("m", "v", hostile)
        recorder.offer("m", "v", {"a": hostile, "b": [hostile]}, hostile, metadata={"k": hostile})
        for name in ("prediction_id", "segment", "timestamp", "entity_id", "true_label"):
            recorder.offer("m", "v", {"a": 1}, **{name: hostile})
        recorder.offer_rows([{"model": "m", "version": "v", "features": {"a": hostile}, "segment": hostile}])
        assert recorder.offer_table("m", "v", hostile, {}) == []
        assert recorder.offer_table("m", "v", [{"a": 1, "b": hostile}, {"a": "x", "b": hostile}], {}) == []
        recorder.offer_label("p", hostile)
        recorder.offer_label(hostile, 1)
        assert recorder.flush(10)
        stats = recorder.stats()
        assert stats["offered"] == stats["stored"] + sum(stats["rejected"].values()) == 10
        assert stats["labels"]["offered"] == stats["labels"]["rejected"]["true_label"] == 3
        with pytest.raises(KeyboardInterrupt):
            recorder.offer("m", "v", Interrupted())


class Interrupted:
    """The user presses Ctrl-C meanwhile."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt
