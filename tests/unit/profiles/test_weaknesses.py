"""``Reference.check``: each weakness found where it was put, and only there."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.errors import BadInput
from driftwell.profiles import Reference, Weakness
from driftwell.profiles.reference.weaknesses import CODES
from driftwell.results import Severity

N = 4_000
START = np.datetime64("2025-01-01", "us")
DOCS = Path(__file__).parents[3] / "docs" / "reference.md"


def sound(n: int = N, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"age": rng.normal(40, 10, n), "city": rng.choice(["Oslo", "Bergen"], n).tolist()}


def found(table: Any, **options: Any) -> dict[tuple[str, str | None], Severity]:
    return {(w.code, w.column): w.severity for w in Reference.from_data(table).check(**options)}


def times(n: int, span: timedelta) -> np.ndarray:
    return START + (np.arange(n) * (span.total_seconds() * 1e6 / (n - 1))).astype("timedelta64[us]")


def test_a_sound_reference_has_no_weakness() -> None:
    n = 10_000
    y = np.random.default_rng(1).integers(0, 2, n)
    table = sound(n) | {"true_label": y, "prediction": y, "timestamp": times(n, timedelta(days=30))}
    assert Reference.from_data(table).check(at=datetime(2025, 3, 1, tzinfo=UTC)) == ()


@pytest.mark.parametrize(
    ("n", "severity"), [(2, Severity.HIGH), (99, Severity.HIGH), (100, Severity.MEDIUM), (999, Severity.MEDIUM)]
)
def test_too_few_rows(n: int, severity: Severity) -> None:
    assert found(sound(n))["too_few_rows", None] == severity
    assert ("too_few_rows", None) not in found(sound(1_000))


def test_missing_heavy_columns() -> None:
    age = sound()["age"]
    half = [None if i % 2 else v for i, v in enumerate(age)]
    nan = np.where(np.arange(N) % 10 == 0, age, np.nan)
    less = [None if i % 2 and i < N // 2 else v for i, v in enumerate(age)]
    got = found(sound() | {"half": half, "nan": nan, "less": less, "none": [None] * N})
    assert {key: s for key, s in got.items() if key[0] == "missing_heavy"} == {
        ("missing_heavy", "half"): Severity.MEDIUM,
        ("missing_heavy", "nan"): Severity.MEDIUM,
        ("missing_heavy", "none"): Severity.HIGH,
    }


def test_constant_columns() -> None:
    got = found(sound() | {"country": ["NO"] * N, "zero": np.zeros(N), "flag": [True, None] * (N // 2)})
    assert {column for code, column in got if code == "constant_column"} == {"country", "zero", "flag"}


@pytest.mark.parametrize(
    ("repeated", "severity"), [(0, None), (30, None), (80, Severity.LOW), (2_000, Severity.MEDIUM)]
)
def test_duplicate_rows(repeated: int, severity: Severity | None) -> None:
    rows = pa.table(sound())
    table = pa.concat_tables([rows, rows.slice(0, repeated)])
    assert found(table).get(("duplicate_rows", None)) == severity


def test_alike_rows_of_coarse_columns_are_not_called_a_double_load() -> None:
    rng = np.random.default_rng(0)
    one = {f"k{i}": rng.integers(0, 40, N) for i in range(5)}
    table = {name: np.concatenate([values, values]) for name, values in one.items()}
    (weakness,) = [w for w in Reference.from_data(table).check() if w.code == "duplicate_rows"]
    assert weakness.severity == Severity.LOW
    assert "may have been loaded twice" in weakness.message


def test_few_categories_repeat_of_necessity() -> None:
    rng = np.random.default_rng(0)
    table = {"a": rng.integers(0, 5, N), "b": rng.choice(["x", "y"], N).tolist()}
    assert ("duplicate_rows", None) not in found(table)


# -- leakage -------------------------------------------------------------------------------------------------


def leaks(label: Any, **features: Any) -> set[str | None]:
    table = {**features, "true_label": label}
    return {w.column for w in Reference.from_data(table).check() if w.code == "label_leakage"}


def test_feature_that_alone_determines_the_label_is_named() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, N)
    assert leaks(
        label,
        copy=label,
        noisy=label + rng.normal(size=N) * 0.1,
        text=np.where(label == 1, "paid", "open").tolist(),
        strong=label + rng.normal(size=N) * 0.5,  # an AUC of .92
        noise=rng.normal(size=N),
        flag=label == 1,
    ) == {"copy", "noisy", "text", "flag"}


def test_leak_of_a_rare_class_of_many_classes_and_of_a_number() -> None:
    rng = np.random.default_rng(1)
    rare = (rng.random(N) < 0.05).astype(int)
    assert leaks(rare, leak=rare * 10.0 + rng.random(N), noise=rng.normal(size=N)) == {"leak"}
    classes = rng.integers(0, 4, N)
    names = np.array(["a", "b", "c", "d"])[classes].tolist()
    assert leaks(names, leak=classes + rng.random(N) * 0.9, noise=rng.normal(size=N)) == {"leak"}
    x = rng.normal(size=N)
    got = leaks(np.exp(x), same=x, folded=-(x**2), good=x + rng.normal(size=N) * 0.3)
    assert got == {"same"}


def test_a_label_of_one_class_or_none_at_all_cannot_leak() -> None:
    x = np.random.default_rng(0).normal(size=N)
    assert leaks(np.ones(N), x=x) == set()
    assert leaks([None] * N, x=x) == set()
    assert not [w for w in Reference.from_data({"x": x, "target": x > 0}).check() if w.code == "label_leakage"]


def test_identifiers_do_not_look_like_leaks() -> None:
    label = np.random.default_rng(0).integers(0, 2, N)
    assert leaks(label, customer=[f"c{i}" for i in range(N)], row=np.arange(N)) == set()


# -- time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "severity"),
    [
        (timedelta(hours=23), Severity.HIGH),
        (timedelta(hours=24), Severity.MEDIUM),
        (timedelta(days=6, hours=23), Severity.MEDIUM),
        (timedelta(days=7), None),
    ],
)
def test_time_span_against_day_and_week(span: timedelta, severity: Severity | None) -> None:
    table = sound() | {"timestamp": times(N, span)}
    assert found(table).get(("short_span", None)) == severity
    text = sound() | {"timestamp": [f"{t}Z" for t in times(N, span)]}
    assert found(text).get(("short_span", None)) == severity


def test_age_counts_from_the_last_event_else_from_the_building() -> None:
    dated = Reference.from_data(sound() | {"timestamp": times(N, timedelta(days=30))})  # ends on 2025-01-31

    def old(reference: Reference, *at: int, **options: Any) -> bool:
        return any(w.code == "old" for w in reference.check(at=datetime(*at, tzinfo=UTC), **options))

    assert not old(dated, 2025, 7, 29)
    assert old(dated, 2025, 8, 1)  # 181 days later
    assert old(dated, 2025, 2, 9, max_age=timedelta(days=7))
    undated = replace(Reference.from_data(sound()), created=datetime(2025, 1, 31, tzinfo=UTC))
    assert not old(undated, 2025, 7, 29)
    assert old(undated, 2025, 8, 1)
    assert not old(replace(undated, created=None), 2025, 8, 1)


def test_naive_moments_are_utc() -> None:
    ref = replace(Reference.from_data(sound()), created=datetime(2025, 1, 31))
    assert any(w.code == "old" for w in ref.check(at=datetime(2025, 8, 1)))


@pytest.mark.parametrize("options", [{"max_age": timedelta(0)}, {"max_age": 180}, {"at": "2025-01-01"}])
def test_moment_and_age_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Reference.from_data(sound()).check(**options)


def test_halves_that_differ_by_row_order() -> None:
    rng = np.random.default_rng(0)
    late = np.arange(N) >= N // 2
    table = sound() | {
        "moved": rng.normal(size=N) + late,
        "swapped": np.where(rng.random(N) < np.where(late, 0.8, 0.2), "a", "b").tolist(),
        "slightly": rng.normal(size=N) + 0.1 * late,
    }
    got = found(table)
    assert {column for code, column in got if code == "halves_differ"} == {"moved", "swapped"}
    shuffled = pa.table(table).take(rng.permutation(N))
    assert not [key for key in found(shuffled) if key[0] == "halves_differ"]


def test_halves_go_by_time_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(N)
    drifting = rng.normal(size=N) + 2 * np.arange(N) / N
    table = {"x": drifting[order], "timestamp": times(N, timedelta(days=30))[order]}
    messages = [w.message for w in Reference.from_data(table).check() if w.code == "halves_differ"]
    assert len(messages) == 1
    assert "by time" in messages[0]


def test_halves_of_equal_rows_seldom_alarm() -> None:
    # 20 columns that do not move, 15 references: at alpha .01 after Benjamini–Hochberg, and a distance of .1 that 2,500
    # rows a side hardly ever reach (Smirnov: p = 1e-6), not one is expected.
    for seed in range(15):
        rows = np.random.default_rng(seed).normal(size=(5_000, 20))
        assert not [key for key in found(rows) if key[0] == "halves_differ"]


# -- names ---------------------------------------------------------------------------------------------------


def test_identifiers_and_text() -> None:
    rng = np.random.default_rng(0)
    got = found(
        sound()
        | {
            "customer": [f"c{i}" for i in range(N)],
            "row": np.arange(N)[::-1],
            "words": [f"{i} Main Street" for i in range(N)],
            "zip": [str(v) for v in rng.integers(0, 300, N)],
            "quantity": rng.integers(0, 50, N),
        }
    )
    assert {key for key in got if key[0] in ("identifier", "near_unique_text")} >= {
        ("identifier", "customer"),
        ("identifier", "row"),
    }
    assert not {column for _, column in got} & {"zip", "quantity", "age"}


def test_free_text_counted_as_categories_is_told_apart() -> None:
    words = [f"order number {i}" for i in range(N)]
    ref = Reference.from_data(sound() | {"words": words}, kinds={"words": "categorical"})
    assert [(w.code, w.severity) for w in ref.check()] == [("near_unique_text", Severity.MEDIUM)]


def test_names_that_differ_by_case() -> None:
    values = sound()["age"]
    got = found({"Age": values, "age": values + 1, " age": values + 2, "city": values})
    assert [key for key in got if key[0] == "names_differ_by_case"] == [("names_differ_by_case", "Age")]


def test_lists_of_one_length_may_be_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(N, 3))
    lists = [list(row) for row in rows]
    got = found({"e": lists, "one": [row[:1] for row in lists], "odd": [lists[0][:2], *lists[1:]], "v": rows})
    assert {key: s for key, s in got.items() if key[0] == "lists_of_one_length"} == {
        ("lists_of_one_length", "e"): Severity.MEDIUM
    }


# -- as a whole ----------------------------------------------------------------------------------------------


def test_gravest_first_and_the_same_after_loading() -> None:
    y = np.random.default_rng(0).integers(0, 2, 500)
    ref = Reference.from_data(sound(500) | {"leak": y * 1.0, "one": [1] * 500, "true_label": y})
    weaknesses = ref.check()
    assert [w.code for w in weaknesses] == ["label_leakage", "too_few_rows", "constant_column"]
    assert Reference.from_json(ref.to_json()).check() == weaknesses


def test_without_a_sample_the_counts_alone_are_read() -> None:
    y = np.random.default_rng(0).integers(0, 2, 500)
    ref = Reference.from_data(sound(500) | {"leak": y * 1.0, "true_label": y})
    bare = replace(ref, sample=None, history=None)
    assert [w.code for w in bare.check()] == ["too_few_rows"]


def test_weakness_is_a_plain_value() -> None:
    weakness = Reference.from_data({"x": [1.0, 2.0]}).check()[0]
    assert weakness.to_dict() == {
        "code": "too_few_rows",
        "column": None,
        "severity": "high",
        "message": weakness.message,
    }
    with pytest.raises(FrozenInstanceError):
        weakness.code = "other"  # type: ignore[misc]
    assert isinstance(weakness, Weakness)


def test_every_code_is_documented() -> None:
    page = DOCS.read_text()
    for code in CODES:
        assert f"| `{code}` |" in page


@pytest.mark.parametrize(
    "table", [{"x": [None, None]}, {"x": [float("nan")] * 200}, {"x": [float("inf")] * 200}, {"c": [""]}]
)
def test_odd_references_can_be_checked(table: dict[str, Any]) -> None:
    assert Reference.from_data(table).check()
