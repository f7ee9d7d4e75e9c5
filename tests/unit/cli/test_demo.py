"""``driftwell demo`` ends with its child: nothing is left running after a SIGTERM that only the parent gets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import importlib, importlib.util, sys
from pathlib import Path

demo = importlib.import_module("driftwell.cli.demo")

importlib.util.find_spec = lambda name: True
demo._folder = lambda: Path({folder!r})
sys.exit(demo.demo())
"""
CHILD = """
import os, pathlib, time
pathlib.Path({folder!r}, "pid.part").write_text(str(os.getpid()))
os.rename({folder!r} + "/pid.part", {folder!r} + "/pid")
time.sleep(120)
"""


def test_a_terminated_demo_leaves_no_child(tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text(CHILD.format(folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(folder=str(tmp_path))], cwd=tmp_path)
    try:
        while not (tmp_path / "pid").exists():
            assert parent.poll() is None
            time.sleep(0.02)
        child = int((tmp_path / "pid").read_text())
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) != 0
        assert not _runs(child)
    finally:
        parent.kill()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
