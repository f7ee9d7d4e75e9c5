"""Which shape and colour a severity or status has."""

from __future__ import annotations

__all__ = ["TONES", "tone"]

TONES = {
    "high": "high",
    "critical": "high",
    "medium": "medium",
    "warning": "medium",
    "low": "low",
    "info": "low",
    "learning": "low",
    "none": "ok",
    "ok": "ok",
    "error": "error",
    "broken": "error",
}
"""Severity or status → the class that gives its shape and colour; anything else is ``none``: no verdict."""


def tone(severity: object) -> str:
    """The class of a severity or status."""
    return TONES.get(str(severity), "none")
