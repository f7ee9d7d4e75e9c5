"""Bytes that older versions wrote are read and merged on; sizes of the bytes that this one writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.errors import FormatError
from driftwell.profiles import Profile, Reference, merge_profiles, profile
from driftwell.profiles.format.codec import VERSION, encode
from driftwell.profiles.states.grid import MAX_CELLS

DATA = Path(__file__).parent / "data"

# What the files of format 1 were written from.
ROWS: dict[str, Any] = {
    "x": pa.array([1.5, -0.0, 2.25, None, math.inf, math.nan, 1e300, 5e-324, -7.0, 2.25], pa.float64(),
                  from_pandas=False),
    "c": ["a", "b", None, "a", "b", "a", "c", "c", "a", "b"],
}  # fmt: skip


def reference() -> Reference:
    return Reference.from_data({"x": [float(v) for v in range(1, 601)], "c": ["a", "b", "c"] * 200})


def old(name: str) -> bytes:
    return (DATA / f"{name}-v1.dwp").read_bytes()


def test_golden_files_are_of_version_1() -> None:
    assert [old(name)[3] for name in ("plain", "binned", "leaf")] == [1, 1, 1]
    assert profile(ROWS).to_bytes()[3] == VERSION == 2


@pytest.mark.parametrize("name", ["binned", "leaf"])
def test_profiles_of_version_1_are_those_of_the_same_rows_now(name: str) -> None:
    ref = reference()
    found = Profile.from_bytes(old(name), ref)
    assert found.to_bytes() == profile(ROWS, ref).to_bytes()
    twice = profile(
        {key: [*list(column)] * 2 for key, column in ROWS.items()} | {"x": pa.concat_arrays([ROWS["x"]] * 2)}, ref
    )
    assert found.merge(profile(ROWS, ref)).to_bytes() == twice.to_bytes()


def test_plain_profiles_of_version_1_have_all_but_a_grid() -> None:
    found, now = Profile.from_bytes(old("plain")), profile(ROWS)
    x, fresh = found.columns["x"], now.columns["x"]
    for name in ("count", "missing", "nan", "pos_inf", "mean", "std", "min", "max", "sum"):
        assert getattr(x, name) == getattr(fresh, name), name
    assert (x.quantile(0.5), x.rank_error, x.distinct) == (None, None, None)  # type: ignore[union-attr]
    assert found.columns["c"].newcomers == {"a": 4, "b": 3, "c": 2}  # type: ignore[union-attr]


def test_plain_profiles_of_version_1_merge_on_in_any_order() -> None:
    first, fresh, empty = Profile.from_bytes(old("plain")), profile(ROWS), profile(pa.table(ROWS).slice(0, 0))
    merged = first.merge(fresh)
    assert merged.columns["x"].mean == fresh.columns["x"].mean
    assert merged.columns["x"].quantile(0.5) is None  # half of the values are in no grid
    parts = [first, fresh, empty, fresh]
    assert merge_profiles(parts).to_bytes() == merge_profiles(parts[::-1]).to_bytes()
    assert empty.merge(first).to_bytes() == first.to_bytes()


def test_later_version_and_bytes_cut_short_are_refused() -> None:
    data = profile(ROWS).to_bytes()
    with pytest.raises(FormatError, match=r"newer Driftwell .* upgrade"):
        Profile.from_bytes(data[:3] + bytes([VERSION + 1]) + data[4:])
    for whole in (data, old("binned")):
        for length in (0, 3, 8, len(whole) // 2, len(whole) - 1):
            with pytest.raises(FormatError):
                Profile.from_bytes(whole[:length])


# -- sizes ---------------------------------------------------------------------------------------------------

N = 1_000_000
SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "integers": lambda rng, n: rng.poisson(1_000, n).astype(float),
    "many integers": lambda rng, n: rng.integers(0, 470, n).astype(float),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n)),
    "money": lambda rng, n: rng.exponential(20, n).round(2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_numeric_column_takes_less_than_4_kb(shape: str) -> None:
    rng = np.random.default_rng(0)
    rows = SHAPES[shape](rng, N)
    ref = Reference.from_data({"x": rows[:100_000]})
    own = len(encode(profile({"x": rows}, ref), edges=False))
    assert own <= 4_000


@pytest.mark.parametrize("shape", SHAPES)
def test_grid_takes_at_most_8_bytes_a_cell(shape: str) -> None:
    state = profile({"x": SHAPES[shape](np.random.default_rng(0), N)})
    assert len(state.to_bytes()) <= 1_400 + 8 * MAX_CELLS


def test_size_grows_with_columns_and_not_with_rows() -> None:
    rng = np.random.default_rng(1)
    ref = Reference.from_data({f"f{i}": rng.normal(size=5_000) for i in range(20)})

    def size(rows: int, columns: int) -> int:
        made = ref.profile_table(pa.table({f"f{i}": rng.normal(size=rows) for i in range(columns)}))
        return len(made.to_bytes(edges=False))

    assert size(200_000, 20) <= 20 * 4_000
    assert size(20_000, 20) <= 2.2 * size(20_000, 10)
