"""``compare``: from two tables, or a reference and a table or profile, to a judged result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate import multivariate_method
from driftwell.detectors.policy import Policy
from driftwell.drift.assembly import assemble, unread
from driftwell.drift.columns import Sides, judge_columns
from driftwell.drift.outputs import output_policy
from driftwell.drift.result import DriftResult
from driftwell.drift.rows import Rows, has_column, ordered
from driftwell.drift.whole_rows import WholeRows
from driftwell.errors import BadInput, MergeError, UnknownName
from driftwell.frame import Frame, NumericColumn, read_table
from driftwell.kernels.empirical import distances_from_sorted
from driftwell.profiles.profile import PLAIN, Profile, State, Visit
from driftwell.profiles.rebinning import rebin_profile
from driftwell.profiles.reference import Reference, rename
from driftwell.profiles.reference.freezing import freeze_reference
from driftwell.profiles.reference.roles import feature_columns
from driftwell.profiles.reference.weighted import profile_in_rows
from driftwell.profiles.states.numeric import NumericBins, build_numeric, sorted_values
from driftwell.quality import QualityResult, judge_quality, learn_rules, with_repeats

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["compare", "compare_profile"]

Floats = npt.NDArray[np.float64]


def compare(
    reference: Any,
    current: Any,
    method: str | Sequence[str] | Mapping[str, str] | None = None,
    threshold: float | str | Mapping[str, float | str] | None = None,
    columns: Sequence[str] | None = None,
    alpha: float = 0.05,
    correction: str = "bh",
    min_samples: int = 100,
    multivariate: str | None = None,
    feature_map: Mapping[str, str] | None = None,
    decision: str = "beyond_noise",
    seed: int = 0,
    quality: Mapping[str, Any] | bool | None = None,
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
        Any table, or a ``Profile`` counted in the reference's bins, or in none: such a one is counted again in the
        reference's, with bounds that say how uncertain that is.
    method
        One method, a list (a column drifts when any of them says so), or ``{column: method}``. Default ``psi``.
    threshold
        On the value: a number, ``{method: number}`` or ``{column: number}``; for psi also ``"moderate"`` (0.1) or
        ``"critical"`` (0.25).
    columns
        Only these columns.
    correction
        ``bh`` (Benjamini–Hochberg), ``bonferroni`` or ``none``.
    min_samples
        Fewer rows on either side: ``no_data``, never ``ok``.
    feature_map
        ``{name in current: name in reference}`` for renamed columns.
    decision
        ``beyond_noise`` both gates, ``threshold`` the value alone, ``p_value`` the p-value alone, ``exceeds`` where
        the population's value exceeds the threshold with confidence ``1 - alpha``.
    multivariate
        A test of whole rows beside the columns: ``mmd``, ``energy``, ``domain_classifier``, ``pca``, ``lsdd``,
        ``hotelling``, ``random_features`` or ``portfolio``. It needs rows; of a ``Reference`` its row sample is used.
    seed
        Of the multivariate test.
    quality
        ``{column: {rule: limit}}`` in place of what the reference implies (``docs/quality.md``), or False for no
        quality verdicts. A column that fails critically is ``broken``, and not said to have drifted.

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
    whole = None if multivariate is None else WholeRows(multivariate_method(multivariate).name, seed)
    if isinstance(current, Profile):
        if feature_map:
            raise BadInput("feature_map renames columns of a table; a profile is already counted")
        if whole is not None:
            raise BadInput(f"multivariate={multivariate!r} needs rows: give a table in place of the profile")
        frozen = reference if isinstance(reference, Reference) else Reference.from_data(reference)
        counted, notes = in_bins_of(frozen, current)
        found = _quality(frozen, counted, quality)
        return compare_profile(frozen, counted, policy, columns=columns, quality=found, notes=notes)
    exact: dict[str, tuple[float, float]] = {}
    if isinstance(reference, Reference):
        chosen = _chosen(reference, columns, policy)
        after = rename(read_table(current, feature_names=reference.feature_names), feature_map)
        rows = Rows.beside(reference, after)
        profiled = reference.profile_of(after, columns=chosen, visit=_distances_to(rows, exact))
    else:
        before = read_table(reference)
        after = rename(read_table(current, feature_names=feature_columns(before)), feature_map)
        rows = Rows(before, after)
        known: dict[str, State] = {}
        reference = freeze_reference(before, {}, visit=_both_sides(after, _named(columns), exact, known))
        chosen = _chosen(reference, columns, policy)
        profiled = reference.profile_of(after, columns=chosen, known=known)
    found = _quality(reference, profiled, quality, rows=rows)
    return compare_profile(
        reference, profiled, policy, columns=chosen, exact=exact, rows=rows, quality=found, whole=whole
    )


def compare_profile(
    reference: Reference,
    current: Profile,
    policy: Policy | None = None,
    *,
    columns: Sequence[str] | None = None,
    exact: Mapping[str, tuple[float, float]] | None = None,
    rows: Rows | None = None,
    quality: QualityResult | None = None,
    whole: WholeRows | None = None,
    notes: tuple[str, ...] = (),
    outputs_count: bool = True,
) -> DriftResult:
    """Compare a profile with the reference it was counted against.

    ``exact`` gives the KS and Wasserstein distances of columns whose rows were at hand, ``rows`` those rows for the
    methods that need them, ``quality`` what is broken and so has no drift, ``whole`` the test of whole rows wanted,
    ``notes`` what the reader is to know besides; ``outputs_count`` whether drift of outputs is drift of the whole.

    Raises
    ------
    MergeError
        The profile was counted in other bins than the reference's.
    BadInput
        A test of whole rows is wanted and the rows of one side are not at hand.
    """
    policy = policy or Policy()
    current, said = in_bins_of(reference, current)
    chosen = _chosen(reference, columns, policy)
    features = Sides(reference.profile.columns, current.columns, exact or {}, rows)
    judged, pairs = judge_columns([name for name in chosen if name in current.columns], features, policy)
    judged |= {name: unread(name, reference, current, policy) for name in chosen if name not in current.columns}
    roles = [role for role in reference.profile.outputs if role in current.outputs]
    answers = Sides(reference.profile.outputs, current.outputs, {}, None if rows is None else rows.outputs(reference))
    outputs, own = judge_columns(roles, answers, output_policy(policy, reference.output_kinds))
    sound = [name for name in chosen if quality is None or name not in quality.broken]
    return assemble(
        reference,
        current,
        policy,
        judged,
        outputs,
        pairs=own | pairs,
        quality=quality,
        multivariate=None if whole is None else whole.judge(reference, rows, sound, policy),
        notes=(*notes, *said),
        outputs_count=outputs_count,
    )


# -- parts ---------------------------------------------------------------------------------------------------


def in_bins_of(reference: Reference, profile: Profile) -> tuple[Profile, tuple[str, ...]]:
    """The profile in the reference's bins, and what is uncertain about one that was counted without a reference."""
    if profile.edges_id == reference.edges_id:
        return profile_in_rows(profile), ()
    if profile.edges_id == PLAIN:
        return rebin_profile(profile, reference)
    raise MergeError(
        f"the profile was counted in bins {profile.edges_id}, the reference has {reference.edges_id}: "
        "profile the rows again with profile(table, reference=ref)"
    )


def _quality(
    reference: Reference, profiled: Profile, settings: Mapping[str, Any] | bool | None, *, rows: Rows | None = None
) -> QualityResult | None:
    if settings is False:
        return None
    if rows is not None and rows.reference is not None:
        reference = with_repeats(reference, rows.reference)
    rules = learn_rules(reference, None if settings is True else settings)
    return judge_quality(reference, profiled, rows=None if rows is None else rows.current, rules=rules)


def _chosen(reference: Reference, columns: Sequence[str] | None, policy: Policy) -> list[str]:
    policy.check_names(reference.kinds | reference.output_kinds)
    named = _named(columns)
    for name in named or ():
        if name not in reference.kinds:
            raise UnknownName("column", name, reference.kinds)
    return reference.feature_names if named is None else named


def _named(columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    if not isinstance(columns, Iterable):
        raise BadInput(f"columns is a list of names. Got {columns!r}")
    return [columns] if isinstance(columns, str) else list(columns)


def _both_sides(
    after: pa.Table, columns: Sequence[str] | None, exact: dict[str, tuple[float, float]], known: dict[str, State]
) -> Visit:
    """Count a column's current rows, and take both distances, while the sorted values of its reference are at hand:
    each column is sorted once a side, and no more than a few are kept sorted at a time."""
    wanted = set(after.column_names if columns is None else columns).intersection(after.column_names)

    def visit(name: str, values: Floats, bins: NumericBins) -> None:
        column = Frame.of(after.select([name]), kinds={name: "numeric"}).columns[name] if name in wanted else None
        if isinstance(column, NumericColumn):
            theirs = sorted_values(column)
            known[name] = build_numeric(column, bins, theirs)
            _take_distances(name, values, theirs, exact)

    return visit


def _distances_to(rows: Rows, exact: dict[str, tuple[float, float]]) -> Visit | None:
    """Take both distances to a reference whose sample holds all of its rows."""
    before = rows.reference
    if before is None or rows.sampled:
        return None

    def visit(name: str, values: Floats, _: NumericBins) -> None:
        if has_column(before, name):
            _take_distances(name, ordered(before, name), values, exact)

    return visit


def _take_distances(name: str, before: Floats, after: Floats, exact: dict[str, tuple[float, float]]) -> None:
    sides = [side[: int(np.searchsorted(side, np.nan, "left"))] for side in (before, after)]
    if all(map(len, sides)):
        exact[name] = distances_from_sorted(*sides)
