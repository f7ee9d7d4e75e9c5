"""A profile: one mergeable state a column, counted in the bins of one reference (or in none yet)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError, MergeError
from driftwell.frame import CodedColumn, Column, CompositeColumn, Frame, NumericColumn, UnreadColumn, read_table
from driftwell.profiles.states.categorical import (
    BOOLEAN_VOCABULARY,
    NO_VOCABULARY,
    CategoricalState,
    Vocabulary,
    build_categorical,
    freeze_vocabulary,
)
from driftwell.profiles.states.composite import (
    CompositeBins,
    CompositeState,
    build_composite,
    freeze_composite,
    plain_composite,
)
from driftwell.profiles.states.numeric import (
    PLAIN_BINS,
    NumericBins,
    NumericState,
    build_numeric,
    freeze_bins,
    sorted_values,
)

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = [
    "Bins",
    "Profile",
    "State",
    "Visit",
    "build_profile",
    "freeze",
    "merge_profiles",
    "plain_bins",
    "profile",
]

Bins = NumericBins | Vocabulary | CompositeBins
State = NumericState | CategoricalState | CompositeState
Visit = Callable[[str, npt.NDArray[np.float64], NumericBins], None]
"""Called with the name, the sorted values and the bins of each numeric column while they are at hand."""

PLAIN = "plain"
THREADED_CELLS = 1_000_000


@dataclass(frozen=True, eq=False)
class Profile:
    """The mergeable answer to "what did these rows look like", one state a column.

    Attributes
    ----------
    columns
        State of each feature: ``.count .missing .mean .std .min .max .quantile(q) .distinct``.
    outputs
        The same for the roles ``prediction`` and ``score`` where they are known.
    n_rows
        Number of rows profiled.
    edges_id
        Which bins were counted in; only profiles of one ``edges_id`` merge.
    unread
        Columns that could not be read as their kind, with the reason.
    """

    columns: dict[str, State]
    outputs: dict[str, State]
    n_rows: int
    edges_id: str
    unread: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Profile in bins {self.edges_id}: {self.n_rows:,} rows, {len(self.columns)} columns>"

    def merge(self, other: Profile) -> Profile:
        """Both together, as if all rows had been profiled at once: associative, commutative, exact.

        Raises
        ------
        MergeError
            The profiles count in different bins.
        """
        return merge_profiles([self, other])

    def to_bytes(self, *, edges: bool = True) -> bytes:
        """Canonical bytes: equal profiles give equal bytes, however their rows were split or ordered.

        ``edges=False`` leaves the bins out, for leaves stored beside the reference that froze them.
        """
        from driftwell.profiles.format.codec import encode

        return encode(self, edges=edges)

    @staticmethod
    def from_bytes(data: bytes, reference: Reference | None = None) -> Profile:
        """Read ``to_bytes``; ``reference`` gives the bins back to bytes written without them.

        Raises
        ------
        FormatError
            The bytes are corrupt, cut short or of a newer version.
        """
        from driftwell.profiles.format.codec import decode

        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise BadInput(f"from_bytes reads what to_bytes gave: bytes. Got {type(data).__name__}")
        found = decode(bytes(data))
        return found if reference is None else reference.attach(found)

    @cached_property
    def states(self) -> dict[str, State]:
        """Features and outputs in one mapping, outputs under ``(role)``."""
        return self.columns | {f"({role})": state for role, state in self.outputs.items()}


def profile(table: Any, reference: Reference | None = None, *, kinds: Mapping[str, str] | None = None) -> Profile:
    """Profile any table, in the bins of ``reference`` where one is given.

    Without a reference a profile holds counts, missing values, extremes, categories and exact sums.

    Raises
    ------
    ColumnError
        The table lacks a column of the reference; the message names it and the nearest one present.

    Examples
    --------
    >>> p = profile({"age": [20.0, 30.0, None], "city": ["Oslo", "Oslo", "Bergen"]})
    >>> p.columns["age"].mean, p.columns["age"].missing, p.columns["city"].distinct
    (25.0, 1, 2)
    """
    if reference is not None:
        _check_reference(reference)
        return reference.profile_of(table)
    frame = Frame.of(read_table(table), kinds=kinds)
    return build_profile(frame, plain_bins(frame))


def _check_reference(reference: Any) -> None:
    from driftwell.profiles.reference import Reference

    if not isinstance(reference, Reference):
        raise BadInput(f"reference is a Reference, built with Reference.from_data or loaded. Got {reference!r:.80}")


def plain_bins(frame: Frame) -> dict[str, Bins]:
    """The bins of columns that have no reference: none."""
    bins: dict[str, Bins] = {}
    for name, column in frame.columns.items():
        if isinstance(column, NumericColumn):
            bins[name] = PLAIN_BINS
        elif isinstance(column, CodedColumn):
            bins[name] = BOOLEAN_VOCABULARY if column.kind == "boolean" else NO_VOCABULARY
        elif isinstance(column, CompositeColumn):
            bins[name] = plain_composite(column.kind)
    return bins


def freeze(frame: Frame, *, visit: Visit | None = None) -> tuple[dict[str, Bins], dict[str, State]]:
    """Freeze the bins of each readable column and count it in them, sorting it once."""

    def one(column: Column) -> tuple[Bins, State] | None:
        if isinstance(column, NumericColumn):
            values = sorted_values(column)
            bins = freeze_bins(values)
            if visit is not None:
                visit(column.name, values, bins)
            return bins, build_numeric(column, bins, values)
        if isinstance(column, CodedColumn):
            vocabulary = freeze_vocabulary(column)
            return vocabulary, build_categorical(column, vocabulary)
        return freeze_composite(column) if isinstance(column, CompositeColumn) else None

    found = {c.name: made for c, made in _each(frame, one) if made is not None}
    return {n: b for n, (b, _) in found.items()}, {n: s for n, (_, s) in found.items()}


def build_profile(
    frame: Frame,
    bins: Mapping[str, Bins],
    *,
    outputs: Sequence[str] = (),
    edges_id: str | None = None,
    visit: Visit | None = None,
    known: Mapping[str, State] | None = None,
) -> Profile:
    """Count every column of the frame that has bins. ``outputs`` are kept apart from the features; what is ``known``
    already is not counted again."""

    def one(column: Column) -> State | str:
        found = bins.get(column.name)
        if known and column.name in known:
            return known[column.name]
        if isinstance(column, UnreadColumn):
            return column.reason if edges_id is None or column.found is None else _changed(column)
        if isinstance(column, NumericColumn) and isinstance(found, NumericBins):
            values = sorted_values(column)
            if visit is not None:
                visit(column.name, values, found)
            return build_numeric(column, found, values)
        if isinstance(column, CodedColumn) and isinstance(found, Vocabulary):
            return build_categorical(column, found)
        if isinstance(column, CompositeColumn) and isinstance(found, CompositeBins) and column.kind == found.kind:
            return _composite(column, found)
        return f"{column.kind} values where the reference has another kind"

    states: dict[str, State] = {}
    unread: dict[str, str] = {}
    for column, made in _each(frame, one):
        if isinstance(made, str):
            unread[column.name] = made
        else:
            states[column.name] = made
    return Profile(
        columns={name: state for name, state in states.items() if name not in outputs},
        outputs={name: state for name, state in states.items() if name in outputs},
        n_rows=frame.n_rows,
        edges_id=edges_id or PLAIN,
        unread=unread,
    )


def _changed(column: UnreadColumn) -> str:
    said = f"{column.reason}: the type of the column changed"
    if (column.kind, column.found) == ("categorical", "datetime"):
        said += f"; build the reference with kinds={{{column.name!r}: 'datetime'}}, which reads times and their text"
    return said


def _composite(column: CompositeColumn, bins: CompositeBins) -> CompositeState | str:
    try:
        return build_composite(column, bins)
    except ColumnError as exc:
        return str(exc)


def bins_id(bins: Mapping[str, Bins]) -> str:
    """Content hash of the bins of all columns, whatever their order."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(bins):
        digest.update(f"{name}\0{bins[name].id}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Merge any number of profiles of the same bins.

    A column that some profiles lack counts as missing in all their rows (only profiles without a reference can
    differ in their columns).

    Raises
    ------
    MergeError
        The profiles count in different bins.
    BadInput
        There is no profile at all.
    """
    parts = list(profiles)
    if not parts:
        raise BadInput("there is no profile to merge")
    for part in parts:
        if not isinstance(part, Profile):
            raise BadInput(f"merge_profiles takes profiles. Got {type(part).__name__}")
    ids = {part.edges_id for part in parts}
    if len(ids) > 1:
        raise MergeError(f"profiles of different bins cannot be merged: {', '.join(sorted(ids))}")
    rows = [part.n_rows for part in parts]
    unread: dict[str, str] = {}
    for part in parts:
        for name, reason in part.unread.items():
            unread[name] = min(reason, unread.get(name, reason))  # of two reasons the same one in any order
    return Profile(
        columns=_merge_columns([part.columns for part in parts], rows),
        outputs=_merge_columns([part.outputs for part in parts], rows),
        n_rows=sum(rows),
        edges_id=parts[0].edges_id,
        unread=unread,
    )


def _merge_columns(parts: list[dict[str, State]], rows: list[int]) -> dict[str, State]:
    merged: dict[str, State] = {}
    absent: dict[str, int] = {}
    seen = 0
    for columns, n in zip(parts, rows, strict=True):
        for name, state in columns.items():
            before = merged.get(name)
            merged[name] = state if before is None else _merge_states(name, before, state)
            if before is None and seen:
                absent[name] = seen
        for name in merged.keys() - columns.keys():
            absent[name] = absent.get(name, 0) + n
        seen += n
    return {name: _add_missing(state, absent.get(name, 0)) for name, state in merged.items()}


def _merge_states(name: str, a: State, b: State) -> State:
    if isinstance(a, NumericState) and isinstance(b, NumericState):
        return a.merge(b)
    if isinstance(a, CategoricalState) and isinstance(b, CategoricalState):
        return a.merge(b)
    if isinstance(a, CompositeState) and isinstance(b, CompositeState) and a.kind == b.kind:
        return a.merge(b)
    for one, other in ((a, b), (b, a)):
        if _is_neutral(one):
            return _add_missing(other, one.missing)
    raise MergeError(f"column {name!r} is {a.kind} in one profile and {b.kind} in another: name its kind in kinds=")


def _is_neutral(state: State) -> bool:
    """Whether this may be a column of any kind: nothing but nulls, or no rows, is numeric for want of values."""
    return isinstance(state, NumericState) and state.missing == state.n_rows and not state.invalid


def _add_missing(state: State, rows: int) -> State:
    if not rows:
        return state
    if isinstance(state, CompositeState):
        return state.with_missing(rows)
    return replace(state, missing=state.missing + rows)


def _each(frame: Frame, one: Any) -> list[tuple[Column, Any]]:
    """Apply ``one`` to every column, on two threads when there is much to sort (NumPy releases the lock)."""
    columns = list(frame.columns.values())
    if len(columns) > 1 and len(columns) * frame.n_rows >= THREADED_CELLS:
        with ThreadPoolExecutor(2) as pool:
            return list(zip(columns, pool.map(one, columns), strict=True))
    return [(column, one(column)) for column in columns]
