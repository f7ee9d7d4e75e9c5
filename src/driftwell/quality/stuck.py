"""Texts and vectors that are the same in every row, told from their facets."""

from __future__ import annotations

import numpy as np

from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState
from driftwell.profiles.states.numeric import NumericState
from driftwell.profiles.states.vectors import PROJECTIONS

__all__ = ["is_constant", "usual_share"]

TELLING: dict[str, tuple[str, ...]] = {"text": ("length", "repeats"), "vector": ("norm", *PROJECTIONS)}
"""Facets of which equal values all have one value, and different ones hardly ever."""


def is_constant(state: CompositeState) -> bool:
    """Whether all rows with a value hold the same one: a text by its hash, a vector by norm and projections."""
    parts = [state.facets.get(name) for name in TELLING.get(state.kind, ())]
    return bool(parts) and state.count > 0 and all(_one_value(part) for part in parts)


def _one_value(part: NumericState | CategoricalState | None) -> bool:
    if isinstance(part, NumericState):
        return part.count == part.finite > 0 and part.min == part.max
    return part is not None and part.distinct == 1


def usual_share(reference: CompositeState, current: CompositeState) -> tuple[int, int, int]:
    """``(rows, of so many, cells)``: how many reference rows can at most have held the one value of the current rows.

    Each numeric facet bounds them by its cell that holds the value now; the least bound stands, with the number of
    cells it was chosen among.
    """
    found = [(reference.count, 1)]
    for name in TELLING[current.kind]:
        before, now = reference.facets.get(name), current.facets.get(name)
        if isinstance(before, NumericState) and isinstance(now, NumericState):
            counts = before.cell_counts
            found.append((int(counts[int(now.cell_counts.argmax())]), int(np.count_nonzero(counts))))
    known, cells = min(found)
    return known, reference.count, cells
