"""Exit codes of ``driftwell monitor --fail-on``: 0 fine, 1 drift, 2 where data is broken or was not judged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftwell import Reference
from driftwell.cli.data import monitor


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(11)
    Reference.from_data({"x": rng.normal(0, 1, 500), "y": rng.normal(0, 1, 500)}).save(tmp_path / "b.json")
    fine = {"x": rng.normal(0, 1, 500), "y": rng.normal(0, 1, 500)}
    pq.write_table(pa.table(fine), tmp_path / "fine.parquet")
    pq.write_table(pa.table(fine | {"x": fine["x"] + 3}), tmp_path / "moved.parquet")
    pq.write_table(pa.table(fine | {"y": ["text"] * 500}), tmp_path / "unread.parquet")
    pq.write_table(pa.table({"x": fine["x"] + 3, "y": ["text"] * 500}), tmp_path / "both.parquet")
    twice = {name: np.repeat(values[:250], 2) for name, values in fine.items()}
    pq.write_table(pa.table(twice), tmp_path / "twice.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "fail_on", "code"),
    [
        ("fine", "drift", 0),
        ("moved", "drift", 1),
        ("moved", None, 0),
        ("unread", "drift", 2),
        ("unread", "high", 2),
        ("unread", None, 0),
        ("both", "drift", 1),
        ("twice", "drift", 2),
        ("twice", "high", 2),
        ("twice", None, 0),
    ],
)
def test_a_gate_does_not_let_pass_what_it_could_not_judge(folder, capsys, name, fail_on, code):
    assert monitor(str(folder / f"{name}.parquet"), baseline=str(folder / "b.json"), fail_on=fail_on) == code
