"""``prune``, ``export``, ``delete`` and ``doctor`` on real stores."""

from __future__ import annotations

import json
import os
import socket
import time

import pyarrow.parquet as pq
import pytest

from driftwell import Monitor
from driftwell.cli import run
from driftwell.monitor.runtime import Runtime
from driftwell.stores.base import HOUR_US, Loss


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("DRIFTWELL", "FEATURE_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path) -> str:
    """Three predictions of two people, which arrived five hours ago, one of them with a label."""
    url = f"sqlite:///{tmp_path}/driftwell.db"
    with Monitor("m", "v1", store=url) as monitor:
        monitor.recorder._clock = lambda: time.time() - 5 * 3600
        for i in range(3):
            monitor.record_prediction({"x": float(i)}, i, prediction_id=f"p{i}", entity_id=f"u{i % 2}")
        monitor.record_feedback("p1", 1)
        monitor.flush(10)
    return url


def ask(capsys, *words: str, code: int = 0):
    """What a command prints as JSON."""
    assert run([*words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def lines(store: str) -> list[dict]:
    runtime = Runtime.open(store)
    found = runtime.ledger.audit_lines()
    runtime.close()
    return found


def test_without_a_retention_nothing_is_pruned(store, capsys):
    assert ask(capsys, "prune")["deleted"] == {"rows": 0, "predictions": 0, "history": 0}
    assert run(["prune"]) == 0
    assert "kept for ever: feature rows, predictions" in capsys.readouterr().out


def test_prune_says_what_would_go_and_then_what_went(store, capsys, monkeypatch):
    monkeypatch.setenv("FEATURE_RETENTION_HOURS", "2")
    would = ask(capsys, "prune", "--dry-run")
    assert would["deleted"] is None
    assert abs(time.time() - 2 * 3600 - _seconds(would["before"]["rows"])) < 60
    assert abs(time.time() - 30 * 86400 - _seconds(would["before"]["predictions"])) < 60
    assert ask(capsys, "prune")["deleted"] == {"rows": 3, "predictions": 0, "history": 0}
    assert ask(capsys, "prune")["deleted"]["rows"] == 0


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def test_the_settings_file_of_the_folder_counts(store, capsys, tmp_path):
    (tmp_path / "driftwell.toml").write_text("retention_hours = 2\n")
    assert ask(capsys, "prune")["deleted"]["rows"] == 3


def test_a_check_from_cron_prunes_too(store, capsys, monkeypatch):
    monkeypatch.setenv("FEATURE_RETENTION_HOURS", "2")
    ask(capsys, "check", "--model", "m", "--window", "3")
    (line,) = lines(store)
    assert line["details"]["rows"] == 3


def test_export_writes_labelled_rows_or_all(store, capsys, tmp_path):
    assert ask(capsys, "export", "some.parquet", "--model", "m")["rows"] == 1
    assert (
        ask(capsys, "export", "all.parquet", "--model", "m", "--version", "v1", "--all", "--window", "P1D")["rows"] == 3
    )
    assert pq.read_table(tmp_path / "all.parquet").column("x").to_pylist() == [0.0, 1.0, 2.0]
    assert run(["export", "x.parquet", "--model", "nobody"]) == 2
    assert "unknown model" in capsys.readouterr().err


def test_delete_asks_first(store, capsys, monkeypatch):
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(answers))
    assert run(["delete", "--entity-id", "u0"]) == 2
    assert "nothing was deleted" in capsys.readouterr().err
    assert ask(capsys, "delete", "--entity-id", "u0")["deleted"] == 2
    (line,) = lines(store)
    assert (line["who"], line["details"]["deleted"]) == ("command line", 2)


def test_delete_by_id_of_one_model_only(store, capsys):
    assert ask(capsys, "delete", "--prediction-id", "p0", "--model", "another", "--yes")["deleted"] == 0
    assert ask(capsys, "delete", "--prediction-id", "p0", "--prediction-id", "p1", "--yes")["deleted"] == 2
    assert run(["delete", "--yes"]) == 2
    assert "name what to delete" in capsys.readouterr().err


def test_doctor_knows_the_store_and_finds_nothing_wrong(store, capsys):
    found = ask(capsys, "doctor")
    assert found["problems"] == []
    assert (found["store"]["url"], found["store"]["kind"]) == (store, "sqlite")
    assert found["store"]["bytes"] >= os.path.getsize(store.removeprefix("sqlite:///"))
    assert found["spool"]["folder"] == store.removeprefix("sqlite:///") + "-spool"


def test_doctor_warns_before_the_store_is_full(store, capsys, monkeypatch):
    used = ask(capsys, "doctor")["store"]["bytes"]
    monkeypatch.setenv("DRIFTWELL_MAX_STORE_BYTES", str(int(used / 0.79)))
    assert ask(capsys, "doctor")["problems"] == []
    monkeypatch.setenv("DRIFTWELL_MAX_STORE_BYTES", str(int(used / 0.81)))
    (problem,) = ask(capsys, "doctor", code=1)["problems"]
    assert "81% of max_store_bytes" in problem


def test_doctor_tells_of_losses_of_the_last_day(store, capsys):
    runtime = Runtime.open(store)
    now = round(time.time() * 1e6) // HOUR_US * HOUR_US
    runtime.ledger.put_losses(
        [
            Loss("m", "v1", now, "dropped.queue_full", "a", 1200),
            Loss("m", "v1", now, "rejected.duplicate", "a", 7),
            Loss("m", "v1", now - 48 * HOUR_US, "dropped.spool_full", "a", 9),
        ]
    )
    runtime.close()
    (problem,) = ask(capsys, "doctor", code=1)["problems"]
    assert problem == "m v1 lost predictions within the last day: 1,200 queue_full"


def test_doctor_sees_a_spool_that_fills_up_while_the_server_is_away(capsys, monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"redis://:hunter2@127.0.0.1:{taken.getsockname()[1]}/0"
    spool = tmp_path / "driftwell-spool"
    spool.mkdir()
    (spool / "gone.head").write_bytes(b"x" * 900)
    monkeypatch.setenv("DRIFTWELL_SPOOL_BYTES", "1kB")
    found = ask(capsys, "doctor", "--store", url, code=1)
    assert (found["spool"]["bytes"], found["spool"]["files"], found["spool"]["left_behind"]) == (900, 1, 1)
    assert "90% full" in found["problems"][0]
    assert "cannot be reached" in found["problems"][1]
    assert "hunter2" not in json.dumps(found)
    assert "1 ended processes left records" in found["advice"][-1]


def test_doctor_knows_the_ledger_beside_the_rows(store, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTWELL_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    found = ask(capsys, "doctor")
    assert (found["store"]["path"], found["ledger"]["path"]) == (f"{tmp_path}/driftwell.db", f"{tmp_path}/ledger.db")


def test_labels_of_a_file_find_redacted_predictions(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTWELL_REDACT", '{"prediction_id": "hash"}')
    monkeypatch.setenv("DRIFTWELL_REDACT_KEY", "a key of the user's own, 32 letters")
    (tmp_path / "rows.csv").write_text("x,prediction_id\n1.5,alpha\n")
    (tmp_path / "labels.csv").write_text("prediction_id,true_label\nalpha,1\n")
    assert ask(capsys, "log", "rows.csv", "--model", "m")["stored"] == 1
    assert ask(capsys, "feedback", "labels.csv", "--model", "m")["matched"] == 1


@pytest.mark.parametrize(("skew", "said"), [(-60.0, ["-60 s off"]), (60.0, ["+60 s off"]), (1.0, [])])
def test_doctor_compares_the_clocks(store, capsys, monkeypatch, skew, said):
    from driftwell.stores.sqlite import SQLiteStore

    told = SQLiteStore.info
    monkeypatch.setattr(SQLiteStore, "info", lambda self: told(self) | {"server_time_us": (time.time() + skew) * 1e6})
    problems = ask(capsys, "doctor", code=1 if said else 0)["problems"]
    assert len(problems) == len(said)
    assert all(words in problem for words, problem in zip(said, problems, strict=True))
