"""The callback channel: a Python function of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from driftwell.outbox import Delivery, Rejected, Sent, call, name_of
from driftwell.stores.base import Notice

__all__ = ["CallbackChannel"]


class CallbackChannel:
    """Calls ``function(alert)``, also a coroutine function, with one flat dict.

    The dict has ``name, severity, status`` ("firing" or "resolved"), ``model, version, summary, message,
    value, starts_at, ends_at`` (None while it fires). A function that raises is logged and not called again
    for that notice: repeating half of its work could do harm.

    Examples
    --------
    >>> CallbackChannel(print).name
    'callback:builtins.print'
    """

    def __init__(self, function: Callable[[dict[str, Any]], Any], *, number: int = 1) -> None:
        self._function = function
        self.name = f"callback:{name_of(function)}" + (f"#{number}" if number > 1 else "")

    def renamed(self, number: int) -> CallbackChannel:
        """The same function as the ``number``-th channel of its name."""
        return CallbackChannel(self._function, number=number)

    def send(self, notice: Notice) -> Delivery:
        """Call the function once."""
        returned = call(self._function, alert_event(notice.body))
        return Sent() if returned.error is None else Rejected(f"the function raised {returned.error}")


def alert_event(body: dict[str, Any]) -> dict[str, Any]:
    """The flat dict of one alert that functions get."""
    labels, annotations = body["labels"], body["annotations"]
    return {
        "name": labels["alertname"],
        "severity": labels["severity"],
        "status": body["status"],
        "model": labels["model"],
        "version": labels["model_version"],
        "summary": annotations.get("summary"),
        "message": annotations.get("description"),
        "value": float(annotations["value"]) if "value" in annotations else None,
        "starts_at": body["startsAt"],
        "ends_at": body["endsAt"] if body["status"] == "resolved" else None,
    }
