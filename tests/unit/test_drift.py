"""``compare`` and ``DriftDetector``: every form of input, what they answer, and what they refuse."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy.stats import ks_2samp

import driftwell as dw
from driftwell.drift import compare_profile
from driftwell.errors import BadInput, ColumnError, MergeError, UnknownName
from driftwell.results import Severity


def table(n: int = 2_000, *, seed: int = 0, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.normal(40 + 10 * shift, 10, n),
        "fare": rng.lognormal(3, 1, n),
        "city": rng.choice(["Oslo", "Bergen", "Voss"], n).tolist(),
        "member": (rng.random(n) < 0.3).tolist(),
    }


# -- forms of input ------------------------------------------------------------------------------------------


def test_every_pair_of_forms_gives_the_same_answer(tmp_path: Path) -> None:
    before, after = pa.table(table()), pa.table(table(seed=1, shift=0.5))
    pyarrow.parquet.write_table(after, tmp_path / "after.parquet")
    want = dw.compare(before, after).columns["age"].value
    ref = dw.Reference.from_data(before)
    ref.save(tmp_path / "ref.json")
    for current in (after, pd.DataFrame(table(seed=1, shift=0.5)), pl.from_arrow(after), tmp_path / "after.parquet",
                    after.to_pylist(), after.to_reader(), after.to_pydict()):  # fmt: skip
        assert dw.compare(ref, current).columns["age"].value == want
    for reference in (before.to_reader(), pd.DataFrame(table()), ref, dw.Reference.load(tmp_path / "ref.json")):
        assert dw.compare(reference, after).columns["age"].value == want
    assert dw.compare(ref, dw.profile(after, ref)).columns["age"].value == want


def test_plain_arrays_are_compared_by_position() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(500, 2)), rng.normal([0, 3], 1, (400, 2))
    r = dw.compare(before, after)
    assert list(r.columns) == ["f1", "f0"]
    assert r.columns["f1"].drifted
    one = dw.compare(before[:, 0].tolist(), after[:, 1])
    assert list(one.columns) == ["value"]
    with pytest.raises(ColumnError, match="has 1 columns, 2 are expected: f0, f1"):
        dw.compare(before, after[:, :1])


def test_order_of_rows_and_columns_does_not_matter() -> None:
    before, after = pa.table(table()), pa.table(table(seed=1, shift=0.3))
    rng = np.random.default_rng(5)
    shuffled = after.take(rng.permutation(after.num_rows)).select(["member", "fare", "city", "age"])
    first, second = (
        dw.compare(before, after, ["psi", "ks", "wasserstein"]),
        dw.compare(before, shuffled, ["psi", "ks", "wasserstein"]),
    )
    for name in before.column_names:
        for method, measure in first.columns[name].measures.items():
            assert second.columns[name].measures[method] == measure


def test_renamed_column_is_suggested_and_mapped() -> None:
    after = pa.table(table(seed=1)).rename_columns(["age_years", "fare", "city", "member"])
    with pytest.raises(ColumnError, match="lacks 'age'"):
        dw.compare(table(), after)
    assert not dw.compare(table(), after, feature_map={"age_years": "age"}).drift_detected


def test_only_the_named_columns_are_needed_and_compared() -> None:
    after = {"age": table(seed=1, shift=1)["age"]}
    r = dw.compare(table(), after, columns=["age"])
    assert list(r.columns) == ["age"]
    assert r.drift_detected
    assert list(dw.compare(dw.Reference.from_data(table()), after, columns="age").columns) == ["age"]
    with pytest.raises(UnknownName, match="unknown column 'agee'"):
        dw.compare(table(), after, columns=["agee"])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"method": "pis"}, UnknownName, "did you mean 'psi'"),
        ({"method": {"age": "chi_squared"}}, BadInput, "chi_squared does not read numeric columns such as 'age'"),
        ({"method": {"agee": "psi"}}, UnknownName, "unknown column 'agee'"),
        ({"threshold": {"agee": 0.2}}, UnknownName, "unknown column or method 'agee'"),
        ({"multivariate": "mdm"}, UnknownName, "did you mean 'mmd'"),
        ({"quality": {"agee": False}}, UnknownName, "unknown column 'agee'"),
        ({"correction": "holm"}, UnknownName, "correction"),
        ({"decision": "threshold", "method": "t_test"}, BadInput, "t_test has no threshold"),
        ({"feature_map": {"nowhere": "age"}}, ColumnError, "nowhere"),
    ],
)
def test_bad_arguments_are_one_clear_error(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        dw.compare(table(), table(seed=1), **arguments)


def test_profiles_of_other_bins_are_refused() -> None:
    ref, other = dw.Reference.from_data(table()), dw.Reference.from_data(table(seed=9))
    with pytest.raises(MergeError, match="profile the rows again"):
        dw.compare(ref, dw.profile(table(seed=1), other))
    with pytest.raises(BadInput, match="already counted"):
        dw.compare(ref, dw.profile(table(seed=1), ref), feature_map={"a": "age"})


# -- what is answered ----------------------------------------------------------------------------------------


def test_no_change_is_ok() -> None:
    r = dw.compare(table(), table(seed=1))
    assert (r.status, r.drift_detected, r.severity) == ("ok", False, Severity.NONE)
    assert {c.status for c in r.columns.values()} == {"ok"}


def test_change_is_found_named_and_put_first() -> None:
    r = dw.compare(table(), table(seed=1, shift=1))
    assert (r.status, r.drift_detected, r.severity) == ("drift", True, Severity.HIGH)
    assert next(iter(r.columns)) == "age"
    age = r.columns["age"]
    assert (age.method, age.threshold, age.drifted, age.status, age.kind) == ("psi", 0.1, True, "drift", "numeric")
    assert (age.n_reference, age.n_current) == (2_000, 2_000)
    assert age.score == pytest.approx(ks_2samp(table()["age"], table(seed=1, shift=1)["age"]).statistic)
    assert r.scores["age"] == age.score == max(s for s in r.scores.values() if s is not None)
    assert r.summary["n_drifted"] == 1
    assert r.created.tzinfo is UTC


@pytest.mark.parametrize(("n", "m"), [(50, 2_000), (2_000, 50), (1, 1)])
def test_too_few_rows_are_no_data_never_ok(n: int, m: int) -> None:
    r = dw.compare(table(n), table(m, seed=1, shift=3))
    assert (r.status, r.drift_detected) == ("no_data", False)
    assert {c.status for c in r.columns.values()} == {"no_data"}
    assert "below 100 nothing is judged" in r.notes[-1]
    assert r.summary["n_no_data"] == 4


def test_minimum_can_be_lowered_to_one_row() -> None:
    r = dw.compare(table(), table(1, seed=1), min_samples=1)
    assert r.status == "ok"
    many = dw.compare(table(), table(30, seed=1, shift=3), min_samples=1)
    assert many.columns["age"].drifted


def test_no_rows_at_all() -> None:
    empty = pa.table(table(1)).slice(1)
    for min_samples in (1, 100):
        r = dw.compare(table(), empty, min_samples=min_samples)
        assert r.status == "no_data"
        assert r.columns["age"].n_current == 0
        assert r.columns["age"].missing_current is None
    assert dw.compare(table(), []).status == "no_data"
    with pytest.raises(BadInput, match="needs rows"):
        dw.compare(empty, table())


def test_missing_values_are_part_of_the_answer() -> None:
    after = table(seed=1)
    after["age"] = [None if i % 3 == 0 else v for i, v in enumerate(after["age"])]
    after["city"] = [None if i % 3 == 0 else v for i, v in enumerate(after["city"])]
    r = dw.compare(table(), after)
    for name in ("age", "city"):
        column = r.columns[name]
        assert column.drifted
        assert (column.missing_reference, column.missing_shift) == (0.0, pytest.approx(1 / 3, abs=1e-3))
    assert not r.columns["fare"].drifted


@pytest.mark.parametrize("empty", [[None] * 300, [float("nan")] * 300], ids=["null", "NaN"])
def test_column_gone_missing_is_broken_not_drifted(empty: list[Any]) -> None:
    r = dw.compare(table(), {**table(300, seed=1), "age": empty})
    assert (r.columns["age"].status, r.columns["age"].drifted) == ("broken", False)
    assert dw.compare(table(), {**table(300, seed=1), "age": empty}, quality=False).columns["age"].drifted
    assert r.columns["age"].missing_current == 1.0
    assert r.columns["age"].score == 1.0  # something against nothing
    # a column that was missing from the start and still is has not
    both = dw.compare({"x": empty, "y": [1.0, 2.0] * 150}, {"x": empty, "y": [1.0, 2.0] * 150})
    assert not both.columns["x"].drifted
    assert both.columns["x"].score is None


def test_infinities_and_nan_do_not_spoil_the_numbers() -> None:
    after = table(seed=1)
    after["age"] = after["age"].copy()
    after["age"][:10], after["age"][10:20] = np.inf, np.nan
    r = dw.compare(table(), after, ["psi", "ks", "wasserstein", "mean_shift"])
    assert r.columns["age"].status == "ok"
    assert r.columns["age"].missing_current == pytest.approx(10 / 2_000)
    assert r.metric("age", "wasserstein").n_current == 1_980


def test_constant_columns_are_compared() -> None:
    same = dw.compare({"x": [3.0] * 500}, {"x": [3.0] * 300})
    assert (same.status, same.columns["x"].value) == ("ok", pytest.approx(0, abs=0.01))
    moved = dw.compare({"x": [3.0] * 500}, {"x": [3.0001] * 300}, ["psi", "ks", "wasserstein", "mean_shift"])
    assert moved.columns["x"].drifted
    frozen = dw.compare({"x": table()["age"]}, {"x": [40.0] * 300})
    assert frozen.columns["x"].status == "broken"
    frozen = dw.compare({"x": table()["age"]}, {"x": [40.0] * 300}, quality=False)
    assert frozen.columns["x"].severity is Severity.HIGH


def test_new_categories_are_named_with_their_counts() -> None:
    after = table(seed=1)
    after["city"] = ["Flåm"] * 300 + ["Ålesund"] * 10 + after["city"][310:]
    city = dw.compare(table(), after).columns["city"]
    assert city.new_categories == {"Flåm": 300, "Ålesund": 10}
    assert city.drifted
    assert dw.compare(table(), table(seed=1)).columns["city"].new_categories == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"x": [0.0] * 10_000}, {"x": [0.0] * 470 + [1.0] * 30}),
        ({"x": [0.0] * 10_000}, {"x": [0.0] * 50 + [None] * 50}),
        ({"x": ["a"] * 10_000}, {"x": ["a"] * 50 + ["b"] * 50}),
        ({"x": ["a"] * 9_000 + ["b"] * 1_000}, {"x": ["a"] * 450 + ["B"] * 50}),
        ({"x": [True] * 10_000}, {"x": [True] * 50 + [False] * 50}),
    ],
    ids=["new number", "gone missing", "new category", "renamed category", "new boolean"],
)
def test_what_the_reference_never_had_is_seen_in_small_windows(before: dict[str, Any], after: dict[str, Any]) -> None:
    """What is new is expected only a few times in the smaller sample; it must not be pooled out of sight for that."""
    column = dw.compare(before, after).columns["x"]
    assert column.drifted
    assert column.p_value is not None
    assert column.p_value < 1e-6


@pytest.mark.parametrize("after", [[None] * 300, ["k7"], ["new"] * 300, ["k7", None] * 150])
def test_more_categories_than_have_cells_meet_anything(after: list[Any]) -> None:
    r = dw.compare(
        {"c": [f"k{i}" for i in range(3_000)]},
        {"c": after},
        ["psi", "chi_squared", "g_test"],
        min_samples=1,
        quality=False,
    )
    # Of the 3,000 names none can be told apart; only whether there is one is left to test.
    assert r.columns["c"].status == "drift" or None not in after
    assert r.columns["c"].drifted is (None in after)


def test_a_value_that_no_test_can_judge_is_no_verdict() -> None:
    """Identifiers: no name comes twice, so that the PSI is large and chi-squared has no cell to count in."""
    r = dw.compare({"id": [f"r{i}" for i in range(20_000)]}, {"id": [f"c{i}" for i in range(1_000)]}, quality=False)
    assert r.columns["id"].status == "no_data"
    assert "no test can say" in (r.columns["id"].reason or "")


def test_nothing_has_no_drift_score() -> None:
    """A quiet hour is not the farthest a column can be away."""
    rows = {"x": [1.0, 2.0] * 200, "c": ["a", "b"] * 200}
    reference = dw.Reference.from_data(rows)
    assert dw.compare(reference, {"x": np.array([]), "c": np.array([], "U1")}).scores == {"x": None, "c": None}
    gone = dw.compare(reference, {"x": np.full(400, np.nan), "c": [None] * 400}, quality=False)
    assert gone.scores == {"x": 1.0, "c": 1.0}


def test_a_test_that_reads_the_row_sample_says_so() -> None:
    rows, some = ({"x": np.random.default_rng(5).normal(size=6_000)[:n]} for n in (6_000, 500))
    column = dw.compare(dw.Reference.from_data(rows), some, "anderson_darling").columns["x"]
    assert column.measures["anderson_darling"].sampled
    assert "5,000 sampled reference" in (column.reason or "")
    column = dw.compare(rows, some, "anderson_darling").columns["x"]
    assert not column.measures["anderson_darling"].sampled


def test_columns_of_identifiers_do_not_alarm() -> None:
    ids = [f"user-{i}" for i in range(5_000)]
    assert not dw.compare({"id": ids[:3_000]}, {"id": ids[3_000:]}).drift_detected


def test_changed_type_is_an_error_of_its_column_alone() -> None:
    after = {**table(seed=1, shift=1), "fare": ["cheap"] * 2_000}
    r = dw.compare(table(), after)
    fare = r.columns["fare"]
    assert (fare.status, fare.drifted) == ("error", False)
    assert fare.error is not None
    assert "the type of the column changed" in fare.error
    assert r.columns["age"].drifted
    assert r.summary["n_errors"] == 1


def test_mixed_types_count_as_missing_where_they_cannot_be_read() -> None:
    fares: list[Any] = table(seed=1)["fare"].tolist()
    fares[:200] = ["n/a"] * 200
    column = dw.compare(table(), {**table(seed=1), "fare": fares}).columns["fare"]
    assert column.missing_current == pytest.approx(0.1)
    assert column.status in ("ok", "drift")


def test_columns_without_a_kind_are_noted() -> None:
    raw = pa.array([b"\x00"] * 2_000, pa.binary())
    r = dw.compare({**table(), "raw": raw}, {**table(seed=1), "raw": raw})
    assert "raw" not in r.columns
    assert r.notes[0].startswith("raw is not compared: columns of type binary")


def test_outputs_are_compared_beside_the_features() -> None:
    rng = np.random.default_rng(0)
    before = {**table(), "prediction": rng.integers(0, 2, 2_000), "score": rng.random(2_000)}
    after = {**table(seed=1), "prediction": [1] * 2_000, "score": rng.random(2_000)}
    r = dw.compare(before, after, threshold={"score": 0.5})
    assert set(r.columns) == {"age", "fare", "city", "member"}
    assert r.outputs["prediction"].drifted
    assert r.outputs["score"].threshold == 0.5
    assert not any(column.drifted for column in r.columns.values())
    assert r.drift_detected


def test_million_categories_stay_within_bounds() -> None:
    n = 1_000_000
    ids = pa.array(np.arange(n)).cast(pa.string())
    ref = dw.Reference.from_data(pa.table({"id": ids}))
    assert len(ref.to_json()) < 100_000
    tracemalloc.start()
    r = dw.compare(ref, pa.table({"id": pa.array(np.arange(n) + n // 2).cast(pa.string())}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # the names themselves, as Python text, are about 60 MB
    assert r.columns["id"].status in ("ok", "drift")
    assert json.dumps(r.to_dict())


# -- settings ------------------------------------------------------------------------------------------------


def test_list_of_methods_measures_each() -> None:
    asked = ["psi", "ks", "wasserstein", "jensen_shannon", "chi_squared", "mean_shift", "std_shift"]
    r = dw.compare(table(), table(seed=1), asked)
    assert set(r.columns["age"].measures) == set(asked) - {"chi_squared"}
    assert set(r.columns["city"].measures) >= {"psi", "jensen_shannon", "chi_squared"}


def test_methods_by_column_leave_the_default_to_the_others() -> None:
    r = dw.compare(table(), table(seed=1), {"age": ["ks", "t_test"], "city": "total_variation"})
    assert {name: c.method for name, c in r.columns.items()} == {
        "age": "ks",
        "fare": "psi",
        "city": "total_variation",
        "member": "psi",
    }


def test_thresholds_by_number_method_and_column() -> None:
    before, after = table(), table(seed=1, shift=0.5)
    assert dw.compare(before, after).columns["age"].drifted
    assert not dw.compare(before, after, threshold=0.5).columns["age"].drifted
    assert not dw.compare(before, after, threshold={"psi": 0.5}).columns["age"].drifted
    assert not dw.compare(before, after, threshold={"age": 0.5}).columns["age"].drifted
    assert dw.compare(before, after, threshold={"age": 0.05, "psi": 0.5}).columns["age"].drifted


def test_large_samples_need_more_than_significance() -> None:
    """At 100,000 rows a shift of a fiftieth of a standard deviation is significant and of no matter."""
    rng = np.random.default_rng(0)
    before, after = {"x": rng.normal(size=100_000)}, {"x": rng.normal(size=100_000) + 0.02}
    assert not dw.compare(before, after, "ks").drift_detected
    assert dw.compare(before, after, "ks", decision="p_value").drift_detected


def test_metric_gives_any_method_from_the_same_pass() -> None:
    r = dw.compare(table(), table(seed=1))
    assert r.metric("age", "psi") is r.columns["age"].measures["psi"]
    assert r.metric("age", "ks").value == pytest.approx(ks_2samp(table()["age"], table(seed=1)["age"]).statistic)
    with pytest.raises(UnknownName, match="unknown column 'agee'"):
        r.metric("agee", "psi")
    with pytest.raises(UnknownName, match="unknown method"):
        r.metric("age", "psii")
    with pytest.raises(BadInput, match="ks reads numeric columns; 'city' is categorical"):
        r.metric("city", "ks")


# -- reports -------------------------------------------------------------------------------------------------


def odd_results() -> list[dw.DriftResult]:
    huge = {"x": np.array([1e308, -1e308] * 100), "c": ["\u0000", "😀"] * 100}
    return [
        dw.compare(table(), table(seed=1, shift=1), [m["name"] for m in dw.methods()]),
        dw.compare(table(5), table(0)),
        dw.compare({"x": [1.0] * 200}, {"x": [2.0] * 200}, ["mean_shift", "std_shift", "t_test"]),
        dw.compare(huge, huge, ["psi", "ks", "wasserstein", "mean_shift"]),
        dw.compare(huge, {"x": np.array([np.inf, np.nan] * 100), "c": [None] * 200}),
        dw.compare({**table(), "prediction": [0, 1] * 1_000}, {**table(seed=1), "prediction": [1] * 2_000}),
    ]


@pytest.mark.parametrize("which", range(6))
def test_reports_are_plain_json(which: int, tmp_path: Path) -> None:
    r = odd_results()[which]
    document = r.to_dict()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(r.to_json()) == json.loads(text)
    assert (document["format"], document["format_version"]) == ("driftwell-drift", 1)
    for part in ("created", "status", "drift_detected", "severity", "summary", "notes", "scores", "columns", "outputs",
                 "quality", "multivariate", "reasons"):  # fmt: skip
        assert part in document
    r.to_json(tmp_path / "reports" / "r.json")
    assert json.loads((tmp_path / "reports" / "r.json").read_text()) == json.loads(text)
    assert r.to_html().lstrip().lower().startswith("<!doctype html>")
    frame = r.to_frame()
    assert frame.num_rows == len(r.columns)
    assert {"name", "drifted", "value", "p_adjusted", "severity"} <= set(frame.column_names)


def test_report_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    r = dw.compare(table(), table(seed=1))
    for write in (r.to_json, r.to_html):
        with pytest.raises(BadInput, match="cannot write"):
            write(tmp_path / "taken" / "report")


def test_results_of_no_columns_have_a_frame() -> None:
    assert dw.compare(table(), table(seed=1), columns=[]).to_frame().num_rows == 0


# -- the detector --------------------------------------------------------------------------------------------


def test_detector_answers_the_same_twice_and_never_changes() -> None:
    detector = dw.DriftDetector(table(), method="ks", threshold=0.15)
    before = detector.reference.id
    first = detector.detect(table(seed=1, shift=0.3))
    second = detector.detect(table(seed=1, shift=0.3))
    assert first.columns["age"].measures == second.columns["age"].measures
    assert detector.reference.id == before
    with pytest.raises(AttributeError):
        detector.threshold = 0.5  # type: ignore[misc]


def test_detector_preprocesses_both_sides() -> None:
    def logged(rows: dict[str, Any]) -> dict[str, Any]:
        return {"fare": np.log(np.asarray(rows["fare"]))}

    detector = dw.DriftDetector(table(), preprocess=logged)
    assert detector.reference.profile.columns["fare"].mean == pytest.approx(3, abs=0.1)
    assert list(detector.detect(table(seed=1)).columns) == ["fare"]


def test_detector_can_be_asked_about_another_reference() -> None:
    detector = dw.DriftDetector(table())
    shifted = table(seed=1, shift=1)
    assert detector.detect(shifted).drift_detected
    assert not detector.detect(shifted, reference=table(seed=2, shift=1)).drift_detected


def test_detector_checks_its_settings_at_once() -> None:
    with pytest.raises(UnknownName):
        dw.DriftDetector(table(), method="nope")
    with pytest.raises(BadInput, match="alpha"):
        dw.DriftDetector(table(), alpha=2)


def test_profile_and_reference_can_be_compared_again_without_rows() -> None:
    ref = dw.Reference.from_data(table())
    hours = [dw.profile(table(500, seed=i, shift=1), ref) for i in range(4)]
    r = compare_profile(ref, dw.merge_profiles(hours))
    assert r.columns["age"].drifted
    assert r.columns["age"].n_current == 2_000
