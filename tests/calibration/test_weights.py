"""False-alarm rates of comparisons with a weighted reference, when the current rows come from the population that its
weights stand for.

Each repetition draws a reference and a window anew. The bounds are the 99.98 % binomial interval of a rate of exactly
alpha.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import driftwell as dw
from driftwell.detectors.verdict import Policy
from driftwell.drift import compare_profile

ALPHA = 0.05
REPETITIONS = 300
LEAST, MOST = (int(binom.ppf(q, REPETITIONS, ALPHA)) for q in (0.0001, 0.9999))
REFERENCE_ROWS = 5_000
NUMERIC = ["psi", "ks", "kuiper", "cramer_von_mises", "mann_whitney", "t_test"]
DISCRETE = ["psi", "chi_squared", "g_test"]
# From bins KS, Kuiper and their like claim no more than is certain: their rates lie below alpha.
CERTIFIED = {"ks", "kuiper", "cramer_von_mises", "mann_whitney"}

pytestmark = pytest.mark.slow

Rows = dict[str, Any]
Drawn = tuple[Rows, np.ndarray, Rows]


def columns(rng: np.random.Generator, n: int, minority: np.ndarray) -> Rows:
    """A number and a category that both depend on the group a row belongs to."""
    letter = rng.choice(list("abcd"), n, p=[0.4, 0.3, 0.2, 0.1])
    return {"x": rng.normal(size=n) + 0.5 * minority, "c": np.where(minority & (rng.random(n) < 0.2), "d", letter)}


def survey(rng: np.random.Generator, n: int, m: int) -> Drawn:
    """A group of a fifth of the population is half of the reference; weights undo that."""
    before, after = rng.random(n) < 0.5, rng.random(m) < 0.2
    return columns(rng, n, before), np.where(before, 0.4, 1.6), columns(rng, m, after)


def uneven(rng: np.random.Generator, n: int, m: int) -> Drawn:
    """Weights that differ a lot and have nothing to do with the values: the effective size is half the rows."""
    return columns(rng, n, np.zeros(n, np.bool_)), rng.lognormal(0, 0.8, n), columns(rng, m, np.zeros(m, np.bool_))


@cache
def alarms(draw: Callable[[np.random.Generator, int, int], Drawn], m: int) -> Counter[Any]:
    """How often each method's p-value is at most alpha."""
    found: Counter[Any] = Counter()
    for seed in range(REPETITIONS):
        before, weights, after = draw(np.random.default_rng(seed), REFERENCE_ROWS, m)
        ref = dw.Reference.from_data(before, weights=weights)
        now = ref.profile_of(after)
        for name, methods in (("x", NUMERIC), ("c", DISCRETE)):
            policy = Policy(methods, alpha=ALPHA, correction="none", decision="p_value")
            measures = compare_profile(ref, now, policy, columns=[name]).columns[name].measures
            found.update((name, method) for method in methods if (measures[method].p_value or 0) <= ALPHA)
    return found


@pytest.mark.parametrize("draw", [survey, uneven])
@pytest.mark.parametrize("m", [500, 5_000])
@pytest.mark.parametrize(("name", "method"), [("x", one) for one in NUMERIC] + [("c", one) for one in DISCRETE])
def test_false_alarms(draw: Any, m: int, name: str, method: str) -> None:
    least = 0 if method in CERTIFIED else LEAST
    assert least <= alarms(draw, m)[name, method] <= MOST


if __name__ == "__main__":
    for draw in (survey, uneven):
        for m in (500, 5_000):
            rates = alarms(draw, m)
            print(draw.__name__, m, {key: round(n / REPETITIONS, 3) for key, n in sorted(rates.items())})
