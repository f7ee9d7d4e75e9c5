"""A comparison beyond single columns: quality first, whole rows beside, and profiles counted without a reference."""

import numpy as np
import pytest

import driftwell as dw
from driftwell.errors import BadInput


def rows(n: int, *, seed: int, correlation: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, n))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    return {"x": x, "y": y, "z": rng.exponential(size=n)}


@pytest.fixture(scope="module")
def reference() -> dw.Reference:
    return dw.Reference.from_data(rows(3_000, seed=0))


# -- quality -------------------------------------------------------------------------------------------------------


def test_another_unit_is_broken_and_the_others_are_judged(reference: dw.Reference) -> None:
    now = rows(800, seed=1)
    now["z"] = now["z"] * 1_000
    r = dw.compare(reference, now)
    assert r.quality is not None
    assert r.quality.broken == ("z",)
    assert (r.columns["z"].status, r.columns["z"].drifted) == ("broken", False)
    assert not r.drift_detected
    assert r.status == "broken"
    assert r.notes[0].startswith("z is broken, not drifted: ")
    assert r.to_dict()["quality"]["broken"] == ["z"]
    assert "Data quality" in r.to_html()


def test_quality_can_be_overridden_and_switched_off(reference: dw.Reference) -> None:
    now = rows(800, seed=1)
    now["z"] = now["z"] * 1_000
    off = dw.compare(reference, now, quality=False)
    assert off.quality is None
    assert off.columns["z"].drifted
    assert "switched off" in off.to_dict()["reasons"]["quality"]
    given = dw.compare(reference, rows(800, seed=1), quality={"x": {"range": [-1, 1]}})
    assert given.quality is not None
    assert given.quality.broken == ("x",)  # by hand: far more than 1 % of normal values lie beyond one deviation


def test_plain_shifts_are_drift_not_broken(reference: dw.Reference) -> None:
    now = rows(800, seed=1)
    r = dw.compare(reference, now | {"x": now["x"] + 3})
    assert r.columns["x"].drifted
    assert r.quality is not None
    assert r.quality.broken == ()


# -- whole rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mmd", "energy", "portfolio", "hotelling"])
def test_unchanged_rows_pass_every_test(reference: dw.Reference, method: str) -> None:
    found = dw.compare(reference, rows(600, seed=5), multivariate=method, seed=1).multivariate
    assert found is not None
    assert (found.method, found.status) == (method, "ok")
    assert found.p_value is not None
    assert found.p_value > 0.05


def test_lost_dependence_is_seen_by_whole_rows_alone() -> None:
    before, after = rows(2_000, seed=2, correlation=0.9), rows(1_000, seed=3)
    r = dw.compare(before, after, multivariate="mmd")
    assert not any(column.drifted for column in r.columns.values())
    assert r.multivariate is not None
    assert r.multivariate.drifted
    assert (r.drift_detected, r.status) == (True, "drift")
    assert r.to_dict()["multivariate"]["drifted"] is True
    assert "All columns together" in r.to_html()


def test_broken_columns_are_left_out_of_whole_rows(reference: dw.Reference) -> None:
    now = rows(800, seed=1)
    now["z"] = now["z"] * 1_000
    found = dw.compare(reference, now, multivariate="energy").multivariate
    assert found is not None
    assert not found.drifted


def test_whole_rows_need_rows(reference: dw.Reference) -> None:
    profiled = dw.profile(rows(500, seed=1), reference)
    with pytest.raises(BadInput, match="needs rows"):
        dw.compare(reference, profiled, multivariate="mmd")


def test_detector_passes_the_method_on() -> None:
    detector = dw.DriftDetector(rows(1_000, seed=2, correlation=0.9), multivariate="energy")
    assert detector.detect(rows(600, seed=3)).drift_detected


# -- profiles and samples ------------------------------------------------------------------------------------------


def test_a_profile_counted_without_a_reference_is_compared_with_bounds(reference: dw.Reference) -> None:
    now = rows(2_000, seed=4)
    plain = dw.compare(reference, dw.profile(now | {"x": now["x"] + 1}), method="ks")
    exact = dw.compare(reference, now | {"x": now["x"] + 1}, method="ks")
    assert plain.columns["x"].drifted
    for name in reference.kinds:
        low, high = plain.columns[name].low, plain.columns[name].high
        assert low is not None
        assert high is not None
        assert low <= exact.columns[name].high  # both intervals hold the true distance
        assert exact.columns[name].low <= high


def test_methods_that_need_rows_read_the_sample_of_a_reference(reference: dw.Reference) -> None:
    found = dw.compare(reference, rows(800, seed=6), method="anderson_darling")
    assert found.columns["x"].n_reference == 3_000  # all of its rows are in the sample
    assert found.columns["x"].status == "ok"


def test_numbers_float64_cannot_hold_are_told() -> None:
    before, after = ({"i": 2**60 + np.arange(n)} for n in (500, 300))
    assert any("values were rounded to the nearest float64" in note for note in dw.compare(before, after).notes)


def test_a_detector_refuses_an_unknown_method_at_once() -> None:
    with pytest.raises(BadInput, match="name of one method"):
        dw.DriftDetector(rows(200, seed=0), multivariate=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [3, "x", ["x", "w"]])
def test_columns_are_a_list_of_known_names(columns: object) -> None:
    if columns == "x":
        assert list(dw.compare(rows(300, seed=0), rows(200, seed=1), columns="x").columns) == ["x"]
        return
    with pytest.raises((BadInput, LookupError), match=r"list of names|unknown column 'w'"):
        dw.compare(rows(300, seed=0), rows(200, seed=1), columns=columns)  # type: ignore[arg-type]
