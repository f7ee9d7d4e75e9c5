"""Servers that the tests of this folder share: each is started once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.servers.running import started


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Any]]:
    """The shared server of this name. Its tests keep to places of their own in it and leave it running."""
    running: dict[str, Any] = {}
    with ExitStack() as stack:

        def find(name: str) -> Any:
            if name not in running:
                running[name] = stack.enter_context(started(name))
            return running[name]

        yield find
