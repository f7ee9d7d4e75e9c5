"""Facets of embedding vectors, against NumPy and the Gaussian kernel itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from driftwell.profiles import Reference, profile
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState

Floats = npt.NDArray[np.float64]


def state(p: Any, name: str = "emb") -> CompositeState:
    found = p.columns[name]
    assert isinstance(found, CompositeState)
    return found


def clouds(n: int = 400, d: int = 12, seed: int = 0) -> Floats:
    """Four far clouds of equal size."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 10, (4, d))
    return centres[np.arange(n) % 4] + rng.normal(0, 0.5, (n, d))


def test_norms_are_numpys() -> None:
    rows = clouds()
    norm = state(Reference.from_data({"emb": rows}).profile).facets["norm"]
    want = np.linalg.norm(rows, axis=1)
    assert norm.mean == pytest.approx(want.mean(), rel=1e-9)
    assert norm.max == pytest.approx(want.max(), rel=1e-15)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-20, 1.0, 1e20, 1e300])
def test_any_scale_is_read(scale: float) -> None:
    rows = np.array([[3.0, 4.0], [6.0, 8.0], [0.0, 0.0]] * 10) * scale
    made = state(Reference.from_data({"emb": rows}).profile)
    assert made.facets["norm"].max == pytest.approx(10 * scale, rel=1e-3)
    assert made.count == 30


def test_far_clouds_have_centroids_of_their_own() -> None:
    """Four clouds far apart: no centroid serves two of them."""
    made = state(Reference.from_data({"emb": clouds()}).profile)
    found = made.facets["centroid"]
    assert isinstance(found, CategoricalState)
    assert found.count == 400
    one = state(Reference.from_data({"emb": clouds()}).profile_of({"emb": clouds()[::4]})).facets["centroid"]
    assert isinstance(one, CategoricalState)
    own = one.counts > 0
    assert found.counts[own].sum() == one.counts[own].sum() == 100


def test_projections_keep_distances_on_average() -> None:
    """Achlioptas 2003: the mean square of a projection on random signs over √d is the mean square of the elements."""
    rng = np.random.default_rng(3)
    rows = rng.normal(0, 2, (2_000, 300))
    facets = state(Reference.from_data({"emb": rows}).profile).facets
    for i in range(4):
        assert facets[f"projection_{i}"].std == pytest.approx(2.0, rel=0.1)
        assert abs(facets[f"projection_{i}"].mean) < 5 * 2 / np.sqrt(2_000)  # type: ignore[operator, arg-type]


def test_random_features_estimate_mmd() -> None:
    """Against the kernel matrix on the same rows, to the error of 64 frequencies, about 1/√64 of the signal."""
    before, after = clouds(400), clouds(400, seed=1)
    after[:, :] += 1.5
    ref = Reference.from_data({"emb": before})
    a, b = state(ref.profile), state(ref.profile_of({"emb": after}))
    estimate = np.sum((a.sums / a.count - b.sums / b.count) ** 2) / 64 / 2.0**30

    def squares(x: Floats, y: Floats) -> Floats:
        return np.asarray(((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2))

    pairs = squares(before, before)
    median = np.median(pairs[pairs > 0])
    x, y, xy = (np.exp(-d / median).mean() for d in (pairs, squares(after, after), squares(before, after)))
    exact = x + y - 2 * xy
    assert estimate == pytest.approx(exact, rel=0.5)
    same = state(ref.profile_of({"emb": clouds(400, seed=2)}))
    assert np.sum((a.sums / a.count - same.sums / same.count) ** 2) / 64 / 2.0**30 < exact / 20


def test_bytes_depend_on_no_type_order_or_layout() -> None:
    rows = clouds().astype(np.float32)
    ref = Reference.from_data({"emb": rows})
    assert ref.kinds == {"emb": "vector"}
    assert Reference.from_data({"emb": rows[::-1]}).id == ref.id
    lists = pa.array(rows.astype(np.float64).tolist(), pa.list_(pa.float64()))
    want = ref.profile.to_bytes()
    assert Reference.from_data({"emb": lists}, kinds={"emb": "vector"}).profile.to_bytes() == want
    for column in (lists, rows.astype(np.float64), np.asfortranarray(rows), pa.chunked_array([lists[:7], lists[7:]])):
        assert profile({"emb": column}, ref).to_bytes() == want


def test_vectors_of_another_length_are_that_columns_error() -> None:
    ref = Reference.from_data({"emb": clouds(d=3), "x": np.arange(400.0)})
    p = profile({"emb": clouds(d=5), "x": np.arange(400.0)}, ref)
    assert p.unread == {"emb": "vectors of 5 elements where the reference has 3"}
    assert list(p.columns) == ["x"]
    p = profile({"emb": [[1.0, 2.0, 3.0], [1.0]], "x": [1.0, 2.0]}, ref)
    assert p.unread == {"emb": "vectors of 1 to 3 elements where all must have one length"}


def test_missing_and_broken_vectors_are_counted() -> None:
    rows = pa.array(
        [[1.0, 2.0], None, [float("nan"), 1.0], [None, 1.0], [3.0, float("inf")]], pa.list_(pa.float64(), 2)
    )
    made = state(profile({"emb": rows}))
    assert (made.count, made.missing, made.invalid) == (1, 4, 3)
    assert made.facets["norm"].missing == 4


def test_vectors_without_elements_are_ignored_with_a_reason() -> None:
    ref = Reference.from_data({"emb": pa.array([[], []], pa.list_(pa.float64(), 0)), "x": [1.0, 2.0]})
    assert ref.ignored == {"emb": "vectors of 0 elements where 1 to 65,536 are read"}


@pytest.mark.parametrize("rows", [np.ones((50, 4)), np.zeros((50, 4)), np.array([[1.0, 2.0], [3.0, 4.0]])])
def test_equal_vectors_and_tiny_references(rows: Floats) -> None:
    ref = Reference.from_data({"emb": rows})
    again = state(ref.profile_of({"emb": rows}))
    assert again.count == len(rows)
    assert again.facets["centroid"].count == len(rows)
    assert Reference.from_json(ref.to_json()).id == ref.id


def test_reference_without_a_vector_knows_no_length() -> None:
    ref = Reference.from_data({"emb": pa.nulls(5, pa.list_(pa.float32(), 3)), "x": np.arange(5.0)})
    made = state(ref.profile)
    assert (ref.kinds["emb"], made.count, list(made.facets)) == ("vector", 0, ["norm"])


def test_elements_far_beyond_the_reference_saturate_but_the_norm_sees_them() -> None:
    ref = Reference.from_data({"emb": clouds()})
    made = state(ref.profile_of({"emb": clouds() * 1e200}))
    assert made.facets["norm"].max == pytest.approx(np.linalg.norm(clouds(), axis=1).max() * 1e200, rel=1e-12)
    assert np.isfinite(made.facets["projection_0"].max)  # type: ignore[arg-type]
