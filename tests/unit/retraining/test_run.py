"""Runs: their states, what is kept of them, one at a time, and the thread they run on."""

import asyncio
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driftwell.errors import ConfigError, NotSupported, StoreError
from driftwell.retraining import (
    CallbackTarget,
    Decision,
    Ended,
    Policy,
    Retrainer,
    expire,
    plan,
    request,
    run,
)

HOUR = 3_600_000_000
HIGH = {
    "signal": "drift",
    "severity": "high",
    "metric": "psi",
    "feature": "a",
    "value": 0.9,
    "threshold": 0.1,
}


def check(check_id="c1", high=True):
    return {
        "check_id": check_id,
        "model": "flights",
        "version": "v1",
        "status": "critical" if high else "ok",
        "severity": "high" if high else "none",
        "sample_count": 500,
        "verdicts": [HIGH | {"n": 500}] if high else [],
        "drifted_features": {},
        "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"},
    }


class Ledger:
    """Runs and audit in memory."""

    def __init__(self):
        self.kept, self.lines, self.broken = {}, [], False
        self.lock = threading.Lock()

    def put_run(self, made):
        if self.broken:
            raise StoreError("the disk is full")
        with self.lock:
            self.kept[made["id"]] = dict(made)

    def start_run(self, made):
        if self.broken:
            raise StoreError("the disk is full")
        with self.lock:
            for one in self.kept.values():
                if one["model"] == made["model"] and one["targets"] and one["state"] in ("requested", "running"):
                    return one["id"]
            self.kept[made["id"]] = dict(made)
        return None

    def runs(self, model, *, limit=20):
        with self.lock:
            found = [dict(r) for r in self.kept.values() if r["model"] == model]
        return sorted(found, key=lambda r: -r["at_us"])[:limit]

    def audit(self, who, what, details, now_us):
        self.lines.append((who, what, details, now_us))


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


class Scripted:
    """A target that waits for ``go`` and then ends as it was told."""

    def __init__(self, end=None, name="callback:train"):
        self.name, self.end = name, end or Ended("completed")
        self.started, self.go, self.calls = threading.Event(), threading.Event(), []
        self.go.set()

    def start(self, reason, details):
        self.calls.append((reason, details))
        self.started.set()
        assert self.go.wait(30)
        return self.end


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def clock():
    return Clock()


# --- one run ----------------------------------------------------------------------------------------------


def requested(ledger, *targets, details=None):
    decision = Decision(True, "why", details or {"check_id": "c1", "triggered_by": "policy"})
    return request(ledger, "m", "v", decision, targets=targets, at_us=5, now_us=7)


def test_a_run_goes_from_requested_to_completed(ledger, clock):
    seen = []
    target = Scripted(Ended("completed", result={"status": "completed", "auc": 0.9}))
    target.start = lambda reason, details: seen.append(ledger.runs("m")[0]["state"]) or target.end
    made = requested(ledger, target)
    assert (made["state"], made["at_us"], made["requested_us"]) == ("requested", 5, 7)
    done = run(ledger, made, [target], clock=clock)
    assert seen == ["running"]
    assert ledger.runs("m") == [done]
    assert (done["state"], done["error"], done["started_us"], done["finished_us"]) == (
        "completed",
        None,
        1_000_000_000,
        1_000_000_000,
    )
    assert done["results"] == [
        {"target": "callback:train", "state": "completed", "error": None, "result": target.end.result}
    ]


def test_every_step_is_in_the_audit(ledger, clock):
    run(ledger, requested(ledger, Scripted()), [Scripted(Ended("failed", "no rows"))], clock=clock)
    assert [(who, what) for who, what, *_ in ledger.lines] == [
        ("policy", "retraining.requested"),
        ("policy", "retraining.running"),
        ("policy", "retraining.failed"),
    ]
    assert ledger.lines[-1][2]["error"] == "callback:train: no rows"


def test_one_failing_target_fails_the_run_and_stops_no_other(ledger, clock, caplog):
    bad, good = Scripted(Ended("failed", "no rows"), "bad"), Scripted(name="good")
    done = run(ledger, requested(ledger, bad, good), [bad, good], clock=clock)
    assert (done["state"], done["error"]) == ("failed", "bad: no rows")
    assert len(good.calls) == 1
    assert "retraining of m v failed: bad: no rows" in caplog.text


def test_the_same_check_makes_the_same_run(ledger):
    policy = {"check_id": "c1", "triggered_by": "policy"}
    first, again = requested(ledger, details=policy), requested(ledger, details=policy)
    other = requested(ledger, details=policy | {"check_id": "c2"})
    assert first["id"] == again["id"] != other["id"]
    manual = {"check_id": None, "triggered_by": "manual"}
    assert requested(ledger, details=manual)["id"] != requested(ledger, details=manual)["id"]


def test_a_run_without_a_result_expires(ledger):
    policy = Policy(stale_after="PT1H")
    made = requested(ledger, Scripted())
    assert expire(ledger, "m", policy, 7 + HOUR - 1)[0]["state"] == "requested"
    (expired,) = expire(ledger, "m", policy, 7 + HOUR)
    assert (expired["id"], expired["state"], expired["error"]) == (
        made["id"],
        "failed",
        "no result within PT1H",
    )
    assert ledger.runs("m") == [expired]
    assert expire(ledger, "m", policy, 9 * HOUR) == [expired]
    assert len(ledger.lines) == 2


# --- the callback -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "state", "error"),
    [
        (None, "completed", None),
        ("done", "completed", None),
        ({"status": "completed", "version": "v2"}, "completed", None),
        ({"status": "failed"}, "failed", "the callback returned status failed"),
        ({"status": "failed", "error": "no rows"}, "failed", "no rows"),
        ({"status": "failed", "reason": "no rows"}, "failed", "no rows"),
    ],
)
def test_what_a_callback_returns_ends_the_run(answer, state, error):
    ended = CallbackTarget(lambda reason, details: answer).start("why", {})
    assert (ended.state, ended.error) == (state, error)
    assert ended.result == (answer if isinstance(answer, dict) else None)


def test_a_callback_may_be_async():
    async def train(reason, details):
        await asyncio.sleep(0)
        return {"status": "failed", "error": reason}

    assert CallbackTarget(train).start("why", {}).error == "why"


@pytest.mark.parametrize("exc", [ValueError("no rows"), SystemExit(2)])
def test_a_callback_that_raises_fails_the_run_and_no_more(exc, caplog):
    def train(reason, details):
        raise exc

    ended = CallbackTarget(train).start("why", {})
    assert ended.state == "failed"
    assert type(exc).__name__ in ended.error
    assert type(exc).__name__ in caplog.text


def test_a_callback_cannot_change_what_is_kept(ledger, clock):
    made = requested(ledger, Scripted())
    done = run(ledger, made, [CallbackTarget(lambda reason, details: details.clear())], clock=clock)
    assert done["details"] == {"check_id": "c1", "triggered_by": "policy"}


def test_an_odd_answer_is_kept_as_json():
    ended = CallbackTarget(lambda r, d: {"model": object(), "auc": float("nan"), 3: (1, 2)}).start("", {})
    assert (ended.result["auc"], ended.result["3"]) == (None, [1, 2])
    assert isinstance(ended.result["model"], str)


# --- settings ---------------------------------------------------------------------------------------------


def test_settings_become_a_policy_and_targets():
    own = Scripted(name="own")
    policy, targets = plan([own, Policy(cooldown="P7D"), print], len)
    assert policy.cooldown == "P7D"
    assert [target.name for target in targets] == ["own", "callback:builtins.print", "callback:builtins.len"]
    assert plan([]) == (Policy(), [])


@pytest.mark.parametrize(
    ("items", "error", "words"),
    [
        ([Policy(), Policy()], ConfigError, "one policy"),
        (["airflow:https://a"], NotSupported, "not available in this version"),
        ([7], ConfigError, "got 7"),
    ],
)
def test_settings_that_cannot_be_are_an_error(items, error, words):
    with pytest.raises(error, match=words):
        plan(items)


# --- the retrainer ----------------------------------------------------------------------------------------


def retrainer(ledger, clock, *targets, **policy):
    return Retrainer(ledger, "flights", "v1", policy=Policy(**policy), targets=targets, clock=clock)


def test_nothing_retrains_unless_a_target_is_set(ledger, clock):
    decision = retrainer(ledger, clock).consider(check(), 0)
    assert (decision.trigger, decision.code) == (False, "no_target")
    assert ledger.kept == {}


def test_a_check_is_not_held_up_by_the_run(ledger, clock):
    target = Scripted()
    target.go.clear()
    made = retrainer(ledger, clock, target)
    assert made.consider(check(), 0).trigger
    assert target.started.wait(30)
    assert made.status()["running"] == ledger.runs("flights")[0]["id"]
    assert not made.wait(0)
    assert made.consider(check("c2"), 48 * HOUR).code == "running"
    target.go.set()
    assert made.wait(30)
    assert made.status()["running"] is None
    assert made.status()["last"]["state"] == "completed"
    assert len(target.calls) == 1


def test_the_callback_is_told_why(ledger, clock):
    target = Scripted()
    made = retrainer(ledger, clock, target)
    made.consider(check(), 0)
    assert made.wait(30)
    ((reason, details),) = target.calls
    assert reason == "critical drift: psi of a is 0.9 (threshold 0.1)"
    assert (details["check_id"], details["triggered_by"]) == ("c1", "policy")


def test_a_quiet_check_starts_nothing(ledger, clock):
    made = retrainer(ledger, clock, Scripted())
    assert made.consider(check(high=False), 0).code == "no_signal"
    assert made.wait(0)
    assert made.status() == {"last": None, "running": None, "cooldown_until": None}


def test_a_failed_run_also_starts_the_cooldown(ledger, clock):
    made = retrainer(ledger, clock, Scripted(Ended("failed", "x")))
    assert made.consider(check(), 0).trigger
    assert made.wait(30)
    assert made.consider(check("c2"), HOUR).code == "cooldown"
    assert made.status()["cooldown_until"] == "1970-01-02T00:00:00Z"
    assert made.consider(check("c3"), 24 * HOUR).trigger
    assert made.wait(30)


def test_a_person_passes_the_cooldown(ledger, clock):
    made = retrainer(ledger, clock, Scripted())
    made.consider(check(), 0)
    assert made.wait(30)
    answer = made.trigger("new data", {"rows": 5})
    assert answer == {"status": "retraining_triggered", "id": answer["id"], "reason": "new data"}
    assert made.wait(30)
    last = made.status()["last"]
    assert (last["id"], last["reason"], last["details"]["rows"]) == (answer["id"], "new data", 5)
    assert (last["at"], last["finished"]) == ("1970-01-01T00:16:40Z", "1970-01-01T00:16:40Z")


def test_a_person_does_not_pass_a_running_run(ledger, clock):
    target = Scripted()
    target.go.clear()
    made = retrainer(ledger, clock, target, stale_after="PT1H")
    first = made.trigger()
    assert target.started.wait(30)
    held = made.trigger()
    assert (held["status"], held["id"]) == ("running", None)
    assert first["id"] in held["reason"]
    clock.seconds += 3600  # by now the first counts as lost
    assert made.trigger()["status"] == "retraining_triggered"
    target.go.set()
    assert made.wait(30)


def test_a_request_without_a_target_is_recorded_and_says_so(ledger, clock):
    made = retrainer(ledger, clock)
    first, second = made.trigger(), made.trigger()
    assert first["status"] == second["status"] == "retraining_triggered"
    assert "recorded only" in first["reason"]
    assert [one["state"] for one in ledger.runs("flights")] == ["requested", "requested"]
    assert made.status()["running"] is None


def test_a_lost_ledger_does_not_break_the_thread(ledger, clock, caplog):
    target = Scripted()
    target.go.clear()
    made = retrainer(ledger, clock, target)
    made.trigger()
    assert target.started.wait(30)
    ledger.broken = True
    target.go.set()
    assert made.wait(30)
    assert "cannot be recorded: the disk is full" in caplog.text


def test_many_checks_at_once_start_one_run(ledger, clock):
    target = Scripted()
    made = retrainer(ledger, clock, target)
    barrier = threading.Barrier(8)
    runs = ledger.runs
    # Others get to run between reading the runs and starting one.
    ledger.runs = lambda model: [runs(model), time.sleep(0.01)][0]

    def one(number):
        barrier.wait(30)
        made.consider(check(f"c{number}"), number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.wait(30)
    assert len(target.calls) == len(ledger.kept) == 1


class Runs(RuleBasedStateMachine):
    """Checks, people and results in any order: never two runs at once, no check inside the cool-down."""

    def __init__(self):
        super().__init__()
        self.ledger, self.clock, self.at, self.number = Ledger(), Clock(), 0, 0
        self.made = Retrainer(self.ledger, "flights", "v1", targets=[Scripted()], clock=self.clock)
        self.made._start = self.start_without_thread
        self.by_policy = []

    def start_without_thread(self, decision, at_us):
        return request(self.ledger, "flights", "v1", decision, targets=self.made.targets, at_us=at_us, now_us=self.now)

    @property
    def now(self):
        return round(self.clock() * 1e6)

    @rule(later=st.integers(0, 30))
    def check(self, later):
        self.at += later * HOUR
        self.number += 1
        newest = max((r["at_us"] for r in self.ledger.kept.values()), default=None)
        if self.made.consider(check(f"c{self.number}"), self.at).trigger:
            assert newest is None or self.at - newest >= 24 * HOUR

    @rule()
    def person(self):
        running = [r for r in self.ledger.kept.values() if r["state"] in ("requested", "running")]
        assert (self.made.trigger(at_us=self.at)["status"] == "running") is bool(running)

    @precondition(lambda self: all(r["state"] != "requested" for r in self.ledger.kept.values()))
    @rule(hours=st.integers(1, 99))
    def time_passes(self, hours):
        self.clock.seconds += hours * 3600

    @precondition(lambda self: any(r["state"] == "requested" for r in self.ledger.kept.values()))
    @rule(good=st.booleans())
    def it_ends(self, good):
        (one,) = [r for r in self.ledger.kept.values() if r["state"] == "requested"]
        run(self.ledger, one, [Scripted(Ended("completed" if good else "failed"))], clock=self.clock)

    @invariant()
    def one_at_a_time(self):
        assert sum(r["state"] in ("requested", "running") for r in self.ledger.kept.values()) <= 1


Runs.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestRuns = Runs.TestCase


def test_of_two_that_decide_in_the_same_instant_one_starts(ledger, clock):
    target = Scripted()
    target.go.clear()
    both = [Retrainer(ledger, "flights", "v1", targets=[target], clock=clock) for _ in range(2)]
    ledger.runs = lambda model, limit=20: []  # neither sees the other's run when it decides
    decisions = [one.consider(check(f"c{i}"), i) for i, one in enumerate(both)]
    asked = both[1].trigger("manual")
    target.go.set()
    assert all(one.wait(30) for one in both)
    assert [decision.code for decision in decisions] == ["triggered", "running"]
    assert "has not ended" in decisions[1].reason
    assert (asked["status"], asked["id"]) == ("running", None)
    assert len(target.calls) == 1


def test_a_run_cannot_wait_for_its_own_end(ledger, clock):
    waited = []

    class Waiting:
        name = "callback:waiting"

        def start(self, reason, details):
            waited.append(made.wait())
            return Ended("completed")

    made = Retrainer(ledger, "flights", "v1", targets=[Waiting()], clock=clock)
    made.trigger("manual")
    assert made.wait(30)
    assert waited == [False]
