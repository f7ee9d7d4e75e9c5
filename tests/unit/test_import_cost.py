"""What an import brings with it: nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("numpy", "scipy", "pyarrow", "sklearn", "pandas", "fastapi", "uvicorn", "starlette", "jinja2", "httpx2",
         "typer", "rich", "apsw", "msgspec", "prometheus_client")  # fmt: skip
"""What `import driftwell` must leave alone."""

LATER = ("scipy", "sklearn", "fastapi", "starlette", "uvicorn", "jinja2", "httpx2", "typer", "rich")
"""What a first prediction must leave alone. It needs NumPy, Arrow and SQLite; Arrow imports pandas where that is."""


def loaded(code: str, cwd: Path) -> set[str]:
    """The top-level modules a fresh interpreter has after running the code."""
    code += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    found = loaded("import driftwell; driftwell.__version__; dir(driftwell)", tmp_path)
    assert not found & set(HEAVY)
    assert "driftwell" in found


def test_import_loads_no_room(tmp_path: Path) -> None:
    code = "import driftwell, sys; print(*[n for n in sys.modules if n.startswith('driftwell.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["driftwell._version"]


def test_import_leaves_no_thread_file_or_logging(tmp_path: Path) -> None:
    code = (
        "import logging, threading, driftwell\n"
        "assert threading.active_count() == 1\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('driftwell').handlers"
    )
    loaded(code, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_comparing_loads_no_server_and_no_models(tmp_path: Path) -> None:
    code = "import driftwell as dw; dw.compare({'x': [1.0, 2.0] * 100}, {'x': [2.0, 1.0] * 100})"
    assert not loaded(code, tmp_path) & {"sklearn", "fastapi", "jinja2", "httpx2", "typer", "rich", "apsw"}


def test_first_prediction_loads_no_statistics_and_no_server(tmp_path: Path) -> None:
    code = """
import driftwell as dw
with dw.Monitor("m", version="v1", store="sqlite:///m.db", enable_drift_detection=False) as monitor:
    monitor.record_prediction({"x": 1.0, "city": "Oslo"}, 1, score=0.7)
    assert monitor.flush(10)
    assert monitor.stats()["stored"] == 1
"""
    assert not loaded(code, tmp_path) & set(LATER)


def test_first_prediction_with_a_reference_loads_no_statistics_either(tmp_path: Path) -> None:
    code = """
import driftwell as dw
ref = dw.Reference.from_data({"x": [1.0, 2.0, 3.0], "city": ["Oslo", "Voss", "Oslo"]})
monitor = dw.Monitor("m", version="v1", reference=ref, store="sqlite:///m.db")
monitor.record_prediction({"x": 1.0, "city": "Oslo"}, 1, score=0.7)
assert monitor.flush(10)
monitor.close()
"""
    assert not loaded(code, tmp_path) & set(LATER)
