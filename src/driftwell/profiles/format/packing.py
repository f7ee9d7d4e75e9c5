"""Integers as bytes: arrays in the fewest bytes of one width, single ones of any size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["int_in", "int_out", "pack", "pack_sums", "pack_tight", "unpack", "unpack_sums"]

_WIDTHS = ((1, "<u1"), (2, "<u2"), (4, "<u4"), (8, "<u8"))
_SPARSE_LIMIT = 65_536  # positions of sparse arrays are 16 bits wide
_POSITIONS, _BITMAP, _TIGHT = 0x80, 0x20, 0x10  # in the first byte, beside the width
_TIGHT_HEAD, _HEAD = 6, 5

Ints = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]


def pack(values: Ints) -> bytes:
    """Integers in the fewest bytes of one width, sparse where that is shorter, as format 1 has them.

    Examples
    --------
    >>> unpack(pack(np.array([0, 0, -7, 300]))).tolist()
    [0, 0, -7, 300]
    """
    folded = _fold(values)
    at = np.flatnonzero(folded)
    largest = int(folded.max()) if len(folded) else 0
    width, kind = next((w, k) for w, k in _WIDTHS if largest < 1 << (8 * w))
    head = len(values).to_bytes(4, "little")
    if len(at) * (2 + width) < len(values) * width and len(values) <= _SPARSE_LIMIT:
        return bytes([width | _POSITIONS]) + head + at.astype("<u2").tobytes() + folded[at].astype(kind).tobytes()
    return bytes([width]) + head + folded.astype(kind).tobytes()


def pack_tight(values: Ints) -> bytes:
    """Integers without the zero bits they all end in, in any number of bytes a value; of the values that are not 0
    either the positions or a bitmap, or all values, whichever is shortest.

    Examples
    --------
    >>> wide = np.array([0, 0, -7, 300]) << 40
    >>> len(pack_tight(wide)), unpack(pack_tight(wide)).tolist() == wide.tolist()
    (11, True)
    """
    n = len(values)
    at = np.flatnonzero(values)
    used = int(np.bitwise_or.reduce(values)) if n else 0
    zeros = (used & -used).bit_length() - 1 if used else 0
    folded = _fold(values >> zeros)
    width = max(1, -(-(int(folded.max()).bit_length() if n else 0) // 8))
    sizes = {_POSITIONS: 2 * len(at), _BITMAP: -(-n // 8)} if n <= _SPARSE_LIMIT else {}
    form, size = min(sizes.items(), key=lambda item: item[1], default=(0, 0))
    if not sizes or size + len(at) * width >= n * width:
        form, held, where = 0, folded, b""
    else:
        held = folded[at]
        where = at.astype("<u2").tobytes() if form == _POSITIONS else np.packbits(values != 0).tobytes()
    head = bytes([width | form | _TIGHT, zeros]) + n.to_bytes(4, "little")
    return head + where + held.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def unpack(data: bytes) -> Ints:
    """Read what ``pack`` and ``pack_tight`` wrote; anything else is a KeyError, ValueError or IndexError."""
    if data[0] & _TIGHT:
        return _unpack_tight(data)
    sparse, width = bool(data[0] & _POSITIONS), data[0] & 0x7F
    kind = dict(_WIDTHS)[width]
    n, body = int.from_bytes(data[1:_HEAD], "little"), len(data) - _HEAD
    if not sparse:
        if body != n * width:
            raise ValueError("array of another length than stated")
        folded = np.frombuffer(data, kind, n, _HEAD).astype(np.uint64)
    else:
        used, rest = divmod(body, 2 + width)
        if rest or n > _SPARSE_LIMIT:
            raise ValueError("sparse array of an impossible length")
        folded = np.zeros(n, np.uint64)
        folded[np.frombuffer(data, "<u2", used, _HEAD)] = np.frombuffer(data, kind, used, _HEAD + 2 * used)
    return _unfold(folded)


def _unpack_tight(data: bytes) -> Ints:
    form, width, zeros = data[0] & ~(_TIGHT | 0x0F), data[0] & 0x0F, data[1]
    n, body = int.from_bytes(data[2:_TIGHT_HEAD], "little"), data[_TIGHT_HEAD:]
    if not 1 <= width <= 8 or zeros > 63 or (form and n > _SPARSE_LIMIT):
        raise ValueError("packed array of an impossible shape")
    if form == 0:
        at, where = np.arange(n if len(body) == n * width else -1), 0
    elif form == _POSITIONS:
        used = len(body) // (2 + width)
        at, where = np.frombuffer(body, "<u2", used).astype(np.int64), 2 * used
    elif form == _BITMAP:
        where = -(-n // 8)
        at = np.flatnonzero(np.unpackbits(np.frombuffer(body, np.uint8, where), count=n))
    else:
        raise ValueError("packed array of an unknown form")
    if len(body) != where + len(at) * width or (form == 0 and len(at) != n):
        raise ValueError("array of another length than stated")
    held = np.zeros((len(at), 8), np.uint8)
    held[:, :width] = np.frombuffer(body, np.uint8, len(at) * width, where).reshape(-1, width)
    folded = np.zeros(n, np.uint64)
    folded[at] = held.view("<u8").ravel()
    return _unfold(folded) << zeros


def pack_sums(high: Ints, low: Ints) -> tuple[bytes, bytes]:
    """Two-limb sums, as one array where they fit into 62 bits."""
    if np.abs(high).max(initial=0) < 2**29:
        return pack_tight((high << 32) + low), b""
    return pack_tight(high), pack_tight(low)


def unpack_sums(sums: tuple[bytes, bytes]) -> tuple[Ints, Ints]:
    """Read what ``pack_sums`` wrote, or the two arrays of format 1."""
    first = unpack(sums[0])
    return (first, unpack(sums[1])) if sums[1] else (first >> 32, first & (2**32 - 1))


def int_out(value: int) -> bytes:
    """One integer of any size."""
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def int_in(data: bytes) -> int:
    """Read what ``int_out`` wrote."""
    return int.from_bytes(data, "little", signed=True)


def _fold(values: Ints) -> Unsigned:
    """Zigzag: small negatives stay small."""
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


def _unfold(folded: Unsigned) -> Ints:
    return (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
