"""From measures to verdicts: the two gates (significant and relevant) and the severity of what passed them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from types import NoneType

from driftwell.detectors.univariate import BORROWED, DRIFT_SCORE, METHODS, Pair, method
from driftwell.errors import BadInput, InsufficientData, UnknownName
from driftwell.kernels.significance import adjust
from driftwell.profiles.categorical import CategoricalState
from driftwell.profiles.numeric import NumericState
from driftwell.results import ColumnResult, Measure, Severity

__all__ = ["Policy", "judge"]

CORRECTIONS = ("bh", "bonferroni", "none")
DECISIONS = ("beyond_noise", "threshold", "p_value")
PSI_BANDS = (0.1, 0.25)


@dataclass(frozen=True, slots=True)
class Policy:
    """How columns are judged: the arguments of ``compare`` of the same names, checked."""

    method: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None
    threshold: float | Mapping[str, float] | None = None
    alpha: float = 0.05
    correction: str = "bh"
    min_samples: int = 100
    decision: str = "beyond_noise"

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, Real) and 0 < self.alpha < 1):
            raise BadInput(f"alpha must lie in (0, 1). Got {self.alpha!r}")
        if self.correction not in CORRECTIONS:
            raise UnknownName("correction", self.correction, CORRECTIONS)
        if self.decision not in DECISIONS:
            raise UnknownName("decision", self.decision, DECISIONS)
        if not (isinstance(self.min_samples, Real) and self.min_samples >= 1):
            raise BadInput(f"min_samples must be at least 1. Got {self.min_samples!r}")
        if not isinstance(self.method, (str, Sequence, Mapping, NoneType)):
            raise BadInput(f"method is a name, a list of names or {{column: name}}. Got {self.method!r}")
        named = self.method.values() if isinstance(self.method, Mapping) else [self.method]
        for names in named:
            for name in [names] if isinstance(names, str) else names or []:
                method(name)
        limits = self.threshold.values() if isinstance(self.threshold, Mapping) else [self.threshold]
        for limit in limits:
            if limit is not None and not (isinstance(limit, Real) and 0 <= limit < math.inf):
                raise BadInput(f"a threshold must be a number of at least 0. Got {limit!r}")

    def check_names(self, kinds: Mapping[str, str]) -> None:
        """Refuse columns, methods and thresholds that fit nothing among the columns of these kinds."""
        if isinstance(self.method, Mapping):
            for column, asked in self.method.items():
                if column not in kinds:
                    raise UnknownName("column", column, kinds)
                for name in [asked] if isinstance(asked, str) else asked or []:
                    if kinds[column] not in METHODS[name].kinds:
                        raise BadInput(f"{name} does not read {kinds[column]} columns such as {column!r}")
        if isinstance(self.threshold, Mapping):
            for name in self.threshold:
                if name not in kinds and name not in METHODS:
                    raise UnknownName("column or method", name, [*kinds, *METHODS])

    def methods_for(self, column: str, kind: str) -> list[str]:
        """The methods that decide on a column of this kind; ``psi`` where none of those asked for reads it."""
        asked = self.method.get(column) if isinstance(self.method, Mapping) else self.method
        names = [asked] if isinstance(asked, str) else list(asked or ["psi"])
        return [name for name in names if kind in METHODS[name].kinds] or ["psi"]

    def threshold_for(self, column: str, name: str, pair: Pair) -> float | None:
        """The threshold on the value of a method on a column."""
        if isinstance(self.threshold, Mapping):
            given = self.threshold.get(column, self.threshold.get(name))
            return METHODS[name].threshold_for(pair) if given is None else float(given)
        if self.threshold is not None:
            return float(self.threshold)
        return METHODS[name].threshold_for(pair)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One method on one column before the p-values are adjusted."""

    column: str
    measure: Measure
    p_value: float | None
    threshold: float | None


def judge(pairs: Mapping[str, Pair], policy: Policy) -> dict[str, ColumnResult]:
    """Judge every column; the p-values are adjusted over all (column, method) tests together.

    A column that cannot be compared has its reason in its own result and leaves the others alone.
    """
    results = {name: _describe(name, pair, policy) for name, pair in pairs.items()}
    candidates: list[_Candidate] = []
    for name, pair in pairs.items():
        if results[name].status == "no_data":
            continue
        found, reason = _candidates(name, pair, policy)
        candidates += found
        if not found:
            results[name] = replace(results[name], status="no_data", reason=reason)
    adjusted = adjust([c.p_value for c in candidates], policy.correction)
    judged: dict[str, list[ColumnResult]] = {}
    for candidate, p in zip(candidates, adjusted, strict=True):
        one = _apply(results[candidate.column], candidate, p, policy)
        judged.setdefault(candidate.column, []).append(one)
    for name, own in judged.items():
        decisive = max(own, key=lambda r: (r.drifted, r.severity))
        results[name] = replace(decisive, measures=dict(pairs[name].measures))
    return results


def _candidates(column: str, pair: Pair, policy: Policy) -> tuple[list[_Candidate], str | None]:
    """The tests of one column; a method that has nothing to read is left out, with its reason."""
    found: list[_Candidate] = []
    reason = None
    for name in policy.methods_for(column, pair.kind):
        try:
            found.append(_candidate(column, name, pair, policy))
        except InsufficientData as exc:
            reason = f"{name}: {exc}"
    return found, reason


def _candidate(column: str, name: str, pair: Pair, policy: Policy) -> _Candidate:
    measure = pair.measure(name)
    p = measure.p_value
    lender = BORROWED[pair.kind]
    if p is None and lender != name and policy.decision != "threshold":
        p = pair.measure(lender).p_value
    threshold = policy.threshold_for(column, name, pair)
    if threshold is None and policy.decision == "threshold":
        raise BadInput(f"{name} has no threshold of its own: give one, or decide by 'p_value'")
    return _Candidate(column, measure, p, threshold)


def _describe(name: str, pair: Pair, policy: Policy) -> ColumnResult:
    """What is true of a column before any method has judged it."""
    n, m = pair.reference.n_rows, pair.current.n_rows
    enough = min(n, m) >= policy.min_samples
    before, after = (_missing_share(side) for side in (pair.reference, pair.current))
    shift = None if before is None or after is None else after - before
    return ColumnResult(
        name=name,
        kind=pair.kind,
        status="ok" if enough else "no_data",
        method=policy.methods_for(name, pair.kind)[0],
        score=_score(pair),
        n_reference=n,
        n_current=m,
        missing_reference=before,
        missing_current=after,
        missing_shift=shift,
        new_categories=_new_categories(pair),
        reason=None if enough else f"{min(n, m)} rows on one side, {policy.min_samples} needed",
    )


def _apply(bare: ColumnResult, candidate: _Candidate, p_adjusted: float | None, policy: Policy) -> ColumnResult:
    measure, threshold = candidate.measure, candidate.threshold
    significant = p_adjusted is not None and p_adjusted <= policy.alpha
    relevant = threshold is None or (measure.value >= threshold and measure.value > 0)
    if policy.decision == "threshold":
        drifted = threshold is not None and relevant
    elif policy.decision == "p_value":
        drifted = significant
    else:
        drifted = significant and relevant
    severity = _severity(measure, threshold, p_adjusted, policy.alpha)
    severity = max(severity, Severity.LOW) if drifted else min(severity, Severity.LOW)
    return replace(
        bare,
        status="drift" if drifted else "ok",
        method=measure.method,
        value=measure.value,
        low=measure.low,
        high=measure.high,
        interval=measure.interval,
        p_value=candidate.p_value,
        p_adjusted=p_adjusted,
        threshold=threshold,
        drifted=drifted,
        severity=severity,
        expected_without_change=measure.expected_without_change,
        reason=_reason(measure, threshold, p_adjusted, policy, significant, relevant),
    )


def _severity(measure: Measure, threshold: float | None, p: float | None, alpha: float) -> Severity:
    if measure.method == "psi":
        return _band(measure.value, *PSI_BANDS)
    if threshold is None:
        return Severity.NONE if p is None else _p_band(p, alpha)
    if measure.value < 0.5 * threshold or not measure.value > 0:
        return Severity.NONE
    return Severity.LOW if measure.value <= threshold else _band(measure.value, threshold, 2 * threshold)


def _band(value: float, low: float, high: float) -> Severity:
    return Severity.NONE if value < low else Severity.MEDIUM if value <= high else Severity.HIGH


def _p_band(p: float, alpha: float) -> Severity:
    bounds = ((alpha / 100, Severity.HIGH), (alpha / 10, Severity.MEDIUM), (alpha, Severity.LOW))
    return next((severity for bound, severity in bounds if p <= bound), Severity.NONE)


def _reason(
    measure: Measure, threshold: float | None, p: float | None, policy: Policy, significant: bool, relevant: bool
) -> str:
    """One sentence: the value against its threshold, and whether the sample sizes alone explain it."""
    sizes = f"{measure.n_reference:,} reference and {measure.n_current:,} current rows"
    against = "" if threshold is None else f" {'reaches' if relevant else 'stays below'} its threshold {threshold:.3g}"
    chance = "no test applies" if p is None else f"adjusted p {f'= {p:.2g}' if p > 1e-300 else '< 1e-300'}"
    verdict = "more than the sample sizes explain" if significant else "within what the sample sizes explain"
    if policy.decision == "threshold":
        return f"{measure.method} {measure.value:.3g}{against} ({sizes}; decided by value alone)"
    return f"{measure.method} {measure.value:.3g}{against}; {verdict} ({chance}, {sizes})"


def _missing_share(state: object) -> float | None:
    assert isinstance(state, (NumericState, CategoricalState))
    gone = state.missing + (state.nan if isinstance(state, NumericState) else 0)
    return gone / state.n_rows if state.n_rows else None


def _new_categories(pair: Pair) -> dict[str, int]:
    """Names seen only now, most frequent first, where the reference named all of its own."""
    if not isinstance(pair.reference, CategoricalState) or not isinstance(pair.current, CategoricalState):
        return {}
    if pair.reference.other:
        return {}
    return dict(sorted(pair.current.newcomers.items(), key=lambda item: (-item[1], item[0]))[:20])


def _score(pair: Pair) -> float | None:
    try:
        return DRIFT_SCORE[pair.kind](pair)
    except InsufficientData:
        # Something against nothing is as far apart as can be; nothing on both sides is undefined.
        return 1.0 if (pair.reference.count > 0) != (pair.current.count > 0) else None
