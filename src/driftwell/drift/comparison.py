"""``compare``: from two tables, or a reference and a table or profile, to a judged result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.contributions import contributions
from driftwell.detectors.display import distribution
from driftwell.detectors.univariate import Pair
from driftwell.detectors.verdict import Policy, judge
from driftwell.drift.result import DriftResult
from driftwell.drift.rows import Rows
from driftwell.errors import BadInput, MergeError, NotSupported, UnknownName
from driftwell.frame import read_table
from driftwell.kernels.empirical import distances_from_sorted
from driftwell.profiles.categorical import CategoricalState
from driftwell.profiles.profile import Profile, State, Visit
from driftwell.profiles.reference import Reference, freeze_reference, rename
from driftwell.results import ColumnResult, Severity

__all__ = ["compare", "compare_profile"]

Floats = npt.NDArray[np.float64]
_NONE: Floats = np.empty(0)


def compare(
    reference: Any,
    current: Any,
    method: str | Sequence[str] | Mapping[str, str] | None = None,
    threshold: float | Mapping[str, float] | None = None,
    columns: Sequence[str] | None = None,
    alpha: float = 0.05,
    correction: str = "bh",
    min_samples: int = 100,
    multivariate: str | None = None,
    feature_map: Mapping[str, str] | None = None,
    decision: str = "beyond_noise",
    seed: int = 0,
) -> DriftResult:
    """Compare current rows with a reference, column by column.

    A column has drifted when both gates open: its p-value, adjusted over all columns, is at most ``alpha``
    (*significant*), and its value reaches its threshold (*relevant*).

    Parameters
    ----------
    reference
        A ``Reference`` or any table. From two tables KS and Wasserstein are exact; against a ``Reference`` they come
        from its bins, with certified bounds.
    current
        Any table, or a ``Profile`` counted in the reference's bins.
    method
        One method, a list (a column drifts when any of them says so), or ``{column: method}``. Default ``psi``.
    threshold
        On the value: a number, ``{method: number}`` or ``{column: number}``.
    columns
        Only these columns.
    correction
        ``bh`` (Benjamini–Hochberg), ``bonferroni`` or ``none``.
    min_samples
        Fewer rows on either side: ``no_data``, never ``ok``.
    feature_map
        ``{name in current: name in reference}`` for renamed columns.
    decision
        ``beyond_noise`` both gates, ``threshold`` the value alone, ``p_value`` the p-value alone.
    seed
        For methods that draw at random; those of this version do not.

    Raises
    ------
    ColumnError
        The current table lacks a column of the reference.
    UnknownName
        A method, column, correction or decision is not known.
    MergeError
        A profile was counted in other bins than the reference's.

    Notes
    -----
    Missing rows are a group of their own in PSI and the other distances of shares; KS, Wasserstein and the shifts
    read the numbers alone. Cost: one sort a numeric column of the current table.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> before, after = rng.normal(size=2000), rng.normal(size=2000) + 1
    >>> r = compare({"x": before}, {"x": after})
    >>> r.drift_detected, str(r.severity), r.columns["x"].method
    (True, 'high', 'psi')
    """
    policy = Policy(method, threshold, alpha, correction, min_samples, decision)
    if multivariate is not None:
        raise NotSupported(f"multivariate={multivariate!r}: multivariate tests are not available in this version")
    if isinstance(current, Profile):
        if feature_map:
            raise BadInput("feature_map renames columns of a table; a profile is already counted")
        frozen = reference if isinstance(reference, Reference) else Reference.from_data(reference)
        return compare_profile(frozen, current, policy, columns=columns)
    if isinstance(reference, Reference):
        chosen = _chosen(reference, columns, policy)
        profiled = reference.profile_of(current, feature_map=feature_map, columns=chosen)
        return compare_profile(reference, profiled, policy, columns=chosen)
    # With the rows of both sides at hand each column is sorted once a side, and order statistics are exact.
    ordered: dict[str, Floats] = {}
    exact: dict[str, tuple[float, float]] = {}
    before = read_table(reference)
    frozen = freeze_reference(before, {}, visit=ordered.__setitem__)
    chosen = _chosen(frozen, columns, policy)
    after = rename(read_table(current, feature_names=frozen.feature_names), feature_map)
    profiled = frozen.profile_of(after, columns=chosen, visit=_against(ordered, exact))
    return compare_profile(frozen, profiled, policy, columns=chosen, exact=exact, rows=Rows(before, after))


def compare_profile(
    reference: Reference,
    current: Profile,
    policy: Policy | None = None,
    *,
    columns: Sequence[str] | None = None,
    exact: Mapping[str, tuple[float, float]] | None = None,
    rows: Rows | None = None,
) -> DriftResult:
    """Compare a profile with the reference it was counted against.

    ``exact`` gives the KS and Wasserstein distances of columns whose rows were at hand, ``rows`` those rows for the
    methods that need them.

    Raises
    ------
    MergeError
        The profile was counted in other bins than the reference's.
    """
    policy = policy or Policy()
    if current.edges_id != reference.edges_id:
        raise MergeError(
            f"the profile was counted in bins {current.edges_id}, the reference has {reference.edges_id}: "
            "profile the rows again with profile(table, reference=ref)"
        )
    chosen = _chosen(reference, columns, policy)
    pairs = {
        name: Pair(
            reference.profile.columns[name],
            current.columns[name],
            (exact or {}).get(name),
            None if rows is None else partial(rows.numbers, name),
        )
        for name in chosen
        if name in current.columns
    }
    judged = judge(pairs, policy)
    for name in chosen:
        if name not in pairs:
            judged[name] = _unread(name, reference, current, policy)
    outputs = {
        role: Pair(state, current.outputs[role])
        for role, state in reference.profile.outputs.items()
        if role in current.outputs
    }
    return _result(reference, current, policy, _drawn(judged, pairs), _drawn(judge(outputs, policy), outputs), pairs)


# -- parts ---------------------------------------------------------------------------------------------------


def _chosen(reference: Reference, columns: Sequence[str] | None, policy: Policy) -> list[str]:
    policy.check_names(reference.kinds | reference.output_kinds)
    if columns is None:
        return reference.feature_names
    if not isinstance(columns, Iterable):
        raise BadInput(f"columns is a list of names. Got {columns!r}")
    named = [columns] if isinstance(columns, str) else list(columns)
    for name in named:
        if name not in reference.kinds:
            raise UnknownName("column", name, reference.kinds)
    return named


def _against(ordered: dict[str, Floats], exact: dict[str, tuple[float, float]]) -> Visit:
    """Take both distances of a column while its sorted values are at hand, then let go of the reference's."""

    def visit(name: str, values: Floats) -> None:
        sides = [side[: int(np.searchsorted(side, np.nan, "left"))] for side in (ordered.pop(name, _NONE), values)]
        if all(map(len, sides)):
            exact[name] = distances_from_sorted(*sides)

    return visit


def _unread(name: str, reference: Reference, current: Profile, policy: Policy) -> ColumnResult:
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


def _drawn(results: dict[str, ColumnResult], pairs: Mapping[str, Pair]) -> dict[str, ColumnResult]:
    """Add what the charts need, and put what drifted first."""
    drawn = {
        name: replace(result, distribution=distribution(pairs[name]), contributions=contributions(pairs[name]))
        if name in pairs
        else result
        for name, result in results.items()
    }
    return dict(sorted(drawn.items(), key=lambda item: (not item[1].drifted, -(item[1].score or 0.0))))


def _grouped(name: str, state: State) -> str | None:
    """What is to be known of a column with more categories than have a cell of their own."""
    if not isinstance(state, CategoricalState) or not state.other:
        return None
    told = len(state.counts) - 1
    share = state.other / state.count
    return f"{name}: its {told:,} most frequent categories are told apart; the others, {share:.0%} of the reference " \
           "rows, count as one"  # fmt: skip


def _result(
    reference: Reference,
    current: Profile,
    policy: Policy,
    columns: dict[str, ColumnResult],
    outputs: dict[str, ColumnResult],
    pairs: dict[str, Pair],
) -> DriftResult:
    drifted = [c for c in columns.values() if c.drifted]
    enough = min(reference.n_rows, current.n_rows) >= policy.min_samples
    statuses = [c.status for c in columns.values()]
    summary = {
        "n_columns": len(columns),
        "n_drifted": len(drifted),
        "n_no_data": statuses.count("no_data"),
        "n_errors": statuses.count("error"),
        "n_reference": reference.n_rows,
        "n_current": current.n_rows,
        "alpha": policy.alpha,
        "correction": policy.correction,
        "decision": policy.decision,
        "min_samples": policy.min_samples,
        "reference_id": reference.id,
        "reference_name": reference.name,
        "reference_version": reference.version,
    }
    notes = [f"{name} is not compared: {reason}" for name, reason in reference.ignored.items()]
    notes += filter(None, (_grouped(name, pair.reference) for name, pair in pairs.items()))
    if not enough:
        least = min(reference.n_rows, current.n_rows)
        notes.append(f"{least} rows on one side; below {policy.min_samples} nothing is judged")
    return DriftResult(
        drift_detected=bool(drifted),
        status="drift" if drifted else "ok" if enough and "ok" in statuses else "no_data",
        severity=max((c.severity for c in drifted), default=Severity.NONE),
        columns=columns,
        outputs=outputs,
        summary=summary,
        notes=tuple(notes),
        _pairs=pairs,
    )
