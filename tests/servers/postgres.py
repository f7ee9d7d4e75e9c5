"""A PostgreSQL server for tests and benchmarks: its own data directory, a free loopback port, a password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["PASSWORD", "USER", "PostgresServer", "available"]

USER, PASSWORD, DATABASE = "driftwell", "pa$$ w:rd/é", "driftwell"
START_SECONDS = 30.0
CONFIGURATION = """
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = on
max_connections = 60
shared_buffers = 64MB
password_encryption = 'scram-sha-256'
lc_messages = 'C'
"""


def _folder() -> Path | None:
    """Where the newest installed server has its programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb") if _may_run()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def _may_run() -> bool:
    """PostgreSQL refuses root: as root it needs its own user."""
    if os.geteuid() != 0:
        return True
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


def available() -> bool:
    """Whether a server can be started here."""
    return _folder() is not None


class PostgresServer:
    """One server; ``start``, ``stop`` and ``kill`` may follow each other on the same port with the same data."""

    def __init__(self) -> None:
        folder = _folder()
        if folder is None:
            raise RuntimeError("no PostgreSQL server is installed")
        self._programs = folder
        self._root = Path(tempfile.mkdtemp(prefix="driftwell-pg-"))
        self._data = self._root / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self._own(self._root)
        self._initialise()

    @property
    def url(self) -> str:
        """The store's address, with the password."""
        return self.url_of()

    def url_of(self, *, user: str = USER, password: str = PASSWORD, database: str = DATABASE, schema: str = "") -> str:
        """An address on this server."""
        from urllib.parse import quote

        secret = quote(password, safe="")
        own = f"?schema={schema}" if schema else ""
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}{own}"

    @property
    def admin(self) -> str:
        """The address of the superuser, by the socket in the server's own folder; needs no password."""
        return f"host={self._root} port={self.port} user=postgres dbname={DATABASE}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def empty(self, schema: str) -> None:
        """Delete all rows of a schema, where it is there: making one anew takes much longer."""
        import psycopg

        sql = (
            "SELECT format('DELETE FROM %%I.%%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname = %(schema)s AND tablename <> 'schema_version'"
            " UNION ALL SELECT format('ALTER SEQUENCE %%I.%%I RESTART', schemaname, sequencename) FROM pg_sequences"
            " WHERE schemaname = %(schema)s"
        )
        with psycopg.connect(self.admin, autocommit=True) as connection:
            statements = [statement for (statement,) in connection.execute(sql, {"schema": schema})]
            if statements:
                connection.execute("; ".join(statements))

    def start(self) -> PostgresServer:
        """Start and wait until it answers."""
        log = (self._root / "server.log").open("ab")
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self._root)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._root, preexec_fn=_as_server_user()
        )
        log.close()
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError((self._root / "server.log").read_text(errors="replace")[-2_000:])
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stop it cleanly; sessions are cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash of its machine would: the server and all its sessions at once, without a word."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)
        self._process = None

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")

    def _run(self, program: str, *arguments: str, text: str | None = None) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            input=text, capture_output=True, text=True, cwd=self._root, preexec_fn=_as_server_user(), check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")

    def _initialise(self) -> None:
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust"
        )
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        (self._data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        secret = PASSWORD.replace("'", "''")
        for database, sql in (
            ("postgres", f"CREATE ROLE {USER} LOGIN PASSWORD '{secret}'"),
            ("postgres", f"CREATE DATABASE {DATABASE} OWNER {USER}"),
        ):
            place = ("-h", str(self._root), "-p", str(self.port), "-U", "postgres", "-d", database)
            self._run("psql", *place, "-v", "ON_ERROR_STOP=1", "-q", text=sql)
        self.stop()

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", str(self._root), "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_server_user() -> Callable[[], None] | None:
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("postgres")

    def become() -> None:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return become
