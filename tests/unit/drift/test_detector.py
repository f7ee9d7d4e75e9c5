"""``DriftDetector``: what it records of its preprocessing, and updates that are new detectors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import driftwell as dw
from driftwell.errors import BadInput, ColumnError, InsufficientData


def table(n: int = 500, seed: int = 0, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"age": rng.normal(40 + shift, 10, n), "city": rng.choice(["Oslo", "Bergen"], n).tolist()}


def halved(rows: dict[str, Any], by: float = 2) -> dict[str, Any]:
    return {"age": np.asarray(rows["age"]) / by}


# -- preprocessing -------------------------------------------------------------------------------------------


def test_name_of_the_function_is_recorded() -> None:
    name = f"{__name__}.halved"
    for step in (halved, functools.partial(halved, by=2)):
        detector = dw.DriftDetector(table(), preprocess=step)
        assert detector.preprocessing == detector.reference.preprocessing == (name,)
    assert dw.DriftDetector(table()).preprocessing == ()


def test_steps_of_a_given_reference_stand() -> None:
    ref = dw.Reference.from_data(halved(table()), preprocessing="halve")
    detector = dw.DriftDetector(ref, preprocess=halved)
    assert detector.preprocessing == ("halve",)
    assert detector.reference is ref
    bare = dw.DriftDetector(dw.Reference.from_data(halved(table())), preprocess=halved)
    assert bare.preprocessing == (f"{__name__}.halved",)
    assert not bare.detect(table(seed=1)).drift_detected


def test_steps_are_names_functions_or_transformers() -> None:
    ref = dw.Reference.from_data(table(), preprocessing=["impute", np.log1p, halved, StandardScaler()])
    assert ref.preprocessing == (
        "impute",
        "numpy.log1p",
        f"{__name__}.halved",
        "sklearn.preprocessing._data.StandardScaler",
    )
    assert dw.Reference.from_data(table(), preprocessing="scale").preprocessing == ("scale",)


def test_preprocess_must_be_a_function() -> None:
    with pytest.raises(BadInput, match="preprocess is a function"):
        dw.DriftDetector(table(), preprocess="scale")  # type: ignore[arg-type]


# -- updates -------------------------------------------------------------------------------------------------


def test_update_is_a_new_detector_with_the_same_settings() -> None:
    first = dw.DriftDetector(table(), method="ks", threshold=0.15, alpha=0.01)
    before = first.reference.to_json()
    second = first.update_reference(table(300, seed=1), policy={"last": 400})
    assert (second.method, second.threshold, second.alpha) == ("ks", 0.15, 0.01)
    assert (second.reference.n_rows, second.reference.parent) == (400, first.reference.id)
    assert first.reference.to_json() == before


def test_the_rows_of_the_table_are_kept_through_updates() -> None:
    detector = dw.DriftDetector({"x": np.arange(6_000.0) % 7})
    for k in range(3):
        new = np.arange(500.0 * k, 500.0 * (k + 1)) % 7
        detector = detector.update_reference({"x": new}, policy={"last": 5_900})
    # the last 5,900 of 6,000 + 1,500 rows, all of one pattern: raw rows, more than a sample would hold
    want = np.concatenate((np.arange(6_000) % 7, np.arange(1_500) % 7))[-5_900:]
    assert detector.reference.profile.columns["x"].counts[1::2].sum() == 5_900
    assert detector.reference.profile.columns["x"].mean == pytest.approx(want.mean())


def test_preprocess_is_applied_to_new_rows_once() -> None:
    detector = dw.DriftDetector(table(), preprocess=halved)
    newer = detector.update_reference(table(seed=1), policy={"last": 500})
    assert newer.reference.profile.columns["age"].mean == pytest.approx(np.mean(table(seed=1)["age"]) / 2)
    assert newer.preprocessing == detector.preprocessing


def test_drifted_rows_are_refused_unless_asked_for() -> None:
    detector = dw.DriftDetector(table())
    drifted = table(seed=1, shift=20)
    with pytest.raises(BadInput, match=r"have drifted \(age\): .* force=True"):
        detector.update_reference(drifted, policy={"last": 500})
    for newer in (
        detector.update_reference(drifted, policy={"last": 500}, force=True),
        detector.update_reference(drifted, policy={"last": 500, "when_drifted": True}),
    ):
        assert not newer.detect(table(seed=2, shift=20)).drift_detected
    assert detector.detect(drifted).drift_detected


def test_too_few_rows_to_judge_are_refused_unless_forced() -> None:
    detector = dw.DriftDetector(table())
    with pytest.raises(InsufficientData, match="too few rows"):
        detector.update_reference(table(20), policy={"last": 500})
    assert detector.update_reference(table(20), policy={"last": 500}, force=True).reference.n_rows == 500


def test_a_reference_is_updated_from_its_sample() -> None:
    detector = dw.DriftDetector(dw.Reference.from_data(table(8_000)))
    newer = detector.update_reference(table(seed=1), policy={"reservoir_sampling": 2_000}, seed=3, version="v2")
    again = detector.update_reference(table(seed=1), policy={"reservoir_sampling": 2_000}, seed=3)
    assert (newer.reference.n_rows, newer.reference.version) == (2_000, "v2")
    assert newer.reference.id == again.reference.id


def test_new_rows_need_the_features() -> None:
    with pytest.raises(ColumnError, match="lacks 'city'"):
        dw.DriftDetector(table()).update_reference({"age": [1.0] * 200}, policy={"last": 5})
