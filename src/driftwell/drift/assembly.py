"""From judged columns to one result: what drifted, how severely, and what the reader is to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftwell.detectors.multivariate import MultivariateVerdict
from driftwell.detectors.policy import Policy
from driftwell.detectors.univariate import Pair
from driftwell.drift.result import DriftResult, verdict_of
from driftwell.profiles.profile import Profile, State
from driftwell.profiles.reference import Reference
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.quality import QualityResult, hold_back
from driftwell.results import ColumnResult

__all__ = ["assemble", "unread"]


def assemble(
    reference: Reference,
    current: Profile,
    policy: Policy,
    columns: Mapping[str, ColumnResult],
    outputs: dict[str, ColumnResult],
    *,
    pairs: dict[str, Pair],
    quality: QualityResult | None,
    multivariate: MultivariateVerdict | None,
    notes: tuple[str, ...] = (),
    outputs_count: bool = True,
) -> DriftResult:
    """The result of a comparison; columns that ``quality`` found broken are held back."""
    enough = min(reference.effective_size, current.n_rows) >= policy.min_samples
    judged = dict(columns) if quality is None else hold_back(columns, quality)
    return DriftResult(
        **verdict_of(judged, outputs if outputs_count else {}, multivariate, enough=enough),
        outputs=outputs,
        summary=_summary(reference, current, policy, judged),
        notes=(*notes, *_notes(reference, current, policy, pairs, quality)),
        quality=quality,
        multivariate=multivariate,
        _outputs_count=outputs_count,
        _pairs=pairs,
    )


def unread(name: str, reference: Reference, current: Profile, policy: Policy) -> ColumnResult:
    """The result of a column that could not be read as the reference's kind."""
    state: State = reference.profile.columns[name]
    return ColumnResult(
        name=name,
        kind=reference.kinds[name],
        status="error",
        method=policy.methods_for(name, reference.kinds[name])[0],
        n_reference=state.n_rows,
        n_current=current.n_rows,
        error=current.unread.get(name, "the column is absent"),
    )


def _summary(
    reference: Reference, current: Profile, policy: Policy, columns: Mapping[str, ColumnResult]
) -> dict[str, Any]:
    statuses = [c.status for c in columns.values()]
    return {
        "n_columns": len(columns),
        "n_drifted": sum(c.drifted for c in columns.values()),
        "n_broken": statuses.count("broken"),
        "n_no_data": statuses.count("no_data"),
        "n_errors": statuses.count("error"),
        "n_reference": reference.n_rows,
        "n_current": current.n_rows,
        "alpha": policy.alpha,
        "correction": policy.correction,
        "decision": policy.decision,
        "min_samples": policy.min_samples,
        "preprocessing": list(reference.preprocessing),
        "reference_id": reference.id,
        "reference_name": reference.name,
        "reference_version": reference.version,
    }


def _notes(
    reference: Reference,
    current: Profile,
    policy: Policy,
    pairs: Mapping[str, Pair],
    quality: QualityResult | None,
) -> list[str]:
    notes = [f"{name} is broken, not drifted: {why}" for name, why in (quality.reasons if quality else {}).items()]
    notes += [f"{name} is not compared: {reason}" for name, reason in reference.ignored.items()]
    notes += filter(None, (_grouped(name, pair.reference) for name, pair in pairs.items()))
    lost = [role for role in reference.profile.outputs if role not in current.outputs]
    notes += [f"{role} is not compared: the current rows do not have it" for role in lost]
    notes += filter(None, (_rounded(name, pair) for name, pair in pairs.items()))
    least = min(reference.effective_size, current.n_rows)
    if least < policy.min_samples:
        notes.append(f"{least} rows on one side; below {policy.min_samples} nothing is judged")
    return notes


def _rounded(name: str, pair: Pair) -> str | None:
    """What is to be known of numbers that float64 cannot hold."""
    rounded = sum(getattr(side, "rounded", 0) for side in (pair.reference, pair.current))
    return f"{name}: {rounded:,} values were rounded to the nearest float64" if rounded else None


def _grouped(name: str, state: State) -> str | None:
    """What is to be known of a column with more categories than have a cell of their own."""
    if not isinstance(state, CategoricalState) or not state.other:
        return None
    told = len(state.counts) - 1
    share = state.other / state.count
    return f"{name}: its {told:,} most frequent categories are told apart; the others, {share:.0%} of the reference " \
           "rows, count as one"  # fmt: skip
