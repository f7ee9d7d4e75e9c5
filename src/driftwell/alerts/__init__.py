"""Alerts: rules over a check's metrics, the state of each rule over time, and the channels notices go to."""

from __future__ import annotations

from driftwell.alerts.channels import CallbackChannel, LogChannel, WebhookChannel, channel, open_channels
from driftwell.alerts.rules import (
    BUILT_IN_RULES,
    AlertRule,
    Evaluation,
    evaluate,
    evaluate_rules,
    metrics_of,
    rules_from,
)
from driftwell.alerts.state import AlertState, apply, step

__all__ = [
    "BUILT_IN_RULES",
    "AlertRule",
    "AlertState",
    "CallbackChannel",
    "Evaluation",
    "LogChannel",
    "WebhookChannel",
    "apply",
    "channel",
    "evaluate",
    "evaluate_rules",
    "metrics_of",
    "open_channels",
    "rules_from",
    "step",
]
