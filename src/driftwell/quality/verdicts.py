"""What every rule needs: two sides, the exact chance of a share, and a verdict.

A learned rule fails when what it found is relevant (beyond the limit) and significant (beyond chance). Chance is
exact and free of any distribution: were the current rows drawn like the reference's, every choice of ``m`` among
the ``n + m`` rows would be as likely to be the current ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftwell.profiles.profile import State
from driftwell.quality.options import MARGINS
from driftwell.quality.rules import Rule
from driftwell.results import QualityVerdict, Severity

__all__ = ["Sides", "chance", "judge_share", "verdict"]

STATUS = (Severity.NONE, Severity.MEDIUM, Severity.HIGH)


@dataclass(frozen=True, slots=True)
class Sides:
    """One column of both sides, and the level at which a learned rule is tested."""

    reference: State
    current: State
    alpha: float


def chance(before: int, n: int, after: int, m: int) -> float:
    """Probability of ``after`` or more of ``m`` current rows, when ``before + after`` of all ``n + m`` are marked.

    The upper tail of the hypergeometric distribution: Fisher's exact test, one-sided (Fisher 1935). With ``before``
    0 it is also the exact chance that the ``after`` largest of all values are current ones.

    Examples
    --------
    >>> round(chance(0, 2, 2, 2), 4)  # two of four rows are marked, both are current: one choice of six
    0.1667
    """
    if after <= 0:
        return 1.0
    from scipy.stats import hypergeom

    return min(1.0, float(hypergeom.sf(after - 1, n + m, before + after, m)))


def verdict(
    rule: Rule,
    step: int,
    n: int,
    count: int,
    reason: str,
    *,
    value: float | None = None,
    threshold: float | None = None,
    p: float | None = None,
    examples: tuple[str | float, ...] = (),
) -> QualityVerdict:
    """A verdict of ``step`` 0 (ok), 1 (warning) or 2 (critical)."""
    severity = STATUS[step]
    return QualityVerdict(
        rule.kind, rule.column, severity.status, severity, value=value, threshold=threshold, p_value=p, n=n,
        count=count, examples=examples[:5], reason=reason,
    )  # fmt: skip


def judge_share(
    rule: Rule,
    limit: float,
    before: tuple[int, int],
    after: tuple[int, int],
    alpha: float,
    what: str,
    examples: tuple[str | float, ...] = (),
) -> QualityVerdict:
    """Judge the share of marked rows, ``(marked, rows)`` on each side, by ``limit`` and, when learned, by chance."""
    (k, n), (count, m) = before, after
    share = count / m if m else 0.0
    warn, worst = MARGINS[rule.kind]
    step = 0 if share <= limit else 1 if share <= limit + worst - warn else 2
    if rule.kind == "allowed" and not rule.given:
        step = min(step, 1)  # new categories are news of the world before they are a fault
    p = None
    if step and not rule.given:
        p = chance(k, n, count, m)
        step = step if p <= alpha else 0
    words = f"{share:.1%} of {m:,} rows {what}"
    words += f" (at most {limit:.1%})" if rule.given else f", {k / n if n else 0.0:.1%} of the reference's {n:,}"
    return verdict(rule, step, m, count, words, value=share, threshold=limit, p=p, examples=examples)
