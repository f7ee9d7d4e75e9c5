"""Columns of several facets (times, texts, vectors, series): each facet is judged like a column, the worst one speaks
for the column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from driftwell.detectors.univariate import Pair
from driftwell.detectors.verdict import Policy
from driftwell.profiles.profile import State
from driftwell.profiles.states.composite import CompositeState
from driftwell.results import ColumnResult

__all__ = ["facet_pairs", "facet_policy", "fold_facets"]


def facet_pairs(column: str, reference: State, current: State) -> dict[str, Pair]:
    """A pair for each facet that both sides have, under ``column.facet``; nothing for a column without facets."""
    if not isinstance(reference, CompositeState) or not isinstance(current, CompositeState):
        return {}
    return {
        f"{column}.{facet}": Pair(
            part,
            current.facets[facet],
            factors=(reference.records_per_count(facet), current.records_per_count(facet)),
        )
        for facet, part in reference.judged.items()
        if facet in current.facets
    }


def facet_policy(policy: Policy, facets: Mapping[str, Iterable[str]]) -> Policy:
    """The policy with what was given for a column handed on to its facets."""
    return replace(policy, method=_handed_on(policy.method, facets), threshold=_handed_on(policy.threshold, facets))


def _handed_on(given: Any, facets: Mapping[str, Iterable[str]]) -> Any:
    if not isinstance(given, Mapping):
        return given
    own = {facet: given[column] for column, names in facets.items() if column in given for facet in names}
    return {**given, **own}


def fold_facets(column: str, reference: State, current: State, found: Mapping[str, ColumnResult]) -> ColumnResult:
    """One result of the column: that of the facet which moved most, with all of them beside it."""
    before, after = (side.missing / side.n_rows if side.n_rows else None for side in (reference, current))
    facets = {name.removeprefix(f"{column}."): result for name, result in found.items()}
    name = max(facets, key=lambda facet: _weight(facets[facet]), default=None)
    if name is None:
        reason = "one side has no value to compare"
        return ColumnResult(column, reference.kind, "no_data", "psi", n_reference=reference.n_rows,
                            n_current=current.n_rows, reason=reason)  # fmt: skip
    decisive = facets[name]
    return replace(
        decisive,
        name=column,
        kind=reference.kind,
        n_reference=reference.n_rows,
        n_current=current.n_rows,
        missing_reference=before,
        missing_current=after,
        missing_shift=None if before is None or after is None else after - before,
        reason=f"{name}: {decisive.reason}",
        facets=facets,
    )


def _weight(result: ColumnResult) -> tuple[bool, bool, int, float]:
    return result.drifted, result.status == "ok", result.severity, result.score or 0.0
