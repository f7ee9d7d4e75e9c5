"""States made of facets: sizes, what goes into leaves, and how they stand beside other columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.detectors.display import distribution
from driftwell.detectors.univariate import Pair
from driftwell.errors import FormatError
from driftwell.profiles import Profile, Reference, merge_profiles, profile
from driftwell.profiles.format.codec import summaries
from driftwell.profiles.states.composite import FACETS, CompositeState
from driftwell.stores.windows import empty_profile

N = 3_000


def rows(n: int = N, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    words = np.array([f"word{i}" for i in range(3_000)])
    return {
        "x": rng.normal(size=n),
        "c": rng.choice(list("abc"), n),
        "b": rng.random(n) < 0.5,
        "d": pa.array(rng.integers(1_700_000_000, 1_800_000_000, n) * 10**9 + rng.integers(0, 10**9, n)).cast(
            pa.timestamp("ns")
        ),
        "timestamp": pa.array(rng.integers(1_800_000_000, 1_900_000_000, n)).cast(pa.timestamp("s")),
        "t": [" ".join(row) for row in rng.choice(words, (n, 6))],
        "v": rng.normal(size=(n, 16)),
        "s": [rng.normal(size=k).tolist() for k in rng.integers(1, 20, n)],
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.from_data(rows())


def test_every_kind_is_inferred(reference: Reference) -> None:
    assert reference.kinds == {
        "x": "numeric", "c": "categorical", "b": "boolean", "d": "datetime", "t": "text", "v": "vector", "s": "series",
    }  # fmt: skip
    for name, state in reference.profile.columns.items():
        if isinstance(state, CompositeState):
            assert state.facets.keys() <= FACETS[state.kind].keys(), name


def test_reference_file_brings_everything_back(reference: Reference) -> None:
    found = Reference.from_json(reference.to_json())
    assert found.id == reference.id
    assert found.profile.to_bytes() == reference.profile.to_bytes()
    assert profile(rows(seed=1), found).to_bytes() == profile(rows(seed=1), reference).to_bytes()


def test_profile_of_no_rows_is_the_identity_for_every_kind(reference: Reference) -> None:
    empty, one = empty_profile(reference), profile(rows(50, 1), reference)
    assert list(empty.columns) == list(reference.kinds)
    assert not empty.unread
    assert empty.n_rows == 0
    assert merge_profiles([empty, one, empty]).to_bytes() == one.to_bytes()


@pytest.mark.parametrize(
    ("column", "limit"), [("x", 4_000), ("d", 10_000), ("t", 26_000), ("v", 25_000), ("s", 16_000)]
)
def test_stored_columns_are_small(reference: Reference, column: str, limit: int) -> None:
    """The bounds that docs/kinds.md states."""
    whole = len(reference.profile.to_bytes(edges=False))
    others = {name: state for name, state in reference.profile.columns.items() if name != column}
    rest = Profile(others, {}, reference.n_rows, reference.edges_id)
    assert whole - len(rest.to_bytes(edges=False)) < limit


def test_totals_are_read_without_unpacking(reference: Reference) -> None:
    found = summaries(profile(rows(50, 1), reference).to_bytes())
    assert (found["t"].kind, found["t"].n, found["t"].missing) == ("text", 0, 0)
    assert (found["x"].kind, found["x"].n) == ("numeric", 50)


def test_columns_some_batches_lack_are_missing_there() -> None:
    one, two = profile({"s": [[1.0], [2.0]]}), profile({"x": [1.0, 2.0, 3.0]})
    for merged in (one.merge(two), two.merge(one)):
        state = merged.columns["s"]
        assert isinstance(state, CompositeState)
        assert (state.count, state.missing, state.n_rows) == (2, 3, 5)
        assert (state.facets["length"].missing, state.facets["elements"].missing) == (3, 0)


def test_no_chart_is_drawn_of_the_whole(reference: Reference) -> None:
    state = reference.profile.columns["v"]
    assert distribution(Pair(state, state)) is None


def test_facets_read_like_columns_and_the_whole_has_no_mean(reference: Reference) -> None:
    state = reference.profile.columns["s"]
    assert isinstance(state, CompositeState)
    assert (state.mean, state.std, state.min, state.max, state.distinct, state.quantile(0.5)) == (None,) * 6
    assert state.repeated is None
    lengths = [len(record) for record in rows()["s"]]
    assert state.facets["length"].mean == pytest.approx(np.mean(lengths))


def test_only_facets_that_mean_drift_are_judged(reference: Reference) -> None:
    judged = {name: list(s.judged) for name, s in reference.profile.columns.items() if isinstance(s, CompositeState)}
    assert judged["d"] == ["hour_of_week", "lag"]
    assert "repeats" not in judged["t"]
    assert len(judged["v"]) == 6


def test_state_of_other_bins_is_refused(reference: Reference) -> None:
    other = Reference.from_data({"s": [[1.0, 2.0]]})
    stored = Profile.from_bytes(profile({"s": [[1.0]]}, other).to_bytes(edges=False))
    forged = Profile(stored.columns, {}, 1, reference.edges_id)
    with pytest.raises(FormatError, match="does not fit the bins"):
        reference.attach(forged)


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_references_of_every_kind(n: int) -> None:
    ref = Reference.from_data(rows(n), kinds={"t": "text"})
    made = profile(rows(40, 2), ref)
    assert not made.unread
    assert Profile.from_bytes(made.to_bytes()).to_bytes() == made.to_bytes()


def test_columns_that_are_all_missing_or_all_equal() -> None:
    n = 30
    columns = {
        "d": pa.array([0] * n, pa.timestamp("s")),
        "t": ["same words in each row"] * n,
        "v": np.full((n, 3), 2.0),
        "s": [[1.0, 1.0]] * n,
    }
    kinds = {"t": "text"}
    same = Reference.from_data(columns, kinds=kinds)
    none = {name: pa.nulls(n, found.type) for name, found in zip(columns, pa.table(plain(columns)), strict=True)}
    for table in (columns, none):
        made = profile(table, same)
        assert not made.unread
        assert all(state.n_rows == n for state in made.columns.values())
    nothing = Reference.from_data(none, kinds=kinds)
    assert not profile(columns, nothing).unread


def plain(columns: dict[str, Any]) -> dict[str, pa.Array]:
    return {n: pa.array(list(v)) if isinstance(v, np.ndarray) else pa.array(v) for n, v in columns.items()}
