"""Tokens: only the digest is kept; scope, expiry and revocation decide."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from driftwell.errors import BadInput
from driftwell.routes import bearer_guard, make_token, one_model_router
from driftwell.routes.endpoints import INGEST_PATHS, ONE_MODEL_PATHS
from driftwell.routes.scopes import SCOPES

NOW = datetime(2026, 1, 20, 18, tzinfo=UTC)

EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"features": {}}}
EVENT_TYPE = {"content-type": "application/cloudevents+json"}


@pytest.fixture
def guarded(model, ledger, ingest):
    clock = {"now": NOW.timestamp()}
    app = FastAPI()
    guard = bearer_guard(ledger, clock=lambda: clock["now"])
    app.include_router(one_model_router(lambda m, v: model, guard=guard, ingest=ingest))
    client = TestClient(app)
    client.clock = clock
    return client


def get(client, token, path="/monitoring/status"):
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_token_is_random_and_only_its_digest_is_kept(ledger):
    token, token_id = make_token(ledger, ["read"], None, NOW)
    assert re.fullmatch(r"dw_[A-Za-z0-9_-]{43}", token)  # 43 base64url characters carry 32 bytes
    assert list(ledger.kept) == [hashlib.sha256(token.encode()).digest()]
    assert token not in repr(ledger)
    assert ledger.kept[hashlib.sha256(token.encode()).digest()]["id"] == token_id
    assert make_token(ledger)[0] != token


def test_without_scopes_a_token_may_do_all(ledger):
    make_token(ledger)
    assert next(iter(ledger.kept.values()))["scopes"] == ["ingest", "read", "write", "admin"]


@pytest.mark.parametrize(("scopes", "expires"), [(["reed"], None), ([], None), (["read"], timedelta(0))], ids=str)
def test_unusable_token_is_refused(ledger, scopes, expires):
    with pytest.raises(BadInput):
        make_token(ledger, scopes, expires, NOW)
    assert ledger.kept == {}


def test_no_token_is_401_with_a_challenge(guarded):
    answer = guarded.get("/monitoring/status")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="driftwell"'
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("header", ["Bearer dw_wrong", "Bearer ", "Basic dXNlcjpwdw==", "Bearer \xff"])
def test_wrong_credentials_are_401(guarded, header):
    answer = guarded.get("/monitoring/status", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_expired_token_is_401(guarded, ledger):
    token, _ = make_token(ledger, ["read"], timedelta(hours=1), NOW)
    assert get(guarded, token).status_code == 200
    guarded.clock["now"] += 3600
    assert get(guarded, token).status_code == 401


def test_revoked_token_is_401(guarded, ledger):
    token, token_id = make_token(ledger, ["read"], None, NOW)
    ledger.revoke_token(token_id)
    answer = get(guarded, token)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("one", ONE_MODEL_PATHS + INGEST_PATHS, ids=lambda one: f"{one.method} {one.path}")
@pytest.mark.parametrize("scope", ["ingest", "read", "write", "admin"])
def test_a_scope_opens_its_own_paths_only(guarded, ledger, one, scope):
    token, _ = make_token(ledger, [scope], None, NOW)
    answer = guarded.request(
        one.method,
        one.path,
        headers={"Authorization": f"Bearer {token}"} | (EVENT_TYPE if one.path.endswith("cloudevents") else {}),
        json=EVENT if one.path.endswith("cloudevents") else {"prediction_id": "p", "true_label": 1},
    )
    needed = SCOPES[one.method, one.path]
    if scope in (needed, "admin"):
        assert answer.status_code == one.status
    else:
        assert answer.status_code == 403
        assert answer.json()["missing_scope"] == needed
        assert needed in answer.json()["detail"]


def test_changes_are_audited_reading_is_not(guarded, ledger):
    token, token_id = make_token(ledger, ["read", "write"], None, NOW)
    ledger.audits.clear()
    get(guarded, token)
    guarded.delete("/api/v1/collector/clear?model=m", headers={"Authorization": f"Bearer {token}"})
    now_us = round(NOW.timestamp() * 1_000_000)
    assert ledger.audits == [(f"token:{token_id}", "DELETE /api/v1/collector/clear", {"model": "m"}, now_us)]


def test_body_is_not_read_before_the_token(guarded, recording):
    answer = guarded.post("/api/v1/predictions", content=b"not json at all")
    assert answer.status_code == 401
