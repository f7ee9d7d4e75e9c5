"""What BentoML's monitor takes for a record, on rows that every recorder gets. Runs in the environment of BentoML."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
import time
from pathlib import Path

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import bentoml
import inputs

KINDS = {float: "numerical", str: "categorical"}


def record(row: dict[str, object], folder: str) -> None:
    with bentoml.monitor("bench", "default", {"log_path": folder}) as monitor:
        for name, value in row.items():
            monitor.log(value, name=name, role="feature", data_type=KINDS[type(value)])
        monitor.log(1, name="prediction", role="prediction", data_type="numerical")


def main() -> None:
    rows = inputs.records()
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        record(rows[0], folder)  # the schema is written
        for row in rows:
            start = time.perf_counter()
            record(row, folder)
            spent.append(time.perf_counter() - start)
        lines = sum(len(file.read_text().splitlines()) for file in Path(folder).rglob("data*.log"))
        assert lines == len(rows) + 1
    print(
        json.dumps(
            {
                "tool": "BentoML",
                "version": importlib.metadata.version("bentoml"),
                "timed": "bentoml.monitor(…).log: a line in a log file",
                "microseconds": sorted(spent)[len(spent) // 2] * 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
