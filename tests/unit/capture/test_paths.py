"""Extractors: dotted paths and functions."""

import pytest

from driftwell.capture.middleware.paths import MISSING, extractor, look_up
from driftwell.errors import BadInput

REQUEST = {"x": {"rows": [{"a": 1}, {"a": 2}]}, "id": None, "only": "here"}
RESPONSE = {"y": 0.5, "id": "r"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("x.rows.1.a", 2),
        ("x.rows.-1.a", 2),
        ("x.rows.2.a", MISSING),
        ("x.rows.a", MISSING),
        ("only.x", MISSING),
        ("", REQUEST),
    ],
)
def test_paths_into_the_request(path, found):
    assert extractor(path, "features", "request")(REQUEST, RESPONSE) == found


def test_sides_are_tried_in_order_and_null_gives_way():
    assert extractor("id", "prediction_id", "request", "response")(REQUEST, RESPONSE) == "r"
    assert extractor("only", "prediction_id", "response", "request")(REQUEST, RESPONSE) == "here"
    assert extractor("id", "features", "request")(REQUEST, RESPONSE) is None


def test_functions_are_used_as_they_are():
    assert extractor(lambda request, response: response["y"], "score")(REQUEST, RESPONSE) == 0.5
    assert extractor(None, "score") is None


def test_anything_else_is_an_error_at_set_up():
    with pytest.raises(BadInput, match=r"features is a dotted path.*Got 3"):
        extractor(3, "features", "request")


def test_no_parts_is_the_document_itself():
    assert look_up([7], []) == [7]
