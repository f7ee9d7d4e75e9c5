"""How columns are judged: the arguments of ``compare``, checked, and what they mean for one column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import NoneType

from driftwell.detectors.univariate import METHODS, Pair, every_method, method
from driftwell.errors import BadInput, UnknownName

__all__ = ["PSI_BANDS", "Policy"]

CORRECTIONS = ("bh", "bonferroni", "none")
DECISIONS = ("beyond_noise", "threshold", "p_value", "exceeds")
PSI_BANDS = {"moderate": 0.1, "critical": 0.25}
SIMPLE_KINDS = ("numeric", "categorical", "boolean")

Limit = float | str


@dataclass(frozen=True, slots=True)
class Policy:
    """How columns are judged: the arguments of ``compare`` of the same names, checked."""

    method: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None
    threshold: Limit | Mapping[str, Limit] | None = None
    alpha: float = 0.05
    correction: str = "bh"
    min_samples: int = 100
    decision: str = "beyond_noise"

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, Real) and 0 < self.alpha < 1):
            raise BadInput(f"alpha must lie in (0, 1). Got {self.alpha!r}")
        if self.correction not in CORRECTIONS:
            raise UnknownName("correction", self.correction, CORRECTIONS)
        if self.decision not in DECISIONS:
            raise UnknownName("decision", self.decision, DECISIONS)
        if not (isinstance(self.min_samples, Real) and self.min_samples >= 1):
            raise BadInput(f"min_samples must be at least 1. Got {self.min_samples!r}")
        if not isinstance(self.method, (str, Sequence, Mapping, NoneType)):
            raise BadInput(f"method is a name, a list of names or {{column: name}}. Got {self.method!r}")
        for asked in self.method.values() if isinstance(self.method, Mapping) else [self.method]:
            for name in _names(asked):
                self._check_method(name)
        for limit in self.threshold.values() if isinstance(self.threshold, Mapping) else [self.threshold]:
            _check_limit(limit)

    def _check_method(self, name: str) -> None:
        if method(name).exceeds is None and self.decision == "exceeds":
            able = ", ".join(m.name for m in METHODS.values() if m.exceeds)
            raise BadInput(f"{name} cannot say whether the population exceeds a threshold. These can: {able}")

    def check_names(self, kinds: Mapping[str, str]) -> None:
        """Refuse columns, methods and thresholds that fit nothing among the columns of these kinds."""
        if isinstance(self.method, Mapping):
            for column, asked in self.method.items():
                if column not in kinds:
                    raise UnknownName("column", column, kinds)
                for name in _names(asked):
                    # Other kinds are made of parts of these; a method judges the parts that it reads.
                    if kinds[column] in SIMPLE_KINDS and kinds[column] not in method(name).kinds:
                        raise BadInput(f"{name} does not read {kinds[column]} columns such as {column!r}")
        if isinstance(self.threshold, Mapping):
            for name in self.threshold:
                if name not in kinds and name not in every_method():
                    raise UnknownName("column or method", name, [*kinds, *METHODS])

    def methods_for(self, column: str, kind: str) -> list[str]:
        """The methods that decide on a column of this kind; ``psi`` where none of those asked for reads it."""
        return [name for name in self._asked(column) if kind in method(name).kinds] or ["psi"]

    def passed_over(self, column: str, kind: str) -> str | None:
        """Why ``psi`` decides on a column though other methods were asked for; None where they do."""
        asked = self._asked(column)
        if any(kind in method(name).kinds for name in asked):
            return None
        return f"{' and '.join(asked)} {'does' if len(asked) == 1 else 'do'} not read {kind} columns; judged by psi"

    def threshold_for(self, column: str, name: str, pair: Pair) -> tuple[float | None, str]:
        """The threshold on the value of a method on a column, and where it came from."""
        given: Limit | None
        if isinstance(self.threshold, Mapping):
            given = self.threshold.get(column, self.threshold.get(name))
            source = "given for this column" if column in self.threshold else f"given for {name}"
        else:
            given, source = self.threshold, "given for every column"
        if given is None:
            found = method(name).threshold_for(pair)
            return found, f"{'none' if found is None else 'default'} of {name}: {method(name).why}"
        if not isinstance(given, str):
            return float(given), source
        if name != "psi":
            raise BadInput(f"threshold {given!r} names a band of psi; {name} needs a number")
        return PSI_BANDS[given], f"{source}: the {given} band of psi begins at {PSI_BANDS[given]}"

    def _asked(self, column: str) -> list[str]:
        asked = self.method.get(column) if isinstance(self.method, Mapping) else self.method
        return _names(asked) or ["psi"]


def _names(asked: str | Sequence[str] | None) -> list[str]:
    if isinstance(asked, str):
        return [str(asked)]
    if not (asked is None or isinstance(asked, Sequence)) or not all(isinstance(name, str) for name in asked or ()):
        raise BadInput(f"method is a name, a list of names or {{column: name}}. Got {asked!r}")
    return [str(name) for name in asked or ()]  # NumPy has a text type of its own, which JSON does not know


def _check_limit(limit: Limit | None) -> None:
    band = isinstance(limit, str) and limit in PSI_BANDS
    if limit is None or band or (isinstance(limit, Real) and 0 <= limit < math.inf):
        return
    bands = " or ".join(map(repr, PSI_BANDS))
    raise BadInput(f"a threshold must be a number of at least 0, or {bands} for psi. Got {limit!r}")
