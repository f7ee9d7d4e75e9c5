"""Reference files: raw arrays, versions side by side, older documents, arguments that are no paths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftwell import compare
from driftwell.errors import BadInput, ColumnError
from driftwell.profiles import Profile, Reference, merge_profiles, profile


def saved(folder: Path, array: Any, **options: Any) -> Path:
    np.save(folder / "x.npy", array, **options)
    return folder / "x.npy"


# -- arrays --------------------------------------------------------------------------------------------------


def test_arrays_of_one_and_two_dimensions(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2))
    assert Reference.load(saved(tmp_path, rows[:, 0])).kinds == {"value": "numeric"}
    assert Reference.load(str(saved(tmp_path, rows))).feature_names == ["f0", "f1"]
    named = Reference.from_data(saved(tmp_path, rows), feature_names=["a", "b"])
    assert named.id == Reference.from_data({"a": rows[:, 0], "b": rows[:, 1]}).id
    assert named.sample is not None
    assert sorted(named.sample["a"].to_pylist()) == sorted(rows[:, 0])


@pytest.mark.parametrize(
    ("array", "error", "says"),
    [
        (np.empty(0), BadInput, "needs rows"),
        (np.empty((0, 3)), BadInput, "needs rows"),
        (np.zeros((2, 2, 2)), BadInput, "must have 1 or 2 dimensions"),
        (np.float64(3), BadInput, "must have 1 or 2 dimensions"),
        (np.array([1, "a", None], object), BadInput, r"x\.npy: .* pickled objects, which are never read"),
    ],
)
def test_arrays_that_are_no_reference(tmp_path: Path, array: Any, error: type[Exception], says: str) -> None:
    path = saved(tmp_path, array, allow_pickle=True)
    with pytest.raises(error, match=says):
        Reference.load(path)


def test_width_and_names_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="has 2 columns, 3 are expected: a, b, c"):
        Reference.from_data(saved(tmp_path, np.zeros((4, 2))), feature_names=["a", "b", "c"])


def test_file_that_is_no_array(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"not an array")
    with pytest.raises(BadInput, match=r"x\.npy"):
        Reference.load(tmp_path / "x.npy")


# -- versions ------------------------------------------------------------------------------------------------


def test_versions_stand_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for version, mean in (("v1", 0.0), ("v2", 2.0)):
        ref = Reference.from_data({"x": rng.normal(mean, size=500)}, name="m", version=version)
        ref.save(tmp_path / version / "reference_distribution.json")
    one, two = (Reference.load(tmp_path / v / "reference_distribution.json") for v in ("v1", "v2"))
    assert (one.name, one.version, two.name, two.version) == ("m", "v1", "m", "v2")
    assert one.id != two.id
    assert compare(one, two.sample).drift_detected
    assert not compare(one, one.sample).drift_detected


def test_ids_are_equal_just_when_the_content_is() -> None:
    rows = {"x": np.arange(100.0)}
    one = Reference.from_data(rows, name="a", version="v1")
    assert Reference.from_data(rows, name="b", version="v2").id == one.id
    assert replace(one, sample=None, history=None, parent="0" * 16).id == one.id
    assert Reference.from_data({"x": np.arange(101.0)}).id != one.id


# -- documents -----------------------------------------------------------------------------------------------


def test_documents_without_sample_and_digest_are_read() -> None:
    ref = Reference.from_data({"x": np.arange(200.0)}, performance={"accuracy": 0.8})
    document = json.loads(ref.to_json())
    for key in ("sample", "history", "digest", "parent", "seen"):
        del document[key]
    found = Reference.from_json(json.dumps(document).encode())
    assert (found.id, found.performance) == (ref.id, {"accuracy": 0.8})
    assert (found.sample, found.history, found.parent, found.seen) == (None, None, None, None)


def test_layout_of_the_json_does_not_matter() -> None:
    ref = Reference.from_data({"x": [0.1, 1e300, -0.0, None], "é": ["ø", "\U0001f600", "", "a"]})
    document = json.loads(ref.to_json())
    shuffled = json.dumps(dict(sorted(document.items())), indent=7, ensure_ascii=True).encode()
    assert Reference.from_json(shuffled).to_json() == ref.to_json()


def test_sample_and_history_survive() -> None:
    rng = np.random.default_rng(0)
    when = np.datetime64("2025-01-01", "us") + rng.integers(0, 10**12, 300).astype("m8[us]")
    rows = {"x": rng.normal(size=300), "s": [[1.0] * (i % 3) for i in range(300)], "when": when, "timestamp": when}
    ref = Reference.from_data(rows)
    found = Reference.from_json(ref.to_json())
    assert found.sample.equals(ref.sample)
    assert np.array_equal(found.history.later, ref.history.later)
    for what in ("repeated", "ordered_by", "start", "end"):
        assert getattr(found.history, what) == getattr(ref.history, what)
    assert found.history.start == np.min(when).astype("M8[s]").item().replace(tzinfo=found.history.start.tzinfo)


# -- what is no path, no reference, no profile ----------------------------------------------------------------


@pytest.mark.parametrize("path", [5, None, "", b"x.json"])
def test_what_is_no_path_is_one_clear_error(path: Any) -> None:
    with pytest.raises(BadInput, match="pass its path"):
        Reference.load(path)
    with pytest.raises(BadInput, match="pass its path"):
        Reference.from_data({"x": [1.0]}).save(path)


def test_what_is_no_profile_or_reference_is_one_clear_error() -> None:
    with pytest.raises(BadInput, match=r"from_bytes reads .* bytes. Got NoneType"):
        Profile.from_bytes(None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"reference is a Reference.* Got 'x'"):
        profile({"x": [1.0]}, "x")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"merge_profiles takes profiles\. Got int"):
        merge_profiles([1])  # type: ignore[list-item]
