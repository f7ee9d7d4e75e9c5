"""The pages: what the views say is worked out by hand here; the addresses are asked for through the real service."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from driftwell.monitor.runtime import Runtime
from driftwell.service.pages import STATIC, find_place
from driftwell.service.views.feature import feature_view
from driftwell.service.views.fleet import fleet_view
from driftwell.service.views.links import Links
from driftwell.service.views.model import model_view, next_step, timeline
from driftwell.service.views.status import is_stale, model_status, newest_versions, traffic_points

HOUR = 3_600_000_000
LINKS = Links("")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOSTILE = 'team/a b/<img src=x onerror=alert(1)>"信用'


def column(name: str, **changes: Any) -> dict[str, Any]:
    base = {"name": name, "kind": "numeric", "status": "ok", "method": "psi", "value": 0.02, "threshold": 0.1,
            "p_adjusted": 0.5, "score": 0.03, "drifted": False, "severity": "none", "n_reference": 1000,
            "n_current": 500, "missing_reference": 0.0, "missing_current": 0.1, "missing_shift": 0.1,
            "new_categories": {}, "measures": {}, "distribution": None,
            "reason": "psi 0.02 stays below 0.1"}  # fmt: skip
    return base | changes


def check(hour: int = 0, **changes: Any) -> dict[str, Any]:
    start, end = ((NOON + timedelta(hours=hour + h)).isoformat().replace("+00:00", "Z") for h in (0, 1))
    drifted = {"delay": 0.4} if hour else {}
    moved = (
        column("delay", value=0.4, score=0.4, drifted=True, severity="high", status="drift")
        if hour
        else column("delay")
    )
    base = {
        "check_id": f"c{hour}", "model": "flights", "version": "v1", "status": "critical" if hour else "ok",
        "window": {"start": start, "end": end}, "timestamp": end, "n_predictions": 500, "reference_id": "abc",
        "drift_detected": bool(drifted), "performance_degraded": False, "drifted_features": drifted,
        "culprits": list(drifted), "alarm": {"fired": bool(drifted)}, "reason": None,
        "verdicts": [
            {"signal": "drift", "status": "critical" if hour else "ok", "severity": "high" if hour else "none",
             "metric": "psi", "feature": "delay", "value": 0.4},
            {"signal": "drift", "status": "ok", "severity": "none", "metric": "psi", "feature": "origin"},
            {"signal": "performance", "status": "ok", "severity": "none", "metric": "f1_score", "value": 0.75,
             "threshold": 0.7315},
        ],
        "drift": {"status": "drift" if hour else "ok", "scores": {"delay": 0.4 if hour else 0.03, "origin": 0.01},
                  "columns": {"delay": moved, "origin": column("origin")},
                  "outputs": {"score": column("score")}},
        "performance": {"realized": {"f1": {"value": 0.75, "low": 0.7, "high": 0.8, "n": 400}},
                        "baseline": {"f1_score": 0.77}, "labels": {"matched": 400, "coverage": 0.8}, "reason": None},
    }  # fmt: skip
    return base | changes


def alert(**changes: Any) -> dict[str, Any]:
    base = {"key": "k", "model": "flights", "version": "v1", "rule": "drift_high", "severity": "critical",
            "state": "firing", "since_us": 0, "changed_us": 0, "value": 0.4, "message": "delay moved"}  # fmt: skip
    return base | changes


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["ok", "warning", "critical", "error"])
def test_the_newest_check_decides(word: str) -> None:
    assert model_status(check(status=word))[0] == word


def test_before_anything_can_be_judged_a_model_is_learning() -> None:
    assert model_status({}) == ("learning", "no check has run yet")
    assert model_status(check(status="no_data", reference_id=None)) == ("learning", "no reference yet")


def test_too_few_rows_are_no_data_with_their_reason() -> None:
    assert model_status(check(status="no_data", reason="12 rows, 100 needed")) == ("no_data", "12 rows, 100 needed")


def test_a_firing_alert_only_makes_it_worse() -> None:
    assert model_status(check(), [alert()]) == ("critical", "alert drift_high is firing")
    assert model_status(check(status="critical"), [alert(severity="warning")])[0] == "critical"
    assert model_status(check(), [alert(severity="info")])[0] == "ok"


def test_a_check_is_stale_two_windows_after_its_end() -> None:
    end_us = int((NOON + timedelta(hours=1)).timestamp() * 1e6)
    assert not is_stale(check(), end_us + 2 * HOUR)
    assert is_stale(check(), end_us + 2 * HOUR + 1)
    assert not is_stale({}, end_us)


def test_traffic_fills_quiet_hours_and_keeps_the_newest() -> None:
    hourly = {0: (5, None), 10 * HOUR: (7, None)}
    assert [n for _, n in traffic_points(hourly, hours=4)] == [0, 0, 0, 7]
    assert sum(n for _, n in traffic_points(hourly)) == 12
    assert traffic_points({}) == []


# -- fleet -------------------------------------------------------------------------------------------------------------


def test_models_that_need_attention_come_first() -> None:
    models = [("a", "1", 10, 0), ("b", "1", 10, 0), ("c", "1", 10, 0), ("d", "1", 0, 0)]
    checks = {("a", "1"): [check()], ("b", "1"): [check(1)], ("c", "1"): [check(status="no_data", reason="few")]}
    view = fleet_view(models, checks, {}, [], LINKS)
    assert [(row["name"], row["word"]) for row in view["rows"]] == [
        ("b", "Critical"), ("c", "No data"), ("d", "Learning"), ("a", "Healthy")]  # fmt: skip
    assert view["headline"] == "1 of 4 models needs attention"
    assert view["rows"][2]["why"] == "no prediction yet"


def test_a_row_is_the_newest_version() -> None:
    models = [("m", "v1", 100, 5 * HOUR), ("m", "v2", 7, 9 * HOUR)]
    assert newest_versions(models) == {"m": ("v2", 7, 9 * HOUR)}
    old_alert = alert(model="m", version="v1")
    (row,) = fleet_view(models, {("m", "v2"): [check()]}, {}, [old_alert], LINKS)["rows"]
    assert (row["version"], row["versions"], row["predictions"]) == ("v2", 2, "7")
    assert (row["status"], row["alerts"]) == ("ok", 0), "an alert of an older version is not about this one"


def test_a_row_shows_performance_beside_its_baseline() -> None:
    unlabelled = check(2, performance={"realized": {}, "baseline": {"f1_score": 0.77}})
    (row,) = fleet_view([("m", "1", 9, 0)], {("m", "1"): [unlabelled, check()]}, {}, [], LINKS)["rows"]
    assert row["performance"] == {"word": "F1", "value": "0.750", "against": "baseline 0.770"}
    assert row["drifted"] == "1"


def test_nothing_judged_shows_no_zero() -> None:
    (row,) = fleet_view([("m", "1", 9, 0)], {("m", "1"): [check(status="no_data", drift=None)]}, {}, [], LINKS)["rows"]
    assert row["drifted"] == "–"
    assert fleet_view([], {}, {}, [], LINKS)["headline"] == "No models yet"


# -- model -------------------------------------------------------------------------------------------------------------


def view_of(checks: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "models": [("flights", "v0", 1, 0), ("flights", "v1", 1000, HOUR), ("other", "1", 1, 0)],
        "has_reference": True,
        "checks": checks,
        "full": checks[0] if checks else None,
        "alerts": [],
        "runs": [],
        "totals": {"predictions": 1000, "labels": 800, "first_us": 0, "last_us": HOUR, "output": {"mean": 0.25}},
        "capture": {"stored": 990, "waiting": 10, "dropped": {}, "rejected": {"duplicate": 2}},
        "losses": {},
        "losses_today": {},
        "recent": [],
        "traffic": [],
        "links": LINKS,
    }
    return model_view("flights", "v1", **(values | changes))


def test_each_signal_has_its_verdict() -> None:
    view = view_of([check(1), check()])
    assert [(s["name"], s["word"], s["words"]) for s in view["signals"][1:]] == [
        ("Data quality", "No data", "not judged yet"),
        ("Drift", "Critical", "1 of 2 columns drifted"),
        ("Outputs", "No data", "not judged yet"),
        ("Performance", "Healthy", "F1 0.750, limit 0.732"),
    ]
    assert view["headline"] == "delay drifted"


def verdict(signal: str, feature: str | None = None, severity: str = "none", **changes: Any) -> dict[str, Any]:
    status = {"none": "ok", "low": "ok", "medium": "warning", "high": "critical"}[severity]
    return {"signal": signal, "status": status, "severity": severity, "metric": "psi", "feature": feature} | changes


BROKEN = {
    "status": "critical", "n_rules": 9, "n_failed": 1, "broken": ["delay"],
    "verdicts": [{"rule": "range", "column": "delay", "status": "critical", "severity": "high", "count": 181,
                  "examples": [9999.0], "reason": "181 of 500 values lie outside"}],
}  # fmt: skip


def test_what_is_broken_comes_first_and_all_together_and_outputs_have_their_words() -> None:
    found = check(
        quality=BROKEN,
        drift_detected=True,
        verdicts=[
            verdict("quality", "delay", "high", metric="range"),
            verdict("drift", "delay", status="error"),
            verdict("drift", "origin"),
            verdict("drift", None, "low", metric="mmd"),
            verdict("output", "prediction", "medium"),
            verdict("output", "score"),
        ],
    )
    view = view_of([found])
    assert view["headline"] == "delay is broken; all columns together drifted; the prediction moved"
    assert [(s["name"], s["tone"], s["words"]) for s in view["signals"][1:4]] == [
        ("Data quality", "high", "1 rule failed: delay"),
        ("Drift", "error", "delay: not judged"),
        ("Outputs", "medium", "prediction moved"),
    ]
    assert [(v["about"], v["rule"], v["rows"]) for v in view["quality"]] == [("delay", "range", "181")]
    shown = feature_view("flights", "v1", "delay", checks=[found], full=found, links=LINKS)
    assert shown is not None
    assert [v["reason"] for v in shown["quality"]] == ["181 of 500 values lie outside."]


def test_a_signal_in_order_says_so() -> None:
    verdicts = [
        verdict("quality", reason="11 rules hold"), verdict("drift", "delay"), verdict("drift", None, "low"),
        verdict("output", "prediction"), verdict("output", "score"),
    ]  # fmt: skip
    words = [s["words"] for s in view_of([check(verdicts=verdicts)])["signals"][1:4]]
    assert words == ["11 rules hold", "0 of 1 columns drifted, and all together", "prediction and score stayed"]


def test_a_broken_column_is_not_called_stable() -> None:
    broken = column("delay", status="broken", reason="broken: 181 of 500 values lie outside")
    columns = {"delay": broken, "origin": column("origin")}
    found = check(1, drift={"status": "ok", "scores": {"delay": 0.4, "origin": 0.01}, "columns": columns})
    view = view_of([found, check()])
    assert (view["columns"][0]["word"], view["columns"][0]["tone"], view["columns"][0]["drifted"]) == (
        "Broken", "error", False)  # fmt: skip
    assert view["heat"]["rows"] == ["delay", "origin"]
    assert (view["heat"]["grid"][0], view["heat"]["levels"][0]) == ([0.03, None], [0, None])


def test_lost_records_are_seen_at_once() -> None:
    losses = {"dropped.queue_full": 1200, "rejected.features": 34, "rejected.duplicate": 9}  # a duplicate is no loss
    capture = view_of([check()], losses_today=losses)["signals"][0]
    assert (capture["word"], capture["tone"]) == ("1,234 lost today", "medium")
    fact = next(fact for fact in view_of([check()], losses=losses)["facts"] if fact[0] == "Lost")
    assert fact[1:] == (
        "1,234", "queue_full 1,200, features 34; in this process 990 stored and 10 waiting")  # fmt: skip
    assert view_of([check()])["signals"][0]["word"] == "Complete"


def test_a_newest_check_that_lacks_predictions_says_so() -> None:
    tile = view_of([check(coverage=0.95)])["signals"][0]
    assert (tile["tone"], tile["word"]) == ("medium", "Incomplete")
    assert tile["words"] == "95.0% of what was offered was stored"
    assert view_of([check(coverage=1.0)])["signals"][0]["word"] == "Complete"


def test_what_waits_on_disk_and_what_was_recovered_are_facts() -> None:
    facts = {name: value for name, value, _ in view_of([], capture={"spool": {"waiting": 7}, "recovered": 3})["facts"]}
    assert (facts["Waiting on disk"], facts["Recovered"]) == ("7", "3")
    assert "Recovered" not in {name for name, *_ in view_of([], capture={"recovered": 0})["facts"]}


def test_rows_of_the_heat_map_link_to_their_features() -> None:
    heat = view_of([check(1), check()])["heat"]
    assert heat["rows"][0] == "delay"
    assert heat["links"][0] == "/models/flights/features/delay?version=v1"
    assert heat["columns"] == ["2 Mar 12:00", "2 Mar 13:00"]


def test_versions_of_the_model_can_be_chosen() -> None:
    assert view_of([])["versions"] == [
        ("v0", "/models/flights?version=v0", False), ("v1", "/models/flights?version=v1", True)]  # fmt: skip


def test_what_is_missing_decides_the_next_step() -> None:
    totals = {"predictions": 5}
    none = next_step("my model", "v1", {}, has_reference=True, has_check=False)
    assert none is not None
    assert none["code"] == ["driftwell log predictions.parquet --model 'my model' --version v1"]
    reference = next_step("m", "v1", totals, has_reference=False, has_check=True)
    assert reference is not None
    assert reference["title"] == "Give it a reference"
    first = next_step("m", "v1", totals, has_reference=True, has_check=False)
    assert first is not None
    assert first["code"] == ["driftwell check --model m"]
    assert next_step("m", "v1", totals, has_reference=True, has_check=True) is None


def test_what_happened_is_one_list_newest_first() -> None:
    us = [int((NOON + timedelta(hours=h)).timestamp() * 1e6) for h in range(9)]
    run = {"state": "failed", "reason": "drift", "error": "callback: no rows", "at_us": us[5]}
    checks = [check(0), check(1), check(2), check(3)]
    found = timeline([alert(changed_us=us[6], state="resolved")], [run], checks)
    assert [(e["kind"], e["word"], e["words"]) for e in found] == [
        ("Alert", "drift_high resolved", "delay moved"),
        ("Retraining", "failed", "callback: no rows"),
        ("Alarm", "Critical", "delay"),
    ], "an alarm that goes on in the checks after it is told once"


def test_alerts_of_other_versions_and_inactive_ones_are_left_out() -> None:
    alerts = [alert(version="v0"), alert(state="inactive"), alert(state="resolved"), alert(rule="mine")]
    view = view_of([check()], alerts=alerts)
    assert [a["rule"] for a in view["alerts"]] == ["mine"]
    assert len([e for e in view["timeline"] if e["kind"] == "Alert"]) == 2


# -- feature -----------------------------------------------------------------------------------------------------------


def test_a_feature_shows_its_newest_check_and_its_past() -> None:
    checks = [check(1), check()]
    view = feature_view("flights", "v1", "delay", checks=checks, full=checks[0], links=LINKS)
    assert view is not None
    assert (view["column"]["value"], view["is_newest"]) == ("0.400", True)
    assert view["over_time"] == {
        "word": "PSI", "threshold": 0.1, "points": [("2 Mar 12:00", 0.02), ("2 Mar 13:00", 0.4)]}  # fmt: skip
    assert view["missing"] == [("2 Mar 12:00", 0.1), ("2 Mar 13:00", 0.1)]
    assert [row["value"] for row in view["rows"]] == ["0.400", "0.020"]
    assert view["rows"][1]["href"] == "/models/flights/features/delay?version=v1&check=c0"


def test_an_older_check_of_a_feature_says_so() -> None:
    checks = [check(1), check()]
    view = feature_view("flights", "v1", "delay", checks=checks, full=checks[1], links=LINKS)
    assert view is not None
    assert (view["column"]["value"], view["is_newest"]) == ("0.020", False)


def test_a_feature_no_check_knows_is_none() -> None:
    assert feature_view("flights", "v1", "nope", checks=[check()], full=check(), links=LINKS) is None


# -- addresses ---------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_link_finds_its_way_back(model: str, feature: str) -> None:
    try:
        page = LINKS.feature(model, "v1", feature).partition("?")[0]
    except UnicodeEncodeError:
        return  # lone surrogates are in no address
    rest = unquote(page.removeprefix("/models/"))
    assert find_place(page, rest, []) == (model, feature)
    page = LINKS.model(model).partition("?")[0]
    assert find_place(page, unquote(page.removeprefix("/models/")), []) == (model, None)


def test_unquoted_slashes_are_resolved_by_the_known_models() -> None:
    known = ["a", "a/features/b", "a/b"]
    assert find_place("/models/a/b", "a/b", known) == ("a/b", None)
    assert find_place("/models/a/b/features/x/y", "a/b/features/x/y", known) == ("a/b", "x/y")
    assert find_place("/models/c/d/e/f", "c/d/e/f", known) == ("c/d/e/f", None)


# -- through the service -----------------------------------------------------------------------------------------------


class Markup(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def hrefs(self, start: str) -> list[str]:
        return [a["href"] or "" for t, a in self.elements if t == "a" and (a.get("href") or "").startswith(start)]


@pytest.fixture
def filled(runtime: Runtime) -> Runtime:
    """Two checks of a model with an awkward name, drift in the second, and a model without anything else."""
    rng = np.random.default_rng(0)
    monitor = runtime.monitor(HOSTILE, "v 1")
    monitor.set_reference({"dep/delay": rng.normal(size=500), "carrier": rng.choice(["UA", "B6"], 500)})
    for hour, shift in enumerate((0, 2)):
        times = [NOON + timedelta(hours=hour, seconds=5 * i) for i in range(300)]
        monitor.record_batch({"dep/delay": rng.normal(size=300) + shift, "carrier": rng.choice(["UA", "B6"], 300),
                              "timestamp": times, "prediction": rng.choice([0, 1], 300)})  # fmt: skip
        monitor.check("PT1H", at=NOON + timedelta(hours=hour + 1))
    runtime.monitor("bare", "1").record_prediction({"x": 1.0}, 1, timestamp=NOON)
    runtime.recorder.flush(10)
    return runtime


@pytest.fixture
def browser(filled: Runtime, service: Callable[..., TestClient], headers: dict[str, str]) -> TestClient:
    client = service()
    client.headers.update(headers | {"Accept": "text/html"})
    return client


def test_the_three_pages_lead_to_one_another(browser: TestClient) -> None:
    fleet = Markup(browser.get("/").text)
    assert "1 of 2 models needs attention" in fleet.text
    (model_href,) = [h for h in fleet.hrefs("/models/") if "bare" not in h]
    model = Markup(browser.get(model_href).text)
    assert "dep/delay drifted" in model.text
    feature_href = next(h for h in model.hrefs("/models/") if "dep%2Fdelay" in h)
    feature = Markup(browser.get(feature_href).text)
    assert "PSI over time" in browser.get(feature_href).text
    assert "reaches its threshold 0.1" in feature.text
    older = next(h for h in feature.hrefs("/models/") if "check=" in h and h != feature_href)
    assert browser.get(older).status_code == 200


def test_awkward_names_are_text_everywhere(browser: TestClient) -> None:
    pages = [browser.get("/"), browser.get(LINKS.model(HOSTILE)), browser.get(LINKS.feature(HOSTILE, "v 1", "carrier"))]
    for page in pages:
        markup = Markup(page.text)
        assert page.status_code == 200
        assert not [a for t, a in markup.elements if t == "img"]
        assert "<img src=x onerror=alert(1)>" in markup.text


def test_nothing_is_inline_that_the_content_policy_forbids(browser: TestClient) -> None:
    for address in (
        "/",
        LINKS.model(HOSTILE),
        LINKS.feature(HOSTILE, "v 1", "dep/delay"),
        "/models/bare",
        "/models/no",
    ):
        answer = browser.get(address)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        for tag, attributes in Markup(answer.text).elements:
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]
            assert tag != "style"
            if tag == "script":
                assert (attributes.get("src") or "").startswith("/static/")
        assert not re.search(r"<script[^>]*>[^<]", answer.text)


def test_a_page_refreshes_by_its_main_part_alone(browser: TestClient) -> None:
    whole = browser.get("/").text
    answer = browser.get("/", headers={"X-Driftwell-Fragment": "1"})
    assert "<html" not in answer.text
    assert answer.text.strip() in whole
    assert answer.headers["vary"] == "X-Driftwell-Fragment"


def test_a_model_without_reference_says_what_to_do(browser: TestClient) -> None:
    text = Markup(browser.get("/models/bare").text).text
    assert "driftwell baseline training.parquet --model bare --version 1" in text
    assert "No alert has fired and no retraining was asked for." in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/models/nope", "There is no model named nope"),
        ("/models/bare?version=9", "There is no version 9 of the model bare"),
        ("/models/bare/features/y", "No check of bare 1 knows a feature named y"),
        (f"/models/{quote(HOSTILE, safe='')}/features/y", "knows a feature named y"),
        (f"/models/{quote(HOSTILE, safe='')}/features/carrier?check=unknown", "carrier"),
    ],
)
def test_an_address_that_leads_nowhere_helps(browser: TestClient, address: str, words: str) -> None:
    answer = browser.get(address)
    assert answer.status_code in (404, 200)
    assert words in Markup(answer.text).text
    if "unknown" not in address:
        assert answer.status_code == 404


def test_pages_need_a_token_and_static_files_do_not(filled: Runtime, service: Callable[..., TestClient]) -> None:
    stranger = service()
    for address in ("/", "/models/bare", "/models/bare/features/x"):
        answer = stranger.get(address, headers={"Accept": "text/html"}, follow_redirects=False)
        assert answer.status_code == 303
        assert "login?next=" in answer.headers["location"]
    for name, kind in STATIC.items():
        answer = stranger.get(f"/static/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert stranger.get("/static/nope.css").status_code == 404
    assert stranger.get("/static/..%2Fpages.py").status_code == 404


def test_a_static_file_is_kept_only_under_its_own_name(browser: TestClient) -> None:
    sources = re.findall(r'(?:src|href)="(/static/[^"]+)"', browser.get("/").text)
    assert len(sources) == len(STATIC)
    for source in sources:
        assert "immutable" in browser.get(source).headers["cache-control"]
    assert browser.get("/static/style.css?v=old").headers["cache-control"] == "no-cache"


def test_an_empty_service_says_how_to_begin(service: Callable[..., TestClient], headers: dict[str, str]) -> None:
    text = Markup(service().get("/", headers=headers).text).text
    assert "No models yet" in text
    assert "monitor.record_prediction(" in text


def test_pages_are_not_in_the_api_document(browser: TestClient) -> None:
    assert not [
        p for p in browser.get("/openapi.json").json()["paths"] if p == "/" or p.startswith(("/models", "/static"))
    ]
