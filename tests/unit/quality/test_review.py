"""What is broken and what is merely new, unusual or alike; every expectation is counted by hand from the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import driftwell as dw
from driftwell.quality import judge_quality, with_repeats
from driftwell.quality.words import apart, short

RNG = np.random.default_rng(11)
NORMAL = RNG.normal(size=2_000)


def status(reference: Any, current: Any, column: str = "x") -> str:
    return dw.compare({column: reference}, {column: current}).columns[column].status


def judged(reference: dw.Reference, rows: Any) -> dict[tuple[str | None, str], Any]:
    found = judge_quality(reference, reference.profile_of(rows))
    return {(v.column, v.rule): v for v in found.verdicts}


def test_a_column_of_empty_text_is_one_constant():
    result = dw.compare({"city": ["Oslo", "Bergen"] * 1_000}, {"city": [""] * 300})
    assert result.columns["city"].status == "broken"
    assert "the value ''" in str(result.columns["city"].reason)


def test_a_new_or_rare_constant_is_broken():
    assert status(NORMAL, [40.0] * 300) == "broken"
    assert status(["a", "b"] * 1_000, ["c"] * 300) == "broken"


@pytest.mark.parametrize("codes", [12, 24])
def test_a_calendar_code_that_fills_a_window_is_no_more_than_a_warning(codes):
    reference = dw.Reference.from_data({"n": np.arange(4_800.0) % codes, "s": [f"s{i % codes}" for i in range(4_800)]})
    found = judged(reference, {"n": [1.0] * 500, "s": ["s1"] * 500})
    assert (found["n", "frozen"].status, found["s", "frozen"].status) == ("warning", "warning")
    assert found["n", "frozen"].examples == (1,)


def test_new_categories_are_a_warning_when_learned_and_critical_when_given():
    reference = dw.Reference.from_data({"k": ["a", "b"] * 1_000})
    rows = {"k": ["c", "d"] * 150}
    assert judged(reference, rows)["k", "allowed"].status == "warning"
    result = dw.compare(reference, rows)
    assert result.columns["k"].status == "drift"
    given = dw.compare(reference, rows, quality={"k": {"allowed": ["a", "b"]}})
    assert given.columns["k"].status == "broken"


def test_unreadable_times_and_vectors_without_numbers_are_broken():
    times = np.datetime64("2024-01-01") + np.arange(2_000).astype("timedelta64[h]")
    reference = dw.Reference.from_data({"t": times.astype("datetime64[us]")})
    rows = ["2024-02-01T00:00:00"] * 100 + ["not a date"] * 200
    assert judged(reference, {"t": rows})["t", "invalid"].count == 200
    assert judged(reference, {"t": rows})["t", "invalid"].status == "critical"
    assert dw.compare(reference, {"t": ["not a date"] * 300}).columns["t"].status in ("broken", "error")
    vectors = dw.Reference.from_data({"v": list(RNG.normal(size=(2_000, 16)))}, kinds={"v": "vector"})
    found = judged(vectors, {"v": list(np.full((500, 16), np.nan))})
    assert (found["v", "invalid"].status, found["v", "invalid"].count) == ("critical", 500)


def test_one_vector_in_all_rows_is_broken():
    rows = RNG.normal(size=(2_000, 16))
    reference = dw.Reference.from_data({"v": list(rows)}, kinds={"v": "vector"})
    assert judged(reference, {"v": list(np.repeat(rows[:1], 300, axis=0))})["v", "frozen"].status == "critical"
    assert judged(reference, {"v": list(RNG.normal(size=(300, 16)))})["v", "frozen"].status == "ok"


@pytest.mark.parametrize("text", ["", "the same words"])
def test_one_text_in_all_rows_is_broken(text):
    texts = [" ".join(["word"] * int(k)) + f" {i}" for i, k in enumerate(RNG.integers(5, 60, 2_000))]
    reference = dw.Reference.from_data({"t": texts}, kinds={"t": "text"})
    assert judged(reference, {"t": [text] * 300})["t", "frozen"].status == "critical"
    assert judged(reference, {"t": texts[:300]})["t", "frozen"].status == "ok"


@pytest.mark.parametrize("values", [np.full(500, 1.7e308), np.array([1.7e308, -1.7e308] * 250)])
def test_the_largest_floats_are_counted_without_a_warning(values):
    (found,) = [v for v in dw.compare({"x": NORMAL}, {"x": values}).quality.verdicts if v.rule == "range"]
    assert found.count == 500  # all lie outside
    assert found.failed


def test_times_beyond_python_s_years_are_shown():
    pa = pytest.importorskip("pyarrow")
    reference = dw.Reference.from_data({"x": NORMAL, "t": pa.array(np.arange(2_000) * 3_600, pa.timestamp("s"))})
    rows = pa.table({"x": [1.0] * 300, "t": pa.array([2**61] * 300, pa.timestamp("s"))})
    profiled = reference.profile_of({"x": [1.0] * 300, "t": pa.array([0] * 300, pa.timestamp("s"))})
    (found,) = [v for v in judge_quality(reference, profiled, rows=rows).verdicts if v.rule == "duplicates"]
    assert found.examples == (f"x=1, t={2**61}",)


def test_numbers_are_short_and_told_apart():
    assert apart(1e15, 1e15 + 1) == ["1000000000000000", "1000000000000001"]
    assert apart(0.25, 1 / 3) == ["0.25", "0.333333"]
    assert apart(0.1234567, 0.1234568) == ["0.1234567", "0.1234568"]
    assert (short(3.0), short(-2.5), short(1 / 3)) == (3, -2.5, 0.333333)


def test_the_rows_of_a_reference_without_history_teach_how_many_repeat():
    pa = pytest.importorskip("pyarrow")
    plain = replace(dw.Reference.from_data({"x": NORMAL}), history=None)
    taught = with_repeats(plain, pa.table({"x": NORMAL}))
    rows = pa.table({"x": np.repeat(NORMAL[:200], 2)})
    (found,) = [v for v in judge_quality(taught, taught.profile_of(rows), rows=rows).verdicts if v.rule == "duplicates"]
    assert (found.status, found.count, found.n) == ("critical", 200, 400)  # each of 200 rows is there twice
    assert with_repeats(taught, rows) is taught
