"""The pages and the reports as a reader meets them: `driftwell serve` as a process, a real Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest

import driftwell as dw
from driftwell.reports import render_monitoring, write_text

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"there is no browser at {CHROMIUM}"),
]

START = datetime(2025, 9, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
WEEKS = 6
ROWS_A_WEEK = 400
WIDE, PHONE = (1280, 900), (390, 844)
PATIENCE_MS = 15_000
FEATURE = "dep_delay"
FLEET, MODEL, FEATURE_PAGE = "fleet", "model", "feature"


# -- what is shown -----------------------------------------------------------------------------------------


def flights(week: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Late flights of one week: from the fourth on departures are later, carriers change, values go missing."""
    moved = max(0, week - 2)
    delay = rng.gamma(2.0, 6.0 + 4.0 * moved, n) - 8
    distance = rng.lognormal(6.6, 0.6, n)
    carriers = ["UA", "B6", "EV", "DL", "AA"] + (["F9"] if moved > 1 else [])
    weights = np.array([30, 25, 20, 15, 10, 12][: len(carriers)], float)
    score = 1 / (1 + np.exp(-(delay - 12) / 6))
    truth = (delay + rng.normal(0, 4 + 4 * moved, n) > 14).astype(int)
    hidden = rng.random(n) < 0.02 + 0.03 * moved
    return {
        "dep_delay": np.round(delay, 1),
        "distance": np.round(distance),
        "carrier": rng.choice(carriers, n, p=weights / weights.sum()),
        "origin": rng.choice(["JFK", "LGA", "EWR"], n),
        "weekend": rng.random(n) < 2 / 7,
        "wind_speed": [None if gone else float(v) for v, gone in zip(rng.weibull(2, n) * 11, hidden, strict=True)],
        "prediction": (score > 0.5).astype(int),
        "score": score,
        "true_label": truth,
    }


def credit(week: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """A model that nothing happens to."""
    income, age = rng.lognormal(3.8, 0.4, n), rng.normal(45, 12, n)
    score = 1 / (1 + np.exp(-(income - 48) / 12 + (age - 45) / 30))
    return {
        "income": income,
        "age": np.round(age),
        "city": rng.choice(["Bergen", "Lima", "Osaka", "Turin"], n),
        "prediction": (score > 0.5).astype(int),
        "score": score,
        "true_label": (rng.random(n) < score).astype(int),
    }


@dataclass(frozen=True)
class Shown:
    """A store with several weeks of two models, and the reports made of them."""

    folder: Path
    store: str
    drift_report: Path
    monitoring_report: Path


def watch(name: str, make: Callable[..., dict[str, Any]], store: str, rng: np.random.Generator) -> dw.Monitor:
    """A model recorded, labelled and checked week by week, as its service would do it."""
    training = make(0, 3000, rng)
    accuracy = float(np.mean(training["prediction"] == training["true_label"]))
    reference = dw.Reference.from_data(training, name=f"{name} training", performance={"accuracy": accuracy})
    monitor = dw.Monitor(name, version="v1", reference=reference, store=store)
    for week in range(WEEKS):
        table = make(week, ROWS_A_WEEK, rng)
        labels = table.pop("true_label")
        noon = np.clip(rng.normal(0.55, 0.16, ROWS_A_WEEK), 0, 0.999)  # few flights leave at night
        steps = np.sort((rng.integers(0, 7, ROWS_A_WEEK) + noon) * 86_400)
        ids = [f"{name}-{week}-{i}" for i in range(ROWS_A_WEEK)]
        times = [START + week * WEEK + timedelta(seconds=float(step)) for step in steps]
        monitor.record_batch(pa.table({**table, "prediction_id": ids, "timestamp": times}))
        tickets = [monitor.record_feedback(one, int(truth)) for one, truth in zip(ids, labels, strict=True)]
        assert monitor.flush(60)
        assert tickets[-1].wait(30) is not None
        monitor.check(window="P7D", at=START + (week + 1) * WEEK)
    return monitor


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("pages")
    store, rng = f"sqlite:///{folder}/driftwell.db", np.random.default_rng(2013)
    watch("credit", credit, store, rng).close()
    monitor = watch("flights", flights, store, rng)
    ledger = monitor.runtime.ledger
    checks = [ledger.checks("flights", "v1", limit=WEEKS, full=True), ledger.get_alerts("flights")]
    assert any(alert["state"] == "firing" for alert in checks[1])
    assert monitor.stats()["stored"] == WEEKS * ROWS_A_WEEK
    monitoring = write_text(folder / "monitoring.html", render_monitoring("flights v1", checks[0], alerts=checks[1]))
    monitor.close()
    drift = folder / "drift.html"
    dw.compare(flights(0, 3000, rng), flights(5, 1500, rng)).to_html(drift)
    return Shown(folder, store, drift, monitoring)


@dataclass(frozen=True)
class Service:
    """A running `driftwell serve` and the login link that it printed."""

    url: str
    login: str


@pytest.fixture(scope="module")
def service(shown: Shown) -> Iterator[Service]:
    words = [sys.executable, "-m", "driftwell", "serve", "--port", "0", "--store", shown.store]
    log = shown.folder / "serve.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            words,
            cwd=shown.folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            said = "".join(iter_until(process, "Open "))
            link = re.search(r"^Open (\S+)$", said, re.MULTILINE)
            assert link, f"no link was printed: {said}{log.read_text()}"
            yield Service("http://" + urlsplit(link[1]).netloc, link[1])
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()
    assert "Traceback" not in log.read_text()


def iter_until(process: subprocess.Popen[str], start: str) -> Iterator[str]:
    """Lines of a process up to the one that begins like this; all of them when it ends before."""
    for line in process.stdout:
        yield line
        if line.startswith(start):
            return


# -- how it is looked at -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """What a page complained about and where it asked."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


WATCH_POLICY = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""


@contextmanager
def looking(browser: Any, size: tuple[int, int], scheme: str, session: Any = None) -> Iterator[tuple[Any, Watched]]:
    """A page of this size and colour scheme; afterwards it must not have complained about anything."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, storage_state=session
    )
    try:
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(WATCH_POLICY)
        page, seen = context.new_page(), Watched()
        page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
        page.on("requestfailed", lambda request: seen.complaints.append(f"failed: {request.url}"))
        yield page, seen
        assert seen.complaints == []
    finally:
        context.close()


@pytest.fixture(scope="module")
def entered(browser: Any, service: Service) -> Any:
    """The session that the printed link opens, once."""
    with looking(browser, WIDE, "light") as (page, seen):
        page.goto(service.login)
        assert urlsplit(page.url).query == ""
        page.get_by_role("heading", level=1).wait_for()
        assert seen.hosts == {urlsplit(service.url).netloc}
        return page.context.storage_state()


def addresses(service: Service) -> dict[str, str]:
    model = f"{service.url}/models/flights"
    return {
        FLEET: f"{service.url}/",
        MODEL: model,
        FEATURE_PAGE: f"{model}/features/{FEATURE}?version=v1",
    }


def fits(page: Any) -> list[str]:
    """What sticks out of the page, or of a box of its own, to the right; empty when nothing does."""
    return page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll(".table-wrap, .timeline, .facts")]
          .filter((box) => box.scrollWidth > box.clientWidth)
          .map((box) => `${box.tagName} ${box.className}: ${box.scrollWidth} in ${box.clientWidth}`)"""
    )


def focus_marks(page: Any, stops: int) -> list[dict[str, Any]]:
    """What the next Tab stops look like when the keyboard reaches them, to the last one of the page at most."""
    marks = []
    for _ in range(stops):
        page.keyboard.press("Tab")
        mark = page.evaluate(
            """() => {
              const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
              return at === document.body ? null : {
                what: `${at.tagName} ${at.textContent.trim().slice(0, 30)}`,
                outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
                onScreen: box.right > 0 && box.bottom > 0 && box.width > 0,
              };
            }"""
        )
        if mark is None:
            break
        marks.append(mark)
    assert marks, "nothing can be reached by keyboard"
    return marks


def in_both_schemes(page: Any, stem: Path) -> None:
    """A screenshot in light and in dark; the page's ground and words must change places."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=f"{stem}-{scheme}.png", full_page=True)
        ground, words = (brightness(page, what) for what in ("backgroundColor", "color"))
        assert (ground > 200 and words < 60) if scheme == "light" else (ground < 60 and words > 200)


def brightness(page: Any, what: str) -> float:
    """Of one of the page's colours, from 0 (black) to 255."""
    colour = page.evaluate("(what) => getComputedStyle(document.body)[what]", what)
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3


# -- the pages ---------------------------------------------------------------------------------------------


def test_fleet_to_model_to_feature_by_clicking(browser, service, entered, tmp_path):
    with looking(browser, WIDE, "light", entered) as (page, seen):
        page.goto(service.url)
        assert page.get_by_role("heading", level=1).inner_text() == "1 of 2 models needs attention"
        first = page.locator("tbody tr").first
        assert "flights" in first.inner_text()
        assert "Critical" in first.inner_text()
        page.get_by_role("link", name="credit").wait_for()

        page.get_by_role("link", name="flights").click()
        page.wait_for_url("**/models/flights")
        assert FEATURE in page.get_by_role("heading", level=1).inner_text()
        titles = page.get_by_role("heading", level=2).all_inner_texts()
        assert {"Alerts", "Drift of every feature over time", "Realized performance", "What happened"} <= set(titles)
        heat = page.get_by_role("group", name="Drift score of each feature in each check")
        assert heat.locator("a").count() == 6
        assert heat.locator("rect.c-cell").count() == 6 * WEEKS
        assert heat.locator("circle.m2").count() >= 1

        heat.get_by_role("link", name=FEATURE).click()
        page.wait_for_url(f"**/features/{FEATURE}?version=v1")
        assert page.get_by_role("heading", level=1).inner_text() == FEATURE
        overlay = page.get_by_role("img", name=f"{FEATURE}: reference and current")
        assert overlay.locator("path").count() >= 2
        assert page.locator("section[aria-labelledby=checks] tbody tr").count() == WEEKS

        page.get_by_role("link", name="Driftwell").click()
        page.get_by_role("heading", name="1 of 2 models needs attention").wait_for()
        assert seen.hosts == {urlsplit(service.url).netloc}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_fit_and_follow_the_colour_scheme(browser, service, entered, tmp_path, size):
    with looking(browser, size, "light", entered) as (page, _):
        for name, address in addresses(service).items():
            page.goto(address)
            page.get_by_role("heading", level=1).wait_for()
            assert fits(page) == [], name
            in_both_schemes(page, tmp_path / f"{name}-{size[0]}")


@pytest.mark.parametrize("name", [FLEET, MODEL, FEATURE_PAGE])
def test_keyboard_focus_is_visible(browser, service, entered, name):
    with looking(browser, WIDE, "light", entered) as (page, _):
        page.goto(addresses(service)[name])
        page.get_by_role("heading", level=1).wait_for()
        marks = focus_marks(page, 12)
        assert marks[0]["what"] == "A Skip to the content"
        assert [mark for mark in marks if not (mark["outlined"] and mark["onScreen"])] == []


def test_fleet_can_be_filtered_and_sorted(browser, service, entered):
    with looking(browser, WIDE, "light", entered) as (page, _):
        page.goto(service.url)
        page.get_by_label("only what needs attention").check()
        assert page.locator("tbody tr:visible").count() == 1
        page.get_by_label("only what needs attention").uncheck()
        page.get_by_label("Filter models by name").fill("cred")
        assert page.locator("tbody tr:visible th").inner_text().startswith("credit")
        page.get_by_label("Filter models by name").fill("")
        page.get_by_role("button", name="Model").click()
        assert page.locator("tbody th a").all_inner_texts() == ["credit", "flights"]


def test_refresh_shows_what_came_since(browser, service, entered, shown):
    with looking(browser, WIDE, "light", entered) as (page, _):
        page.clock.install()
        page.goto(service.url)
        with page.expect_response(lambda answer: "x-driftwell-fragment" in answer.request.headers):
            page.clock.run_for(10_500)
        name = 'team/<img src=x onerror="alert(1)">'  # shown as it is written, also by the script
        monitor = dw.Monitor(name, version="v1", store=shown.store)
        monitor.record_prediction({"<b>age</b>": 40.0}, 1, timestamp=START)
        monitor.close()
        with page.expect_response(lambda answer: "x-driftwell-fragment" in answer.request.headers):
            page.clock.run_for(10_500)
        page.get_by_role("link", name=name).click()
        page.locator("tbody").get_by_text("<b>age</b> 40").wait_for()


def test_who_is_not_logged_in_sees_the_login_page(browser, service, tmp_path):
    with looking(browser, PHONE, "dark") as (page, _):
        page.goto(f"{service.url}/models/flights")
        assert page.get_by_role("heading", level=1).inner_text() == "Log in"
        page.screenshot(path=tmp_path / "login-390-dark.png")
        assert fits(page) == []
        assert [mark for mark in focus_marks(page, 2) if not mark["outlined"]] == []


def test_name_that_is_not_there_leads_on(browser, service, entered):
    with looking(browser, WIDE, "light", entered) as (page, seen):
        page.goto(f"{service.url}/models/flihgts")
        assert "flihgts" in page.get_by_role("heading", level=1).inner_text()
        page.get_by_role("link", name="flights").click()
        page.wait_for_url("**/models/flights")
        # The browser itself notes the status 404 of the first page.
        assert [one for one in seen.complaints if "404" not in one] == []
        seen.complaints.clear()


# -- the reports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["drift_report", "monitoring_report"])
def test_report_opens_from_a_file(browser, shown, tmp_path, name, size):
    with looking(browser, size, "light") as (page, seen):
        page.goto(getattr(shown, name).as_uri())
        assert FEATURE in page.get_by_role("heading", level=1).inner_text()
        assert page.get_by_role("img", name=f"{FEATURE}: reference and current").first.is_visible()
        assert fits(page) == []
        in_both_schemes(page, tmp_path / f"{name}-{size[0]}")
        assert seen.hosts == {""}  # the file alone


def test_report_is_sorted_by_keyboard(browser, shown):
    with looking(browser, WIDE, "light") as (page, _):
        page.goto(shown.drift_report.as_uri())
        head = page.get_by_role("button", name="Column")
        head.focus()
        page.keyboard.press("Enter")
        names = page.locator("section[aria-labelledby=columns] tbody th a").all_inner_texts()
        assert names == sorted(names)
        assert [mark for mark in focus_marks(page, 3) if not mark["outlined"]] == []
