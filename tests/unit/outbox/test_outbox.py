"""The outbox: claiming, sending, settling, backing off; and its thread."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.errors import StoreError
from driftwell.outbox import Rejected, Retry, Sender, Sent, send_due
from driftwell.outbox.outbox import BACKOFF_SECONDS, LONGEST_WAIT_SECONDS, next_step
from driftwell.stores.base import Notice

SECOND = 1_000_000


class Outbox:
    """The ledger's outbox in memory: what ``enqueue``, ``due`` and ``settle`` promise."""

    def __init__(self):
        self.rows = {}
        self.broken = False
        self.lock = threading.Lock()

    def enqueue(self, notices):
        with self.lock:
            new = [n for n in notices if n.key not in self.rows]
            self.rows |= {n.key: {"notice": n, "due": n.created_us, "state": "waiting", "error": None} for n in new}
            return len(new)

    def due(self, now_us, *, limit=20, lease_us=60_000_000):
        if self.broken:
            raise StoreError("the disk is full")
        with self.lock:
            waiting = [r for r in self.rows.values() if r["state"] in ("waiting", "retry") and r["due"] <= now_us]
            for row in waiting[:limit]:
                row["due"] = now_us + lease_us
            return [row["notice"] for row in waiting[:limit]]

    def settle(self, key, *, state, now_us, retry_at_us=None, error=None):
        with self.lock:
            row = self.rows[key]
            row["notice"] = replace(row["notice"], attempts=row["notice"].attempts + 1)
            row |= {"state": state, "error": error}
            if retry_at_us is not None:
                row["due"] = retry_at_us

    def states(self):
        return [row["state"] for row in self.rows.values()]


class Scripted:
    """A channel that answers what it is told to, then ``Sent``."""

    def __init__(self, name, *answers):
        self.name = name
        self.answers = list(answers)
        self.sent = []
        self.arrived = threading.Event()

    def send(self, notice):
        self.sent.append(notice.key)
        answer = self.answers.pop(0) if self.answers else Sent()
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Sent):
            self.arrived.set()
        return answer


def notice(key, channel="log", created_us=0):
    return Notice(key, channel, "alert", {}, created_us)


def by_name(*channels):
    return {channel.name: channel for channel in channels}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_what_is_due_is_sent_once(rng):
    outbox, log = Outbox(), Scripted("log")
    outbox.enqueue([notice("a"), notice("b", created_us=10)])
    assert send_due(outbox, by_name(log), now_us=5, rng=rng).sent == 1
    assert send_due(outbox, by_name(log), now_us=5, rng=rng).claimed == 0
    assert log.sent == ["a"]
    assert outbox.states() == ["sent", "waiting"]


def test_one_failing_channel_never_stops_the_others(rng):
    bad = Scripted("bad", Retry("down"), Rejected("gone"), ValueError("bug"), SystemExit(3))
    good, outbox = Scripted("good"), Outbox()
    outbox.enqueue([notice(f"b{i}", "bad") for i in range(4)] + [notice("g", "good")])
    report = send_due(outbox, by_name(bad, good), now_us=0, rng=rng)
    assert (report.sent, report.retried, report.dead) == (1, 3, 1)
    assert good.sent == ["g"]
    assert outbox.rows["b1"]["error"] == "gone"
    assert "ValueError: bug" in outbox.rows["b2"]["error"]


def test_an_answer_that_is_no_delivery_is_a_failure(rng):
    outbox = Outbox()
    outbox.enqueue([notice("a")])
    assert send_due(outbox, by_name(Scripted("log", None)), now_us=0, rng=rng).retried == 1
    assert "NoneType" in outbox.rows["a"]["error"]


def test_a_channel_of_another_process_waits_for_it(rng):
    outbox, there = Outbox(), Scripted("callback:x")
    outbox.enqueue([notice("a", "callback:x")])
    assert send_due(outbox, {}, now_us=0, rng=rng).retried == 1
    assert "no channel 'callback:x' is set up in this process" in outbox.rows["a"]["error"]
    assert send_due(outbox, by_name(there), now_us=10 * SECOND, rng=rng).sent == 1


def test_only_as_many_as_the_limit_are_claimed(rng):
    outbox, log = Outbox(), Scripted("log")
    outbox.enqueue([notice(str(i)) for i in range(7)])
    assert send_due(outbox, by_name(log), now_us=0, rng=rng, limit=3).claimed == 3


def test_the_schedule_ends_in_a_dead_letter(rng):
    outbox, log = Outbox(), Scripted("log", *[Retry("down")] * 20)
    outbox.enqueue([notice("a")])
    now, tried_at = 0, []
    while outbox.rows["a"]["state"] != "dead":
        send_due(outbox, by_name(log), now_us=now, rng=rng)
        tried_at.append(now)
        now = outbox.rows["a"]["due"]
    waits = np.diff(tried_at) / 1e6
    # 5 s, 5 min, 30 min, 2 h, 5 h, 10 h (Standard Webhooks), each with up to a quarter more by chance.
    least = np.array([5, 300, 1800, 7200, 18_000, 36_000])
    assert len(log.sent) == 7
    assert np.all((least <= waits) & (waits <= least * 1.25))
    assert "given up after 7 attempts" in outbox.rows["a"]["error"]


def test_the_receiver_may_ask_for_a_longer_wait(rng):
    assert next_step(Retry("busy", 120.0), 0, rng).wait_seconds == 120.0
    assert 300 <= next_step(Retry("busy", 120.0), 1, rng).wait_seconds <= 375
    assert next_step(Retry("busy", 1e9), 0, rng).wait_seconds == LONGEST_WAIT_SECONDS


@given(attempts=st.integers(0, 10), after=st.none() | st.floats(0, 1e9), seed=st.integers(0, 1000))
def test_a_retry_is_never_sooner_than_the_schedule(attempts, after, seed):
    outcome = next_step(Retry("down", after), attempts, np.random.default_rng(seed))
    if attempts >= len(BACKOFF_SECONDS):
        assert (outcome.state, outcome.wait_seconds) == ("dead", None)
    else:
        assert outcome.state == "retry"
        assert BACKOFF_SECONDS[attempts] <= outcome.wait_seconds <= LONGEST_WAIT_SECONDS


def test_the_wait_differs_from_process_to_process():
    waits = {next_step(Retry("down"), 1, np.random.default_rng(seed)).wait_seconds for seed in range(5)}
    assert len(waits) == 5


def test_a_warning_names_the_failure(rng, caplog):
    outbox = Outbox()
    outbox.enqueue([notice("a", "w")])
    send_due(outbox, by_name(Scripted("w", Rejected("answered 410"))), now_us=0, rng=rng)
    assert [(r.name, r.levelname) for r in caplog.records] == [("driftwell.outbox", "WARNING")]
    assert "alert notice to w: answered 410 (dead)" in caplog.text


# --- the thread -------------------------------------------------------------------------------------------


@pytest.fixture
def start():
    senders = []

    def make(outbox, *channels, poll_seconds=60.0):
        sender = Sender(outbox, by_name(*channels), clock=lambda: 1.0, poll_seconds=poll_seconds)
        senders.append(sender)
        sender.start()
        return sender

    yield make
    assert all(sender.stop() for sender in senders)


def test_a_woken_sender_sends_at_once(start):
    outbox, log = Outbox(), Scripted("log")
    sender = start(outbox, log)
    outbox.enqueue([notice("a")])
    sender.wake()
    assert log.arrived.wait(30)


def test_a_sender_also_looks_by_itself(start):
    outbox, log = Outbox(), Scripted("log")
    start(outbox, log, poll_seconds=0.01)
    outbox.enqueue([notice("a")])
    assert log.arrived.wait(30)


def test_stopping_sends_what_is_due_first():
    outbox, log = Outbox(), Scripted("log")
    sender = Sender(outbox, by_name(log), clock=lambda: 1.0, poll_seconds=60)
    sender.start()
    outbox.enqueue([notice(str(i)) for i in range(12)])
    assert sender.stop(timeout=30)
    assert outbox.states() == ["sent"] * 12


def test_a_broken_ledger_does_not_end_the_thread(start, caplog):
    outbox, log = Outbox(), Scripted("log")
    outbox.broken = True
    sender = start(outbox, log, poll_seconds=0.01)
    while "the disk is full" not in caplog.text:
        sender.wake()
    outbox.broken = False
    outbox.enqueue([notice("a")])
    assert log.arrived.wait(30)


def test_a_sender_can_be_started_again(start):
    outbox, log = Outbox(), Scripted("log")
    sender = start(outbox, log)
    sender.start()
    assert [thread.name for thread in threading.enumerate()].count("driftwell-outbox") == 1
    assert sender.stop()
    assert sender.stop()
    sender.start()
    outbox.enqueue([notice("a")])
    sender.wake()
    assert log.arrived.wait(30)


def test_a_sender_never_started_stops():
    assert Sender(Outbox(), {}).stop()


def test_a_receiver_that_does_not_answer_holds_up_no_other(rng):
    quick, outbox = Scripted("quick"), Outbox()
    met = []

    class Slow:
        name = "slow"

        def send(self, notice):
            met.append(quick.arrived.wait(20))  # its own turn comes first
            return Retry("timeout")

    outbox.enqueue([notice("s", "slow"), notice("q1", "quick"), notice("q2", "quick")])
    report = send_due(outbox, by_name(Slow(), quick), now_us=0, rng=rng)
    assert met == [True]
    assert quick.sent == ["q1", "q2"]
    assert (report.sent, report.retried) == (2, 1)
