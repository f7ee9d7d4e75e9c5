"""Constant and frozen columns: one value, or one narrow cell of the reference, holds nearly all rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftwell.profiles.profile import State
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericState
from driftwell.quality.rules import Rule
from driftwell.quality.verdicts import Sides, chance, verdict
from driftwell.results import QualityVerdict

__all__ = ["judge_frozen"]

JUMPS = (0.3, 0.5)  # of the share of one value: warning, critical
CONSTANT_JUMPS = (0.0, 0.1)

Ints = npt.NDArray[np.int64]


def judge_frozen(rule: Rule, sides: Sides) -> QualityVerdict:
    """The fullest cell against its share in the reference; a column that lost its last variation is frozen too."""
    before, after = (_cells(side) for side in (sides.reference, sides.current))
    n, m = int(before.sum()), int(after.sum())
    constant = _constant(sides.current)
    cell = _fullest(sides.current, after)
    open_end = _unbounded(sides.current, cell)
    held = m if constant is not None else 0 if open_end else int(after[cell])
    known = 0 if open_end else int(before[cell])
    usual = known / n if n else 0.0
    share = held / m if m else 0.0
    step, p = _step(rule, share, share - usual), None
    if step and not rule.given:
        p = min(1.0, int(np.count_nonzero(before)) * chance(known, n, held, m))  # whichever cell was the fullest
        step = step if p <= sides.alpha else 0
    what = _name(sides.current, cell) if constant is None else f"the value {constant}"
    words = f"{share:.1%} of {m:,} values are {what}, {usual:.1%} of the reference's"
    examples = () if constant is None else (constant,)
    return verdict(rule, step, m, held, words, value=share, threshold=rule.limit, p=p, examples=examples)


def _step(rule: Rule, share: float, jump: float) -> int:
    """Constant columns are judged more strictly than those in which one value holds nearly all rows."""
    if share <= rule.limit:
        return 0
    warn, worst = CONSTANT_JUMPS if share == 1.0 else JUMPS
    return 2 if jump >= worst else 1 if jump >= warn or rule.given else 0


def _cells(state: State) -> Ints:
    assert isinstance(state, NumericState | CategoricalState)
    return state.cell_counts if isinstance(state, NumericState) else state.counts


def _unbounded(state: State, cell: int) -> bool:
    """The cells of numbers below and above the reference's, and the one of all categories it did not name."""
    cells = _cells(state)
    return cell == len(cells) - 1 or (isinstance(state, NumericState) and cell == 0)


def _fullest(state: State, counts: Ints) -> int:
    """The cell with most rows; an unbounded one holds many values and counts only where nothing else does."""
    inner = counts.copy()
    inner[[cell for cell in (0, len(counts) - 1) if _unbounded(state, cell)]] = 0
    return int(inner.argmax() if inner.any() else counts.argmax())


def _constant(state: State) -> str | float | None:
    """The one value that every row with a value holds; None where there are several."""
    if isinstance(state, NumericState):
        return state.min if state.count == state.finite > 0 and state.min == state.max else None
    assert isinstance(state, CategoricalState)
    if state.distinct != 1:
        return None
    assert state.vocabulary is not None
    return next(iter(state.newcomers), None) or state.vocabulary.categories[int(state.counts.argmax())]


def _name(state: State, cell: int) -> str:
    if isinstance(state, CategoricalState) and state.vocabulary is not None:
        names = state.vocabulary.categories
        return f"the value {names[cell]}" if cell < len(names) else "categories the reference never had"
    assert isinstance(state, NumericState)
    assert state.bins is not None
    edges = [-math.inf, *state.bins.edges.tolist(), math.inf]
    low, high = edges[cell], edges[cell + 1]
    return f"the value {low:g}" if state.bins.atoms[cell] else f"between {low:g} and {high:g}"
