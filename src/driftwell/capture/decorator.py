"""Recording around a function or a block: on success one record, on an exception an error is counted; nothing else.

What the function is given, returns and raises stays what it was, and so do its signature and its name.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

from driftwell.capture.ids import new_id
from driftwell.capture.middleware.paths import MISSING
from driftwell.capture.patience import Seldom
from driftwell.capture.snapshot import RAISABLE, row_of
from driftwell.errors import BadInput

__all__ = ["Capturing", "FieldSink", "Recording", "captured"]

logger = logging.getLogger("driftwell.capture")

Function = TypeVar("Function", bound=Callable[..., Any])
Found = Callable[[Mapping[str, Any], Any], Any]

ANSWERS = ("prediction", "score", "probability")


class FieldSink(Protocol):
    """The part of the recorder that is used here; none of it raises or waits."""

    @property
    def enabled(self) -> bool:
        """Whether anything is recorded at all."""

    def note_error(self, model: str, version: str) -> None:
        """Count a call that failed."""

    def note_skipped(self, model: str, version: str, reason: str) -> None:
        """Count a call that was passed over."""

    def note_refused(self, model: str, version: str, reasons: Mapping[str, int]) -> None:
        """Count records that were refused, by reason."""


class Recording(Protocol):
    """What is needed of a monitor."""

    @property
    def name(self) -> str:
        """The model."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def recorder(self) -> FieldSink:
        """Where calls are counted."""

    @property
    def record_prediction(self) -> Callable[..., str]:
        """Where records go."""


class Capturing:
    """One prediction while a block makes it: set what is known, the rest happens at the end of the block.

    ``prediction_id`` is known from the beginning, so that it can be part of an answer.
    """

    __slots__ = (
        "_dropped", "_features", "_live", "_monitor", "_started", "entity_id", "metadata", "prediction",
        "prediction_id", "probability", "score", "segment", "timestamp", "true_label",
    )  # fmt: skip

    def __init__(
        self,
        monitor: Recording,
        features: Any,
        *,
        prediction_id: Any = None,
        timestamp: Any = None,
        segment: Any = None,
        entity_id: Any = None,
        metadata: Any = None,
    ) -> None:
        self._monitor = monitor
        self._dropped = False
        self.prediction: Any = None
        self.score: Any = None
        self.probability: Any = None
        self.true_label: Any = None
        self.prediction_id = new_id() if prediction_id is None else prediction_id
        self.timestamp = timestamp
        self.segment = segment
        self.entity_id = entity_id
        self.metadata = metadata
        self._live = monitor.recorder.enabled
        self._features = _own(features) if self._live else None
        self._started = time.perf_counter()

    def discard(self) -> None:
        """Do not record this one; it is counted under ``skipped``."""
        self._dropped = True

    def __enter__(self) -> Capturing:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        monitor = self._monitor
        if not self._live:
            return
        if error is not None:
            if isinstance(error, Exception):  # a cancelled or interrupted block has not failed
                monitor.recorder.note_error(monitor.name, monitor.version)
            return
        if self._dropped:
            monitor.recorder.note_skipped(monitor.name, monitor.version, "discarded")
            return
        monitor.record_prediction(
            self._features,
            self.prediction,
            score=self.score,
            probability=self.probability,
            prediction_id=self.prediction_id,
            timestamp=self.timestamp,
            segment=self.segment,
            entity_id=self.entity_id,
            latency_seconds=seconds,
            metadata=self.metadata,
            true_label=self.true_label,
        )


def captured(monitor: Recording, function: Function, where: Mapping[str, Any]) -> Function:
    """``function``, with each of its calls recorded.

    Raises
    ------
    BadInput
        The function is a generator, has no readable signature, or ``where`` names no argument of it.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise BadInput("a generator gives many values: record each with record_prediction, or in a capturing block")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as exc:
        raise BadInput(f"capture decorates a function whose signature can be read. Got {function!r}") from exc
    features = _features_of(where.get("features"), signature)
    others = {
        name: _finder(name, path, signature)
        for name, path in {"prediction": None, **where}.items()
        if name != "features" and (path is not None or name == "prediction")
    }

    seldom = Seldom()

    def begin(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The arguments by name, as they are before the call, which may change them."""
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return None  # the call itself will raise it
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(name)
        return given

    def failed() -> None:
        monitor.recorder.note_error(monitor.name, monitor.version)

    def read(find: Found, given: Mapping[str, Any], result: Any = None) -> Any:
        """What an extractor gives; ``MISSING`` where it fails, which never reaches the caller."""
        try:
            return find(given, result)
        except RAISABLE:  # a function of the user's, beside the one that was called
            return MISSING

    def record(row: Any, given: Mapping[str, Any], result: Any, seconds: float) -> None:
        found = {name: read(find, given, result) for name, find in others.items()}
        absent = [name for name, value in (("features", row), *found.items()) if value is MISSING]
        if absent:
            monitor.recorder.note_refused(monitor.name, monitor.version, {"extractor": 1})
            if seldom.permits("extractor"):
                logger.warning("a call of %s cannot be recorded: %s not found", monitor.name, ", ".join(absent))
            return
        monitor.record_prediction(row, latency_seconds=seconds, **found)

    def copied(given: Mapping[str, Any]) -> Any:
        row = read(features, given)
        return row if row is MISSING else _own(row)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def recorded(*args: Any, **kwargs: Any) -> Any:
            given = begin(args, kwargs) if monitor.recorder.enabled else None
            if given is None:
                return await function(*args, **kwargs)
            row = copied(given)
            started = time.perf_counter()
            try:
                result = await function(*args, **kwargs)
            except Exception:
                failed()
                raise
            record(row, given, result, time.perf_counter() - started)
            return result

    else:

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            given = begin(args, kwargs) if monitor.recorder.enabled else None
            if given is None:
                return function(*args, **kwargs)
            row = copied(given)
            started = time.perf_counter()
            try:
                result = function(*args, **kwargs)
            except Exception:
                failed()
                raise
            record(row, given, result, time.perf_counter() - started)
            return result

    return recorded  # type: ignore[return-value]


def _own(features: Any) -> Any:
    """A copy of the row, since the caller may change what was passed; what is no row is refused when recorded."""
    if features is None:
        return None
    try:
        row = row_of(features)
    except RAISABLE:  # the objects of a caller may raise anything
        row = None
    return object() if row is None else row


def _features_of(where: Any, signature: inspect.Signature) -> Found:
    """All arguments by name, some of them, one argument or what lies in it, or what a function says."""
    if where is None:
        names = [name for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        own = set(names[:1]) & {"self", "cls"}
        return lambda given, result: {name: value for name, value in given.items() if name not in own}
    if callable(where):
        return lambda given, result: where(given)
    if isinstance(where, (list, tuple)):
        found = {name: _finder("features", name, signature) for name in where}
        return lambda given, result: {name: find(given, result) for name, find in found.items()}
    return _finder("features", where, signature)


def _finder(name: str, where: Any, signature: inspect.Signature) -> Found:
    """Where a field lies: answers in the result, everything else in the arguments, or a function of both."""
    if callable(where):
        return lambda given, result: where(given, result)
    if name in ANSWERS:
        if where is not None and not isinstance(where, str):
            raise BadInput(f"{name} is a path into the result, or a function of (arguments, result). Got {where!r}")
        parts = where.split(".") if where else []
        return lambda given, result: _walk(result, parts)
    if not isinstance(where, str) or not where:
        raise BadInput(f"{name} is the name of an argument, or a function of (arguments, result). Got {where!r}")
    first, *rest = where.split(".")
    named = [n for n, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
    if first not in named and len(named) == len(signature.parameters):
        raise BadInput(f"{name}: there is no argument {first!r}. Arguments are: {', '.join(named) or 'none'}")
    return lambda given, result: _walk(given[first], rest)


def _walk(value: Any, parts: Sequence[str]) -> Any:
    """Follow keys, indexes and attributes, whichever the value has; raises where there is none."""
    for part in parts:
        if isinstance(value, Mapping):
            value = value[part]
        elif part.removeprefix("-").isdecimal():
            value = value[int(part)]
        else:
            value = getattr(value, part)
    return value
