"""``prune``, ``export``, ``delete`` and ``doctor`` on real stores."""

from __future__ import annotations

import json
import os
import socket
import time

import pyarrow.parquet as pq
import pytest
from tests.servers import redis

from driftwell import Monitor
from driftwell.capture.spool.files import Spool
from driftwell.cli import run
from driftwell.monitor.runtime import Runtime
from driftwell.monitor.spooling import spool_name
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
    assert (would["deleted"], would["note"]) == (None, None)
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
    with Monitor("another", store=store) as monitor:
        monitor.record_prediction({"x": 1.0}, 1, prediction_id="p9")
    assert ask(capsys, "delete", "--prediction-id", "p0", "--model", "another", "--yes")["deleted"] == 0
    assert ask(capsys, "delete", "--prediction-id", "p0", "--prediction-id", "p1", "--yes")["deleted"] == 2
    assert run(["delete", "--yes"]) == 2
    assert "name what to delete" in capsys.readouterr().err


def test_delete_does_not_know_a_model_that_is_misspelt(store, capsys):
    assert run(["delete", "--prediction-id", "p0", "--model", "mm", "--yes"]) == 2
    assert "unknown model 'mm': did you mean 'm'?" in capsys.readouterr().err
    assert ask(capsys, "export", "all.parquet", "--model", "m", "--all", "--window", "P1D")["rows"] == 3


def test_delete_says_what_was_not_found(store, capsys):
    words = ["delete", "--prediction-id", "p0", "--prediction-id", "p7", "--entity-id", "u1", "--entity-id", "u7"]
    found = ask(capsys, *words, "--yes")
    assert (found["deleted"], found["found"], found["not_found"]) == (2, 2, 2)
    assert run(["delete", "--prediction-id", "p0", "--yes"]) == 0
    assert "0 predictions deleted; of the ids and subjects named: 0 found, 1 not found" in capsys.readouterr().out


def test_export_says_how_many_predictions_have_lost_their_features(store, capsys, monkeypatch, caplog):
    monkeypatch.setenv("FEATURE_RETENTION_HOURS", "2")
    with Monitor("m", "v1", store=store) as monitor:
        monitor.record_prediction({"x": 9.0}, 9, prediction_id="p9", true_label=1)
        monitor.flush(10)
        assert monitor.prune()["rows"] in (0, 3)  # the monitor's own housekeeping may have been faster
    for words, rows, lost in (((), 1, 1), (("--all",), 1, 3), (("--all", "--window", "2"), 1, 1)):
        caplog.clear()
        found = ask(capsys, "export", "x.parquet", "--model", "m", *words)
        assert (found["rows"], found["without_features"]) == (rows, lost)
        assert f"{lost} predictions of the window have no feature rows any more" in caplog.text
    caplog.clear()
    assert ask(capsys, "export", "x.parquet", "--model", "m", "--window", "1", "--all")["without_features"] == 0
    assert caplog.text == ""


READING = [
    ("status",),
    ("check",),
    ("export", "x.parquet", "--model", "m"),
    ("prune", "--dry-run"),
    ("prune",),
    ("delete", "--prediction-id", "p", "--yes"),
]


@pytest.mark.parametrize("words", READING)
def test_a_misspelt_file_is_not_made(words, capsys, tmp_path):
    assert run([*words, "--store", "sqlite:///typo.db"]) == 2
    said = capsys.readouterr().err
    assert f"there is no such file: {tmp_path}/typo.db" in said
    assert len(said.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_doctor_does_not_make_a_misspelt_file(capsys, tmp_path):
    (problem,) = ask(capsys, "doctor", "--store", "sqlite:///typo.db", code=1)["problems"]
    assert f"there is no such file: {tmp_path}/typo.db" in problem
    assert os.listdir(tmp_path) == []


def test_doctor_does_not_make_a_misspelt_ledger(store, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTWELL_LEDGER", "sqlite:///typo.db")
    found = ask(capsys, "doctor", code=1)
    assert f"there is no ledger: {tmp_path}/typo.db" in found["problems"][0]
    assert found["store"]["kind"] == "sqlite"
    assert not (tmp_path / "typo.db").exists()
    assert run(["status"]) == 2
    assert "there is no ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("log", "rows.csv", "--model", "m"),
        ("feedback", "rows.csv"),
        ("baseline", "rows.csv", "--model", "m"),
        ("status",),
        ("token", "create"),
    ],
)
def test_a_command_refuses_a_store_that_would_be_gone_with_it(words, capsys, tmp_path):
    (tmp_path / "rows.csv").write_text("x,prediction_id,true_label\n1.5,alpha,1\n")
    assert run([*words, "--store", "memory://"]) == 2
    assert "a store in memory is gone when the command ends" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("status",), ("check",), ("prune",), ("token", "create")])
def test_every_command_on_a_store_says_what_does_nothing(store, words, capsys, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_PROT", "1")
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@db/x")
    assert run(list(words)) == 0
    said = capsys.readouterr().err
    assert "the variable DRIFTWELL_PROT is not a setting" in said
    assert "DATABASE_URL is not the address of a store" in said
    assert "hunter2" not in said


def test_doctor_tells_of_it_too(store, capsys, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_PROT", "1")
    assert any("DRIFTWELL_PROT" in advice for advice in ask(capsys, "doctor")["advice"])


def test_a_type_that_contradicts_the_address_is_said_by_commands_too(store, capsys, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_STORE", store)
    monkeypatch.setenv("FEATURE_STORE_TYPE", "redis")
    assert run(["status"]) == 2
    assert "DRIFTWELL_STORE is the address of a sqlite store, but FEATURE_STORE_TYPE says redis" in (
        capsys.readouterr().err
    )


def leave(folder, store: str, size: int) -> int:
    """What a process that is gone left in a spool folder; its bytes there."""
    before = sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0
    spool = Spool(folder, most_bytes=10**6, store=store)
    spool.append(b"x" * size)
    spool.close()
    return sum(path.stat().st_size for path in folder.iterdir()) - before


def test_doctor_tells_the_records_of_other_stores_apart(store, capsys, monkeypatch, tmp_path):
    folder = tmp_path / "shared"
    monkeypatch.setenv("DRIFTWELL_SPOOL_DIR", str(folder))
    theirs = leave(folder, "redis other:6379 /0", 500)
    found = ask(capsys, "doctor")
    assert (found["spool"]["files"], found["spool"]["bytes"], found["spool"]["left_behind"]) == (0, 0, 0)
    assert found["spool"]["others"] == {"redis other:6379 /0": theirs}
    assert not any("ended processes" in advice for advice in found["advice"])
    own = leave(folder, store.removeprefix("sqlite:///"), 300)
    found = ask(capsys, "doctor")
    assert (found["spool"]["files"], found["spool"]["bytes"], found["spool"]["left_behind"]) == (2, own, 1)
    assert found["spool"]["others"] == {"redis other:6379 /0": theirs}
    monkeypatch.setenv("DRIFTWELL_SPOOL_BYTES", str(own + theirs))  # the bound is for all of them
    assert "100% full" in ask(capsys, "doctor", code=1)["problems"][0]


def test_delete_waits_for_no_record_of_another_store(store, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTWELL_SPOOL_DIR", str(tmp_path / "shared"))
    leave(tmp_path / "shared", "redis other:6379 /0", 500)
    assert ask(capsys, "delete", "--prediction-id", "p0", "--yes")["waiting_elsewhere"] == 0


def test_prune_says_that_redis_keeps_no_prediction_without_its_features(capsys, monkeypatch):
    if not redis.available():
        pytest.skip("no Redis server is installed")
    monkeypatch.setenv("FEATURE_RETENTION_HOURS", "2")
    with redis.RedisServer() as server:
        with Monitor("m", store=server.url) as monitor:
            monitor.record_prediction({"x": 1.0}, 1)
        found = ask(capsys, "prune", "--dry-run", "--store", server.url)
        assert found["before"]["predictions"] == found["before"]["rows"]
        assert "label_maturity changes nothing" in found["note"]
        assert run(["prune", "--dry-run", "--store", server.url]) == 0
    assert found["before"]["rows"][:10] in capsys.readouterr().out


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
    size = leave(spool, spool_name(url), 900)
    monkeypatch.setenv("DRIFTWELL_SPOOL_BYTES", str(round(size / 0.9)))
    found = ask(capsys, "doctor", "--store", url, code=1)
    assert (found["spool"]["bytes"], found["spool"]["files"], found["spool"]["left_behind"]) == (size, 2, 1)
    assert "90% full" in found["problems"][0]
    assert "cannot be reached" in found["problems"][1]
    assert "hunter2" not in json.dumps(found)
    assert any("1 ended processes left records" in advice for advice in found["advice"])


def test_doctor_knows_the_ledger_beside_the_rows(store, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTWELL_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    Runtime.open(store).close()
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
