"""What the multivariate tests answer: frozen, with the sizes they were computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from driftwell.results import plain

__all__ = ["MultivariateResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateResult:
    """What every multivariate test answers.

    ``method`` is the test's name, ``statistic`` its number (each test says which), ``p_value`` the chance of one at
    least as large when both samples come from one distribution. ``n_columns`` counts the input columns used, ``notes``
    says in sentences what was left out.
    """

    method: str
    statistic: float
    p_value: float
    n_reference: int
    n_current: int
    n_columns: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become None."""
        out: dict[str, Any] = plain(self)
        return out
