"""Columns of several facets in a comparison: times, texts, vectors and series are judged part by part."""

import numpy as np
import pytest

import driftwell as dw

KINDS = {"note": "text", "embedding": "vector", "signal": "series"}


def rows(n: int, *, seed: int, shift: float = 0.0, hours: int = 24) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, 28, n) * 86_400 + rng.integers(0, hours, n) * 3_600
    words = np.where(rng.random(n) < 0.5 + shift / 4, "late again", "the plane left on time this morning")
    return {
        "when": np.datetime64("2026-01-05", "s") + seconds.astype("timedelta64[s]"),
        "note": words,
        "embedding": list(rng.normal(shift, 1, (n, 8))),
        "signal": [list(rng.normal(shift, 1, k)) for k in rng.integers(5, 20, n)],
    }


@pytest.fixture(scope="module")
def reference() -> dw.Reference:
    return dw.Reference.from_data(rows(4_000, seed=0), kinds=KINDS)


def test_unchanged_rows_are_ok(reference: dw.Reference) -> None:
    r = dw.compare(reference, rows(1_000, seed=1))
    assert {name: column.status for name, column in r.columns.items()} == dict.fromkeys(reference.kinds, "ok")


def test_the_facet_that_moved_most_speaks_for_its_column(reference: dw.Reference) -> None:
    r = dw.compare(reference, rows(1_000, seed=2, shift=1.0))
    signal = r.columns["signal"]
    assert signal.drifted
    assert signal.kind == "series"
    assert signal.facets["mean"].drifted
    assert not signal.facets["length"].drifted
    assert signal.value == max(facet.value for facet in signal.facets.values() if facet.value is not None)
    assert str(signal.reason).startswith("mean: ")


def test_night_flights_only_are_seen_in_the_hours(reference: dw.Reference) -> None:
    when = dw.compare(reference, rows(1_000, seed=3, hours=6)).columns["when"]
    assert when.facets["hour_of_week"].drifted
    assert when.drifted


def test_sample_sizes_of_a_series_are_its_records(reference: dw.Reference) -> None:
    signal = dw.compare(reference, rows(500, seed=4)).columns["signal"]
    assert (signal.n_reference, signal.n_current) == (4_000, 500)
    elements = signal.facets["elements"].measures["psi"]
    assert elements.n_current <= 500  # not the some 6,000 elements


def test_a_threshold_of_the_column_is_that_of_its_facets(reference: dw.Reference) -> None:
    r = dw.compare(reference, rows(1_000, seed=2, shift=1.0), threshold={"signal": 100.0})
    assert {facet.threshold for facet in r.columns["signal"].facets.values()} == {100.0}
    assert not r.columns["signal"].drifted
    assert r.columns["embedding"].drifted


def test_any_method_of_a_facet_by_its_name(reference: dw.Reference) -> None:
    r = dw.compare(reference, rows(1_000, seed=2, shift=1.0))
    assert r.metric("signal.mean", "ks").value > 0.5
    assert "signal.mean" not in r.scores


def test_vectors_of_another_length_spoil_only_their_column(reference: dw.Reference) -> None:
    shorter = rows(1_000, seed=5) | {"embedding": list(np.zeros((1_000, 5)))}
    columns = dw.compare(reference, shorter).columns
    assert columns["embedding"].status == "error"
    assert "8" in str(columns["embedding"].error)
    assert columns["signal"].status == "ok"


def test_reports_show_the_facets(reference: dw.Reference) -> None:
    r = dw.compare(reference, rows(1_000, seed=2, shift=1.0))
    assert "hour of week" in r.to_html()
    assert r.to_dict()["columns"]["signal"]["facets"]["mean"]["drifted"] is True
