"""The laws of profiles for columns made of facets: any split in any order gives the same bytes."""

from __future__ import annotations

import datetime as dt
import functools
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.errors import FormatError, MergeError
from driftwell.profiles import Profile, Reference, merge_profiles, profile

KINDS = {"t": "text", "v": "vector"}
MOMENTS = st.none() | st.datetimes() | st.datetimes(dt.datetime(2025, 1, 1), dt.datetime(2026, 1, 1))
TEXTS = (
    st.none()
    | st.text(max_size=12)
    | st.lists(st.sampled_from(["the", "a", "cat", "Dog", "øl"]), max_size=6).map(" ".join)
)
FLOATS = st.floats(-5, 5) | st.floats(allow_nan=True, allow_infinity=True)
VECTORS = st.none() | st.lists(FLOATS, min_size=3, max_size=3)
SERIES = st.none() | st.lists(st.none() | FLOATS, max_size=6)
ROW = st.tuples(MOMENTS, MOMENTS, TEXTS, VECTORS, SERIES)
ROWS = st.lists(ROW, max_size=14)
SCHEMA = pa.schema([
    ("d", pa.timestamp("us")), ("timestamp", pa.timestamp("us")), ("t", pa.string()),
    ("v", pa.list_(pa.float64())), ("s", pa.list_(pa.float64())),
])  # fmt: skip
PLAIN = pytest.mark.parametrize("plain", [False, True], ids=["with a reference", "without one"])


def table(rows: list[Any]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


@functools.cache
def reference() -> Reference:
    rng = np.random.default_rng(7)
    n = 300
    start = dt.datetime(2025, 3, 1)
    rows = [
        (
            start + dt.timedelta(seconds=float(rng.exponential(1e6))),
            start + dt.timedelta(seconds=float(rng.exponential(1e7))),
            " ".join(rng.choice(["the", "cat", "dog", "a"], rng.integers(0, 5))),
            rng.normal(size=3).tolist(),
            rng.normal(size=rng.integers(0, 9)).tolist(),
        )
        for _ in range(n)
    ]
    return Reference.from_data(table(rows), kinds=KINDS, name="law")


def made(rows: list[Any], *, plain: bool) -> Profile:
    return profile(table(rows), kinds=KINDS) if plain else profile(table(rows), reference())


@PLAIN
@settings(deadline=None, max_examples=50)
@given(rows=ROWS, data=st.data())
def test_any_split_in_any_order_gives_the_same_bytes(plain: bool, rows: list[Any], data: st.DataObject) -> None:
    whole = made(rows, plain=plain).to_bytes()
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    parts = [shuffled[i:j] for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    built = [made(part, plain=plain) for part in parts]
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == whole


@PLAIN
@settings(deadline=None, max_examples=25)
@given(first=ROWS, second=ROWS, third=ROWS)
def test_merge_is_associative_and_has_an_identity(
    plain: bool, first: list[Any], second: list[Any], third: list[Any]
) -> None:
    a, b, c = (made(rows, plain=plain) for rows in (first, second, third))
    together = a.merge(b).merge(c).to_bytes()
    assert a.merge(b.merge(c)).to_bytes() == c.merge(a).merge(b).to_bytes() == together
    empty = made([], plain=plain)
    assert a.merge(empty).to_bytes() == empty.merge(a).to_bytes() == a.to_bytes()


@settings(deadline=None, max_examples=25)
@given(parts=st.lists(st.tuples(ROWS, st.booleans()), min_size=2, max_size=4), data=st.data())
def test_batches_without_event_times_merge_in_any_order(parts: list[Any], data: st.DataObject) -> None:
    built = [
        profile(table(rows) if timed else table(rows).drop_columns("timestamp"), reference()) for rows, timed in parts
    ]
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == merge_profiles(built).to_bytes()
    cut = data.draw(st.integers(1, len(built) - 1))
    halves = merge_profiles(built[:cut]).merge(merge_profiles(built[cut:]))
    assert halves.to_bytes() == merge_profiles(built).to_bytes()


@PLAIN
@settings(deadline=None, max_examples=25)
@given(rows=ROWS)
def test_codec_round_trip(plain: bool, rows: list[Any]) -> None:
    one = made(rows, plain=plain)
    for edges in (True, False):
        data = one.to_bytes(edges=edges)
        assert Profile.from_bytes(data).to_bytes(edges=edges) == data
    if not plain:
        bare = Profile.from_bytes(one.to_bytes(edges=False), reference())
        assert bare.to_bytes() == one.to_bytes()


def test_many_rows_split_at_random_give_the_same_bytes() -> None:
    """Blocks, chunks of vectors and matrix products of other shapes must not show."""
    rng = np.random.default_rng(5)
    n = 5_000
    rows = pa.table({
        "d": pa.array(rng.integers(-(2**62), 2**62, n), pa.timestamp("ns")),
        "t": [" ".join(map(str, rng.integers(0, 50, rng.integers(0, 7)))) for _ in range(n)],
        "v": pa.array(list(rng.normal(size=(n, 37))), pa.list_(pa.float32(), 37)),
        "s": pa.array([rng.normal(size=k) for k in rng.integers(0, 30, n)], pa.list_(pa.float64())),
    })  # fmt: skip
    for ref in (Reference.from_data(rows, kinds={"t": "text"}), None):
        whole = profile(rows, ref, kinds={"t": "text"}).to_bytes()
        order = rows.take(pa.array(rng.permutation(n)))
        cuts = [0, 1, 2, 1_500, 1_503, 4_999, n]
        parts = [order.slice(i, j - i) for i, j in pairwise(cuts)]
        assert merge_profiles(profile(p, ref, kinds={"t": "text"}) for p in parts).to_bytes() == whole
    shuffled = Reference.from_data(order, kinds={"t": "text"})
    assert shuffled.id == Reference.from_data(rows, kinds={"t": "text"}).id


@settings(deadline=None, max_examples=100)
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_damaged_reference_file_is_refused_or_unharmed(at: float, flip: int, cut: bool) -> None:
    whole = reference().to_json()
    place = int(at * len(whole))
    altered = bytearray(whole)
    altered[place] ^= flip
    try:
        found = Reference.from_json(whole[:place] if cut else bytes(altered))
    except FormatError:
        return
    assert found.id == reference().id
    assert found.profile.to_bytes() == reference().profile.to_bytes()


def test_different_kinds_and_bins_never_merge() -> None:
    with pytest.raises(MergeError, match="datetime in one profile and series in another"):
        profile({"a": pa.array([0], pa.timestamp("s"))}).merge(profile({"a": [[1.0]]}))
    with pytest.raises(MergeError, match="series in one profile and numeric in another"):
        profile({"a": [[1.0]]}).merge(profile({"a": [1.0]}))
    other = profile(table([]), Reference.from_data({"s": [[1.0]]}))
    with pytest.raises(MergeError, match="differ"):
        made([], plain=False).columns["s"].merge(other.columns["s"])  # type: ignore[arg-type]
