"""Updated references: which rows they have, what they keep, and a reservoir that is fair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from driftwell.errors import BadInput, ColumnError, NotSupported, UnknownName
from driftwell.profiles import Reference, updated_reference
from driftwell.profiles.reference.updating import UpdatePolicy, updated_rows


def x_of(first: int, last: int) -> dict[str, Any]:
    return {"x": np.arange(float(first), float(last))}


OLD = Reference.from_data(x_of(0, 1_000), name="m", version="v1")


def values(policy: dict[str, Any], *, new: Any = None, **options: Any) -> list[float]:
    rows, _ = updated_rows(OLD, x_of(1_000, 1_200) if new is None else new, policy, **options)
    found: list[float] = rows["x"].to_pylist()
    return found


# -- last ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 200, 201, 1_199, 1_200, 5_000])
def test_last_keeps_the_end_of_old_and_new_rows(n: int) -> None:
    want = [float(v) for v in range(1_200)][-n:]
    assert values({"last": n}, rows=x_of(0, 1_000)) == want


def test_last_without_raw_rows_fills_up_from_the_sample() -> None:
    found = values({"last": 300})
    assert found[-200:] == [float(v) for v in range(1_000, 1_200)]
    assert len(set(found[:100]) & set(range(1_000))) == 100


# -- reservoir -----------------------------------------------------------------------------------------------


def test_reservoir_is_the_same_for_one_seed() -> None:
    one, two = ({"reservoir_sampling": 300} for _ in range(2))
    assert values(one, seed=1) == values(two, seed=1) != values(two, seed=2)
    assert len(set(values(one))) == 300


def test_reservoir_that_holds_all_rows_keeps_them() -> None:
    assert values({"reservoir_sampling": 5_000}, rows=x_of(0, 1_000)) == [float(v) for v in range(1_200)]


def test_every_row_ever_seen_is_kept_equally_often_however_the_rows_came() -> None:
    # Algorithm R keeps each of N rows with probability n/N. Over 300 seeds the three batches are kept in proportion to
    # their sizes (scipy's chi-squared test; the reservoir is hypergeometric, so the statistic is below chi-squared).
    counts = np.zeros(3)
    for seed in range(300):
        ref = Reference.from_data(x_of(0, 60))
        rows: Any = x_of(0, 60)
        for batch in (x_of(60, 100), x_of(100, 120)):
            rows, seen = updated_rows(ref, batch, {"reservoir_sampling": 30}, seed=seed, rows=rows)
            ref = Reference.from_data(rows)
            object.__setattr__(ref, "seen", seen)
        assert (ref.n_rows, ref.seen) == (30, 120)
        kept = rows["x"].to_numpy()
        counts += np.histogram(kept, bins=[0, 60, 100, 120])[0]
    assert scipy.stats.chisquare(counts, 300 * 30 * np.array([0.5, 1 / 3, 1 / 6])).pvalue > 1e-4


def test_number_of_entering_rows_is_hypergeometric() -> None:
    entering = [sum(v >= 1_000 for v in values({"reservoir_sampling": 100}, seed=s)) for s in range(400)]
    law = scipy.stats.hypergeom(1_200, 200, 100)
    assert abs(np.mean(entering) - law.mean()) < 4 * law.std() / 20
    assert 0.75 < np.std(entering) / law.std() < 1.25


def test_reservoir_beyond_the_rows_that_were_kept_is_refused() -> None:
    large = Reference.from_data(x_of(0, 20_000))
    with pytest.raises(BadInput, match="needs more than the 5,000 rows kept of 20,000: ask for at most 5,000"):
        updated_reference(large, x_of(0, 100), {"reservoir_sampling": 6_000})
    new = updated_reference(large, x_of(0, 100), {"reservoir_sampling": 5_000})
    assert (new.n_rows, new.seen) == (5_000, 20_100)
    assert Reference.from_json(new.to_json()).seen == 20_100
    with pytest.raises(BadInput, match="kept of 20,100"):
        updated_reference(new, x_of(0, 100), {"reservoir_sampling": 5_001})


# -- what is taken over --------------------------------------------------------------------------------------


def scored(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.normal(40, 10, n),
        "code": rng.integers(0, 3, n),
        "city": rng.choice(["Oslo", "Bergen"], n).tolist(),
        "y_hat": rng.integers(0, 2, n),
        "y": rng.integers(0, 2, n),
        "at": np.datetime64("2025-01-01", "us") + np.arange(n).astype("m8[us]"),
    }


def test_new_reference_says_what_the_old_one_said() -> None:
    old = Reference.from_data(
        scored(500, 0), kinds={"code": "categorical"}, prediction="y_hat", label="y", timestamp="at", name="credit",
        version="v3", preprocessing="scale", performance={"accuracy": 0.8}, importance={"age": 2},
    )  # fmt: skip
    before = old.to_json()
    new = updated_reference(old, scored(200, 1), {"last": 400})
    for what in ("kinds", "output_kinds", "roles", "name", "version", "preprocessing", "performance", "importance"):
        assert getattr(new, what) == getattr(old, what), what
    assert (new.n_rows, new.parent) == (400, old.id)
    assert new.id != old.id
    assert old.to_json() == before
    assert updated_reference(old, scored(200, 1), {"last": 400}, version="v4").version == "v4"
    assert Reference.from_json(new.to_json()).parent == old.id


def test_outputs_are_kept_where_old_and_new_rows_have_them() -> None:
    old = Reference.from_data(scored(500, 0), prediction="y_hat", label="y", timestamp="at")
    rows = scored(200, 1)
    rows["prediction"] = rows.pop("y_hat")  # a live table calls it by the role's own name
    new = updated_reference(old, rows, {"last": 400})
    assert new.profile.outputs["prediction"].missing == 0
    del rows["prediction"]
    assert updated_reference(old, rows, {"last": 400}).output_kinds == {}


def test_types_of_old_and_new_rows_may_differ() -> None:
    old = Reference.from_data({"x": [1, 2, 3], "c": ["a", "b", "a"], "l": [[1], [2], []]})
    new = {"x": pa.array([1.5, None]), "c": pa.array(["a", None]).dictionary_encode(), "l": [[1.0], None]}
    found = updated_reference(old, new, {"last": 5})
    assert found.profile.columns["x"].missing == 1
    assert found.profile.columns["c"].counts.tolist() == [3, 1, 0]


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "error", "says"),
    [
        (5, BadInput, "a dict such as"),
        ({}, BadInput, "one of 'last' and 'reservoir_sampling'"),
        ({"last": 1, "reservoir_sampling": 1}, BadInput, "one of"),
        ({"last": 0}, BadInput, "positive number of rows. Got 0"),
        ({"last": True}, BadInput, "positive number"),
        ({"last": 2.5}, BadInput, "positive number"),
        ({"last": 5, "when_drifted": "yes"}, BadInput, "when_drifted is true or false"),
        ({"lats": 5}, UnknownName, "did you mean 'last'"),
    ],
)
def test_policy_that_cannot_be_read(policy: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        UpdatePolicy.of(policy)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"y": [1.0]}, "the table lacks 'x'"),
        ({"x": ["a"]}, "'x' cannot be numeric: text"),
        ({"x": np.empty(0)}, "no new rows"),
        (np.zeros((3, 2)), "has 2 columns, 1 are expected"),
    ],
)
def test_new_rows_that_do_not_fit(table: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        updated_reference(OLD, table, {"last": 10})


def test_neither_rows_nor_sample() -> None:
    from dataclasses import replace

    with pytest.raises(NotSupported, match="without a row sample: give the raw rows"):
        updated_reference(replace(OLD, sample=None), x_of(0, 10), {"last": 10})
    text = Reference.from_data({"note": [f"parcel {i} was late" for i in range(40)]})
    with pytest.raises(NotSupported, match="row sample does not hold note"):
        updated_reference(text, {"note": ["a b c"]}, {"last": 10})
    with pytest.raises(ColumnError, match="lacks 'x'"):
        updated_reference(OLD, x_of(0, 10), {"last": 10}, rows={"y": [1.0]})
