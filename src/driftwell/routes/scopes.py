"""Which scope each path of the HTTP contract asks for; the routers take it from here."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SCOPES"]

SCOPES: Mapping[tuple[str, str], str] = {
    ("POST", "/api/v1/predictions"): "ingest",
    ("POST", "/api/v1/cloudevents"): "ingest",
    ("POST", "/api/v1/feedback"): "ingest",
    ("POST", "/monitoring/feedback"): "ingest",
    ("GET", "/api/v1/collector/stats"): "read",
    ("GET", "/api/v1/collector/recent"): "read",
    ("GET", "/api/v1/drift/status"): "read",
    ("GET", "/api/v1/drift/performance"): "read",
    ("GET", "/api/v1/hourly/summary"): "read",
    ("GET", "/api/v1/checks"): "read",
    ("GET", "/metrics/drift"): "read",
    ("GET", "/metrics"): "read",
    ("GET", "/monitoring/status"): "read",
    ("GET", "/monitoring/metrics"): "read",
    ("GET", "/openapi.json"): "read",
    ("POST", "/api/v1/collector/save"): "write",
    ("DELETE", "/api/v1/collector/clear"): "write",
    ("PUT", "/api/v1/models/{model}/reference"): "write",
    ("POST", "/api/v1/monitoring/check-drift"): "write",
    ("POST", "/api/v1/checks"): "write",
    ("POST", "/monitoring/trigger-retraining"): "write",
}
