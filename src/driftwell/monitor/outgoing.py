"""The channels of a process and the one thread that sends what waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from driftwell.stores.base import Ledger

if TYPE_CHECKING:
    from driftwell.outbox import Channel, Sender

__all__ = ["Outgoing"]


class Outgoing:
    """Channels by name, shared by all monitors of a runtime; the sender starts with the first check."""

    def __init__(self, ledger: Ledger, public_url: str = "") -> None:
        self._ledger = ledger
        self._public_url = public_url.rstrip("/")
        self._channels: dict[str, Channel] = {}
        self._opened: dict[int, tuple[Any, Channel]] = {}
        self._sender: Sender | None = None
        self._lock = threading.Lock()

    def open(self, items: Iterable[Any], *, allow_private: Iterable[str], secret: str | None) -> list[Channel]:
        """The channels of these addresses and functions, opened once each."""
        with self._lock:
            return [self._open(item, tuple(allow_private), secret) for item in items]

    def _open(self, item: Any, allow_private: tuple[str, ...], secret: str | None) -> Channel:
        from driftwell.alerts import open_channels

        # A function is known by its identity; two lambdas of one module bear one name.
        known = self._opened.get(id(item))
        if known is not None and known[0] is item:
            return known[1]
        given: dict[str, Any] = {"allow_private": allow_private, "secret": secret, "link": self._public_url}
        found = open_channels([*self._channels.values(), item], **given)
        fresh = [name for name in found if name not in self._channels]
        name = fresh[0] if fresh else next(iter(open_channels([item], **given)))
        self._channels[name] = found[name]
        self._opened[id(item)] = (item, found[name])
        return found[name]

    def link(self, model: str) -> str:
        """Where people see a model, for notices; empty while no public address is set."""
        return f"{self._public_url}/models/{quote(model, safe='')}" if self._public_url else ""

    def wake(self) -> None:
        """Send soon."""
        from driftwell.outbox import Sender

        with self._lock:
            if self._sender is None:
                self._sender = Sender(self._ledger, self._channels)
            self._sender.start()
        self._sender.wake()

    def stop(self) -> None:
        """Send what is due once more; nothing happens where nothing was ever sent."""
        if self._sender is not None:
            self._sender.stop()
