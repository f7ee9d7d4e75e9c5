"""Line protocol and InfluxQL: how names, texts and numbers are written so that the server reads the same back.

A tag value can be neither empty nor hold line breaks, NUL or a backslash at its end. Such names are written with
percent escapes: ``%0A``, ``%5C``, ``%25`` for the percent sign, and a lone ``%`` for the empty name.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from driftwell.errors import BadInput

__all__ = [
    "FIRST_US",
    "LAST_US",
    "MAX_NAME_BYTES",
    "bucket_of",
    "field_text",
    "key",
    "literal",
    "nanosecond_of",
    "portions",
    "tag",
    "tag_literal",
    "untag",
    "where",
]

FIRST_US, LAST_US = -9_223_372_036_854_775, 9_223_372_036_854_774
"""The event times, in whole microseconds, that fit into the server's nanoseconds: 1677-09-21 to 2262-04-11."""
MAX_NAME_BYTES = 8_000
"""Of a model, version or feature name: all names of a series have to fit into 64 kB."""
BUCKETS = 64
POINTS_A_REQUEST, BYTES_A_REQUEST = 50_000, 16_000_000
"""The server takes bodies of up to 25 MB, compressed."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029%\\]")
_SPECIAL = re.compile(r"([,= ])")


def nanosecond_of(prediction_id: str) -> int:
    """0…999 from the id: the place within its microsecond where a row goes when it is free."""
    return zlib.crc32(prediction_id.encode()) % 1000


def bucket_of(prediction_id: str) -> str:
    """One of 64 tags by which a prediction is found again without reading all of them."""
    return f"{zlib.crc32(prediction_id.encode()) // 1000 % BUCKETS:02x}"


def tag(name: str) -> str:
    """The tag value of a name, not yet escaped for line protocol. Raises ``BadInput``.

    >>> tag("50%\\n"), tag("")
    ('50%25%0A', '%')
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError as exc:
        raise BadInput(f"a model, version or feature name is not valid Unicode text: {name!r}") from exc
    if size > MAX_NAME_BYTES:
        raise BadInput(f"InfluxDB takes names of up to {MAX_NAME_BYTES:,} bytes, this one has {size:,}: {name[:60]!r}…")
    return _UNFIT.sub(lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), name) or "%"


def untag(value: str) -> str:
    """The name of a tag value."""
    return "" if value == "%" else unquote(value)


def key(measurement: str, tags: Mapping[str, str]) -> str:
    """Measurement and tags, in the order in which the server sorts them, of values made by ``tag``."""
    return ",".join([measurement, *(name + "=" + _SPECIAL.sub(r"\\\1", tags[name]) for name in sorted(tags))])


def field_text(text: str) -> str:
    """A text as a field's value."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def portions(groups: Iterable[list[str]]) -> Iterator[list[str]]:
    """Lines in lists fit for one request each: neither many nor, where they hold long texts, large."""
    portion: list[str] = []
    size = 0
    for lines in groups:
        mean = sum(map(len, lines)) // max(1, len(lines)) + 1
        step = max(1, min(POINTS_A_REQUEST, BYTES_A_REQUEST // mean))
        for start in range(0, len(lines), step):
            some = lines[start : start + step]
            larger = size + mean * len(some)
            if portion and (len(portion) + len(some) > POINTS_A_REQUEST or larger > BYTES_A_REQUEST):
                yield portion
                portion, larger = [], mean * len(some)
            portion += some
            size = larger
    if portion:
        yield portion


def literal(text: str) -> str:
    """A text without NUL in a query."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def tag_literal(name: str) -> str:
    """A name in a query, as it stands in a tag."""
    return literal(tag(name))


def where(conditions: Iterable[str]) -> str:
    """The clause of all conditions, empty without any."""
    joined = " AND ".join(conditions)
    return f" WHERE {joined}" if joined else ""
