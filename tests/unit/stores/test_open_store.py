"""Opening a store: addresses, and one clear error for each file that cannot be one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from driftwell import stores
from driftwell.errors import BadInput, FormatError, MissingDependency, NotSupported, StoreError
from driftwell.stores import open_ledger, open_store
from driftwell.stores.checks import count_leaves, make_batch
from driftwell.stores.sqlite.migration import newest_version


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Root may write anywhere; the tests of permissions need somebody who may not."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own are for the owner only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def filled(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    store.append(make_batch("b", [str(i) for i in range(500)]), count_leaves)
    store.close()


def test_relative_address_is_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///relative.db")
    monkeypatch.chdir("/")
    assert store.models() == []
    assert store.url == f"sqlite:///{tmp_path}/relative.db"
    store.close()
    assert (tmp_path / "relative.db").exists()


def test_absolute_address_is_kept(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/absolute.db")
    assert store.url == f"sqlite:///{tmp_path}/absolute.db"
    store.close()


@pytest.mark.parametrize("url", ["driftwell.db", "", "mysql:///x", "sqlite:x.db", "SQLITE:///x.db"])
def test_unknown_kind_names_the_known_ones(url: str) -> None:
    with pytest.raises(NotSupported, match=r"sqlite \(sqlite:///driftwell\.db\).*postgresql \(.*redis \(.*influxdb \("):
        open_store(url)


def test_what_is_no_address_is_not_repeated() -> None:
    for wrong in ("mysql://user:hunter2@host/db", "user:hunter2@host", 7, None):
        with pytest.raises((NotSupported, BadInput)) as caught:
            open_store(wrong)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["memory://x", "memory:///x.db", "memory://?a=1"])
def test_memory_has_no_name(url: str) -> None:
    with pytest.raises(BadInput, match="memory:// and nothing more"):
        open_store(url)


@pytest.mark.parametrize("url", ["redis://h/0", "rediss://h/0", "influxdb://h/d", "influxdb+https://h/d", "memory://"])
def test_only_two_kinds_can_be_the_ledger(url: str) -> None:
    with pytest.raises(NotSupported, match=r"cannot be the ledger.*sqlite \(.*postgresql \("):
        open_ledger(url)


def test_a_file_can_be_the_ledger(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    assert ledger.references() == []
    ledger.close()


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/db", "psycopg", "postgres"),
        ("postgres://u:hunter2@127.0.0.1:1/db", "psycopg", "postgres"),
        ("redis://:hunter2@127.0.0.1:1/0", "redis", "redis"),
        ("rediss://:hunter2@127.0.0.1:1/0", "redis", "redis"),
    ],
)
def test_missing_driver_names_the_extra(url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(f"driftwell.stores.{extra}")]:
        monkeypatch.delitem(sys.modules, name)  # imported by an earlier test
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(MissingDependency, match=rf"driftwell\[{extra}\]") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:port/db",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://:hunter2@127.0.0.1/0?colour=red",
        "influxdb://u:hunter2@127.0.0.1:port/d",
        "influxdb://u:hunter2@127.0.0.1",
        "influxdb://u:hunter2@/d",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((BadInput, StoreError)) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("url", ["sqlite://x.db", "sqlite:///", "sqlite:///:memory:", "sqlite:///x.db?mode=ro"])
def test_address_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match=r"sqlite:///driftwell\.db"):
        open_store(url)


def test_opening_again_finds_what_was_stored(tmp_path: Path) -> None:
    filled(tmp_path / "s.db")
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    assert store.models()[0][:3] == ("m", "v1", 500)
    store.close()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere exist, and"):
        open_store(f"sqlite:///{tmp_path}/nowhere/s.db")


@pytest.mark.usefixtures("as_nobody")
def test_read_only_directory_says_what_to_do() -> None:
    with pytest.raises(StoreError, match=r"is it writable\?"):
        open_store("sqlite:////usr/driftwell-test.db")


def test_read_only_file_says_what_to_do(open_folder: Path, request: pytest.FixtureRequest) -> None:
    filled(open_folder / "s.db")
    (open_folder / "s.db").chmod(0o444)
    open_folder.chmod(0o555)
    request.getfixturevalue("as_nobody")
    with pytest.raises(StoreError, match="writable"):
        open_store(f"sqlite:///{open_folder}/s.db").add_labels([])


def test_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but longer than the header of one" * 20)
    before = path.read_bytes()
    with pytest.raises(FormatError, match="is not a SQLite database"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE users (name)")
    connection.close()
    with pytest.raises(FormatError, match="another program"):
        open_store(f"sqlite:///{path}")
    connection = apsw.Connection(str(path))
    assert connection.pragma("journal_mode") == "delete"
    assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 1


def test_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    filled(tmp_path / "s.db")
    connection = apsw.Connection(str(tmp_path / "s.db"))
    connection.pragma("user_version", newest_version() + 1)
    connection.close()
    with pytest.raises(FormatError, match=r"newer Driftwell.*upgrade driftwell"):
        open_store(f"sqlite:///{tmp_path}/s.db")


def test_truncated_file_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path)
    path.write_bytes(path.read_bytes()[:20_000])

    def use() -> None:
        store = open_store(f"sqlite:///{path}")
        store.append(make_batch("c", ["x"]), count_leaves)
        store.read("m", None, 0, 1 << 60)

    with pytest.raises(FormatError, match="is damaged"):
        use()


def test_damaged_rows_are_reported(tmp_path: Path) -> None:
    filled(tmp_path / "s.db")
    connection = apsw.Connection(str(tmp_path / "s.db"))
    connection.execute("UPDATE batch_rows SET message = zeroblob(length(message))")
    connection.close()
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    with pytest.raises(FormatError, match="cannot be read"):
        store.read("m", None, 0, 1 << 60)
    assert store.count("m", None, 0, 1 << 60) == 500  # what is not damaged still answers
    store.close()


def test_first_record_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from driftwell.stores import open_store; from driftwell.stores.sqlite import SQLiteStore;"
        f"s = SQLiteStore({str(tmp_path / 's.db')!r}); s.totals('m', None); s.close();"
        "print(sorted({'scipy', 'sklearn', 'fastapi', 'jinja2', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_commits_last_through_a_power_cut_where_asked(tmp_path: Path) -> None:
    """``FULL`` (2) is what makes SQLite sync the write-ahead log at each commit; ``NORMAL`` is 1."""
    url = f"sqlite:///{tmp_path}/s.db"
    for store, wanted in ((open_store(url), 1), (open_store(url, durable_commits=True), 2)):
        with store.database.write() as one, store.database.read() as another:
            assert [connection.pragma("synchronous") for connection in (one, another)] == [wanted] * 2
        store.close()


# -- one store does not need another -----------------------------------------------------------------------------

PACKAGES = ("sqlite", "postgres", "redis", "influx")
SOURCES = sorted(Path(stores.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("name", ["postgres", "redis", "influx"])
def test_a_server_store_needs_no_driver_of_another(name: str, servers: Callable[[str], Any]) -> None:
    drivers = {"apsw", "psycopg", "redis"} - {"psycopg" if name == "postgres" else name}
    code = (
        "import sys; from driftwell.stores import open_store;"
        "from driftwell.stores.checks import ALWAYS, count_leaves, make_batch;"
        "s = open_store(sys.argv[1]); s.append(make_batch('b', ['a']), count_leaves); s.read('m', None, *ALWAYS);"
        "s.models(); s.close(); print(sorted(set(sys.argv[2:]) & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, servers(name).url, *drivers]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_stores_import_no_other_store_and_nothing_private() -> None:
    found = []
    for path in SOURCES:
        own = path.relative_to(Path(stores.__file__).parent).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("driftwell.stores"):
                continue
            others = {name for name in PACKAGES if name in node.module.split(".")} - {own}
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            if private or (others and own not in ("__init__.py", "memory.py")):
                found.append((path.name, node.module, private))
    assert found == []
