"""From the states of both sides to one judged and drawn result a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from driftwell.detectors.contributions import contributions
from driftwell.detectors.display import distribution
from driftwell.detectors.univariate import Pair
from driftwell.detectors.verdict import Policy, judge
from driftwell.drift.facets import facet_pairs, facet_policy, fold_facets
from driftwell.drift.rows import Rows
from driftwell.profiles.profile import State
from driftwell.profiles.reference.weighted import in_rows
from driftwell.profiles.states.composite import CompositeState
from driftwell.results import ColumnResult

__all__ = ["Sides", "judge_columns"]


@dataclass(frozen=True, eq=False)
class Sides:
    """States by column on both sides, with exact distances and rows where those are at hand."""

    reference: Mapping[str, State]
    current: Mapping[str, State]
    exact: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rows: Rows | None = None


def judge_columns(
    names: Sequence[str], sides: Sides, policy: Policy
) -> tuple[dict[str, ColumnResult], dict[str, Pair]]:
    """``(a result for each column, what it was judged from)``; facets are judged together with the plain columns."""
    pairs: dict[str, Pair] = {}
    facets: dict[str, list[str]] = {}
    for name in names:
        reference, current = sides.reference[name], sides.current[name]
        if isinstance(reference, CompositeState):
            parts = facet_pairs(name, reference, current)
            facets[name] = list(parts)
            pairs |= parts
        else:
            rows = sides.rows.of(name) if sides.rows is not None and reference.kind == "numeric" else None
            sampled = sides.rows is not None and sides.rows.sampled
            known = Pair(in_rows(reference), current, sides.exact.get(name), rows=rows, sampled=sampled)
            pairs[name] = replace(known, weighed=reference) if reference.weighting is not None else known
    judged = {name: _drawn(found, pairs[name]) for name, found in judge(pairs, facet_policy(policy, facets)).items()}
    whole = {
        name: judged[name]
        if name not in facets
        else fold_facets(name, sides.reference[name], sides.current[name], {f: judged[f] for f in facets[name]})
        for name in names
    }
    return whole, pairs


def _drawn(found: ColumnResult, pair: Pair) -> ColumnResult:
    """With what the charts and the explanation need."""
    return replace(found, distribution=distribution(pair), contributions=contributions(pair))
