"""The report is one sound, self-contained file that says what the dict says, whatever its names are."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.reports import render_drift, render_monitoring
from driftwell.reports.html import asset

VOID = {"meta", "link", "br", "hr", "input", "img"}


class Page(HTMLParser):
    """Elements with their attributes, the text outside scripts and styles, and every tag left open or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside: dict[str, list[str]] = {"style": [], "script": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]].append(data)
        elif self.open and self.open[-1] != "title":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def is_sound(text: str) -> Page:
    page = Page(text)
    assert page.wrong == []
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids)), "ids are unique"
    for tag, attributes in page.elements:
        assert "style" not in attributes, f"inline style on {tag}"
        assert not any(name.startswith("on") for name in attributes), f"inline handler on {tag}"
    return page


def test_every_column_is_in_the_table_with_its_verdict(report: dict[str, Any]) -> None:
    page = is_sound(render_drift(report))
    rows = page.all("th", scope="row")
    assert len([1 for _ in page.all("tr") if "data-drifted" in _]) == 2
    assert len(rows) >= len(report["columns"])
    for word in ("High", "Medium", "Low", "Stable", "No data", "Error"):
        assert word in page.text


def test_the_headline_says_what_moved_and_from_how_many_rows(report: dict[str, Any]) -> None:
    text = is_sound(render_drift(report)).text
    assert "2 of 4 columns have drifted: income and city" in text
    assert "5,000 current rows with 68,785 reference rows" in text
    assert "Each of them has an adjusted p-value of at most 0.002" in text
    assert "Not judged: empty and broken" in text


def test_no_drift_is_said_without_alarm(report: dict[str, Any]) -> None:
    columns = {name: c for name, c in report["columns"].items() if name in ("age",)}
    calm = report | {"columns": columns, "status": "ok", "severity": "none", "drift_detected": False}
    text = is_sound(render_drift(calm)).text
    assert "Nothing has drifted in 1 column" in text
    assert "Closest to its threshold is age: PSI 0.012 of 0.1." in text


def test_all_columns_together_are_spoken_of_where_none_moved_alone(report: dict[str, Any]) -> None:
    columns = {name: c for name, c in report["columns"].items() if name in ("age",)}
    test = {"method": "mmd", "drifted": True, "p_value": 0.0099, "statistic": 0.0123, "n_reference": 900,
            "n_current": 400, "contributions": {"age": 1.0}, "notes": [], "reason": None}  # fmt: skip
    moved = report | {"columns": columns, "status": "drift", "severity": "low", "multivariate": test}
    text = is_sound(render_drift(moved)).text
    assert "No column has drifted by itself, but all of them together have" in text
    assert "MMD on 400 current and 900 reference rows" in text


def test_a_broken_column_is_broken_and_not_stable(report: dict[str, Any]) -> None:
    broken = report["columns"]["age"] | {"status": "broken", "drifted": False, "reason": "broken: half of it is gone"}
    page = is_sound(render_drift(report | {"columns": {"age": broken}, "outputs": {}, "severity": "low"}))
    assert "Broken: half of it is gone." in page.text
    assert "Stable" not in page.text


def test_too_few_rows_are_never_called_stable(report: dict[str, Any]) -> None:
    columns = {"empty": report["columns"]["empty"]}
    page = is_sound(render_drift(report | {"columns": columns, "outputs": {}, "status": "no_data", "severity": "none"}))
    assert "Not enough rows to tell" in page.text
    assert "Below 100 rows on either side nothing is judged: gather more rows" in page.text
    assert "Stable" not in page.text.replace("never called stable", "")


def test_errors_and_missing_data_show_their_reasons(report: dict[str, Any]) -> None:
    text = is_sound(render_drift(report)).text
    assert "text where numbers were expected" in text.lower()
    assert "12 rows on one side, 100 needed" in text


def test_what_moved_is_open_and_the_rest_collapsed(report: dict[str, Any]) -> None:
    page = is_sound(render_drift(report))
    panels = page.all("details")
    assert len(panels) == len(report["columns"]) + len(report["outputs"])
    assert len([p for p in panels if "open" in p]) == 2


def test_notes_new_categories_and_rules_are_shown(report: dict[str, Any]) -> None:
    text = is_sound(render_drift(report)).text
    assert "column 'id' is not compared" in text
    assert "2 new categories, 48 rows" in text
    assert "Benjamini–Hochberg: of the columns that pass, at most 5.0% are expected to do so by luck" in text
    assert "PSI 0.1" in text


@pytest.mark.parametrize(
    ("decision", "words"),
    [("threshold", "whatever its p-value"), ("p_value", "whatever its size"), ("beyond_noise", "both gates open")],
)
def test_the_rule_in_use_is_the_one_described(report: dict[str, Any], decision: str, words: str) -> None:
    report["summary"]["decision"] = decision
    assert words in is_sound(render_drift(report)).text


def test_names_are_text_and_never_markup(report: dict[str, Any], hostile: str) -> None:
    text = render_drift(report | {"notes": [hostile]})
    page = is_sound(text)
    assert len(page.all("script")) == 1
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in text
    assert "\x00" not in text


def test_the_file_needs_nothing_from_elsewhere(report: dict[str, Any]) -> None:
    text = render_drift(report)
    page = is_sound(text)
    for tag, attributes in page.elements:
        assert "src" not in attributes
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#"), tag
    outside = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "://" not in outside
    assert "@import" not in text
    assert "url(" not in text


def test_its_security_policy_allows_exactly_its_own_style_and_script(report: dict[str, Any]) -> None:
    page = is_sound(render_drift(report))
    (policy,) = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        digest = hashlib.sha256("".join(page.inside[kind]).encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_a_wide_report_stays_small(report: dict[str, Any]) -> None:
    wide = {f"feature_{i:02d}": full_column(report, f"feature_{i:02d}") for i in range(40)}
    assert len(render_drift(report | {"columns": wide}).encode()) < 500_000


def full_column(report: dict[str, Any], name: str) -> dict[str, Any]:
    """A numeric column with as many bins and points as a report ever carries: 40 bins, 82 points, 6 methods."""
    edges = [i * 1.2345678 - 17.123456 for i in range(41)]
    shares = [1 / 40 + 0.0001234567 * (i % 7) for i in range(40)]
    distribution = {
        "type": "numeric",
        "edges": edges,
        "reference": shares,
        "current": shares[::-1],
        "ecdf": {
            "x": [i * 0.61728 - 17.1 for i in range(82)],
            "reference": [i / 81 for i in range(82)],
            "current": [(i / 81) ** 1.3 for i in range(82)],
        },
        "stats": report["columns"]["age"]["distribution"]["stats"],
    }
    measure = {"method": "jensen_shannon", "value": 0.123456789, "low": 0.12, "high": 0.13, "p_value": 1e-7}
    measures = {f"m{i}": measure | {"interval": [0.1, 0.2]} for i in range(6)}
    return report["columns"]["income"] | {"name": name, "distribution": distribution, "measures": measures}


def test_the_report_is_not_changed_by_drawing_it(report: dict[str, Any]) -> None:
    before = copy.deepcopy(report)
    render_drift(report)
    assert report == before


def test_the_check_behind_a_report_adds_its_performance(report: dict[str, Any], checks: list[dict[str, Any]]) -> None:
    page = is_sound(render_drift(report | {"check": checks[3], "weeks": checks}))
    assert "Realized performance" in page.text
    assert "0.690 to 0.730" in page.text
    assert "0.770" in page.text
    assert "Drift of every feature over time" in page.text


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
KEYS = ["status", "severity", "summary", "notes", "columns", "outputs", "created", "check", "weeks", "scores"]
COLUMN = ["status", "severity", "value", "threshold", "p_adjusted", "score", "interval", "low", "high", "measures",
          "new_categories", "distribution", "reason", "error", "drifted", "kind", "method"]  # fmt: skip
columns = st.dictionaries(st.text(max_size=5), st.dictionaries(st.sampled_from(COLUMN), anything), max_size=4)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), anything) | st.fixed_dictionaries({"columns": columns}))
def test_a_damaged_report_is_still_a_sound_page(report: dict[str, Any]) -> None:
    is_sound(render_drift(report))


@settings(max_examples=50, deadline=None)
@given(st.text(), st.lists(st.dictionaries(st.sampled_from(["window", "status", "drift", "performance", "verdicts",
       "drifted_features", "culprits", "alarm", "n_predictions"]), anything), max_size=4))  # fmt: skip
def test_damaged_checks_are_still_a_sound_page(title: str, checks: list[dict[str, Any]]) -> None:
    is_sound(render_monitoring(title, checks))


# -- many checks -----------------------------------------------------------------------------------------------------


def test_a_year_of_checks_in_one_page(checks: list[dict[str, Any]]) -> None:
    alert = {"rule": "f1_drop", "severity": "critical", "state": "firing", "since_us": 1_364_169_600_000_000,
             "value": 0.71, "message": "f1 < 0.7315"}  # fmt: skip
    page = is_sound(render_monitoring("Flights <b>", checks[::-1], alerts=[alert]))
    assert "Drift in 3 of 4 checks, most often in dep_delay" in page.text
    assert "F1 was 0.770 on 4 Mar and 0.710 on 25 Mar; at its worst it was 0.710 on 25 Mar." in page.text
    assert "f1_drop" in page.text
    assert "25 Mar 2013, 00:00 UTC" in page.text
    assert "Flights <b>" in page.text
    assert page.text.index("25 Mar – 4 Apr 2013" if "25 Mar – 4 Apr 2013" in page.text else "25 Mar") > 0


def test_no_checks_say_what_to_do_next() -> None:
    page = is_sound(render_monitoring("New model", []))
    assert "No checks yet" in page.text
    assert "driftwell check" in page.text


def test_assets_have_no_remote_parts() -> None:
    for name in ("style.css", "report.js"):
        text = asset(name)
        assert "://" not in text
        assert "url(" not in text
        assert not re.search("</(style|script)", text), "would end the element it is put in"
