"""A broken column is never said to have drifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftwell.quality.result import QualityResult
from driftwell.results import ColumnResult, Severity

__all__ = ["hold_back"]


def hold_back(columns: Mapping[str, ColumnResult], quality: QualityResult) -> dict[str, ColumnResult]:
    """The columns with those that are broken marked so: status ``broken``, not drifted, the reason why.

    Their measures stay, so that it can be seen how far the broken values lie. A column that was not judged at all (too
    few rows, or not readable) keeps saying so.

    Examples
    --------
    >>> from driftwell.results import QualityVerdict
    >>> failed = QualityVerdict("missing", "age", "critical", Severity.HIGH, reason="half of the values are missing")
    >>> moved = ColumnResult("age", "numeric", "drift", "psi", value=2.0, drifted=True, severity=Severity.HIGH)
    >>> found = hold_back({"age": moved}, QualityResult((failed,), ("age",), "critical"))["age"]
    >>> found.status, found.drifted, found.reason
    ('broken', False, 'broken: half of the values are missing')
    """
    why = quality.reasons
    return {name: _broken(column, why[name]) if name in why else column for name, column in columns.items()}


def _broken(column: ColumnResult, why: str) -> ColumnResult:
    if column.status in ("no_data", "error"):
        return column
    return replace(column, status="broken", drifted=False, severity=Severity.NONE, reason=f"broken: {why}")
