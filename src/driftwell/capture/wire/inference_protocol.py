"""Bodies of model servers become rows: Open Inference Protocol (V2), its forerunner V1, and Seldon's own.

Pure functions over decoded JSON. ``features``, ``prediction``, ``score`` and ``probability`` are also extractors of
``CaptureMiddleware`` (``features=inference_protocol.features``), for an application that speaks the protocol itself.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftwell.errors import BadInput

__all__ = ["MAX_ROWS", "Outputs", "features", "outputs", "prediction", "probability", "rows", "score"]

MAX_ROWS = 100_000
"""Rows of one body; a shape such as ``[1000000000, 0]`` would make any number of them from nothing."""
MAX_DIMENSIONS = 8

ROLES: Mapping[str, frozenset[str]] = {
    "probability": frozenset(
        ("predict_proba", "probability", "probabilities", "proba", "output_probability", "class_probabilities")
    ),
    "score": frozenset(("score", "scores", "decision_function")),
    "prediction": frozenset(
        ("predict", "prediction", "predictions", "label", "labels", "output_label", "class", "classes")
    ),
}
"""Names under which servers send each answer, whatever their case: of MLServer's runtimes, ONNX models, TorchServe."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The answers of a response, one list element a row; None where it has no such answer.

    ``others`` are outputs that are none of the three, by name.
    """

    prediction: list[Any] | None = None
    score: list[Any] | None = None
    probability: list[Any] | None = None
    model: str | None = None
    version: str | None = None
    others: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return max((len(one) for one in (self.prediction, self.score, self.probability) if one is not None), default=0)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One named tensor: ``rows`` values along its first axis, each with the shape ``inner``."""

    name: str
    rows: int
    inner: tuple[int, ...]
    data: list[Any] = field(repr=False)

    @property
    def width(self) -> int:
        """Values a row has."""
        return math.prod(self.inner)

    @property
    def is_column(self) -> bool:
        """One value a row: shape ``[N]`` or ``[N, 1]``."""
        return self.inner in ((), (1,))

    def cells(self) -> list[Any]:
        """The value of each row: a scalar of a column, else a flat list."""
        if self.is_column:
            return self.data
        width = self.width
        return [self.data[i * width : (i + 1) * width] for i in range(self.rows)]


def rows(
    request: Any, response: Any, *, prediction_id: str | None = None, feature_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Records of one exchange, in the fields of ``POST /api/v1/predictions``.

    Parameters
    ----------
    request, response
        The decoded bodies of V2 (``inputs`` and ``outputs``), V1 (``instances`` and ``predictions``) or Seldon's own
        protocol (``data`` with ``ndarray`` or ``tensor``).
    prediction_id
        The id of the exchange; None takes the body's own ``id``. Of N rows each gets ``id:index``.
    feature_names
        Names of the columns of one ``[N, F]`` tensor or of rows without names. None leaves them to the reference.

    Raises
    ------
    BadInput
        A body is none of these, or request and response have not equally many rows.

    Examples
    --------
    >>> ask = {"id": "a7", "inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [31.0, 44.0]}]}
    >>> reply = {"outputs": [{"name": "predict", "shape": [2, 1], "datatype": "INT64", "data": [0, 1]}]}
    >>> for row in rows(ask, reply):
    ...     print(row["prediction_id"], row["features"], row["prediction"])
    a7:0 {'age': 31.0} 0
    a7:1 {'age': 44.0} 1
    """
    asked = features(request, feature_names=feature_names)
    found = outputs(response)
    if found.rows != len(asked):
        raise BadInput(f"the request has {len(asked)} rows and the response {found.rows}: they do not belong together")
    shared = prediction_id if prediction_id is not None else _own_id(request, response)
    answers = [(name, cells) for name in ROLES if (cells := getattr(found, name)) is not None]
    out = []
    for i, row in enumerate(asked):
        record: dict[str, Any] = {"features": row}
        if shared is not None:
            record["prediction_id"] = f"{shared}:{i}" if len(asked) > 1 else shared
        record |= {name: cells[i] for name, cells in answers}
        record |= {f"outputs.{name}": None for name in found.others}  # no field of a record: counted as ignored
        out.append(record)
    return out


def features(request: Any, response: Any = None, *, feature_names: Sequence[str] | None = None) -> list[Any]:
    """The features of each row of a request: a dict by name, or a list by position.

    One tensor of shape ``[N, F]`` gives lists (named by ``feature_names``, else by the reference); several tensors
    are one feature each; a tensor of more dimensions is one series a row. ``response`` is not looked at.

    Raises
    ------
    BadInput
        It is no request of a protocol known here, or its tensors do not fit together.
    """
    found = _rows_of(request)
    return found if feature_names is None else [_named(row, feature_names) for row in found]


def outputs(response: Any) -> Outputs:
    """The answers of a response.

    Outputs are told apart by name (``predict``, ``predict_proba``, ``label``, ``probabilities``, ``scores`` …); an only
    output of another name is the prediction.

    Raises
    ------
    BadInput
        It is no response of a protocol known here.
    """
    if isinstance(response, Mapping):
        if isinstance(response.get("error"), str):
            raise BadInput("the response is an error, not an answer")
        if "outputs" in response:
            return _v2_outputs(response)
        if "predictions" in response:
            return _plain_outputs(response["predictions"])
        if isinstance(response.get("data"), Mapping):
            return _plain_outputs(_seldon(response["data"]))
        if any(_role(name) for name in response):
            return _plain_outputs([dict(response)])
    if isinstance(response, list):
        return _plain_outputs(response)
    raise BadInput("the response has neither outputs (V2) nor predictions (V1)")


def prediction(request: Any, response: Any) -> list[Any] | None:
    """The predictions of a response, one a row: an extractor."""
    return outputs(response).prediction


def score(request: Any, response: Any) -> list[Any] | None:
    """The scores of a response, one a row: an extractor."""
    return outputs(response).score


def probability(request: Any, response: Any) -> list[Any] | None:
    """The probabilities of a response, one a row: an extractor."""
    return outputs(response).probability


# -- requests ------------------------------------------------------------------------------------------------------


def _rows_of(request: Any) -> list[Any]:
    if isinstance(request, list):
        return _bounded([_row(row) for row in request])
    if isinstance(request, Mapping):
        given = request.get("inputs")
        if isinstance(given, list) and any(isinstance(one, Mapping) and "shape" in one for one in given):
            return _v2_rows([_tensor(one, _content_type(request)) for one in given])
        if isinstance(request.get("instances"), list):
            return _bounded([_row(row) for row in request["instances"]])
        if isinstance(given, list):
            return _bounded([_row(row) for row in given])
        if isinstance(given, Mapping):
            return _columns(given)
        data = request.get("data")
        if isinstance(data, Mapping):
            return _named_rows(_seldon(data), data.get("names"))
        if isinstance(data, list):  # Azure's scoring scripts
            return _bounded([_row(row) for row in data])
        if "features" in request:
            return [request["features"]]
    raise BadInput("the request has neither inputs (V2) nor instances (V1)")


def _v2_rows(tensors: Sequence[_Tensor]) -> list[Any]:
    counts = {one.rows for one in tensors}
    if len(counts) != 1:
        raise BadInput("the inputs have not equally many rows: " + ", ".join(f"{t.name} {t.rows}" for t in tensors))
    if len(tensors) == 1 and len(tensors[0].inner) == 1 and not tensors[0].is_column:
        return tensors[0].cells()
    names = [one.name for one in tensors]
    if len(set(names)) < len(names):
        raise BadInput("two inputs have the same name")
    return [dict(zip(names, cells, strict=True)) for cells in zip(*(one.cells() for one in tensors), strict=True)]


def _columns(given: Mapping[str, Any]) -> list[Any]:
    """TensorFlow Serving's columns: ``{"inputs": {"age": [31, 44]}}``."""
    lengths = {len(column) if isinstance(column, list) else -1 for column in given.values()}
    if len(lengths) != 1 or lengths == {-1}:
        raise BadInput("inputs by name must be lists that are equally long")
    return _bounded([dict(zip(given, cells, strict=True)) for cells in zip(*given.values(), strict=True)])


def _row(row: Any) -> Any:
    """One instance: by name, by position, or a single value."""
    if isinstance(row, Mapping):
        return dict(row)
    if not isinstance(row, list):
        return [row]
    return row if not any(isinstance(one, list) for one in row) else {"value": _flat(row, MAX_DIMENSIONS)}


def _named_rows(found: list[Any], names: Any) -> list[Any]:
    listed = [_row(row) for row in found]
    if not isinstance(names, list) or not names:
        return listed
    return [_named(row, [str(name) for name in names]) for row in listed]


def _named(row: Any, names: Sequence[str]) -> Any:
    if not isinstance(row, list):
        return row
    if len(row) != len(names):
        raise BadInput(f"a row has {len(row)} values for {len(names)} names")
    return dict(zip(names, row, strict=True))


# -- responses -----------------------------------------------------------------------------------------------------


def _v2_outputs(response: Mapping[str, Any]) -> Outputs:
    given = response["outputs"]
    if not isinstance(given, list):
        raise BadInput("outputs must be a list of tensors")
    tensors = [_tensor(one, _content_type(response)) for one in given]
    if len({one.rows for one in tensors}) > 1:
        raise BadInput("the outputs have not equally many rows: " + ", ".join(f"{t.name} {t.rows}" for t in tensors))
    names = {name: _text(response.get(key)) for name, key in (("model", "model_name"), ("version", "model_version"))}
    return _sorted_out([(one.name, one.cells) for one in tensors], **names)


def _plain_outputs(found: Any) -> Outputs:
    """Predictions that are values, lists, or dicts whose names tell what they are."""
    answers = _bounded(found) if isinstance(found, list) else [found]
    if not answers or not all(isinstance(one, Mapping) and one for one in answers):
        alone = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in answers]
        return Outputs(prediction=alone)
    names = dict.fromkeys(name for one in answers for name in one)
    return _sorted_out([(name, _picker(answers, name)) for name in names])


def _picker(answers: Sequence[Mapping[str, Any]], name: str) -> Callable[[], list[Any]]:
    return lambda: [one.get(name) for one in answers]


def _sorted_out(
    found: Sequence[tuple[str, Callable[[], list[Any]]]], model: str | None = None, version: str | None = None
) -> Outputs:
    roles: dict[str, list[Any]] = {}
    others = []
    for name, cells in found:
        role = _role(name)
        if role is None or role in roles:
            others.append((name, cells))
        else:
            roles[role] = cells()
    if "prediction" not in roles and len(others) == 1 and (not roles or len(found) == 1):
        roles["prediction"] = others.pop()[1]()
    if not roles:
        names = ", ".join(name for name, _ in found) or "none"
        raise BadInput(f"no output is named as a prediction, score or probability (predict, predict_proba …): {names}")
    return Outputs(**roles, model=model, version=version, others=tuple(name for name, _ in others))


def _role(name: Any) -> str | None:
    found = name.lower().replace("-", "_") if isinstance(name, str) else ""
    return next((role for role, names in ROLES.items() if found in names), None)


# -- tensors -------------------------------------------------------------------------------------------------------


def _tensor(given: Any, shared_type: str | None) -> _Tensor:
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise BadInput("a tensor must be an object with name, shape, datatype and data")
    name, shape, data = given["name"], given.get("shape"), given.get("data")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > MAX_DIMENSIONS:
        raise BadInput(f"the shape of {name!r} must be a list of at most {MAX_DIMENSIONS} whole numbers")
    options = _mapping(given.get("parameters"))
    if data is None:
        if "binary_data_size" in options:
            raise BadInput(f"the data of {name!r} is in the binary extension, which is not read: send it as JSON")
        raise BadInput(f"the tensor {name!r} has no data")
    count, inner = (shape[0], tuple(shape[1:])) if shape else (1, ())
    if count > MAX_ROWS:
        raise BadInput(f"{count} rows are more than {MAX_ROWS}: send them in parts")
    flat = _flat(data, MAX_DIMENSIONS)
    if len(flat) != count * math.prod(inner):
        raise BadInput(f"{name!r} has {len(flat)} values, its shape {shape} says {count * math.prod(inner)}")
    if (options.get("content_type") or shared_type) == "base64" and given.get("datatype") == "BYTES":
        flat = [_decoded(one) for one in flat]
    return _Tensor(name, count, inner, flat)


def _flat(data: Any, depth: int) -> list[Any]:
    """Flat or nested data as one list."""
    if not isinstance(data, list):
        return [data]
    while any(isinstance(one, list) for one in data):
        depth -= 1
        if depth < 0:
            raise BadInput(f"data is nested deeper than {MAX_DIMENSIONS} lists")
        data = [value for one in data for value in (one if isinstance(one, list) else [one])]
    return list(data)


def _decoded(value: Any) -> Any:
    """Text that was sent as base64; bytes that are no text stay as they were sent."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (ValueError, TypeError):
        return value


def _seldon(data: Mapping[str, Any]) -> list[Any]:
    """Rows of Seldon's own protocol: ``{"names": […], "ndarray": [[…]]}`` or a ``tensor`` with shape and values."""
    if isinstance(data.get("ndarray"), list):
        return _bounded(list(data["ndarray"]))
    if isinstance(data.get("tensor"), Mapping):
        given = data["tensor"]
        return _tensor({"name": "tensor", "shape": given.get("shape"), "data": given.get("values")}, None).cells()
    raise BadInput("data has neither ndarray nor tensor")


def _bounded(found: list[Any]) -> list[Any]:
    if len(found) > MAX_ROWS:
        raise BadInput(f"{len(found)} rows are more than {MAX_ROWS}: send them in parts")
    return found


def _content_type(body: Mapping[str, Any]) -> str | None:
    return _text(_mapping(body.get("parameters")).get("content_type"))


def _own_id(*bodies: Any) -> str | None:
    found: Iterable[Any] = (body.get("id") for body in bodies if isinstance(body, Mapping))
    return next((str(one) for one in found if isinstance(one, (str, int)) and one != ""), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
