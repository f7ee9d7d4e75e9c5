"""Security headers on every answer, and host names that only this machine has."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from driftwell.service.shield import SECURITY_HEADERS, LoopbackHosts, SecurityHeaders


@pytest.fixture
def client():
    app = FastAPI()
    app.add_middleware(LoopbackHosts)
    app.add_middleware(SecurityHeaders)
    app.add_api_route("/page", lambda: "x", methods=["GET"])
    app.add_api_route("/static/style.css", lambda: "x", methods=["GET"])
    app.add_api_route(
        "/own",
        lambda: PlainTextResponse("x", headers={"Content-Security-Policy": "sandbox"}),
        methods=["GET"],
    )
    return TestClient(app, base_url="http://127.0.0.1:8765")


@pytest.mark.parametrize("path", ["/page", "/absent"])
def test_every_answer_has_the_headers(client, path):
    found = client.get(path).headers
    assert {name: found[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert found["cache-control"] == "no-store"


def test_policy_allows_no_other_site_and_no_frame(client):
    policy = client.get("/page").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_static_files_may_be_cached(client):
    assert "cache-control" not in client.get("/static/style.css").headers


def test_an_answers_own_header_stands(client):
    assert client.get("/own").headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "[::1]:8765", "LocalHost"])
def test_loopback_names_pass(client, host):
    assert client.get("/page", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8765", "", "localhost@evil:80"])
def test_other_names_are_refused(client, host):
    answer = client.get("/page", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert "content-security-policy" in answer.headers
