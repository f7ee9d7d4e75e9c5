"""Run the peers on shared columns beside our conventions: ``make peers``, or ``python -m benchmarks.peers frouros``.

``--write`` keeps what they said as the expected values of the unit tests.
"""

from __future__ import annotations

import json
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any

import driftwell as dw
from benchmarks.peers import inputs, recorders
from benchmarks.peers.environments import INSTALLS, ROOT, run
from driftwell.detectors.conventions import CONVENTIONS

GOLDEN = ROOT / "tests" / "unit" / "detectors" / "data" / "peers.json"
FLOAT32 = 1e-6
TOLERANCES = {"alibi": FLOAT32, "evidently.cramer_von_mises": FLOAT32}  # these answer in float32, or compute in it


def ours() -> dict[str, dw.DriftResult]:
    """A comparison of each column, from which any method can be read."""
    kinds = {"numeric": float, "categorical": str, "flag": str}
    return {
        name: dw.compare({"x": before.astype(kinds[kind])}, {"x": after.astype(kinds[kind])}, min_samples=1)
        for name, (kind, before, after) in inputs.columns().items()
    }


def apart(a: float | None, b: float) -> float:
    """Relative difference; what float32 cannot hold is no difference."""
    if a is None:
        return math.inf
    return 0.0 if a == b or abs(a - b) < 1e-37 else abs(a - b) / max(abs(a), abs(b))


def print_numbers(answer: dict[str, Any], results: dict[str, dw.DriftResult]) -> None:
    """One line a method and part: the column with the largest difference."""
    for part in ("values", "p_values"):
        for method, theirs in answer[part].items():
            if method not in CONVENTIONS:
                continue  # a recipe of docs/coming-from-other-monitors.md, compared in the tests
            rows = []
            for column, value in theirs.items():
                measure = results[column].metric("x", method)
                own = measure.p_value if part == "p_values" else measure.statistic
                own = measure.value if own is None and part == "values" else own
                rows.append((apart(own, value), column, own, value))
            difference, column, own, value = max(rows, key=lambda row: row[0])
            label = method + " p" * (part == "p_values")
            print(f"  {label:34} {len(rows):2} columns  {column:8} {own:<22.15g} {value:<22.15g} {difference:.1e}")


def own_seconds() -> float:
    before, after = inputs.wide()
    dw.compare({"x": before["c00"]}, {"x": after["c00"]})  # scipy and pyarrow are loaded
    start = time.perf_counter()
    dw.compare(before, after)
    return time.perf_counter() - start


def golden(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "COMMENT": "What the peers themselves answer; python -m benchmarks.peers --write",
        "date": datetime.now(UTC).date().isoformat(),
        "inputs": inputs.RECIPE,
        "tolerance": {"default": 1e-9, **TOLERANCES},
        "tools": {answer["tool"]: answer["version"] for answer in answers},
        "values": {method: found for answer in answers for method, found in answer["values"].items()},
        "p_values": {method: found for answer in answers for method, found in answer["p_values"].items()},
        "thresholds": {method: found for answer in answers for method, found in answer.get("thresholds", {}).items()},
    }


def main() -> None:
    named = [word for word in sys.argv[1:] if not word.startswith("--")] or list(INSTALLS)
    if set(named) & set(recorders.PEERS):
        recorders.main()
    named = [name for name in named if name not in recorders.PEERS]
    if not named:
        return
    answers = [run(peer) for peer in named]
    results, spent = ours(), own_seconds()
    for answer in answers:
        print(f"== {answer['tool']} {answer['version']}: largest difference a method (column, ours, theirs, relative)")
        print_numbers(answer, results)
        ratio = answer["seconds"] / spent
        print(
            f"  100,000 × 20 floats: {answer['timed']} {answer['seconds']:.2f} s, compare {spent:.2f} s: {ratio:.1f} ×"
        )
    if "--write" in sys.argv:
        GOLDEN.write_text(json.dumps(golden(answers), indent=1, sort_keys=True) + "\n")
        print(f"wrote {GOLDEN.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
