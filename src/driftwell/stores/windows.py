"""Windows are sums: leaves are built from batches, and a window merges whole hours of leaves with the rows of the
two hours it cuts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.frame import Frame, to_arrow
from driftwell.profiles.profile import Profile, State, build_profile, merge_profiles, plain_bins
from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Leaf, LeafBuilder, Ledger, PredictionBatch, PredictionStore

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.profiles.reference import Reference

__all__ = ["WindowProfile", "count_arrived", "feature_table", "leaf_builder", "rows_profile", "window_profile"]

OUTPUTS = {"prediction": "(prediction)", "score": "(score)"}
_TAKEN = {"version", "true_label", "label_time", *ROW_COLUMNS}
_PREFIX = "feature."


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """The profile of a window; ``skipped`` rows are only known in other bins and could not be counted again."""

    profile: Profile
    skipped: int = 0


def leaf_builder(reference: Reference | None) -> LeafBuilder:
    """How to turn a batch into leaves: one for each segment and event hour, in the reference's bins or in none."""

    def build(batch: PredictionBatch) -> list[Leaf]:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = batch.rows
        if not rows.num_rows:
            return []
        hours = pc.cast(rows.column("timestamp"), pa.int64()).to_numpy() // HOUR_US
        segments = rows.column("segment").to_pylist()
        features = feature_table(rows)
        leaves = []
        for key, index in _split(hours, segments):
            hour, segment = key
            part = rows if len(index) == rows.num_rows else rows.take(index)
            own = features if part is rows else features.take(index)
            made = rows_profile(own, part, reference)
            state = made.to_bytes(edges=False)
            leaves.append(
                Leaf(batch.model, batch.version, segment, hour * HOUR_US, made.edges_id, part.num_rows, state)
            )
        return leaves

    return build


def feature_table(rows: pa.Table) -> pa.Table:
    """The features of a batch (the fields of its struct column) as a table of their own."""
    import pyarrow as pa

    column = rows.column("features").combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # no chunk at all
        column = pa.array([], column.type)
    fields = column.flatten()  # unlike field(i) it knows which rows have no features at all
    return pa.table({field.name: fields[i] for i, field in enumerate(column.type)})


def rows_profile(features: pa.Table, rows: pa.Table, reference: Reference | None) -> Profile:
    """Profile features together with prediction and score, which stand in ``rows`` as a store gives them."""
    import pyarrow as pa

    columns = {name: features.column(name) for name in features.column_names}
    prediction = _decoded(rows.column("prediction"))
    if prediction.null_count < len(prediction):
        columns["(prediction)"] = prediction
    score = rows.column("score")
    if score.null_count < len(score):
        columns["(score)"] = score
    table = pa.table(columns) if columns else rows.select([])
    if reference is not None:
        made = reference.profile_table(table, outputs=OUTPUTS)
    else:
        frame = Frame.of(table)
        made = build_profile(frame, plain_bins(frame), outputs=list(OUTPUTS.values()))
        made = replace(made, outputs={name[1:-1]: state for name, state in made.outputs.items()})
    return _with_invalid(replace(made, n_rows=rows.num_rows), rows.column("invalid"))


def window_profile(
    store: PredictionStore,
    ledger: Ledger,
    model: str,
    version: str | None,
    start_us: int,
    end_us: int,
    reference: Reference | None,
    *,
    after_arrival: int = 0,
) -> WindowProfile:
    """Profile the rows with event time in ``[start_us, end_us)``: whole hours from leaves, cut hours from rows.

    ``after_arrival`` leaves out what arrived up to that mark. Leaves counted in other bins (a writer that did not
    know the reference yet) are rebuilt from their rows first.
    Cost: independent of the number of predictions, but for the two cut hours.
    """
    edges_id = reference.edges_id if reference is not None else "plain"
    first, last, cut = _parts(start_us, end_us)
    parts: list[Profile] = []
    skipped = 0
    if first < last:
        leaves = ledger.leaves(model, version, first, last, after_arrival=after_arrival)
        if version is not None and any(leaf.edges_id != edges_id for leaf in leaves):
            ledger.replace_leaves(model, version, edges_id, leaf_builder(reference))
            leaves = ledger.leaves(model, version, first, last, after_arrival=after_arrival)
        parts += [Profile.from_bytes(leaf.state, reference) for leaf in leaves if leaf.edges_id == edges_id]
        skipped = sum(leaf.n for leaf in leaves if leaf.edges_id != edges_id)
    for low, high in cut:
        rows = store.read(model, version, low, high, after_arrival=after_arrival)
        if rows.num_rows:
            parts.append(rows_profile(_flat_features(rows), rows, reference))
    return WindowProfile(merge_profiles(parts) if parts else empty_profile(reference), skipped)


def count_arrived(
    store: PredictionStore, ledger: Ledger, model: str, version: str, start_us: int, end_us: int, *, after_arrival: int
) -> int:
    """How many predictions of ``[start_us, end_us)`` arrived after a mark."""
    first, last, cut = _parts(start_us, end_us)
    leaves = ledger.leaves(model, version, first, last, after_arrival=after_arrival)
    n = sum(leaf.n for leaf in leaves)
    for low, high in cut:
        rows = store.read(model, version, low, high, columns=("prediction_id",), after_arrival=after_arrival)
        n += int(rows.num_rows)
    return n


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
    types = {"numeric": pa.float64(), "categorical": pa.string(), "boolean": pa.bool_()}
    return reference.profile_table(pa.table({n: pa.array([], types[k]) for n, k in reference.kinds.items()}))


def _flat_features(rows: pa.Table) -> pa.Table:
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


def _with_invalid(made: Profile, invalid: pa.ChunkedArray) -> Profile:
    """Count the cells that could not be read as their column's kind; their text is in the ``invalid`` column."""
    if invalid.null_count == len(invalid):
        return made
    counts: Counter[str] = Counter()
    for text in invalid.drop_null().to_pylist():
        counts.update(msgspec.json.decode(text).keys())
    columns: dict[str, State] = {
        name: replace(state, invalid=state.invalid + counts[name]) if counts[name] else state
        for name, state in made.columns.items()
    }
    return replace(made, columns=columns)
