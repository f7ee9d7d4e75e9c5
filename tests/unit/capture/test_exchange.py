"""Requests and responses become rows: one or many, with their ids, by the rules of the middleware."""

import msgspec
import pytest

from driftwell.capture.middleware.exchange import MAX_ROWS, Exchange
from driftwell.capture.middleware.paths import extractor
from driftwell.capture.records import Fields
from driftwell.capture.snapshot import thaw

SIDES = {
    **dict.fromkeys(("prediction", "score", "probability"), ("response",)),
    **dict.fromkeys(("version", "prediction_id"), ("response", "request")),
}


def exchange(request, response, shared_id=None, told=False, **where):
    where = {"features": "x", "prediction": "y", "prediction_id": "id", **where}
    made = {name: extractor(path, name, *SIDES.get(name, ("request",))) for name, path in where.items()}
    encode = msgspec.json.encode
    return Exchange(
        "m",
        "v",
        {n: e for n, e in made.items() if e},
        encode(request),
        encode(response),
        "/predict",
        200,
        0.25,
        1.0,
        shared_id,
        told,
    )


def rows(found):
    return [Fields(*thaw(record.frozen)) for record in found.expand().records]


def ids(found):
    return [record.prediction_id for record in found.expand().records]


def refused(found):
    expansion = found.expand()
    assert expansion.records == () or len(expansion.records) == 0
    return dict(expansion.refused)


@pytest.mark.parametrize("features", [{"a": 1}, [1, 2, 3], ["a", 1]])
def test_one_row(features):
    (row,) = rows(exchange({"x": features}, {"y": 0.5}))
    assert (row.features, row.prediction, row.latency_seconds) == (features, 0.5, 0.25)
    assert row.metadata == {"endpoint": "/predict", "batch_index": 0, "batch_size": 1, "status": 200}


@pytest.mark.parametrize("features", [[{"a": 1}, {"a": 2}], [[1], [2]]])
def test_many_rows(features):
    found = rows(
        exchange(
            {"x": features, "when": "2026-01-20T12:00:00Z", "who": ["u1", "u2"]},
            {"y": [0, 1], "p": [[0.9, 0.1], [0.2, 0.8]]},
            probability="p",
            timestamp="when",
            entity_id="who",
        )
    )
    assert [row.features for row in found] == features
    assert [row.prediction for row in found] == [0, 1]
    assert [row.probability for row in found] == [[0.9, 0.1], [0.2, 0.8]]
    assert [row.entity_id for row in found] == ["u1", "u2"]
    assert {row.timestamp for row in found} == {"2026-01-20T12:00:00Z"}
    assert [row.metadata["batch_index"] for row in found] == [0, 1]


def test_all_of_the_request_may_be_the_features():
    assert [row.features for row in rows(exchange([{"a": 1}, {"a": 2}], {"y": [0, 1]}, features=""))] == [
        {"a": 1},
        {"a": 2},
    ]
    assert [row.features for row in rows(exchange({"a": 1}, {"y": 0}, features=""))] == [{"a": 1}]


def test_a_list_of_one_row():
    (row,) = rows(exchange({"x": [{"a": 1}]}, {"y": [0], "p": [0.3, 0.7]}, probability="p"))
    assert (row.features, row.prediction, row.probability) == ({"a": 1}, 0, [0.3, 0.7])
    (row,) = rows(exchange({"x": [1, 2]}, {"y": [0]}))
    assert (row.features, row.prediction) == ([1, 2], 0)
    assert rows(exchange({"x": []}, {"y": []})) == []


def test_without_features_the_predictions_are_the_rows():
    found = rows(exchange({}, {"y": [0, 1]}, features=None))
    assert [(row.features, row.prediction) for row in found] == [(None, 0), (None, 1)]


@pytest.mark.parametrize("response", [{"y": [0, 1, 2]}, {"y": 0}, {"y": []}])
def test_unequal_lengths_refuse_every_row(response):
    assert refused(exchange({"x": [{"a": 1}, {"a": 2}]}, response)) == {"unequal_lengths": 2}


def test_unequal_times_are_refused_too():
    assert refused(exchange({"x": [[1], [2]], "t": [1]}, {"y": [0, 1]}, timestamp="t")) == {"unequal_lengths": 2}


def test_a_path_that_leads_nowhere_is_told_apart():
    assert refused(exchange({"z": 1}, {"y": 1})) == {"features_not_found": 1}
    assert refused(exchange({"x": {}}, {"z": 1})) == {"prediction_not_found": 1}
    assert rows(exchange({"x": None}, {"y": 1}))[0].features is None


def test_bad_rows_are_refused_one_by_one():
    expansion = exchange({"x": 3}, {"y": 1}).expand()
    assert expansion.refused == {"features": 1}


def test_ids_of_many_rows():
    many = {"x": [[1], [2]]}
    assert ids(exchange({**many, "id": "r"}, {"y": [0, 1]})) == ["r:0", "r:1"]
    assert ids(exchange({**many, "id": ["a", 7]}, {"y": [0, 1]})) == ["a", "7"]
    assert ids(exchange(many, {"y": [0, 1]}, shared_id="header")) == ["header:0", "header:1"]
    assert len(set(ids(exchange(many, {"y": [0, 1]})))) == 2
    assert ids(exchange({"x": [[1]], "id": "r"}, {"y": [0]})) == ["r"]


def test_where_the_id_comes_from():
    one = {"x": {"a": 1}, "id": "request"}
    assert ids(exchange(one, {"y": 0, "id": "response"}, "header")) == ["response"]
    assert ids(exchange(one, {"y": 0}, "header")) == ["request"]
    assert ids(exchange({"x": {}}, {"y": 0, "id": None}, "header")) == ["header"]
    assert ids(exchange(one, {"y": 0, "id": "response"}, "header", told=True)) == ["header"]


def test_versions_may_differ():
    found = exchange({"x": [[1], [2]]}, {"y": [0, 1], "v": ["a", None]}, version="v").expand()
    assert [record.version for record in found.records] == ["a", "v"]


def test_functions_give_lists_tuples_and_arrays():
    import numpy as np

    found = exchange(
        {"n": 2}, {"y": [0, 1]}, features=lambda q, r: ({"a": 1}, {"a": 2}), score=lambda q, r: np.array([0.5, 1.5])
    )
    assert [(row.features, row.score) for row in rows(found)] == [({"a": 1}, 0.5), ({"a": 2}, 1.5)]


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(), RecursionError()])
def test_a_function_that_fails_is_counted(error):
    def fails(request, response):
        raise error

    expansion = exchange({"x": 1}, {"y": 1}, score=fails).expand()
    assert (dict(expansion.refused), expansion.cause) == ({"extractor": 1}, error)


def test_what_is_no_json_is_passed_over():
    one = exchange({}, {})
    for request, response in ((b"{", b"{}"), (b"{}", b"\xff"), (b"[" * 10_000 + b"]" * 10_000, b"{}"), (b"", b"{}")):
        broken = Exchange("m", "v", one.extractors, request, response, "/", 200, 0.0, 0.0, None, False)
        assert broken.expand().skipped == "not_json"


def test_rows_of_one_exchange_are_bounded():
    found = exchange({"x": [[]] * (MAX_ROWS + 1)}, {"y": [0] * (MAX_ROWS + 1)})
    assert refused(found) == {"too_many_rows": MAX_ROWS + 1}


@pytest.mark.parametrize("body", [({"x": []}, {"y": []}), ({"x": []}, {"y": 1}), ({"x": []}, {"y": None})])
def test_a_list_of_no_rows_is_counted_as_empty(body):
    found = exchange(*body).expand()
    assert (list(found.records), dict(found.refused), found.skipped) == ([], {}, "empty")
