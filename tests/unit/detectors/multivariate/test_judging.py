"""One verdict on two tables: every method of the table, what is left out, and what the caller is told."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from driftwell.detectors.multivariate import (
    MULTIVARIATE,
    domain_classifier,
    judge_rows,
    mmd_test,
    multivariate_method,
    portfolio_test,
)
from driftwell.errors import BadInput, UnknownName

KINDS = {"a": "numeric", "b": "numeric", "c": "categorical"}


def table(n: int, seed: int, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {"a": rng.normal(size=n), "b": rng.normal(shift, 1, size=n), "c": rng.choice(["u", "v"], n, p=[0.7, 0.3])}
    )


@pytest.mark.parametrize("name", MULTIVARIATE)
def test_every_method_tells_drift_from_none(name: str) -> None:
    reference = table(400, 0)
    drifted = judge_rows(name, reference, moved(table(300, 1)), kinds=KINDS)
    assert (drifted.status, drifted.drifted) == ("drift", True)
    assert drifted.p_value is not None
    assert drifted.p_value <= 0.05
    assert sum(drifted.contributions.values()) == pytest.approx(1)
    assert "a" in drifted.contributions
    same = judge_rows(name, reference, table(300, 2), kinds=KINDS, alpha=0.001)
    assert (same.status, same.drifted, same.contributions) == ("ok", False, {})
    assert (same.n_reference, same.n_current, same.method) == (400, 300, name)


def moved(rows: pa.Table) -> pa.Table:
    """Both means and their dependence move: every method sees one of these."""
    a = rows.column("a").to_numpy()
    b = 0.9 * a + 0.4 * rows.column("b").to_numpy() + 0.8
    return rows.set_column(0, "a", [a + 0.8]).set_column(1, "b", [b])


def test_verdict_is_the_test_on_the_same_tables() -> None:
    x, y = table(150, 0), table(200, 1, shift=0.3)
    found = judge_rows("mmd", x, y, kinds=KINDS, seed=4)
    assert found.test == mmd_test(x, y, 100, seed=4)
    assert (found.statistic, found.p_value) == (found.test.statistic, found.test.p_value)
    assert found.n_used == (150, 200)
    assert judge_rows("portfolio", x, y, kinds=KINDS).test == portfolio_test(x, y)


def test_small_alpha_gets_enough_relabellings() -> None:
    x, y = table(150, 0), table(150, 1, shift=2.0)
    found = judge_rows("energy", x, y, kinds=KINDS, alpha=0.001)
    assert found.test is not None
    assert found.test.to_dict()["n_permutations"] == 2000
    assert found.drifted
    fast = judge_rows("random_features", x, y, kinds=KINDS, alpha=1e-6)
    assert not fast.drifted
    assert fast.notes == ("alpha lies below 1/20000, the smallest p-value of 19999 relabellings",)


def test_contributions_are_squared_ks_distances() -> None:
    x, y = table(300, 0), table(300, 1, shift=1.0)
    found = judge_rows("hotelling", x, y, kinds=KINDS)
    squares = {name: ks_2samp(x.column(name).to_numpy(), y.column(name).to_numpy()).statistic ** 2 for name in "ab"}
    counts = [np.mean(np.array(side.column("c")) == "u") for side in (x, y)]
    squares["c"] = (counts[0] - counts[1]) ** 2
    expected = {name: square / sum(squares.values()) for name, square in squares.items()}
    assert found.contributions == pytest.approx(expected)
    assert next(iter(found.contributions)) == "b"


def test_contributions_of_the_classifier_are_its_importances() -> None:
    x, y = table(200, 0), table(200, 1, shift=1.5)
    found = judge_rows("domain_classifier", x, y, kinds=KINDS, columns=["b", "c"])
    x, y = x.drop_columns("a"), y.drop_columns("a")
    falls = {name: max(fall, 0.0) for name, fall in domain_classifier(x, y).importances.items()}
    assert found.contributions == pytest.approx({name: fall / sum(falls.values()) for name, fall in falls.items()})


def test_rows_above_the_limit_are_drawn_by_the_seed_and_said() -> None:
    rng = np.random.default_rng(0)
    x, y = pa.table({"a": rng.normal(size=120_000)}), pa.table({"a": rng.normal(size=500)})
    found = judge_rows("hotelling", x, y, kinds={"a": "numeric"}, seed=1)
    assert found.n_used == (100_000, 500)
    assert found.n_reference == 120_000
    assert found.notes == ("100,000 of the 120,000 reference rows were drawn at random: hotelling takes no more",)
    again, other = (judge_rows("hotelling", x, y, kinds={"a": "numeric"}, seed=seed) for seed in (1, 2))
    assert again == found
    assert other.p_value != found.p_value


def test_severity_goes_by_the_p_value() -> None:
    x, y = table(200, 0), table(200, 1, shift=1.0)
    # Smallest p-values: 1/101 of 100 relabellings, 1/1000 of 999, and next to 0 from the F distribution.
    found = [str(judge_rows(name, x, y, kinds=KINDS).severity) for name in ("mmd", "random_features", "hotelling")]
    assert found == ["low", "medium", "high"]
    assert str(judge_rows("hotelling", x, x, kinds=KINDS).severity) == "none"


def test_few_rows_are_no_data() -> None:
    found = judge_rows("mmd", table(99, 0), table(500, 1), kinds=KINDS)
    assert (found.status, found.drifted, found.p_value) == ("no_data", False, None)
    assert found.reason == "the reference has 99 rows, at least 100 are needed"
    current = judge_rows("mmd", table(500, 0), table(0, 1), kinds=KINDS)
    assert current.reason == "there are 0 current rows, at least 100 are needed"
    rng = np.random.default_rng(0)
    wide = [pa.table({f"f{i}": rng.normal(size=10) for i in range(30)}) for _ in range(2)]
    found = judge_rows("hotelling", *wide, kinds=dict.fromkeys(wide[0].column_names, "numeric"), min_samples=10)
    assert found.status == "no_data"
    assert "20 rows do not exceed" in str(found.reason)


def test_columns_that_cannot_be_used_are_left_out_and_named() -> None:
    x = table(100, 0).append_column("t", [pa.array([0] * 100, pa.timestamp("s"))]).append_column("gone", [[1.0] * 100])
    y = table(100, 1).set_column(1, "b", [["text"] * 100]).append_column("t", x["t"])
    found = judge_rows("energy", x, y, kinds=KINDS | {"t": "datetime", "gone": "numeric"}, alpha=0.001)
    assert found.status == "ok"
    assert found.notes[0] == "column 'gone' was left out: the current rows do not have it"
    assert found.notes[1].startswith("column 'b' was left out: text where numeric")
    assert found.notes[2] == "column 't' was left out: times are not encoded"
    alone = judge_rows("energy", x, y, kinds=KINDS, columns=["b"])
    assert (alone.status, alone.drifted) == ("error", False)
    assert "no column that can be used" in str(alone.reason)
    assert judge_rows("energy", x, y, kinds={"gone": "numeric"}).status == "error"


def test_columns_choose_what_is_tested() -> None:
    x, y = table(200, 0), table(200, 1, shift=3.0)
    assert judge_rows("hotelling", x, y, kinds=KINDS).drifted
    without = judge_rows("hotelling", x, y, kinds=KINDS, columns=["a", "c"])
    assert without.test is not None
    assert without.test.n_columns == 2
    assert not without.drifted


def test_embeddings_are_columns_of_numbers() -> None:
    rng = np.random.default_rng(5)
    kind = pa.list_(pa.float32(), 16)
    x, y = (
        pa.table({"v": pa.array(list(rng.normal(shift, 1, size=(200, 16)).astype(np.float32)), kind)})
        for shift in (0.0, 0.4)
    )
    found = judge_rows("mmd", x, y, kinds={"v": "vector"})
    assert found.drifted
    assert found.contributions == {"v": 1.0}


def test_verdict_is_plain_json() -> None:
    found = judge_rows("hotelling", table(100, 0), table(100, 1), kinds=KINDS).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["test"]["method"] == "hotelling"


def test_options_are_checked() -> None:
    x = table(100, 0)
    with pytest.raises(UnknownName, match="did you mean 'energy'"):
        multivariate_method("energi")
    with pytest.raises(UnknownName, match="unknown column 'z'"):
        judge_rows("mmd", x, x, kinds=KINDS, columns=["z"])
    for options in ({"alpha": 0}, {"seed": -1}, {"min_samples": 0}):
        with pytest.raises(BadInput, match=next(iter(options))):
            judge_rows("mmd", x, x, kinds=KINDS, **options)
