"""Constant and frozen columns: one value, or one narrow cell of the reference, holds nearly all rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftwell.profiles.profile import State
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState
from driftwell.profiles.states.numeric import NumericState
from driftwell.quality.rules import Rule
from driftwell.quality.stuck import is_constant, usual_share
from driftwell.quality.verdicts import Sides, chance, verdict
from driftwell.quality.words import apart, short
from driftwell.results import QualityVerdict

__all__ = ["judge_frozen"]

JUMPS = (0.3, 0.5)  # of the share of one value: warning, critical
COMMON = 0.04  # of the reference: a value that may fill a window, as one hour, weekday or month does
CONSTANT_JUMPS = (0.0, 0.1)

Ints = npt.NDArray[np.int64]


def judge_frozen(rule: Rule, sides: Sides) -> QualityVerdict:
    """The fullest cell against its share in the reference; a column that lost its last variation is frozen too."""
    if isinstance(sides.current, CompositeState):
        return _judge_composite(rule, sides)
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
    if step == 2 and usual >= COMMON and not rule.given and not _stuck(sides.reference, share, usual):
        step = 1
    if step and not rule.given:
        p = min(1.0, int(np.count_nonzero(before)) * chance(known, n, held, m))  # whichever cell was the fullest
        step = step if p <= sides.alpha else 0
    what = _name(sides.current, cell) if constant is None else f"the value {_quoted(constant)}"
    words = f"{share:.1%} of {m:,} values are {what}, {usual:.1%} of the reference's"
    examples = () if constant is None else (constant,)
    return verdict(rule, step, m, held, words, value=share, threshold=rule.limit, p=p, examples=examples)


def _judge_composite(rule: Rule, sides: Sides) -> QualityVerdict:
    """Texts or vectors of which all are the same one; what holds nearly all of them is not known."""
    assert isinstance(sides.reference, CompositeState)
    assert isinstance(sides.current, CompositeState)
    m = sides.current.count
    if not is_constant(sides.current):
        return verdict(rule, 0, m, 0, "the values are not all the same", threshold=rule.limit)
    known, n, cells = usual_share(sides.reference, sides.current)
    usual = known / n if n else 0.0
    step, p = 2 if usual < COMMON else int(1.0 - usual >= JUMPS[0]), None
    if step and not rule.given:
        p = min(1.0, cells * chance(known, n, m, m))
        step = step if p <= sides.alpha else 0
    words = f"all {m:,} values are the same one, at most {usual:.1%} of the reference's"
    return verdict(rule, step, m, m, words, value=1.0, threshold=rule.limit, p=p)


def _step(rule: Rule, share: float, jump: float) -> int:
    """Constant columns are judged more strictly than those in which one value holds nearly all rows."""
    if share <= rule.limit:
        return 0
    warn, worst = CONSTANT_JUMPS if share == 1.0 else JUMPS
    return 2 if jump >= worst else 1 if jump >= warn or rule.given else 0


def _stuck(reference: State, share: float, usual: float) -> bool:
    """Whether a column of measurements, not of a few codes, hangs at the one value that it often had before."""
    continuous = isinstance(reference, NumericState) and reference.distinct is None
    return continuous and share == 1.0 and share - usual >= JUMPS[1]


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
        same = state.count == state.finite > 0 and state.min is not None and state.min == state.max
        return short(state.min) if same and state.min is not None else None
    assert isinstance(state, CategoricalState)
    if state.distinct != 1:
        return None
    assert state.vocabulary is not None
    newcomer = next(iter(state.newcomers), None)
    return state.vocabulary.categories[int(state.counts.argmax())] if newcomer is None else newcomer


def _name(state: State, cell: int) -> str:
    if isinstance(state, CategoricalState) and state.vocabulary is not None:
        names = state.vocabulary.categories
        return f"the value {_quoted(names[cell])}" if cell < len(names) else "categories the reference never had"
    assert isinstance(state, NumericState)
    assert state.bins is not None
    edges = [-math.inf, *state.bins.edges.tolist(), math.inf]
    low, high = edges[cell], edges[cell + 1]
    words = apart(low, high)
    return f"the value {words[0]}" if state.bins.atoms[cell] else f"between {words[0]} and {words[1]}"


def _quoted(value: str | float) -> str:
    """The value as it stands; one that could not be seen, in quotes."""
    return repr(value) if isinstance(value, str) and not value.strip() else str(value)
