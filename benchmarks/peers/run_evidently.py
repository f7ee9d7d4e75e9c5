"""Evidently's scores on the shared columns, and the time of its drift preset. Runs in Evidently's environment."""

from __future__ import annotations

import json
import time
import warnings

import inputs
import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report, __version__
from evidently.metrics import ValueDrift
from evidently.presets import DataDriftPreset

SHARES = {"psi": "psi", "kl": "kl_div", "jensen_shannon": "jensenshannon", "hellinger": "hellinger"}
VALUES = {"numeric": SHARES | {"wasserstein": "wasserstein", "energy": "ed"}, "categorical": SHARES}
P_VALUES = {
    "numeric": {"ks": "ks", "cramer_von_mises": "cramer_von_mises", "mann_whitney": "mannw", "t_test": "t_test"},
    "categorical": {"chi_squared": "chisquare", "z_test": "z", "g_test": "g_test", "fisher_exact": "fisher_exact"},
}
"""Our name and Evidently's of its methods, by kind of column."""


def score(kind: str, reference: np.ndarray, current: np.ndarray, method: str | None) -> float | None:
    """One score, None where Evidently refuses the column (it needs two categories, or as many rows on both sides)."""
    definition = DataDefinition(**{f"{kind}_columns": ["x"]})
    sides = [Dataset.from_pandas(pd.DataFrame({"x": side}), definition) for side in (current, reference)]
    try:
        found = Report([ValueDrift(column="x", method=method)]).run(*sides)
    except ValueError:
        return None
    return float(found.dict()["metrics"][0]["value"])


def scores(methods: dict[str, dict[str, str]]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for name, (kind, *sides) in inputs.columns().items():
        read_as = "numerical" if kind == "numeric" else "categorical"
        for ours, theirs in methods["numeric" if kind == "numeric" else "categorical"].items():
            found = score(read_as, *sides, theirs)
            if found is not None:
                out.setdefault(f"evidently.{ours}", {})[name] = found
    return out


def seconds() -> float:
    sides = [Dataset.from_pandas(pd.DataFrame(table), DataDefinition()) for table in inputs.wide()]
    start = time.perf_counter()
    Report([DataDriftPreset()]).run(sides[1], sides[0])
    return time.perf_counter() - start


def main() -> None:
    warnings.simplefilter("ignore")
    values, p_values = scores(VALUES), scores(P_VALUES)
    # Left to choose, Evidently gives numbers of few values to the tests of categories.
    p_values["evidently.chi_squared"]["ratings"] = score("numerical", *inputs.columns()["ratings"][1:], None)
    print(
        json.dumps(
            {
                "tool": "evidently",
                "version": __version__,
                "values": values,
                "p_values": p_values,
                "timed": "DataDriftPreset (Wasserstein, with its plots)",
                "seconds": seconds(),
            }
        )
    )


if __name__ == "__main__":
    main()
