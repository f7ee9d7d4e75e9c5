"""Exact sums of floats, as integers: the same rows give the same bits in any order and any split.

A value x enters as the integer ``rint((x - centre) · 2**shift)``. Below 2**40 that integer lives in int64 and
its square is summed in two limbs; larger ones take an exact but slower path through their mantissas and
exponents.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "FAST_LIMIT",
    "MAX_ROWS",
    "PLAIN_SHIFT",
    "choose_shift",
    "exact_sum",
    "exact_sum_squares",
    "to_fixed",
]

FAST_LIMIT = 2**40
"""Magnitude below which fixed-point values take the int64 path."""

MAX_ROWS = 2**22
"""Rows a single int64 sum of fast values may have: 2**22 · 2**40 stays below 2**63."""

PLAIN_SHIFT = 1074
"""With this shift every float64 is an exact integer: used where no reference has set a scale."""

_LIMB = 20
_MASK = 2**_LIMB - 1


def choose_shift(scale: float) -> int:
    """The largest shift for which a value of magnitude ``scale`` stays below 2**40.

    Examples
    --------
    >>> choose_shift(1.0), choose_shift(1000.0)
    (39, 30)
    """
    if not (scale > 0 and math.isfinite(scale)):
        return 20
    return max(-900, min(PLAIN_SHIFT, 40 - math.frexp(scale)[1]))


def to_fixed(values: npt.NDArray[np.float64], centre: float, shift: int) -> npt.NDArray[np.float64]:
    """``rint((values - centre) · 2**shift)`` as float64; exact integers wherever the magnitude is below
    2**53.

    Values whose product overflows become infinite and so belong to the slow path.
    """
    out = values - centre
    with np.errstate(over="ignore"):
        for part in _split_shift(shift):
            out *= math.ldexp(1.0, part)
    return np.rint(out, out=out)


def exact_sum_squares(fixed: npt.NDArray[np.int64]) -> int:
    """Sum of squares of integers below 2**40 in magnitude, exact.

    Examples
    --------
    >>> exact_sum_squares(np.array([2**39, -3]))
    302231454903657293676553
    """
    total = 0
    for start in range(0, fixed.size, MAX_ROWS):
        part = fixed[start : start + MAX_ROWS]
        high, low = part >> _LIMB, part & _MASK
        total += (
            (int(np.dot(high, high)) << (2 * _LIMB)) + (int(np.dot(high, low)) << (_LIMB + 1)) + int(np.dot(low, low))
        )
    return total


def exact_sum(values: npt.NDArray[np.float64], centre: float, shift: int) -> tuple[int, int]:
    """``(sum, sum of squares)`` of ``rint((value - centre) · 2**shift)`` for finite values of any magnitude.

    Each value is taken apart into mantissa and exponent; mantissas of one exponent are added as integers.
    Cost: about 100 ns a value; meant for extremes and for streams without a reference.
    """
    total = squares = 0
    for start in range(0, values.size, MAX_ROWS):
        part_total, part_squares = _exact_sum(values[start : start + MAX_ROWS] - centre, shift)
        total += part_total
        squares += part_squares
    return total, squares


def _exact_sum(values: npt.NDArray[np.float64], shift: int) -> tuple[int, int]:
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)
    power = exponent.astype(np.int64) + (shift - 53)
    # Fractions of the fixed-point unit are rounded half to even per value, before anything is added.
    small = power < 0
    if small.any():
        whole[small] = np.rint(np.ldexp(whole[small].astype(np.float64), power[small])).astype(np.int64)
        power = np.where(small, 0, power)
    total = squares = 0
    for p in np.unique(power):
        s, ss = _sum_and_squares(whole[power == p])
        total += s << int(p)
        squares += ss << (2 * int(p))
    return total, squares


def _sum_and_squares(whole: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Sum and sum of squares of 54-bit integers through three 18-bit limbs."""
    a, b, c = whole >> 36, (whole >> 18) & (2**18 - 1), whole & (2**18 - 1)
    s = (int(a.sum()) << 36) + (int(b.sum()) << 18) + int(c.sum())
    ss = (
        (int(np.dot(a, a)) << 72)
        + (int(np.dot(a, b)) << 55)
        + ((2 * int(np.dot(a, c)) + int(np.dot(b, b))) << 36)
        + (int(np.dot(b, c)) << 19)
        + int(np.dot(c, c))
    )
    return s, ss


def _split_shift(shift: int) -> tuple[int, ...]:
    # 2**1074 is not a float64; two smaller powers are.
    return (shift,) if abs(shift) <= 1000 else (shift - 500, 500)
