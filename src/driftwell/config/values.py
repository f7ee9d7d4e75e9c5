"""How a value is read, whether it comes from Python, TOML or the text of an environment variable."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from driftwell.errors import BadInput, shown

__all__ = [
    "BOOLEAN",
    "COUNT",
    "INTERVAL",
    "KINDS",
    "LIST",
    "METHOD",
    "NAMES",
    "NETWORKS",
    "PATH",
    "PORT",
    "POSITIVE",
    "PREFIX",
    "PYTHON",
    "QUALITY",
    "REDACT",
    "SHARE",
    "SIZE",
    "TEXT",
    "THRESHOLD",
    "TOLERANCE",
    "UPDATE",
    "Kind",
    "format_duration",
    "one_of",
    "parse_duration",
    "parse_size",
]

_NUMBER = r"\d{1,9}(?:[.,]\d{1,9})?"
_DURATION = re.compile(
    rf"P(?=\d|T\d)(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?=\d)(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?",
    re.ASCII,
)
_SIZE = re.compile(r"(\d{1,15})(\.\d{1,9})?\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}


def parse_duration(value: str | timedelta) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds; a timedelta is returned as it is.

    Years and months are refused, because their length depends on the calendar. Raises ``BadInput``.

    Examples
    --------
    >>> parse_duration("P1DT1H") == timedelta(days=1, hours=1)
    True
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise BadInput(f"a duration cannot be negative, got {value}")
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadInput(f"not an ISO 8601 duration: {shown(value)}; write PT30M, PT1H or P7D (no years or months)")
    parts = {unit: float(text.replace(",", ".")) for unit, text in found.groupdict(default="0").items()}
    try:
        return timedelta(**parts)
    except OverflowError as exc:
        raise BadInput(f"the duration {shown(value)} is too long") from exc


def format_duration(value: timedelta) -> str:
    """The ISO 8601 text of a duration, in days, hours, minutes and seconds; undoes ``parse_duration``.

    Examples
    --------
    >>> format_duration(timedelta(hours=25, minutes=30)), format_duration(timedelta(0))
    ('P1DT1H30M', 'PT0S')
    """
    minutes, whole = divmod(value.seconds, 60)
    seconds = f"{whole}.{value.microseconds:06}".rstrip("0").rstrip(".") if value.microseconds else str(whole)
    clock = ((str(minutes // 60), "H"), (str(minutes % 60), "M"), (seconds, "S"))
    days = f"{value.days}D" if value.days else ""
    time = "".join(number + unit for number, unit in clock if number != "0")
    return f"P{days}{'T' + time if time else ''}" if days or time else "PT0S"


def parse_size(value: str | int) -> int:
    """A number of bytes: a whole number, or text with a unit.

    ``kB MB GB TB`` are powers of 1000, ``KiB MiB GiB TiB`` of 1024. Raises ``BadInput``.

    Examples
    --------
    >>> parse_size("256MiB"), parse_size("1.5 kB"), parse_size(42)
    (268435456, 1500, 42)
    """
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    unit = _UNITS.get(found[3].lower()) if found else None
    if found is None or unit is None:
        raise BadInput(f"not a size in bytes: {shown(value)}; write 256MiB, 1GB or a whole number")
    return int(found[1]) * unit + int(float(found[2] or 0) * unit)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: its name in the documentation, and how one is read.

    ``read`` raises ``ValueError``, ``TypeError``, ``KeyError`` or ``OverflowError`` on anything else; the
    caller turns that into an error that names the setting.
    """

    words: str
    read: Callable[[Any], Any]


def one_of(*words: str) -> Kind:
    """One of a few words.

    Examples
    --------
    >>> one_of("log", "file").read("log")
    'log'
    """

    def read(value: Any) -> Any:
        if value not in words:
            raise ValueError
        return value

    return Kind(" or ".join(words), read)


def _number(low: float, high: float, *, above_low: bool = False) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        number = float(value)
        if isinstance(value, bool) or not low <= number <= high or (above_low and number == low):
            raise ValueError
        return number

    return read


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value)
        if isinstance(value, bool) or number != float(value) or not low <= number <= high:
            raise ValueError
        return number

    return read


def _interval(value: Any) -> timedelta:
    interval = parse_duration(value)
    if not interval:
        raise ValueError
    return interval


_WORDS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


def _boolean(value: Any) -> bool:
    return _WORDS[str(value).lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _python(value: Any) -> Any:
    if not callable(value):
        raise TypeError
    return value


def _json(value: Any) -> Any:
    """Environment variables carry tables and lists as JSON text."""
    return json.loads(value) if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") else value


def _list(value: Any) -> tuple[Any, ...]:
    found = _json(value)
    if isinstance(found, str):
        return tuple(part.strip() for part in found.split(",") if part.strip())
    if not isinstance(found, Sequence):
        raise TypeError
    return tuple(found)


def _networks(value: Any) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(text)) for text in _list(value))


def _table(of: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def read(value: Any) -> dict[str, Any]:
        return {_text(key): of(item) for key, item in dict(_json(value)).items()}

    return read


def _or_table(single: Callable[[Any], Any], of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = _json(value)
        return _table(of)(found) if isinstance(found, Mapping) else single(found)

    return read


def _names(value: Any) -> Any:
    return value if isinstance(value, str) else _list(value)


_LEVEL = _number(0, 1e300)


def _tolerance(value: Any) -> Any:
    found = _json(value)
    if isinstance(found, Mapping) and set(found) == {"abs"}:
        return {"abs": _LEVEL(found["abs"])}
    return _LEVEL(found)


def _tolerances(value: Any) -> Any:
    found = _json(value)
    if isinstance(found, Mapping) and "abs" not in found:
        return _table(_tolerance)(found)
    return _tolerance(found)


def _rules(value: Any) -> Any:
    """A table as it is, since its names are checked where the rules are known; true is the default, None."""
    found = _json(value)
    if isinstance(found, Mapping):
        return {_text(key): own for key, own in found.items()}
    return None if _boolean(found) else False


def _update(value: Any) -> Any:
    """A table as it is, since its keys are checked where updates are known; the word none is the default."""
    found = _json(value)
    return None if found == "none" else {_text(key): own for key, own in dict(found).items()}


def _prefix(value: Any) -> str:
    if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", _text(value), re.ASCII):
        raise ValueError
    return _text(value)


BOOLEAN = Kind("true or false", _boolean)
COUNT = Kind("whole number, 1 or more", _whole(1, 2**53))
INTERVAL = Kind("ISO 8601 duration above 0, such as PT1H", _interval)
_KINDS = ("numeric", "categorical", "boolean", "datetime", "text", "vector", "series")
KINDS = Kind(f"table of {', '.join(_KINDS[:-1])} or {_KINDS[-1]} by column", _table(one_of(*_KINDS).read))
LIST = Kind("list, or text with commas", _list)
METHOD = Kind("name, list of names, or table by column", _or_table(_names, _names))
NAMES = Kind("table of texts", _table(_text))
NETWORKS = Kind("list of addresses or networks such as 10.0.0.0/8", _networks)
PATH = Kind("path", lambda value: _text(os.fspath(value)))
PORT = Kind("port, 0 to 65535 (0: any free one)", _whole(0, 65535))
POSITIVE = Kind("number above 0", _number(0, 1e12, above_low=True))
PREFIX = Kind("letters, digits and _, or empty", _prefix)
PYTHON = Kind("Python function", _python)
QUALITY = Kind("false, or a table of rules by column", _rules)
REDACT = Kind("table of rules by column", _table(lambda rule: rule))
SHARE = Kind("number from 0 to 1", _number(0, 1))
SIZE = Kind("size in bytes, such as 256MiB", parse_size)
TEXT = Kind("text", _text)
THRESHOLD = Kind("number, 0 or more, or a table of them by method or column", _or_table(_LEVEL, _LEVEL))
TOLERANCE = Kind('number, 0 or more, {"abs": number}, or a table of these by metric', _tolerances)
UPDATE = Kind('none, {"last": rows} or {"reservoir_sampling": rows}', _update)
