"""When a check asks for retraining."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.errors import BadInput
from driftwell.results import Alarm, CheckResult, Severity, Verdict, Window
from driftwell.retraining import Policy, cooldown_until, decide, decide_manual
from driftwell.retraining.policy import DETAILS

HOUR = 3_600_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def drift(feature, value, severity=Severity.HIGH, **other):
    return Verdict("drift", severity.status, severity, "psi", feature, value, 0.1, n=500, **other)


def performance(severity=Severity.HIGH):
    return Verdict("performance", severity.status, severity, "f1", None, 0.61, 0.8, n=300)


def check(*verdicts, n=500, status="critical", **other):
    made = CheckResult(
        check_id="c7",
        model="flights",
        version="v1",
        status=status,
        severity=max((v.severity for v in verdicts), default=Severity.NONE),
        window=Window(START, START + timedelta(hours=1)),
        timestamp=START,
        n_predictions=n,
        drift_detected=bool(verdicts),
        performance_degraded=False,
        max_drift_score=None,
        reference_id="r",
        alarm=Alarm(),
        verdicts=verdicts,
        **{"drifted_features": {}} | other,
    )
    return made.to_dict()


def a_run(at_us=0, state="completed", targets=("callback:train",)):
    return {"id": "run1", "state": state, "at_us": at_us, "targets": list(targets)}


def test_a_quiet_check_asks_for_nothing():
    decision = decide(Policy(), check(drift("a", 0.02, Severity.NONE), status="ok"), [], 0)
    assert (decision.trigger, decision.code, decision.details) == (False, "no_signal", {})


def test_moderate_findings_ask_for_nothing():
    made = check(drift("a", 0.2, Severity.MEDIUM), performance(Severity.MEDIUM), drifted_features={"a": 0.3})
    assert decide(Policy(), made, [], 0).code == "no_signal"


def test_critical_drift_asks_for_it_and_says_why():
    made = check(drift("dep_delay", 0.41), drift("carrier", 0.3))
    decision = decide(Policy(), made, [], 0)
    assert decision.trigger
    assert decision.reason == "critical drift: psi of dep_delay is 0.41 (threshold 0.1)"
    assert decision.details == {
        "model": "flights",
        "version": "v1",
        "signal": "drift",
        "metric": "psi",
        "feature": "dep_delay",
        "value": 0.41,
        "threshold": 0.1,
        "severity": "high",
        "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2026-01-01T01:00:00Z",
        "n": 500,
        "check_id": "c7",
        "triggered_by": "policy",
    }
    assert tuple(decision.details) == DETAILS


@pytest.mark.parametrize(("score", "trigger"), [(0.5, False), (0.500001, True), (None, False)])
def test_a_drift_score_above_the_limit_asks_for_it(score, trigger):
    made = check(drift("a", 0.15, Severity.MEDIUM), drifted_features={"a": score})
    decision = decide(Policy(), made, [], 0)
    assert decision.trigger is trigger
    if trigger:
        assert (decision.details["metric"], decision.details["value"], decision.details["threshold"]) == (
            "drift_score",
            score,
            0.5,
        )


def test_a_sure_performance_drop_goes_before_drift():
    decision = decide(Policy(), check(drift("a", 0.9), performance()), [], 0)
    assert (decision.trigger, decision.details["signal"], decision.details["metric"]) == (
        True,
        "performance",
        "f1",
    )
    assert decision.reason == "performance drop: f1 is 0.61 (threshold 0.8)"


def test_signals_can_be_switched_off():
    both = check(drift("a", 0.9), performance())
    assert decide(Policy(on_performance=False), both, [], 0).details["signal"] == "drift"
    assert decide(Policy(on_performance=False, on_drift=False), both, [], 0).code == "no_signal"


@pytest.mark.parametrize("status", ["no_data", "error"])
def test_a_check_that_judged_nothing_asks_for_nothing(status):
    made = check(Verdict("drift", status, Severity.NONE, "drift"), status=status, n=0)
    assert decide(Policy(), made, [], 0).code == "no_data"


def test_broken_data_is_not_trained_on():
    broken = Verdict("quality", "critical", Severity.HIGH, "missing", "a")
    decision = decide(Policy(), check(drift("a", 0.9), broken), [], 0)
    assert (decision.trigger, decision.code) == (False, "data_quality")


@pytest.mark.parametrize(("n", "trigger"), [(99, False), (100, True)])
def test_too_few_rows_hold_it_back(n, trigger):
    assert decide(Policy(), check(drift("a", 0.9), n=n), [], 0).trigger is trigger


@pytest.mark.parametrize("state", ["requested", "running"])
def test_one_at_a_time(state):
    decision = decide(Policy(), check(drift("a", 0.9)), [a_run(-100 * HOUR, state)], 0)
    assert (decision.trigger, decision.code) == (False, "running")
    assert "run1" in decision.reason


def test_a_request_that_nothing_takes_holds_nothing_back():
    recorded = a_run(0, "requested", targets=())
    assert decide(Policy(), check(drift("a", 0.9)), [recorded], 0).trigger
    assert cooldown_until(Policy(), [recorded]) is None


@given(st.integers(0, 100 * HOUR), st.integers(0, 100 * HOUR), st.sampled_from(["completed", "failed"]))
def test_the_cooldown_is_measured_from_the_newest_run(last, later, state):
    policy = Policy(cooldown="PT24H")
    runs = [a_run(last, state), a_run(last - HOUR)]
    decision = decide(policy, check(drift("a", 0.9)), runs, last + later)
    assert decision.trigger is (later >= 24 * HOUR)
    assert cooldown_until(policy, runs) == last + 24 * HOUR


def test_the_cooldown_says_how_long():
    decision = decide(Policy(), check(drift("a", 0.9)), [a_run(0)], HOUR)
    assert decision.code == "cooldown"
    assert decision.reason.endswith("the cool-down lasts until 1970-01-02T00:00:00Z")


def test_an_older_check_falls_into_the_cooldown():
    assert decide(Policy(), check(drift("a", 0.9)), [a_run(5 * HOUR)], 0).code == "cooldown"


def test_a_person_passes_the_cooldown_but_not_a_running_run():
    assert decide_manual([a_run(0)], "flights", "v1", "new data", None).trigger
    held = decide_manual([a_run(0, "running")], "flights", "v1", "new data", None)
    assert (held.trigger, held.code) == (False, "running")


def test_a_persons_details_become_flat_scalars():
    given_details = {
        "ticket": "ML-7",
        "rows": 10,
        "features": ["a", "b"],
        "triggered_by": "x",
        "model": "other",
    }
    decision = decide_manual([], "flights", "v1", "manual", given_details)
    details = decision.details
    assert set(DETAILS) <= set(details)
    assert (details["ticket"], details["rows"], details["features"]) == ("ML-7", 10, '["a", "b"]')
    assert (details["model"], details["version"], details["triggered_by"]) == ("flights", "v1", "manual")
    assert details["signal"] is None
    assert all(value is None or isinstance(value, bool | int | float | str) for value in details.values())


@pytest.mark.parametrize(
    "options", [{"drift_score": 1.5}, {"minimum_rows": -1}, {"cooldown": "1 day"}, {"stale_after": "P1M"}]
)
def test_a_policy_that_cannot_be_is_an_error(options):
    with pytest.raises(BadInput):
        Policy(**options)
