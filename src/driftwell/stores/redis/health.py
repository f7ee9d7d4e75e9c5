"""What ``doctor`` asks of the server: its version and memory, whether it keeps what it is given, what fell out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from driftwell.stores.redis.server import Server

__all__ = ["describe"]

FULL = 0.8  # of max_rows or maxmemory


def describe(server: Server, keep_ms: int) -> dict[str, Any]:
    """The dict of ``RedisStore.info``."""
    about: dict[str, Any] = server.ask("info")
    rows, fallen = server.ask_all(lambda p: [p.get(server.key("rows")), p.hgetall(server.key("fallen"))])
    found = {
        "kind": "redis",
        "server_version": str(about.get("valkey_version") or about.get("redis_version")),
        "bytes": about.get("used_memory"),
        "max_bytes": about.get("maxmemory") or None,
        "eviction": about.get("maxmemory_policy"),
        "append_only_file": bool(about.get("aof_enabled")),
        "rows": int(rows or 0),
        "max_rows": server.address.max_rows,
        "retention_hours": keep_ms / 3_600_000,
        "fell_out": {reason: int(fallen.get(reason.encode(), 0)) for reason in ("age", "count", "early")},
    }
    seconds, microseconds = server.ask("time")
    time_us = seconds * 1_000_000 + microseconds
    return found | {"server_time_us": time_us, "problems": _problems(about, found, fallen, keep_ms)}


def _problems(
    about: Mapping[str, Any], found: Mapping[str, Any], fallen: Mapping[bytes, bytes], keep_ms: int
) -> list[str]:
    problems = []
    now_ms = time.time() * 1_000
    policy, used, most = found["eviction"], found["bytes"] or 0, found["max_bytes"]
    if policy not in (None, "noeviction"):
        problems.append(
            f"maxmemory-policy is {policy}: the server may delete rows and indexes on its own; set it to noeviction"
        )
    if not most:
        problems.append("maxmemory is not set: the server may take all memory of its machine; set a limit")
    elif used > FULL * most:
        problems.append(f"memory is {used / most:.0%} full: raise maxmemory, or lower max_rows or the retention")
    if not found["append_only_file"]:
        problems.append(
            "the append-only file is off: a restart of the server loses rows; set appendonly yes, appendfsync everysec"
        )
    elif about.get("aof_last_write_status") not in (None, "ok"):
        problems.append("the last write of the append-only file failed: look at the server's disk and log")
    if about.get("role") not in (None, "master"):
        problems.append("this is a replica: give the address of the primary")
    if now_ms - int(fallen.get(b"count:at", 0)) < keep_ms:
        n = found["fell_out"]["count"]
        problems.append(
            f"{n:,} rows fell out before their time because there were more than max_rows={found['max_rows']}:"
            " raise max_rows or lower the retention"
        )
    if now_ms - int(fallen.get(b"early:at", 0)) < keep_ms:
        problems.append(
            f"{found['fell_out']['early']:,} labels fell out because their prediction did not come within the retention"
        )
    return problems
