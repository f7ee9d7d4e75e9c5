"""A model, a recorder and a ledger that only remember what they were asked, and an application over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from driftwell.routes import Ingest, one_model_router
from driftwell.stores.base import LabelCounts


@dataclass
class FakeTicket:
    outcome: LabelCounts | None = field(default_factory=lambda: LabelCounts(matched=1))
    waited: list[float] = field(default_factory=list)

    def wait(self, timeout: float) -> LabelCounts | None:
        self.waited.append(timeout)
        return self.outcome


@dataclass
class FakeModel:
    """Answers every path with the smallest dict that has every field of the contract."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    ticket: FakeTicket = field(default_factory=FakeTicket)
    trigger_answer: dict[str, Any] = field(default_factory=lambda: {"status": "retraining_triggered", "id": "run-1"})
    metrics: str | None = "# HELP a b\n"

    def collector_stats(self, since: str | None = None) -> dict[str, Any]:
        self.calls.append(("collector_stats", since))
        nothing = {"mean": None, "std": None, "min": None, "max": None}
        return {
            "total_predictions": 3,
            "buffered_predictions": 1,
            "errors_count": 0,
            "input_statistics": nothing,
            "output_statistics": {"mean": float("nan"), "std": None, "min": None, "max": None},
            "time_range": {"first": None, "last": None},
            "features": {},
        }

    def recent_http(self, n: int, since: str | None = None) -> list[dict[str, Any]]:
        self.calls.append(("recent_http", n, since))
        row = {"timestamp": "2026-01-20T18:00:00Z", "input": {"a": 1}, "output": 1, "metadata": {}}
        return [{"prediction_id": "p1", **row}]

    def save_batch(self) -> dict[str, Any]:
        return {"status": "saved", "filepath": "data/production/predictions_1.json"}

    def clear(self) -> dict[str, Any]:
        self.calls.append(("clear",))
        return {"status": "cleared", "cleared": 3}

    def drift_status(self, window: Any = None, at: Any = None, since: str | None = None) -> dict[str, Any]:
        self.calls.append(("drift_status", window, at, since))
        numbers = ("psi", "ks_statistic", "ks_p_value", "mmd", "mmd_p_value", "psi_feature", "ks_feature")
        return {
            "status": "no_reference",
            "drift_detected": None,
            **dict.fromkeys(numbers),
            "interpretation": None,
            "recommendation": None,
            "severity": None,
            "alarm": {"fired": False, "active": False, "evidence": None, "bar": None},
        }

    def drift_performance(self) -> dict[str, Any]:
        return {
            "total_predictions": 3,
            "output_statistics": {"mean": None, "std": None, "min": None, "max": None},
            "realized": {"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2}},
            "estimated": None,
            "labels": {"matched": 2, "coverage": 0.6},
        }

    def hourly_summary(self, hours: int = 168, since: str | None = None) -> dict[str, Any]:
        self.calls.append(("hourly_summary", hours, since))
        return {"2026-01-20T18:00:00": {"count": 3, "input_mean": 1.0, "output_mean": None}}

    def drift_scores(self) -> dict[str, Any]:
        return {"feature_scores": {"a": 0.25}, "last_check": None, "drift_detected": False}

    def status(self) -> dict[str, Any]:
        nothing = dict.fromkeys(("reference_id", "last_check", "next_check", "drift", "performance", "quality"))
        return {
            "status": "no_data",
            "model": "m",
            "version": "1",
            "monitoring": False,
            **nothing,
            "counts": {},
            "retraining": {"last": None, "running": None, "cooldown_until": None},
        }

    def record_feedback(self, prediction_id: str, true_label: Any, *, timestamp: Any = None) -> FakeTicket:
        self.calls.append(("record_feedback", prediction_id, true_label, timestamp))
        return self.ticket

    def trigger_retraining(self, reason: str = "manual", details: Any = None) -> dict[str, Any]:
        self.calls.append(("trigger_retraining", reason, details))
        return self.trigger_answer

    def metrics_text(self) -> str | None:
        return self.metrics


@dataclass
class FakeRecording:
    """Keeps what was offered; ``space`` is the room of its queue, ``outcomes`` what becomes of labels."""

    space: int = 1000
    offered: list[dict[str, Any]] = field(default_factory=list)
    tables: list[tuple[Any, ...]] = field(default_factory=list)
    labels: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: dict[str, LabelCounts | None] = field(default_factory=dict)
    tickets: list[FakeTicket] = field(default_factory=list)
    refused: list[tuple[Any, ...]] = field(default_factory=list)

    def note_refused(self, *what: Any) -> None:
        self.refused.append(what)

    def note_refused_labels(self, *what: Any) -> None:
        self.refused.append(what)

    def offer(self, model: str, version: str, features: Any, prediction: Any, **rest: Any) -> str:
        self.offered.append(
            {"model": model, "version": version, "features": features, "prediction": prediction, **rest}
        )
        return rest["prediction_id"] or f"made-{len(self.offered)}"

    def offer_table(self, model: str, version: str, table: Any, roles: dict[str, str]) -> list[str]:
        self.tables.append((model, version, table, roles))
        return [f"row-{i}" for i in range(len(table))]

    def offer_label(
        self, prediction_id: str, true_label: Any, *, model: str | None = None, timestamp: Any = None
    ) -> FakeTicket:
        self.labels.append((prediction_id, true_label, model, timestamp))
        self.tickets.append(FakeTicket(self.outcomes.get(prediction_id, LabelCounts(matched=1))))
        return self.tickets[-1]

    def offer_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
        return None if len(rows) > self.space else [self.offer(**row) for row in rows]

    def room(self, size: int = 0) -> int:
        return self.space


@dataclass
class FakeLedger:
    """The token part of a ledger."""

    kept: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    audits: list[tuple[str, str, dict[str, Any], int]] = field(default_factory=list)

    def put_token(self, token_id: str, digest: bytes, scopes: Any, expires_us: int | None, now_us: int) -> None:
        row = {"id": token_id, "scopes": list(scopes), "expires_us": expires_us, "created_us": now_us}
        self.kept[digest] = row | {"revoked": False}

    def find_token(self, digest: bytes) -> dict[str, Any] | None:
        return self.kept.get(digest)

    def revoke_token(self, token_id: str) -> bool:
        found = [row for row in self.kept.values() if row["id"] == token_id]
        for row in found:
            row["revoked"] = True
        return bool(found)

    def audit(self, who: str, what: str, details: dict[str, Any], now_us: int) -> None:
        self.audits.append((who, what, details, now_us))


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def recording() -> FakeRecording:
    return FakeRecording()


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def ingest(recording: FakeRecording) -> Ingest:
    return Ingest(recording, lambda model, version: (model or "m", version or "1"))


@pytest.fixture
def client(model: FakeModel, ingest: Ingest) -> TestClient:
    """The router in an application that has no exception handlers of its own."""
    app = FastAPI()
    app.include_router(one_model_router(lambda name, version: model, guard=None, ingest=ingest))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def ticket_of() -> Any:
    return FakeTicket
