"""What the injected faults do, by hand; and that the detectable ones are what they claim with NumPy."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

import driftwell
from driftwell.errors import BadInput, ColumnError, UnknownName
from driftwell.testing import INJECTIONS, FakeClock, inject, stream

TABLE = pa.table(
    {
        "age": [20.0, 30.0, None, 40.0, 50.0],
        "income": [5, 4, 3, 2, 1],
        "debt": [1, 2, 3, 4, 5],
        "city": ["Lima", "Oslo", "Lima", None, "Rome"],
        "member": [True, False, True, True, None],
    }
)


def column(kind, name, amount, seed=0):
    return inject(TABLE, kind, name, amount, seed).column(name if isinstance(name, str) else name[0]).to_pylist()


def test_mean_shift_is_in_standard_deviations():
    sd = np.std([20, 30, 40, 50])
    expected = [20 + 2 * sd, 30 + 2 * sd, None, 40 + 2 * sd, 50 + 2 * sd]
    assert column("mean_shift", "age", 2) == pytest.approx(expected)
    assert column("mean_shift", "income", -1) == pytest.approx([v - np.sqrt(2) for v in (5, 4, 3, 2, 1)])


def test_scale_spreads_about_the_mean():
    assert column("scale", "age", 3) == [-10.0, 20.0, None, 50.0, 80.0]
    assert column("scale", "age", 0) == [35.0, 35.0, None, 35.0, 35.0]


def test_unit_multiplies():
    assert column("unit", "age", 0.1) == pytest.approx([2, 3, None, 4, 5])


def test_missing_empties_a_share_of_the_rows():
    table = {"x": np.arange(1000.0)}
    found = inject(table, "missing", "x", 0.25, seed=3).column("x")
    assert found.null_count == 250
    assert {v for i, v in enumerate(found.to_pylist()) if v not in (None, float(i))} == set()
    assert found.equals(inject(table, "missing", "x", 0.25, seed=3).column("x"))
    assert not found.equals(inject(table, "missing", "x", 0.25, seed=4).column("x"))


@pytest.mark.parametrize("name", TABLE.column_names)
def test_missing_keeps_the_type(name):
    found = inject(TABLE, "missing", name, 1.0).column(name)
    assert (found.type, found.null_count) == (TABLE.column(name).type, 5)


def test_swap_exchanges_two_columns():
    found = inject(TABLE, "swap", ("income", "debt"), 1)
    assert found.column("income").to_pylist() == TABLE.column("debt").to_pylist()
    assert found.column("debt").to_pylist() == TABLE.column("income").to_pylist()


def test_swap_of_a_share_exchanges_whole_pairs():
    found = inject(TABLE, "swap", ("income", "debt"), 0.4, seed=1)
    pairs = list(zip(found.column("income").to_pylist(), found.column("debt").to_pylist(), strict=True))
    before = list(zip(TABLE.column("income").to_pylist(), TABLE.column("debt").to_pylist(), strict=True))
    assert [sorted(pair) for pair in pairs] == [sorted(pair) for pair in before]
    changed = [now for now, then in zip(pairs, before, strict=True) if now != then]
    assert len(changed) in (1, 2)  # two rows, of which the middle one has equal values


def test_swap_finds_the_next_column_of_the_type():
    assert column("swap", "income", 1) == TABLE.column("debt").to_pylist()
    assert column("swap", "debt", 1) == TABLE.column("income").to_pylist()


def test_swap_of_numbers_of_two_types_is_float():
    assert column("swap", ("age", "income"), 1) == [5.0, 4.0, 3.0, 2.0, 1.0]


def test_freeze_repeats_the_value_before():
    assert column("freeze", "age", 0.6) == [20.0, 30.0, 30.0, 30.0, 30.0]
    assert column("freeze", "city", 1) == ["Lima"] * 5
    assert column("freeze", "member", 0) == TABLE.column("member").to_pylist()


@pytest.mark.parametrize("kind", INJECTIONS)
def test_one_column_changes_and_the_input_does_not(kind):
    before = TABLE.to_pydict()
    found = inject(TABLE, kind, "income", 0.5, seed=2)
    others = {"income", "debt"} if kind == "swap" else {"income"}
    assert found.column_names == TABLE.column_names
    assert found.num_rows == TABLE.num_rows
    assert {n for n in TABLE.column_names if not found.column(n).equals(TABLE.column(n))} == others
    assert TABLE.to_pydict() == before


def test_any_table_is_taken():
    found = inject(pd.DataFrame({"x": [1, 2]}), "unit", "x", 2)
    assert isinstance(found, pa.Table)
    assert found.column("x").to_pylist() == [2, 4]


@pytest.mark.parametrize("values", [[None, None], [float("nan")] * 2, []])
@pytest.mark.parametrize("kind", INJECTIONS)
def test_a_column_of_nothing_stays_as_it_is(kind, values):
    table = pa.table({"x": pa.array(values, pa.float64()), "y": pa.array(values, pa.float64())})
    amount = 0 if kind == "missing" else 1
    assert repr(inject(table, kind, "x", amount).to_pylist()) == repr(table.to_pylist())  # NaN equals nothing


@pytest.mark.parametrize(
    ("kind", "name", "amount", "error", "message"),
    [
        ("mean-shift", "age", 1, UnknownName, "did you mean 'mean_shift'"),
        ("unit", "agee", 1, ColumnError, "no column 'agee'; did you mean 'age'"),
        ("unit", "city", 1, ColumnError, "column 'city' holds string, not numbers"),
        ("unit", "member", 1, ColumnError, "column 'member' holds bool, not numbers"),
        ("missing", "age", 1.5, BadInput, "amount is a share of the rows, from 0 to 1; got 1.5"),
        ("freeze", "age", -0.1, BadInput, "amount is a share of the rows"),
        ("unit", "age", float("nan"), BadInput, "amount must be a finite number"),
        ("unit", "age", "2", BadInput, "amount must be a finite number"),
        ("unit", ("age", "income"), 2, BadInput, "one column at a time"),
        ("swap", ("age", "city"), 1, ColumnError, "cannot be swapped"),
        ("swap", "city", 1, ColumnError, "no other column has the type of 'city'"),
    ],
)
def test_what_cannot_be_done_is_said(kind, name, amount, error, message):
    with pytest.raises(error, match=message):
        inject(TABLE, kind, name, amount)


def test_a_clock_moves_when_told():
    clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
    start = clock()
    assert clock() == start == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    clock.advance(3600)
    clock.sleep(0.5)
    assert clock() - start == 3600.5
    assert clock.now() == datetime(2026, 3, 1, 1, 0, 0, 500_000, tzinfo=UTC)


def test_a_clock_needs_a_zone():
    with pytest.raises(BadInput, match="a time with a zone"):
        FakeClock(datetime(2026, 3, 1))


def test_a_stream_is_the_same_for_the_same_seed():
    assert list(stream(50, seed=1)) == list(stream(50, seed=1))
    assert list(stream(50, seed=1)) != list(stream(50, seed=2))
    assert list(islice(stream(1000, seed=1), 50)) == list(stream(50, seed=1))


def test_a_stream_runs_at_its_pace():
    times = [record["timestamp"] for record in stream(3, every_seconds=90)]
    assert times[1] - times[0] == times[2] - times[1] == timedelta(seconds=90)


def test_the_streams_model_is_good_until_the_change():
    records = list(stream(4000, seed=5, change_at=2000, mean_shift=2.0))
    income = np.array([r["features"]["income"] or np.nan for r in records])
    assert np.nanmean(income[2000:]) - np.nanmean(income[:2000]) == pytest.approx(30, abs=2)
    labels, scores = ([r[name] for r in records] for name in ("true_label", "score"))
    # calibrated before: mean score = share of ones within four standard errors; far above it afterwards
    assert np.mean(scores[:2000]) == pytest.approx(np.mean(labels[:2000]), abs=0.04)
    assert np.mean(scores[2000:]) > np.mean(labels[2000:]) + 0.2
    assert roc_auc_score(labels[:2000], scores[:2000]) > 0.75


def test_nothing_in_the_package_imports_it():
    own = {"testing.py", "__init__.py"}
    sources = [path for path in Path(driftwell.__file__).parent.rglob("*.py") if path.name not in own]
    assert [path.name for path in sources if "driftwell.testing" in path.read_text()] == []
    code = "import sys, driftwell; sys.exit('driftwell.testing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
