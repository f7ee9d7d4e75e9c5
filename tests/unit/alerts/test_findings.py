"""The line people read names what fell or moved; every expected sentence is written out by hand."""

from __future__ import annotations

import pytest

from driftwell.alerts import BUILT_IN_RULES, AlertRule, apply, metrics_of
from driftwell.alerts.findings import findings, p_words
from driftwell.stores import open_store


def verdict(signal: str, metric: str, value: float, threshold: float | None, **rest: object) -> dict:
    return {
        "signal": signal, "metric": metric, "value": value, "threshold": threshold, "status": "critical",
        "severity": "high", "feature": None, "p_value": None, "n": 1000, "reason": "why",
    } | rest  # fmt: skip


def check(*verdicts: dict, **rest: object) -> dict:
    return {
        "verdicts": list(verdicts), "sample_count": 1000, "severity": "high", "culprits": [],
        "drift_detected": any(v["signal"] == "drift" for v in verdicts),
        "performance_degraded": any(v["signal"] == "performance" for v in verdicts),
    } | rest  # fmt: skip


FELL = check(
    verdict("performance", "accuracy", 0.71, 0.8075),
    verdict("performance", "mae", 12.5, 10.5, severity="medium"),
    verdict("performance", "f1", 0.9, 0.8, severity="none"),
    performance={"baseline": {"accuracy": 0.85, "f1": 0.84}},
)
MOVED = check(
    verdict("drift", "psi", 0.12, 0.1, feature="hour", severity="medium"),
    verdict("drift", "psi", 0.314159, 0.1, feature="dep_delay", p_value=0.0),
    verdict("drift", "chi_squared", 512.25, None, feature="carrier", p_value=3e-90, severity="medium"),
    verdict("drift", "ks", 0.02, 0.1, feature="calm", severity="none"),
    culprits=["dep_delay", "carrier", "hour"],
)


@pytest.mark.parametrize(
    ("found", "names", "words"),
    [
        (
            FELL,
            ["performance_degraded", "performance_severity"],
            "accuracy 0.71 is below its limit 0.8075 (baseline 0.85), n=1,000; "
            "mae 12.5 is above its limit 10.5, n=1,000",
        ),
        (
            MOVED,
            ["drift_detected"],
            "dep_delay: psi 0.314 ≥ 0.1; carrier: chi_squared 512, p < 1e-16; hour: psi 0.12 ≥ 0.1",
        ),
        (
            check(verdict("drift", "mmd", 0.0123, None, p_value=0.0099)),
            ["drift_detected"],
            "all columns together: mmd 0.0123, p = 0.0099",
        ),
        (
            check(verdict("output", "total_variation", 0.25, 0.1, feature="prediction")),
            ["output_drift"],
            "prediction: total_variation 0.25 ≥ 0.1",
        ),
        (MOVED, ["accuracy"], None),
        (FELL, ["drift_detected"], None),
        ({}, ["drift_detected"], None),
    ],
)
def test_what_fell_or_moved_is_named_worst_first(found, names, words):
    assert findings(found, names) == words


def test_of_many_columns_the_first_three_are_named():
    many = check(*(verdict("drift", "psi", 0.5, 0.1, feature=f"c{i}") for i in range(7)))
    assert findings(many, ["n_drifted"]) == "c0: psi 0.5 ≥ 0.1; c1: psi 0.5 ≥ 0.1; c2: psi 0.5 ≥ 0.1; and 4 more"


@pytest.mark.parametrize(
    ("p", "words"), [(0.5, "p = 0.5"), (0.012345, "p = 0.012"), (1.6e-12, "p = 1.6e-12"), (0.0, "p < 1e-16")]
)
def test_p_values_have_two_digits(p, words):
    assert p_words(p) == words


def test_the_stored_alert_says_it_and_keeps_the_summary_of_its_rule(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    rules = [*BUILT_IN_RULES, AlertRule("own", "sample_count > 1")]
    events = apply(store, "flights", "v1", FELL, metrics_of(FELL), rules, [], 1)
    said = {event["name"]: event["message"] for event in events}
    assert said["ModelPerformanceDrop"].startswith("accuracy 0.71 is below its limit 0.8075 (baseline 0.85), n=1,000")
    assert said["own"] == "sample_count is 1000 (rule: sample_count > 1)"
    kept = {alert["rule"]: alert for alert in store.get_alerts("flights")}
    assert kept["ModelPerformanceDrop"]["summary"] == (
        "The realized performance of the model is worse than its baseline."
    )
    assert kept["own"]["summary"] is None
    store.close()
