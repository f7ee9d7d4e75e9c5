"""What a new user runs into in the first hour: odd files, wrong columns, wide tables, one clear line each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import driftwell as dw
from driftwell.errors import BadInput, ColumnError, MissingReference
from driftwell.testing import inject


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTWELL")}
    done = subprocess.run(
        [sys.executable, "-m", "driftwell", *words], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Validation rows with label and id, production rows without the label: the usual two tables."""
    rng = np.random.default_rng(5)
    for name in ("validation", "production"):
        columns: dict[str, Any] = {"row": np.arange(500) + 10_000 * (name == "production"), "x": rng.normal(size=500)}
        columns["when"] = ["2026-01-01T00:00:00Z"] * 500
        if name == "validation":
            columns["employed"] = rng.integers(0, 2, 500)
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


# -- the label is in one table only -------------------------------------------------------------------------


def test_a_label_in_one_table_only_can_be_left_out(folder: Path) -> None:
    both = ("compare", "validation.parquet", "production.parquet")
    assert "columns=" in run(folder, *both, code=2).stderr
    found = json.loads(run(folder, *both, "--column", "x", "--json").stdout)
    assert list(found["columns"]) == ["x"]
    assert found["status"] == "ok"


def test_baseline_can_be_told_what_is_no_feature(folder: Path) -> None:
    roles = ("--label", "employed", "--prediction-id", "row", "--timestamp", "when")
    made = json.loads(run(folder, "baseline", "validation.parquet", *roles, "--json").stdout)
    assert made["kinds"] == {"x": "numeric"}
    run(folder, "monitor", "production.parquet", "--baseline", "baseline.json", "--fail-on", "drift")
    made = json.loads(run(folder, "baseline", "validation.parquet", "--feature", "x", "--json").stdout)
    assert made["kinds"] == {"x": "numeric"}


def test_logging_the_wrong_file_is_said(folder: Path) -> None:
    run(folder, "baseline", "validation.parquet", "--feature", "x", "--model", "m", "--version", "v1")
    (folder / "other.csv").write_text("y,z\n1,2\n3,4\n")
    said = run(folder, "log", "other.csv", "--model", "m", "--version", "v1").stdout
    assert "ignored: y, z" in said
    assert "lacks, stored as missing: x" in said
    clean = run(folder, "log", "production.parquet", "--model", "m", "--version", "v1").stdout
    assert "stored as missing" not in clean


# -- one clear line -----------------------------------------------------------------------------------------


def test_an_impossible_port_is_one_line(folder: Path) -> None:
    assert "cannot listen on 127.0.0.1:99999" in run(folder, "serve", "--port", "99999", code=2).stderr


def test_a_broken_line_of_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n{oops\n')
    with pytest.raises(BadInput, match=r"cannot read .*rows.jsonl: line 3: "):
        dw.profile(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("path", ["a" * 5000 + ".csv", ""])
def test_a_path_that_cannot_be_is_no_such_file(path: str) -> None:
    with pytest.raises(BadInput, match=r"no such file|path of the table is empty"):
        dw.profile(path)


def test_a_reference_path_that_cannot_be_is_missing() -> None:
    with pytest.raises(MissingReference, match="driftwell baseline"):
        dw.Reference.load("a" * 5000 + ".json")


@pytest.mark.parametrize(
    "options",
    [{"columns": 5}, {"feature_map": 5}, {"method": 5}, {"alpha": "0.05"}, {"min_samples": "5"}, {"threshold": "1"}],
)
def test_an_argument_of_the_wrong_type_is_one_clear_error(options: dict[str, Any]) -> None:
    rows = {"x": np.arange(200.0)}
    with pytest.raises(BadInput, match=next(iter(options))):
        dw.compare(rows, rows, **options)


def test_numbers_of_numpy_are_numbers() -> None:
    rows = {"x": np.arange(200.0)}
    assert dw.compare(rows, rows, threshold=np.float32(0.2), alpha=np.float32(0.05)).status == "ok"
    assert dw.compare(rows, rows, threshold=np.int64(1), min_samples=np.int64(50)).status == "ok"
    assert inject(rows, "unit", "x", np.int64(2))["x"].to_pylist()[-1] == 398.0


def test_a_column_that_only_differs_in_case_is_suggested() -> None:
    rows = {"age": np.arange(200.0), "id": ["a", "b"] * 100}
    with pytest.raises(ColumnError, match=r"'id' \(is it 'ID'\?\)"):
        dw.compare(rows, {"age": np.arange(200.0), "ID": ["a", "b"] * 100})


@pytest.mark.parametrize("name", ["q", 5])
def test_inject_names_the_columns_there_are(name: Any) -> None:
    with pytest.raises(ColumnError, match=rf"no column {name!r}\. The table has: x"):
        inject({"x": [1.0]}, "unit", name, 2)


# -- wide tables --------------------------------------------------------------------------------------------


class _Counted:
    """An Arrow table that counts how often it is asked for its names: Arrow makes the list anew each time."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    @property
    def column_names(self) -> list[str]:
        self.asked += 1
        return list(self._table.column_names)


def test_names_of_a_wide_table_are_not_read_once_a_column() -> None:
    table = pa.table({f"f{i}": [1.0, 2.0, 3.0] for i in range(300)})
    reference = dw.Reference.from_data(table)
    counted = _Counted(table)
    assert len(reference.profile_table(counted).columns) == 300  # type: ignore[arg-type]
    assert counted.asked <= 3


def test_categories_beyond_those_told_apart_are_spoken_of() -> None:
    before = {"user": [f"u{i}" for i in range(4000)], "few": ["a", "b"] * 2000}
    after = {"user": [f"v{i}" for i in range(4000)], "few": ["a", "b"] * 2000}
    (note,) = dw.compare(before, after).notes
    assert note == "user: its 1,000 most frequent categories are told apart; the others, 75% of the reference rows, " \
                   "count as one"  # fmt: skip


# -- what is printed ----------------------------------------------------------------------------------------


def test_a_reference_and_a_profile_print_as_one_line() -> None:
    rows = {"x": np.arange(5000.0)}
    reference = dw.Reference.from_data(rows, name="flights", version="v1")
    assert repr(reference) == f"<Reference flights v1 {reference.id}: 5,000 rows, 1 features>"
    assert repr(dw.profile(rows, reference)) == f"<Profile in bins {reference.edges_id}: 5,000 rows, 1 columns>"


@pytest.mark.parametrize("condition", [lambda m: m.get("accuracy") < 0.9, lambda m: m["accuracy"] < 0.9])
def test_a_rule_of_a_missing_metric_is_silent(condition: Any, caplog: pytest.LogCaptureFixture) -> None:
    rule = dw.AlertRule("accuracy_low", condition)
    with caplog.at_level(logging.DEBUG, "driftwell"):
        assert dw.evaluate_rules([rule], {}) == []
    assert caplog.records == []
    assert dw.evaluate_rules([rule], {"accuracy": 0.5})[0]["name"] == "accuracy_low"


def test_a_rule_that_fails_with_its_metric_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    rule = dw.AlertRule("odd", lambda m: m["accuracy"] < "x")
    assert dw.evaluate_rules([rule], {"accuracy": 0.5}) == []
    assert "raised" in caplog.text
