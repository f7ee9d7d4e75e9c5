"""Targets: what does the retraining, one file each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from driftwell.errors import ConfigError, NotSupported
from driftwell.retraining.policy import Policy
from driftwell.retraining.targets.base import Ended, Target
from driftwell.retraining.targets.callback import CallbackTarget

__all__ = ["CallbackTarget", "Ended", "Target", "plan"]


def plan(items: Iterable[Any], callback: Callable[..., Any] | None = None) -> tuple[Policy, list[Target]]:
    """The policy and the targets in what settings hold: functions, targets, and at most one policy.

    Without any target nothing retrains. Raises ``ConfigError`` for two policies or something else,
    ``NotSupported`` for the address of a target that this version does not have.

    Examples
    --------
    >>> policy, targets = plan([print, Policy(cooldown="P7D")])
    >>> policy.cooldown, targets[0].name
    ('P7D', 'callback:builtins.print')
    """
    given = [*items, *([callback] if callback is not None else [])]
    policies = [item for item in given if isinstance(item, Policy)]
    if len(policies) > 1:
        raise ConfigError("retraining takes one policy, got several")
    targets = [_target(item) for item in given if not isinstance(item, Policy)]
    return (policies or [Policy()])[0], targets


def _target(item: Any) -> Target:
    if isinstance(item, str):
        raise NotSupported(f"the retraining target {item!r} is not available in this version: give a function")
    if hasattr(item, "start") and hasattr(item, "name"):
        found: Target = item
        return found
    if callable(item):
        return CallbackTarget(item)
    raise ConfigError(f"retraining takes functions (reason, details), targets and one policy, got {item!r}")
