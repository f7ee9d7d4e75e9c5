"""Embedding vectors: norm, the nearest of a few frozen centroids, frozen random projections, and random features.

Everything but the norm is computed in integers small enough for float64 products to be exact: the same vector gives
the same bits whatever stands beside it in the batch, and sums merge exactly.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import ColumnError
from driftwell.frame import CodedColumn, NumericColumn, VectorColumn
from driftwell.profiles.states.categorical import Vocabulary

__all__ = ["CENTROIDS", "PROJECTIONS", "freeze_vector", "random_features", "vector_facets"]

K = 8
PROJECTIONS = tuple(f"projection_{i}" for i in range(4))
CENTROIDS = Vocabulary(tuple(map(str, range(K))))
BANDWIDTH_ROWS = 512
SAMPLE_ROWS = 2048  # vectors that centroids and bandwidth are found from: those of the smallest hashes
BLOCK = 1024  # vectors in memory as float64 at once
ITERATIONS = 20

# Products stay exact: |value| <= 2**19, |centroid| <= 2**16, length <= 2**16, and |frequency| <= 2**32 / length.
_REFERENCE_BITS = 16  # the largest element of the reference is just below 2**16 units
_LIMIT = 2.0**19  # elements beyond eight times that are clipped; the norm still sees them
_FREQUENCIES = 64
_TABLE_BITS = 12  # cosine and sine are looked up at 4,096 points of a turn
_POINTS = [(i + 0.5) * 2 * math.pi / 2**_TABLE_BITS for i in range(2**_TABLE_BITS)]
_WAVE = np.array([[round(2**15 * wave(at)) for at in _POINTS] for wave in (math.cos, math.sin)])

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def freeze_vector(column: VectorColumn) -> dict[str, Any]:
    """What a reference fixes: length, scale, centroids (k-means), and the frequencies of the random features.

    All are functions of the set of rows, whatever their order; random numbers are seeded with a hash of the sample.
    A reference without a vector fixes nothing.
    """
    if not len(column.values):
        return {}
    largest = float(np.abs(column.values).max())
    shift = _REFERENCE_BITS - math.frexp(largest)[1] if largest else 0
    sample = _sample(column, shift)
    rng = np.random.default_rng(int.from_bytes(_digest(sample.astype("<i4").tobytes()), "little"))
    centroids = _centroids(sample, rng)
    frequencies, turn = _frequencies(sample, rng)
    return {
        "length": column.values.shape[1],
        "shift": shift,
        "turn": turn,
        "centroids": _packed(centroids),
        "frequencies": _packed(frequencies),
    }


def vector_facets(column: VectorColumn, frozen: dict[str, Any]) -> dict[str, NumericColumn | CodedColumn]:
    """``norm``, and where a reference has frozen them ``centroid`` and ``projection_0`` … ``projection_3``.

    A projection is the sum of the elements under frozen random signs over the root of their number. Raises
    ``ColumnError`` for vectors of another length than the reference's. Cost: some 30 ns an element.
    """
    _check_length(column, frozen)
    missing = column.missing
    norms = [_norms(block) for block in _blocks(column.values)]
    facets: dict[str, NumericColumn | CodedColumn] = {"norm": _spread("norm", norms, missing)}
    if not frozen:
        return facets
    centroids, length = _unpacked(frozen["centroids"], frozen["length"]), frozen["length"]
    signs = _signs(length)
    halves = (centroids**2).sum(axis=1).astype(np.float64) / 2
    nearest, projected = [], []
    for block in _blocks(column.values):
        whole = _fixed(block, frozen["shift"])
        nearest.append(np.argmin(halves - whole @ centroids.T.astype(np.float64), axis=1))
        projected.append(np.ldexp(whole @ signs, -frozen["shift"]) / math.sqrt(length))
    codes = np.full(len(missing), -1, np.int64)
    codes[~missing] = np.concatenate(nearest) if nearest else []
    facets["centroid"] = CodedColumn("centroid", codes, CENTROIDS.categories)
    for i, name in enumerate(PROJECTIONS):
        facets[name] = _spread(name, [part[:, i] for part in projected], missing)
    return facets


def random_features(column: VectorColumn, frozen: dict[str, Any]) -> Ints:
    """Sums over the vectors of cos(w·x) and sin(w·x) in units of 2**-15, for 64 frozen frequencies w.

    The frequencies are normal with the inverse of the reference's median distance as their scale: the mean of the
    features is the random-feature embedding of the Gaussian kernel (Rahimi and Recht 2007, Algorithm 1), and the
    squared distance of two means estimates MMD². Phases are exact integers and cosines come from a table, so sums
    merge to the same bits. Shape ``(128,)``; empty without a reference.
    """
    if not frozen:
        return np.empty(0, np.int64)
    frequencies = _unpacked(frozen["frequencies"], frozen["length"]).T.astype(np.float64)
    sums = np.zeros((2, _FREQUENCIES), np.int64)
    for block in _blocks(column.values):
        phase = (_fixed(block, frozen["shift"]) @ frequencies).astype(np.int64)
        sums += _WAVE[:, (phase >> (frozen["turn"] - _TABLE_BITS)) & (2**_TABLE_BITS - 1)].sum(axis=1)
    return sums.ravel()


def _check_length(column: VectorColumn, frozen: dict[str, Any]) -> None:
    if frozen and column.length not in (None, frozen["length"]):
        raise ColumnError(f"vectors of {column.length} elements where the reference has {frozen['length']}")


def _blocks(values: npt.NDArray[np.floating[Any]]) -> Iterator[Floats]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK].astype(np.float64)


def _norms(block: Floats) -> Floats:
    """Euclidean norms; elements are added in their order, not in one that depends on the size of the block."""
    largest = np.abs(block).max(axis=1, initial=0.0)
    # A power of two is exact, and squares neither over- nor underflow.
    scale = np.ldexp(1.0, np.clip(-np.frexp(largest)[1], -1000, 1000))
    total = np.zeros(len(block))
    for part in np.ascontiguousarray(block.T):
        total += (part * scale) ** 2
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(total) / scale)


def _fixed(block: Floats, shift: int) -> Floats:
    """Elements in units of ``2**-shift``, whole and clipped."""
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(np.rint(np.ldexp(block, shift)), -_LIMIT, _LIMIT), np.float64)


def _spread(name: str, parts: list[Floats], missing: npt.NDArray[np.bool_]) -> NumericColumn:
    values = np.zeros(len(missing))
    values[~missing] = np.concatenate(parts) if parts else []
    return NumericColumn(name, values, missing)


def _sample(column: VectorColumn, shift: int) -> Ints:
    """At most 2,048 vectors in order of their hashes: the same whatever the order of the rows."""
    keys: list[tuple[bytes, int]] = []
    rows: list[Ints] = []
    for start, block in zip(range(0, len(column.values), BLOCK), _blocks(column.values), strict=False):
        whole = _fixed(block, shift).astype("<i4")
        keys += [(_digest(row.tobytes()), start + i) for i, row in enumerate(whole)]
    for _, at in sorted(keys)[:SAMPLE_ROWS]:
        rows.append(_fixed(column.values[at].astype(np.float64), shift).astype(np.int64))
    return np.stack(rows)


def _centroids(sample: Ints, rng: np.random.Generator) -> Ints:
    """k-means by Lloyd's iterations on integers, from seeds drawn by k-means++ (Arthur and Vassilvitskii 2007)."""
    chosen = sample[rng.integers(len(sample))][None, :]
    while len(chosen) < K:
        distance = _squares(sample, chosen).min(axis=1)
        if not distance.any():
            break  # fewer than eight distinct vectors
        chosen = np.vstack([chosen, sample[rng.choice(len(sample), p=distance / distance.sum())]])
    for _ in range(ITERATIONS):
        nearest = _squares(sample, chosen).argmin(axis=1)
        used = [sample[nearest == i] for i in range(len(chosen))]
        moved = np.stack([np.rint(own.sum(axis=0) / len(own)) if len(own) else chosen[i] for i, own in enumerate(used)])
        if np.array_equal(moved, chosen):
            break
        chosen = moved.astype(np.int64)
    return np.unique(chosen, axis=0)


def _frequencies(sample: Ints, rng: np.random.Generator) -> tuple[Ints, int]:
    """``(frequencies, bits of a turn)``: normal, a row each, for the kernel exp(−‖x−y‖² / median squared distance)."""
    first = sample[:BANDWIDTH_ROWS]
    squares = _squares(first, first)
    apart = squares[squares > 0]
    median = math.sqrt(float(np.median(apart))) if len(apart) else 1.0
    turns = rng.standard_normal((_FREQUENCIES, sample.shape[1])) / (math.sqrt(2) * math.pi * median)
    turn = math.floor(math.log2(2**32 / sample.shape[1] / float(np.abs(turns).max())))
    return np.rint(np.ldexp(turns, turn)).astype(np.int64), turn


def _squares(a: Ints, b: Ints) -> Floats:
    """Squared distances of all rows, exact: sums of squares of whole numbers stay below 2**53."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return np.asarray((x * x).sum(axis=1)[:, None] - 2 * (x @ y.T) + (y * y).sum(axis=1)[None, :], np.float64)


def _signs(length: int) -> Floats:
    """Random signs, a function of the length alone: bits of a hash, for NumPy's generators may change."""
    drawn = hashlib.shake_256(b"driftwell projections").digest(length * len(PROJECTIONS) // 8 + 1)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=length * len(PROJECTIONS))
    return np.where(bits.reshape(length, len(PROJECTIONS)), 1.0, -1.0)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _packed(values: Ints) -> str:
    return base64.b64encode(values.astype("<i4").tobytes()).decode()


def _unpacked(text: str, length: int) -> Ints:
    return np.frombuffer(base64.b64decode(text), "<i4").reshape(-1, length).astype(np.int64)
