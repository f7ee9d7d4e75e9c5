"""Prediction ids: UUIDv7 where none is given, given ones made fit to store, sampling by id."""

from __future__ import annotations

import hashlib
import os
import random
import time

__all__ = ["MAX_ID_LENGTH", "IdSource", "id_from", "is_kept", "is_usable", "new_id"]

MAX_ID_LENGTH = 512

_LOW_62 = (1 << 62) - 1
_LOW_48 = (1 << 48) - 1


def new_id() -> str:
    """A UUIDv7 (RFC 9562): ids made later sort later, to the millisecond.

    Examples
    --------
    >>> import uuid
    >>> uuid.UUID(new_id()).version
    7
    """
    return _uuid7(time.time(), int.from_bytes(os.urandom(10), "big") >> 6)


class IdSource:
    """Makes UUIDv7 without a system call for each: its random bits are seeded by the system once.

    A forked child must call ``reseed``, or it would repeat the ids of its parent.
    """

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        """Start a sequence of its own."""
        self._bits = random.Random(os.urandom(32)).getrandbits  # noqa: S311 - unique, not secret

    def make(self, now_seconds: float) -> str:
        """A new id for this moment (seconds since 1970)."""
        return _uuid7(now_seconds, self._bits(74))


def _uuid7(now_seconds: float, bits: int) -> str:
    moment = int(now_seconds * 1000) & _LOW_48
    low = bits & _LOW_62
    groups = (moment >> 16, moment & 0xFFFF, bits >> 62, 0x8000 | low >> 48, low & _LOW_48)
    return "%08x-%04x-7%03x-%04x-%012x" % groups  # noqa: UP031 - half the time of an f-string here


def id_from(value: object) -> str:
    """The text of a given id; what ``str`` of a hostile object raises passes through."""
    return value if type(value) is str else str.__str__(str(value))


def is_usable(text: str) -> bool:
    """Whether an id or a name can be kept: 1 to 512 printable characters, as over HTTP.

    Examples
    --------
    >>> is_usable("request 17"), is_usable(""), is_usable("a" * 513), is_usable("a\\nb")
    (True, False, False, False)
    """
    return 0 < len(text) <= MAX_ID_LENGTH and text.isprintable()


def is_kept(prediction_id: str, rate: float) -> bool:
    """Whether an id is recorded at this sampling rate (0…1): by its hash, so that every process decides alike.

    Examples
    --------
    >>> is_kept("a", 1.0), is_kept("a", 0.0)
    (True, False)
    """
    if rate >= 1:
        return True
    digest = hashlib.blake2b(prediction_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < rate * 2**64
