"""Monitors as deployments use them: several processes on one SQLite file, restarts, crashes, forks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from driftwell import AlertRule, Monitor, Reference

SPAWN = multiprocessing.get_context("spawn")
START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=2)
WRITERS, ROWS = 3, 600


def table(n: int, *, age: float = 0.0, seed: int = 13) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"age": rng.normal(40 + age, 10, n), "fare": rng.normal(10, 2, n)}


def features(i: int) -> dict[str, float]:
    """The same for the same number in every process."""
    return {"age": 40 + 10 * float(np.sin(i)), "fare": float(i % 17)}


def write(url: str, writer: int, results: Any) -> None:
    """Every second id is the others' too; each process flushes, checks and asks in between."""
    monitor = Monitor("flights", "v1", store=url, reference=table(2_000), flush_seconds=0.05)
    for i in range(ROWS):
        number, pid = (i, f"shared-{i}") if i % 2 else (i + writer * ROWS, f"own-{writer}-{i}")
        monitor.record_prediction(
            features(number),
            i % 2,
            score=(i % 100) / 100,
            prediction_id=pid,
            timestamp=START + timedelta(seconds=10 * i),
        )
        monitor.record_feedback(pid, 1)
        if i % 150 == 149:
            monitor.check("PT2H", at=END)
            monitor.collector_stats()
    monitor.close()
    results.put(monitor.stats())


def run_together(*processes: Any) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def script(text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of its own with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/driftwell.db"


def test_processes_that_share_a_store_count_nothing_twice(url):
    results = SPAWN.Queue()
    run_together(*[SPAWN.Process(target=write, args=(url, w, results)) for w in range(WRITERS)])
    stats = [results.get() for _ in range(WRITERS)]
    own = [(i + w * ROWS, i) for w in range(WRITERS) for i in range(0, ROWS, 2)]
    shared = [(i, i) for i in range(1, ROWS, 2)]
    expected = own + shared
    for one in stats:
        assert one["offered"] == ROWS == one["stored"] + sum(one["rejected"].values())
        assert set(one["rejected"]) <= {"duplicate"}
        assert one["labels"]["matched"] + one["labels"]["early"] + one["labels"]["duplicate"] == ROWS
    assert sum(one["stored"] for one in stats) == len(expected)

    monitor = Monitor("flights", "v1", store=url)
    found = monitor.collector_stats(since="all")
    assert found["total_predictions"] == len(expected)
    ages = np.array([features(number)["age"] for number, _ in expected])
    for name, value in (("mean", ages.mean()), ("std", ages.std(ddof=1)), ("min", ages.min()), ("max", ages.max())):
        assert found["features"]["age"][name] == pytest.approx(value, rel=1e-9)
    assert sum(hour["count"] for hour in monitor.hourly_summary(since="all").values()) == len(expected)
    result = monitor.check("PT2H", at=END)
    assert result.n_predictions == result.drift["summary"]["n_current"] == len(expected)
    assert result.performance["labels"] == {"matched": len(expected), "coverage": 1.0}
    ids = monitor.read("PT2H", at=END)["prediction_id"].to_pylist()
    assert len(ids) == len(set(ids)) == len(expected)
    assert monitor.runtime.ledger.info()["integrity"] == "ok"
    monitor.close()


def record_some(url: str) -> None:
    """One life of a service: a reference, a baseline, predictions, labels, an alert, a mark."""
    monitor = Monitor("flights", "v1", store=url, reference=table(2_000), rules=[AlertRule("Moved", "drift_detected")])
    monitor.set_baseline({"accuracy": 0.9})
    rows = table(500, age=20)
    for i in range(500):
        monitor.record_prediction(
            {name: float(values[i]) for name, values in rows.items()},
            i % 2,
            prediction_id=f"p{i}",
            timestamp=START + timedelta(seconds=i),
        )
    for i in range(300):
        monitor.record_feedback(f"p{i}", (i // 2) % 2)
    monitor.check("PT1H", at=START + timedelta(hours=1))
    monitor.close()


def test_everything_is_there_after_a_restart(url):
    run_together(SPAWN.Process(target=record_some, args=(url,)))
    heard: list[Any] = []
    monitor = Monitor("flights", "v1", store=url, rules=[AlertRule("Moved", "drift_detected")])
    monitor.on_alert(heard.append)
    assert monitor.reference.id == Reference.from_data(table(2_000)).id
    assert monitor.baseline == {"accuracy": 0.9}
    assert monitor.collector_stats()["total_predictions"] == 500
    assert monitor.drift_status()["drift_detected"] is True
    realized = monitor.drift_performance()["realized"]["accuracy"]
    labels = [(i // 2) % 2 for i in range(300)]
    assert (realized["value"], realized["n"]) == (accuracy_score(labels, [i % 2 for i in range(300)]), 300)
    result = monitor.check("PT1H", at=START + timedelta(hours=1))
    assert (result.drift_detected, result.performance_degraded) == (True, True)
    monitor.close()
    assert heard == []  # it fired in the first life and has not ended since


def test_a_reference_set_by_one_process_is_used_by_the_others(url):
    monitor = Monitor("flights", "v1", store=url)
    rows = table(400, age=20)
    for i in range(200):
        monitor.record_prediction({n: float(v[i]) for n, v in rows.items()}, 1, timestamp=START + timedelta(seconds=i))
    assert monitor.check("PT1H", at=START + timedelta(hours=1)).reference_id is None
    other = Monitor("flights", "v1", store=url, reference=table(2_000))
    deadline = time.monotonic() + 20
    while monitor.reference is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for i in range(200, 400):
        monitor.record_prediction({n: float(v[i]) for n, v in rows.items()}, 1, timestamp=START + timedelta(seconds=i))
    result = monitor.check("PT1H", at=START + timedelta(hours=1))
    assert (result.reference_id, result.n_predictions) == (other.reference.id, 400)
    assert result.drift["summary"]["n_current"] == 400
    assert result.culprits == ("age",)
    monitor.close()
    other.close()


def test_a_process_that_is_killed_leaves_whole_batches(url, tmp_path):
    program = """
        import os, signal, sys
        from driftwell import Monitor
        monitor = Monitor("flights", "v1", store=sys.argv[1])
        for i in range(1_000):
            monitor.record_prediction({"x": float(i)}, 1, prediction_id=f"p{i}")
        monitor.flush()
        for i in range(1_000, 5_000):
            monitor.record_prediction({"x": float(i)}, 1, prediction_id=f"p{i}")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert script(program, url).returncode == -9
    monitor = Monitor("flights", "v1", store=url)
    found = monitor.collector_stats()
    n = found["total_predictions"]
    assert 1_000 <= n <= 5_000
    assert found["features"]["x"]["count"] == n
    assert found["features"]["x"]["mean"] == pytest.approx((n - 1) / 2)
    assert monitor.record_prediction({"x": 1.0}, 1)
    assert monitor.collector_stats()["total_predictions"] == n + 1
    monitor.close()


def test_a_program_that_just_ends_stores_what_it_recorded(url):
    program = """
        import sys
        from driftwell import Monitor
        monitor = Monitor("flights", "v1", store=sys.argv[1])
        for i in range(2_000):
            monitor.record_prediction({"x": float(i)}, 1)
    """
    done = script(program, url)
    assert (done.returncode, done.stderr) == (0, "")
    monitor = Monitor("flights", "v1", store=url)
    assert monitor.collector_stats()["total_predictions"] == 2_000
    monitor.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_workers_forked_after_the_start_record_as_well(url):
    program = """
        import os, sys
        from driftwell import Monitor
        monitor = Monitor("flights", "v1", store=sys.argv[1])
        monitor.record_prediction({"x": 0.0}, 1, prediction_id="parent")
        monitor.flush()
        workers = []
        for worker in range(3):
            pid = os.fork()
            if pid == 0:
                for i in range(500):
                    monitor.record_prediction({"x": 1.0}, 1, prediction_id=f"{worker}-{i}")
                monitor.close()
                os._exit(0 if monitor.stats()["stored"] == 500 else 1)
            workers.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
        assert codes == [0, 0, 0], codes
        monitor.record_prediction({"x": 0.0}, 1, prediction_id="parent again")
        monitor.close()
        assert monitor.stats()["stored"] == 2, monitor.stats()
    """
    done = script(program.replace("import os, sys", "import os, sys, warnings; warnings.simplefilter('default')"), url)
    assert done.returncode == 0, done.stderr
    monitor = Monitor("flights", "v1", store=url)
    assert monitor.collector_stats()["total_predictions"] == 1_502
    monitor.close()


def test_recording_loads_nothing_heavy(url):
    program = """
        import sys
        from driftwell import Monitor
        monitor = Monitor("flights", "v1", store=sys.argv[1])
        monitor.record_prediction({"x": 1.0}, 1)
        monitor.flush()
        heavy = {"scipy", "sklearn", "fastapi", "jinja2", "httpx2"} & set(sys.modules)
        monitor.close()
        assert not heavy, heavy
    """
    done = script(program, url)
    assert done.returncode == 0, done.stderr
