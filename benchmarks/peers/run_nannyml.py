"""NannyML's univariate drift on the shared columns, and its time. Runs in NannyML's environment."""

from __future__ import annotations

import json
import os
import time
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # read at import

import inputs
import nannyml
import pandas as pd

CONTINUOUS = ["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"]
CATEGORICAL = ["chi2", "jensen_shannon", "l_infinity", "hellinger"]


def drift(reference: pd.DataFrame, current: pd.DataFrame, methods: list[str], kind: str) -> pd.DataFrame:
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(reference),
        **(
            {"treat_as_categorical": list(reference), "categorical_methods": methods}
            if kind != "numeric"
            else {"treat_as_numerical": list(reference), "continuous_methods": methods}
        ),
        chunker=nannyml.chunk.SizeBasedChunker(len(current), incomplete="append"),
    )
    return calculator.fit(reference).calculate(current).filter(period="analysis").to_df()


def main() -> None:
    warnings.simplefilter("ignore")
    values: dict[str, dict[str, float]] = {}
    thresholds: dict[str, dict[str, float]] = {}
    for name, (kind, *sides) in inputs.columns().items():
        methods = CONTINUOUS if kind == "numeric" else CATEGORICAL
        tables = [pd.DataFrame({"x": side}) for side in sides]
        found = drift(*tables, methods, kind)
        for method in methods:
            values.setdefault(f"nannyml.{method}", {})[name] = float(found[("x", method, "value")].iloc[0])
            if name == "normal":  # learned from the three chunks of the reference
                upper = found[("x", method, "upper_threshold")].iloc[0]
                thresholds[f"nannyml.{method}"] = {name: float(upper)}
    before, after = (pd.DataFrame(table) for table in inputs.wide())
    start = time.perf_counter()
    drift(before, after, ["jensen_shannon"], "numeric")
    print(
        json.dumps(
            {
                "tool": "nannyml",
                "version": nannyml.__version__,
                "values": values,
                "p_values": {},
                "thresholds": thresholds,
                "timed": "UnivariateDriftCalculator (Jensen-Shannon), fit and one chunk",
                "seconds": time.perf_counter() - start,
            }
        )
    )


if __name__ == "__main__":
    main()
