"""Bodies as model servers send them; each payload follows the document named beside it."""

from __future__ import annotations

import base64

import pytest

from driftwell.capture.wire import inference_protocol
from driftwell.capture.wire.inference_protocol import MAX_ROWS, features, outputs, rows
from driftwell.errors import BadInput


def tensor(name, shape, data, datatype="FP64", **parameters):
    found = {"name": name, "shape": shape, "datatype": datatype, "data": data}
    return found | ({"parameters": parameters} if parameters else {})


def asked(*tensors, **more):
    return {"inputs": list(tensors), **more}


def answered(*tensors, **more):
    return {"model_name": "iris", "model_version": "v3", "outputs": list(tensors), **more}


# The two examples of the protocol's own document (kserve/open-inference-protocol, inference_rest.md).
SPEC_REQUEST = {
    "id": "42",
    "inputs": [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "input1", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    ],
    "outputs": [{"name": "output0"}],
}
SPEC_RESPONSE = {
    "id": "42",
    "outputs": [{"name": "output0", "shape": [2, 1], "datatype": "FP32", "data": [1.0, 1.1]}],
}


def test_examples_of_the_protocol():
    first, second = rows(SPEC_REQUEST, SPEC_RESPONSE)
    assert first == {"prediction_id": "42:0", "features": {"input0": [1, 2], "input1": True}, "prediction": 1.0}
    assert second == {"prediction_id": "42:1", "features": {"input0": [3, 4], "input1": False}, "prediction": 1.1}


@pytest.mark.parametrize("shape", [[3], [3, 1]])
@pytest.mark.parametrize("nested", [False, True])
def test_one_tensor_a_feature(shape, nested):
    age, city = [[31.0], [44.0], [50.0]], [["Oslo"], ["Rome"], ["Bonn"]]
    flat = [[cell for row in column for cell in row] for column in (age, city)]
    data = (age, city) if nested else flat
    found = features(asked(tensor("age", shape, data[0]), tensor("city", shape, data[1], "BYTES")))
    assert found == [{"age": 31.0, "city": "Oslo"}, {"age": 44.0, "city": "Rome"}, {"age": 50.0, "city": "Bonn"}]


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_one_tensor_of_all_features_goes_by_position(data):
    body = asked(tensor("input-0", [2, 3], data))
    assert features(body) == [[1, 2, 3], [4, 5, 6]]
    assert features(body, feature_names=["a", "b", "c"]) == [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}]


def test_names_must_be_as_many_as_columns():
    with pytest.raises(BadInput, match="3 values for 2 names"):
        features(asked(tensor("x", [1, 3], [1, 2, 3])), feature_names=["a", "b"])


def test_picture_is_one_series_a_row():
    assert features(asked(tensor("image", [2, 2, 2], list(range(8))))) == [
        {"image": [0, 1, 2, 3]},
        {"image": [4, 5, 6, 7]},
    ]


def test_missing_values_stay_missing():
    assert features(asked(tensor("age", [2], [None, 1.5]))) == [{"age": None}, {"age": 1.5}]


# MLServer's codecs (docs: "Content Types (and Codecs)").
def test_pandas_codec_is_a_column_a_tensor():
    body = asked(
        tensor("A", [2], ["a1", "a2"], "BYTES", content_type="str"),
        tensor("C", [2, 1], [1, 2], "INT32"),
        parameters={"content_type": "pd"},
    )
    assert features(body) == [{"A": "a1", "C": 1}, {"A": "a2", "C": 2}]


def test_base64_codec_is_decoded_where_it_is_text():
    picture = base64.b64encode(b"\xff\xd8").decode()
    texts = [base64.b64encode("Tromsø".encode()).decode(), picture]
    assert features(asked(tensor("x", [2], texts, "BYTES", content_type="base64"))) == [{"x": "Tromsø"}, {"x": picture}]
    whole = asked(tensor("x", [2], texts, "BYTES"), parameters={"content_type": "base64"})
    assert features(whole)[0] == {"x": "Tromsø"}
    assert features(asked(tensor("x", [1], ["T3Nsbw=="], "BYTES", content_type="str"))) == [{"x": "T3Nsbw=="}]


# Outputs: MLServer's scikit-learn runtime (predict, predict_proba), ONNX models of sklearn (label, probabilities).
@pytest.mark.parametrize("names", [("predict", "predict_proba"), ("output_label", "output_probability")])
def test_prediction_and_probability_by_name(names):
    found = outputs(answered(tensor(names[0], [2, 1], [0, 1], "INT64"), tensor(names[1], [2, 2], [0.9, 0.1, 0.2, 0.8])))
    assert (found.prediction, found.probability) == ([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    assert (found.model, found.version, found.rows) == ("iris", "v3", 2)


def test_only_probabilities_need_no_prediction():
    found = outputs(answered(tensor("predict_proba", [2], [0.9, 0.2])))
    assert (found.prediction, found.probability) == (None, [0.9, 0.2])


def test_only_output_of_another_name_is_the_prediction():
    assert outputs(answered(tensor("output-0", [2], [7, 8]))).prediction == [7, 8]


def test_further_outputs_are_counted_not_lost_silently():
    (row,) = rows(
        asked(tensor("a", [1], [1])), answered(tensor("predict", [1], [7]), tensor("embedding", [1, 3], [1, 2, 3]))
    )
    assert row == {"features": {"a": 1}, "prediction": 7, "outputs.embedding": None}


def test_several_outputs_without_a_known_name_are_refused():
    with pytest.raises(BadInput, match=r"no output is named as a prediction.*left, right"):
        outputs(answered(tensor("left", [1], [1]), tensor("right", [1], [2])))


# V1 (KServe, TensorFlow Serving's REST API).
@pytest.mark.parametrize(
    ("request_", "response", "expected"),
    [
        ({"instances": [[1, 2], [3, 4]]}, {"predictions": [0, 1]}, [([1, 2], 0), ([3, 4], 1)]),
        ({"instances": [{"a": 1}]}, {"predictions": [["yes"]]}, [({"a": 1}, "yes")]),
        ({"instances": [5, 6]}, {"predictions": [0, 1]}, [([5], 0), ([6], 1)]),
        ({"inputs": {"a": [1, 2], "b": [3, 4]}}, {"predictions": [0, 1]},
         [({"a": 1, "b": 3}, 0), ({"a": 2, "b": 4}, 1)]),
        ({"instances": [[[1, 2], [3, 4]]]}, {"predictions": [9]}, [({"value": [1, 2, 3, 4]}, 9)]),
    ],
)  # fmt: skip
def test_first_version_of_the_protocol(request_, response, expected):
    assert [(row["features"], row["prediction"]) for row in rows(request_, response)] == expected


def test_predictions_that_are_objects_are_read_by_name():
    found = outputs({"predictions": [{"label": "cat", "score": 0.7}, {"label": "dog", "score": 0.6}]})
    assert (found.prediction, found.score) == (["cat", "dog"], [0.7, 0.6])


# Seldon's own protocol (seldon-core, seldon-request-logger/app/test.sh).
def test_protocol_of_seldon():
    names = {"names": ["a", "b"]}
    ndarray = {"data": names | {"ndarray": [[1, 2], [3, 4]]}}
    tensors = {"data": names | {"tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}}
    reply = {"data": {"names": ["c"], "tensor": {"shape": [2, 1], "values": [5, 6]}}}
    expected = [({"a": 1, "b": 2}, 5), ({"a": 3, "b": 4}, 6)]
    for body in (ndarray, tensors):
        assert [(row["features"], row["prediction"]) for row in rows(body, reply)] == expected


def test_one_row_has_the_id_itself():
    assert rows(asked(tensor("a", [1], [1]), id="x"), answered(tensor("predict", [1], [1])))[0]["prediction_id"] == "x"


def test_given_id_wins_and_is_numbered():
    found = rows(SPEC_REQUEST, SPEC_RESPONSE, prediction_id="event-9")
    assert [row["prediction_id"] for row in found] == ["event-9:0", "event-9:1"]


# Triton's binary data extension: the JSON names sizes, the bytes follow it.
def test_binary_extension_is_refused_clearly():
    body = {"inputs": [{"name": "x", "shape": [3], "datatype": "UINT32", "parameters": {"binary_data_size": 12}}]}
    with pytest.raises(BadInput, match="binary extension"):
        features(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (asked(tensor("x", [3], [1, 2])), "2 values, its shape"),
        (asked(tensor("x", [-1], [1])), "shape of 'x'"),
        (asked(tensor("x", [True], [1])), "shape of 'x'"),
        (asked(tensor("x", [1] * 9, [1])), "shape of 'x'"),
        (asked(tensor("x", [10**9, 0], [])), f"more than {MAX_ROWS}"),
        (asked(tensor("x", [2], [1, 2]), tensor("y", [1], [1])), "equally many rows: x 2, y 1"),
        (asked(tensor("x", [1], [1]), tensor("x", [1], [1])), "same name"),
        (asked({"shape": [1]}), "name, shape, datatype and data"),
        (asked({"name": "x", "shape": [1], "datatype": "FP32"}), "no data"),
        (asked(tensor("x", [1], [[[[[[[[[[1]]]]]]]]]])), "nested deeper"),
        ({"instances": [0] * (MAX_ROWS + 1)}, "more than"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "equally long"),
        ({}, "neither inputs"),
        ("text", "neither inputs"),
        ({"data": {"strData": "x"}}, "neither ndarray nor tensor"),
    ],
)
def test_unusable_requests_say_why(body, says):
    with pytest.raises(BadInput, match=says):
        features(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [({"error": "model not ready"}, "an error"), ({}, "neither outputs"), (None, "neither outputs"),
     ({"outputs": {}}, "list of tensors")],
)  # fmt: skip
def test_unusable_responses_say_why(body, says):
    with pytest.raises(BadInput, match=says):
        outputs(body)


def test_halves_of_different_length_do_not_belong_together():
    with pytest.raises(BadInput, match="2 rows and the response 1"):
        rows(asked(tensor("a", [2], [1, 2])), answered(tensor("predict", [1], [1])))


def test_functions_are_extractors_of_the_middleware():
    request, response = SPEC_REQUEST, answered(tensor("predict", [2], [1, 0]), tensor("scores", [2], [0.9, 0.1]))
    assert inference_protocol.features(request, response) == [
        {"input0": [1, 2], "input1": True},
        {"input0": [3, 4], "input1": False},
    ]
    assert inference_protocol.prediction(request, response) == [1, 0]
    assert inference_protocol.score(request, response) == [0.9, 0.1]
    assert inference_protocol.probability(request, response) is None
