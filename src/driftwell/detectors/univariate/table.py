"""The table of univariate methods. A method is a name, the kinds it reads, a function of a pair of states, and the
threshold above which a change is relevant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from driftwell.detectors.univariate import moments, order, shares
from driftwell.detectors.univariate.pair import Pair
from driftwell.errors import UnknownName
from driftwell.kernels import divergence, significance
from driftwell.kernels.relevance import Scale, largest_share_margin, total_variation_margin
from driftwell.results import Measure

__all__ = ["BORROWED", "DRIFT_SCORE", "METHODS", "Method", "every_method", "method", "methods"]

NUMERIC = ("numeric",)
DISCRETE = ("categorical", "boolean")
ALL_KINDS = (*NUMERIC, *DISCRETE)


@dataclass(frozen=True, slots=True)
class Relative:
    """A threshold that goes with the reference's standard deviation, and how it reads."""

    of: Callable[[float], float]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compare one column.

    ``threshold`` is on the value; None where the value grows with the sample sizes and significance alone decides.
    ``p_value`` and ``interval`` say whether the measure has its own. ``exceeds`` gives the p-value of "the populations
    are no farther apart than this threshold", None where the method knows no such bound.
    """

    name: str
    kinds: tuple[str, ...]
    measure: Callable[[Pair], Measure]
    threshold: float | Relative | None
    unit: str
    needs: str
    why: str
    p_value: bool = True
    interval: bool = False
    exceeds: Callable[[Pair, float], float] | None = None

    def threshold_for(self, pair: Pair) -> float | None:
        """The default threshold on this pair."""
        if isinstance(self.threshold, Relative):
            return self.threshold.of(pair.numeric[0].std or 0.0)
        return self.threshold


_BINS = "bins or categories"
_CELLS = "bins (with bounds) or rows (exact)"
_ROWS = "rows of both sides, or bins of one value each"
_SUMS = "exact sums"
_BANDS = "0.1 is where the credit-scoring bands call a shift moderate; above 0.25 it is critical"
_CUSTOM = "the customary bound of drift tools"
_TENTH_OF_SD = "a tenth of the reference's standard deviation"
_TENTH_OF_ROWS = "a tenth of the rows would have to move"
_GROWS = "grows with the sample: significance alone decides"
_KL = "on the scale of PSI, of which it is about half"
_ENERGY = "what a normal column reaches when its mean moves by a tenth of its standard deviation"


def _scaled(
    name: str, distance: Callable[..., float], scale: Scale, unit: str, why: str, kinds: tuple[str, ...] = ALL_KINDS
) -> Method:
    exceeds = shares.exceeds(distance, scale)
    measure = shares.scaled(name, distance, scale, shares.TERMS[name])
    return Method(name, kinds, measure, 0.1, unit, _BINS, why, interval=True, exceeds=exceeds)


def _bounded(name: str, distance: Callable[..., float], margin: Callable[..., float], why: str) -> Method:
    measure = shares.bounded(name, distance, margin)
    return Method(name, DISCRETE, measure, 0.1, "share", _BINS, why, interval=True)


def _counted(name: str, measure: Callable[[Pair], Measure], unit: str, kinds: tuple[str, ...] = DISCRETE) -> Method:
    return Method(name, kinds, measure, None, unit, _BINS, _GROWS)


def _ordered(name: str, measure: Callable[[Pair], Measure], unit: str, needs: str = _CELLS) -> Method:
    return Method(name, NUMERIC, measure, None, unit, needs, _GROWS)


def _apart(name: str, measure: Callable[[Pair], Measure], why: str, exceeds: Callable[[Pair, float], float]) -> Method:
    return Method(name, NUMERIC, measure, 0.1, "share", _CELLS, why, interval=True, exceeds=exceeds)


def _far(name: str, measure: Callable[[Pair], Measure], threshold: Relative, unit: str, why: str) -> Method:
    return Method(name, NUMERIC, measure, threshold, unit, _CELLS, why, p_value=False)


_TENTH = Relative(lambda sd: 0.1 * sd, "0.1 × reference standard deviation")
_ENERGY_TENTH = Relative(lambda sd: 0.1 * math.sqrt(sd) / math.pi**0.25, "0.0751 × √(reference standard deviation)")

_TABLE = (
    _scaled("psi", divergence.population_stability_index, shares.PSI, "nats", _BANDS),
    _apart("ks", order.ks, _TENTH_OF_ROWS, order.ks_exceeds),
    _far("wasserstein", order.wasserstein, _TENTH, "unit of the column", _TENTH_OF_SD),
    _scaled("jensen_shannon", divergence.jensen_shannon, shares.JENSEN_SHANNON, "distance, base 2", _CUSTOM),
    _scaled("hellinger", divergence.hellinger, shares.HELLINGER, "distance", _CUSTOM),
    _scaled("kl", divergence.kullback_leibler, shares.KL, "nats", _KL),
    _bounded("total_variation", divergence.total_variation, total_variation_margin, _TENTH_OF_ROWS),
    _bounded(
        "l_infinity", divergence.l_infinity, largest_share_margin, "one category gained or lost a tenth of the rows"
    ),
    _counted("chi_squared", shares.tested("chi_squared", significance.chi_squared_test), "statistic"),
    _counted("g_test", shares.tested("g_test", significance.g_test), "statistic"),
    _counted("fisher_exact", shares.fisher, "odds ratio"),
    _counted("z_test", shares.proportions, "statistic"),
    _apart("kuiper", order.kuiper, _TENTH_OF_ROWS, order.kuiper_exceeds),
    _ordered("cramer_von_mises", order.cramer_von_mises, "statistic"),
    _ordered("anderson_darling", order.anderson_darling, "statistic", _ROWS),
    _ordered("mann_whitney", order.mann_whitney, "pairs of rows"),
    _far("energy", order.energy, _ENERGY_TENTH, "root of the unit of the column", _ENERGY),
    Method(
        "mean_shift",
        NUMERIC,
        moments.mean_shift,
        0.1,
        "reference standard deviations",
        _SUMS,
        _TENTH_OF_SD,
        p_value=False,
        interval=True,
        exceeds=moments.mean_shift_exceeds,
    ),
    Method(
        "std_shift", NUMERIC, moments.std_shift, 0.1, "relative", _SUMS, "the spread changed by a tenth", p_value=False
    ),
    Method("t_test", NUMERIC, moments.t_test, None, "statistic", _SUMS, _GROWS),
)

METHODS: dict[str, Method] = {m.name: m for m in _TABLE}
"""Every method by name."""

BORROWED = {"numeric": "ks", "categorical": "chi_squared", "boolean": "chi_squared"}
"""Whose p-value a method without one borrows, by kind."""

DRIFT_SCORE: dict[str, Callable[[Pair], float]] = {
    "numeric": lambda pair: order.ks_bounds(pair)[0],
    "categorical": lambda pair: divergence.total_variation(*pair.measured_groups),
    "boolean": lambda pair: divergence.total_variation(*pair.measured_groups),
}
"""The drift score in 0…1, by kind: KS distance, or half the sum of absolute differences of the shares."""


def method(name: str) -> Method:
    """The method of this name, or one clear error that lists the known ones."""
    known = every_method()
    if name not in known:
        raise UnknownName("method", name, known if "." in name else METHODS)
    return known[name]


def every_method() -> dict[str, Method]:
    """The table, and the definitions of other monitors under their dotted names."""
    from driftwell.detectors.conventions import CONVENTIONS  # which is made of this module's Method

    return METHODS | CONVENTIONS


def methods() -> list[dict[str, object]]:
    """Every univariate method: ``name, kinds, threshold, unit, needs, why, p_value, interval``.

    The last two say whether it has a p-value of its own (else it borrows that of KS or chi-squared), and an interval
    for the population value.

    Examples
    --------
    >>> [(m["threshold"], m["interval"]) for m in methods() if m["name"] == "psi"]
    [(0.1, True)]
    """
    return [
        {
            "name": m.name,
            "kinds": list(m.kinds),
            "threshold": str(m.threshold) if isinstance(m.threshold, Relative) else m.threshold,
            "unit": m.unit,
            "needs": m.needs,
            "why": m.why,
            "p_value": m.p_value,
            "interval": m.interval,
        }
        for m in METHODS.values()
    ]
