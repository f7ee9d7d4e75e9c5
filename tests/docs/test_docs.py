"""Every Python block of README and docs runs, in order, in one namespace a page; so does every `driftwell` command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """``(line number, code)`` of the blocks of a page, those marked ``norun`` left out."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: found.start(3)].count("\n") + 1, found[3])
        for found in FENCE.finditer(text)
        if found[1] == language and "norun" not in found[2]
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        # Blank lines put the code on its true line, so that a traceback points into the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    monitor = namespace.get("monitor")
    if hasattr(monitor, "close"):
        monitor.close()


@pytest.mark.parametrize("page", [p for p in PAGES if "\ndriftwell " in p.read_text(encoding="utf-8")], ids=name)
def test_shell_commands_are_known(page: Path, tmp_path: Path) -> None:
    """Commands of console blocks parse: their subcommand exists and takes every option shown."""
    for _, code in blocks(page, "console"):
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["driftwell"] or len(words) < 2 or words[1].startswith("-"):
                continue
            command = words[1:3] if words[1] == "token" else words[1:2]
            shown = subprocess.run(
                [sys.executable, "-m", "driftwell", *command, "--help"], capture_output=True, text=True, cwd=tmp_path
            )
            assert shown.returncode == 0, f"{page}: {line}\n{shown.stderr}"
            for word in words:
                if word.startswith("--"):
                    assert word.partition("=")[0] in shown.stdout, f"{page}: {line}: {word} is no option"
