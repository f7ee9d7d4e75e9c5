"""The life of an alert: the pure machine, and what is stored and sent."""

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from driftwell.alerts import AlertRule, AlertState, LogChannel, apply, step
from driftwell.alerts.state import alert_key
from driftwell.errors import StoreError

MINUTE = 60_000_000
CHECK = {
    "check_id": "c1",
    "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"},
    "reference_id": "ref1",
    "culprits": ["age", "income"],
}


def series(alert_rule, observations):
    """The events of ``(at_us, firing)`` pairs."""
    state, events = None, []
    for at_us, firing in observations:
        state, event = step(alert_rule, state, firing, at_us)
        if event:
            events.append((at_us, event))
    return state, events


def plain_rule(**options):
    return AlertRule("Low", "x < 1", **options)


def test_it_fires_once_and_resolves_once():
    state, events = series(plain_rule(), enumerate([False, True, True, True, False, False]))
    assert events == [(1, "firing"), (4, "resolved")]
    assert state.state == "resolved"


def test_a_hold_must_pass_without_a_break():
    held = plain_rule(for_="PT2M")
    ticks = [(i * MINUTE, f) for i, f in enumerate([True, True, False, True, True, True])]
    state, events = series(held, ticks)
    assert events == [(5 * MINUTE, "firing")]
    assert state.since_us == 3 * MINUTE
    assert series(held, ticks[:2])[0].state == "pending"
    assert series(held, ticks[:3])[0].state == "inactive"


def test_no_data_changes_nothing():
    before, _ = series(plain_rule(), [(0, True)])
    after, event = step(plain_rule(), before, None, 5)
    assert (after.state, after.changed_us, event) == ("firing", 0, None)


def test_a_flapping_condition_is_quiet_during_the_cooldown():
    flapping = [(i * MINUTE, i % 2 == 0) for i in range(12)]
    _, events = series(plain_rule(cooldown="PT6M"), flapping)
    assert events == [
        (0, "firing"),
        (1 * MINUTE, "resolved"),
        (6 * MINUTE, "firing"),
        (7 * MINUTE, "resolved"),
    ]


def test_an_older_check_changes_nothing():
    before, _ = series(plain_rule(), [(10, True), (20, True)])
    assert step(plain_rule(), before, False, 15) == (before, None)


def test_the_same_check_again_changes_nothing():
    before, _ = series(plain_rule(), [(10, True)])
    assert step(plain_rule(), before, True, 10) == (before, None)


OBSERVATIONS = st.lists(st.tuples(st.integers(0, 100), st.sampled_from([True, False, None])), max_size=40)


@given(OBSERVATIONS, st.integers(0, 30), st.integers(0, 60))
def test_the_laws_of_alerting(observations, hold, cooldown):
    # Written from the definition, not from the code: over any series of checks, in any order of times.
    microsecond = {"for_": f"PT0.{hold:06}S", "cooldown": f"PT0.{cooldown:06}S"}
    alert_rule = plain_rule(**microsecond)
    _, events = series(alert_rule, observations)
    kinds = [kind for _, kind in events]
    assert kinds == ["firing", "resolved"] * (len(kinds) // 2) + ["firing"] * (len(kinds) % 2)
    starts = [at for at, kind in events if kind == "firing"]
    assert all(b - a >= cooldown for a, b in itertools.pairwise(starts))

    known = known_in_order(observations)
    assert {at for at, kind in events if kind == "resolved"} <= {at for at, firing in known if not firing}
    held_since = {}
    since = None
    for at, firing in known:
        since = (at if since is None else since) if firing else None
        held_since.setdefault(at, []).append(since)
    for start in starts:
        assert any(since is not None and start - since >= hold for since in held_since[start])


def known_in_order(observations):
    """What a machine that never looks back can use: no earlier times, no unknown conditions."""
    newest, known = -1, []
    for at, firing in observations:
        if at >= newest:
            newest = at
            known += [(at, firing)] if firing is not None else []
    return known


@given(OBSERVATIONS)
def test_replaying_each_check_gives_the_same_events(observations):
    twice = [pair for pair in observations for _ in range(2)]
    assert series(plain_rule(), twice)[1] == series(plain_rule(), observations)[1]


# --- storing and sending ----------------------------------------------------------------------------------


class Ledger:
    """Alert states and the outbox in memory; can be told to fail at the n-th write."""

    def __init__(self):
        self.alerts, self.outbox = {}, {}
        self.writes_left = None

    def _write(self):
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise StoreError("the disk is full")
            self.writes_left -= 1

    def get_alerts(self, model=None):
        return [dict(a) for a in self.alerts.values() if model in (None, a["model"])]

    def put_alert(self, alert):
        self._write()
        self.alerts[alert["key"]] = dict(alert)

    def enqueue(self, notices):
        self._write()
        new = [n for n in notices if n.key not in self.outbox]
        self.outbox |= {n.key: n for n in new}
        return len(new)

    def told(self):
        return [(n.body["labels"]["alertname"], n.kind, n.channel) for n in self.outbox.values()]


class Named:
    def __init__(self, name):
        self.name = name


LOW = AlertRule("Low", "x < 1", "warning", group="g")
VERY_LOW = AlertRule("VeryLow", "x < 0", "critical", group="g")


LOG = LogChannel()


def run(ledger, x, at_us, rules=(LOW,), channels=(LOG,), **options):
    metrics = {} if x is None else {"x": x}
    options = {"clock": lambda: 7.0, **options}
    return apply(ledger, "flights", "v1", CHECK, metrics, rules, channels, at_us, **options)


def test_every_channel_gets_each_event_once():
    ledger, channels = Ledger(), [Named("log"), Named("webhook:x")]
    for at_us, x in enumerate([2, 0.5, 0.4, 0.3, 2, 2]):
        run(ledger, x, at_us, channels=channels)
    assert ledger.told() == [
        ("Low", "alert", "log"),
        ("Low", "alert", "webhook:x"),
        ("Low", "resolved", "log"),
        ("Low", "resolved", "webhook:x"),
    ]


def test_the_events_of_a_check_are_returned():
    ledger = Ledger()
    assert run(ledger, 2, 0) == []
    assert run(ledger, 0.5, 1_000_000) == [
        {
            "name": "Low",
            "severity": "warning",
            "status": "firing",
            "value": 0.5,
            "message": "x is 0.5 (rule: x < 1)",
            "model": "flights",
            "version": "v1",
            "at": "1970-01-01T00:00:01Z",
            "notified": True,
        }
    ]
    assert run(ledger, 0.5, 2_000_000) == []
    assert [event["status"] for event in run(ledger, 2, 3_000_000)] == ["resolved"]


def test_the_stored_alert_says_where_it_stands():
    ledger = Ledger()
    run(ledger, 0.5, 5)
    run(ledger, None, 9)
    alert = ledger.alerts["Low:flights:v1"]
    assert {name: alert[name] for name in ("model", "version", "rule", "severity", "state")} == {
        "model": "flights",
        "version": "v1",
        "rule": "Low",
        "severity": "warning",
        "state": "firing",
    }
    assert (alert["since_us"], alert["changed_us"], alert["seen_us"], alert["fired_us"]) == (5, 5, 9, 5)
    # Without data the last known value stays, and the reason is beside it.
    assert (alert["value"], alert["outcome"], alert["reason"]) == (0.5, "no_data", "no value of x")


def test_an_older_check_leaves_the_stored_alert_alone():
    ledger = Ledger()
    run(ledger, 0.5, 10)
    before = dict(ledger.alerts)
    assert run(ledger, 2, 9) == []
    assert run(ledger, 0.1, 9) == []
    assert ledger.alerts == before


def test_a_failing_rule_is_recorded_and_stops_no_other():
    ledger = Ledger()
    broken = AlertRule("Broken", lambda m: 1 / 0)
    run(ledger, 0.5, 1, rules=(broken, LOW))
    assert ledger.alerts["Broken:flights:v1"]["outcome"] == "error"
    assert "ZeroDivisionError" in ledger.alerts["Broken:flights:v1"]["reason"]
    assert ledger.told() == [("Low", "alert", "log")]


def test_the_more_serious_alert_speaks_for_its_group():
    ledger = Ledger()
    events = run(ledger, -1, 0, rules=(LOW, VERY_LOW))
    assert [(e["name"], e["notified"]) for e in events] == [("Low", False), ("VeryLow", True)]
    assert ledger.told() == [("VeryLow", "alert", "log")]


def test_the_lesser_alert_is_told_once_it_stands_alone():
    ledger = Ledger()
    for at_us, x in enumerate([-1, 0.5, 0.5, 2]):
        run(ledger, x, at_us, rules=(LOW, VERY_LOW))
    assert ledger.told() == [
        ("VeryLow", "alert", "log"),
        ("Low", "alert", "log"),
        ("VeryLow", "resolved", "log"),
        ("Low", "resolved", "log"),
    ]


def test_an_alert_nobody_was_told_about_ends_in_silence():
    ledger = Ledger()
    for at_us, x in enumerate([-1, 2]):
        run(ledger, x, at_us, rules=(LOW, VERY_LOW))
    assert ledger.told() == [("VeryLow", "alert", "log"), ("VeryLow", "resolved", "log")]


def test_rules_without_a_group_do_not_silence_each_other():
    ledger = Ledger()
    rules = (AlertRule("A", "x < 1", "warning"), AlertRule("B", "x < 1", "critical"))
    run(ledger, 0, 0, rules=rules)
    assert len(ledger.told()) == 2


def test_groups_do_not_silence_each_other():
    ledger = Ledger()
    other = AlertRule("Other", "x < 1", "warning", group="h")
    run(ledger, -1, 0, rules=(LOW, VERY_LOW, other))
    assert ledger.told() == [("VeryLow", "alert", "log"), ("Other", "alert", "log")]


def test_versions_have_alerts_of_their_own():
    ledger = Ledger()
    apply(ledger, "m", "v1", CHECK, {"x": 0}, [LOW], [LogChannel()], 0)
    apply(ledger, "m", "v2", CHECK, {"x": 0}, [LOW], [LogChannel()], 0)
    assert sorted(ledger.alerts) == ["Low:m:v1", "Low:m:v2"]
    assert len(ledger.outbox) == 2


def test_keys_of_odd_names_stay_apart():
    assert alert_key("a:b", "c", "d") != alert_key("a", "b:c", "d")
    assert alert_key("a", "flüge/1", "ü").isascii()


def test_the_notice_is_an_alert_of_alertmanager():
    ledger = Ledger()
    run(ledger, 0.5, 3_600_000_000, link="https://drift.example/models/flights")
    (notice,) = ledger.outbox.values()
    assert notice.created_us == 7_000_000
    body = notice.body
    assert body["labels"] == {
        "alertname": "Low",
        "severity": "warning",
        "model": "flights",
        "model_version": "v1",
        "monitor": "driftwell",
        "signal": "g",
    }
    assert body["annotations"] == {
        "summary": "Low: x < 1",
        "description": "x is 0.5 (rule: x < 1)",
        "value": "0.5",
        "features": "age, income",
        "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2026-01-01T01:00:00Z",
        "reference": "ref1",
        "check_id": "c1",
    }
    assert (body["status"], body["startsAt"], body["endsAt"]) == (
        "firing",
        "1970-01-01T01:00:00Z",
        "0001-01-01T00:00:00Z",
    )
    assert body["generatorURL"] == "https://drift.example/models/flights"
    run(ledger, 2, 7_200_000_000)
    resolved = list(ledger.outbox.values())[1].body
    assert (resolved["status"], resolved["startsAt"], resolved["endsAt"]) == (
        "resolved",
        "1970-01-01T01:00:00Z",
        "1970-01-01T02:00:00Z",
    )
    assert resolved["fingerprint"] == body["fingerprint"]
    assert resolved["labels"] == body["labels"]


@pytest.mark.parametrize("writes", range(3))
@pytest.mark.parametrize(("before", "after"), [([], 0.5), ([0.5], 2)])
def test_a_crash_loses_no_notice_and_doubles_none(writes, before, after):
    whole, broken = Ledger(), Ledger()
    for ledger in (whole, broken):
        for at_us, x in enumerate(before):
            run(ledger, x, at_us)
    run(whole, after, 10)
    broken.writes_left = writes
    with pytest.raises(StoreError):
        run(broken, after, 10)
    broken.writes_left = None
    run(broken, after, 11)
    assert broken.told() == whole.told()


class Deliveries(RuleBasedStateMachine):
    """Whatever comes, crashes included, people are told of firings and of their ends in turn."""

    def __init__(self):
        super().__init__()
        self.ledger, self.now = Ledger(), 0

    @rule(x=st.sampled_from([-1, 0.5, 2, None]), later=st.integers(0, 3))
    def check(self, x, later):
        self.now += later
        run(self.ledger, x, self.now, rules=(LOW, VERY_LOW))

    @rule(x=st.sampled_from([-1, 2]), earlier=st.integers(1, 5))
    def late_check(self, x, earlier):
        run(self.ledger, x, self.now - earlier, rules=(LOW, VERY_LOW))

    @rule(x=st.sampled_from([-1, 0.5, 2]), writes=st.integers(0, 4))
    def crash(self, x, writes):
        self.now += 1
        self.ledger.writes_left = writes
        with contextlib.suppress(StoreError):
            run(self.ledger, x, self.now, rules=(LOW, VERY_LOW))
        self.ledger.writes_left = None

    @invariant()
    def firings_and_ends_alternate(self):
        for name in ("Low", "VeryLow"):
            kinds = [kind for rule_name, kind, _ in self.ledger.told() if rule_name == name]
            assert kinds == (["alert", "resolved"] * len(kinds))[: len(kinds)]


Deliveries.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestDeliveries = Deliveries.TestCase


def test_a_state_is_plain_data():
    assert AlertState("pending", 1, 2, 3).notified is False
