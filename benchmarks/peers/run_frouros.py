"""The batch detectors of frouros on the shared columns, and their time. Runs in the environment of frouros."""

from __future__ import annotations

import importlib.metadata
import json
import time
import warnings

import inputs
import numpy as np
from frouros.detectors.data_drift import (
    EMD,
    JS,
    KL,
    MMD,
    PSI,
    BhattacharyyaDistance,
    ChiSquareTest,
    CVMTest,
    EnergyDistance,
    HellingerDistance,
    HINormalizedComplement,
    KSTest,
    MannWhitneyUTest,
    WelchTTest,
)

DISTANCES = {
    "psi": PSI,
    "hellinger": HellingerDistance,
    "bhattacharyya": BhattacharyyaDistance,
    "histogram_intersection": HINormalizedComplement,
    "jensen_shannon": JS,
    "kl": KL,
    "emd": EMD,
    "energy": EnergyDistance,
}
TESTS = {"ks": KSTest, "cramer_von_mises": CVMTest, "mann_whitney": MannWhitneyUTest, "welch_t_test": WelchTTest}


def compared(detector: type, before: np.ndarray, after: np.ndarray) -> tuple[float, ...]:
    fitted = detector()
    fitted.fit(X=before)
    return tuple(fitted.compare(X=after)[0])


def main() -> None:
    warnings.simplefilter("ignore")
    values: dict[str, dict[str, float]] = {}
    p_values: dict[str, dict[str, float]] = {}
    for name, (kind, before, after) in inputs.columns().items():
        if kind != "numeric":
            found = compared(ChiSquareTest, before, after)
            values.setdefault("frouros.chi_squared", {})[name] = float(found[0])
            p_values.setdefault("frouros.chi_squared", {})[name] = float(found[1])
            continue
        if np.isnan(before.astype(float)).any():
            continue  # NaN is not handled
        for method, detector in DISTANCES.items():
            values.setdefault(f"frouros.{method}", {})[name] = float(compared(detector, before, after)[0])
        for method, detector in TESTS.items():
            statistic, p = compared(detector, before, after)
            values.setdefault(f"frouros.{method}", {})[name] = float(statistic)
            p_values.setdefault(f"frouros.{method}", {})[name] = float(p)
    values["frouros.mmd"] = {"rows": float(compared(MMD, *inputs.rows())[0])}
    before, after = inputs.wide()
    start = time.perf_counter()
    for name in before:
        compared(PSI, before[name], after[name])
    print(
        json.dumps(
            {
                "tool": "frouros",
                "version": importlib.metadata.version("frouros"),
                "values": values,
                "p_values": p_values,
                "timed": "PSI, column by column",
                "seconds": time.perf_counter() - start,
            }
        )
    )


if __name__ == "__main__":
    main()
