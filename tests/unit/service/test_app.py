"""The application as a whole: one shape of error on every route, nothing open that should not be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from driftwell.config import Config, ModelConfig
from driftwell.errors import ConfigError, StoreError
from driftwell.monitor.runtime import DEFAULT_VERSION
from driftwell.profiles import Reference
from driftwell.routes.scopes import SCOPES
from driftwell.service.app import create_app
from driftwell.service.auth import make_token
from driftwell.service.shield import SECURITY_HEADERS

PROBLEM = "application/problem+json"
EVERY_PATH = sorted(SCOPES)


def send(client, verb, path, **rest):
    return client.request(verb, path.replace("{model}", "flights"), **rest)


def assert_problem(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["type"] == "about:blank"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("verb", "path"), EVERY_PATH)
def test_every_path_asks_for_a_token(service, verb, path):
    answer = send(service(), verb, path)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("verb", "path"), EVERY_PATH)
def test_every_path_names_the_missing_scope(service, runtime, verb, path):
    needed = SCOPES[verb, path]
    other = "read" if needed != "read" else "ingest"
    token, _ = make_token(runtime.ledger, [other])
    answer = send(service(), verb, path, headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 403)
    assert answer.json()["missing_scope"] == needed


@pytest.mark.parametrize(("verb", "path"), EVERY_PATH)
def test_every_other_verb_is_a_problem(service, headers, verb, path):
    taken = {found for found, one in SCOPES if one == path}
    other = next(one for one in ("PATCH", "PUT") if one not in taken)
    answer = send(service(), other, path, headers=headers)
    assert_problem(answer, 405)
    assert answer.headers["allow"]


@pytest.mark.parametrize(("verb", "path"), [one for one in EVERY_PATH if one[0] in ("POST", "PUT")])
def test_every_body_of_another_kind_is_415(service, headers, verb, path):
    if path == "/api/v1/collector/save":
        pytest.skip("takes no body")
    client = service(None)
    client.post("/api/v1/predictions", json={"model": "flights"}, headers=headers)
    answer = send(client, verb, path, headers=headers | {"content-type": "text/csv"}, content=b"a,b")
    assert_problem(answer, 415)


@pytest.mark.parametrize(("verb", "path"), EVERY_PATH)
def test_every_path_survives_an_unreachable_store(service, runtime, headers, verb, path, monkeypatch):
    client = service()

    def fail(*args, **options):
        raise StoreError("the disk is full")

    monkeypatch.setattr(runtime, "models", fail)
    bodies = {
        "/api/v1/predictions": {"json": {"model": "m"}},
        "/api/v1/feedback": {"json": {"prediction_id": "p", "true_label": 1}},
        "/api/v1/checks": {"json": {}},
        "/api/v1/models/{model}/reference": {
            "content": b"\x93NUMPY",
            "headers": headers | {"content-type": "application/x-npy"},
        },
        "/api/v1/monitoring/check-drift": {
            "files": {"data_file": ("x.csv", b"a\n1\n")},
            "params": {"model": "m"},
        },
    }
    answer = send(client, verb, path, **({"headers": headers} | bodies.get(path, {})))
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == PROBLEM
    needs_models = path not in (
        "/api/v1/feedback",  # a label needs no model
        "/openapi.json",
        "/metrics",  # tells what waits and what is lost, now of all times
        "/api/v1/models/{model}/reference",  # the body is broken, which is said first
    )
    if needs_models:
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
    if path == "/metrics":
        assert "driftwell_store_up 0.0" in answer.text


def test_unforeseen_error_is_a_problem_without_details(service, runtime, headers, monkeypatch):
    def fail():
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(runtime, "models", fail)
    answer = service().get("/monitoring/status", headers=headers)
    assert_problem(answer, 500)
    assert "secret" not in answer.text


def test_unknown_path_is_a_problem(service):
    assert_problem(service().get("/api/v2/predictions"), 404)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_no_page_comes_from_another_site(service, headers, path):
    assert service().get(path, headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token(service, path):
    assert service().get(path).status_code == 200


@pytest.mark.parametrize("call", ["get_mark", "count"])
def test_not_ready_without_the_store_and_the_ledger(service, runtime, monkeypatch, call):
    def fail(*args):
        raise StoreError("gone")

    monkeypatch.setattr(runtime.ledger, call, fail, raising=False)
    client = service()
    assert_problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200


def test_metrics_may_be_public(service):
    client = service(Config(metrics_public=True))
    assert client.get("/metrics").status_code == 200
    assert client.get("/monitoring/metrics").status_code == 401


def test_description_is_the_same_for_a_reader(service, runtime):
    token, _ = make_token(runtime.ledger, ["read"])
    answer = service().get("/openapi.json", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["info"]["title"] == "Driftwell"


def test_token_of_a_file(service, tmp_path):
    path = tmp_path / "token"
    path.write_text("t" * 40 + "\n")
    client = service(Config(token_file=str(path)))
    headers = {"Authorization": f"Bearer {'t' * 40}"}
    assert client.get("/monitoring/status", headers=headers).status_code == 404
    path.write_text("short")
    with pytest.raises(ConfigError, match="32 characters"):
        service(Config(token_file=str(path)))
    with pytest.raises(ConfigError, match="token_file"):
        service(Config(token_file=str(tmp_path / "absent")))


def test_without_auth_loopback_names_only(service):
    client = service(auth=False)
    assert client.get("/api/v1/collector/stats").status_code == 200
    assert_problem(client.get("/api/v1/collector/stats", headers={"Host": "evil.example"}), 421)
    assert client.get("/login").status_code == 404


def test_program_that_asks_for_json_is_not_led_to_the_login(service):
    assert service().get("/monitoring/status", headers={"Accept": "text/html"}).status_code == 401


def test_start_link_opens_every_reading_path(service, runtime):
    client = service(start_token="start")
    client.post("/api/v1/predictions", json={"model": "m"})
    client.get("/login?token=start", follow_redirects=False)
    for verb, path in EVERY_PATH:
        if verb == "GET":
            assert send(client, verb, path).status_code in (200, 404), path


def test_reference_files_are_taken_at_the_start(service, runtime, headers, tmp_path):
    reference = Reference.from_data(pa.table({"a": np.arange(200.0)}))
    reference.save(tmp_path / "ref.json")
    flights = ModelConfig(name="flights", version="v1", reference=str(tmp_path / "ref.json"))
    with service(Config(models={"flights": flights})) as client:
        status = client.get("/monitoring/status", headers=headers).json()
    assert (status["model"], status["version"], status["reference_id"]) == ("flights", "v1", reference.id)


def test_what_was_accepted_is_stored_before_the_process_ends(service, runtime, headers):
    with service() as client:
        client.post("/api/v1/predictions", json=[{"model": "m"}] * 500, headers=headers)
    assert runtime.models()[0][:3] == ("m", DEFAULT_VERSION, 500)


def test_creating_the_application_reads_no_environment(runtime, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_METRICS_PUBLIC", "true")
    assert create_app(runtime).state.driftwell.config.metrics_public is False


def test_browser_without_a_session_is_led_to_the_login_and_back(service):
    client = service(start_token="start")
    answer = client.get("/models/a%2Fb?version=1", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    page = client.get(answer.headers["location"])
    assert page.status_code == 200
    assert 'name="token"' in page.text
    target = page.text.partition('name="next" value="')[2].partition('"')[0]
    entered = client.post(
        "/login",
        data={"token": "start", "next": target},
        headers={"Sec-Fetch-Site": "same-origin"},
        follow_redirects=False,
    )
    assert entered.headers["location"].endswith("?version=1")
    assert client.get("/").status_code == 200


def test_page_asked_for_by_a_program_is_401(service):
    assert_problem(service().get("/", headers={"Accept": "application/json"}), 401)


def test_style_of_the_login_page_needs_no_token(service):
    assert service().get("/static/style.css").headers["content-type"].startswith("text/css")


def test_behind_a_proxy_with_a_path_of_its_own(runtime):
    app = create_app(runtime, start_token="start")
    client = TestClient(app, base_url="http://127.0.0.1:8765", root_path="/drift")
    answer = client.get("/drift/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.headers["location"].startswith("/drift/login?next=/drift/")
    entered = client.get("/drift/login?token=start", follow_redirects=False)
    assert entered.headers["location"] == "/drift/"
