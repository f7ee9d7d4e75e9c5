"""Stores keep predictions and what the monitor knows about them; ``open_store`` finds the one for a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, cast

from driftwell.errors import BadInput, NotSupported

if TYPE_CHECKING:
    from driftwell.stores.base import Ledger, PredictionStore

__all__ = ["open_ledger", "open_store"]


def open_store(url: str, *, retention_hours: float | None = None, durable_commits: bool = False) -> PredictionStore:
    """Open the store at ``url``, creating what is missing.

    ``sqlite:///relative.db`` is relative to the working directory, ``sqlite:////absolute.db`` is absolute;
    ``memory://`` is for one process and gone with it. ``retention_hours`` is for stores that forget by themselves
    (Redis, InfluxDB): how long they keep feature rows, by default 24 hours. The others keep them until ``prune``.
    ``durable_commits`` is for SQLite: what ``append`` stored is on the disk when it returns, so that not even a power
    cut undoes it. Servers do as they are configured.

    Raises
    ------
    NotSupported
        The scheme is not one of a store; the message names those that are.
    BadInput
        The URL names no file or server, or carries options that the store does not know.
    MissingDependency
        The driver is not installed; the message names the extra.
    StoreError, FormatError
        The store cannot be reached or is not one of ours; the message says what to do.

    Examples
    --------
    >>> store = open_store("memory://")
    >>> store.models()
    []
    >>> store.close()
    """
    return _STORES[_scheme(url)](url, _Options(retention_hours, durable_commits))


def open_ledger(url: str) -> Ledger:
    """Open what the monitor knows at ``url``: an SQLite file or a PostgreSQL database.

    Raises ``NotSupported`` for the other stores, which cannot keep it, and the errors of ``open_store``.
    """
    scheme = _scheme(url)
    if scheme not in _LEDGERS:
        raise NotSupported(f"{scheme}:// cannot be the ledger: those that can are {_known(_LEDGERS[:2])}")
    return cast("Ledger", _STORES[scheme](url, _Options()))


class _Options(NamedTuple):
    """What not every store heeds."""

    retention_hours: float | None = None
    durable_commits: bool = False


def _scheme(url: str) -> str:
    if not isinstance(url, str):
        raise BadInput(f"a store is named by its address, such as sqlite:///driftwell.db. Got {type(url).__name__}")
    scheme, found, _ = url.partition("://")
    if scheme not in _STORES or not found:
        # What stands before :// is no secret; where it is missing, all of the address might be one.
        kind = f"the kind {scheme!r}" if found else "an address without ://"
        raise NotSupported(f"no store of {kind}: known are {_known(_EXAMPLES)}")
    return scheme


def _known(schemes: Iterable[str]) -> str:
    return ", ".join(f"{scheme} ({_EXAMPLES[scheme]})" for scheme in schemes)


def _open_sqlite(url: str, options: _Options) -> PredictionStore:
    from driftwell.stores.sqlite import SQLiteStore

    path = url.partition("://")[2]
    if not path.startswith("/") or path in ("/", "/:memory:") or "?" in path:
        raise BadInput(
            "a store of this kind is named like sqlite:///driftwell.db, without options (memory:// needs no file);"
            f" got {url!r}"
        )
    return SQLiteStore(path[1:], synchronous="FULL" if options.durable_commits else "NORMAL")


def _open_memory(url: str, _: _Options) -> PredictionStore:
    from driftwell.stores.memory import MemoryStore

    if url != "memory://":
        raise BadInput(f"a store in memory is named memory:// and nothing more, got {url!r}")
    return MemoryStore()


def _open_postgres(url: str, _: _Options) -> PredictionStore:
    from driftwell.stores.postgres import PostgresStore

    return PostgresStore(url)


def _open_redis(url: str, options: _Options) -> PredictionStore:
    from driftwell.stores.redis import RedisStore

    return RedisStore(url, retention_hours=options.retention_hours)


def _open_influx(url: str, options: _Options) -> PredictionStore:
    from driftwell.stores.influx import InfluxStore

    return InfluxStore(url, retention_hours=options.retention_hours)


_STORES: dict[str, Callable[[str, _Options], PredictionStore]] = {
    "sqlite": _open_sqlite,
    "memory": _open_memory,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
    "redis": _open_redis,
    "rediss": _open_redis,
    "unix": _open_redis,
    "influxdb": _open_influx,
    "influxdb+https": _open_influx,
}
_EXAMPLES = {
    "sqlite": "sqlite:///driftwell.db",
    "memory": "memory://",
    "postgresql": "postgresql://user:password@localhost:5432/driftwell",
    "postgres": "postgres://user:password@localhost:5432/driftwell",
    "redis": "redis://:password@localhost:6379/0",
    "rediss": "rediss://:password@localhost:6380/0",
    "influxdb": "influxdb://user:password@localhost:8086/driftwell",
    "influxdb+https": "influxdb+https://user:password@localhost:8086/driftwell",
}
_LEDGERS = ("sqlite", "postgresql", "postgres")
