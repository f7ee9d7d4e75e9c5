"""The user's own limits: read, checked against the columns, and refused with one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftwell.config import parse_duration
from driftwell.errors import BadInput, UnknownName
from driftwell.frame import text_of

__all__ = ["COLUMN_RULES", "MARGINS", "TABLE_RULES", "check_options"]

EVERY = "*"
EARLIER = "earlier"


@dataclass(frozen=True, slots=True)
class _About:
    """What a rule says, which kinds of columns it reads (None: every kind), and how its limit is read."""

    meaning: str
    kinds: tuple[str, ...] | None = None


COLUMN_RULES: dict[str, _About] = {
    "type": _About("the column is there and holds values of the reference's kind"),
    "invalid": _About("cells that cannot be read as the column's kind"),
    "missing": _About("the share of rows without a value"),
    "range": _About("numbers within the range of the reference", ("numeric",)),
    "allowed": _About("categories that are known", ("categorical",)),
    "frozen": _About(
        "a column that varied still does: no value holds nearly all",
        ("numeric", "categorical", "boolean", "text", "vector"),
    ),
}

TABLE_RULES: dict[str, str] = {
    "duplicates": "rows that repeat an earlier one in every feature",
    "volume": "the number of rows",
    "freshness": "the age of the newest row",
}

MARGINS: dict[str, tuple[float, float]] = {
    "missing": (0.05, 0.50),
    "invalid": (0.01, 0.30),
    "allowed": (0.005, 0.50),
    "duplicates": (0.05, 0.30),
}
"""How far a share may rise above the reference's before it is a warning, and before it is critical."""


def check_options(settings: Mapping[str, Any] | None, kinds: Mapping[str, str] | None = None) -> dict[Any, Any]:
    """``{(column, rule): limit}`` from nested settings; a limit is False (off), True (as learned) or the user's own.

    ``kinds`` are the columns there are; None leaves the names of columns unchecked.

    Raises
    ------
    UnknownName
        There is no such rule or column; the message names the nearest.
    BadInput
        A limit cannot be used.

    Examples
    --------
    >>> check_options({"age": {"range": [0, 120]}, "*": {"freshness": "PT2H"}})["age", "range"]
    (0.0, 120.0)
    """
    found: dict[tuple[str, str], Any] = {}
    if not isinstance(settings, Mapping | None):
        raise BadInput(f'quality is False or a dict such as {{"age": {{"range": [0, 120]}}}}. Got {settings!r}')
    for column, own in (settings or {}).items():
        if kinds is not None and column != EVERY and column not in kinds:
            raise UnknownName("column", column, [*kinds, EVERY])
        if isinstance(own, bool):
            own = dict.fromkeys([*COLUMN_RULES, *TABLE_RULES] if column == EVERY else COLUMN_RULES, own)
        if not isinstance(own, Mapping):
            raise BadInput(f"quality of {column!r} is False or a dict of rules. Got {own!r}")
        for name, value in own.items():
            _check_place(str(column), name, None if kinds is None else kinds.get(column), value)
            found[str(column), name] = value if isinstance(value, bool) else _read(str(column), name, value)
    return found


def _check_place(column: str, name: str, kind: str | None, value: Any) -> None:
    if name in TABLE_RULES:
        if column != EVERY:
            raise BadInput(f"{name} is a rule of all rows: write it under '*', not under {column!r}")
        return
    if name not in COLUMN_RULES:
        raise UnknownName("quality rule", name, [*COLUMN_RULES, *TABLE_RULES])
    reads = COLUMN_RULES[name].kinds
    if kind is not None and reads is not None and kind not in reads and not isinstance(value, bool):
        raise BadInput(f"{name} reads {' and '.join(reads)} columns; {column!r} is {kind}")


def _read(column: str, name: str, value: Any) -> Any:
    words, read = LIMITS[name]
    try:
        return read(value)
    except (TypeError, ValueError) as exc:
        raise BadInput(f"{name} of {column!r} must be {words}. Got {value!r}") from exc


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _bounds(value: Any) -> tuple[float, float]:
    low, high = value
    if isinstance(value, str) or not float(low) <= float(high):
        raise ValueError
    return float(low), float(high)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset) or not value:
        raise ValueError
    return tuple(sorted(text_of(name) for name in value))


def _volume(value: Any) -> tuple[int, int] | str:
    if value == EARLIER:
        return EARLIER
    low, high = _bounds(value)
    if low < 0:
        raise ValueError
    return int(low), int(high)


def _off_only(_: Any) -> Any:
    raise ValueError


LIMITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "type": ("true or false", _off_only),
    "invalid": ("a share from 0 to 1, or false", _share),
    "missing": ("a share from 0 to 1, or false", _share),
    "range": ("two numbers [low, high], or false", _bounds),
    "allowed": ("a list of values, or false", _names),
    "frozen": ("a share from 0 to 1, or false", _share),
    "duplicates": ("a share from 0 to 1, or false", _share),
    "volume": ("two row counts [low, high], 'earlier', or false", _volume),
    "freshness": ("an ISO 8601 duration such as PT2H, or false", parse_duration),
}
