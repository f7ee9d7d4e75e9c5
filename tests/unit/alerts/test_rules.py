"""Rules: making them, judging metrics by them, and the metrics they see of a check."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from driftwell.alerts import BUILT_IN_RULES, AlertRule, evaluate, evaluate_rules, metrics_of, rules_from
from driftwell.errors import BadInput, ConfigError
from driftwell.results import Alarm, CheckResult, Severity, Verdict, Window


def test_the_example_of_the_contract():
    rule = AlertRule("accuracy_drop", "accuracy < 0.85", severity="critical", for_="PT30M")
    assert evaluate_rules([rule], {"accuracy": 0.82}) == [
        {
            "name": "accuracy_drop",
            "severity": "critical",
            "value": 0.82,
            "message": "accuracy is 0.82 (rule: accuracy < 0.85 for PT30M)",
        }
    ]
    assert evaluate_rules([rule], {"accuracy": 0.85}) == []


def test_durations_may_be_timedeltas():
    rule = AlertRule("r", "a > 1", for_=timedelta(minutes=1), cooldown="PT1H")
    assert (rule.hold_us, rule.cooldown_us) == (60_000_000, 3_600_000_000)
    assert (AlertRule("r", "a > 1").hold_us, AlertRule("r", "a > 1").cooldown_us) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", "a > 1"), ConfigError, "needs a name"),
        ((None, "a > 1"), ConfigError, "needs a name"),
        (("r", "a >"), ConfigError, "not valid"),
        (("r", 7), ConfigError, "an expression or a function"),
        (("r", "a > 1", "severe"), ConfigError, "must be info, warning, critical, got 'severe'"),
        (("r", "a > 1", "info", "1h"), BadInput, "ISO 8601"),
    ],
)
def test_a_rule_that_cannot_work_is_an_error_at_once(arguments, error, words):
    with pytest.raises(error, match=words):
        AlertRule(*arguments)


def test_a_rule_is_frozen_and_compares_by_what_it_says():
    rule = AlertRule("r", "a > 1")
    assert rule == AlertRule("r", "a > 1")
    with pytest.raises(AttributeError):
        rule.name = "other"


@pytest.mark.parametrize("metrics", [{}, {"accuracy": None}, {"accuracy": math.nan}, {"accuracy": "0.5"}])
def test_a_missing_metric_never_fires(metrics):
    rule = AlertRule("r", "accuracy < 0.85")
    found = evaluate(rule, metrics)
    assert (found.outcome, found.firing, found.value) == ("no_data", None, None)
    assert "no value of accuracy" in found.message
    assert evaluate_rules([rule], metrics) == []


def test_a_callable_sees_the_metrics():
    rule = AlertRule("r", lambda m: m.get("f1") < 0.5 and m["n"] > 10)
    assert evaluate(rule, {"f1": 0.4, "n": 11}).outcome == "firing"
    assert evaluate(rule, {"f1": 0.4, "n": 11}).value == 0.4
    assert evaluate(rule, {"f1": 0.6, "n": 11}).outcome == "ok"


@pytest.mark.parametrize(
    "function",
    [
        lambda m: m.get("accuracy") < 0.85,
        lambda m: m["accuracy"] < 0.85,
        lambda m: not m.get("accuracy"),
        lambda m: m.get("accuracy") is None,
    ],
)
@pytest.mark.parametrize("metrics", [{}, {"accuracy": None}, {"accuracy": math.nan}])
def test_a_callable_without_its_metric_has_no_data(function, metrics):
    assert evaluate(AlertRule("r", function), metrics).outcome == "no_data"


def test_a_callable_may_bring_its_own_default():
    rule = AlertRule("r", lambda m: m.get("errors", 0) > 3)
    assert evaluate(rule, {}).outcome == "ok"
    assert evaluate(rule, {"errors": 4}).outcome == "firing"


def test_a_callable_may_ask_what_is_there():
    rule = AlertRule("r", lambda m: "extra" in m and m["extra"] > 1)
    assert [evaluate(rule, m).outcome for m in ({}, {"extra": 2}, {"extra": 1})] == ["ok", "firing", "ok"]
    assert evaluate(AlertRule("r", lambda m: len(m) + len(list(m)) == 2), {"a": 1}).outcome == "firing"


def test_a_callable_that_fails_is_an_error_and_stops_no_other(caplog):
    rules = [AlertRule("bad", lambda m: 1 / m["zero"]), AlertRule("good", "zero < 1")]
    found = evaluate(rules[0], {"zero": 0})
    assert (found.outcome, found.firing) == ("error", None)
    assert "ZeroDivisionError" in found.message
    assert [one["name"] for one in evaluate_rules(rules, {"zero": 0})] == ["good"]
    assert "ZeroDivisionError" in caplog.text


def test_tables_of_the_file_become_rules():
    rules = rules_from(
        [{"name": "Slow", "condition": "p95 > 0.2", "severity": "info", "for": "PT10M", "cooldown": "P1D"}]
    )
    assert rules == (AlertRule("Slow", "p95 > 0.2", "info", "PT10M", "P1D"),)
    assert rules_from(None) is BUILT_IN_RULES
    assert rules_from([]) == ()


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["accuracy < 1"], "a table with name and condition"),
        ([{"name": "r"}], "a name and a condition"),
        ([{"name": "r", "condition": "a > 1", "severty": "info"}], "did you mean severity"),
        ([AlertRule("r", "a > 1"), {"name": "r", "condition": "a > 2"}], "two rules are called 'r'"),
    ],
)
def test_a_bad_table_is_a_clear_error(items, words):
    with pytest.raises(ConfigError, match=words):
        rules_from(items)


# --- what rules see of a check ----------------------------------------------------------------------------


def verdict(signal="drift", status="ok", severity=Severity.NONE, metric="psi", **other):
    return Verdict(signal, status, severity, metric, **other)


def check(*verdicts, **other):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    known = {
        "status": "ok",
        "severity": max((v.severity for v in verdicts), default=Severity.NONE),
        "n_predictions": 500,
        "drift_detected": any(v.signal == "drift" and v.severity > Severity.NONE for v in verdicts),
        "performance_degraded": any(v.signal == "performance" and v.severity > Severity.NONE for v in verdicts),
        "drifted_features": {},
        "max_drift_score": 0.2,
        "coverage": None,
    }
    made = CheckResult(
        check_id="c",
        model="m",
        version="v",
        window=Window(start, start + timedelta(hours=1)),
        timestamp=start,
        reference_id="r",
        alarm=Alarm(),
        verdicts=verdicts,
        **known | other,
    )
    return made.to_dict()


def test_metrics_of_a_full_check():
    realized = {"f1": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 100}, "mae": {"value": None}}
    metrics = metrics_of(
        check(
            verdict(severity=Severity.MEDIUM, status="warning", feature="age"),
            verdict(severity=Severity.LOW, metric="mmd"),
            verdict(feature="fare"),
            verdict("output", feature="prediction", severity=Severity.LOW, value=0.12),
            verdict("output", feature="score", value=0.01),
            verdict("output", "no_data", feature="confidence"),
            verdict("performance", "critical", Severity.HIGH, "f1"),
            performance={"realized": realized},
            coverage=0.99,
        )
    )
    assert metrics == {
        "sample_count": 500.0,
        "severity": 3.0,
        "coverage": 0.99,
        "drift_detected": 1.0,
        "drift_severity": 2.0,
        "n_drifted": 1.0,  # features: the test of whole rows is none
        "max_drift_score": 0.2,
        "output_drift": 1.0,
        "prediction_drift": 1.0,
        "prediction_drift_value": 0.12,
        "score_drift": 0.0,
        "score_drift_value": 0.01,
        "performance_degraded": 1.0,
        "performance_severity": 3.0,
        "f1": 0.7,
        "f1_score": 0.7,
    }


@pytest.mark.parametrize("status", ["no_data", "error"])
def test_what_was_not_judged_is_absent(status):
    metrics = metrics_of(check(verdict(status=status), verdict("performance", status)))
    assert metrics == {"sample_count": 500.0, "severity": 0.0}


def fired(made):
    return [one["name"] for one in evaluate_rules(BUILT_IN_RULES, metrics_of(made))]


def test_built_in_rules_are_silent_on_a_quiet_check():
    assert fired(check(verdict(), verdict("performance"))) == []


def test_built_in_rules_tell_warning_from_critical():
    medium = verdict(severity=Severity.MEDIUM, status="warning")
    high = verdict(severity=Severity.HIGH, status="critical")
    assert fired(check(medium)) == ["ModelDataDrift"]
    assert fired(check(high)) == ["ModelDataDrift", "ModelDataDriftCritical"]


def test_drift_of_an_output_is_a_rule_of_its_own():
    assert fired(check(verdict(), verdict("output", feature="score", severity=Severity.LOW))) == ["ModelOutputDrift"]
    assert fired(check(verdict(), verdict("output", feature="score"))) == []


def test_built_in_rules_know_performance_and_traffic():
    doubtful = verdict("performance", "warning", Severity.MEDIUM, "f1")
    sure = verdict("performance", "critical", Severity.HIGH, "f1")
    assert fired(check(doubtful)) == ["ModelPerformanceDrop"]
    assert fired(check(sure)) == ["ModelPerformanceDrop", "ModelPerformanceDropCritical"]
    assert fired(check(verdict(status="no_data"), n_predictions=0)) == ["ModelNoTraffic"]
