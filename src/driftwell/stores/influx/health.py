"""What ``doctor`` wants to know of an InfluxDB, each found out by itself so that one refusal does not hide the rest."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from driftwell.errors import StoreError
from driftwell.stores.influx.client import Client

__all__ = ["describe"]

MANY_SERIES = 500_000


def describe(client: Client) -> dict[str, Any]:
    """See ``PredictionStore.info``; besides ``database``, ``retention_policies`` and ``series``."""
    about: dict[str, Any] = {
        "kind": "influxdb",
        "server_version": None,
        "database": client.address.database,
        "bytes": None,
        "series": None,
        "retention_policies": {},
        "server_time_us": None,
        "problems": [],
    }
    problems: list[str] = about["problems"]
    try:
        about["server_version"] = client.ping().version
        policies = client.rows(f"SHOW RETENTION POLICIES ON {_identifier(client.address.database)}")
    except StoreError as exc:
        return about | {"problems": [str(exc)]}
    about["retention_policies"] = {str(row["name"]): str(row["duration"]) for row in policies}
    if not policies:
        name = client.address.database
        problems.append(f"the database {name!r} does not exist yet: it is created when the first row is stored")
    elif not any(row["duration"] in ("0s", "0") for row in policies if row.get("default")):
        default = ", ".join(str(row["duration"]) for row in policies if row.get("default"))
        problems.append(
            f"the server itself deletes what is older than {default}: predictions must stay until their labels came"
        )
    if client.is_open_to_all():
        problems.append("the server answers without a login: set auth-enabled = true in its configuration")
    about["bytes"] = _bytes(client)
    about["series"] = _series(client)
    if about["series"] is not None and about["series"] > MANY_SERIES:
        problems.append(f"{about['series']:,} series: the server refuses new ones at max-series-per-database")
    with suppress(StoreError):  # asked last: who reads it compares it with now
        about["server_time_us"] = client.ping().time_us
    return about


def _bytes(client: Client) -> int | None:
    """The size of the shards on disk, known to administrators of 1.x only."""
    try:
        rows = client.rows("SHOW STATS FOR 'shard'")
    except StoreError:
        return None
    own = [row["diskBytes"] for row in rows if row.get("database") == client.address.database]
    return int(sum(own)) if own else None


def _series(client: Client) -> int | None:
    try:
        rows = client.rows("SHOW SERIES CARDINALITY")
    except StoreError:
        return None
    return int(sum(value for row in rows for name, value in row.items() if "estimation" in name or name == "count"))


def _identifier(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
