"""A real Redis server on a free loopback port, with a password and a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["RedisServer", "available"]

PASSWORD = "s3cret-of-the-test"
START_SECONDS = 20.0


def available() -> bool:
    """Whether there is a server and its driver to test with."""
    try:
        import redis  # noqa: F401
    except ImportError:
        return False
    return _binary() is not None


class RedisServer:
    """``RedisServer("--maxmemory", "64mb")`` takes options as the command line does. May be started again after
    ``stop`` or ``kill``, on the same port and with its data."""

    def __init__(self, *options: str, appendonly: bool = False, appendfsync: str = "everysec") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="driftwell-redis-"))
        self.port = _free_port()
        self.password = PASSWORD
        self._options = ("--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync, *options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its store, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Start and wait until it answers."""
        command = [
            *(_binary() or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self.folder), "--requirepass", self.password, "--save", "", "--daemonize", "no"),
            *("--logfile", str(self.folder / "redis.log"), *self._options),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while self.cli("PING") != "PONG":
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start: {(self.folder / 'redis.log').read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def cli(self, *command: str) -> str:
        """What the server's own client answers."""
        login = ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), "-a", self.password, "--no-auth-warning"]
        done = subprocess.run([*login, *command], capture_output=True, text=True, check=False, timeout=30)
        return done.stdout.strip()

    def stop(self) -> None:
        """Stop as an operator would: it writes what it has to."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """Stop without a chance to write anything."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def remove(self) -> None:
        """Stop, and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(20)
        self._process = None


def _binary() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _free_port() -> int:
    """A port that nothing listens on; a node of a cluster also needs the one 10,000 above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= 55_535:
            return port
