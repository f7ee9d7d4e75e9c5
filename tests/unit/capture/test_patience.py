"""Pauses between tries grow, differ and end in time; the log hears of a thing once a minute."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from driftwell.capture.patience import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Backoff, Seldom


@dataclass
class Waits:
    """Takes the place of the queue and of its event: notes how long it was to wait."""

    pauses: list[float] = field(default_factory=list)
    length: int = 0

    @property
    def wake(self) -> Any:
        return self

    hurried: bool = False
    is_half_full: bool = False

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.hurried = True

    def clear(self) -> None:
        pass


def test_pauses_double_with_jitter_up_to_a_longest():
    queue = Waits()
    backoff = Backoff(queue)
    for _ in range(30):
        backoff.failed(OSError())
    whole = [min(FIRST_PAUSE_SECONDS * 2**k, LONGEST_PAUSE_SECONDS) for k in range(30)]
    assert all(full / 2 <= pause <= full for pause, full in zip(queue.pauses, whole, strict=True))
    assert len(set(queue.pauses[-10:])) > 1
    assert not backoff.is_over


def test_success_starts_afresh():
    queue = Waits()
    backoff = Backoff(queue)
    for _ in range(10):
        backoff.failed(OSError())
    backoff.worked()
    backoff.failed(OSError())
    assert queue.pauses[-1] <= FIRST_PAUSE_SECONDS


def test_no_pause_goes_beyond_the_end():
    queue = Waits()
    backoff = Backoff(queue)
    for _ in range(10):
        backoff.failed(OSError())
    backoff.give_up_at(time.monotonic() + 0.01)
    backoff.failed(OSError())
    assert 0 <= queue.pauses[-1] <= 0.01
    backoff.give_up_at(time.monotonic() - 1)
    backoff.failed(OSError())
    assert queue.pauses[-1] == 0
    assert backoff.is_over


def test_a_message_is_permitted_once_a_minute(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    seldom = Seldom()
    assert [seldom.permits("a"), seldom.permits("a"), seldom.permits("b")] == [True, False, True]
    now[0] += 60
    assert seldom.permits("a")
    seldom.forget("a")
    assert seldom.permits("a")
