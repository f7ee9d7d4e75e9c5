"""The log channel: one line a notice, at the level of its severity."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from driftwell.outbox import Delivery, Sent
from driftwell.stores.base import Notice

__all__ = ["LogChannel"]

logger = logging.getLogger("driftwell.alerts")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


@dataclass(frozen=True, slots=True)
class LogChannel:
    """Writes to the logger ``driftwell.alerts``; a resolved alert is ``INFO``."""

    name: str = "log"

    def send(self, notice: Notice) -> Delivery:
        """Log the notice; always arrives."""
        labels, annotations = notice.body["labels"], notice.body["annotations"]
        firing = notice.body["status"] == "firing"
        subject = f"{labels['alertname']}: model {labels['model']} {labels['model_version']}"
        happened = f"{annotations['summary']} {annotations.get('description', '')}"
        line = _one_line(f"{notice.body['status']} [{labels['severity']}] {subject}: {happened}")
        logger.log(LEVELS[labels["severity"]] if firing else logging.INFO, "%s", line)
        return Sent()


def _one_line(text: str) -> str:
    """Names come from users: nothing in them may start a new line or move the terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
