"""What whylogs takes for a record, on rows that every recorder gets. Runs in the environment of whylogs."""

from __future__ import annotations

import importlib.metadata
import json
import time

import inputs
from whylogs.core import DatasetProfile


def main() -> None:
    profile = DatasetProfile()
    rows = inputs.records()
    profile.track(row=rows[0])  # the columns' sketches are made
    spent = []
    for row in rows:
        start = time.perf_counter()
        profile.track(row=row)
        spent.append(time.perf_counter() - start)
    counted = profile.view().get_column("feature_000").get_metric("counts").n.value
    assert counted == len(rows) + 1
    print(
        json.dumps(
            {
                "tool": "whylogs",
                "version": importlib.metadata.version("whylogs"),
                "timed": "DatasetProfile.track(row=…): counted in memory, not kept",
                "microseconds": sorted(spent)[len(spent) // 2] * 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
