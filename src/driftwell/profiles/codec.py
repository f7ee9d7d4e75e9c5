"""Profiles as bytes: versioned, canonical, small. No pickle; corrupt or newer bytes are one clear error."""

from __future__ import annotations

import zlib
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.errors import FormatError
from driftwell.kernels.exact import PLAIN_SHIFT
from driftwell.profiles.categorical import CategoricalState, Vocabulary
from driftwell.profiles.numeric import NumericBins, NumericState
from driftwell.profiles.profile import Bins, Profile, State, merge_profiles

__all__ = [
    "Summary",
    "decode",
    "decode_bins",
    "encode",
    "encode_bins",
    "merge_states",
    "pack",
    "summaries",
    "unpack",
]

MAGIC = b"DWP"
VERSION = 1
_HEAD = len(MAGIC) + 1 + 4  # then the version and a CRC-32 of the rest
_WIDTHS = ((1, "<u1"), (2, "<u2"), (4, "<u4"), (8, "<u8"))
_SPARSE_LIMIT = 65_536  # positions of sparse arrays are 16 bits wide

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


class _Codes(msgspec.Struct, tag="codes", array_like=True):
    """A categorical or boolean column as it is written; by position, for leaves are small and many."""

    kind: Literal["categorical", "boolean"]
    bins_id: str
    bins: dict[str, Any] | None
    counts: bytes
    rows: tuple[int, int]
    newcomers: list[tuple[str, int]]


class _Numbers(msgspec.Struct, tag="numbers", array_like=True):
    """A numeric column as it is written; ``finite`` and ``total`` spare readers of totals the unpacking."""

    bins_id: str
    bins: dict[str, Any] | None
    counts: bytes
    rows: tuple[int, int, int, int, int]
    centre: float
    shift: int
    sums: tuple[bytes, bytes]
    large: list[tuple[int, bytes]]
    squares: bytes
    range: tuple[float | None, float | None]
    finite: int
    total: bytes


_Written = _Codes | _Numbers


class _Document(msgspec.Struct, array_like=True):
    edges_id: str
    n_rows: int
    columns: list[tuple[str, _Written]]
    outputs: list[tuple[str, _Written]]
    unread: list[tuple[str, str]]


_decoder = msgspec.msgpack.Decoder(_Document)


def encode(profile: Profile, *, edges: bool) -> bytes:
    """Canonical bytes of a profile; ``edges`` embeds the bins."""
    document = _Document(
        edges_id=profile.edges_id,
        n_rows=profile.n_rows,
        columns=[(name, _state_out(profile.columns[name], edges)) for name in sorted(profile.columns)],
        outputs=[(name, _state_out(profile.outputs[name], edges)) for name in sorted(profile.outputs)],
        unread=sorted(profile.unread.items()),
    )
    body = msgspec.msgpack.encode(document)
    return MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body


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
    edges = np.array(document["edges"], np.float64)
    groups = np.array(document["groups"], np.int64)
    sizes_fit = edges.ndim == groups.ndim == 1 and len(groups) == len(edges) + 1
    if not sizes_fit or not np.all(np.isfinite(edges)) or not np.all(edges[1:] > edges[:-1]) or groups.min() < 0:
        raise ValueError("edges and groups do not fit together")
    return NumericBins(edges, groups, float(document["centre"]), _checked_shift(int(document["shift"])))


def pack(values: Ints) -> bytes:
    """Integers in the fewest bytes of one width, sparse where that is shorter.

    Examples
    --------
    >>> unpack(pack(np.array([0, 0, -7, 300]))).tolist()
    [0, 0, -7, 300]
    """
    folded = ((values << 1) ^ (values >> 63)).astype(np.uint64)  # zigzag: small negatives stay small
    at = np.flatnonzero(folded)
    largest = int(folded.max()) if len(folded) else 0
    width, kind = next((w, k) for w, k in _WIDTHS if largest < 1 << (8 * w))
    head = len(values).to_bytes(4, "little")
    if len(at) * (2 + width) < len(values) * width and len(values) <= _SPARSE_LIMIT:
        return bytes([width | 0x80]) + head + at.astype("<u2").tobytes() + folded[at].astype(kind).tobytes()
    return bytes([width]) + head + folded.astype(kind).tobytes()


def unpack(data: bytes) -> Ints:
    """Read what ``pack`` wrote; anything else is a KeyError, ValueError or IndexError."""
    sparse, width = bool(data[0] & 0x80), data[0] & 0x7F
    kind = dict(_WIDTHS)[width]
    n, body = int.from_bytes(data[1:5], "little"), len(data) - 5
    if not sparse:
        if body != n * width:
            raise ValueError("array of another length than stated")
        folded = np.frombuffer(data, kind, n, 5).astype(np.uint64)
    else:
        used, rest = divmod(body, 2 + width)
        if rest or n > _SPARSE_LIMIT:
            raise ValueError("sparse array of an impossible length")
        folded = np.zeros(n, np.uint64)
        folded[np.frombuffer(data, "<u2", used, 5)] = np.frombuffer(data, kind, used, 5 + 2 * used)
    return (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)


def _read(data: bytes) -> _Document:
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


def _state_out(state: State, edges: bool) -> _Written:
    if isinstance(state, CategoricalState):
        return _Codes(
            kind="boolean" if state.kind == "boolean" else "categorical",
            bins_id=state.bins_id,
            bins=encode_bins(state.vocabulary) if edges and state.vocabulary is not None else None,
            counts=pack(state.counts),
            rows=(state.missing, state.invalid),
            newcomers=sorted(state.newcomers.items()),
        )
    return _Numbers(
        bins_id=state.bins_id,
        bins=encode_bins(state.bins) if edges and state.bins is not None else None,
        counts=pack(state.counts),
        rows=(state.missing, state.invalid, state.nan, state.neg_inf, state.pos_inf),
        centre=state.centre,
        shift=state.shift,
        sums=(pack(state.sum_high), pack(state.sum_low)),
        large=[(cell, _int_out(value)) for cell, value in sorted(state.large.items())],
        squares=_int_out(state.squares),
        range=(state.min, state.max),
        finite=state.finite,
        total=_int_out(state.total),
    )


def _state_in(written: _Written) -> State:
    bins = None if written.bins is None else decode_bins(written.bins)
    counts = unpack(written.counts)
    if len(counts) == 0 or counts.min() < 0 or min(written.rows) < 0:
        raise ValueError("counts must not be negative")
    if isinstance(written, _Numbers):
        return _numbers_in(written, bins, counts)
    if bins is not None and not (isinstance(bins, Vocabulary) and len(bins.categories) + 1 == len(counts)):
        raise ValueError("counts and categories do not fit together")
    newcomers = dict(written.newcomers)
    return CategoricalState(bins, written.bins_id, counts, newcomers, *written.rows, written.kind)


def _numbers_in(written: _Numbers, bins: Bins | None, counts: Ints) -> NumericState:
    if bins is not None and not (isinstance(bins, NumericBins) and bins.n_cells == len(counts)):
        raise ValueError("counts and edges do not fit together")
    sum_high, sum_low = (unpack(part) for part in written.sums)
    large = {cell: _int_in(value) for cell, value in written.large}
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
        squares=_int_in(written.squares),
        missing=missing,
        nan=nan,
        neg_inf=neg_inf,
        pos_inf=pos_inf,
        invalid=invalid,
        min=written.range[0],
        max=written.range[1],
    )
    if found.finite * found.squares < found.total**2:
        raise ValueError("sums and squares do not fit together")
    return found


def _checked_shift(shift: int) -> int:
    if abs(shift) > PLAIN_SHIFT:
        raise ValueError(f"shift {shift} is beyond float64")
    return shift


def _summary(written: _Written) -> Summary:
    if isinstance(written, _Codes):
        return Summary(written.kind, 0, 0, 0, 0.0, 0, None, None, written.rows[0])
    total, squares = _int_in(written.total), _int_in(written.squares)
    scale = (written.centre, written.shift)
    return Summary("numeric", written.finite, total, squares, *scale, *written.range, written.rows[0])


def _int_out(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _int_in(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)
