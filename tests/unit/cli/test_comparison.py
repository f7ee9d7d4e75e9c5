"""What the command line prints of a comparison: nothing that was found is left out, nothing is said twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference, compare
from driftwell.cli.comparison import comparison_text
from driftwell.drift import DriftResult


def table(rng: np.random.Generator, power: float = 1.0) -> dict[str, np.ndarray]:
    x = rng.normal(size=1500)
    return {"x": x, "y": rng.normal(size=1500), "score": (1 / (1 + np.exp(-x))) ** power}


def compared(current: dict[str, object]) -> DriftResult:
    reference = Reference.from_data(table(np.random.default_rng(1)), score="score")
    return compare(reference, pa.table(current))


def test_an_output_that_drifted_has_a_line() -> None:
    text = comparison_text(compared(table(np.random.default_rng(2), power=0.2)))
    assert text.startswith("drift: 0 of 2 columns drifted")
    (line,) = [line for line in text.splitlines() if line.startswith("output ")]
    assert line.startswith("output score: DRIFT, high severity, psi ")
    assert line.endswith("(threshold 0.1, p adjusted <0.0001)")


def test_a_rule_of_the_rows_has_a_line() -> None:
    before, once = (dict(zip("xy", np.random.default_rng(seed).normal(size=(2, 1500)), strict=True)) for seed in (1, 2))
    twice = {name: np.repeat(values[:750], 2) for name, values in once.items()}
    text = comparison_text(compare(Reference.from_data(before), pa.table(twice)))
    assert "quality, critical: duplicates of the rows: 50.0% of 1,500 rows repeat an earlier one" in text


def test_a_changed_type_is_said_once() -> None:
    text = comparison_text(compared(table(np.random.default_rng(2)) | {"y": ["text"] * 1500}))
    assert text.count("text where numeric values were expected") == 1


@pytest.mark.parametrize("wrong", ["e-", "p adjusted  0 ", " 0\n"])
def test_numbers_are_written_as_in_the_report(wrong: str) -> None:
    current = table(np.random.default_rng(2))
    text = comparison_text(compared(current | {"x": current["x"] + 3}))
    assert "<0.0001" in text
    assert wrong not in text


def test_numbers_need_no_more_than_ascii() -> None:
    rng = np.random.default_rng(5)
    before, after = ({"x": rng.normal(size=500) * 1e-9} for _ in range(2))
    text = comparison_text(compare(before, after, method="wasserstein"))
    assert "e-1" in text, "a distance in the unit of the column"
    assert text.isascii()
