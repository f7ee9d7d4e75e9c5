"""``driftwell baseline`` says what is weak about the reference it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from driftwell.cli.data import baseline
from driftwell.profiles import Reference


def test_weaknesses_are_printed_and_are_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(50))
    output = str(tmp_path / "base.json")
    assert baseline(str(tmp_path / "x.npy"), output) == 0
    printed = capsys.readouterr().out
    assert "weakness (high) too_few_rows: 50 rows" in printed
    assert "weakness (medium) constant_column: 'value' has one value only" in printed
    baseline(str(tmp_path / "x.npy"), output, as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["weaknesses"] == [weakness.to_dict() for weakness in Reference.load(output).check()]
