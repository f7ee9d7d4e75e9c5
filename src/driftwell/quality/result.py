"""What the rules found: every verdict, and which columns are broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from driftwell.results import QualityVerdict, Severity

__all__ = ["QualityResult", "result_of"]


@dataclass(frozen=True, slots=True)
class QualityResult:
    """The verdicts on one set of rows, those that failed first.

    Attributes
    ----------
    verdicts
        One a rule.
    broken
        Columns with a critical verdict: what they hold is no sound ground for a verdict of drift.
    status
        The worst of the verdicts: ``critical``, ``warning``, ``ok``, or ``no_data`` where nothing could be judged.
    """

    verdicts: tuple[QualityVerdict, ...] = ()
    broken: tuple[str, ...] = ()
    status: str = "no_data"

    @property
    def failed(self) -> tuple[QualityVerdict, ...]:
        """The verdicts that are a warning or critical."""
        return tuple(verdict for verdict in self.verdicts if verdict.failed)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each broken column is."""
        worst = [v for v in self.verdicts if v.column is not None and v.severity is Severity.HIGH]
        return {str(v.column): v.reason or v.rule for v in reversed(worst)}

    def to_dict(self, *, brief: bool = False) -> dict[str, Any]:
        """Plain JSON values: ``status, n_rules, n_failed, broken, verdicts``; ``brief`` leaves out rules that hold."""
        told = [verdict for verdict in self.verdicts if not (brief and verdict.status == "ok")]
        return {
            "status": self.status,
            "n_rules": len(self.verdicts),
            "n_failed": len(self.failed),
            "broken": list(self.broken),
            "verdicts": [verdict.to_dict() for verdict in told],
        }


def result_of(verdicts: Iterable[QualityVerdict]) -> QualityResult:
    """The result of some verdicts: the worst first, and otherwise in their own order."""
    ordered = tuple(sorted(verdicts, key=lambda verdict: -verdict.severity))
    broken = dict.fromkeys(v.column for v in ordered if v.column is not None and v.severity is Severity.HIGH)
    statuses = {verdict.status for verdict in ordered}
    words = ("critical", "warning", "ok")
    return QualityResult(ordered, tuple(broken), next((word for word in words if word in statuses), "no_data"))
