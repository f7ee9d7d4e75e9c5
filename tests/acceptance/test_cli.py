"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTWELL")}
    done = subprocess.run(
        [sys.executable, "-m", "driftwell", *words], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for name, mean in (("before", 0.0), ("same", 0.0), ("after", 1.0)):
        table = pa.table(
            {
                "x": rng.normal(mean, 1, 800),
                "city": rng.choice(["Oslo", "Bergen"], 800),
                "prediction_id": [f"{name}-{i}" for i in range(800)],
                "prediction": rng.integers(0, 2, 800),
            }
        )
        pq.write_table(table, tmp_path / f"{name}.parquet")
    labels = pa.table({"prediction_id": [f"after-{i}" for i in range(500)], "true_label": [i % 2 for i in range(500)]})
    pyarrow.csv.write_csv(labels, tmp_path / "labels.csv")
    return tmp_path


def test_compare_says_what_drifted(folder: Path) -> None:
    found = json.loads(run(folder, "compare", "before.parquet", "after.parquet", "--json").stdout)
    assert found["drift_detected"] is True
    assert [name for name, c in found["columns"].items() if c["drifted"]] == ["x"]
    assert run(folder, "compare", "before.parquet", "same.parquet").stdout.startswith("ok: 0 of 2")


def test_monitor_writes_reports_and_fails_on_drift(folder: Path) -> None:
    run(folder, "baseline", "before.parquet", "-o", "base.json")
    args = ("monitor", "after.parquet", "--baseline", "base.json")
    run(folder, *args, "--output", "r.json", "--output", "r.md", "--html", "r.html", "--fail-on", "drift", code=1)
    run(folder, *args, code=0)
    assert json.loads((folder / "r.json").read_text())["status"] == "drift"
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    assert "x" in (folder / "r.md").read_text()


def test_log_label_check_status_doctor(folder: Path) -> None:
    run(folder, "baseline", "before.parquet", "-o", "base.json", "--model", "m", "--version", "v1")
    logged = json.loads(run(folder, "log", "after.parquet", "--model", "m", "--version", "v1", "--json").stdout)
    assert (logged["offered"], logged["stored"]) == (800, 800)
    again = json.loads(run(folder, "log", "after.parquet", "--model", "m", "--version", "v1", "--json").stdout)
    assert (again["stored"], again["rejected"]) == (0, {"duplicate": 800})
    labels = json.loads(run(folder, "feedback", "labels.csv", "--model", "m", "--json").stdout)
    assert labels["matched"] == 500
    check = json.loads(run(folder, "check", "--model", "m", "--json", code=1).stdout)
    assert check["status"] == "critical"
    assert list(check["drifted_features"]) == ["x"]
    assert check["sample_count"] == 800
    status = json.loads(run(folder, "status", "--json").stdout)
    assert status[0]["counts"]["labels"] == 500
    assert json.loads(run(folder, "doctor", "--json").stdout)["problems"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "nowhere.parquet", "before.parquet"), "no such file"),
        (("monitor", "before.parquet", "--baseline", "nowhere.json"), "driftwell baseline"),
        (("compare", "before.parquet", "labels.csv"), "lacks"),
        (("compare", "before.parquet", "after.parquet", "--method", "kss"), "did you mean 'ks'"),
        (("compare", "before.parquet", "after.parquet", "--output", "r.txt"), "suffix"),
        (("check", "--model", "nobody"), "there is no such file"),
        (("status", "--store", "sqlite:///typo.db"), "there is no such file"),
        (("feedback", "labels.csv", "--store", "memory://"), "gone when the command ends"),
        (("status", "--store", "mysql://x"), "known are sqlite"),
        (("frobnicate",), "No such command"),
    ],
)
def test_a_mistake_is_one_clear_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = run(folder, *words, code=2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


KILLED = """
import os, signal
from driftwell import Monitor
Monitor("m", "v1", store="sqlite:///driftwell.db").close()
monitor = Monitor("m", "v1", store="sqlite:///driftwell.db", durability="journal", flush_seconds=60)
for i in range(50):
    monitor.record_prediction({"x": float(i)}, i, prediction_id=f"p{i}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_only_commands_that_record_take_over_what_a_killed_process_left(folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED], cwd=folder).returncode == -9
    spool = folder / "driftwell.db-spool"
    left = {path.name: path.read_bytes() for path in spool.iterdir()}
    assert len(left) == 2
    for words in (("status",), ("prune", "--dry-run"), ("doctor",)):
        found = json.loads(run(folder, *words, "--json").stdout)
        assert {path.name: path.read_bytes() for path in spool.iterdir()} == left
    assert found["spool"]["left_behind"] == 1
    run(folder, "export", "x.parquet", "--model", "m", code=2)  # it knows no such model yet
    check = json.loads(run(folder, "check", "--model", "m", "--json").stdout)
    assert check["sample_count"] == 50
    assert list(spool.iterdir()) == []
    assert json.loads(run(folder, "status", "--json").stdout)[0]["counts"]["predictions"] == 50


def test_help_is_quick_and_complete(folder: Path) -> None:
    shown = run(folder, "--help").stdout
    for command in ("demo", "baseline", "monitor", "compare", "serve", "log", "status", "doctor", "token", "check"):
        assert command in shown
    heavy = ["scipy", "pyarrow", "fastapi", "numpy"]
    code = f"import sys; from driftwell.cli.app import app; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
