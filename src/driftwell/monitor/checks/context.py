"""What every job of a check reads, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from driftwell.config import MonitorSettings
from driftwell.profiles.reference import Reference
from driftwell.quality import QualityResult
from driftwell.results import Verdict
from driftwell.stores.base import Ledger, PredictionStore

__all__ = ["CheckContext", "Part"]


@dataclass(frozen=True)
class CheckContext:
    """Everything one check reads: where the rows are, which model, how to judge.

    ``mark`` is recorded with the check; ``only_after_mark`` leaves out rows that arrived before it.
    """

    store: PredictionStore
    ledger: Ledger
    model: str
    version: str
    settings: MonitorSettings
    reference: Reference | None
    baseline: dict[str, float]
    mark: int = 0
    only_after_mark: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one job of a check found: its report, its verdicts, why there is none, how many rows there are, which
    columns are broken, and what the rows of the window did not allow to say exactly."""

    verdicts: tuple[Verdict, ...] = ()
    report: dict[str, Any] | None = None
    reason: str | None = None
    n: int | None = None
    quality: QualityResult | None = None
    notes: tuple[str, ...] = ()
