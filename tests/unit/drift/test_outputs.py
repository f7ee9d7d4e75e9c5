"""Drift of what the model answered: classes, scores, confidence."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

import driftwell as dw


def answers(n: int, *, seed: int, sure: float = 3.0, lean: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(lean, sure, n)
    score = 1 / (1 + np.exp(-logit))
    return {"x": rng.normal(size=n), "prediction": (score >= 0.5).astype(int), "score": score}


def test_confidence_is_judged_by_ks_of_the_probability_of_the_predicted_class() -> None:
    before, after = answers(3_000, seed=0), answers(1_500, seed=1, sure=1.5)
    found = dw.compare(before, after).outputs["confidence"]
    sure = [np.maximum(side["score"], 1 - side["score"]) for side in (before, after)]
    assert found.method == "ks"
    assert found.low == found.high == found.value == pytest.approx(ks_2samp(*sure).statistic, rel=1e-12)
    assert found.drifted


def test_classes_are_judged_by_half_the_sum_of_absolute_differences() -> None:
    before, after = answers(3_000, seed=0), answers(1_500, seed=1, lean=2.0)
    found = dw.compare(before, after).outputs["prediction"]
    share = [side["prediction"].mean() for side in (before, after)]
    assert found.method == "total_variation"
    assert found.value == pytest.approx(abs(share[0] - share[1]))
    assert found.drifted


def test_outputs_that_moved_are_drift_of_the_whole() -> None:
    before, after = answers(3_000, seed=0), answers(1_500, seed=1, lean=2.0)
    r = dw.compare(before, after)
    assert not any(column.drifted for column in r.columns.values())
    assert (r.drift_detected, r.status) == (True, "drift")
    assert r.metric("score", "ks").value == pytest.approx(ks_2samp(before["score"], after["score"]).statistic)
    assert r.metric("score", "anderson_darling").n_reference == 3_000
    assert set(r.outputs) == {"prediction", "score", "confidence"}
    assert r.metric("confidence", "psi").value > 0


def test_unchanged_answers_are_ok() -> None:
    r = dw.compare(answers(3_000, seed=0), answers(1_500, seed=7))
    assert {name: found.status for name, found in r.outputs.items()} == dict.fromkeys(r.outputs, "ok")


def test_a_reference_tells_the_confidence_of_later_rows() -> None:
    reference = dw.Reference.from_data(answers(3_000, seed=0))
    assert reference.output_kinds == {"prediction": "categorical", "score": "numeric", "confidence": "numeric"}
    loaded = dw.Reference.from_json(reference.to_json())
    r = dw.compare(loaded, answers(1_500, seed=1, sure=1.0))
    assert r.outputs["confidence"].drifted


def test_distributions_over_several_classes_tell_it_too() -> None:
    rng = np.random.default_rng(3)

    def rows(n: int, alpha: float) -> pa.Table:
        shares = rng.dirichlet([alpha] * 3, n)
        names = ["ham", "spam", "scam"]
        cells = [dict(zip(names, row, strict=True)) for row in shares.tolist()]
        predicted = [names[k] for k in shares.argmax(axis=1)]
        return pa.table({"x": rng.normal(size=n), "prediction": predicted, "probability": cells})

    r = dw.compare(rows(2_000, 0.3), rows(1_000, 3.0))
    assert r.outputs["confidence"].drifted
    assert not r.outputs["prediction"].drifted


def test_amounts_have_no_confidence() -> None:
    rng = np.random.default_rng(0)
    reference = dw.Reference.from_data({"x": rng.normal(size=500), "prediction": rng.normal(size=500)})
    assert reference.output_kinds == {"prediction": "numeric"}


def test_other_methods_can_be_asked_for() -> None:
    before, after = answers(3_000, seed=0), answers(1_500, seed=1)
    r = dw.compare(before, after, method={"confidence": "wasserstein"})
    assert (r.outputs["confidence"].method, r.outputs["prediction"].method) == ("wasserstein", "total_variation")


def test_outputs_that_the_current_rows_lack_are_named() -> None:
    r = dw.compare(dw.Reference.from_data(answers(500, seed=0)), {"x": np.zeros(300)}, quality=False)
    assert r.outputs == {}
    assert any(note.startswith("score is not compared") for note in r.notes)
