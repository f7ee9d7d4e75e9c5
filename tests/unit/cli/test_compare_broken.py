"""The gate of the command line: what is broken does not pass as stable."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell.cli import run


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / name) for name in ("before.parquet", "after.parquet")]
    for path, unit, rows in zip(paths, (1, 1_000), (2_000, 600), strict=True):
        pq.write_table(pa.table({"x": rng.normal(size=rows), "z": unit * rng.exponential(size=rows)}), path)
    return paths


def test_broken_columns_fail_a_gate_on_drift(tables: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *tables]) == 0
    assert run(["compare", *tables, "--fail-on", "drift"]) == 2
    printed = capsys.readouterr().out
    assert "0 of 2 columns drifted, 1 broken" in printed
    assert "z is broken, not drifted" in printed


def test_whole_rows_are_tested_on_request(tables: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *tables, "--multivariate", "energy"]) == 0
    assert "all columns together (energy): ok, p " in capsys.readouterr().out
