"""Running servers by name, for tests that ask the same of each."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["SERVERS", "started"]

SERVERS = {"postgres": "PostgresServer", "redis": "RedisServer", "influx": "InfluxServer"}
"""Modules of this folder and their classes."""


@contextmanager
def started(name: str) -> Iterator[Any]:
    """A running server of its own; skips the test where it is missing."""
    module = importlib.import_module(f"tests.servers.{name}")
    if not module.available():
        pytest.skip(f"the server of {name} or its driver is not installed")
    server = getattr(module, SERVERS[name])()
    server.start()
    try:
        yield server
    finally:
        for end in ("stop", "close", "remove"):
            getattr(server, end, lambda: None)()
