"""A comparison with its settings kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftwell.detectors.verdict import Policy
from driftwell.drift.comparison import compare
from driftwell.drift.result import DriftResult
from driftwell.profiles.reference import Reference

__all__ = ["DriftDetector"]


@dataclass(frozen=True)
class DriftDetector:
    """A comparison with its settings, to be asked again and again; it never changes its reference.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 500)
    >>> DriftDetector({"x": x}, threshold=0.2).detect({"x": x}).drift_detected
    False
    """

    reference: Any
    method: str | Sequence[str] | Mapping[str, str] | None = None
    threshold: float | Mapping[str, float] | None = None
    preprocess: Callable[[Any], Any] | None = None
    multivariate: str | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        Policy(self.method, self.threshold, self.alpha)
        if not isinstance(self.reference, Reference):
            rows = self.reference if self.preprocess is None else self.preprocess(self.reference)
            object.__setattr__(self, "reference", Reference.from_data(rows))

    def detect(self, current: Any, reference: Any = None) -> DriftResult:
        """Compare ``current``, preprocessed, with this detector's reference or with another one."""
        rows = current if self.preprocess is None else self.preprocess(current)
        return compare(
            self.reference if reference is None else reference,
            rows,
            method=self.method,
            threshold=self.threshold,
            alpha=self.alpha,
            multivariate=self.multivariate,
        )
