"""False-alarm rates where nothing changed, and power on named changes, of every multivariate test.

``python tests/calibration/test_multivariate.py`` prints both tables of docs/methods/multivariate.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import driftwell.detectors.multivariate as room

ALPHA = 0.05
SIZES = ((20, 30), (100, 100), (1000, 200))
Table = dict[str, Any]

TESTS: dict[str, Callable[[Any, Any, int], float]] = {
    "mmd_test": lambda x, y, seed: room.mmd_test(x, y, 99, seed=seed).p_value,
    "energy_test": lambda x, y, seed: room.energy_test(x, y, 99, seed=seed).p_value,
    "lsdd_test": lambda x, y, seed: room.lsdd_test(x, y, 99, seed=seed).p_value,
    "hotelling_test": lambda x, y, seed: room.hotelling_test(x, y).p_value,
    "pca_reconstruction": lambda x, y, seed: room.pca_reconstruction(x, y, n_permutations=199, seed=seed).p_value,
    "random_feature_test": lambda x, y, seed: room.random_feature_test(x, y, 128, 199, seed=seed).p_value,
    "portfolio_test": lambda x, y, seed: room.portfolio_test(x, y, 128, 199, seed=seed).p_value,
    "domain_classifier, logistic": lambda x, y, seed: room.domain_classifier(x, y, "logistic", seed=seed).p_value,
    "domain_classifier, trees": lambda x, y, seed: room.domain_classifier(x, y, "trees", seed=seed).p_value,
}
REPETITIONS = dict.fromkeys(TESTS, 300) | {"domain_classifier, logistic": 150, "domain_classifier, trees": 60}


def mixed_table(rng: np.random.Generator, n: int) -> Table:
    """Heavy tails, a skewed and a gappy column, categories of which one is rare, a flag."""
    return {
        "heavy": rng.standard_t(3, size=n),
        "skewed": np.exp(rng.normal(size=n)),
        "gappy": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "category": rng.choice(["u", "v", "w", "rare"], n, p=[0.5, 0.3, 0.18, 0.02]),
        "flag": rng.random(n) < 0.3,
    }


def alarms_without_change(name: str, n: int, m: int) -> int:
    """How many of the repetitions had p ≤ 0.05."""
    found = 0
    for seed in range(REPETITIONS[name]):
        rng = np.random.default_rng([seed, n, m])
        found += TESTS[name](mixed_table(rng, n), mixed_table(rng, m), seed) <= ALPHA
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("name", TESTS)
def test_level_lies_inside_binomial_bounds(name: str, n: int, m: int) -> None:
    low, high = binom.ppf([0.0005, 0.9995], REPETITIONS[name], ALPHA)
    found = alarms_without_change(name, n, m)
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
EXPECTED = {
    "all means": ("mmd_test", "energy_test", "hotelling_test", "portfolio_test"),
    "one mean": ("energy_test", "hotelling_test", "portfolio_test"),
    "one spread": ("portfolio_test",),
    "one dependence": ("portfolio_test",),
}


def power(name: str, change: str, repetitions: int, n: int = 500) -> float:
    """Share of repetitions with p ≤ 0.05, samples of ``n`` rows and ten columns."""
    found = 0
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, 7])
        found += TESTS[name](rng.normal(size=(n, 10)), changed(rng, change, n), seed) <= ALPHA
    return found / repetitions


@pytest.mark.slow
@pytest.mark.parametrize(("change", "name"), [(c, name) for c, names in EXPECTED.items() for name in names])
def test_finds_the_changes_it_is_meant_for(change: str, name: str) -> None:
    # Five times the level and more; 40 repetitions without a change stay below 0.2 but once in a thousand times.
    assert power(name, change, 40) >= 0.25


def _print_tables() -> None:
    print("| test |", " | ".join(f"{n} + {m}" for n, m in SIZES), "|")
    for name in TESTS:
        rates = [alarms_without_change(name, n, m) / REPETITIONS[name] for n, m in SIZES]
        print(f"| `{name}` |", " | ".join(f"{rate:.3f}" for rate in rates), "|", flush=True)
    print("\n| test |", " | ".join(CHANGES), "|")
    for name in TESTS:
        repetitions = 15 if "trees" in name else 100
        print(f"| `{name}` |", " | ".join(f"{power(name, c, repetitions):.2f}" for c in CHANGES), "|", flush=True)


if __name__ == "__main__":
    _print_tables()
