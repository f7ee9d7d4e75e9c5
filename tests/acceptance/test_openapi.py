"""The OpenAPI document against the running application: schemathesis sends what it allows, and what not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from driftwell.config import Config
from driftwell.monitor.runtime import Runtime
from driftwell.profiles import Reference
from driftwell.routes.scopes import SCOPES
from driftwell.service.app import create_app
from driftwell.service.auth import make_token

CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]
OPERATIONS = sorted([*SCOPES, ("GET", "/healthz"), ("GET", "/readyz")])  # reads before what makes new models
NO_INPUT = ("/healthz", "/readyz", "/metrics", "/openapi.json")
CASES = [(*one, GenerationMode.POSITIVE) for one in OPERATIONS]
CASES += [(*one, GenerationMode.NEGATIVE) for one in OPERATIONS if one[1] not in NO_INPUT]
EXAMPLES = 15
NOW = datetime(2026, 1, 20, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """One model with a reference, rows, labels and a check, so that the good answers are full ones."""
    folder = tmp_path_factory.mktemp("openapi")
    runtime = Runtime.open(f"sqlite:///{folder}/driftwell.db", collection_dir=str(folder / "saved"))
    rng = np.random.default_rng(1)
    table = pa.table({"age": rng.normal(40, 10, 500), "city": rng.choice(["Rome", "Oslo"], 500).tolist()})
    monitor = runtime.monitor("flights", "v1")
    monitor.set_reference(Reference.from_data(table, performance={"accuracy": 0.9}))
    for i, row in enumerate(table.to_pylist()[:200]):
        monitor.record_prediction(
            row,
            int(row["age"] > 40),
            score=0.5,
            prediction_id=f"p{i}",
            timestamp=NOW - timedelta(minutes=i % 50),
        )
        monitor.record_feedback(f"p{i}", int(row["age"] > 45))
    monitor.check(window="PT1H", at=NOW)
    app = create_app(runtime, Config(data_root=str(folder)))
    app.state.token, _ = make_token(runtime.ledger)
    yield app
    runtime.close()


@pytest.fixture(scope="module")
def headers(application):
    return {"Authorization": f"Bearer {application.state.token}"}


@pytest.fixture(scope="module")
def document(application, headers):
    return TestClient(application).get("/openapi.json", headers=headers).json()


@pytest.fixture(scope="module")
def schema(application, headers):
    return schemathesis.openapi.from_asgi("/openapi.json", application, headers=headers)


def test_document_has_every_path_and_no_other(document):
    found = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}
    assert found == set(OPERATIONS)


def test_every_operation_is_described(document):
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            assert operation["description"], (verb, path)
            assert "application/json" not in operation["responses"].get("422", {}).get("content", {}), (
                verb,
                path,
            )


@pytest.mark.parametrize(("verb", "path", "mode"), CASES)
def test_answers_are_as_described(schema, headers, verb, path, mode):
    operation = schema[path][verb]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers(case):
        case.validate_response(case.call(headers=headers), checks=CHECKS)

    answers()
