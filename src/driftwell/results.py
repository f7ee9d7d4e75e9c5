"""Frozen results that cross rooms: severities, values with their intervals, per-column and per-check answers.

Nothing here computes statistics or draws; every class turns itself into plain JSON values with ``to_dict``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

__all__ = [
    "Alarm",
    "CheckResult",
    "ColumnResult",
    "Contribution",
    "Measure",
    "MetricValue",
    "QualityVerdict",
    "Severity",
    "Verdict",
    "Window",
    "isoformat",
    "plain",
]


class Severity(IntEnum):
    """How large a finding is, ordered ``none < low < medium < high``.

    Examples
    --------
    >>> Severity.LOW < Severity.HIGH, str(Severity.MEDIUM), Severity("high") is Severity.HIGH
    (True, 'medium', True)
    """

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def _missing_(cls, value: object) -> Severity | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None

    @property
    def alert_level(self) -> str:
        """The word alerts use: none and low are ``info``, medium ``warning``, high ``critical``."""
        return ("info", "info", "warning", "critical")[self]

    @property
    def status(self) -> str:
        """The word a check uses: none and low are ``ok``, medium ``warning``, high ``critical``."""
        return ("ok", "ok", "warning", "critical")[self]


@dataclass(frozen=True, slots=True)
class Measure:
    """One distance or test on one column, with what is needed to judge it.

    ``low`` and ``high`` are certified bounds of the computed number (both equal ``value`` when it is exact);
    ``interval`` is the 95 % interval for the population value, or None where there is none. ``expected_without_change``
    is what the sample sizes alone add to the value, ``debiased`` the value without it. ``sampled``: of the reference
    only the row sample was read, ``n_reference`` rows.
    """

    method: str
    value: float
    low: float
    high: float
    n_reference: int
    n_current: int
    p_value: float | None = None
    statistic: float | None = None
    interval: tuple[float, float] | None = None
    expected_without_change: float | None = None
    debiased: float | None = None
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """One group of values or category: its shares of the reference and the current rows, and its term of the PSI."""

    label: str
    reference: float
    current: float
    psi: float


@dataclass(frozen=True, slots=True)
class ColumnResult:
    """What one column did between the reference and the current rows.

    ``value`` is the decisive method's number, ``score`` the drift score in 0…1 (KS distance for numeric
    columns, total variation for categorical ones), ``missing_shift`` the change of the missing share,
    ``new_categories`` the names seen only now with their counts, ``debiased`` the value without what the sample sizes
    alone add to it, ``threshold_from`` where the threshold came from, ``facets`` the results of the parts of a
    column that has several (a time, a text, a vector, a series). A column that could not be compared has
    ``error`` set, ``status`` ``"error"`` or ``"no_data"``, and never counts as drifted.
    """

    name: str
    kind: str
    status: str
    method: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    threshold: float | None = None
    drifted: bool = False
    severity: Severity = Severity.NONE
    score: float | None = None
    n_reference: int = 0
    n_current: int = 0
    missing_reference: float | None = None
    missing_current: float | None = None
    missing_shift: float | None = None
    new_categories: dict[str, int] = field(default_factory=dict)
    expected_without_change: float | None = None
    debiased: float | None = None
    threshold_from: str | None = None
    measures: dict[str, Measure] = field(default_factory=dict)
    distribution: dict[str, Any] | None = None
    contributions: tuple[Contribution, ...] = ()
    facets: dict[str, ColumnResult] = field(default_factory=dict)
    reason: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become None."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A performance metric with its interval and the number of labelled rows behind it."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span ``[start, end)`` of event time, aware UTC datetimes."""

    start: datetime
    end: datetime

    def to_dict(self) -> dict[str, str]:
        """RFC 3339 with Z."""
        return {"start": isoformat(self.start), "end": isoformat(self.end)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged finding of a check: which signal, of what, how far from its threshold, from how many rows."""

    signal: str  # "drift", "output", "performance", "quality", "traffic"
    status: str  # "ok", "warning", "critical", "no_data", "error"
    severity: Severity
    metric: str
    feature: str | None = None
    value: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    n: int = 0
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class QualityVerdict:
    """What one rule of data quality found in one column, or in the rows as a whole (``column`` None).

    ``status`` is ``ok``, ``warning``, ``critical`` (the column is *broken*) or ``no_data``; ``value`` is what was
    found and ``threshold`` what the rule allows, ``count`` the rows against it among ``n`` (at least that many where
    only a profile was at hand). ``examples`` are up to five of the values against it, ``rows`` the positions of such
    rows among those at hand; both are empty where no rows were.
    """

    rule: str
    column: str | None
    status: str
    severity: Severity
    value: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    n: int = 0
    count: int = 0
    examples: tuple[Any, ...] = ()
    rows: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the rule is broken: a warning or critical."""
        return self.severity > Severity.NONE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whether anyone is disturbed: ``fired`` only in the check that raises it, later checks are ``active``.

    ``evidence`` and ``bar`` belong to the budgeted alarm; they are None, with a ``reason``, where every check
    stands for itself.
    """

    fired: bool = False
    active: bool = False
    evidence: float | None = None
    bar: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one model over one window: recorded, explainable, and plain JSON on request.

    ``status`` is ``ok``, ``warning``, ``critical``, ``no_data`` or ``error``. ``drift`` and ``performance`` hold
    the full reports of their parts as plain dicts, or None where the part did not run (``reason`` says why).
    ``coverage`` is stored ÷ (stored + lost) records of the hours that the window touches, losses by the hour of their
    arrival; None where nothing was offered, or for rows that are not in the store.
    """

    check_id: str
    model: str
    version: str
    status: str
    severity: Severity
    window: Window
    timestamp: datetime
    n_predictions: int
    drift_detected: bool
    performance_degraded: bool
    drifted_features: dict[str, float]
    max_drift_score: float | None
    reference_id: str | None
    alarm: Alarm
    verdicts: tuple[Verdict, ...] = ()
    culprits: tuple[str, ...] = ()
    drift: dict[str, Any] | None = None
    performance: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    coverage: float | None = None
    source: str = "store"
    duration_seconds: float | None = None
    mark: int = 0  # the arrival number that collector statistics started from when it ran
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The check as plain JSON values, ``sample_count`` included for readers of that name."""
        out: dict[str, Any] = plain(self)
        out["window"] = self.window.to_dict()
        out["sample_count"] = self.n_predictions
        return out


def isoformat(moment: datetime) -> str:
    """RFC 3339 in UTC with Z, microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Turn results into plain JSON values: dataclasses to dicts, NaN and infinities to None, times to text."""
    match value:
        case None | bool() | str():
            return value
        case Severity():
            return str(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return isoformat(value)
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return plain(value.tolist())
    return str(value)
