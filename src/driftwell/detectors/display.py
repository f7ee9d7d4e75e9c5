"""Distributions for charts: a few bars a column and side, from the same states the verdicts came from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.univariate import Pair
from driftwell.frame import text_of
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState
from driftwell.profiles.states.numeric import NumericState

__all__ = ["distribution"]

INNER_BARS = 30
ECDF_POINTS = 80
MAX_LABELS = 20

Floats = npt.NDArray[np.float64]


def distribution(pair: Pair) -> dict[str, Any] | None:
    """Shares of both sides over display bins or labels, with missing shares; None when a side is empty or the column
    is made of facets, which are drawn one by one."""
    a, b = pair.reference, pair.current
    if isinstance(a, CompositeState) or isinstance(b, CompositeState):
        return None
    if isinstance(a, NumericState) and isinstance(b, NumericState):
        if not a.finite or not b.finite or a.bins is None:
            return None
        out = _values(a, b) if _is_discrete(a) else _bars(a, b)
        missing = (a.missing + a.nan, b.missing + b.nan)
        out["stats"] = {"reference": _stats(a), "current": _stats(b)}
    else:
        assert isinstance(a, CategoricalState)
        assert isinstance(b, CategoricalState)
        if not a.count or not b.count:
            return None
        out = _labels(a, b)
        missing = (a.missing, b.missing)
    rows = (a.n_rows, b.n_rows)
    out["missing"] = {"reference": missing[0] / rows[0], "current": missing[1] / rows[1]}
    return out


def _stats(state: NumericState) -> dict[str, float | None]:
    return {"mean": state.mean, "std": state.std, "min": state.min, "max": state.max}


def _is_discrete(state: NumericState) -> bool:
    assert state.bins is not None
    atoms = state.bins.atoms
    return bool(np.count_nonzero(atoms) <= MAX_LABELS and state.counts[~atoms].sum() == 0)


def _values(a: NumericState, b: NumericState) -> dict[str, Any]:
    """Numbers of few distinct values: one bar a value."""
    assert a.bins is not None
    at = np.flatnonzero(a.bins.atoms)
    labels = [text_of(v) for v in a.bins.edges[at - 1]]
    p, q = a.counts / a.finite, b.counts / b.finite
    other = 1 - q[at].sum()
    return {
        "type": "categorical",
        "labels": [*labels, "(other)"] if other > 1e-12 else labels,
        "reference": [*p[at].tolist(), 0.0] if other > 1e-12 else p[at].tolist(),
        "current": [*q[at].tolist(), float(other)] if other > 1e-12 else q[at].tolist(),
    }


def _bars(a: NumericState, b: NumericState) -> dict[str, Any]:
    """Equal-width bars over the middle 99 % of both sides, one open bar at each end, from the cumulated cells."""
    low = min(_or(a.quantile(0.005)), _or(b.quantile(0.005)))
    high = max(_or(a.quantile(0.995)), _or(b.quantile(0.995)))
    first, last = min(_or(a.min), _or(b.min)), max(_or(a.max), _or(b.max))
    share = np.linspace(0, 1, INNER_BARS + 1)
    edges = np.unique(np.concatenate(([first], low * (1 - share) + high * share, [last])))
    if len(edges) < 2:
        edges = np.array([first, np.nextafter(last, np.inf)])
    assert a.bins is not None
    points = np.unique(a.bins.edges[np.linspace(0, len(a.bins.edges) - 1, ECDF_POINTS).astype(int)])
    return {
        "type": "numeric",
        "edges": edges.tolist(),
        "reference": _shares(a, edges).tolist(),
        "current": _shares(b, edges).tolist(),
        "ecdf": {
            "x": points.tolist(),
            "reference": _cumulated(a, points).tolist(),
            "current": _cumulated(b, points).tolist(),
        },
    }


def _shares(state: NumericState, edges: Floats) -> Floats:
    """Share of values between the edges; the outer two hold all values."""
    return np.diff(np.concatenate(([0.0], _cumulated(state, edges)[1:-1], [1.0])))


def _cumulated(state: NumericState, at: Floats) -> Floats:
    """Share of values below each point, straight lines inside cells."""
    assert state.bins is not None
    inner = state.bins.edges
    # The outer cells end at the extremes seen, where those lie beyond the edges.
    first, last = min(_or(state.min), inner[0]), max(_or(state.max), inner[-1])
    edges = np.concatenate(([first], inner, [last]))
    shares = np.concatenate(([0.0], np.cumsum(state.counts) / state.finite))
    cell = np.clip(np.searchsorted(edges, at, "right") - 1, 0, len(edges) - 2)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        inside = (at - edges[cell]) / (edges[cell + 1] - edges[cell])
    inside = np.clip(np.nan_to_num(inside, nan=1.0), 0.0, 1.0)  # no width, or one beyond float64
    return np.asarray(shares[cell] + (shares[cell + 1] - shares[cell]) * inside, np.float64)


def _labels(a: CategoricalState, b: CategoricalState) -> dict[str, Any]:
    names = list(a.vocabulary.categories) if a.vocabulary else []
    counts: dict[str, tuple[int, int]] = {
        name: (int(x), int(y)) for name, x, y in zip(names, a.counts, b.counts, strict=False)
    }
    for name in a.newcomers.keys() | b.newcomers.keys():
        counts[name] = (a.newcomers.get(name, 0), b.newcomers.get(name, 0))
    share = {name: (x / a.count, y / b.count) for name, (x, y) in counts.items()}
    shown = sorted(share, key=lambda name: (-max(share[name]), name))[:MAX_LABELS]
    rest = [1 - sum(share[name][side] for name in shown) for side in (0, 1)]
    labels, reference, current = shown, [share[n][0] for n in shown], [share[n][1] for n in shown]
    if max(rest) > 1e-9:
        labels, reference, current = [*labels, "(other)"], [*reference, rest[0]], [*current, rest[1]]
    return {"type": "categorical", "labels": labels, "reference": reference, "current": current}


def _or(value: float | None) -> float:
    return 0.0 if value is None else value
