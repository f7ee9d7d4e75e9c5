"""A mistake of ours is one line and the exit code of an error, never the one that says drift was found."""

from __future__ import annotations

import pytest

from driftwell.cli import doctor, run


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def doctored() -> str:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(doctor.platform, "python_version", doctored)


@pytest.mark.usefixtures("broken")
def test_an_unexpected_error_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTWELL_DEBUG", raising=False)
    assert run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "internal error: ZeroDivisionError: of ours; please report it" in said


@pytest.mark.usefixtures("broken")
def test_its_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTWELL_DEBUG", "1")
    assert run(["doctor"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err
