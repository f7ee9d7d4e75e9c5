"""Mean, spread and range of numbers whose sums are known as integers: exact until the one rounding at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from driftwell.kernels.exact import PLAIN_SHIFT
from driftwell.profiles.format.codec import Summary

__all__ = ["Moments", "pooled"]

GUARD_BITS = 64


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum, sum of squares and range; adding is exact, so any order and any split give the same.

    ``total`` is the sum in units of ``2**-1074``, the smallest float64, ``squares`` that of the squares in units of
    ``2**-2148``: on this scale columns of any magnitude can be added.
    """

    n: int = 0
    total: int = 0
    squares: int = 0
    min: float | None = None
    max: float | None = None

    @staticmethod
    def of(summary: Summary) -> Moments:
        """The moments of one column of a profile."""
        if not summary.n:
            return Moments()
        shift = PLAIN_SHIFT - summary.shift
        total, centre = summary.total << shift, _units(summary.centre)
        squares = (summary.squares << (2 * shift)) + (2 * total + summary.n * centre) * centre
        return Moments(summary.n, total + summary.n * centre, squares, summary.min, summary.max)

    def __add__(self, other: Moments) -> Moments:
        if not self.n or not other.n:
            return self if self.n else other
        return Moments(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            min(x for x in (self.min, other.min) if x is not None),
            max(x for x in (self.max, other.max) if x is not None),
        )

    @property
    def mean(self) -> float | None:
        """None without any value. Sums of a profile are of values cut to its fixed point; what that takes away never
        puts the mean outside the values."""
        if not self.n or self.min is None or self.max is None:
            return None
        return min(max(self.total / (self.n << PLAIN_SHIFT), self.min), self.max)

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None below two values, infinite beyond float64."""
        if self.n < 2:
            return None
        spread = (self.n * self.squares - self.total**2) << (2 * GUARD_BITS)
        variance = spread // (self.n * (self.n - 1))
        try:
            return math.isqrt(variance) / (1 << (PLAIN_SHIFT + GUARD_BITS))
        except OverflowError:
            return math.inf

    def to_dict(self) -> dict[str, float | None]:
        """``mean, std, min, max``; None where undefined."""
        return {"mean": self.mean, "std": self.std, "min": self.min, "max": self.max}


def pooled(parts: Iterable[Moments]) -> Moments:
    """All values of all parts as if they were one column."""
    return sum(parts, Moments())


def _units(value: float) -> int:
    """A float64 as a whole number of the smallest float64."""
    top, bottom = value.as_integer_ratio()
    return (top << PLAIN_SHIFT) // bottom
