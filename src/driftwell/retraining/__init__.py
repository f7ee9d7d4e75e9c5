"""Retraining: when a check asks for it, what a run goes through, and the targets that do it."""

from __future__ import annotations

from driftwell.retraining.policy import Decision, Policy, cooldown_until, decide, decide_manual
from driftwell.retraining.run import Retrainer, expire, request, run
from driftwell.retraining.targets import CallbackTarget, Ended, Target, plan

__all__ = [
    "CallbackTarget",
    "Decision",
    "Ended",
    "Policy",
    "Retrainer",
    "Target",
    "cooldown_until",
    "decide",
    "decide_manual",
    "expire",
    "plan",
    "request",
    "run",
]
