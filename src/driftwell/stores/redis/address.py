"""What the address of a Redis store says: how to connect, how keys begin, and how many rows are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from driftwell.errors import BadInput

__all__ = ["MOST_ROWS_KEPT", "Address", "parse_address"]

MOST_ROWS_KEPT = 1_000_000
EXAMPLE = "redis://127.0.0.1:6379/0"

_OURS = ("prefix", "max_rows")
_SCHEMES = ("redis", "rediss", "unix")
_DECODING = ("decode_responses", "encoding", "encoding_errors")


@dataclass(frozen=True, slots=True)
class Address:
    """``driver_url`` goes to redis-py and may hold ``secrets``; ``shown`` is fit for a log line."""

    driver_url: str = field(repr=False)
    shown: str
    prefix: str
    max_rows: int
    secrets: frozenset[str] = field(repr=False)

    @property
    def beginning(self) -> str:
        """How every key begins: the prefix, with a hash tag that keeps all keys in one slot of a cluster."""
        return self.prefix if "{" in self.prefix else f"{self.prefix}{{all}}:"

    def without_secrets(self, text: str) -> str:
        """The text, with stars for passwords."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def parse_address(url: str) -> Address:
    """Take our options out of ``url``; the others are redis-py's. Raises ``BadInput`` with no secret in it.

    >>> address = parse_address("redis://:secret@localhost:6379/2?prefix=shop:&max_rows=5000&socket_timeout=3")
    >>> address.shown, address.beginning, address.max_rows
    ('redis://localhost:6379/2?prefix=shop%3A&max_rows=5000', 'shop:{all}:', 5000)
    """
    try:
        parts = urlsplit(url)
        port, query = parts.port, parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as exc:
        raise BadInput(f"the address of the Redis store cannot be read; write it like {EXAMPLE}") from exc
    if parts.scheme not in _SCHEMES:
        raise BadInput(f"a Redis store is named like {EXAMPLE}, with redis://, rediss:// or unix://")
    path = parts.path.strip("/")
    if parts.scheme != "unix" and path and not (path.isascii() and path.isdigit()):
        raise BadInput(f"the number of the Redis database is a whole number, as in {EXAMPLE}; got {path!r}")
    ours = {name: value for name, value in query if name in _OURS}
    theirs = [(name, value) for name, value in query if name not in _OURS]
    for name, _ in theirs:
        if name in _DECODING:
            raise BadInput(f"the Redis store reads bytes: take {name!r} out of its address")
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    netloc = host + (f":{port}" if port else "")
    shown = [(name, value) for name, value in query if name in ("db", *_OURS)]
    return Address(
        driver_url=urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(theirs, quote_via=quote), "")),
        shown=f"{parts.scheme}://{netloc}{parts.path}" + (f"?{urlencode(shown)}" if shown else ""),
        prefix=_prefix(ours.get("prefix", "driftwell:")),
        max_rows=_max_rows(ours.get("max_rows", str(MOST_ROWS_KEPT))),
        secrets=frozenset(
            value for value in (parts.password, unquote(parts.password or ""), *_passwords(theirs)) if value
        ),
    )


def _passwords(query: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in query if "password" in name]


def _prefix(prefix: str) -> str:
    tag = prefix.partition("{")[2].partition("}")
    if not prefix or ("{" in prefix and not (tag[0] and tag[1])):
        raise BadInput(f"prefix= is a word that keys begin with, such as driftwell: or {{shop}}:; got {prefix!r}")
    return prefix


def _max_rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise BadInput(f"max_rows= is a whole number above 0; got {text!r}")
    return int(text)
