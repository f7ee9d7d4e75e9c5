"""Profiles as bytes: versioned, canonical, small. No pickle; corrupt or newer bytes are one clear error."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.errors import FormatError
from driftwell.kernels.exact import PLAIN_SHIFT
from driftwell.profiles.format.layout import (
    Codes,
    Document,
    Numbers,
    Numbers2,
    Parts,
    WeightedCodes,
    WeightedNumbers,
    Written,
)
from driftwell.profiles.format.packing import int_in, int_out, pack, pack_sums, pack_tight, unpack, unpack_sums
from driftwell.profiles.profile import Bins, Profile, State, merge_profiles
from driftwell.profiles.states.categorical import CategoricalState, Vocabulary
from driftwell.profiles.states.composite import FACETS, CompositeBins, CompositeState, Part, PartBins, attach
from driftwell.profiles.states.grid import MAX_CELLS, NO_VALUES, Grid
from driftwell.profiles.states.numeric import CERTAIN, PLAIN_BINS, NumericBins, NumericState, Uncertainty
from driftwell.profiles.states.weights import Weighting

__all__ = [
    "Summary",
    "decode",
    "decode_bins",
    "encode",
    "encode_bins",
    "identity",
    "merge_states",
    "pack",
    "summaries",
    "unpack",
]

MAGIC = b"DWP"
VERSION = 2
_HEAD = len(MAGIC) + 1 + 4  # then the version and a CRC-32 of the rest

Ints = npt.NDArray[np.int64]


class Summary(NamedTuple):
    """What the totals of one column say: ``sum((x - centre) · 2**shift)`` and its squares, over ``n`` finite
    values."""

    kind: str
    n: int
    total: int
    squares: int
    centre: float
    shift: int
    min: float | None
    max: float | None
    missing: int


_decoder = msgspec.msgpack.Decoder(Document)


def encode(profile: Profile, *, edges: bool) -> bytes:
    """Canonical bytes of a profile; ``edges`` embeds the bins."""
    return _sealed(_document(profile, lambda state: _state_out(state, edges)), VERSION)


def _document(profile: Profile, out: Callable[[State], Written]) -> Document:
    return Document(
        edges_id=profile.edges_id,
        n_rows=profile.n_rows,
        columns=[(name, out(profile.columns[name])) for name in sorted(profile.columns)],
        outputs=[(name, out(profile.outputs[name])) for name in sorted(profile.outputs)],
        unread=sorted(profile.unread.items()),
    )


def _sealed(document: Document, version: int) -> bytes:
    body = msgspec.msgpack.encode(document)
    return MAGIC + bytes([version]) + zlib.crc32(body).to_bytes(4, "little") + body


def identity(profile: Profile) -> bytes:
    """Bytes that a reference's id is the hash of: the layout of version 1 wherever that can hold the column, so that
    ids outlive changes of the format."""

    def old(state: State) -> Written:
        if isinstance(state, NumericState) and state.weighting is None:
            return _numbers_out(state, True)
        return _state_out(state, True)

    return _sealed(_document(profile, old), 1)


def decode(data: bytes) -> Profile:
    """Read what ``encode`` wrote.

    Raises
    ------
    FormatError
        The bytes are no profile, corrupt, cut short, or of a newer version.
    """
    document = _read(data)
    try:
        return Profile(
            columns={name: _state_in(state) for name, state in document.columns},
            outputs={name: _state_in(state) for name, state in document.outputs},
            n_rows=document.n_rows,
            edges_id=document.edges_id,
            unread=dict(document.unread),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as exc:
        raise FormatError(f"the profile is corrupt: {exc}") from exc


def summaries(data: bytes) -> dict[str, Summary]:
    """Count, mean and spread of each feature, read without unpacking a single bin."""
    return {name: _summary(state) for name, state in _read(data).columns}


def merge_states(states: list[bytes]) -> bytes:
    """Merge profiles without leaving their byte form: what sealing an hour of leaves needs."""
    return merge_profiles(decode(state) for state in states).to_bytes(edges=False)


def encode_bins(bins: Bins) -> dict[str, Any]:
    """Bins as JSON values."""
    if isinstance(bins, Vocabulary):
        return {"type": "categorical", "categories": list(bins.categories)}
    if isinstance(bins, CompositeBins):
        # Cells that the kind fixes are not written.
        facets = {n: encode_bins(b) if isinstance(b, NumericBins) else None for n, b in sorted(bins.facets.items())}
        return {"type": "composite", "kind": bins.kind, "facets": facets, "frozen": bins.frozen}
    return {
        "type": "numeric",
        "edges": bins.edges.tolist(),
        "groups": bins.groups.tolist(),
        "centre": bins.centre,
        "shift": bins.shift,
    }


def decode_bins(document: dict[str, Any]) -> Bins:
    """Read what ``encode_bins`` wrote; anything else is a KeyError, TypeError or ValueError."""
    if document["type"] == "categorical":
        return Vocabulary(tuple(map(str, document["categories"])))
    if document["type"] == "composite":
        return _composite_bins_in(document)
    edges = np.array(document["edges"], np.float64)
    groups = np.array(document["groups"], np.int64)
    sizes_fit = edges.ndim == groups.ndim == 1 and len(groups) == len(edges) + 1
    if not sizes_fit or not np.all(np.isfinite(edges)) or not np.all(edges[1:] > edges[:-1]) or groups.min() < 0:
        raise ValueError("edges and groups do not fit together")
    return NumericBins(edges, groups, float(document["centre"]), _checked_shift(int(document["shift"])))


def _composite_bins_in(document: dict[str, Any]) -> CompositeBins:
    known = FACETS[document["kind"]]
    facets: dict[str, PartBins] = {}
    for name, written in document["facets"].items():
        found = known[name].cells if written is None else decode_bins(written)
        if not isinstance(found, NumericBins if known[name].cells is None else Vocabulary):
            raise ValueError(f"facet {name} has bins of another type")
        facets[name] = found
    return CompositeBins(document["kind"], facets, dict(document["frozen"]))


def _read(data: bytes) -> Document:
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD:
        raise FormatError("these bytes are not a Driftwell profile")
    version = data[len(MAGIC)]
    if version > VERSION:
        raise FormatError(
            f"this profile was written by a newer Driftwell (format {version}, this one reads up to {VERSION}): upgrade"
        )
    body = data[_HEAD:]
    if version < 1 or zlib.crc32(body) != int.from_bytes(data[_HEAD - 4 : _HEAD], "little"):
        raise FormatError("the profile is corrupt or cut short: its checksum does not fit its content")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise FormatError(f"the profile is corrupt: {exc}") from exc


def _state_out(state: State, edges: bool) -> Written:
    if not isinstance(state, CompositeState):
        written = _part_out(state, edges)
        return written if state.weighting is None else _weighted_out(written, state.weighting)
    return Parts(
        kind=state.kind,
        bins_id=state.bins_id,
        bins=encode_bins(state.bins) if edges and state.bins is not None else None,
        rows=(state.count, state.missing, state.invalid),
        facets=[(name, _part_out(part, False)) for name, part in sorted(state.facets.items())],
        sums=pack(state.sums),
    )


def _weighted_out(written: Codes | Numbers2, weighting: Weighting) -> WeightedCodes | WeightedNumbers:
    made = WeightedCodes if isinstance(written, Codes) else WeightedNumbers
    fields = {name: getattr(written, name) for name in written.__struct_fields__}
    return made(**fields, weighting=(weighting.rows, weighting.present, int_out(weighting.squares)))


def _part_out(state: Part, edges: bool) -> Codes | Numbers2:
    if isinstance(state, CategoricalState):
        return Codes(
            kind="boolean" if state.kind == "boolean" else "categorical",
            bins_id=state.bins_id,
            bins=encode_bins(state.vocabulary) if edges and state.vocabulary is not None else None,
            counts=pack(state.counts),
            rows=(state.missing, state.invalid),
            newcomers=sorted(state.newcomers.items()),
        )
    plain = _numbers_out(state, edges)
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    return Numbers2(
        **fields | {"counts": pack_tight(state.counts), "sums": pack_sums(state.sum_high, state.sum_low)},
        rounded=state.rounded,
        grid=None if state.grid is None else _grid_out(state.grid),
        uncertainty=None
        if state.uncertainty == CERTAIN
        else (*state.uncertainty[:2], int_out(state.uncertainty.moved)),
    )


def _numbers_out(state: NumericState, edges: bool) -> Numbers:
    """A numeric column as version 1 has it."""
    return Numbers(
        bins_id=state.bins_id,
        bins=encode_bins(state.bins) if edges and state.bins is not None else None,
        counts=pack(state.counts),
        rows=(state.missing, state.invalid, state.nan, state.neg_inf, state.pos_inf),
        centre=state.centre,
        shift=state.shift,
        sums=(pack(state.sum_high), pack(state.sum_low)),
        large=[(cell, int_out(value)) for cell, value in sorted(state.large.items())],
        squares=int_out(state.squares),
        range=(state.min, state.max),
        finite=state.finite,
        total=int_out(state.total),
    )


def _grid_out(grid: Grid) -> tuple[int, bytes, bytes]:
    return grid.shift, pack_tight(np.diff(grid.cells, prepend=0)), pack_tight(grid.counts)


def _grid_in(written: Numbers, bins: Bins | None) -> Grid | None:
    """Values written without a grid have none; no values have the grid of none."""
    found = written.grid if isinstance(written, Numbers2) else None
    if found is None:
        plain = bins.is_plain if isinstance(bins, NumericBins) else written.bins_id == PLAIN_BINS.id
        return NO_VALUES if plain and not written.finite else None
    shift, cells, counts = found[0], np.cumsum(unpack(found[1])), unpack(found[2])
    fits = len(cells) == len(counts) <= MAX_CELLS and counts.sum() == written.finite
    if not fits or counts.min(initial=1) < 1 or not 0 <= shift < 64 or np.any(cells[1:] <= cells[:-1]):
        raise ValueError("counts and grid do not fit together")
    return Grid(shift, cells, counts)


def _state_in(written: Written) -> State:
    if not isinstance(written, Parts):
        found = _part_in(written)
        return _weighted_in(found, written) if isinstance(written, WeightedCodes | WeightedNumbers) else found
    count, missing, invalid = written.rows
    facets = {name: _part_in(part) for name, part in written.facets}
    if min(written.rows) < 0 or not facets.keys() <= FACETS[written.kind].keys():
        raise ValueError("counts and facets do not fit together")
    made = CompositeState(written.kind, None, written.bins_id, facets, count, missing, invalid, unpack(written.sums))
    if written.bins is None:
        return made
    bins = decode_bins(written.bins)
    if not isinstance(bins, CompositeBins) or bins.id != written.bins_id:
        raise ValueError("counts and bins do not fit together")
    return attach(made, bins)


def _weighted_in(found: Part, written: WeightedCodes | WeightedNumbers) -> Part:
    rows, present, squares = written.weighting
    weighting = Weighting(rows, present, int_in(squares))
    if not 0 <= present <= rows or weighting.squares < 1 or weighting.squares * rows < found.units**2:
        raise ValueError("counts and weights do not fit together")
    return replace(found, weighting=weighting)


def _part_in(written: Codes | Numbers) -> Part:
    bins = None if written.bins is None else decode_bins(written.bins)
    counts = unpack(written.counts)
    if len(counts) == 0 or counts.min() < 0 or min(written.rows) < 0:
        raise ValueError("counts must not be negative")
    if isinstance(written, Numbers):
        return _numbers_in(written, bins, counts)
    if bins is not None and not (isinstance(bins, Vocabulary) and len(bins.categories) + 1 == len(counts)):
        raise ValueError("counts and categories do not fit together")
    newcomers = dict(written.newcomers)
    return CategoricalState(bins, written.bins_id, counts, newcomers, *written.rows, written.kind)


def _numbers_in(written: Numbers, bins: Bins | None, counts: Ints) -> NumericState:
    if bins is not None and not (isinstance(bins, NumericBins) and bins.n_cells == len(counts)):
        raise ValueError("counts and edges do not fit together")
    sum_high, sum_low = unpack_sums(written.sums)
    large = {cell: int_in(value) for cell, value in written.large}
    if not len(sum_high) == len(sum_low) == len(counts) or any(not 0 <= c < len(counts) for c in large):
        raise ValueError("counts and sums do not fit together")
    missing, invalid, nan, neg_inf, pos_inf = written.rows
    found = NumericState(
        bins=bins,
        bins_id=written.bins_id,
        centre=written.centre,
        shift=_checked_shift(written.shift),
        counts=counts,
        sum_high=sum_high,
        sum_low=sum_low,
        large=large,
        squares=int_in(written.squares),
        missing=missing,
        nan=nan,
        neg_inf=neg_inf,
        pos_inf=pos_inf,
        invalid=invalid,
        min=written.range[0],
        max=written.range[1],
        grid=_grid_in(written, bins),
    )
    if isinstance(written, Numbers2):
        found = replace(found, rounded=written.rounded, uncertainty=_uncertainty_in(written.uncertainty))
    if found.finite * found.squares < found.total**2:
        raise ValueError("sums and squares do not fit together")
    return found


def _uncertainty_in(written: tuple[int, int, bytes] | None) -> Uncertainty:
    return CERTAIN if written is None else Uncertainty(written[0], written[1], int_in(written[2]))


def _checked_shift(shift: int) -> int:
    if abs(shift) > PLAIN_SHIFT:
        raise ValueError(f"shift {shift} is beyond float64")
    return shift


def _summary(written: Written) -> Summary:
    if isinstance(written, Codes):
        return Summary(written.kind, 0, 0, 0, 0.0, 0, None, None, written.rows[0])
    if isinstance(written, Parts):
        return Summary(written.kind, 0, 0, 0, 0.0, 0, None, None, written.rows[1])
    total, squares = int_in(written.total), int_in(written.squares)
    scale = (written.centre, written.shift)
    return Summary("numeric", written.finite, total, squares, *scale, *written.range, written.rows[0])
