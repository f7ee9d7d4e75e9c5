"""What importing costs, against ``import numpy``: medians of processes of their own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile

REPEATS = 9
FIRST = """
import driftwell as dw
monitor = dw.Monitor("m", store="sqlite:///{folder}/s.db")
monitor.record_prediction({{"x": 1.0}}, 1)
"""
TIMED = """
import time; start = time.perf_counter()
{code}
print(time.perf_counter() - start)
import os; os._exit(0)
"""


def seconds(code: str) -> float:
    """Median seconds of the code in a fresh process, the interpreter's own start left out."""
    found = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            script = TIMED.format(code=code.format(folder=folder) if "{folder}" in code else code)
            shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            found.append(float(shown.stdout.split()[0]))
    return statistics.median(found)


def main() -> None:
    """Print the ratios."""
    numpy = seconds("import numpy")
    print(f"import numpy: {numpy * 1e3:.0f} ms")
    print(f"import driftwell: {seconds('import driftwell') / numpy:.2f} ×")
    print(f"import driftwell, a first Monitor and its first record_prediction: {seconds(FIRST) / numpy:.2f} ×")


if __name__ == "__main__":
    main()
