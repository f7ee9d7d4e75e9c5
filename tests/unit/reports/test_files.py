"""A report is written whole or not at all, and a path that cannot be written is one clear error."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from driftwell.errors import BadInput
from driftwell.reports import write_text


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "reports" / "2026" / "drift.html"
    assert write_text(target, "café – 日本") == target
    assert target.read_bytes() == "café – 日本".encode()
    assert [p.name for p in target.parent.iterdir()] == ["drift.html"]


def test_a_former_report_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "r.html", "a" * 1000)
    write_text(tmp_path / "r.html", "b")
    assert (tmp_path / "r.html").read_text() == "b"


def test_a_failed_write_leaves_the_former_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write_text(tmp_path / "r.html", "former")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BadInput, match=r"r\.html: No space left on device\. Give the name"):
        write_text(target, "new")
    monkeypatch.undo()
    assert target.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="it is a folder"):
        write_text(tmp_path, "x")


def test_a_file_in_the_way_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot write"):
        write_text(tmp_path / "file" / "r.html", "x")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_an_impossible_name_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot write"):
        write_text(tmp_path / name, "x")


def test_lone_surrogates_do_not_stop_a_report(tmp_path: Path) -> None:
    assert write_text(tmp_path / "r.html", "a\ud800b").read_text() == "a?b"


def test_a_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert got == ["through"]
    assert pipe.is_fifo()
