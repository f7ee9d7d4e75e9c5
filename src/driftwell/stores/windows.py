"""Windows are sums: leaves are built from batches, and a window merges whole hours of leaves with the rows of the
two hours it cuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.errors import MergeError
from driftwell.frame import Frame, to_arrow
from driftwell.profiles.profile import Profile, State, build_profile, merge_profiles, plain_bins
from driftwell.profiles.rebinning import rebin_profile
from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Leaf, LeafBuilder, Ledger, PredictionBatch, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.profiles.reference import Reference

__all__ = [
    "WindowProfile",
    "count_arrived",
    "feature_table",
    "leaf_builder",
    "leaf_edges",
    "oldest_rows",
    "recorded_features",
    "rows_profile",
    "window_profile",
]

OUTPUTS = {"prediction": "(prediction)", "score": "(score)", "probability": "(probability)"}
_TAKEN = {"version", "true_label", "label_time", *ROW_COLUMNS}
_PREFIX = "feature."


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """The profile of a window.

    ``approximate`` rows are gone and were counted without the reference: they stand in its bins by way of their
    leaves' grids, ``notes`` say how far that can be off. ``skipped`` rows are only known in other bins and could not
    be counted again. Where feature rows of a cut hour are gone, the window is widened to the whole hour, and a note
    says so.
    """

    profile: Profile
    skipped: int = 0
    approximate: int = 0
    notes: tuple[str, ...] = ()


def leaf_builder(
    reference: Reference | None, transform: Transform | None = None, *, kinds: Mapping[str, str] | None = None
) -> LeafBuilder:
    """How to turn a batch into leaves: one for each segment and event hour, in the reference's bins or in none.

    With a reference, features go through ``transform`` before they are counted; without one, ``kinds`` says of what
    kind some are: categories are kept, texts are not.
    """

    def build(batch: PredictionBatch) -> list[Leaf]:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = batch.rows
        if not rows.num_rows:
            return []
        hours = pc.cast(rows.column("timestamp"), pa.int64()).to_numpy() // HOUR_US
        segments = rows.column("segment").to_pylist()
        features = feature_table(rows)
        if reference is not None and transform:
            features = transform(features)
        leaves = []
        for key, index in _split(hours, segments):
            hour, segment = key
            part = rows if len(index) == rows.num_rows else rows.take(index)
            own = features if part is rows else features.take(index)
            names = transform.feature_map if transform else None
            made = rows_profile(own, part, reference, names=names, kinds=kinds)
            state = made.to_bytes(edges=False)
            edges = leaf_edges(reference, transform)
            leaves.append(Leaf(batch.model, batch.version, segment, hour * HOUR_US, edges, part.num_rows, state))
        return leaves

    return build


def leaf_edges(reference: Reference | None, transform: Transform | None) -> str:
    """What a leaf was counted in: the reference's bins, and the transform that features went through before."""
    if reference is None:
        return "plain"
    return f"{reference.edges_id}+{transform.id}" if transform else reference.edges_id


def feature_table(rows: pa.Table) -> pa.Table:
    """The features of a batch (the fields of its struct column) as a table of their own."""
    import pyarrow as pa

    column = rows.column("features").combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # no chunk at all
        column = pa.array([], column.type)
    fields = column.flatten()  # unlike field(i) it knows which rows have no features at all
    return pa.table({field.name: fields[i] for i, field in enumerate(column.type)})


def rows_profile(
    features: pa.Table,
    rows: pa.Table,
    reference: Reference | None,
    *,
    names: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Profile:
    """Profile features together with prediction and score, which stand in ``rows`` as a store gives them.

    ``names``: what features are called here by what they were called when they were recorded. ``kinds``: of those
    features that no reference decides.
    """
    import pyarrow as pa

    columns = {name: features.column(name) for name in features.column_names}
    prediction = _decoded(rows.column("prediction"))
    if prediction.null_count < len(prediction):
        columns["(prediction)"] = prediction
    score = rows.column("score")
    if score.null_count < len(score):
        columns["(score)"] = score
    if reference is not None:
        columns["(timestamp)"] = rows.column("timestamp")
        columns["(probability)"] = rows.column("probability")
    table = pa.table(columns) if columns else rows.select([])
    if reference is not None:
        made = reference.profile_table(table, outputs=OUTPUTS)
    else:
        frame = Frame.of(table, kinds=kinds)
        made = build_profile(frame, plain_bins(frame), outputs=list(OUTPUTS.values()))
        made = replace(made, outputs={name[1:-1]: state for name, state in made.outputs.items()})
    return _with_invalid(replace(made, n_rows=rows.num_rows), rows.column("invalid"), names or {})


def window_profile(
    store: PredictionStore,
    ledger: Ledger,
    model: str,
    version: str | None,
    start_us: int,
    end_us: int,
    reference: Reference | None,
    *,
    limit: int | None = None,
    after_arrival: int = 0,
    transform: Transform | None = None,
) -> WindowProfile:
    """Profile the rows with event time in ``[start_us, end_us)``: whole hours from leaves, cut hours from rows.

    ``limit`` keeps the newest of a window that begins at the time of the oldest row to be kept: of those that share
    this time the last to arrive. ``after_arrival`` leaves out what arrived up to that mark.

    With a reference, features go through ``transform`` before they are counted; without one here, leaves that another
    process transformed are good. Leaves counted in other bins (a writer that did not know the reference yet) are
    rebuilt from their rows first; where the rows are gone, leaves counted without any reference are counted in its bins
    from their grids. A cut hour that has lost feature rows is counted whole, from its leaves.
    Cost: independent of the number of predictions, but for the two cut hours.
    """
    edges_id = leaf_edges(reference, transform)
    parts: list[Profile] = []
    others: list[Leaf] = []
    reader = _Reader(store, ledger, model, version, after_arrival)
    hours = reader.hours(start_us, end_us, apart=limit is not None)
    first, last = hours.first, hours.last
    if limit is not None and not first <= start_us < last:
        rows = oldest_rows(store, model, version, start_us, end_us, limit, after_arrival=after_arrival)
        parts += [_cut_profile(rows, reference, transform)] if rows.num_rows else []
    if first < last:
        leaves = ledger.leaves(model, version, first, last, after_arrival=after_arrival)
        if version is not None and not all(_is_counted_in(edges_id, leaf) for leaf in leaves):
            ledger.replace_leaves(model, version, edges_id, leaf_builder(reference, transform))
            leaves = ledger.leaves(model, version, first, last, after_arrival=after_arrival)
        parts += [Profile.from_bytes(leaf.state, reference) for leaf in leaves if _is_counted_in(edges_id, leaf)]
        others = [leaf for leaf in leaves if not _is_counted_in(edges_id, leaf)]
    parts += [_cut_profile(rows, reference, transform) for rows in hours.cut if rows.num_rows]
    left = sum(leaf.n for leaf in others)
    plain = [leaf for leaf in others if leaf.edges_id == "plain"]
    regained = None if reference is None or transform or not plain else _from_grids(plain, reference)
    again, notes = regained or (None, ())
    approximate = 0 if again is None else again.n_rows
    parts += [] if again is None else [again]
    found = merge_profiles(parts) if parts else empty_profile(reference)
    return WindowProfile(found, left - approximate, approximate, (*hours.notes, *notes))


def _from_grids(leaves: list[Leaf], reference: Reference) -> tuple[Profile, tuple[str, ...]] | None:
    """Leaves counted without a reference in its bins, with notes; None where a column would be lost, which would then
    look as if it were missing."""
    try:
        plain = merge_profiles(Profile.from_bytes(leaf.state) for leaf in leaves)
    except MergeError:  # kinds of the columns changed from one leaf to the next
        return None
    found, notes = rebin_profile(plain, reference)
    lost = (plain.columns.keys() & reference.bins.keys()) - found.columns.keys()
    lost |= (plain.outputs.keys() & reference.output_bins.keys()) - found.outputs.keys()
    return None if lost else (found, notes)


def _is_counted_in(edges_id: str, leaf: Leaf) -> bool:
    return leaf.edges_id == edges_id or leaf.edges_id.startswith(f"{edges_id}+")


def _cut_profile(rows: pa.Table, reference: Reference | None, transform: Transform | None) -> Profile:
    features = recorded_features(rows)
    if reference is None or not transform:
        return rows_profile(features, rows, reference)
    return rows_profile(transform(features), rows, reference, names=transform.feature_map)


def oldest_rows(
    store: PredictionStore, model: str, version: str | None, start_us: int, end_us: int, limit: int, **chosen: Any
) -> pa.Table:
    """Rows at the first instant of a window that are among its newest ``limit``: the last to arrive. ``chosen`` goes to
    ``PredictionStore.read``."""
    left = max(limit - store.count(model, version, start_us + 1, end_us), 0)
    return store.read(model, version, start_us, start_us + 1, limit=left, **chosen)


def count_arrived(
    store: PredictionStore, ledger: Ledger, model: str, version: str, start_us: int, end_us: int, *, after_arrival: int
) -> int:
    """How many predictions of ``[start_us, end_us)`` arrived after a mark."""
    reader = _Reader(store, ledger, model, version, after_arrival, columns=("prediction_id",))
    hours = reader.hours(start_us, end_us)
    leaves = ledger.leaves(model, version, hours.first, hours.last, after_arrival=after_arrival)
    return sum(leaf.n for leaf in leaves) + sum(int(rows.num_rows) for rows in hours.cut)


@dataclass(frozen=True, slots=True)
class _Hours:
    """A window as its whole hours ``[first, last)`` and the rows of the hours that it cuts."""

    first: int
    last: int
    cut: tuple[pa.Table, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Divides a window into hours. A cut hour that has lost feature rows counts as a whole one."""

    store: PredictionStore
    ledger: Ledger
    model: str
    version: str | None
    after_arrival: int
    columns: tuple[str, ...] | None = None

    def hours(self, start_us: int, end_us: int, *, apart: bool = False) -> _Hours:
        """``apart`` leaves out the rows of the first instant, unless its hour counts whole."""
        first, last, spans = _parts(start_us + apart, end_us)
        cut = {low: self._rows(low, high) for low, high in spans}
        gone = {low // HOUR_US * HOUR_US for low, rows in cut.items() if rows is None}
        if apart and start_us < end_us and self._have_lost_features(start_us, start_us + 1):
            gone.add(start_us // HOUR_US * HOUR_US)
        kept = tuple(rows for low, rows in cut.items() if rows is not None and low // HOUR_US * HOUR_US not in gone)
        if not gone:
            return _Hours(first, last, kept)
        ends = [*gone, *(hour + HOUR_US for hour in gone), *((first, last) if first < last else ())]
        first, last = min(ends), max(ends)
        said = " to ".join(f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%d %H:%M}" for at in (first, last))
        note = f"feature rows at the ends of the window are gone: whole hours are counted there ({said} UTC)"
        return _Hours(first, last, kept, (note,))

    def _rows(self, low: int, high: int) -> pa.Table | None:
        """The rows of a span within one hour; None where predictions have lost their features, or were forgotten."""
        place = (self.model, self.version)
        known = self.store.count(*place, low, high)  # first: what arrives meanwhile must not look as if it were gone
        rows = self.store.read(*place, low, high, columns=self.columns, after_arrival=self.after_arrival)
        if known:
            lost = rows.num_rows < known and (not self.after_arrival or self._have_lost_features(low, high))
            return None if lost else rows
        hour = low // HOUR_US * HOUR_US
        forgotten = not self.store.outcomes(*place, hour, hour + HOUR_US, limit=1).num_rows
        return None if forgotten and self.ledger.leaves(*place, hour, hour + HOUR_US) else rows

    def _have_lost_features(self, low: int, high: int) -> bool:
        known = self.store.count(self.model, self.version, low, high)
        return known > int(self.store.read(self.model, self.version, low, high, columns=("prediction_id",)).num_rows)


def _parts(start_us: int, end_us: int) -> tuple[int, int, list[tuple[int, int]]]:
    """The whole hours of a window, ``[first, last)``, and the spans of the hours that it cuts."""
    first, last = -(-start_us // HOUR_US) * HOUR_US, end_us // HOUR_US * HOUR_US
    spans = [(start_us, first), (last, end_us)] if first <= last else [(start_us, end_us)]
    return first, last, [(low, high) for low, high in spans if low < high]


def empty_profile(reference: Reference | None) -> Profile:
    """The profile of no rows: the identity of merging."""
    import pyarrow as pa

    if reference is None:
        return Profile({}, {}, 0, "plain")
    return reference.profile_table(pa.table({name: pa.nulls(0) for name in reference.kinds}))


def recorded_features(rows: pa.Table) -> pa.Table:
    """The features of a table that ``PredictionStore.read`` gave."""
    own = [name for name in rows.column_names if name not in _TAKEN]
    return rows.select(own).rename_columns([_own_name(name) for name in own])


def _own_name(shown: str) -> str:
    """``read`` puts ``feature.`` before the name of a feature that is named like a column of the rows."""
    bare = shown
    while bare.startswith(_PREFIX):
        bare = bare.removeprefix(_PREFIX)
    return shown.removeprefix(_PREFIX) if bare in _TAKEN else shown


def _split(hours: Any, segments: list[str | None]) -> list[tuple[tuple[int, str | None], Any]]:
    """Row numbers of each (hour, segment), in order."""
    names = {segment: i for i, segment in enumerate(dict.fromkeys(segments))}
    codes = np.fromiter((names[s] for s in segments), np.int64, len(segments))
    keys = np.stack([hours, codes], axis=1)
    groups, inverse = np.unique(keys, axis=0, return_inverse=True)
    labels = list(names)
    return [((int(hour), labels[code]), np.flatnonzero(inverse.ravel() == i)) for i, (hour, code) in enumerate(groups)]


def _decoded(column: pa.ChunkedArray) -> pa.Array:
    """JSON texts as one typed Arrow array; each distinct text is decoded once."""
    coded = column.combine_chunks().dictionary_encode() if column.num_chunks else column.combine_chunks()
    if not len(column):
        return to_arrow([])
    entries = [None if text is None else msgspec.json.decode(text) for text in coded.dictionary.to_pylist()]
    entries = [entry if isinstance(entry, (str, int, float, bool)) else None for entry in entries]
    values = [None if i is None else entries[i] for i in coded.indices.to_pylist()]
    return to_arrow(values)


def _with_invalid(made: Profile, invalid: pa.ChunkedArray, names: Mapping[str, str]) -> Profile:
    """Count the cells that could not be read as their column's kind; their text is in the ``invalid`` column."""
    if invalid.null_count == len(invalid):
        return made
    counts: Counter[str] = Counter()
    for text in invalid.drop_null().to_pylist():
        counts.update(names.get(name, name) for name in msgspec.json.decode(text))
    columns: dict[str, State] = {
        name: replace(state, invalid=state.invalid + counts[name]) if counts[name] else state
        for name, state in made.columns.items()
    }
    return replace(made, columns=columns)
