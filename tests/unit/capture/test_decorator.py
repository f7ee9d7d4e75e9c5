"""The decorator and the block: one record on success, an error counted else, and the function as it was."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest

from driftwell.capture.decorator import Capturing, captured
from driftwell.capture.recorder import Recorder
from driftwell.errors import BadInput


@dataclass
class Model:
    """All a monitor is to the decorator."""

    recorder: Recorder
    name: str = "m"
    version: str = "v"

    def record_prediction(self, features: Any, prediction: Any = None, **fields: Any) -> str:
        return self.recorder.offer("m", "v", features, prediction, **fields)


@pytest.fixture
def monitor(recorder) -> Model:
    return Model(recorder)


def rows(monitor: Model, store: Any) -> list[tuple[Any, Any]]:
    assert monitor.recorder.flush(10)
    return [(row["features"], msgspec.json.decode(row["prediction"])) for row in store.rows()]


def test_arguments_are_features_and_the_result_is_the_prediction(monitor, store):
    def predict(a: float, b: str = "x", *, c: int = 3, **more: Any) -> float:
        """Doubles."""
        return a * 2

    seen = captured(monitor, predict, {})
    assert (seen(1.5, c=4, d="more"), seen(2.0, "y")) == (3.0, 4.0)
    assert rows(monitor, store) == [
        ({"a": 1.5, "b": "x", "c": 4.0, "d": "more"}, 3.0),
        ({"a": 2.0, "b": "y", "c": 3.0, "d": None}, 4.0),
    ]
    assert (seen.__name__, seen.__doc__, inspect.signature(seen)) == ("predict", "Doubles.", inspect.signature(predict))
    assert all(row["latency_seconds"] >= 0 for row in store.rows())


def test_paths_and_functions_say_where_things_lie(monitor, store):
    @dataclass
    class Answer:
        label: str
        scores: list[float]

    def predict(request: dict[str, Any], user: str) -> dict[str, Answer]:
        return {"best": Answer("late", [0.1, 0.9])}

    where = {"features": "request.x", "prediction": "best.label", "score": "best.scores.-1", "entity_id": "user",
             "prediction_id": lambda given, result: given["user"] + result["best"].label}  # fmt: skip
    captured(monitor, predict, where)({"x": {"a": 1}}, "ada")
    assert rows(monitor, store) == [({"a": 1.0}, "late")]
    (row,) = store.rows()
    assert (row["score"], row["entity_id"], row["prediction_id"]) == (0.9, "ada", "adalate")


def test_some_arguments_or_a_function_of_them(monitor, store):
    captured(monitor, lambda a, b, c: 1, {"features": ["a", "c"]})(1, 2, 3)
    captured(monitor, lambda a, b, c: 1, {"features": lambda given: {"sum": sum(given.values())}})(1, 2, 3)
    assert [{k: v for k, v in f.items() if v is not None} for f, _ in rows(monitor, store)] == [
        {"a": 1.0, "c": 3.0},
        {"sum": 6.0},
    ]


def test_methods_leave_themselves_out(monitor, store):
    class Thing:
        def predict(self, a: int) -> int:
            return a

    Thing.predict = captured(monitor, Thing.predict, {})
    assert Thing().predict(5) == 5
    assert rows(monitor, store) == [({"a": 5.0}, 5)]


def test_async_functions(monitor, store):
    async def predict(a: int) -> int:
        await asyncio.sleep(0)
        return a

    seen = captured(monitor, predict, {})
    assert inspect.iscoroutinefunction(seen)
    assert asyncio.run(seen(5)) == 5
    assert rows(monitor, store) == [({"a": 5.0}, 5)]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_is_an_error_and_no_record(monitor, store, is_async):
    def fails(a: int) -> None:
        raise ZeroDivisionError("theirs")

    async def fails_later(a: int) -> None:
        fails(a)

    seen = captured(monitor, fails_later if is_async else fails, {})
    with pytest.raises(ZeroDivisionError, match="theirs"):
        asyncio.run(seen(1)) if is_async else seen(1)
    assert rows(monitor, store) == []
    assert (monitor.recorder.stats()["errors"], monitor.recorder.stats()["offered"]) == (1, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interruption_is_no_error(monitor, error):
    def interrupted() -> None:
        raise error

    with pytest.raises(error):
        captured(monitor, interrupted, {})()
    with pytest.raises(error), Capturing(monitor, {}):
        raise error
    assert (monitor.recorder.stats()["errors"], monitor.recorder.stats()["offered"]) == (0, 0)


def test_features_are_those_before_the_call(monitor, store):
    def scales(x: np.ndarray) -> float:
        x *= 0
        return 1.0

    captured(monitor, scales, {"features": "x"})(np.array([1.0, 2.0]))
    features = {"a": 1}
    with Capturing(monitor, features) as record:
        features["a"] = 0
        record.prediction = 2.0
    assert [{k: v for k, v in f.items() if v is not None} for f, _ in rows(monitor, store)] == [
        {"f0": 1.0, "f1": 2.0},
        {"a": 1.0},
    ]


def test_an_extractor_that_fails_costs_the_record_alone(monitor, caplog):
    def hostile(given: Any, result: Any) -> Any:
        raise SystemExit("theirs")

    for where in ({"score": "nowhere.1"}, {"segment": hostile}, {"features": lambda given: given["no"]}):
        assert captured(monitor, lambda a: {"y": a}, where)("raw") == {"y": "raw"}
    assert monitor.recorder.stats()["rejected"] == {"extractor": 3}
    assert "score not found" in caplog.text
    assert "raw" not in caplog.text


def test_wrong_arguments_raise_what_they_always_raise(monitor):
    def predict(a: int) -> int:
        return a

    with pytest.raises(TypeError) as bare:
        predict(1, 2)
    with pytest.raises(TypeError) as seen:
        captured(monitor, predict, {})(1, 2)
    assert str(seen.value) == str(bare.value)
    assert monitor.recorder.stats()["offered"] == 0


def generator(a: int) -> Any:
    yield a


async def later(a: int) -> Any:
    yield a


@pytest.mark.parametrize(
    ("function", "where", "message"),
    [
        (generator, {}, "a generator gives many values"),
        (later, {}, "a generator gives many values"),
        (lambda a: a, {"features": "b"}, r"no argument 'b'\. Arguments are: a"),
        (lambda a: a, {"segment": 3}, "segment is the name of an argument"),
        (lambda a: a, {"score": 3}, "score is a path into the result"),
        (3, {}, "signature"),
    ],
)
def test_what_cannot_be_decorated_is_an_error_at_once(monitor, function, where, message):
    with pytest.raises(BadInput, match=message):
        captured(monitor, function, where)


def test_switched_off_it_only_calls(monitor, monkeypatch):
    monitor.recorder.enabled = False
    monkeypatch.setattr(inspect.Signature, "bind", lambda *args, **kwargs: pytest.fail("arguments were looked at"))

    def predict(a: int) -> int:
        return a

    assert captured(monitor, predict, {})(3) == 3
    with Capturing(monitor, None) as record:
        record.prediction = 1
    with pytest.raises(ZeroDivisionError), Capturing(monitor, None):
        raise ZeroDivisionError
    stats = monitor.recorder.stats()
    assert (stats["offered"], stats["errors"], stats["skipped"]) == (0, 0, {})


def test_a_block_says_what_it_knows(monitor, store):
    with Capturing(monitor, {"a": 1}, segment="north", metadata={"k": 1}) as record:
        told = record.prediction_id
        record.prediction, record.score, record.true_label = "late", 0.7, "late"
    assert monitor.recorder.flush(10)
    (row,) = store.rows()
    assert (row["prediction_id"], row["segment"], row["score"]) == (told, "north", 0.7)
    assert row["latency_seconds"] >= 0
    assert [label.true_label for label in store.labels] == ['"late"']


def test_a_block_may_be_discarded_and_fails_aloud(monitor):
    with Capturing(monitor, {"a": 1}) as record:
        record.discard()
    with pytest.raises(ZeroDivisionError), Capturing(monitor, {"a": 1}):
        raise ZeroDivisionError
    with pytest.raises(AttributeError), Capturing(monitor, {"a": 1}) as record:
        record.predicton = 1
    stats = monitor.recorder.stats()
    assert (stats["offered"], stats["errors"], stats["skipped"]) == (0, 2, {"discarded": 1})


def test_features_nobody_can_read_are_rejected_and_nothing_raises(monitor):
    with Capturing(monitor, {1, 2}) as record:
        record.prediction = 1
    assert captured(monitor, lambda a: 1, {"features": "a"})("text") == 1
    assert monitor.recorder.stats()["rejected"] == {"features": 2}
