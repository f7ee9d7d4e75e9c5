"""Each rule of a column, judged from two states: the reference's and the current one's, counted in the same bins."""

from __future__ import annotations

from collections.abc import Callable

from driftwell.profiles.profile import State
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericState
from driftwell.quality.frozen import judge_frozen
from driftwell.quality.options import MARGINS
from driftwell.quality.outside import at_least_outside
from driftwell.quality.rules import Rule, missing_rows
from driftwell.quality.verdicts import Sides, chance, judge_share, verdict
from driftwell.quality.words import apart, short
from driftwell.results import QualityVerdict

__all__ = ["JUDGES"]

FAR = 3.0  # widths of the reference's range beyond its ends: where no drift goes, but another unit does
SPREAD = 10.0  # times the reference's standard deviation
FAR_SHARES = (0.001, 0.01)  # of values that far outside: warning, critical
OUTSIDE_SHARE = 0.1  # of values anywhere outside: warning
GIVEN_SHARE = 0.01  # of values outside a range given by hand: critical


def _type(rule: Rule, sides: Sides) -> QualityVerdict:
    return verdict(rule, 0, sides.current.n_rows, 0, f"the values are {rule.limit}, as in the reference")


def _missing(rule: Rule, sides: Sides) -> QualityVerdict:
    before, after = ((missing_rows(side), side.n_rows) for side in (sides.reference, sides.current))
    return judge_share(rule, rule.limit, before, after, sides.alpha, "have no value")


def _invalid(rule: Rule, sides: Sides) -> QualityVerdict:
    before, after = ((side.invalid, side.n_rows) for side in (sides.reference, sides.current))
    kind = sides.current.kind
    return judge_share(rule, rule.limit, before, after, sides.alpha, f"hold something that cannot be read as {kind}")


def _allowed(rule: Rule, sides: Sides) -> QualityVerdict:
    reference, current = sides.reference, sides.current
    assert isinstance(current, CategoricalState)
    assert current.vocabulary is not None
    names = set(rule.limit)
    cells = zip(current.vocabulary.categories, current.counts[:-1].tolist(), strict=True)
    seen = {name: count for name, count in cells if count} | current.newcomers
    strange = {name: count for name, count in seen.items() if name not in names}
    unnamed = current.other - sum(current.newcomers.values())  # of so many newcomers that not all have a name
    count = sum(strange.values()) + unnamed
    examples = tuple(sorted(strange, key=lambda name: (-strange[name], name)))
    limit = 0.0 if rule.given else MARGINS["allowed"][0]
    what = "hold a category that is not allowed" if rule.given else "hold a category that the reference never had"
    before, after = (0, reference.count), (count, current.count)
    return judge_share(rule, limit, before, after, sides.alpha, what, examples)


def _range(rule: Rule, sides: Sides) -> QualityVerdict:
    return _within(rule, sides.current) if rule.given else _within_reference(rule, sides)


def _within(rule: Rule, state: State) -> QualityVerdict:
    """A range given by hand: any value outside counts."""
    assert isinstance(state, NumericState)
    low, high = rule.limit
    m, count = state.count, at_least_outside(state, low, high)
    share = count / m if m else 0.0
    step = 0 if not count else 1 if share <= GIVEN_SHARE else 2
    words = f"at least {count:,} of {m:,} values lie outside {' to '.join(apart(low, high))}"
    return verdict(rule, step, m, count, words, value=share, threshold=0.0, examples=_extremes(state, low, high))


def _within_reference(rule: Rule, sides: Sides) -> QualityVerdict:
    """The reference's own range: a new largest value is no fault, many values outside are odd, and values so far
    outside that no drift explains them are a fault where the spread of the column grew with them: a shift moves
    values together, another unit pulls them apart."""
    state = sides.current
    assert isinstance(state, NumericState)
    assert isinstance(sides.reference, NumericState)
    low, high = rule.limit
    reach = FAR * (high - low)
    m, count = state.count, int(state.cell_counts[0] + state.cell_counts[-1])
    far = at_least_outside(state, low - reach, high + reach) if count and reach > 0 else 0
    step, p = _range_step(count, far, m, pulled_apart=_pulled_apart(sides.reference, state)), None
    if step:  # any split of the count between below and above: one term of the union each
        p = min(1.0, (count + 1) * chance(0, sides.reference.count, count, m))
        step = step if p <= sides.alpha else 0
    words = f"{count:,} of {m:,} values lie outside the reference's {' to '.join(apart(low, high))}"
    words += f", at least {far:,} of them by more than {FAR:g} times its width" if far else ""
    return verdict(
        rule, step, m, count, words, value=count / m if m else 0.0, threshold=OUTSIDE_SHARE, p=p,
        examples=_extremes(state, low, high),
    )  # fmt: skip


def _range_step(count: int, far: int, m: int, *, pulled_apart: bool) -> int:
    """Many values outside are a warning, few far outside as well; more of those, pulled apart, are critical."""
    if not count:
        return 0
    warn, worst = FAR_SHARES
    return 2 if pulled_apart and far >= worst * m else int(far >= warn * m or count >= OUTSIDE_SHARE * m)


def _pulled_apart(reference: NumericState, current: NumericState) -> bool:
    """Whether the standard deviation grew many times over, or values became infinite."""
    grew = bool(reference.std and current.std and current.std >= SPREAD * reference.std)
    return grew or current.neg_inf + current.pos_inf > 0


def _extremes(state: NumericState, low: float, high: float) -> tuple[float, ...]:
    ends = (x for x in (state.max, state.min) if x is not None and not low <= x <= high)
    return tuple(dict.fromkeys(map(short, ends)))


JUDGES: dict[str, Callable[[Rule, Sides], QualityVerdict]] = {
    "type": _type,
    "invalid": _invalid,
    "missing": _missing,
    "range": _range,
    "allowed": _allowed,
    "frozen": judge_frozen,
}
