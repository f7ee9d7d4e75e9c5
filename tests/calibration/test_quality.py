"""Quality rules on unchanged rows: any failed verdict at all is a false alarm, promised in at most 1 of 1,000 windows.

Each seed draws a reference of 2,000 rows and windows of three sizes from one population of 20 columns; bounds are
binomial. Power: each fault of ``driftwell.testing.inject`` is found at each size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from driftwell import Reference
from driftwell.quality import ALPHA, judge_quality
from driftwell.testing import inject

SEEDS = 100
SIZES = (50, 500, 5_000)


def population(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Light and heavy tails, counts, rare events, missing values, few and many categories."""
    rows: dict[str, Any] = {f"normal{i}": rng.normal(10 * i, 1 + i, n) for i in range(4)}
    rows |= {f"lognormal{i}": rng.lognormal(0, 1 + i, n) for i in range(3)}
    rows |= {f"count{i}": rng.poisson(0.05 * 10**i, n).astype(float) for i in range(3)}
    rows |= {"cauchy": rng.standard_cauchy(n), "pareto": rng.pareto(0.7, n), "rare": (rng.random(n) < 0.001) * 1.0}
    for share in (0.02, 0.3):
        rows[f"missing{share}"] = np.where(rng.random(n) < share, np.nan, rng.normal(size=n))
    rows |= {f"kind{k}": np.array([f"k{i:02}" for i in range(k)])[rng.integers(0, k, n)] for k in (2, 12, 40)}
    rows["tail"] = np.array([f"t{i}" for i in range(1_000)])[np.minimum(rng.zipf(1.5, n), 1_000) - 1]
    rows["flag"] = rng.random(n) < 0.05
    return rows


def test_unchanged_windows_raise_no_alarm():
    failed = dict.fromkeys(SIZES, 0)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        reference = Reference.from_data(population(2_000, rng))
        assert len(reference.kinds) == 20
        for m in SIZES:
            failed[m] += bool(judge_quality(reference, reference.profile_of(population(m, rng))).failed)
    allowed = binom.ppf(0.999, SEEDS, ALPHA)
    assert allowed <= 2
    assert all(count <= allowed for count in failed.values()), failed
    assert sum(failed.values()) <= binom.ppf(0.999, SEEDS * len(SIZES), ALPHA)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize(
    ("kind", "name", "amount"),
    [
        ("missing", "normal1", 0.7),
        ("missing", "kind12", 0.7),
        ("unit", "normal3", 1_000),
        ("unit", "lognormal0", 1_000),
        ("freeze", "normal2", 1.0),
        ("freeze", "kind40", 1.0),
    ],
)
def test_faults_are_found(m, kind, name, amount):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        reference = Reference.from_data(population(2_000, rng))
        spoilt = inject(population(m, rng), kind, name, amount, seed=seed)
        assert name in judge_quality(reference, reference.profile_of(spoilt)).broken


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize(("rule", "names"), [("range", ("normal0", "normal3")), ("allowed", ("kind2", "kind40"))])
def test_swapped_columns_are_a_warning_beside_their_drift(m, rule, names):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        reference = Reference.from_data(population(2_000, rng))
        spoilt = inject(population(m, rng), "swap", names, 1.0, seed=seed)
        found = judge_quality(reference, reference.profile_of(spoilt))
        assert (rule, names[0]) in {(v.rule, v.column) for v in found.failed}
        assert (rule, names[0]) not in {(v.rule, v.column) for v in found.failed if v.status == "critical"}
