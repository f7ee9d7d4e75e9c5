"""The cost of recording one prediction: whylogs, BentoML's monitor, and ours in both durabilities, in one run."""

from __future__ import annotations

import json
import tempfile
import time

import driftwell as dw
from benchmarks.peers import inputs
from benchmarks.peers.environments import run

PEERS = ("whylogs", "bentoml")


def own_microseconds(**options: object) -> float:
    """Median of `record_prediction` on the caller's thread; nothing may be lost."""
    rows = inputs.records()
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        monitor = dw.Monitor("bench", version="v1", store=f"sqlite:///{folder}/bench.db", **options)
        monitor.record_prediction(rows[0], 1)
        for row in rows:
            start = time.perf_counter()
            monitor.record_prediction(row, 1)
            spent.append(time.perf_counter() - start)
        monitor.flush()
        stored = monitor.stats()["stored"]
        monitor.close()
    assert stored == len(rows) + 1
    return sorted(spent)[len(spent) // 2] * 1e6


def yardstick() -> float:
    """Median microseconds of `json.dumps` of the same rows."""
    spent = []
    for row in inputs.records():
        start = time.perf_counter()
        json.dumps(row)
        spent.append(time.perf_counter() - start)
    return sorted(spent)[len(spent) // 2] * 1e6


def main() -> None:
    """Print one line a recorder."""
    bare = yardstick()
    lines = [
        ("driftwell, queued", "kept on the recorder's thread", own_microseconds()),
        ("driftwell, journal", "on disk before the call returns", own_microseconds(durability="journal")),
    ]
    for peer in PEERS:
        answer = run(peer)
        lines.append((f"{answer['tool']} {answer['version']}", answer["timed"], answer["microseconds"]))
    print("== one record of 20 features on the caller's thread, medians")
    for name, what, spent in lines:
        print(f"  {name:20} {spent:8.1f} µs {spent / bare:6.2f} × json.dumps   {what}")
