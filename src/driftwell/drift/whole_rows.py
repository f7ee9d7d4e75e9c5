"""A test of whole rows beside the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from driftwell.detectors.multivariate import MultivariateVerdict, judge_rows
from driftwell.detectors.policy import Policy
from driftwell.drift.rows import Rows
from driftwell.errors import BadInput
from driftwell.profiles.reference import Reference

__all__ = ["WholeRows"]


@dataclass(frozen=True, slots=True)
class WholeRows:
    """Which multivariate method is wanted, and the seed of what it draws."""

    method: str
    seed: int = 0

    def judge(
        self, reference: Reference, rows: Rows | None, columns: Sequence[str], policy: Policy
    ) -> MultivariateVerdict:
        """Judge the rows of both sides in these columns.

        Raises
        ------
        BadInput
            The rows of a side are not at hand.
        """
        if reference.in_rows is not reference:
            raise BadInput(f"multivariate={self.method!r} takes rows for equals, and those of this one have weights")
        if rows is None or rows.reference is None:
            raise BadInput(f"multivariate={self.method!r} needs rows, and this reference keeps none: build it again")
        return judge_rows(
            self.method,
            rows.reference,
            rows.current,
            kinds={name: reference.kinds[name] for name in columns},
            alpha=policy.alpha,
            seed=self.seed,
            min_samples=policy.min_samples,
        )
