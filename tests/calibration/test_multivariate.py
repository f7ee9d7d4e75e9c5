"""False-alarm rates where nothing changed, and power on named changes, of every multivariate test.

``python tests/calibration/test_multivariate.py`` prints the tables of docs/methods/multivariate.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import sklearn.ensemble  # noqa: F401  # loaded before its threads are limited
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from driftwell.detectors.multivariate import classifier
from driftwell.detectors.multivariate.density import lsdd
from driftwell.detectors.multivariate.encoding import Encoded, encode
from driftwell.detectors.multivariate.features import portfolio, random_features
from driftwell.detectors.multivariate.linear import hotelling, pca
from driftwell.detectors.multivariate.pairwise import energy, mmd
from driftwell.detectors.multivariate.scaling import standardised

ALPHA = 0.05
SIZES = ((20, 30), (200, 130))  # rows as bins of their own, and bins of several rows
PRINTED_SIZES = ((20, 30), (100, 100), (1000, 200))


def chain(data: Encoded, seed: int, name: str) -> float:
    """The p-value of ``domain_classifier`` without its AUC, interval and importances, which cost the most."""
    is_current = np.arange(len(data.pooled)) >= data.n_reference
    fold = classifier._stratified(is_current, 5, np.random.default_rng(seed))
    return classifier._chain_p_value(standardised(data.pooled), is_current, fold, name, seed)


TESTS: dict[str, Callable[[Encoded, int], float]] = {
    "mmd_test": lambda data, seed: mmd(data, 99, seed=seed).p_value,
    "energy_test": lambda data, seed: energy(data, 99, seed=seed).p_value,
    "lsdd_test": lambda data, seed: lsdd(data, 99, seed=seed).p_value,
    "hotelling_test": lambda data, seed: hotelling(data).p_value,
    "pca_reconstruction": lambda data, seed: pca(data, n_permutations=199, seed=seed).p_value,
    "random_feature_test": lambda data, seed: random_features(data, 128, 199, seed=seed).p_value,
    "portfolio_test": lambda data, seed: portfolio(data, 128, 199, seed=seed).p_value,
    "domain_classifier, logistic": lambda data, seed: chain(data, seed, "logistic"),
    "domain_classifier, trees": lambda data, seed: chain(data, seed, "trees"),
}
REPETITIONS = dict.fromkeys(TESTS, 200) | {"domain_classifier, logistic": 100, "domain_classifier, trees": 30}
PRINTED = dict.fromkeys(TESTS, 300) | {"domain_classifier, logistic": 150, "domain_classifier, trees": 60}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small are multiplied faster by one thread than by several that wait for each other."""
    with threadpool_limits(1):
        yield


def mixed_table(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Heavy tails, a skewed and a gappy column, categories of which one is rare and some are missing, a flag."""
    category = rng.choice(["u", "v", "w", "rare"], n, p=[0.5, 0.3, 0.18, 0.02])
    return {
        "heavy": rng.standard_t(3, size=n),
        "skewed": np.exp(rng.normal(size=n)),
        "gappy": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "category": np.where(rng.random(n) < 0.05, None, category),
        "flag": rng.random(n) < 0.3,
    }


@cache
def unchanged(seed: int, n: int, m: int) -> Encoded:
    """Two samples of one distribution; all tests look at the same ones."""
    rng = np.random.default_rng([seed, n, m])
    return encode(mixed_table(rng, n), mixed_table(rng, m))


def alarms_without_change(name: str, n: int, m: int, repetitions: int) -> int:
    """How many of the repetitions had p ≤ 0.05."""
    return sum(TESTS[name](unchanged(seed, n, m), seed) <= ALPHA for seed in range(repetitions))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("name", TESTS)
def test_level_lies_inside_binomial_bounds(name: str, n: int, m: int) -> None:
    low, high = binom.ppf([0.0005, 0.9995], REPETITIONS[name], ALPHA)
    found = alarms_without_change(name, n, m, REPETITIONS[name])
    assert found <= high
    # Boosted trees cannot split so few rows, and then never alarm.
    assert found >= low


def changed(rng: np.random.Generator, name: str, n: int, width: int = 10) -> np.ndarray:
    """Normal rows after a named change."""
    rows = rng.normal(size=(n, width))
    if name == "all means":
        rows += 0.1
    elif name == "one mean":
        rows[:, 0] += 0.25
    elif name == "one spread":
        rows[:, 0] *= 1.4
    elif name == "one dependence":
        rows[:, 1] = 0.6 * rows[:, 0] + 0.8 * rows[:, 1]
    elif name == "a few rows":
        rows[rng.random(n) < 0.03] += 1.5
    return rows


CHANGES = ("all means", "one mean", "one spread", "one dependence", "a few rows")


@cache
def before_and_after(seed: int, change: str, n: int) -> Encoded:
    rng = np.random.default_rng([seed, 7])
    return encode(rng.normal(size=(n, 10)), changed(rng, change, n))


def power(name: str, change: str, repetitions: int, n: int = 500) -> float:
    """Share of repetitions with p ≤ 0.05, samples of ``n`` rows and ten columns."""
    return (
        sum(TESTS[name](before_and_after(seed, change, n), seed) <= ALPHA for seed in range(repetitions)) / repetitions
    )


EXPECTED = {
    "all means": (
        "mmd_test",
        "energy_test",
        "lsdd_test",
        "hotelling_test",
        "random_feature_test",
        "portfolio_test",
        "domain_classifier, logistic",
    ),
    "one mean": ("mmd_test", "energy_test", "hotelling_test", "portfolio_test"),
    "one spread": ("mmd_test", "portfolio_test"),
    "one dependence": ("portfolio_test",),
}
"""Who must find what; the printed table has all of them."""


@pytest.mark.slow
@pytest.mark.parametrize(("change", "name"), [(c, name) for c, names in EXPECTED.items() for name in names])
def test_finds_the_changes_it_is_meant_for(change: str, name: str) -> None:
    # Five times the level and more; 20 repetitions without a change stay below 0.25 but once in 300 times.
    assert power(name, change, 20) >= 0.25


def _print_tables() -> None:
    print("| test |", " | ".join(f"{n} + {m}" for n, m in PRINTED_SIZES), "|")
    for name in TESTS:
        rates = [alarms_without_change(name, n, m, PRINTED[name]) / PRINTED[name] for n, m in PRINTED_SIZES]
        print(f"| `{name}` |", " | ".join(f"{rate:.3f}" for rate in rates), "|", flush=True)
    print("\n| test |", " | ".join(CHANGES), "|")
    for name in TESTS:
        repetitions = 40 if "trees" in name else 100
        print(f"| `{name}` |", " | ".join(f"{power(name, c, repetitions):.2f}" for c in CHANGES), "|", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        _print_tables()
