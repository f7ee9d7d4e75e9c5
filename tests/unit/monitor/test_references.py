"""References and baselines of a monitor: what is kept, what is refused, what another process sees."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from driftwell import Reference
from driftwell.errors import BadInput, FormatError, MissingReference, UnknownName
from driftwell.monitor.references import says_the_same

TABLE = {"x": np.arange(200.0)}


def test_a_table_a_reference_and_its_file_are_the_same_reference(make, tmp_path):
    built = Reference.from_data(TABLE, name="flights", version="v1")
    built.save(tmp_path / "reference.json")
    ids = {
        make(f"m{i}", reference=given).reference.id
        for i, given in enumerate((TABLE, built, tmp_path / "reference.json"))
    }
    assert ids == {built.id}


def test_raw_values_in_a_file_of_arrays_are_a_reference(monitor, tmp_path):
    np.save(tmp_path / "raw.npy", np.arange(300.0))
    assert monitor.set_reference(str(tmp_path / "raw.npy")).feature_names == ["value"]


def test_kinds_of_the_settings_are_those_of_the_reference(make):
    assert make(kinds={"x": "categorical"}).set_reference({"x": [1, 2, 3]}).kinds == {"x": "categorical"}


def test_a_reference_is_found_again_and_seen_by_others(make, reference):
    first = make(reference=reference)
    second = make()
    assert second.reference.id == first.reference.id == reference.id
    assert make(version="v2").reference is None
    assert make("others").reference is None


def test_a_missing_reference_says_what_to_run(monitor, tmp_path):
    with pytest.raises(MissingReference, match="driftwell baseline"):
        monitor.set_reference(tmp_path / "none.json")


def test_a_corrupt_reference_is_one_clear_error_and_the_old_one_stays(monitor, reference, tmp_path):
    monitor.set_reference(reference)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(FormatError):
        monitor.set_reference(tmp_path / "broken.json")
    with pytest.raises(BadInput):
        monitor.set_reference({"x": []})
    assert monitor.reference.id == reference.id


def test_a_monitor_that_cannot_start_leaves_no_open_store(make, tmp_path, url):
    with pytest.raises(MissingReference):
        make(reference=tmp_path / "none.json")
    assert make().collector_stats()["total_predictions"] == 0


def test_only_what_a_reference_says_counts_not_when_it_was_built():
    one, other = Reference.from_data(TABLE), Reference.from_data(TABLE)
    assert one.created != other.created
    assert says_the_same(one, other)
    assert not says_the_same(one, replace(other, importance={"x": 1.0}))
    assert not says_the_same(one, Reference.from_data({"x": np.arange(201.0)}))


def test_new_importances_are_taken_over_without_starting_afresh(monitor, reference):
    monitor.set_reference(reference)
    monitor.record_prediction({"age": 1.0}, 1)
    monitor.set_reference(replace(reference, importance={"age": 2.0}))
    assert monitor.reference.importance == {"age": 2.0}
    assert monitor.collector_stats()["total_predictions"] == 1


# -- baselines -----------------------------------------------------------------------------------------------------


def test_the_baseline_is_that_of_the_reference(make):
    assert make(reference=Reference.from_data(TABLE, performance={"accuracy": 0.85})).baseline == {"accuracy": 0.85}


def test_a_baseline_without_reference_holds_until_one_brings_its_own(monitor):
    assert monitor.baseline == {}
    monitor.set_baseline({"accuracy": 0.8})
    assert monitor.baseline == {"accuracy": 0.8}
    monitor.set_reference(Reference.from_data(TABLE))
    assert monitor.baseline == {"accuracy": 0.8}
    monitor.set_reference(Reference.from_data(TABLE, performance={"f1": 0.7}))
    assert monitor.baseline == {"f1": 0.7}
    monitor.set_baseline({})
    assert monitor.baseline == {}


def test_a_baseline_is_kept_with_the_reference_for_everyone(make):
    first = make(reference=Reference.from_data(TABLE))
    first.set_baseline({"precision": 0.85, "f1_score": 0.835})
    assert make().baseline == {"precision": 0.85, "f1_score": 0.835}


def test_starting_again_with_the_same_reference_keeps_the_baseline(make):
    make(reference=Reference.from_data(TABLE)).set_baseline({"accuracy": 0.8})
    assert make(reference=Reference.from_data(TABLE)).baseline == {"accuracy": 0.8}


def test_metrics_of_a_window_can_be_the_baseline(monitor):
    monitor.set_baseline({"accuracy": 0.8, "roc_auc": None, "num_samples": 1000})
    assert monitor.baseline == {"accuracy": 0.8}


@pytest.mark.parametrize("given", [{"accuracy": "good"}, {"accuracy": math.nan}, ["accuracy"], None])
def test_a_baseline_that_is_no_numbers_is_refused(monitor, given):
    with pytest.raises(BadInput, match="baseline"):
        monitor.set_baseline(given)


def test_an_unknown_metric_names_the_nearest(monitor):
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        monitor.set_baseline({"acuracy": 0.8})
