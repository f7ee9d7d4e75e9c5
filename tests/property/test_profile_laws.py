"""The algebra of profiles, byte for byte: merging, splitting, ordering, Arrow types, and the bytes themselves."""

from __future__ import annotations

import functools
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.errors import FormatError, MergeError
from driftwell.profiles import Profile, Reference, merge_profiles, profile
from driftwell.profiles.states.categorical import MAX_NEWCOMERS

NUMBERS = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-100, 100),
    st.integers(-5, 5).map(float),
    st.sampled_from([-0.0, 0.0, 5e-324, -1.7976931348623157e308, 1e300]),
)
ROW = st.tuples(NUMBERS, st.none() | st.sampled_from("abcdefghij") | st.text(max_size=3), st.none() | st.booleans())
ROWS = st.lists(ROW, max_size=40)
SCHEMA = pa.schema([("x", pa.float64()), ("c", pa.string()), ("b", pa.bool_())])


def table(rows: list[Any]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


@functools.cache
def reference() -> Reference:
    rng = np.random.default_rng(7)
    n = 2_000
    x = np.where(rng.random(n) < 0.3, 0.0, rng.normal(0, 20, n))
    return Reference.from_data(
        {"x": x, "c": rng.choice(list("abcdef"), n), "b": rng.random(n) < 0.4},
        name="law",
        performance={"accuracy": 0.9},
    )


def made(rows: list[Any], *, plain: bool) -> Profile:
    return profile(table(rows), None if plain else reference())


# -- merging -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["with a reference", "without one"])
@settings(deadline=None)
@given(rows=ROWS, data=st.data())
def test_any_split_in_any_order_gives_the_same_bytes(plain: bool, rows: list[Any], data: st.DataObject) -> None:
    whole = made(rows, plain=plain).to_bytes()
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [shuffled[i:j] for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    built = [made(part, plain=plain) for part in parts]
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == whole


@pytest.mark.parametrize("plain", [False, True], ids=["with a reference", "without one"])
@settings(deadline=None)
@given(first=ROWS, second=ROWS, third=ROWS)
def test_merge_is_associative_and_commutative(
    plain: bool, first: list[Any], second: list[Any], third: list[Any]
) -> None:
    a, b, c = (made(rows, plain=plain) for rows in (first, second, third))
    together = a.merge(b).merge(c).to_bytes()
    assert a.merge(b.merge(c)).to_bytes() == together
    assert c.merge(a).merge(b).to_bytes() == together


@pytest.mark.parametrize("plain", [False, True], ids=["with a reference", "without one"])
@settings(deadline=None)
@given(rows=ROWS)
def test_profile_of_no_rows_is_the_identity(plain: bool, rows: list[Any]) -> None:
    one, empty = made(rows, plain=plain), made([], plain=plain)
    assert one.merge(empty).to_bytes() == empty.merge(one).to_bytes() == one.to_bytes()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_grids_beyond_their_cap_merge_to_the_same_bytes(seed: int, data: st.DataObject) -> None:
    """Thousands of distinct values of many magnitudes, so that the parts have grids of different shifts."""
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1_100, 4_000))
    spread = data.draw(st.sampled_from([0, 3, 200]))
    values = rng.normal(size=n) * 10.0 ** rng.integers(-spread, spread + 1, n)
    whole = profile({"x": values}).to_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    built = [profile({"x": part}) for part in np.split(rng.permutation(values), cuts)]
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == whole
    left = functools.reduce(Profile.merge, built)
    right = functools.reduce(lambda done, part: part.merge(done), reversed(built))
    assert left.to_bytes() == right.to_bytes() == whole


@settings(deadline=None)
@given(first=ROWS, second=ROWS)
def test_merge_after_decoding_is_the_same(first: list[Any], second: list[Any]) -> None:
    a, b = made(first, plain=False), made(second, plain=False)
    want = a.merge(b).to_bytes()
    decoded = [Profile.from_bytes(p.to_bytes()) for p in (a, b)]
    assert decoded[0].merge(decoded[1]).to_bytes() == want
    # without their bins, as leaves are stored, and given them back by the reference
    bare = [Profile.from_bytes(p.to_bytes(edges=False)) for p in (a, b)]
    assert reference().attach(bare[0].merge(bare[1])).to_bytes() == want
    # one side with its bins is enough
    assert decoded[0].merge(bare[1]).to_bytes() == bare[0].merge(decoded[1]).to_bytes() == want


@settings(deadline=None)
@given(names=st.lists(st.integers(0, 3 * MAX_NEWCOMERS), max_size=800), data=st.data())
def test_newcomers_beyond_the_cap_merge_to_the_same_names(names: list[int], data: st.DataObject) -> None:
    def of(part: list[int]) -> Profile:
        return profile({"x": [0.0] * len(part), "c": pa.array([f"n{i}" for i in part], pa.string()),
                        "b": pa.array([True] * len(part), pa.bool_())}, reference())  # fmt: skip

    cut = data.draw(st.integers(0, len(names)))
    whole = of(names)
    assert of(names[cut:]).merge(of(names[:cut])).to_bytes() == whole.to_bytes()
    state: Any = whole.columns["c"]
    assert len(state.newcomers) == min(len(set(names)), MAX_NEWCOMERS)
    assert state.other == len(names)
    for name, count in state.newcomers.items():
        assert count == names.count(int(name[1:]))


@settings(deadline=None)
@given(parts=st.lists(st.sets(st.sampled_from("pqrs"), min_size=1), min_size=2, max_size=4), data=st.data())
def test_columns_some_batches_lack_are_missing_there(parts: list[set[str]], data: st.DataObject) -> None:
    built = [profile({name: [1.0, 2.0] for name in sorted(names)}) for names in parts]
    merged = merge_profiles(built)
    for name, state in merged.columns.items():
        assert state.missing == 2 * sum(name not in names for names in parts)
        assert state.n_rows == merged.n_rows == 2 * len(parts)
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == merged.to_bytes()


@settings(deadline=None)
@given(data=st.data())
def test_reasons_of_unread_columns_merge_in_any_order(data: st.DataObject) -> None:
    unreadable = [
        {"c": ["a"], "b": [True]},
        {"x": ["text"], "c": ["a"], "b": [True]},
        {"x": [[1]], "c": ["a"], "b": [True]},
    ]
    built = [reference().profile_table(pa.table(columns)) for columns in unreadable]
    assert all(p.unread for p in built)
    assert merge_profiles(data.draw(st.permutations(built))).to_bytes() == merge_profiles(built).to_bytes()


def test_different_edges_never_merge() -> None:
    other = Reference.from_data({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "c"], "b": [True, False, True]})
    rows = table([(1.0, "a", True)])
    with pytest.raises(MergeError, match="different bins"):
        profile(rows, reference()).merge(profile(rows, other))
    with pytest.raises(MergeError, match="different bins"):
        profile(rows, reference()).merge(profile(rows))
    with pytest.raises(MergeError, match="differ"):
        profile(rows, reference()).columns["x"].merge(profile(rows, other).columns["x"])  # type: ignore[arg-type]
    with pytest.raises(MergeError, match="numeric in one profile and categorical"):
        profile({"a": [1.0]}).merge(profile({"a": ["x"]}))


# -- Arrow types ---------------------------------------------------------------------------------------------

EXACT_IN_FLOAT32 = st.lists(st.none() | st.floats(width=32) | st.integers(-100, 100).map(float), max_size=40)


@settings(deadline=None)
@given(EXACT_IN_FLOAT32)
def test_bytes_do_not_depend_on_the_float_type(values: list[float | None]) -> None:
    wide, narrow = pa.array(values, pa.float64()), pa.array(values, pa.float32())
    for ref in (None, numbers_only()):
        assert profile({"x": wide}, ref).to_bytes() == profile({"x": narrow}, ref).to_bytes()


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, 100), max_size=40))
def test_bytes_do_not_depend_on_the_integer_type(values: list[int | None]) -> None:
    for ref in (None, numbers_only()):
        want = profile({"x": pa.array(values, pa.float64())}, ref).to_bytes()
        for data in (pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float32(), pa.decimal128(25, 3)):
            assert profile({"x": pa.array(values, pa.int64()).cast(data)}, ref).to_bytes() == want, data


@settings(deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_bytes_do_not_depend_on_chunks(rows: list[Any], cuts: list[int]) -> None:
    whole = table(rows)
    bounds = sorted({0, *(min(c, len(rows)) for c in cuts), len(rows)})
    chunked = pa.concat_tables([whole.slice(0, 0), *(whole.slice(i, j - i) for i, j in pairwise(bounds))])
    assert profile(chunked, reference()).to_bytes() == profile(whole, reference()).to_bytes()


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=4), max_size=40))
def test_bytes_do_not_depend_on_the_text_type(values: list[str | None]) -> None:
    array = pa.array(values, pa.string())
    halves = pa.chunked_array(
        [array[: len(array) // 2].dictionary_encode(), array[len(array) // 2 :].dictionary_encode()]
    )
    want = profile({"c": array}).to_bytes()
    for other in (array.cast(pa.large_string()), array.cast(pa.string_view()), array.dictionary_encode(), halves):
        assert profile({"c": other}).to_bytes() == want


def test_bytes_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    columns = {f"x{i}": rng.normal(size=500) for i in range(8)}
    ref = Reference.from_data(columns)
    want = profile(columns, ref).to_bytes()
    monkeypatch.setattr(sys.modules["driftwell.profiles.profile"], "THREADED_CELLS", 1)
    assert profile(columns, ref).to_bytes() == want
    assert Reference.from_data(columns).id == ref.id


@functools.cache
def numbers_only() -> Reference:
    return Reference.from_data({"x": np.random.default_rng(1).normal(0, 30, 3_000).round(1)})


# -- bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["with a reference", "without one"])
@settings(deadline=None)
@given(rows=ROWS)
def test_codec_round_trip(plain: bool, rows: list[Any]) -> None:
    one = made(rows, plain=plain)
    for edges in (True, False):
        data = one.to_bytes(edges=edges)
        found = Profile.from_bytes(data)
        assert found.to_bytes(edges=edges) == data
        assert (found.n_rows, found.edges_id, found.unread) == (one.n_rows, one.edges_id, one.unread)


def leaf() -> bytes:
    rows = [(1.5, "a", True), (None, "new", None), (float("inf"), None, False), (1e300, "b", True)] * 5
    return made(rows, plain=False).to_bytes()


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_corrupt_bytes_are_one_clear_error(data: st.DataObject) -> None:
    whole = leaf()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        altered = bytearray(whole)
        for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3, unique=True)):
            altered[at] ^= data.draw(st.integers(1, 255))
        damaged = bytes(altered)
    with pytest.raises(FormatError):
        Profile.from_bytes(damaged)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_one_clear_error(data: bytes) -> None:
    for head in (b"", leaf()[:4], leaf()[:40]):
        with pytest.raises(FormatError):
            Profile.from_bytes(head + data)


def test_newer_bytes_say_upgrade() -> None:
    data = bytearray(leaf())
    data[3] += 1
    with pytest.raises(FormatError, match=r"newer Driftwell .* upgrade"):
        Profile.from_bytes(bytes(data))


@settings(deadline=None, max_examples=200)
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_damaged_reference_file_is_refused_or_unharmed(at: float, flip: int, cut: bool) -> None:
    """A flipped byte gives one clear error, unless it is in a part that is free to edit (name, baseline, spaces)."""
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


# -- batches without a value ---------------------------------------------------------------------------------

VALUES = {
    "numeric": st.floats(-5, 5),
    "categorical": st.sampled_from(["a", "b", "c"]),
    "boolean": st.booleans(),
    "datetime": st.datetimes(),
    "series": st.lists(st.floats(-5, 5), min_size=1, max_size=3),
}


@pytest.mark.parametrize("kind", VALUES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_batches_of_nulls_add_their_missing_rows_whatever_the_kind(kind: str, data: st.DataObject) -> None:
    """A column of nulls alone does not say its kind; in any order and grouping the bytes are those of all rows."""
    value = VALUES[kind]
    batches = data.draw(st.lists(st.lists(st.none() | value, max_size=4), min_size=1, max_size=4))
    batches.append([data.draw(value)])
    batches = data.draw(st.permutations(batches))
    built = [profile({"c": batch}) for batch in batches]
    cut = data.draw(st.integers(1, len(built)))
    groups = [merge_profiles(part) for part in (built[:cut], built[cut:]) if part]
    whole = profile({"c": [cell for batch in batches for cell in batch]}).to_bytes()
    assert merge_profiles(built).to_bytes() == merge_profiles(groups[::-1]).to_bytes() == whole


def test_columns_that_hold_values_of_two_kinds_never_merge() -> None:
    nothing, text, number = (profile({"c": cells}) for cells in ([None], ["a"], [1.0]))
    for order in ((nothing, text, number), (text, nothing, number), (number, text, nothing)):
        with pytest.raises(MergeError, match="in one profile and"):
            merge_profiles(order)
    nan = profile({"c": np.array([np.nan])})
    with pytest.raises(MergeError):
        nan.merge(text)
