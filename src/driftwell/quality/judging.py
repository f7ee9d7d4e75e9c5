"""From rules and a profile to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwell.config import format_duration
from driftwell.profiles.profile import Profile
from driftwell.profiles.reference import Reference
from driftwell.quality.columns import JUDGES
from driftwell.quality.examples import judge_duplicates, with_examples
from driftwell.quality.result import QualityResult, result_of
from driftwell.quality.rules import Rule, learn_rules
from driftwell.quality.verdicts import Sides, verdict
from driftwell.results import QualityVerdict, Severity

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ALPHA", "judge_quality"]

ALPHA = 0.001
"""Chance of any failed verdict on unchanged rows: shared out evenly among the learned rules (Bonferroni)."""

BEYOND = 2  # times the limit of volume or freshness: critical


def judge_quality(
    reference: Reference,
    profile: Profile,
    *,
    rows: pa.Table | Callable[[], pa.Table] | None = None,
    rules: Sequence[Rule] | None = None,
    volume: tuple[int, int] | None = None,
    freshness: timedelta | None = None,
) -> QualityResult:
    """Judge a profile by the rules of its reference; what fails here is broken, not drifted.

    Parameters
    ----------
    profile
        Counted in the reference's bins. A column that was not asked for (neither counted nor unread) is left out.
    rows
        The rows of the profile, or a function that reads some of them: for examples, which are looked up only for
        what failed, and for ``duplicates`` (no rows are read for a learned rule alone). Columns are named as in the
        reference.
    rules
        As ``learn_rules`` gives them; None learns them.
    volume
        Fewest and most rows expected, in place of the rule's own limit, as learned from earlier windows.
    freshness
        Age of the newest row; None where there is none.

    Notes
    -----
    Unchanged rows fail any rule at all with a chance of at most ``ALPHA`` = 0.001: the learned rules are tested at
    ``ALPHA`` over their number. Rules given by hand are judged by their limit alone. Cost: some microseconds a rule,
    whatever the number of rows; scipy is loaded only for what lies beyond its limit.

    Examples
    --------
    >>> ref = Reference.from_data({"age": [float(x % 80) for x in range(1000)]})
    >>> found = judge_quality(ref, ref.profile_of({"age": [float(x % 80) * 1000 for x in range(200)]}))
    >>> found.status, found.broken, found.verdicts[0].rule
    ('critical', ('age',), 'range')
    """
    reference = reference.in_rows
    chosen = learn_rules(reference) if rules is None else rules
    alpha = ALPHA / max(1, sum(not rule.given for rule in chosen))
    found = [one for rule in chosen if rule.column is not None for one in _column(rule, reference, profile, alpha)]
    found = with_examples(found, chosen, reference, rows)
    for rule in chosen:
        if rule.kind == "duplicates" and rows is not None and (rule.given or not callable(rows)):
            found.append(judge_duplicates(rule, reference, rows() if callable(rows) else rows, alpha))
        elif rule.kind == "volume":
            found.append(_volume(rule, volume, profile.n_rows))
        elif rule.kind == "freshness":
            found.append(_freshness(rule, freshness))
    return result_of(found)


def _column(rule: Rule, reference: Reference, profile: Profile, alpha: float) -> list[QualityVerdict]:
    """The verdict on one column; none where the column was not asked for, or only its type can be judged."""
    name = str(rule.column)
    state = profile.columns.get(name)
    if state is not None and state.n_rows:
        return [JUDGES[rule.kind](rule, Sides(reference.profile.columns[name], state, alpha))]
    if rule.kind == "type" and state is None and name in profile.unread:
        return [verdict(rule, 2, profile.n_rows, profile.n_rows, profile.unread[name])]
    return []


def _volume(rule: Rule, expected: tuple[int, int] | None, n: int) -> QualityVerdict:
    limits = expected if expected is not None else rule.limit
    if isinstance(limits, str):
        return no_data(rule, n, "no earlier windows to learn the number of rows from")
    low, high = limits
    step = 0 if low <= n <= high else 1 if low <= n * BEYOND and n <= high * BEYOND else 2
    words = f"{n:,} rows, {low:,} to {high:,} expected"
    return verdict(
        rule, step, n, 0 if step == 0 else n, words, value=float(n), threshold=float(low if n < low else high)
    )


def _freshness(rule: Rule, age: timedelta | None) -> QualityVerdict:
    if age is None:
        return no_data(rule, 0, "the age of the newest row is not known")
    step = 0 if age <= rule.limit else 1 if age <= BEYOND * rule.limit else 2
    whole = timedelta(seconds=round(max(age, timedelta(0)).total_seconds()))
    words = f"the newest row is {format_duration(whole)} old, at most {format_duration(rule.limit)} is allowed"
    seconds, limit = age.total_seconds(), rule.limit.total_seconds()
    return verdict(rule, step, 1, int(step > 0), words, value=seconds, threshold=limit)


def no_data(rule: Rule, n: int, reason: str) -> QualityVerdict:
    """A rule that could not be judged."""
    return QualityVerdict(rule.kind, rule.column, "no_data", Severity.NONE, n=n, reason=reason)
