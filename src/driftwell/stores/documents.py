"""What a ledger must know of the documents it keeps: checks, retraining runs and notices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from driftwell.errors import BadInput

__all__ = ["brief", "check_settled", "is_running", "window_end_us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def brief(check: dict[str, Any]) -> dict[str, Any]:
    """The check without the distributions of its columns, which are nine tenths of it."""
    drift = check.get("drift")
    if not drift:
        return check
    thin = {
        part: {name: {k: v for k, v in column.items() if k != "distribution"} for name, column in drift[part].items()}
        for part in ("columns", "outputs")
        if isinstance(drift.get(part), dict)
    }
    return check | {"drift": drift | thin}


def window_end_us(check: dict[str, Any]) -> int:
    """When the window of a check ends.

    >>> window_end_us({"window": {"end": "1970-01-01T00:00:01Z"}})
    1000000
    """
    return (datetime.fromisoformat(check["window"]["end"]) - _EPOCH) // timedelta(microseconds=1)


def is_running(run: dict[str, Any]) -> bool:
    """Whether a run that has targets has not ended."""
    return bool(run["targets"]) and run["state"] in ("requested", "running")


def check_settled(state: str) -> None:
    """Raise ``BadInput`` for what is no state of a notice after an attempt."""
    if state not in ("sent", "retry", "dead"):
        raise BadInput(f"state must be 'sent', 'retry' or 'dead', got {state!r}")
