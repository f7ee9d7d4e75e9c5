"""Tokens, the login link, sessions, and what another site's page may not do."""

from __future__ import annotations

import stat

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from driftwell.errors import ConfigError
from driftwell.routes.problems import ProblemRoute
from driftwell.routes.tokens import Grant, digest
from driftwell.service.auth import (
    Authority,
    check_bind,
    is_loopback,
    key_beside,
    local_guard,
    make_token,
    new_start_token,
)
from driftwell.service.login import login_router
from driftwell.stores import open_store

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def ledger(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/auth.db")
    yield store
    store.close()


class Clock:
    now = 1_768_932_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def application(guard, authority=None) -> FastAPI:
    app = FastAPI()
    if authority:
        app.include_router(login_router(authority))
    router = APIRouter(route_class=ProblemRoute)
    router.add_api_route("/see", lambda: "seen", methods=["GET"], dependencies=[Depends(guard("read"))])
    router.add_api_route("/do", lambda: "done", methods=["POST"], dependencies=[Depends(guard("write"))])
    app.include_router(router)
    return app


@pytest.fixture
def authority(ledger, clock):
    fixed = {digest("f" * 32): Grant("token file", frozenset(["read"]))}
    return Authority(ledger, b"k" * 32, start_token="start", fixed=fixed, clock=clock)


@pytest.fixture
def browser(authority):
    return TestClient(application(authority.guard, authority), base_url="http://127.0.0.1:8765")


def test_bearer_token_opens_its_scope(browser, ledger):
    token, _ = make_token(ledger, ["read"])
    headers = {"Authorization": f"Bearer {token}"}
    assert browser.get("/see", headers=headers).status_code == 200
    assert browser.post("/do", headers=headers).status_code == 403


def test_token_of_the_file_is_taken(browser):
    assert browser.get("/see", headers={"Authorization": f"Bearer {'f' * 32}"}).status_code == 200


def test_link_logs_in_and_leaves_the_address_bar(browser):
    answer = browser.get("/login?token=start", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Max-Age=86400" in cookie
    assert "Secure" not in cookie
    assert "start" not in cookie
    assert browser.get("/see").status_code == 200


def test_cookie_is_secure_over_https(authority):
    browser = TestClient(application(authority.guard, authority), base_url="https://drift.example")
    assert "Secure" in browser.get("/login?token=start", follow_redirects=False).headers["set-cookie"]


def test_link_works_once(browser, authority):
    browser.get("/login?token=start")
    second = TestClient(application(authority.guard, authority))
    answer = second.get("/login?token=start", follow_redirects=False)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "used before" in answer.text


def test_link_opened_again_in_the_same_browser_goes_on(browser):
    browser.get("/login?token=start", follow_redirects=False)
    assert browser.get("/login?token=start", follow_redirects=False).status_code == 303


def test_real_token_logs_in_until_it_is_revoked(browser, ledger):
    token, token_id = make_token(ledger, ["read"])
    answer = browser.post("/login", data={"token": token, "next": "/see"}, headers=SAME)
    assert answer.url.path == "/see"
    assert token not in str(browser.cookies)
    ledger.revoke_token(token_id)
    assert browser.get("/see").status_code == 401


def test_who_logs_in_is_audited(browser, ledger, clock, monkeypatch):
    lines = []
    monkeypatch.setattr(ledger, "audit", lambda *line: lines.append(line))
    token, token_id = make_token(ledger, ["read"])
    lines.clear()
    for one in ("wrong", token, "start"):
        browser.post("/login", data={"token": one}, headers=SAME, follow_redirects=False)
    now_us = round(clock.now * 1_000_000)
    assert lines == [(f"token:{token_id}", "log in", {}, now_us), ("start link", "log in", {}, now_us)]


def test_session_has_no_more_scopes_than_its_token(browser, ledger):
    token, _ = make_token(ledger, ["read"])
    browser.post("/login", data={"token": token}, headers=SAME)
    answer = browser.post("/do", headers=SAME)
    assert answer.status_code == 403
    assert answer.json()["missing_scope"] == "write"


def test_session_of_the_link_ends_after_a_day(browser, clock):
    browser.get("/login?token=start", follow_redirects=False)
    clock.now += 86_399
    assert browser.get("/see").status_code == 200
    cookie = dict(browser.cookies)
    clock.now += 1
    browser.cookies.clear()
    browser.cookies.update(cookie)
    assert browser.get("/see").status_code == 401


def test_forged_cookie_is_401(browser):
    browser.cookies.set("driftwell_session_8765", "e30.AAAA")
    assert browser.get("/see").status_code == 401


def test_ports_have_their_own_cookie(browser):
    browser.get("/login?token=start", follow_redirects=False)
    assert list(browser.cookies) == ["driftwell_session_8765"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8765"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
    ids=str,
)
def test_session_changes_only_from_our_own_page(browser, headers, status):
    browser.get("/login?token=start", follow_redirects=False)
    assert browser.post("/do", headers=headers).status_code == status


def test_bearer_token_needs_no_origin(browser, ledger):
    token, _ = make_token(ledger, ["write"])
    headers = {"Authorization": f"Bearer {token}", "Origin": "http://notebook.example"}
    assert browser.post("/do", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/models/flights?x=1", "/models/flights?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
    ],
)
def test_login_leads_to_paths_of_this_service_only(browser, target, goes_to):
    answer = browser.get("/login", params={"token": "start", "next": target}, follow_redirects=False)
    assert answer.headers["location"] == goes_to


def test_login_page_escapes_what_it_is_given(browser):
    page = browser.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script" not in page


def test_login_refuses_another_sites_form(browser):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post("/login", data={"token": "start"}, headers=headers).status_code == 403


def test_wrong_token_is_401_and_shows_the_form_again(browser):
    answer = browser.post("/login", data={"token": "wrong"}, headers=SAME)
    assert answer.status_code == 401
    assert 'name="token"' in answer.text
    assert "wrong" not in answer.text


def test_start_tokens_are_long_and_differ():
    assert len(new_start_token()) == 43
    assert new_start_token() != new_start_token()


# -- without tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
    ],
    ids=str,
)
def test_without_tokens_other_sites_change_nothing(headers, status):
    client = TestClient(application(local_guard), base_url="http://127.0.0.1:8765")
    assert client.get("/see", headers=headers).status_code == 200
    assert client.post("/do", headers=headers).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "LOCALHOST", "127.1.2.3"])
def test_loopback_needs_no_tokens(host):
    check_bind(host, auth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.0.0.1.example.org"])
def test_elsewhere_tokens_are_needed(host):
    check_bind(host, auth=True)
    with pytest.raises(ConfigError, match="loopback"):
        check_bind(host, auth=False)
    assert not is_loopback(host)


# -- the key -------------------------------------------------------------------------------------------------


def test_key_lies_beside_the_store(tmp_path):
    url = f"sqlite:///{tmp_path}/driftwell.db"
    key = key_beside(url)
    path = tmp_path / "driftwell.db.session-key"
    assert path.read_bytes() == key == key_beside(url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_stores_get_a_key_for_the_process():
    assert key_beside("postgresql://db/x") != key_beside("postgresql://db/x")
    assert key_beside("sqlite:///:memory:") != key_beside("sqlite:///:memory:")


def test_key_that_cannot_be_kept_is_said(tmp_path, caplog):
    assert len(key_beside(f"sqlite:///{tmp_path}/absent/driftwell.db")) == 32
    assert "log in again" in caplog.text
