"""The kinds of rules, and how each is learned from a reference: pure, from its counts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from driftwell.profiles.profile import State
from driftwell.profiles.reference import Reference
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState
from driftwell.profiles.states.numeric import NumericState
from driftwell.quality.options import COLUMN_RULES, MARGINS, TABLE_RULES, check_options
from driftwell.quality.stuck import is_constant

__all__ = ["RULES", "Rule", "expected_volume", "learn_rules", "missing_rows"]

RULES: dict[str, str] = {name: about.meaning for name, about in COLUMN_RULES.items()} | TABLE_RULES
"""Every kind of rule, with what it says."""

CLOSED_CATEGORIES = 50
CLOSED_ROWS = 10
ONE_VALUE = 0.95
EARLIER_WINDOWS = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one column, or of the rows as a whole (``column`` None).

    ``limit`` is a kind for ``type``, a largest share for ``missing``, ``invalid``, ``frozen`` and ``duplicates``,
    ``(low, high)`` for ``range`` and ``volume``, names for ``allowed``, a timedelta for ``freshness``. A rule that
    was ``given`` is judged by its limit alone; a learned one also against chance.
    """

    kind: str
    column: str | None
    limit: Any
    given: bool = False


def learn_rules(reference: Reference, settings: Mapping[str, Any] | None = None) -> tuple[Rule, ...]:
    """The rules a reference implies, with those of ``settings`` in their place.

    Parameters
    ----------
    settings
        ``{column: {rule: limit}}`` with ``"*"`` for every column and for the rules of the rows as a whole; ``False``
        for a rule, or for a column, switches it off, ``True`` keeps what was learned.

    Raises
    ------
    UnknownName
        There is no such rule or column; the message names the nearest.
    BadInput
        A limit cannot be used, or the rule does not read columns of this kind.

    Notes
    -----
    A column of one single value in the reference teaches no ``frozen`` rule, one without values no ``range``.
    ``allowed`` is learned where the reference was closed: at most 50 categories, each seen at least 10 times.
    ``duplicates`` is learned where at most 5 % of the rows repeated an earlier one, and no outputs told them apart.
    ``volume`` and ``freshness`` are never learned from a reference, which knows no windows.

    Examples
    --------
    >>> ref = Reference.from_data({"age": [31.0, 44.0, 52.0]})
    >>> rules = learn_rules(ref, {"age": {"range": [0, 120], "missing": False}})
    >>> [rule.limit for rule in rules if rule.kind == "range"], "missing" in {rule.kind for rule in rules}
    ([(0.0, 120.0)], False)
    """
    reference = reference.in_rows
    given = check_options(settings, reference.kinds)
    rules: list[Rule] = []
    for column, kind in reference.kinds.items():
        for name, about in COLUMN_RULES.items():
            if about.kinds is None or kind in about.kinds:
                limit = given.get((column, name), given.get(("*", name), True))
                learned = LEARN[name](kind, reference.profile.columns[column]) if limit is True else None
                rules += _rule(name, column, limit, learned)
    for name in TABLE_RULES:
        limit = given.get(("*", name), True)
        rules += _rule(name, None, limit, LEARN_ROWS[name](reference) if limit is True else None)
    return tuple(rules)


def _rule(name: str, column: str | None, limit: Any, learned: Any) -> list[Rule]:
    if limit is False or (limit is True and learned is None):
        return []
    return [Rule(name, column, learned)] if limit is True else [Rule(name, column, limit, given=True)]


def expected_volume(counts: Iterable[int]) -> tuple[int, int] | None:
    """Fewest and most rows to expect of a window, from those before it: half the least to twice the most of them.

    None below five windows.

    Examples
    --------
    >>> expected_volume([120, 100, 90, 110, 150])
    (45, 300)
    """
    known = list(counts)
    return (min(known) // 2, max(known) * 2) if len(known) >= EARLIER_WINDOWS else None


def missing_rows(state: State) -> int:
    """Rows without a value: null or NaN, but not the cells that held something unreadable."""
    nan = state.nan if isinstance(state, NumericState) else 0
    return max(0, state.missing + nan - state.invalid)


def _missing(_: str, state: State) -> float:
    return min(1.0, missing_rows(state) / max(state.n_rows, 1) + MARGINS["missing"][0])


def _invalid(_: str, state: State) -> float:
    return min(1.0, state.invalid / max(state.n_rows, 1) + MARGINS["invalid"][0])


def _range(_: str, state: State) -> tuple[float, float] | None:
    if not isinstance(state, NumericState) or state.min is None or state.max is None:
        return None
    return (state.min, state.max)


def _allowed(_: str, state: State) -> tuple[str, ...] | None:
    if not isinstance(state, CategoricalState) or state.vocabulary is None or state.other or not state.count:
        return None
    names = state.vocabulary.categories
    closed = len(names) <= CLOSED_CATEGORIES and int(state.counts[:-1].min()) >= CLOSED_ROWS
    return names if closed else None


def _frozen(_: str, state: State) -> float | None:
    if isinstance(state, CompositeState) and is_constant(state):
        return None
    return None if state.distinct is not None and state.distinct < 2 else ONE_VALUE


def _duplicates(reference: Reference) -> float | None:
    """Only where repeats are rare: in a table of few distinct rows they are the rule. Outputs and labels tell rows
    apart in the reference, but need not be among the rows judged."""
    if reference.history is None or reference.output_bins or "true_label" in reference.roles:
        return None
    share = reference.history.repeated / reference.n_rows
    return share + MARGINS["duplicates"][0] if share <= MARGINS["duplicates"][0] else None


LEARN: dict[str, Callable[[str, State], Any]] = {
    "type": lambda kind, _: kind,
    "invalid": _invalid,
    "missing": _missing,
    "range": _range,
    "allowed": _allowed,
    "frozen": _frozen,
}

LEARN_ROWS: dict[str, Callable[[Reference], Any]] = {
    "duplicates": _duplicates,
    "volume": lambda _: None,
    "freshness": lambda _: None,
}
