"""A monitor, the service and the commands on real servers: started before them, stopped under them, retention."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.servers import postgres, redis

from driftwell import Monitor, cli
from driftwell.errors import StoreError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("DRIFTWELL", "FEATURE_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres.PostgresServer]:
    if not postgres.available():
        pytest.skip("no PostgreSQL server is installed")
    server = postgres.PostgresServer().start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[redis.RedisServer]:
    if not redis.available():
        pytest.skip("no Redis server is installed")
    server = redis.RedisServer(appendonly=True).start()
    yield server
    server.remove()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What a command prints as JSON."""

    def one(*words: str, code: int = 0, **variables: str) -> Any:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert cli.run([*words, "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return one


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_records_offered_before_the_server_started_arrive_once(
    postgresql: postgres.PostgresServer, reference_table: dict[str, Any]
) -> None:
    url = postgresql.url_of(schema="late")
    postgresql.stop()
    try:
        monitor = Monitor("m", "v1", store=url, reference=reference_table)
        for i in range(500):
            monitor.record_prediction({"x": float(i)}, prediction_id=f"p{i}")
        time.sleep(0.3)
        assert (monitor.stats()["offered"], monitor.stats()["stored"]) == (500, 0)
    finally:
        postgresql.start()
    with closing(monitor):
        eventually(lambda: monitor.stats()["stored"] == 500)
        assert monitor.status()["counts"]["predictions"] == 500
        assert monitor.runtime.ledger.references() == [("m", "v1")]
        assert monitor.check("PT1H").n_predictions == 500


@pytest.fixture
def reference_table() -> dict[str, Any]:
    return {"x": [float(i) for i in range(1_000)]}


def test_a_wrong_password_is_said_at_the_start_and_never_shown(postgresql: postgres.PostgresServer) -> None:
    with pytest.raises(StoreError, match="user or password") as caught:
        Monitor("m", store=postgresql.url_of(password="hunter2"))
    assert "hunter2" not in str(caught.value)


def test_the_plain_names_of_a_deployment_choose_postgresql(
    postgresql: postgres.PostgresServer, run: Callable[..., Any]
) -> None:
    url = postgresql.url_of(schema="plain").replace("postgresql://", "postgresql+psycopg://")
    plain = {"FEATURE_STORE_TYPE": "postgresql", "DATABASE_URL": url}
    Path("rows.csv").write_text("x,prediction_id,entity_id\n1.5,a,ann\n2.5,b,bob\n")
    Path("labels.csv").write_text("prediction_id,true_label\na,1\n")
    assert run("log", "rows.csv", "--model", "m", **plain)["stored"] == 2
    assert run("feedback", "labels.csv", "--model", "m", **plain)["matched"] == 1
    assert run("delete", "--entity-id", "ann", "--yes", **plain)["deleted"] == 1
    assert run("export", "all.parquet", "--model", "m", "--all", **plain)["rows"] == 1
    assert run("prune", FEATURE_RETENTION_HOURS="1", **plain)["deleted"]["rows"] == 0
    found = run("doctor", code=1, **plain)
    # The server of the tests is set up for speed; nothing else is wrong with it.
    assert [problem.split()[0] for problem in found["problems"]] == ["fsync", "full_page_writes"]
    assert found["store"]["kind"] == "postgresql"
    assert not Path("driftwell.db").exists()


def test_redis_has_a_ledger_beside_it_and_survives_a_stop(redis_server: redis.RedisServer) -> None:
    with closing(Monitor("m", "v1", store=redis_server.url, flush_seconds=0.1)) as monitor:
        for i in range(200):
            if i == 100:
                redis_server.stop()
            monitor.record_prediction({"x": float(i)}, prediction_id=f"p{i}")
        time.sleep(0.3)
        redis_server.start()
        eventually(lambda: monitor.stats()["waiting"] == 0)
        assert monitor.stats()["stored"] + sum(monitor.stats()["rejected"].values()) == 200
        assert monitor.status()["counts"]["predictions"] == 200
        leaves = monitor.runtime.ledger.leaves("m", "v1", -(2**62), 2**62)
        assert sum(leaf.n for leaf in leaves) == 200
    assert Path("driftwell-ledger.db").exists()


def test_doctor_on_redis_names_what_is_set_up_badly(redis_server: redis.RedisServer, run: Callable[..., Any]) -> None:
    found = run("doctor", "--store", redis_server.url, code=1)
    assert found["store"]["kind"] == "redis"
    assert found["ledger"]["kind"] == "sqlite"
    assert any("maxmemory" in problem for problem in found["problems"])
    assert redis_server.password not in json.dumps(found)
