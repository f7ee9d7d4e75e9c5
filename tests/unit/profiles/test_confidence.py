"""Probability of the predicted class; expected values by hand."""

import pyarrow as pa
import pytest

from driftwell.profiles.reference.confidence import confidence


def of(prediction: list[object], given: list[object], classes: tuple[str, ...] = ()) -> list[float | None] | None:
    found = confidence(pa.table({"prediction": prediction, "p": given}), "prediction", ["p"], classes)
    return None if found is None else [None if v is None else round(v, 12) for v in found.to_pylist()]


def test_number_is_of_the_positive_class() -> None:
    assert of([1, 0, 1], [0.9, 0.2, 0.4]) == [0.9, 0.8, 0.4]
    assert of([True, False], [0.7, 0.4]) == [0.7, 0.6]
    assert of(["dog", "cat"], [0.7, 0.4], ("cat", "dog")) == [0.7, 0.6]


def test_one_class_seen_goes_by_its_name() -> None:
    assert of([0, 0], [0.1, 0.3]) == [0.9, 0.7]
    assert of([1, 1], [0.8, 0.9]) == [0.8, 0.9]
    assert of(["dog"], [0.8]) is None


def test_number_beside_many_classes_is_of_the_predicted_one() -> None:
    assert of(["a", "b", "c"], [0.5, 0.6, 0.7]) == [0.5, 0.6, 0.7]


@pytest.mark.parametrize("as_text", [False, True])
def test_distribution_gives_the_entry_of_the_predicted_class(as_text: bool) -> None:
    cells = (
        ['{"0": 0.3, "1": 0.7}', '{"0": 0.6, "1": 0.4}'] if as_text else [{"0": 0.3, "1": 0.7}, {"0": 0.6, "1": 0.4}]
    )
    assert of([1, 1], cells) == [0.7, 0.4]


def test_numbers_as_json_text_are_numbers() -> None:
    assert of([1, 0], ["0.9", "0.2"]) == [0.9, 0.8]


def test_score_that_is_no_probability_gives_none() -> None:
    assert of([1, 0], [3.5, -2.0]) is None


def test_missing_predictions_and_probabilities_stay_missing() -> None:
    assert of([1, None, 0], [0.9, 0.9, None]) == [0.9, None, None]


def test_first_column_that_tells_decides() -> None:
    table = pa.table({"prediction": [1, 0], "probability": pa.nulls(2, pa.float64()), "score": [0.9, 0.3]})
    found = confidence(table, "prediction", ["probability", "score"], ["0", "1"])
    assert found is not None
    assert found.to_pylist() == [0.9, 0.7]
