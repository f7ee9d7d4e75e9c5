"""Where a value lies in an exchange: a dotted path into its JSON, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from driftwell.errors import BadInput

__all__ = ["MISSING", "Extractor", "extractor", "look_up"]

Extractor = Callable[[Any, Any], Any]
"""``extract(request_json, response_json)``; ``MISSING`` where there is nothing."""

Side = Literal["request", "response"]


class _Missing:
    """Nothing lies there; None would be a value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def extractor(where: Any, name: str, *sides: Side) -> Extractor | None:
    """Turn an option of the middleware into a function; None stays None.

    A path is looked up on each of ``sides`` in turn, the first that has a value there wins.

    Raises
    ------
    BadInput
        It is neither text nor a function.

    Examples
    --------
    >>> find = extractor("rows.0.x", "features", "request")
    >>> find({"rows": [{"x": 3}]}, None)
    3
    """
    if where is None:
        return None
    if callable(where):
        return where  # type: ignore[no-any-return]
    if not isinstance(where, str):
        raise BadInput(f"{name} is a dotted path such as 'x', or a function of (request, response). Got {where!r}")
    parts = where.split(".") if where else []

    if len(parts) == 1 and len(sides) == 1:
        return _member(parts[0], of_request=sides[0] == "request")
    if sides == ("request",):
        return lambda request, response: look_up(request, parts)
    if sides == ("response",):
        return lambda request, response: look_up(response, parts)

    def extract(request: Any, response: Any) -> Any:
        found = MISSING
        for side in sides:
            value = look_up(request if side == "request" else response, parts)
            if value is not MISSING:
                found = value
            if value is not MISSING and value is not None:
                break
        return found

    return extract


def _member(name: str, *, of_request: bool) -> Extractor:
    """The same for one name, in fewer steps."""

    def extract(request: Any, response: Any) -> Any:
        document = request if of_request else response
        return document.get(name, MISSING) if type(document) is dict else look_up(document, [name])

    return extract


def look_up(document: Any, parts: list[str]) -> Any:
    """Follow names of objects and indexes of lists; ``MISSING`` where the way ends too early.

    Examples
    --------
    >>> look_up({"a": [{"b": 1}]}, ["a", "0", "b"]), look_up({"a": 1}, ["b"]), look_up([7], [])
    (1, MISSING, [7])
    """
    for part in parts:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and _is_index(part, len(document)):
            document = document[int(part)]
        else:
            return MISSING
    return document


def _is_index(part: str, length: int) -> bool:
    return part.removeprefix("-").isdecimal() and -length <= int(part) < length
