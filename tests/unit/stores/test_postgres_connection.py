"""Connections to PostgreSQL: refusals in words, servers that stop and start, forks, slow servers, upgrades."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from importlib import resources

import psycopg
import pytest
from psycopg import errors
from tests.servers import postgres
from tests.servers.postgres import PASSWORD, PostgresServer
from tests.servers.workers import WORKERS

from driftwell.capture.recorder import Recorder
from driftwell.errors import BadInput, FormatError, StoreError
from driftwell.stores import open_ledger, open_store
from driftwell.stores.base import AppendResult, Label
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, make_batch
from driftwell.stores.postgres import PostgresStore, connection, failures
from driftwell.stores.postgres.address import read_address
from driftwell.stores.postgres.migration import newest_version
from driftwell.stores.windows import leaf_builder

pytestmark = pytest.mark.skipif(not postgres.available(), reason="no PostgreSQL server can be started here")
numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.url_of(schema=f"c_{next(numbers)}")


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


def as_admin(server: PostgresServer, sql: str) -> list[tuple]:
    with psycopg.connect(server.admin, autocommit=True) as admin:
        cursor = admin.execute(sql)
        return cursor.fetchall() if cursor.description else []


def ids(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


# -- addresses and refusals ----------------------------------------------------------------------------------


def test_url_shows_no_password(server: PostgresServer, url: str) -> None:
    store = open_store(url)
    assert store.url == f"postgresql://driftwell@127.0.0.1:{server.port}/driftwell?schema={url.rpartition('=')[2]}"
    assert PASSWORD not in repr(store.database.address)
    store.close()
    ledger = open_ledger(url.replace("postgresql://", "postgres://"))
    assert ledger.get_mark("m") == 0
    ledger.close()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:se@cret@h/db",
        "postgresql://u:12/cret@h/db",
        "postgresql://u:se/cret@h/db",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:secret@h/db?no_such_option=1",
    ],
)
def test_address_that_cannot_be_read_shows_nothing_of_itself(address: str) -> None:
    with pytest.raises(BadInput, match="write it like") as caught:
        read_address(address)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("schema", ["Upper", "a;b", "pg_own", "", "x" * 64])
def test_schema_must_be_a_plain_name(schema: str) -> None:
    with pytest.raises(BadInput, match="schema"):
        read_address(f"postgresql://h/db?schema={schema}")


def refused(address: str) -> str:
    with pytest.raises(StoreError) as caught:
        PostgresStore(address)
    said, error = [], caught.value
    while error is not None:
        said.append(f"{error}{error.args}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert not any(secret in text for text in said for secret in (PASSWORD, "s3cret"))
    return str(caught.value)


def test_refusals_say_what_to_do(server: PostgresServer) -> None:
    assert "wrong user or password" in refused(server.url_of(password="s3cret"))
    assert "no such database" in refused(server.url_of(database="nowhere"))
    assert "is the server running" in refused(f"postgresql://u:s3cret@127.0.0.1:{postgres._free_port()}/db")
    assert "check its name" in refused("postgresql://u:s3cret@no-such-host.invalid/db")


def test_missing_rights_are_named(server: PostgresServer) -> None:
    as_admin(server, "CREATE ROLE poor LOGIN PASSWORD 's3cret'")
    assert "let an administrator" in refused(server.url_of(user="poor", password="s3cret", schema="not_there"))
    owner = PostgresStore(server.url_of(schema="shared"))
    as_admin(server, "GRANT USAGE ON SCHEMA shared TO poor; GRANT SELECT ON ALL TABLES IN SCHEMA shared TO poor")
    reader = PostgresStore(server.url_of(user="poor", password="s3cret", schema="shared"))  # may read, not write
    assert reader.models() == []
    with pytest.raises(StoreError, match="lacks a right"):
        reader.append(make_batch("b", ["a"]), count_leaves)
    assert any("lacks INSERT on table predictions" in problem for problem in reader.info()["problems"])
    assert not any("lacks" in problem for problem in owner.info()["problems"])
    reader.close()
    owner.close()


def test_read_only_server_is_named(server: PostgresServer, url: str) -> None:
    PostgresStore(url).close()
    read_only = PostgresStore(url + "&options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(StoreError, match="is read-only"):
        read_only.append(make_batch("b", ["a"]), count_leaves)
    assert read_only.count("m", None, *ALWAYS) == 0
    read_only.close()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.DiskFull("could not extend file"), StoreError, "no space left"),
        (errors.DataCorrupted("invalid page"), FormatError, "damaged"),
        (errors.AdminShutdown("terminating connection"), StoreError, "is tried anew"),
        (errors.UndefinedTable("no relation"), StoreError, "are missing"),
        (errors.DataError(f"odd {PASSWORD}"), StoreError, "odd \\*\\*\\*"),
    ],
)
def test_driver_errors_become_sentences(server: PostgresServer, error: psycopg.Error, kind: type, words: str) -> None:
    explained = failures.explain(error, read_address(server.url))
    assert type(explained) is kind
    with pytest.raises(kind, match=words):
        raise explained


def test_info_is_what_the_server_says(server: PostgresServer, store: PostgresStore) -> None:
    store.append(make_batch("b", ids("a", 100)), count_leaves)
    found = store.info()
    ((version,),) = as_admin(server, "SHOW server_version")
    assert (found["kind"], found["server_version"], found["schema_version"]) == (
        "postgresql",
        version,
        newest_version(),
    )
    assert found["bytes"] > 100_000
    assert [p.split(" is ")[0] for p in found["problems"]] == ["fsync", "full_page_writes"]  # off in these tests


def test_session_without_its_settings_is_refused(url: str) -> None:
    """As behind a pooler that drops start-up parameters: tables would be made in whatever schema comes first."""
    with pytest.raises(StoreError, match="a pooler"):
        PostgresStore(url + "&options=-c%20search_path%3Dpublic")


def test_missing_driver_is_named(url: str) -> None:
    code = "import sys; sys.modules['psycopg'] = None\nfrom driftwell.stores import open_store\nopen_store(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=60, check=False)
    assert "MissingDependency: psycopg is needed here: pip install 'driftwell[postgres]'" in done.stderr


# -- lost and slow servers -----------------------------------------------------------------------------------


def test_connections_cut_while_idle_are_replaced_unseen(server: PostgresServer, store: PostgresStore) -> None:
    store.append(make_batch("b1", ["a"]), count_leaves)
    as_admin(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftwell'")
    assert store.append(make_batch("b2", ["b"]), count_leaves) == AppendResult(1)


def test_connection_cut_at_work_is_an_error_and_the_next_call_works(
    server: PostgresServer, store: PostgresStore
) -> None:
    def cut() -> None:
        with store.database.write() as own:
            own.execute("INSERT INTO marks VALUES ('m', 7)")
            as_admin(server, f"SELECT pg_terminate_backend({own.info.backend_pid})")
            own.execute("SELECT 1")

    with pytest.raises(StoreError, match="was lost"):
        cut()
    assert store.get_mark("m") == 0


def test_slow_server_is_given_up(server: PostgresServer, url: str) -> None:
    PostgresStore(url).close()
    impatient = PostgresStore(url + "&options=-c%20statement_timeout%3D100")
    schema = url.rpartition("=")[2]
    with psycopg.connect(server.admin) as other:
        other.execute(f"LOCK TABLE {schema}.batches IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="statement_timeout"):
            impatient.append(make_batch("b", ["a"]), count_leaves)
    assert impatient.append(make_batch("b", ["a"]), count_leaves) == AppendResult(1)
    impatient.close()


def test_closed_store_says_so(url: str) -> None:
    store = PostgresStore(url)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.models()


def test_idle_connections_are_few(store: PostgresStore) -> None:
    together = threading.Barrier(20)

    def hold_one() -> None:
        with store.database.read():
            together.wait()

    threads = [threading.Thread(target=hold_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.database._idle) == len(store.database._open) == connection.MOST_IDLE


def test_server_restarts_under_traffic_lose_nothing_and_double_nothing(server: PostgresServer, url: str) -> None:
    store = PostgresStore(url)
    recorder = Recorder(store, reference_for=lambda m, v: None, leaf_builder=leaf_builder, flush_seconds=0.02)
    offered: list[str] = []
    stop = threading.Event()

    def offer() -> None:
        for i in itertools.count():
            if stop.is_set():
                return
            offered.append(recorder.offer("m", "v1", {"x": float(i)}, 1, prediction_id=f"p{i}"))
            time.sleep(0.0005)

    traffic = threading.Thread(target=offer)
    traffic.start()
    for end in (server.stop, server.kill):
        wait_until_stored(recorder, len(offered) + 1)
        end()
        with pytest.raises(StoreError):
            store.count("m", None, *ALWAYS)
        server.start()
    wait_until_stored(recorder, len(offered) + 1)
    stop.set()
    traffic.join()
    recorder.close(20)
    found = store.outcomes("m", "v1", 0, 1 << 60)["prediction_id"].to_pylist()
    assert sorted(found) == sorted(offered)
    assert sum(leaf.n for leaf in store.leaves("m", "v1", 0, 1 << 60)) == len(offered)
    store.close()


def wait_until_stored(recorder: Recorder, n: int, seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while recorder.stats()["stored"] < n:
        assert time.monotonic() < give_up
        time.sleep(0.01)


FORKING = """
    import os, sys, threading
    from driftwell.stores.checks import ALWAYS, count_leaves, make_batch
    from driftwell.stores.postgres import PostgresStore

    store = PostgresStore(sys.argv[1])
    store.append(make_batch("before", ["a"]), count_leaves)
    stop = threading.Event()

    def busy():  # a thread that is at work in the store at the moment of the fork
        i = 0
        while not stop.is_set():
            store.append(make_batch(f"busy{i}", [f"busy{i}"]), count_leaves)
            i += 1

    thread = threading.Thread(target=busy)
    thread.start()
    inherited = {connection.info.backend_pid for connection in store.database._open}
    children = []
    for k in range(3):
        child = os.fork()
        if not child:
            for i in range(15):
                store.append(make_batch(f"child{k}-{i}", [f"child{k}-{i}"]), count_leaves)
            own = {connection.info.backend_pid for connection in store.database._open}
            store.close()
            sys.exit(9 if own & inherited else 0)
        children.append(child)
    store.append(make_batch("parent", ["parent"]), count_leaves)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    thread.join()
    found = store.read("m", None, *ALWAYS)["prediction_id"].to_pylist()
    print(codes, len([i for i in found if i.startswith("child")]), len(found) == len(set(found)), "parent" in found)
    store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_and_parent_go_on(url: str) -> None:
    command = [sys.executable, "-W", "default::ResourceWarning", "-c", textwrap.dedent(FORKING), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "[0, 0, 0] 45 True True"


# -- schema --------------------------------------------------------------------------------------------------


def make_first_version(server: PostgresServer, schema: str) -> None:
    """A schema as the first release made it, with one labelled prediction, an early label and a leaf."""
    script = (resources.files("driftwell.stores.postgres") / "migrations" / "0001_initial.sql").read_text()
    newer = PostgresStore(server.url_of(schema=f"{schema}_newer"))  # only its Arrow bytes are taken
    newer.append(make_batch("b", ["a"], score=2.0), count_leaves)
    with newer.database.read() as own:
        ((message,),) = own.execute("SELECT message FROM arrow_schemas").fetchall()
        ((rows,),) = own.execute("SELECT message FROM batch_rows").fetchall()
    newer.close()
    with psycopg.connect(server.url_of().partition("?")[0], autocommit=True) as own:
        own.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
        own.execute(script)
        own.execute("INSERT INTO schema_version (version) VALUES (1)")
        own.execute("INSERT INTO streams (model, version) VALUES ('m', 'v1')")
        own.execute("SELECT nextval('arrivals')")
        own.execute("INSERT INTO batches VALUES (1, 1, 'b', %s, 'counts', NULL)", (NOON,))
        own.execute("INSERT INTO arrow_schemas (digest, message) VALUES ('d', %s)", (message,))
        own.execute("INSERT INTO batch_rows VALUES (1, 1, %s, 1, 1, %s)", (NOON, rows))
        own.execute("INSERT INTO predictions VALUES (1 << 24, 1, 'a', %s, 0, NULL, 2.0, NULL, NULL, NULL)", (NOON,))
        own.execute("INSERT INTO labels VALUES (1 << 24, 1, %s, '1', %s)", (NOON, NOON))
        own.execute("INSERT INTO hourly VALUES (1, %s, 1, 1, %s, %s, 1, 2, 0, 2, 2)", (NOON, NOON, NOON))
        own.execute("INSERT INTO early_labels (prediction_id, model, true_label, time_us) VALUES ('z', '', '0', 5)")
        leaf = "INSERT INTO leaves (stream, hour_us, edges_id, n, first_arrival, last_arrival, covers, state)"
        own.execute(leaf + " VALUES (1, %s, 'counts', 1, 1, 1, '{1}', '1')", (NOON,))


def open_and_append(urls: list[str], name: str) -> None:
    for url in urls:
        store = PostgresStore(url)
        store.append(make_batch(name, [name]), count_leaves)
        store.close()


def test_processes_at_once_create_a_schema_and_upgrade_one_with_its_data(server: PostgresServer, url: str) -> None:
    make_first_version(server, "upgraded")
    urls = [url, server.url_of(schema="upgraded")]
    processes = [WORKERS.Process(target=open_and_append, args=(urls, name)) for name in ids("p", 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    made, upgraded = (PostgresStore(url) for url in urls)
    assert sorted(made.outcomes("m", "v1", *ALWAYS)["prediction_id"].to_pylist()) == ids("p", 3)
    assert made.info()["schema_version"] == upgraded.info()["schema_version"] == newest_version()
    rows = upgraded.read("m", "v1", *ALWAYS, labelled=True)
    assert rows.select(["prediction_id", "score", "x", "true_label"]).to_pylist() == [
        {"prediction_id": "a", "score": 2.0, "x": 0.0, "true_label": "1"}
    ]
    assert upgraded.append(make_batch("b", ["a"]), count_leaves) == AppendResult(0, duplicate=1)
    assert upgraded.append(make_batch("b2", ["z"]), count_leaves) == AppendResult(1, labels_matched=1)
    assert sum(leaf.n for leaf in upgraded.leaves("m", "v1", *ALWAYS)) == upgraded.count("m", "v1", *ALWAYS) == 5
    assert upgraded.totals("m", "v1")["labels"] == 2
    assert upgraded.prune(predictions_before_us=NOON + 1).predictions == 5
    assert upgraded.totals("m", "v1")["labels"] == 0
    applied = as_admin(server, "SELECT version FROM upgraded.schema_version ORDER BY version")
    assert applied == [(i + 1,) for i in range(newest_version())]
    made.close()
    upgraded.close()


def test_newer_and_foreign_schemas_are_refused(server: PostgresServer, url: str) -> None:
    PostgresStore(url).close()
    schema = url.rpartition("=")[2]
    as_admin(server, f"INSERT INTO {schema}.schema_version (version) VALUES (99)")
    with pytest.raises(FormatError, match="written by a newer Driftwell"):
        PostgresStore(url)
    as_admin(
        server, "CREATE SCHEMA theirs; CREATE TABLE theirs.checks (x int); GRANT USAGE ON SCHEMA theirs TO driftwell"
    )
    with pytest.raises(FormatError, match="another program"):
        PostgresStore(server.url_of(schema="theirs"))
    assert as_admin(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'theirs'") == [("checks",)]


def test_schemas_of_one_database_are_apart(server: PostgresServer, url: str, store: PostgresStore) -> None:
    other = PostgresStore(server.url_of(schema=f"c_{next(numbers)}"))
    store.append(make_batch("b", ["a"]), count_leaves)
    assert other.append(make_batch("b", ["a", "b"]), count_leaves) == AppendResult(2)
    assert (store.count("m", None, *ALWAYS), other.count("m", None, *ALWAYS)) == (1, 2)
    store.add_labels([Label("b", "1", NOON)])
    assert other.totals("m", None)["labels"] == 0
    other.close()
