"""The outbox: claim what is due, hand it to its channel, settle it; and the thread that does so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from driftwell.errors import DriftwellError
from driftwell.outbox.callback import call
from driftwell.stores.base import Ledger, Notice

__all__ = [
    "BACKOFF_SECONDS",
    "Channel",
    "Delivery",
    "Rejected",
    "Retry",
    "SendReport",
    "Sender",
    "Sent",
    "send_due",
]

logger = logging.getLogger("driftwell.outbox")

BACKOFF_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""Waits after the first, second … failed attempt; a notice that fails once more is a dead letter."""

LONGEST_WAIT_SECONDS = 86_400.0
MOST_PARALLEL = 8
SEND_SECONDS = 20.0  # longer than any channel may take for one notice, so that a lease outlasts its batch


@dataclass(frozen=True, slots=True)
class Sent:
    """The notice arrived."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The notice did not arrive but may later; ``after_seconds`` is the least wait the receiver asked for."""

    reason: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The notice will never arrive this way."""

    reason: str


Delivery: TypeAlias = Sent | Retry | Rejected


class Channel(Protocol):
    """Somewhere notices go."""

    @property
    def name(self) -> str:
        """The address under which notices wait for this channel; stable across restarts, free of secrets."""

    def send(self, notice: Notice) -> Delivery:
        """Try once, within ``SEND_SECONDS``. A failure is a value, not an exception."""


@dataclass(frozen=True, slots=True)
class SendReport:
    """What one pass over the outbox did: numbers of notices."""

    sent: int = 0
    retried: int = 0
    dead: int = 0

    @property
    def claimed(self) -> int:
        """All notices of the pass."""
        return self.sent + self.retried + self.dead


def send_due(
    ledger: Ledger,
    channels: Mapping[str, Channel],
    *,
    now_us: int,
    rng: np.random.Generator,
    limit: int = 5,
) -> SendReport:
    """Send the notices that are due, each to the channel of its name; one failure never stops the others.

    Channels are served at the same time, the notices of one channel in their order: a receiver that does not answer
    holds up no other.

    Failed ones are due again after ``BACKOFF_SECONDS`` with up to a quarter more by chance (from ``rng``), or
    later if the receiver asks for it; after the last wait, or when rejected, they are dead letters. A channel
    that this process does not have counts as a failure: another process may have it. Raises ``StoreError``
    when the ledger fails; what was not settled is due again when its lease runs out.
    """
    turns: dict[str, list[Notice]] = {}
    for notice in ledger.due(now_us, limit=limit, lease_us=round(limit * SEND_SECONDS * 1e6)):
        turns.setdefault(notice.channel, []).append(notice)
    chance = threading.Lock()

    def serve(notices: Sequence[Notice]) -> list[str]:
        return [_send(ledger, notice, channels, now_us, rng, chance) for notice in notices]

    if len(turns) < 2:
        states = [state for notices in turns.values() for state in serve(notices)]
    else:
        with ThreadPoolExecutor(min(len(turns), MOST_PARALLEL), "driftwell-channel") as pool:
            states = [state for served in pool.map(serve, turns.values()) for state in served]
    return SendReport(states.count("sent"), states.count("retry"), states.count("dead"))


def _send(
    ledger: Ledger,
    notice: Notice,
    channels: Mapping[str, Channel],
    now_us: int,
    rng: np.random.Generator,
    chance: threading.Lock,
) -> str:
    delivery = _deliver(notice, channels)
    with chance:  # a generator is no friend of threads
        outcome = next_step(delivery, notice.attempts, rng)
    retry_at = None if outcome.wait_seconds is None else now_us + round(outcome.wait_seconds * 1e6)
    ledger.settle(notice.key, state=outcome.state, now_us=now_us, retry_at_us=retry_at, error=outcome.error)
    if outcome.error is not None:
        logger.warning("%s notice to %s: %s (%s)", notice.kind, notice.channel, outcome.error, outcome.state)
    return outcome.state


def _deliver(notice: Notice, channels: Mapping[str, Channel]) -> Delivery:
    channel = channels.get(notice.channel)
    if channel is None:
        return Retry(f"no channel {notice.channel!r} is set up in this process")
    returned = call(channel.send, notice)
    if isinstance(returned.value, Sent | Retry | Rejected):
        return returned.value
    return Retry(returned.error or f"the channel answered {type(returned.value).__name__}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt means for its notice: ``state`` is ``sent``, ``retry`` or ``dead``."""

    state: str
    error: str | None = None
    wait_seconds: float | None = None


def next_step(delivery: Delivery, attempts: int, rng: np.random.Generator) -> Outcome:
    """What becomes of a notice that had failed ``attempts`` times before this delivery.

    Examples
    --------
    >>> next_step(Sent(), 0, np.random.default_rng(0)).state
    'sent'
    """
    if isinstance(delivery, Sent):
        return Outcome("sent")
    if isinstance(delivery, Rejected):
        return Outcome("dead", delivery.reason)
    if attempts >= len(BACKOFF_SECONDS):
        return Outcome("dead", f"{delivery.reason}; given up after {attempts + 1} attempts")
    wait = BACKOFF_SECONDS[attempts] * (1 + rng.random() / 4)
    asked = min(delivery.after_seconds or 0.0, LONGEST_WAIT_SECONDS)
    return Outcome("retry", delivery.reason, max(wait, asked))


class Sender:
    """A background thread that empties the outbox: at once when woken, and every ``poll_seconds``.

    ``channels`` is read at each pass, so channels may be added while it runs. ``start`` after a fork makes a
    new thread in the child.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Mapping[str, Channel],
        *,
        clock: Callable[[], float] = time.time,
        rng: np.random.Generator | None = None,
        poll_seconds: float = 5.0,
    ) -> None:
        self._ledger = ledger
        self._channels = channels
        self._clock = clock
        self._rng = rng if rng is not None else np.random.default_rng()
        self._poll_seconds = poll_seconds
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; does nothing while it runs."""
        if self._thread is None or not self._thread.is_alive():
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="driftwell-outbox", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Send soon: something was put into the outbox."""
        self._due.set()

    def stop(self, timeout: float = 20.0) -> bool:
        """Send what is due once more and end the thread; False when it runs on after ``timeout`` seconds."""
        if self._thread is None:
            return True
        self._stopping.set()
        self._due.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._due.wait(self._poll_seconds)
            self._due.clear()
            last = self._stopping.is_set()
            self._pass()
            if last:
                return

    def _pass(self) -> None:
        try:
            while send_due(self._ledger, self._channels, now_us=round(self._clock() * 1e6), rng=self._rng).claimed:
                pass
        except DriftwellError as exc:
            logger.warning("the outbox cannot be read or written, trying again later: %s", exc)
