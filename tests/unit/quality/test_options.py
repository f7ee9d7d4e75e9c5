"""The user's own limits, in place of learned ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from driftwell import Reference
from driftwell.errors import BadInput, UnknownName
from driftwell.quality import judge_quality, learn_rules


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.from_data({"age": np.arange(1_000.0) % 80, "country": ["NO", "SE"] * 500})


def kinds(reference: Reference, settings: Any) -> set[tuple[str | None, str]]:
    return {(rule.column, rule.kind) for rule in learn_rules(reference, settings)}


def statuses(reference: Reference, rows: Any, settings: Any) -> dict[tuple[str | None, str], tuple[str, int]]:
    found = judge_quality(reference, reference.profile_of(rows), rules=learn_rules(reference, settings))
    return {(v.column, v.rule): (v.status, v.count) for v in found.verdicts}


def test_what_is_learned(reference):
    learned = {(rule.column, rule.kind): rule.limit for rule in learn_rules(reference)}
    assert learned == {
        ("age", "type"): "numeric",
        ("age", "invalid"): 0.01,
        ("age", "missing"): 0.05,
        ("age", "range"): (0.0, 79.0),
        ("age", "frozen"): 0.95,
        ("country", "type"): "categorical",
        ("country", "invalid"): 0.01,
        ("country", "missing"): 0.05,
        ("country", "allowed"): ("NO", "SE"),
        ("country", "frozen"): 0.95,
    }


def test_rules_columns_and_kinds_can_be_switched_off(reference):
    everything = kinds(reference, None)
    assert kinds(reference, {"age": {"range": False}}) == everything - {("age", "range")}
    assert kinds(reference, {"age": False}) == {pair for pair in everything if pair[0] != "age"}
    assert kinds(reference, {"*": {"missing": False}}) == {pair for pair in everything if pair[1] != "missing"}
    assert kinds(reference, {"*": False}) == set()
    assert kinds(reference, {"*": False, "age": {"range": True}}) == {("age", "range")}


def test_a_range_given_counts_every_value_outside(reference):
    rows = {"age": [*([30.0] * 500), 119.0, 121.0, -3.0, np.inf], "country": ["NO", "SE"] * 252}
    settings = {"age": {"range": [0, 120], "frozen": False}}
    assert statuses(reference, rows, settings)["age", "range"] == ("warning", 3)


def test_a_missing_share_given_is_a_plain_limit(reference):
    rows = {"age": [*([None] * 11), *range(89)], "country": ["NO", "SE"] * 50}
    assert statuses(reference, rows, {"age": {"missing": 0.1}})["age", "missing"] == ("warning", 11)
    assert statuses(reference, rows, {"*": {"missing": 0.11}})["age", "missing"] == ("ok", 11)


def test_values_allowed_may_be_fewer_or_more_than_the_reference_had(reference):
    rows = {"age": np.arange(100.0) % 80, "country": ["NO"] * 60 + ["SE"] * 30 + ["DK"] * 10}
    assert statuses(reference, rows, {"country": {"allowed": ["NO", "SE", "DK"]}})["country", "allowed"] == ("ok", 0)
    assert statuses(reference, rows, {"country": {"allowed": ["NO", "DK"]}})["country", "allowed"] == ("warning", 30)
    assert statuses(reference, rows, None)["country", "allowed"] == ("warning", 10)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"agee": {"missing": 0.1}}, UnknownName, "did you mean 'age'"),
        ({"age": {"misssing": 0.1}}, UnknownName, "did you mean 'missing'"),
        ({"age": {"volume": [1, 2]}}, BadInput, r"write it under '\*'"),
        ({"age": {"allowed": ["a"]}}, BadInput, "allowed reads categorical columns; 'age' is numeric"),
        ({"country": {"range": [0, 1]}}, BadInput, "range reads numeric columns"),
        ({"age": {"range": [5, 1]}}, BadInput, "two numbers"),
        ({"age": {"range": "ab"}}, BadInput, "two numbers"),
        ({"age": {"missing": 1.5}}, BadInput, "a share from 0 to 1"),
        ({"age": {"type": "text"}}, BadInput, "true or false"),
        ({"country": {"allowed": "NO"}}, BadInput, "a list of values"),
        ({"*": {"freshness": "two hours"}}, BadInput, "ISO 8601"),
        ({"*": {"volume": [-1, 5]}}, BadInput, "row counts"),
        ({"age": 3}, BadInput, "False or a dict of rules"),
        (["age"], BadInput, "quality is False or a dict"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(reference, settings, error, says):
    with pytest.raises(error, match=says):
        learn_rules(reference, settings)


def test_limits_of_all_rows_are_read(reference):
    rules = {
        rule.kind: rule.limit for rule in learn_rules(reference, {"*": {"volume": [1e2, 200], "freshness": "PT2H"}})
    }
    assert (rules["volume"], rules["freshness"]) == ((100, 200), timedelta(hours=2))
