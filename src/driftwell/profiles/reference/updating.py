"""A reference that follows its data: the last rows, or a fair draw from all of them. Always a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.errors import BadInput, ColumnError, NotSupported, UnknownName
from driftwell.frame import Column, Frame, UnreadColumn, read_table
from driftwell.profiles.reference.reference import Reference
from driftwell.profiles.reference.roles import absent_message
from driftwell.profiles.reference.sample import plain_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["METHODS", "UpdatePolicy", "rebuild", "updated_reference", "updated_rows"]

METHODS = ("last", "reservoir_sampling")
_KEPT_ROLES = ("prediction", "score", "true_label")


@dataclass(frozen=True)
class UpdatePolicy:
    """How many rows of which kind an updated reference has: ``{"last": n}`` or ``{"reservoir_sampling": n}``.

    ``"when_drifted": true`` beside them updates on drifted rows too.
    """

    method: str
    n: int
    when_drifted: bool = False

    @staticmethod
    def of(policy: Any) -> UpdatePolicy:
        """Read the dict that users write.

        Raises
        ------
        UnknownName
            It has a key that is none.
        BadInput
            It names no method or both, or n is no positive whole number.
        """
        if not isinstance(policy, Mapping):
            raise BadInput(f"an update policy is a dict such as {{'last': 1000}}. Got {policy!r}")
        for key in policy:
            if key not in (*METHODS, "when_drifted"):
                raise UnknownName("key of an update policy", key, (*METHODS, "when_drifted"))
        named = [method for method in METHODS if method in policy]
        if len(named) != 1:
            raise BadInput(f"an update policy has one of 'last' and 'reservoir_sampling'. Got {dict(policy)!r}")
        n, when_drifted = policy[named[0]], policy.get("when_drifted", False)
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise BadInput(f"{named[0]} is a positive number of rows. Got {n!r}")
        if not isinstance(when_drifted, bool):
            raise BadInput(f"when_drifted is true or false. Got {when_drifted!r}")
        return UpdatePolicy(named[0], int(n), when_drifted)


def updated_reference(
    reference: Reference,
    table: Any,
    policy: Mapping[str, Any],
    *,
    seed: int = 0,
    rows: Any = None,
    version: str | None = None,
) -> Reference:
    """A new reference of old and new rows; nothing is compared here, and the old reference does not change.

    Parameters
    ----------
    reference
        The reference so far.
    table
        The new rows, any table with the features of the reference.
    policy
        ``{"last": n}``: the last n of the reference's rows followed by the new ones. ``{"reservoir_sampling": n}``:
        n rows drawn fairly from all rows ever seen.
    seed
        Of the reservoir's draw.
    rows
        The raw rows the reference was built from; without them its row sample stands for them, in the order of a
        hash.
    version
        Of the new reference; default the old one's.

    Returns
    -------
    Reference
        With new bins, the old one's kinds, roles, name, preprocessing, performance and importance, and its id as
        ``parent``. Predictions, scores and labels are kept where old and new rows have them.

    Raises
    ------
    ColumnError
        The new rows lack a feature, or a column is no longer of its kind.
    NotSupported
        Neither raw rows nor a full row sample is there to draw from.
    BadInput
        The policy, or a reservoir larger than the rows that were kept.

    Notes
    -----
    A reservoir is drawn at once: of m new rows after N old ones, the number that enter is hypergeometric, as if each
    had been offered in turn (Vitter 1985, "Random Sampling with a Reservoir", algorithm R).

    Examples
    --------
    >>> old = Reference.from_data({"x": [1.0, 2.0, 3.0]})
    >>> new = updated_reference(old, {"x": [4.0, 5.0]}, {"last": 3}, rows={"x": [1.0, 2.0, 3.0]})
    >>> new.profile.columns["x"].min, new.n_rows, new.parent == old.id
    (3.0, 3, True)
    """
    return rebuild(reference, *updated_rows(reference, table, policy, seed=seed, rows=rows), version=version)


def updated_rows(
    reference: Reference, table: Any, policy: Mapping[str, Any], *, seed: int = 0, rows: Any = None
) -> tuple[pa.Table, int]:
    """``(the rows of the updated reference, the number of rows they stand for)``; see ``updated_reference``."""
    import pyarrow as pa

    chosen = UpdatePolicy.of(policy)
    old, new = _both(reference, table, rows)
    if not new.num_rows:
        raise BadInput("there are no new rows to update the reference with")
    if chosen.method == "last":
        both = pa.concat_tables([old, new])
        kept = both.slice(max(0, both.num_rows - chosen.n))
        return kept, kept.num_rows
    before = reference.n_rows if reference.seen is None else reference.seen
    rng = np.random.default_rng(seed)
    return pa.concat_tables(_draw(old, new, before, chosen.n, rng)), before + new.num_rows


def rebuild(reference: Reference, rows: pa.Table, seen: int, *, version: str | None = None) -> Reference:
    """A reference of these rows with all that the old one says beside its counts."""
    kept = {role: source for role, source in reference.roles.items() if source in rows.column_names}
    kinds = {**reference.kinds, **{kept[role]: kind for role, kind in reference.output_kinds.items() if role in kept}}
    found = Reference.from_data(
        rows,
        feature_names=reference.feature_names,
        kinds=kinds,
        prediction=kept.get("prediction"),
        score=kept.get("score"),
        label=kept.get("true_label"),
    )
    return replace(
        found,
        roles=reference.roles,
        name=reference.name,
        version=reference.version if version is None else version,
        preprocessing=reference.preprocessing,
        performance=reference.performance,
        importance=reference.importance,
        ignored=reference.ignored,
        parent=reference.id,
        seen=seen,
    )


def _draw(old: pa.Table, new: pa.Table, before: int, n: int, rng: np.random.Generator) -> list[pa.Table]:
    """Rows of a reservoir of n, kept in their order, after ``before`` rows and those of ``new``."""
    size = min(n, before + new.num_rows)
    if min(size, before) > old.num_rows:
        raise BadInput(
            f"a reservoir of {n:,} needs more than the {old.num_rows:,} rows kept of {before:,}: ask for at most "
            f"{old.num_rows:,}, or give the raw rows of the reference"
        )
    entering = int(rng.hypergeometric(new.num_rows, before, size))
    # The old rows are themselves a fair draw from all before them, so any size - entering of them are one too.
    return [
        side.take(np.sort(rng.choice(side.num_rows, count, replace=False)))
        for side, count in ((old, size - entering), (new, entering))
    ]


def _both(reference: Reference, table: Any, rows: Any) -> tuple[pa.Table, pa.Table]:
    """Old and new rows in the same columns, each in one Arrow type."""
    if reference.in_rows is not reference:
        raise NotSupported("a reference with weights cannot be updated: build it again from old and new rows")
    source = reference.sample if rows is None else read_table(rows, feature_names=reference.feature_names)
    lost = [] if source is None else [name for name in reference.kinds if name not in source.column_names]
    if source is None or (rows is None and lost):
        what = f"its row sample does not hold {', '.join(lost)}" if lost else "it was kept without a row sample"
        raise NotSupported(f"this reference cannot be updated, {what}: give the raw rows it was built from")
    new = read_table(table, feature_names=reference.feature_names)
    sides = [_columns(reference, side) for side in (source, new)]
    shared = [name for name in sides[0] if name in sides[1]]
    old_rows, new_rows = (_plain(reference, side, shared) for side in sides)
    return old_rows, _cast(new_rows, old_rows.schema)


def _columns(reference: Reference, table: pa.Table) -> dict[str, Any]:
    """Features, and outputs under the names they have in the reference."""
    absent = [name for name in reference.kinds if name not in table.column_names]
    if absent:
        raise ColumnError(absent_message(absent, [n for n in table.column_names if n not in reference.kinds]))
    found = {name: table.column(name) for name in reference.kinds}
    for role in _KEPT_ROLES:
        named = reference.roles.get(role)
        source = next((name for name in (named, role) if name in table.column_names), None)
        if named is not None and source is not None and named not in found:
            found[named] = table.column(source)
    return found


def _plain(reference: Reference, columns: Mapping[str, Any], names: list[str]) -> pa.Table:
    import pyarrow as pa

    kinds = {**reference.kinds, **{reference.roles[r]: kind for r, kind in reference.output_kinds.items()
                                   if r in reference.roles}}  # fmt: skip
    table = pa.table({name: columns[name] for name in names})
    typed: dict[str, Column] = Frame.of(table, kinds={n: k for n, k in kinds.items() if n in names}).columns
    for name, column in typed.items():
        if isinstance(column, UnreadColumn):
            raise ColumnError(f"column {name!r} cannot be {kinds.get(name, 'read')}: {column.reason}")
    return plain_rows(table, typed)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    try:
        return table.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise ColumnError(f"the new rows do not have the types of the reference's: {exc}") from exc
