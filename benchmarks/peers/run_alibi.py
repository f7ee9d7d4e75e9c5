"""alibi-detect's univariate detectors on the shared columns, and their time. Runs in alibi-detect's environment."""

from __future__ import annotations

import json
import time
import warnings

import inputs
import numpy as np
from alibi_detect import __version__
from alibi_detect.cd import ChiSquareDrift, CVMDrift, FETDrift, KSDrift

NUMERIC = {"alibi.ks": KSDrift, "alibi.cramer_von_mises": CVMDrift}
DISCRETE = {"alibi.chi_squared": ChiSquareDrift}
FLAGS = {"alibi.chi_squared": ChiSquareDrift, "alibi.fisher_exact": FETDrift}


def main() -> None:
    warnings.simplefilter("ignore")
    values: dict[str, dict[str, float]] = {}
    p_values: dict[str, dict[str, float]] = {}
    for name, (kind, before, after) in inputs.columns().items():
        if kind == "numeric" and np.isnan(before.astype(float)).any():
            continue  # NaN is not handled
        for method, detector in {"numeric": NUMERIC, "categorical": DISCRETE, "flag": FLAGS}[kind].items():
            found = detector(before.reshape(-1, 1)).predict(after.reshape(-1, 1), drift_type="feature")["data"]
            values.setdefault(method, {})[name] = float(found["distance"][0])
            p_values.setdefault(method, {})[name] = float(found["p_val"][0])
    tables = [np.column_stack(list(table.values())) for table in inputs.wide()]
    start = time.perf_counter()
    KSDrift(tables[0]).predict(tables[1])
    print(
        json.dumps(
            {
                "tool": "alibi-detect",
                "version": __version__,
                "values": values,
                "p_values": p_values,
                "timed": "KSDrift",
                "seconds": time.perf_counter() - start,
            }
        )
    )


if __name__ == "__main__":
    main()
