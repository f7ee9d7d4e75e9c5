"""Profiles of tables: what they hold with and without a reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from driftwell.errors import BadInput, ColumnError
from driftwell.profiles import Profile, Reference, merge_profiles, profile
from driftwell.profiles.format.codec import merge_states, summaries


def test_profile_without_a_reference_holds_totals() -> None:
    p = profile({"age": [20.0, 30.0, None], "city": ["Oslo", "Oslo", "Bergen"], "member": [True, False, None]})
    age, city, member = p.columns["age"], p.columns["city"], p.columns["member"]
    assert (age.count, age.missing, age.mean, age.min, age.max) == (2, 1, 25.0, 20.0, 30.0)
    assert age.std == pytest.approx(np.std([20, 30], ddof=1))
    assert (age.distinct, age.quantile(0.5), age.rank_error) == (2, 20.0, 0.0)
    assert (city.count, city.distinct, city.missing) == (3, 2, 0)
    assert (member.kind, member.count, member.missing) == ("boolean", 2, 1)
    assert (p.n_rows, p.edges_id) == (3, "plain")


def test_kinds_of_a_plain_profile_can_be_said() -> None:
    p = profile({"code": [1, 2, 2]}, kinds={"code": "categorical"})
    assert p.columns["code"].kind == "categorical"
    assert p.columns["code"].distinct == 2


def test_column_of_no_kind_is_unread_with_its_reason() -> None:
    p = profile({"x": [1.0], "wait": pa.array([0], pa.duration("us"))})
    assert list(p.columns) == ["x"]
    assert "duration" in p.unread["wait"]


def test_profile_with_a_reference_counts_in_its_bins() -> None:
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0], "prediction": ["a", "b", "b"]})
    p = profile({"x": [2.0, 9.0], "prediction": ["a", "c"], "further": [1, 2]}, ref)
    assert p.edges_id == ref.edges_id
    assert list(p.columns) == ["x"]
    assert list(p.outputs) == ["prediction"]
    assert list(p.states) == ["x", "(prediction)"]
    assert p.columns["x"].bins_id == ref.bins["x"].id


def test_profile_lacking_a_column_of_the_reference_is_an_error() -> None:
    ref = Reference.from_data({"age": [1.0, 2.0], "city": ["a", "b"]})
    with pytest.raises(ColumnError, match=r"lacks 'age' \(is it 'agee'\?\); if a column was renamed"):
        profile({"agee": [1.0], "city": ["a"]}, ref)


def test_changed_type_leaves_the_other_columns() -> None:
    ref = Reference.from_data({"age": [1.0, 2.0], "city": ["a", "b"]})
    p = profile({"age": ["x", "y"], "city": ["a", "a"]}, ref)
    assert list(p.columns) == ["city"]
    assert "type of the column changed" in p.unread["age"]


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(BadInput, match="no profile to merge"):
        merge_profiles([])


def test_merging_bytes_is_merging_profiles() -> None:
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0]})
    parts = [profile({"x": part}, ref) for part in ([1.0, 1.5], [], [7.0, None])]
    want = merge_profiles(parts).to_bytes(edges=False)
    assert merge_states([part.to_bytes(edges=False) for part in parts]) == want


def test_summaries_read_totals_without_unpacking() -> None:
    p = profile({"x": [1.0, 2.5, None], "c": ["a", None, None]})
    found = summaries(p.to_bytes(edges=False))
    x = found["x"]
    assert (x.kind, x.n, x.missing, x.min, x.max) == ("numeric", 2, 1, 1.0, 2.5)
    assert x.centre + x.total / 2**x.shift / x.n == 1.75
    assert (found["c"].kind, found["c"].missing) == ("categorical", 2)


def test_sizes_of_leaves_are_sparse() -> None:
    """A leaf of few rows takes about what they take, not what the reference's bins would."""
    rng = np.random.default_rng(0)
    ref = Reference.from_data({"x": rng.normal(size=50_000)})
    assert len(profile({"x": [0.5]}, ref).to_bytes(edges=False)) < 180
    assert len(profile({"x": rng.normal(size=20_000)}, ref).to_bytes(edges=False)) < 3_000


def test_bytes_can_be_given_their_bins_back() -> None:
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0], "score": [0.1, 0.2, 0.3]})
    p = profile({"x": [1.0, 2.0], "score": [0.1, 0.9]}, ref)
    bare = Profile.from_bytes(p.to_bytes(edges=False))
    assert bare.columns["x"].quantile(0.5) is None
    full = Profile.from_bytes(p.to_bytes(edges=False), ref)
    assert full.columns["x"].quantile(0.5) == p.columns["x"].quantile(0.5) is not None
    assert full.to_bytes() == p.to_bytes()
