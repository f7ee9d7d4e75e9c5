"""The columns every peer is given, from seeds: NumPy alone, for it runs in the environment of each peer."""

from __future__ import annotations

import numpy as np

RECIPE = "benchmarks/peers/inputs.py: numpy.random.default_rng(7), columns drawn in the order of the file"

Column = tuple[str, np.ndarray, np.ndarray]


def columns() -> dict[str, Column]:
    """``name -> (kind, reference, current)``; kind is ``numeric``, ``categorical`` or ``flag`` (0 and 1)."""
    rng = np.random.default_rng(7)
    out: dict[str, Column] = {}
    out["normal"] = "numeric", rng.normal(0, 1, 3_000), rng.normal(0.3, 1.2, 1_000)
    out["skewed"] = "numeric", np.exp(rng.normal(0, 1, 900)), np.exp(rng.normal(0.4, 1, 400))
    out["small"] = "numeric", rng.normal(5, 2, 18), rng.normal(6, 2, 15)
    out["outlier"] = "numeric", rng.normal(0, 1, 2_000), np.append(rng.normal(1, 1, 1_999), 1e6)
    out["far"] = "numeric", rng.normal(0, 1, 12_000), rng.normal(1, 1.5, 3_000)
    out["ratings"] = "numeric", _weighted(rng, 800, 1, 3, 4, 2), _weighted(rng, 500, 1, 2, 3, 3)
    out["counts"] = "numeric", np.floor(np.exp(rng.normal(3, 0.8, 1_500))).astype(np.int64), _counts(rng, 900)
    out["missing"] = "numeric", _holed(rng.normal(0, 1, 1_200), 7), _holed(rng.normal(0.2, 1, 800), 5)
    names = np.array(["Bergen", "Bodø", "Oslo", "Tromsø", "Voss"])
    out["cities"] = "categorical", names[_weighted(rng, 1_500, 5, 2, 8, 0, 1)], names[_weighted(rng, 600, 5, 3, 7, 0.3)]
    out["towns"] = "categorical", names[_weighted(rng, 700, 5, 2, 8, 1)], names[_weighted(rng, 700, 5, 3, 7, 1)]
    out["choice"] = "categorical", names[_weighted(rng, 400, 5, 2)], names[_weighted(rng, 400, 4, 3)]
    out["flag"] = "flag", _weighted(rng, 500, 4, 1), _weighted(rng, 300, 3, 1)
    return out


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Two samples of whole rows, shapes ``(150, 3)`` and ``(100, 3)``."""
    rng = np.random.default_rng(9)
    return rng.normal(size=(150, 3)), rng.normal(0.4, 1, size=(100, 3))


def wide(rows: int = 100_000, width: int = 20) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two tables of floats for the times."""
    rng = np.random.default_rng(8)
    names = [f"c{i:02}" for i in range(width)]
    return tuple({name: rng.normal(size=rows) for name in names} for _ in range(2))  # type: ignore[return-value]


def records(rows: int = 2_000, width: int = 20) -> list[dict[str, object]]:
    """Rows as an application has them, for the recorders: numbers, every fifth a short text."""
    rng = np.random.default_rng(10)
    names = [f"feature_{i:03}" for i in range(width)]
    return [
        {
            name: str(rng.choice(["UA", "DL", "AA"])) if i % 5 == 4 else float(rng.normal(0, 100))
            for i, name in enumerate(names)
        }
        for _ in range(rows)
    ]


def _weighted(rng: np.random.Generator, rows: int, *weights: float) -> np.ndarray:
    """Positions 0, 1, … with these weights."""
    return np.searchsorted(np.cumsum(weights) / np.sum(weights), rng.random(rows), "right").astype(np.int64)


def _counts(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.floor(np.exp(rng.normal(3.2, 0.7, rows))).astype(np.int64)


def _holed(values: np.ndarray, every: int) -> np.ndarray:
    values[::every] = np.nan
    return values
