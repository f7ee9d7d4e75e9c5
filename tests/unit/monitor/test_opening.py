"""Opening the store, the ledger and the spool; a server that does not answer yet, and one that refuses."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.servers import influx

from driftwell import Monitor
from driftwell.config import settings_from
from driftwell.errors import ConfigError, NotSupported, StoreError
from driftwell.monitor import opening
from driftwell.monitor.opening import LateStore, Stores, open_stores
from driftwell.monitor.runtime import Runtime
from driftwell.monitor.spooling import open_spool, spool_folder, spool_name, spool_state
from driftwell.stores import open_store
from driftwell.stores.memory import MemoryStore


@pytest.fixture
def nobody() -> int:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port where somebody takes connections and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


class Appearing:
    """Opens a store in memory once it is ``there``; until then it fails as a server that is away does."""

    def __init__(self) -> None:
        self.there = False
        self.tries = 0

    def __call__(self) -> MemoryStore:
        self.tries += 1
        if not self.there:
            raise StoreError("nobody there")
        return MemoryStore()


def test_a_store_that_can_be_is_its_own_ledger(tmp_path):
    found = open_stores(f"sqlite:///{tmp_path}/s.db", settings_from({}))
    assert found.rows is found.ledger
    assert not found.are_split
    found.close()


def test_a_ledger_of_its_own_keeps_what_is_known_about_the_rows(tmp_path):
    settings = settings_from({"ledger": f"sqlite:///{tmp_path}/ledger.db"})
    found = open_stores(f"sqlite:///{tmp_path}/rows.db", settings)
    assert found.are_split
    found.ledger.put_reference("m", "1", "r", b"{}")
    found.close()
    ledger, rows = open_store(f"sqlite:///{tmp_path}/ledger.db"), open_store(f"sqlite:///{tmp_path}/rows.db")
    assert (ledger.references(), rows.references()) == ([("m", "1")], [])
    ledger.close()
    rows.close()


def test_a_ledger_at_the_same_address_is_the_store(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    found = open_stores(url, settings_from({"ledger": url}))
    assert not found.are_split
    found.close()


def test_only_some_stores_can_be_a_ledger(tmp_path):
    with pytest.raises(NotSupported, match="cannot be the ledger"):
        open_stores(f"sqlite:///{tmp_path}/s.db", settings_from({"ledger": "redis://127.0.0.1:1"}))


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_server_that_is_away_is_an_error_unless_one_is_patient(scheme, nobody, tmp_path):
    url = f"{scheme}://u:hunter2@127.0.0.1:{nobody}/0"
    settings = settings_from({"ledger": f"sqlite:///{tmp_path}/ledger.db"})
    with pytest.raises(StoreError) as caught:
        open_stores(url, settings)
    assert "hunter2" not in str(caught.value)
    found = open_stores(url, settings, patient=True)
    assert found.are_awaited
    assert found.rows.url == f"{scheme}://127.0.0.1:{nobody}/0"
    with pytest.raises(StoreError):
        found.rows.models()
    found.close()


def test_a_server_that_refuses_is_an_error_for_the_patient_too(refusing, tmp_path):
    settings = settings_from({"ledger": f"sqlite:///{tmp_path}/ledger.db"})
    with pytest.raises(StoreError):
        open_stores(f"redis://127.0.0.1:{refusing}/0", settings, patient=True)


def test_a_late_store_is_tried_at_most_once_a_second():
    there = Appearing()
    late = LateStore("redis://h", there)
    for _ in range(5):
        with pytest.raises(StoreError, match="nobody there"):
            late.models()
    assert there.tries == 1
    late.close()


def test_records_wait_for_a_store_that_comes_late_and_so_does_the_reference(reference, monkeypatch):
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    there = Appearing()
    late = LateStore("postgresql://h/d", there)
    runtime = Runtime(late, late, stores=Stores(late, late, (late,)))
    monitor = runtime.monitor("m", "1")
    runtime.put_reference_later("m", "1", reference)
    monitor.record_prediction({"age": 40.0, "fare": 10.0, "city": "Oslo"}, 1)
    assert not runtime.recorder.flush(0.5)
    assert (monitor.stats()["waiting"], monitor.reference.id) == (1, reference.id)
    there.there = True
    assert runtime.recorder.flush(10)
    assert not runtime.is_awaited
    assert monitor.stats()["stored"] == 1
    assert monitor.reference.id == reference.id
    assert late.references() == [("m", "1")]
    runtime.close()


def test_a_monitor_starts_while_its_server_is_away(nobody, reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monitor = Monitor("m", store=f"redis://127.0.0.1:{nobody}/0", reference=reference)
    assert monitor.record_prediction({"age": 1.0}) != ""
    assert monitor.reference.id == reference.id
    assert monitor.stats()["waiting"] == 1
    monitor.runtime.recorder.close(0.1)
    monitor.close()
    # What waited is on disk now, for the next monitor of this store.
    assert spool_state(tmp_path / "driftwell-spool").left_behind == 1


def test_the_spool_lies_beside_a_file_and_else_in_the_folder_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spool_folder("sqlite:///a.db") == tmp_path / "a.db-spool"
    assert spool_folder("sqlite:////data/a.db", str(tmp_path / "s")) == tmp_path / "s"
    assert spool_folder("redis://h") == tmp_path / "driftwell-spool"
    assert spool_folder("memory://") is None


def test_stores_that_share_a_spool_folder_are_told_apart_whoever_logs_in():
    named = [
        spool_name(url)
        for url in (
            "postgresql://a:secret@h:1/x?password=secret",
            "postgres://b@h:1/x",
            "postgresql://h:1/y",
            "postgresql://h:1/x?schema=other",
        )
    ]
    assert named[0] == named[1]
    assert len(set(named)) == 3
    assert "secret" not in "".join(named)
    assert spool_name("sqlite:////data/a.db") == ""
    assert spool_name("sqlite:////data/a.db", "s") == "/data/a.db"


def test_a_journal_needs_something_that_lasts():
    with pytest.raises(ConfigError, match="outlives the process"):
        open_spool("memory://", settings_from({"durability": "journal"}))
    with pytest.raises(ConfigError, match="outlives the process"):
        Monitor("m", store="memory://", durability="journal")
    assert open_spool("memory://", settings_from({})) is None


def test_wrong_rules_of_redaction_are_said_at_the_start_and_leave_no_file(tmp_path):
    with pytest.raises(ConfigError, match="redact"):
        Monitor("m", store=f"sqlite:///{tmp_path}/new.db", redact={"email": "shred"})
    assert list(tmp_path.iterdir()) == []


def test_what_is_redacted_never_reaches_the_store(make):
    monitor = make(redact={"email": "drop", "name": "hash"}, redact_key="a key of the user's own, 32+")
    monitor.record_prediction({"email": "a@b", "name": "Ann", "x": 1.0})
    monitor.flush(10)
    features = monitor.recent(1)[0]["features"]
    assert features["x"] == 1.0
    assert "a@b" not in str(features)
    assert features["name"] != "Ann"


# -- whose ledger ------------------------------------------------------------------------------------------------------


def test_a_default_ledger_is_one_stores_own(tmp_path, monkeypatch) -> None:
    """Two row stores of one ledger would be counted as one where their models have the same name."""
    monkeypatch.chdir(tmp_path)
    for name, first in (("redis://h/0", True), ("redis://user:pw@h/0", True), ("redis://h/1", False)):
        ledger = open_store("sqlite:///driftwell-ledger.db")
        try:
            if first:
                opening._claim(ledger, name, "sqlite:///driftwell-ledger.db", is_named=False)
            else:
                with pytest.raises(
                    ConfigError, match=r"knows the predictions of redis://h/0, not of redis://h/1: give .*ledger="
                ):
                    opening._claim(ledger, name, "sqlite:///driftwell-ledger.db", is_named=False)
        finally:
            ledger.close()


def test_a_ledger_that_is_named_moves_with_its_store_and_says_so(caplog) -> None:
    ledger = MemoryStore()
    opening._claim(ledger, "redis://old/0", "postgresql://db/x", is_named=True)
    opening._claim(ledger, "redis://new/0", "postgresql://me:secret@db/x", is_named=True)
    assert "knows the predictions of redis://old/0" in caplog.text
    assert "secret" not in caplog.text
    caplog.clear()
    for address in ("redis://new/0", "redis://old/0"):  # both are known now
        opening._claim(ledger, address, "postgresql://db/x", is_named=True)
    ledger.prune_history(1 << 60)
    opening._claim(ledger, "redis://new/0", "postgresql://db/x", is_named=True)
    assert not caplog.text
    ledger.close()


def test_the_name_of_a_database_is_not_taken_for_a_server_that_is_starting(refusing) -> None:
    address = f"postgresql://127.0.0.1:{refusing}/freight_loading"
    refused = StoreError(f"{address} has no such database")
    refused.__cause__ = OSError('database "freight_loading" does not exist')
    assert not opening._is_away(address, refused)
    refused.__cause__ = OSError("FATAL: the database system is starting up")
    assert opening._is_away(address, refused)


@pytest.mark.skipif(not influx.available(), reason="influxd is not installed")
def test_influxdb_refuses_a_wrong_password_at_the_start(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = influx.InfluxServer()
    server.start()
    try:
        wrong = re.sub(r":[^:/@]+@", ":wrong@", server.url)
        with pytest.raises(StoreError, match="password") as refused:
            open_stores(wrong, settings_from({}), patient=True)
        assert "wrong" not in str(refused.value).replace("wrong password", "")
    finally:
        server.stop()
