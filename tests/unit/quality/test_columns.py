"""Each rule of a column. Chances are computed here by scipy's Fisher test or by counting, never by the package."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import fisher_exact

from driftwell import Reference
from driftwell.quality import QualityResult, judge_quality, learn_rules
from driftwell.quality.verdicts import chance
from driftwell.results import QualityVerdict, Severity
from driftwell.testing import inject

N = 2_000


def table(n: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    celsius = rng.normal(15, 8, n)
    gaps = rng.normal(size=n)
    gaps[: n // 10] = np.nan
    return {
        "celsius": celsius,
        "age": rng.integers(18, 90, n),
        "gaps": gaps,
        "city": np.array(["Oslo", "Bergen", "Lima"])[rng.integers(0, 3, n)],
        "rare": rng.choice([0.0, 1.0], n, p=[0.99, 0.01]),
        "member": rng.random(n) < 0.4,
        "constant": np.full(n, 7.0),
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.from_data(table(N))


def judged(reference: Reference, rows: Any, settings: Any = None) -> QualityResult:
    return judge_quality(reference, reference.profile_of(rows), rules=learn_rules(reference, settings))


def one(result: QualityResult, column: str, rule: str) -> QualityVerdict:
    (found,) = [v for v in result.verdicts if (v.column, v.rule) == (column, rule)]
    return found


def with_missing(n: int, gone: int) -> dict[str, Any]:
    rows = table(n, seed=1)
    rows["celsius"][:gone] = np.nan
    return rows


# -- chance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "n", "after", "m"), [(0, 40, 3, 20), (5, 100, 9, 50), (10, 10, 3, 10), (0, 7, 7, 7)]
)
def test_chance_is_the_one_sided_fisher_test(before, n, after, m):
    expected = fisher_exact([[after, m - after], [before, n - before]], alternative="greater").pvalue
    assert chance(before, n, after, m) == pytest.approx(expected, rel=1e-9)


def test_with_none_before_it_is_the_chance_that_the_largest_of_all_are_current():
    # Of C(n + m, k) equally likely places of the k largest values, C(m, k) lie among the current ones.
    assert chance(0, 30, 4, 12) == pytest.approx(comb(12, 4) / comb(42, 4), rel=1e-9)


# -- missing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "gone", "status"),
    [
        (500, 0, "ok"),
        (500, 25, "ok"),
        (500, 50, "warning"),
        (500, 101, "warning"),
        (500, 260, "critical"),
        (50, 2, "ok"),
        (50, 20, "warning"),
        (50, 40, "critical"),
    ],
)
def test_missing_values_above_the_reference(reference, n, gone, status):
    found = one(judged(reference, with_missing(n, gone)), "celsius", "missing")
    assert (found.status, found.count, found.n) == (status, gone, n)
    assert found.value == pytest.approx(gone / n)


def test_a_share_that_chance_explains_is_no_fault():
    small = Reference.from_data({"x": np.where(np.arange(40) < 4, np.nan, np.arange(40.0))})
    rows = {"x": np.where(np.arange(20) < 5, np.nan, np.arange(20.0))}
    found = one(judged(small, rows), "x", "missing")
    assert found.value == 0.25 > found.threshold
    assert (found.status, found.p_value) == ("ok", pytest.approx(fisher_exact([[5, 15], [4, 36]], "greater").pvalue))


def test_the_reference_s_own_share_is_no_fault(reference):
    assert one(judged(reference, table(5_000, seed=3)), "gaps", "missing").status == "ok"
    rows = inject(table(500, seed=3), "missing", "gaps", 0.9)
    assert one(judged(reference, rows), "gaps", "missing").status == "critical"


def test_a_missing_category_counts(reference):
    rows = inject(table(300, seed=2), "missing", "city", 0.7)
    found = one(judged(reference, rows), "city", "missing")
    assert (found.status, found.count) == ("critical", 210)


# -- type and cells that cannot be read ----------------------------------------------------------------------------


def test_an_absent_column_is_broken_and_spares_the_others(reference):
    rows = table(300)
    del rows["celsius"]
    result = judge_quality(reference, reference.profile_table(pa.table(rows)))
    found = one(result, "celsius", "type")
    assert (result.broken, found.status, found.reason) == (("celsius",), "critical", "the column is absent")
    assert [v.rule for v in result.verdicts if v.column == "celsius"] == ["type"]


def test_text_where_numbers_were_is_another_type(reference):
    result = judged(reference, {**table(300), "age": ["old"] * 300})
    assert result.broken == ("age",)
    assert one(result, "age", "type").status == "critical"


def test_columns_that_were_not_asked_for_are_not_judged(reference):
    profiled = reference.profile_of(table(300), columns=["age"])
    assert {v.column for v in judge_quality(reference, profiled).verdicts} == {"age"}


@pytest.mark.parametrize(("bad", "status"), [(1, "ok"), (6, "warning"), (90, "critical")])
def test_cells_that_cannot_be_read_are_told_from_missing_ones(reference, bad, status):
    rows = {**table(200), "age": ["?"] * bad + [40] * 100 + [50] * (100 - bad)}
    result = judged(reference, rows)
    assert (one(result, "age", "invalid").status, one(result, "age", "invalid").count) == (status, bad)
    assert one(result, "age", "missing").status == "ok"


# -- range ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [50, 500, 5_000])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda c: c * 1_000, "critical"),
        (lambda c: c + 273.15, "warning"),  # Kelvin: far away, but all together, as a shift is
        (lambda c: c * 9 / 5 + 32, "warning"),  # Fahrenheit: next to that range, where drift might lead too
    ],
)
def test_another_unit_is_told(reference, n, change, status):
    rows = table(n, seed=4)
    rows["celsius"] = change(rows["celsius"])
    found = one(judged(reference, rows), "celsius", "range")
    low, high = reference.profile.columns["celsius"].min, reference.profile.columns["celsius"].max
    assert found.status == status
    assert found.count == np.sum((rows["celsius"] < low) | (rows["celsius"] > high))


def test_a_few_rows_in_another_unit_are_a_fault_too(reference):
    rows = table(1_000, seed=4)
    rows["celsius"][:30] = rows["celsius"][:30] * 1_000 + 5_000
    found = one(judged(reference, rows), "celsius", "range")
    assert (found.status, found.count) == ("critical", 30)


def test_a_new_largest_value_is_none(reference):
    rows = table(500, seed=4)
    rows["celsius"][0] = 1e6
    assert one(judged(reference, rows), "celsius", "range").status == "ok"


def test_a_moved_mean_is_drift_and_no_fault(reference):
    for deviations in (2.0, 5.0, 10.0):
        rows = inject(table(500, seed=4), "mean_shift", "celsius", deviations)
        assert judged(reference, rows).broken == ()


def test_infinities_are_outside(reference):
    rows = table(500, seed=4)
    rows["celsius"][:60] = np.inf
    found = one(judged(reference, rows), "celsius", "range")
    assert (found.status, found.count) == ("critical", 60)


def test_a_constant_that_varies_now_is_outside_its_range(reference):
    rows = {**table(500), "constant": np.arange(500.0)}
    assert one(judged(reference, rows), "constant", "range").status == "warning"


# -- categories ----------------------------------------------------------------------------------------------------


def test_new_categories_are_named_and_counted(reference):
    rows = table(300, seed=5)
    rows["city"][:100] = "OSLO"
    rows["city"][100:120] = "?"
    found = one(judged(reference, rows), "city", "allowed")
    assert (found.status, found.count, found.examples) == ("warning", 120, ("OSLO", "?"))


def test_categories_in_another_spelling_are_a_warning(reference):
    rows = table(300, seed=5)
    rows["city"] = np.char.upper(rows["city"])
    found = one(judged(reference, rows), "city", "allowed")
    assert (found.status, found.count) == ("warning", 300)


def test_one_row_of_a_new_category_is_no_fault(reference):
    rows = table(5_000, seed=5)
    rows["city"][0] = "Paris"
    assert one(judged(reference, rows), "city", "allowed").status == "ok"


def test_an_open_set_of_categories_teaches_no_rule():
    open_set = Reference.from_data({"id": [f"user {i}" for i in range(500)]})
    assert "allowed" not in {rule.kind for rule in learn_rules(open_set)}


# -- constant and frozen -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "status"), [("celsius", "critical"), ("age", "critical"), ("city", "warning"), ("member", "warning")]
)
@pytest.mark.parametrize("n", [50, 500, 5_000])
def test_a_frozen_column_is_broken_unless_its_value_was_common(reference, column, status, n):
    rows = inject(table(n, seed=6), "freeze", column, 1.0)
    found = one(judged(reference, rows), column, "frozen")
    assert (found.status, found.count) == (status, n)


def test_nearly_frozen_is_frozen(reference):
    rows = inject(table(1_000, seed=6), "freeze", "age", 0.97)
    found = one(judged(reference, rows), "age", "frozen")
    assert found.status == "critical"
    values = rows.column("age").to_numpy()
    assert found.count == np.unique(values, return_counts=True)[1].max()


def test_half_frozen_is_not(reference):
    assert one(judged(reference, inject(table(1_000), "freeze", "age", 0.5)), "age", "frozen").status == "ok"


def test_what_was_rare_may_be_absent_but_not_for_long(reference):
    # 1 % of ones: none in 100 rows is ordinary (0.99**100 is 37 %), none in 5,000 is not.
    short, long = ({**table(n), "rare": np.zeros(n)} for n in (100, 5_000))
    assert one(judged(reference, short), "rare", "frozen").status == "ok"
    assert one(judged(reference, long), "rare", "frozen").status == "warning"


def test_a_value_the_reference_never_had_may_freeze_too(reference):
    found = one(judged(reference, {**table(200), "age": np.full(200, -1)}), "age", "frozen")
    assert (found.status, found.examples) == ("critical", (-1.0,))


def test_swapped_columns_are_broken(reference):
    both = Reference.from_data({"a": np.arange(1_000.0), "b": np.arange(1_000.0) * 50 + 3_000})
    rows = {"a": np.arange(0.0, 1_000, 2), "b": np.arange(0.0, 1_000, 2) * 50 + 3_000}
    assert judged(both, rows).broken == ()
    swapped = judged(both, inject(rows, "swap", ("a", "b"), 1.0))
    # Most of b lies beyond 3,996, three widths above a; a lies below b, but within three widths of it.
    assert {v.column: v.status for v in swapped.failed} == {"a": "critical", "b": "warning"}


# -- all together --------------------------------------------------------------------------------------------------


def test_unchanged_rows_pass_every_rule(reference):
    result = judged(reference, table(1_000, seed=9))
    assert (result.status, result.broken, result.failed) == ("ok", (), ())
    assert len(result.verdicts) == sum(rule.column is not None for rule in learn_rules(reference))


def test_without_rows_nothing_is_said(reference):
    result = judge_quality(reference, reference.profile_of({name: v[:0] for name, v in table(5).items()}))
    assert (result.status, result.verdicts) == ("no_data", ())


@pytest.mark.parametrize("n", [1, 2])
def test_a_reference_of_two_rows_accuses_nobody(n):
    tiny = Reference.from_data({"x": [1.0, 2.0], "k": ["a", "b"]})
    result = judged(tiny, {"x": np.arange(n) * 1e9, "k": ["c"] * n})
    assert result.failed == ()


def test_the_worst_comes_first_and_all_is_plain_json(reference):
    rows = inject(inject(table(500, seed=1), "missing", "city", 0.1), "unit", "celsius", 1_000)
    result = judged(reference, rows)
    assert [(v.column, v.rule, v.severity) for v in result.failed] == [
        ("celsius", "range", Severity.HIGH),
        ("city", "missing", Severity.MEDIUM),
    ]
    document = result.to_dict()
    assert (document["status"], document["n_failed"], document["broken"]) == ("critical", 2, ["celsius"])
    assert document["verdicts"][0]["severity"] == "high"
