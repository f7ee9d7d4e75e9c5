"""Report dicts as `DriftResult.to_dict()` and `CheckResult.to_dict()` make them, written by hand."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = '<script>alert(1)</script> & "quoted" \u202ename\x00'


def numeric_distribution() -> dict[str, Any]:
    return {
        "type": "numeric",
        "edges": [0.0, 1.0, 2.0, 4.0, 8.0],
        "reference": [0.1, 0.4, 0.4, 0.1],
        "current": [0.05, 0.15, 0.4, 0.4],
        "ecdf": {"x": [0.0, 1.0, 2.0, 4.0, 8.0], "reference": [0, 0.1, 0.5, 0.9, 1], "current": [0, 0.05, 0.2, 0.6, 1]},
        "missing": {"reference": 0.01, "current": 0.2},
        "stats": {
            "reference": {"mean": 2.5, "std": 1.5, "min": 0.0, "max": 8.0},
            "current": {"mean": 4.25, "std": 2.0, "min": 0.1, "max": 7.9},
        },
    }


def categorical_distribution() -> dict[str, Any]:
    return {
        "type": "categorical",
        "labels": ["Oslo", "Bergen", "(other)"],
        "reference": [0.6, 0.3, 0.1],
        "current": [0.3, 0.3, 0.4],
        "missing": {"reference": 0.0, "current": 0.0},
    }


def column(name: str, **changes: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "kind": "numeric",
        "status": "ok",
        "method": "psi",
        "value": 0.012,
        "low": 0.012,
        "high": 0.012,
        "interval": None,
        "p_value": 0.4,
        "p_adjusted": 0.6,
        "threshold": 0.1,
        "drifted": False,
        "severity": "none",
        "score": 0.031,
        "n_reference": 68785,
        "n_current": 5000,
        "missing_reference": 0.01,
        "missing_current": 0.2,
        "missing_shift": 0.19,
        "new_categories": {},
        "expected_without_change": 0.002,
        "measures": {"psi": {"method": "psi", "value": 0.012, "low": 0.012, "high": 0.012, "p_value": None}},
        "distribution": numeric_distribution(),
        "reason": "psi 0.012 stays below its threshold 0.1",
        "error": None,
    }
    return base | changes


@pytest.fixture
def report() -> dict[str, Any]:
    columns = {
        "income": column("income", status="drift", drifted=True, severity="high", value=0.41, low=0.39, high=0.44,
                         score=0.29, p_adjusted=3e-9, reason="psi 0.41 reaches its threshold 0.1"),
        "city": column("city", kind="categorical", status="drift", drifted=True, severity="medium", value=0.18,
                       score=0.3, p_adjusted=0.0021, new_categories={"Voss": 41, HOSTILE: 7},
                       distribution=categorical_distribution(), reason="psi 0.18 reaches its threshold 0.1"),
        "age": column("age"),
        HOSTILE: column(HOSTILE, severity="low", score=0.05),
        "empty": column("empty", status="no_data", value=None, low=None, high=None, p_adjusted=None, score=None,
                        distribution=None, measures={}, reason="12 rows on one side, 100 needed"),
        "broken": column("broken", status="error", value=None, low=None, high=None, p_adjusted=None, score=None,
                         distribution=None, measures={}, reason=None, error="text where numbers were expected"),
    }  # fmt: skip
    return {
        "format": "driftwell-drift",
        "format_version": 1,
        "created": "2026-11-21T09:35:00Z",
        "status": "drift",
        "drift_detected": True,
        "severity": "high",
        "summary": {"n_columns": 6, "n_drifted": 2, "n_no_data": 1, "n_errors": 1, "n_reference": 68785,
                    "n_current": 5000, "alpha": 0.05, "correction": "bh", "decision": "beyond_noise",
                    "min_samples": 100, "reference_id": "abc", "reference_name": "spring", "reference_version": "v3"},
        "notes": ["column 'id' is not compared: it holds a value of its own in each row"],
        "scores": {name: c["score"] for name, c in columns.items()},
        "columns": columns,
        "outputs": {"prediction": column("prediction", kind="boolean"), "score": column("score")},
        "quality": None,
        "multivariate": None,
        "reasons": {"quality": "later", "multivariate": "later"},
    }  # fmt: skip


def check(week: int, **changes: Any) -> dict[str, Any]:
    day = 4 + 7 * week
    start, end = (f"2013-{3 + (d - 1) // 28:02d}-{(d - 1) % 28 + 1:02d}T00:00:00Z" for d in (day, day + 7))
    f1 = 0.77 - 0.02 * week
    drifted = {"dep_delay": 0.1 + 0.05 * week} if week >= 1 else {}
    base = {
        "check_id": f"check-{week}",
        "model": "flights",
        "version": "v1",
        "status": "critical" if week == 3 else "warning" if week else "ok",
        "severity": "high" if week == 3 else "medium" if week else "none",
        "window": {"start": start, "end": end},
        "timestamp": end,
        "n_predictions": 5000 + week,
        "sample_count": 5000 + week,
        "drift_detected": bool(drifted),
        "performance_degraded": week == 3,
        "drifted_features": drifted,
        "max_drift_score": 0.1 + 0.05 * week,
        "reference_id": "abc",
        "alarm": {"fired": week == 1, "active": week >= 1, "evidence": None, "bar": None, "reason": None},
        "verdicts": [
            {"signal": "performance", "status": "critical" if week == 3 else "ok", "severity": "high" if week == 3 else
             "none", "metric": "f1_score", "feature": None, "value": f1, "threshold": 0.7315, "n": 4900,
             "reason": "f1_score against a baseline of 0.77"},
        ],
        "culprits": list(drifted),
        "drift": {
            "status": "drift" if drifted else "ok",
            "scores": {"dep_delay": 0.1 + 0.05 * week, "origin": 0.02, "temp": None},
            "columns": {
                "dep_delay": column("dep_delay", drifted=bool(drifted), severity="medium" if drifted else "none",
                                    status="drift" if drifted else "ok", value=0.05 + 0.1 * week),
                "origin": column("origin", kind="categorical", distribution=categorical_distribution()),
            },
        },
        "performance": {
            "realized": {"f1": {"name": "f1", "value": f1, "low": f1 - 0.02, "high": f1 + 0.02, "n": 4900},
                         "accuracy": {"name": "accuracy", "value": 0.9, "low": 0.88, "high": 0.92, "n": 4900}},
            "labels": {"matched": 4900, "coverage": 0.98},
            "task": "classification",
            "baseline": {"f1_score": 0.77},
            "reason": None,
        },
        "quality": None,
        "coverage": 1.0,
        "source": "store",
        "reason": None,
    }  # fmt: skip
    return base | changes


@pytest.fixture
def checks() -> list[dict[str, Any]]:
    return [check(week) for week in range(4)]


@pytest.fixture
def too_small() -> dict[str, Any]:
    """A check of 37 rows, whose drift scores are chance."""
    drift = {
        "status": "no_data",
        "scores": {"dep_delay": 0.9},
        "columns": {"dep_delay": column("dep_delay", status="no_data")},
    }
    return check(4, status="no_data", drift=drift, drift_detected=False, drifted_features={}, culprits=[],
                 n_predictions=37, reason="37 rows on one side, 100 needed", performance=None, verdicts=[])  # fmt: skip


@pytest.fixture
def hostile() -> str:
    return HOSTILE
