"""A real InfluxDB 1.x for tests and benchmarks: own folder, free loopback ports, a login, stopped by its process."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, urlencode

__all__ = ["InfluxServer", "available"]

USER, PASSWORD = "drift", "s3cret word/&"
START_SECONDS, STOP_SECONDS = 30.0, 15.0

CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = {auth}
log-enabled = false
[monitor]
store-enabled = false
[ifql]
enabled = false
"""


def available() -> bool:
    """Whether this machine has influxd."""
    return shutil.which("influxd") is not None


class InfluxServer:
    """influxd on a port of its own. ``start`` again after ``stop`` or ``kill`` finds the same port and data.

    ``url`` is the store URL of one database; ``database(name)`` that of another. Use it as a context manager, or call
    ``close`` at the end, which removes the data.
    """

    def __init__(self, *, auth: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="driftwell-influx-"))
        self._auth = auth
        self.port, self._rpc_port = _free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self._has_user = False

    def __enter__(self) -> InfluxServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The store URL of the database ``driftwell``."""
        return self.database("driftwell")

    def database(self, name: str) -> str:
        """The store URL of a database of this server."""
        login = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@" if self._auth else ""
        return f"influxdb://{login}127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start and wait until it answers; the administrator is created the first time."""
        configuration = self._folder / "influxdb.conf"
        auth = "true" if self._auth else "false"
        text = CONFIGURATION.format(folder=self._folder, port=self.port, rpc_port=self._rpc_port, auth=auth)
        configuration.write_text(text)
        with (self._folder / "log").open("ab") as log:
            command = ["influxd", "-config", str(configuration)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"influxd did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        if self._auth and not self._has_user:
            self.ask(f"CREATE USER \"{USER}\" WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")
            self._has_user = True

    def stop(self) -> None:
        """End it as an administrator would."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, query: str, database: str = "driftwell") -> bytes:
        """The server's own answer to a query, as JSON text."""
        return self.request("/query", {"db": database, "epoch": "ns"}, urlencode({"q": query}).encode())[1]

    def write(self, body: bytes, database: str = "driftwell") -> tuple[int, bytes]:
        """Status and answer of a write in nanoseconds, sent as it is."""
        return self.request("/write", {"db": database, "precision": "ns"}, body)

    def request(self, path: str, options: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of a POST as the administrator."""
        login = {"u": USER, "p": PASSWORD} if self._auth else {}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", f"{path}?{urlencode(options | login)}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 204
        except OSError:
            return False
        finally:
            connection.close()

    def _end(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _free_ports(n: int) -> list[int]:
    """Ports that nobody listens on, all held at once so that they differ."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
