"""The table of univariate methods. A method is a name, the kinds it reads, a function of a pair of states, and the
threshold above which a change is relevant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftwell.errors import InsufficientData, UnknownName
from driftwell.kernels import divergence, empirical, significance
from driftwell.profiles.categorical import CategoricalState
from driftwell.profiles.numeric import NumericState
from driftwell.profiles.profile import State
from driftwell.results import Measure

__all__ = ["BORROWED", "DRIFT_SCORE", "METHODS", "Method", "Pair", "method", "methods"]

Counts = npt.NDArray[np.int64]
Test = Callable[[Counts, Counts], tuple[float, float | None]]

NUMERIC = ("numeric",)
DISCRETE = ("categorical", "boolean")
ALL_KINDS = (*NUMERIC, *DISCRETE)


@dataclass(frozen=True, eq=False)
class Pair:
    """One column on both sides, counted in the same bins.

    ``exact`` are its KS and Wasserstein distances where the rows of both sides were at hand; ``measures`` keeps what
    was computed, for several methods borrow one p-value.
    """

    reference: State
    current: State
    exact: tuple[float, float] | None = None
    measures: dict[str, Measure] = field(default_factory=dict)

    def measure(self, name: str) -> Measure:
        """The measure of this method, computed once.

        Raises
        ------
        InsufficientData
            One side has nothing the method could read.
        """
        if name not in self.measures:
            self.measures[name] = METHODS[name].measure(self)
        return self.measures[name]

    @property
    def kind(self) -> str:
        """Kind of the column."""
        return self.reference.kind

    @cached_property
    def groups(self) -> tuple[Counts, Counts]:
        """Counts of the comparable groups: about ten runs of bins, or the categories; missing rows are one more
        group where there are any, so that they are never dropped in silence."""
        if isinstance(self.reference, NumericState) and isinstance(self.current, NumericState):
            groups = self.reference.group_counts(), self.current.group_counts()
        else:
            reference, current = self._categories
            seen = slice(None) if reference[-1] or current[-1] else slice(-1)
            groups = reference[seen], current[seen]
        return self._with_missing(*groups)

    @cached_property
    def tested_groups(self) -> tuple[Counts, Counts]:
        """The groups as tests count them: where categories are new, together with what was rare already."""
        if isinstance(self.reference, NumericState):
            return self.groups
        reference, current = self._categories
        if reference[-1] == current[-1] == 0:
            return self.groups
        return self._with_missing(*significance.fold_unseen(reference, current, len(reference) - 1))

    @cached_property
    def groups_p_value(self) -> float | None:
        """p-value of the chi-squared test on the groups, None where there is only one."""
        if isinstance(self.reference, NumericState) and self.reference.bins is not None:
            return significance.frozen_groups_p_value(*self.groups, self.reference.bins.n_groups)
        return significance.chi_squared_test(*self.tested_groups)[1]

    @property
    def _categories(self) -> tuple[Counts, Counts]:
        assert isinstance(self.reference, CategoricalState)
        assert isinstance(self.current, CategoricalState)
        return self.reference.counts, self.current.counts

    def _with_missing(self, reference: Counts, current: Counts) -> tuple[Counts, Counts]:
        missing = [s.missing + (s.nan if isinstance(s, NumericState) else 0) for s in (self.reference, self.current)]
        if any(missing):
            reference, current = np.append(reference, missing[0]), np.append(current, missing[1])
        if reference.sum() == 0 or current.sum() == 0:
            raise InsufficientData("one side has no rows")
        return reference, current

    @property
    def numeric(self) -> tuple[NumericState, NumericState]:
        """Both states where values are numbers and there are some on both sides."""
        assert isinstance(self.reference, NumericState)
        assert isinstance(self.current, NumericState)
        if not self.reference.finite or not self.current.finite:
            raise InsufficientData("one side has no finite values")
        return self.reference, self.current


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compare one column.

    ``threshold`` is on the value (a function of the pair where it depends on the reference's spread); None where
    the value grows with the sample sizes and significance alone decides.
    """

    name: str
    kinds: tuple[str, ...]
    measure: Callable[[Pair], Measure]
    threshold: float | Callable[[Pair], float] | None
    unit: str
    needs: str
    why: str

    def threshold_for(self, pair: Pair) -> float | None:
        """The default threshold on this pair."""
        return self.threshold(pair) if callable(self.threshold) else self.threshold


def _on_groups(
    name: str, value: Callable[[Counts, Counts], float], *, expected: bool = False
) -> Callable[[Pair], Measure]:
    """A distance between group shares; its p-value is that of the chi-squared test on the same groups."""

    def measure(pair: Pair) -> Measure:
        reference, current = pair.groups
        n, m = int(reference.sum()), int(current.sum())
        found = value(reference, current)
        mean = divergence.psi_expected_without_change(len(reference), n, m) if expected else None
        return Measure(name, found, found, found, n, m, p_value=pair.groups_p_value, expected_without_change=mean)

    return measure


def _ks(pair: Pair) -> Measure:
    reference, current = pair.numeric
    n, m = reference.count, current.count
    low, high = _ks_bounds(pair)
    margin = significance.dkw_margin(n, m)
    interval = (max(0.0, low - margin), min(1.0, high + margin))
    p = significance.ks_p_value(low, n, m)
    return Measure("ks", low, low, high, n, m, p_value=p, statistic=low, interval=interval)


def _ks_bounds(pair: Pair) -> tuple[float, float]:
    """The KS distance alone, without the cost of its p-value."""
    reference, current = pair.numeric
    if pair.exact is not None:
        return pair.exact[0], pair.exact[0]
    assert reference.bins is not None
    return empirical.ks_from_cells(reference.cell_counts, current.cell_counts, reference.bins.atoms)


def _wasserstein(pair: Pair) -> Measure:
    reference, current = pair.numeric
    n, m = reference.finite, current.finite
    if pair.exact is not None:
        low = high = pair.exact[1]
    else:
        assert reference.bins is not None
        low, high = empirical.wasserstein_from_cells(
            reference.counts,
            current.counts,
            reference.mean_parts,
            current.mean_parts,
            reference.bins.edges - reference.centre,
            reference.bins.atoms,
            reference.bins.unit,
        )
    return Measure("wasserstein", low, low, high, n, m)


def _mean_shift(pair: Pair) -> Measure:
    reference, current = pair.numeric
    n, m = reference.finite, current.finite
    assert reference.mean is not None
    assert current.mean is not None
    shift = abs(current.mean - reference.mean)
    if not reference.std:
        value = 0.0 if shift == 0 else math.inf
        return Measure("mean_shift", value, value, value, n, m)
    value = shift / reference.std
    error = 1.959964 * math.hypot(1 / math.sqrt(n), (current.std or 0.0) / reference.std / math.sqrt(m))
    interval = (max(0.0, value - error), value + error)
    return Measure("mean_shift", value, value, value, n, m, interval=interval)


def _std_shift(pair: Pair) -> Measure:
    reference, current = pair.numeric
    if reference.std is None or current.std is None:
        raise InsufficientData("a standard deviation needs two values on each side")
    if reference.std == 0:
        value = 0.0 if current.std == 0 else math.inf
    else:
        value = abs(current.std / reference.std - 1)
    return Measure("std_shift", value, value, value, reference.finite, current.finite)


def _t_test(pair: Pair) -> Measure:
    reference, current = pair.numeric
    if reference.std is None or current.std is None:
        raise InsufficientData("a t-test needs two values on each side")
    assert reference.mean is not None
    assert current.mean is not None
    n, m = reference.finite, current.finite
    value, p = significance.welch_test(reference.mean, reference.std, n, current.mean, current.std, m)
    return Measure("t_test", value, value, value, n, m, p_value=p, statistic=value)


def _test_on_groups(name: str, test: Test) -> Callable[[Pair], Measure]:
    """A two-sample test of the group counts; its value is the statistic."""

    def measure(pair: Pair) -> Measure:
        reference, current = pair.groups
        value = test(reference, current)[0]
        p = test(*pair.tested_groups)[1]
        n, m = int(reference.sum()), int(current.sum())
        return Measure(name, value, value, value, n, m, p_value=p, statistic=value)

    return measure


def _tenth_of_sd(pair: Pair) -> float:
    reference, _ = pair.numeric
    return 0.1 * (reference.std or 0.0)


_BINS = "bins or categories"
_CELLS = "bins (with bounds) or rows (exact)"
_SUMS = "exact sums"
_BANDS = "0.1 is where the credit-scoring bands call a shift moderate; above 0.25 it is critical"
_CUSTOM = "the customary bound of drift tools"
_TENTH_OF_SD = "a tenth of the reference's standard deviation"
_GROWS = "grows with the sample: significance alone decides"


def _shares(name: str, kinds: tuple[str, ...], value: Callable[[Counts, Counts], float], unit: str, why: str) -> Method:
    return Method(name, kinds, _on_groups(name, value, expected=name == "psi"), 0.1, unit, _BINS, why)


def _tested(name: str, test: Test) -> Method:
    return Method(name, DISCRETE, _test_on_groups(name, test), None, "statistic", _BINS, _GROWS)


_TABLE = (
    _shares("psi", ALL_KINDS, divergence.population_stability_index, "nats", _BANDS),
    Method("ks", NUMERIC, _ks, 0.1, "share", _CELLS, "a tenth of the rows would have to move"),
    Method("wasserstein", NUMERIC, _wasserstein, _tenth_of_sd, "unit of the column", _CELLS, _TENTH_OF_SD),
    _shares("jensen_shannon", ALL_KINDS, divergence.jensen_shannon, "distance, base 2", _CUSTOM),
    _shares("hellinger", ALL_KINDS, divergence.hellinger, "distance", _CUSTOM),
    _shares("kl", ALL_KINDS, divergence.kullback_leibler, "nats", "on the scale of PSI, of which it is about half"),
    _shares("total_variation", DISCRETE, divergence.total_variation, "share", "a tenth of the rows would have to move"),
    _shares("l_infinity", DISCRETE, divergence.l_infinity, "share", "one category gained or lost a tenth of the rows"),
    _tested("chi_squared", significance.chi_squared_test),
    _tested("g_test", significance.g_test),
    Method("mean_shift", NUMERIC, _mean_shift, 0.1, "reference standard deviations", _SUMS, _TENTH_OF_SD),
    Method("std_shift", NUMERIC, _std_shift, 0.1, "relative", _SUMS, "the spread changed by a tenth"),
    Method("t_test", NUMERIC, _t_test, None, "statistic", _SUMS, _GROWS),
)

METHODS: dict[str, Method] = {m.name: m for m in _TABLE}
"""Every method by name."""

BORROWED = {"numeric": "ks", "categorical": "chi_squared", "boolean": "chi_squared"}
"""Whose p-value a method without one borrows, by kind."""

DRIFT_SCORE: dict[str, Callable[[Pair], float]] = {
    "numeric": lambda pair: _ks_bounds(pair)[0],
    "categorical": lambda pair: divergence.total_variation(*pair.groups),
    "boolean": lambda pair: divergence.total_variation(*pair.groups),
}
"""The drift score in 0…1, by kind: KS distance, or half the sum of absolute differences of the shares."""


def method(name: str) -> Method:
    """The method of this name, or one clear error that lists the known ones."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]


def methods() -> list[dict[str, object]]:
    """Every univariate method: ``name, kinds, threshold, unit, needs, why``.

    Examples
    --------
    >>> [m["threshold"] for m in methods() if m["name"] == "psi"]
    [0.1]
    """
    return [
        {
            "name": m.name,
            "kinds": list(m.kinds),
            "threshold": "0.1 × reference standard deviation" if callable(m.threshold) else m.threshold,
            "unit": m.unit,
            "needs": m.needs,
            "why": m.why,
        }
        for m in METHODS.values()
    ]
