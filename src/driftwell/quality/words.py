"""Numbers in sentences and examples: short, and no two different ones alike."""

from __future__ import annotations

import math

__all__ = ["apart", "short"]

DIGITS = 6
EXACT = 2.0**53  # whole floats below are integers of their own


def short(value: float) -> float:
    """A whole number as an integer, any other with at most six significant digits.

    Examples
    --------
    >>> short(40.0), short(0.123456789)
    (40, 0.123457)
    """
    return int(value) if _whole(value) else float(f"{value:.{DIGITS}g}")


def apart(*values: float) -> list[str]:
    """The numbers as text, with as many digits as it takes to tell different ones apart.

    Examples
    --------
    >>> apart(0.5, 120.0), apart(1.00000001, 1.00000002)
    (['0.5', '120'], ['1.00000001', '1.00000002'])
    """
    texts: list[str] = []
    for digits in range(DIGITS, 18):
        texts = [f"{value:.0f}" if _whole(value) else f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _whole(value: float) -> bool:
    return math.isfinite(value) and value == int(value) and abs(value) < EXACT
