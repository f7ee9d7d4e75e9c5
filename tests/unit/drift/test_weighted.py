"""Comparisons with a weighted reference: distances by weight, tests by its effective size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import driftwell as dw
from driftwell.detectors.univariate import METHODS
from driftwell.errors import BadInput

SHARED = ["jensen_shannon", "hellinger", "total_variation", "l_infinity", "ks", "kuiper", "wasserstein", "energy"]


def rows(seed: int, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    fine = rng.normal(size=n)
    fine[rng.random(n) < 0.05] = np.nan
    wide = rng.lognormal(size=n) * 1e3
    wide[:4] = 1e30, 1e30, np.inf, -np.inf
    named = [
        None if x < 0.05 else str(name) for x, name in zip(rng.random(n), rng.choice(list("abcdef"), n), strict=True)
    ]
    few = rng.integers(0, 9, n).astype(float)
    return {"fine": fine, "wide": wide, "few": few, "named": named, "truth": rng.random(n) < 0.3}


BEFORE, AFTER = rows(1, 1_500), rows(2, 1_000)
AFTER["fine"] = AFTER["fine"] + 0.15
PLAIN = dw.Reference.from_data(BEFORE)


def compared(reference: dw.Reference, method: str) -> dict[str, Any]:
    columns = [name for name, kind in reference.kinds.items() if kind in METHODS[method].kinds]
    found = dw.compare(reference, reference.profile_of(AFTER), method=method, columns=columns).columns
    return {
        name: (c.status, c.value, c.low, c.high, c.interval, c.p_value, c.severity, c.score, c.n_reference,
               c.missing_reference, c.contributions, c.reason if c.status != "no_data" else None)
        for name, c in found.items()
    }  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weight", [0.3, 2.5, 1000.0])
def test_equal_weights_change_nothing(method: str, weight: float) -> None:
    weighted = dw.Reference.from_data(BEFORE, weights=np.full(1_500, weight))
    assert compared(weighted, method) == compared(PLAIN, method)


def test_equal_weights_change_no_quality_verdict() -> None:
    broken = AFTER | {"few": np.full(1_000, 99.0), "named": [None] * 1_000}
    weighted = dw.Reference.from_data(BEFORE, weights=np.full(1_500, 2.5))
    found = [dw.compare(ref, broken).quality for ref in (PLAIN, weighted)]
    assert found[0] is not None
    assert found[1] is not None
    rules = [[(v.rule, v.column, v.status, v.value, v.p_value) for v in one.verdicts if v.rule != "duplicates"]
             for one in found]  # fmt: skip
    assert rules[0] == rules[1]
    assert set(found[0].broken) >= {"few", "named"}


@pytest.mark.parametrize("method", SHARED)
def test_weights_are_repetitions_in_shares(method: str) -> None:
    """Columns of few values have the same bins either way; each row repeated as often as it weighs."""
    few = {name: BEFORE[name] for name in ("few", "named", "truth")}
    times = np.random.default_rng(3).integers(0, 4, 1_500)
    again = {name: np.repeat(np.array(column, object), times).tolist() for name, column in few.items()}
    weighted, repeated = dw.Reference.from_data(few, weights=times), dw.Reference.from_data(again)
    columns = [name for name, kind in weighted.kinds.items() if kind in METHODS[method].kinds]
    assert columns
    for name in columns:
        found, expected = (
            dw.compare(ref, ref.profile_of(AFTER), method=method, columns=[name]).columns[name]
            for ref in (weighted, repeated)
        )
        assert found.value == pytest.approx(expected.value, rel=1e-6, abs=1e-9)
        assert found.n_reference == weighted.effective_size < repeated.n_rows


def test_psi_adds_half_an_effective_row() -> None:
    """By hand: shares of weight times Kish's size, half a row added to each cell (Yurdakul 2018, equation 2.1)."""
    names, weights = np.array(list("ab") * 200 + list("c") * 100), np.linspace(0.1, 4, 500)
    ref = dw.Reference.from_data({"c": names}, weights=weights)
    after = np.array(list("abc") * 100)
    units = np.rint(weights * 2**20)
    size = units.sum() ** 2 / (units**2).sum()
    before = np.array([units[names == name].sum() / units.sum() * size for name in "abc"])
    p, q = (before + 0.5) / (size + 1.5), np.full(3, 100.5) / 301.5
    found = dw.compare(ref, {"c": after}).columns["c"]
    assert found.value == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=1e-12)
    assert sum(c.psi for c in found.contributions) == pytest.approx(found.value)


def test_mean_shift_is_in_weighted_units() -> None:
    rng = np.random.default_rng(0)
    x, w, after = rng.normal(size=900), rng.exponential(size=900), rng.normal(0.3, 1, 700)
    ref = dw.Reference.from_data({"x": x}, weights=w)
    mean = np.average(x, weights=w)
    sd = np.sqrt(np.average((x - mean) ** 2, weights=w))
    found = dw.compare(ref, {"x": after}, method="mean_shift").columns["x"]
    assert found.value == pytest.approx(abs(after.mean() - mean) / sd, rel=2e-3)  # without the n - 1 of some 450


def test_few_effective_rows_are_no_data() -> None:
    heavy = np.full(2_000, 0.01)
    heavy[:50] = 100.0
    found = dw.compare(dw.Reference.from_data({"x": np.arange(2_000.0)}, weights=heavy), {"x": np.arange(500.0)})
    assert found.columns["x"].status == "no_data"
    assert found.columns["x"].reason == "50 rows on one side, 100 needed"


def test_methods_that_need_rows_refuse() -> None:
    weighted = dw.Reference.from_data({"x": BEFORE["fine"]}, weights=np.linspace(1, 2, 1_500))
    with pytest.raises(BadInput, match="takes rows for equals"):
        dw.compare(weighted, {"x": AFTER["fine"]}, multivariate="mmd")
    for method in ("anderson_darling", "scipy.ks_2samp"):
        found = dw.compare(weighted, {"x": AFTER["fine"]}, method=method).columns["x"]
        assert found.status == "no_data"
        assert "those of the reference have weights" in str(found.reason)


def test_a_weighted_profile_counts_as_its_effective_rows_on_either_side() -> None:
    weighted = dw.Reference.from_data({"x": BEFORE["wide"]}, weights=np.linspace(1, 2, 1_500))
    found = dw.compare(weighted, weighted.profile).columns["x"]
    assert found.n_current == found.n_reference == weighted.effective_size
    assert found.status == "ok"
    assert found.value == pytest.approx(0, abs=1e-4)  # of counts rounded to rows
