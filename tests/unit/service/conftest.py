"""A runtime on a SQLite file of its own, the service over it, and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from driftwell.config import Config
from driftwell.monitor.runtime import Runtime
from driftwell.service.app import create_app
from driftwell.service.auth import make_token


@pytest.fixture
def runtime(tmp_path):
    opened = Runtime.open(f"sqlite:///{tmp_path}/service.db", collection_dir=str(tmp_path / "saved"))
    yield opened
    opened.close()


@pytest.fixture
def headers(runtime) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(runtime.ledger)[0]}"}


@pytest.fixture
def service(runtime) -> Callable[..., TestClient]:
    """``service(config, **options)``: a client that answers errors as the server would."""

    def make(config: Config | None = None, **options: Any) -> TestClient:
        app = create_app(runtime, config, **options)
        return TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)

    return make
