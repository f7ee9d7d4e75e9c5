"""One environment a peer under ``.peers/``, with the pins under which it works today."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".peers"

INSTALLS: dict[str, Sequence[Sequence[str]]] = {
    # Plots fail to import with pandas 3.
    "evidently": [["evidently==0.7.23", "pandas==2.3.3"]],
    # Without its cloud file systems, databases and GPU libraries, which need 0.8 GB more.
    "nannyml": [
        ["--no-deps", "nannyml==0.13.1", "xgboost==2.1.4", "flaml==2.3.5"],
        ["pandas==2.3.3", "scikit-learn", "statsmodels", "plotly<6", "category-encoders<3", "lightgbm<4.6", "click"],
        ["APScheduler<4", "fsspec", "pydantic", "pyfiglet<0.9", "python-dotenv", "rich", "PyYAML", "Jinja2", "seaborn"],
        ["segment-analytics-python<3"],
    ],
    "alibi": [["alibi-detect==0.13.0"]],  # takes NumPy 1.26
    "frouros": [["frouros==0.9.0"]],  # takes NumPy 2.1 and scipy 1.14
    "whylogs": [["whylogs==1.6.4", "numpy<2", "pandas<3"]],  # fails with NumPy 2
    "bentoml": [["bentoml==1.4.39"]],
}


def run(peer: str) -> dict[str, Any]:
    """What this peer prints, as JSON, from its own environment (made on the first run)."""
    script = Path(__file__).parent / f"run_{peer}.py"
    answer: dict[str, Any] = json.loads(_quietly([str(_python(peer)), str(script)]).splitlines()[-1])
    return answer


def _quietly(command: Sequence[str]) -> str:
    """What a command prints; what it complains of only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _python(peer: str) -> Path:
    home = ENVIRONMENTS / peer
    python, done = home / "bin" / "python", home / ".installed"
    if not done.exists() or done.read_text() != repr(INSTALLS[peer]):
        print(f"installing {peer} into {home.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        for packages in INSTALLS[peer]:
            _quietly([str(python), "-m", "pip", "install", *packages])
        done.write_text(repr(INSTALLS[peer]))
    return python
