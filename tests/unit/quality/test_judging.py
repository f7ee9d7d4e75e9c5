"""Rules of all rows, examples, broken columns, and what a profile certifies. Counts are made here from the rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference
from driftwell.quality import expected_volume, judge_quality, learn_rules
from driftwell.quality.outside import at_least_outside

RNG = np.random.default_rng(7)
LEARNT = {"x": RNG.normal(size=1_000), "k": RNG.choice(["a", "b"], 1_000)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.from_data(LEARNT)


def only(reference: Reference, table: Any, rule: dict[str, Any], **more: Any) -> Any:
    rules = learn_rules(reference, {"*": dict.fromkeys(["type", "invalid", "missing", "range", "allowed", "frozen"],
                                                       False) | rule})  # fmt: skip
    (found,) = judge_quality(reference, reference.profile_of(table), rules=rules, **more).verdicts
    return found


# -- all rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "status"), [(49, "critical"), (50, "warning"), (100, "ok"), (400, "ok"),
                                            (800, "warning"), (801, "critical")])  # fmt: skip
def test_volume_is_judged_by_its_limits(reference, n, status):
    rows = {"x": np.zeros(n), "k": ["a"] * n}
    found = only(reference, rows, {"volume": [100, 400]})
    assert (found.status, found.value, found.column) == (status, n, None)


def test_no_rows_at_all_are_too_few(reference):
    assert only(reference, {"x": np.zeros(0), "k": pa.array([], pa.string())}, {"volume": [1, 9]}).status == "critical"


def test_volume_may_come_from_earlier_windows(reference):
    rows = {"x": np.zeros(30), "k": ["a"] * 30}
    assert only(reference, rows, {"volume": "earlier"}).status == "no_data"
    assert only(reference, rows, {"volume": "earlier"}, volume=(40, 200)).status == "warning"
    assert expected_volume([100, 80, 120, 90]) is None


@pytest.mark.parametrize(("minutes", "status"), [(119, "ok"), (121, "warning"), (241, "critical")])
def test_freshness_is_the_age_of_the_newest_row(reference, minutes, status):
    found = only(reference, LEARNT, {"freshness": "PT2H"}, freshness=timedelta(minutes=minutes))
    assert (found.status, found.value, found.threshold) == (status, minutes * 60, 7_200)


def test_without_an_age_freshness_is_not_judged(reference):
    assert only(reference, LEARNT, {"freshness": "PT2H"}).status == "no_data"


def test_repeated_rows_are_counted_and_shown(reference):
    rows = pa.table({"x": [1.0, 2.0, 1.0, 1.0, None, None], "k": ["a", "a", "a", "b", "b", "b"]})
    found = only(reference, rows, {"duplicates": 0.1}, rows=rows)
    assert (found.status, found.count, found.n, found.rows) == ("warning", 2, 6, (2, 5))
    assert found.examples == ("x=1, k=a", "x=missing, k=b")
    assert only(reference, rows, {"duplicates": 0.5}, rows=rows).status == "ok"


def test_a_reference_without_repeats_teaches_the_rule(reference):
    rows = pa.table({name: np.concatenate([values[:60], values[:40]]) for name, values in LEARNT.items()})
    result = judge_quality(reference, reference.profile_of(rows), rows=rows)
    assert [(v.rule, v.column, v.status, v.count) for v in result.failed] == [("duplicates", None, "critical", 40)]
    assert (
        judge_quality(reference, reference.profile_of(rows), rows=lambda: pytest.fail("read for nothing")).failed == ()
    )


def test_a_reference_of_few_distinct_rows_does_not():
    few = Reference.from_data({"a": [1.0, 2.0] * 100, "k": ["x", "y"] * 100})
    assert "duplicates" not in {rule.kind for rule in learn_rules(few)}


# -- examples ------------------------------------------------------------------------------------------------------


def test_examples_are_values_and_rows_of_what_failed(reference):
    rows = {"x": LEARNT["x"][:100].copy(), "k": LEARNT["k"][:100].astype(object)}
    rows["x"][40:70] = 1e6
    rows["k"][10:50] = None
    given = pa.table(rows)
    found = {v.rule: v for v in judge_quality(reference, reference.profile_of(given), rows=given).failed}
    assert found["range"].examples == (1_000_000,)
    assert found["range"].rows == (40, 41, 42, 43, 44)
    assert (found["missing"].examples, found["missing"].rows) == ((), (10, 11, 12, 13, 14))


def test_rows_are_read_only_where_something_failed(reference):
    asked: list[int] = []

    def read() -> pa.Table:
        asked.append(1)
        return pa.table({"x": [1e9, -1e9] * 100, "k": ["a", "b"] * 100})

    judge_quality(reference, reference.profile_of(LEARNT), rows=read)
    assert asked == []
    assert judge_quality(reference, reference.profile_of(read()), rows=read).failed[0].rows == (0, 1, 2, 3, 4)


# -- what a profile certifies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_count_outside_is_never_too_high_and_exact_beyond_the_reference(reference, seed):
    rng = np.random.default_rng(seed)
    values = rng.choice([rng.normal(0, 1, 300), rng.normal(0, 30, 300), rng.standard_cauchy(300)], axis=0)
    values[: seed % 3] = np.inf
    low, high = sorted(rng.normal(0, 4, 2))
    state = reference.profile_of({"x": values, "k": ["a"] * 300}).columns["x"]
    truth = int(np.sum((values < low) | (values > high)))
    bound = at_least_outside(state, low, high)
    assert (bound > 0) == (truth > 0)
    assert bound <= truth
    ends = LEARNT["x"].min(), LEARNT["x"].max()
    assert at_least_outside(state, *ends) == np.sum((values < ends[0]) | (values > ends[1]))


def test_values_that_are_all_far_out_are_all_counted(reference):
    state = reference.profile_of({"x": np.full(200, 500.0), "k": ["a"] * 200}).columns["x"]
    assert at_least_outside(state, -10, 10) == 200
