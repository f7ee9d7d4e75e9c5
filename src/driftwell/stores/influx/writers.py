"""A number for each process that writes, so that no two of them can write a point in the same place.

InfluxDB overwrites a point of the same tags and time without a word. Rows of one process find free places by looking;
rows of two processes are kept apart by the tag ``slot``, which begins with the number of the writer. A number is
claimed with a point of ``model_writers`` and then by reading all claims of it: of two who claim the same number, the
one who wrote later sees the other, and takes another. So two never hold one number, whatever the timing.
"""

from __future__ import annotations

import itertools
import random
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

from driftwell.errors import StoreError
from driftwell.stores.influx.client import Client

__all__ = ["WRITERS", "Claim", "claim_number", "numbers_in_use", "release", "renew"]

WRITERS = "model_writers"

LEASE_DAYS = 7
RENEW_SECONDS = 86_400.0
GIVE_UP_SECONDS = 6 * 86_400.0
TRIES = 12
RELEASE_SECONDS = 3.0


@dataclass(slots=True)
class Claim:
    """A number this process holds; others may take it ``LEASE_DAYS`` after the last renewal."""

    number: int
    owner: str
    renewed: float  # seconds since 1970, taken before the point was written
    times: list[int] = field(default_factory=list)


def claim_number(client: Client, wanted: int | None = None) -> Claim | None:
    """Hold a number that nobody else holds; None where ``wanted`` is given and in use. Raises ``StoreError``."""
    for attempt in range(TRIES):
        taken = _claims(client)
        free = (n for n in itertools.count() if n not in taken)
        # The smallest, so that series stay few; after a clash any of some, so that it does not happen again.
        number = random.choice(list(itertools.islice(free, 1 + 4 * attempt))) if wanted is None else wanted  # noqa: S311
        if number in taken:
            return None
        claim = Claim(number, uuid.uuid4().hex, 0.0)
        if _is_held(client, claim):
            return claim
        release(client, claim)
        if wanted is not None:
            return None
    raise StoreError(f"no writer number of {client.address.url} is free: too many processes start at once, try again")


def renew(client: Client, claim: Claim) -> bool:
    """Keep the number; False where it was idle for so long that it may be somebody else's now."""
    idle = time.time() - claim.renewed
    return 0 <= idle < RENEW_SECONDS or (idle < GIVE_UP_SECONDS and _is_held(client, claim))


def release(client: Client, claim: Claim) -> None:
    """Let others have the number at once; where that fails they have it when the claim has run out."""
    with suppress(StoreError):
        lines = [f"{WRITERS},writer={claim.number} released=true {time_ns}" for time_ns in claim.times]
        client.write(lines, seconds=RELEASE_SECONDS)


def numbers_in_use(client: Client) -> set[int]:
    """The numbers that some process holds."""
    return set(_claims(client))


def _is_held(client: Client, claim: Claim) -> bool:
    renewed = time.time()
    client.write([f'{WRITERS},writer={claim.number} owner="{claim.owner}"'])  # the server gives it its own time
    owners = _claims(client).get(claim.number, {})
    claim.times = owners.get(claim.owner, [])
    claim.renewed = renewed
    return set(owners) == {claim.owner}


def _claims(client: Client) -> dict[int, dict[str, list[int]]]:
    """``{number: {owner: times of its points}}`` of the claims that hold."""
    sql = f"SELECT owner, released FROM {WRITERS} WHERE time > now() - {LEASE_DAYS}d GROUP BY writer"  # noqa: S608
    out: dict[int, dict[str, list[int]]] = {}
    for row in client.rows(sql):
        if not row["released"] and row["owner"]:
            out.setdefault(int(row["writer"]), {}).setdefault(row["owner"], []).append(row["time"])
    return out
