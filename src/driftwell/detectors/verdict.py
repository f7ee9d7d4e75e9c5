"""From measures to verdicts: the two gates (significant and relevant) and the severity of what passed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from driftwell.detectors.policy import PSI_BANDS, Policy
from driftwell.detectors.univariate import BORROWED, DRIFT_SCORE, Pair, method
from driftwell.errors import BadInput, InsufficientData
from driftwell.kernels.significance import adjust
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericState
from driftwell.results import ColumnResult, Measure, Severity

__all__ = ["Policy", "judge"]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One method on one column before the p-values are adjusted."""

    column: str
    measure: Measure
    p_value: float | None
    threshold: float | None
    threshold_from: str


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
        decisive = max(own, key=lambda r: (r.drifted, r.status != "no_data", r.severity))
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
    threshold, source = policy.threshold_for(column, name, pair)
    if threshold is None and policy.decision == "threshold":
        raise BadInput(f"{name} has no threshold of its own: give one, or decide by 'p_value'")
    return _Candidate(column, measure, _p_value(measure, pair, policy, threshold), threshold, source)


def _p_value(measure: Measure, pair: Pair, policy: Policy, threshold: float | None) -> float | None:
    """The p-value that decides: of no change at all, or of a change that is no larger than the threshold."""
    if policy.decision == "exceeds":
        exceeds = method(measure.method).exceeds
        assert exceeds is not None
        assert threshold is not None
        return exceeds(pair, threshold)
    lender = BORROWED[pair.kind]
    if measure.p_value is None and lender != measure.method and policy.decision != "threshold":
        return pair.measure(lender).p_value
    return measure.p_value


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
    if policy.decision in ("beyond_noise", "p_value") and relevant and p_adjusted is None and measure.value > 0:
        untested = f"{measure.method} {measure.value:.3g}, but no test can say whether the sample sizes explain it"
        return replace(bare, status="no_data", threshold=threshold, reason=untested)
    if policy.decision == "threshold":
        drifted = threshold is not None and relevant
    elif policy.decision in ("p_value", "exceeds"):
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
        debiased=measure.debiased,
        threshold_from=candidate.threshold_from,
        reason=_reason(measure, threshold, p_adjusted, policy, significant, relevant)
        + _in_brackets(policy.passed_over(bare.name, bare.kind)),
    )


def _severity(measure: Measure, threshold: float | None, p: float | None, alpha: float) -> Severity:
    if measure.method == "psi":
        return _band(measure.value, *PSI_BANDS.values())
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
    sampled = "sampled " if measure.sampled else ""
    sizes = f"{measure.n_reference:,} {sampled}reference and {measure.n_current:,} current rows"
    against = "" if threshold is None else f" {'reaches' if relevant else 'stays below'} its threshold {threshold:.3g}"
    chance = "no test applies" if p is None else f"adjusted p {f'= {p:.2g}' if p >= 1e-16 else '< 1e-16'}"
    verdict = "more than the sample sizes explain" if significant else "within what the sample sizes explain"
    if policy.decision == "threshold":
        return f"{measure.method} {measure.value:.3g}{against} ({sizes}; decided by value alone)"
    if policy.decision == "exceeds":
        sure = "exceeds" if significant else "is not shown to exceed"
        return f"{measure.method} {measure.value:.3g}: the population {sure} {threshold:.3g} ({chance}, {sizes})"
    return f"{measure.method} {measure.value:.3g}{against}; {verdict} ({chance}, {sizes})"


def _in_brackets(remark: str | None) -> str:
    return "" if remark is None else f" [{remark}]"


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
    if not (pair.reference.n_rows and pair.current.n_rows):
        return None
    try:
        return DRIFT_SCORE[pair.kind](pair)
    except InsufficientData:
        # Something against nothing is as far apart as can be; nothing on both sides is undefined.
        return 1.0 if (pair.reference.count > 0) != (pair.current.count > 0) else None
