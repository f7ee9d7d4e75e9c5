"""How far one column determines another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["chatterjee_xi"]

Ints = npt.NDArray[np.int64]


def chatterjee_xi(determines: Ints, determined: Ints) -> float | None:
    """Chatterjee's xi: 0 where the columns are independent, 1 where the second is any function of the first.

    Both are given as codes in the order of their values, shape ``(n,)``; rows of equal first codes are taken in
    the order given, which must be random. None where the second column is constant or there are no two rows.
    Cost: one stable sort.

    Source: Chatterjee (2021), "A New Coefficient of Correlation", JASA 116:2009–2022, equation (2), the form that
    allows ties.

    Examples
    --------
    >>> x = np.arange(-50, 50)
    >>> round(chatterjee_xi(x, x * x), 2), chatterjee_xi(x, np.zeros(100, np.int64)) is None
    (0.94, True)
    """
    n = len(determined)
    if n < 2:
        return None
    ordered = np.sort(determined)
    above = n - np.searchsorted(ordered, determined, "left")
    spread = float(np.dot(above.astype(np.float64), (n - above).astype(np.float64)))
    if not spread:
        return None
    ranks = np.searchsorted(ordered, determined, "right")[np.argsort(determines, kind="stable")]
    return 1.0 - n * float(np.abs(np.diff(ranks)).sum()) / (2.0 * spread)
