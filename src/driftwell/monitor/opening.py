"""Opening what a runtime stands on: the store of the rows and the ledger, also while a server does not answer yet."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from driftwell.config import MonitorSettings
from driftwell.config.addresses import DEFAULT_LEDGER, is_remote, kind_of, normal_address, without_secrets
from driftwell.errors import ConfigError, StoreError
from driftwell.monitor.spooling import spool_name
from driftwell.stores import open_ledger, open_store
from driftwell.stores.base import Capabilities, Ledger, PredictionStore
from driftwell.stores.split import SplitLedger, SplitStore

__all__ = ["LateStore", "Stores", "open_stores"]

log = logging.getLogger("driftwell.monitor")

DEFAULT_PORTS = {"postgresql": 5432, "redis": 6379, "influxdb": 8086}
LEDGER_KINDS = ("sqlite", "postgresql")
PROBE_SECONDS = 2.0
RETRY_SECONDS = 1.0
CLAIM, CLAIM_US = "ledger_of", 1 << 61
NOT_YET = (
    "the database system is",  # starting up, shutting down, in recovery mode, not yet accepting connections
    "redis is loading the dataset",
    "no such file or directory",
)
"""What servers say that will answer later, and what is said of a socket file that is not there yet."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The rows and the ledger of a runtime; one object where one database is both."""

    rows: PredictionStore
    ledger: Ledger
    opened: tuple[Any, ...]

    @property
    def are_split(self) -> bool:
        """Whether rows and leaves are written one after the other, so that a crash can come between them."""
        return isinstance(self.rows, SplitStore)

    @property
    def are_awaited(self) -> bool:
        """Whether one of them has not answered yet."""
        return any(isinstance(one, LateStore) and not one.is_open for one in self.opened)

    def close(self) -> None:
        """Close both."""
        for one in self.opened:
            one.close()


def open_stores(url: str, settings: MonitorSettings, *, patient: bool = False) -> Stores:
    """The store at ``url`` with the ledger of the settings: else itself where it can be one, else a SQLite file.

    A wrong password, a wrong address and a damaged file are errors at once. A server that cannot be reached is an
    error too unless ``patient``: then it is opened when it is used, and until it answers each use is a ``StoreError``.
    """
    url = normal_address(url)
    rows = _opened(url, lambda: _open_rows(url, settings), patient=patient)
    opened: tuple[Any, ...] = (rows,)
    try:
        ledger_url = None if settings.ledger is None else normal_address(settings.ledger)
        if rows.capabilities.ledger and ledger_url in (None, url):
            return Stores(rows, cast(Ledger, rows), (rows,))
        address = ledger_url or DEFAULT_LEDGER
        ledger = _opened(address, lambda: open_ledger(address), patient=patient)
        opened += (ledger,)
        if not isinstance(ledger, LateStore):
            _claim(ledger, url, address, is_named=ledger_url is not None)
    except BaseException:
        for one in opened:
            one.close()
        raise
    return Stores(SplitStore(rows, ledger), cast(Ledger, SplitLedger(rows, ledger)), (rows, ledger))


def _open_rows(url: str, settings: MonitorSettings) -> PredictionStore:
    # What the spool forgets once it is stored must then be safe from a power cut, too.
    safe = settings.journal_fsync and settings.durability == "journal"
    store = open_store(url, retention_hours=settings.retention_hours, durable_commits=safe)
    if not store.capabilities.ledger:
        try:
            store.count("", None, 0, 1)  # opening it may not have asked its server yet whether we are let in
        except BaseException:
            store.close()
            raise
    return store


def _claim(ledger: Ledger, url: str, address: str, *, is_named: bool) -> None:
    """Note whose rows a ledger knows: those of a second store would be counted as one with them.

    The note is a point of a metric, under the model that has no name and at a moment that no retention reaches.
    """
    own = {"store": spool_name(url, "."), "address": without_secrets(url)}
    known = [point["labels"] for point in ledger.metrics("", CLAIM_US, CLAIM_US + 1) if point["name"] == CLAIM]
    if not known:
        ledger.put_metric("", CLAIM, 1.0, CLAIM_US, own)
    elif own["store"] not in [labels["store"] for labels in known]:
        told = f"the predictions of {known[0]['address']}, not of {own['address']}"
        said = f"the ledger {without_secrets(address)} knows {told}"
        if not is_named:
            raise ConfigError(f"{said}: give this store one of its own, such as ledger='sqlite:///{kind_of(url)}.db'")
        log.warning("%s: right if that is the same store under a new address, else their counts mix", said)
        ledger.put_metric("", CLAIM, 1.0, CLAIM_US, own)


class LateStore:
    """Stands for a store whose server does not answer yet: whatever it is asked for opens it first.

    Raises ``StoreError`` while it cannot be opened; it is tried at most once a second.
    """

    def __init__(self, url: str, opener: Callable[[], Any]) -> None:
        self._url, self._opener = url, opener
        self._lock = threading.Lock()
        self._store: Any = None
        self._failed: tuple[float, str] = (-math.inf, "")
        self._closed = False

    @property
    def url(self) -> str:
        """The address without secrets."""
        return without_secrets(self._url)

    @property
    def is_open(self) -> bool:
        """Whether it has answered."""
        return self._store is not None

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; before it answers only whether it is a ledger is known."""
        if self._store is None:
            return Capabilities(ledger=kind_of(self._url) in LEDGER_KINDS)
        return cast(Capabilities, self._store.capabilities)

    def close(self) -> None:
        """Close it if it was opened; it is not opened any more."""
        with self._lock:
            self._closed = True
            if self._store is not None:
                self._store.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._store or self._open(), name)

    def _open(self) -> Any:
        at, why = self._failed
        if time.monotonic() - at < RETRY_SECONDS or not self._lock.acquire(blocking=False):
            raise StoreError(why or f"the store {self.url} does not answer yet")  # nobody waits for another's attempt
        try:
            if self._closed:
                raise StoreError(f"the store {self.url} is closed: open it again")
            if self._store is None:
                self._store = self._opener()
                log.warning("the store %s answers now", self.url)
            return self._store
        except StoreError as exc:
            self._failed = (time.monotonic(), str(exc))
            raise
        finally:
            self._lock.release()


def _opened(url: str, opener: Callable[[], Any], *, patient: bool) -> Any:
    try:
        return opener()
    except StoreError as exc:
        if not (patient and is_remote(url) and _is_away(url, exc)):
            raise
        log.warning("the store does not answer yet, records wait for it: %s", exc)
        return LateStore(url, opener)


def _is_away(url: str, error: StoreError) -> bool:
    """Whether nobody answers at the address, or a server that says it will later; one that refuses us is there."""
    said = str(error.__cause__ or "").lower()  # not of the error itself, which bears the address
    return any(words in said for words in NOT_YET) or not _somebody_listens(url)


def _somebody_listens(url: str) -> bool:
    """Whether any of the hosts of an address takes connections; True for one without a host, which is a file's."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    named = [urlsplit(f"//{host}") for host in hosts if host and not host.startswith("%2F")]
    for host in named:
        try:
            place = (host.hostname or "localhost", host.port or DEFAULT_PORTS[kind_of(url) or "postgresql"])
            with socket.create_connection(place, PROBE_SECONDS):
                return True
        except (OSError, ValueError):
            continue
    return not named
