"""The connection to the server: commands, scripts, and the driver's errors as ``StoreError`` that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput, FormatError, MissingDependency, StoreError
from driftwell.stores.redis.address import Address

if TYPE_CHECKING:
    from redis.client import Pipeline, Redis

__all__ = ["CLEAN_ROWS", "LAYOUT", "OutOfMemoryError", "Server"]

LAYOUT = 1
"""Number of the key layout, kept under ``layout``. A store of a newer layout is refused."""
OLDEST_SERVER = (6, 0)
TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
CLEAN_ROWS = 20_000
"""Rows that one call of the cleaning script deletes at most: the server does nothing else meanwhile."""

_SENTENCES = (
    ("AuthenticationError", "it refuses the name or password: correct them in the address"),
    ("AuthorizationError", "it refuses the name or password: correct them in the address"),
    ("NoPermissionError", "this user may not do what the store needs: {text}"),
    ("BusyLoadingError", "it is loading its data after a start: try again in a moment"),
    ("OutOfMemoryError", "it is out of memory: raise its maxmemory, or lower max_rows or the retention"),
    ("ReadOnlyError", "it is a read-only replica: give the address of the primary"),
    ("MovedError", "it is one node of a cluster, which has the keys elsewhere: give the address of that node"),
    ("TimeoutError", "it did not answer in time: {text}"),
    ("ConnectionError", "it cannot be reached: {text}"),
)


class OutOfMemoryError(StoreError):
    """The server refused to write because its memory is full. Nothing was changed."""


class Server:
    """One server, for many threads; after a fork the driver opens connections of its own in the child.

    Raises ``StoreError`` when the server cannot be reached or used, ``FormatError`` when it holds a newer layout.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.closed = False
        self.client: Redis = _connect(address)
        self._scripts: dict[str, Callable[..., Any]] = {}
        try:
            self._check_server()
        except BaseException:
            self.client.close()
            raise

    def key(self, name: str) -> str:
        """The whole key of a name."""
        return self.address.beginning + name

    def close(self) -> None:
        """Close the connections that are not in use. Safe to repeat."""
        self.closed = True
        self.client.close()

    def run(self, script: str, *args: Any) -> Any:
        """The answer of a script of ``lua/``. A connection that broke before is opened again, once."""
        with self.errors():
            if script not in self._scripts:
                self._scripts[script] = self.client.register_script(_source(script))
            return self._scripts[script](keys=[self.address.beginning], args=args)

    def ask(self, command: str, *args: Any) -> Any:
        """The answer of one command."""
        with self.errors():
            return getattr(self.client, command)(*args)

    def ask_all(self, commands: Callable[[Pipeline], Any]) -> list[Any]:
        """The answers of the commands that ``commands`` puts into a pipeline; others may come between them.

        No transaction: a server that is out of memory refuses even reading in one.
        """
        with self.errors():
            pipeline = self.client.pipeline(transaction=False)
            commands(pipeline)
            return list(pipeline.execute())

    def ask_each(self, command: str, keys: Iterable[str], *args: Any) -> list[Any]:
        """The answers of one command for each key."""
        return self.ask_all(lambda pipe: [getattr(pipe, command)(key, *args) for key in keys])

    def clean(self) -> int:
        """Delete all that is too old or too much; the number of rows deleted."""
        deleted, more = 0, 1
        while more:
            n, more = self.run("clean", self.address.max_rows, CLEAN_ROWS)
            deleted += n
        return deleted

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        import redis

        if self.closed:
            raise StoreError(f"the store {self.address.shown} is closed")
        try:
            yield
        except redis.RedisError as exc:
            raise _as_ours(self.address, exc) from exc
        except (OSError, UnicodeError) as exc:  # of the socket, TLS and name look-up
            raise StoreError(f"the Redis server at {self.address.shown} cannot be reached: {exc}") from exc

    def _check_server(self) -> None:
        version = str(self.ask("info", "server").get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_SERVER:
            raise StoreError(f"the Redis server at {self.address.shown} is version {version}: 6.0 or newer is needed")
        layout = self.ask("get", self.key("layout"))
        if layout is not None and int(layout) > LAYOUT:
            raise FormatError(f"{self.address.shown} was written by a newer version of Driftwell: upgrade this one")


def _connect(address: Address) -> Redis:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as exc:
        raise MissingDependency("redis", "redis") from exc
    # One more try mends a connection that the server closed while it was idle. A server that is slow is not asked
    # twice: the caller would wait twice as long.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    try:
        client = redis.Redis.from_url(
            address.driver_url,
            retry=retry,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # not connected: only tells whether it takes the options
    except (ValueError, TypeError) as exc:
        raise BadInput(f"the address of {address.shown} has an option that redis-py does not take") from exc
    return client


@cache
def _source(script: str) -> str:
    folder = files("driftwell.stores.redis") / "lua"
    return "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in ("common", script))


def _as_ours(address: Address, exc: Exception) -> StoreError:
    # Some servers repeat the command that they refuse, and the driver's error is the cause of ours.
    exc.args = (address.without_secrets(str(exc)),)
    kinds = [kind.__name__ for kind in type(exc).__mro__]
    sentence = next((words for kind, words in _SENTENCES if kind in kinds), "{text}")
    # A script reports a refused command of its own in these words.
    if str(exc).startswith("OOM") or "command not allowed when used memory" in str(exc):
        sentence, kinds = dict(_SENTENCES)["OutOfMemoryError"], ["OutOfMemoryError"]
    elif "READONLY" in str(exc):
        sentence = dict(_SENTENCES)["ReadOnlyError"]
    whole = f"the Redis server at {address.shown} failed: {sentence.format(text=exc)}"
    return OutOfMemoryError(whole) if "OutOfMemoryError" in kinds else StoreError(whole)
