"""The test of whole rows in a check: its rows, its verdict, and where it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference
from driftwell.config import settings_from
from driftwell.detectors.multivariate import MULTIVARIATE, judge_rows, mmd_test
from driftwell.errors import ConfigError
from driftwell.monitor.exporter import metrics_text

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)


def pair(n: int, correlation: float, seed: int) -> dict[str, Any]:
    """Two standard normal columns; only their correlation can tell two such tables apart."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    return {"x": x, "y": correlation * x + np.sqrt(1 - correlation**2) * y}


OLD = pair(1_500, 0.0, 1)
REFERENCE = Reference.from_data(OLD)


def record(monitor, columns: dict[str, Any]) -> None:
    n = len(columns["x"])
    more = {"timestamp": [START + timedelta(seconds=i) for i in range(n)], "prediction_id": [f"p{i}" for i in range(n)]}
    monitor.record_batch(pa.table({**columns, **more}))
    assert monitor.flush(10)


def together(check) -> Any:
    (found,) = [verdict for verdict in check.verdicts if verdict.signal == "drift" and verdict.feature is None]
    return found


def test_the_option_knows_every_method_and_no_other():
    for name in MULTIVARIATE:
        assert settings_from({"multivariate": name}).multivariate == name
    with pytest.raises(ConfigError, match="multivariate must be mmd or energy or"):
        settings_from({"multivariate": "mdm"})


def test_a_changed_dependence_is_drift_though_no_column_moved(make):
    monitor = make(reference=REFERENCE, multivariate="mmd")
    new = pair(600, 0.9, 2)
    record(monitor, new)
    check = monitor.check("PT1H", at=END)
    assert check.drift_detected
    assert check.drifted_features == {}
    found = together(check)
    exact = mmd_test(np.column_stack(list(OLD.values())), np.column_stack(list(new.values())))
    assert (found.metric, found.n) == ("mmd", 600)
    assert found.p_value == pytest.approx(1 / 101)  # none of 100 relabellings is as far
    assert found.value == pytest.approx(exact.statistic, rel=0.2)  # the columns are put on one scale first
    assert check.drift["multivariate"]["drifted"] is True
    assert [rule["rule"] for rule in monitor.runtime.ledger.get_alerts("flights") if rule["state"] == "firing"] == [
        "ModelDataDrift"
    ]


def test_it_is_told_over_http_and_to_prometheus(make):
    monitor = make(reference=REFERENCE, multivariate="mmd")
    record(monitor, pair(600, 0.9, 2))
    check = monitor.check("PT1H", at=END)
    found, status = together(check), monitor.drift_status()
    assert (status["mmd"], status["mmd_p_value"]) == (found.value, found.p_value)
    assert status["reason"] is None
    assert status["multivariate"]["method"] == "mmd"
    assert "all columns together" in status["interpretation"]
    text = metrics_text(monitor.runtime, lambda: [("flights", "v1")])
    assert f'driftwell_drift_distance{{model="flights",version="v1"}} {found.value!r}' in text
    assert f'driftwell_drift_p_value{{model="flights",version="v1"}} {found.p_value!r}' in text


def test_rows_like_the_reference_are_ok_and_another_method_gives_no_mmd(make):
    monitor = make(reference=REFERENCE, multivariate="hotelling")
    record(monitor, pair(600, 0.0, 4))
    check = monitor.check("PT1H", at=END)
    assert (check.status, together(check).status) == ("ok", "ok")
    status = monitor.drift_status()
    assert (status["mmd"], status["multivariate"]["method"]) == (None, "hotelling")
    assert "hotelling" in status["reason"]


def test_a_reference_without_rows_is_an_error_and_spares_the_columns(make):
    monitor = make(reference=replace(REFERENCE, sample=None), multivariate="mmd")
    record(monitor, pair(600, 0.0, 4))
    check = monitor.check("PT1H", at=END)
    assert (together(check).status, check.status) == ("error", "error")
    assert "build it again" in together(check).reason
    assert {v.feature: v.status for v in check.verdicts if v.feature} == {"x": "ok", "y": "ok"}
    assert "build it again" in monitor.drift_status()["reason"]


def test_only_the_newest_rows_are_read_and_it_says_so(make, monkeypatch):
    monkeypatch.setitem(MULTIVARIATE, "mmd", replace(MULTIVARIATE["mmd"], row_limit=200))
    monitor = make(reference=REFERENCE, multivariate="mmd")
    rows = pair(600, 0.9, 2)
    calm = pair(600, 0.0, 4)
    record(monitor, {name: np.concatenate([rows[name][:400], calm[name][:200]]) for name in rows})
    check = monitor.check("PT1H", at=END)
    assert (together(check).n, together(check).status) == (200, "ok")
    assert "the newest 200 of 600 rows were read: mmd takes no more" in check.drift["multivariate"]["notes"]


def test_features_are_transformed_as_they_are_for_the_columns(make):
    monitor = make(
        reference=REFERENCE,
        multivariate="mmd",
        feature_map={"why": "y"},
        preprocess=lambda table: table.set_column(0, "x", [np.asarray(table.column("x")) / 10]),
    )
    new = pair(600, 0.9, 2)
    monitor.record_batch(
        pa.table({"x": new["x"] * 10, "why": new["y"], "timestamp": [START + timedelta(seconds=i) for i in range(600)]})
    )
    assert monitor.flush(10)
    plain = judge_rows("mmd", REFERENCE.sample, pa.table(new), kinds=REFERENCE.kinds)
    assert together(monitor.check("PT1H", at=END)).value == pytest.approx(plain.statistic, rel=1e-6)


def test_rows_given_are_judged_as_they_are(make):
    monitor = make(reference=REFERENCE, multivariate="mmd")
    assert together(monitor.check("PT1H", at=END, data=pair(600, 0.9, 2))).n == 600


def test_too_few_rows_are_no_data(make):
    monitor = make(reference=REFERENCE, multivariate="mmd")
    record(monitor, pair(50, 0.9, 2))
    check = monitor.check("PT1H", at=END)
    assert (check.status, check.drift_detected, check.drift["multivariate"]["status"]) == ("no_data", False, "no_data")
    assert monitor.drift_status()["mmd"] is None


def test_a_broken_column_is_left_out(make):
    monitor = make(reference=REFERENCE, multivariate="mmd")
    new = pair(600, 0.0, 4)
    record(monitor, {"x": new["x"], "y": new["y"] * 1e4})
    check = monitor.check("PT1H", at=END)
    assert {v.feature: v.status for v in check.verdicts if v.signal == "drift"} == {"x": "ok", "y": "error", None: "ok"}
    assert not check.drift_detected
