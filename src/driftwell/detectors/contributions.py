"""What a distance between two sets of shares is made of: each group's part, largest first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftwell.detectors.univariate import Pair
from driftwell.errors import InsufficientData
from driftwell.frame import text_of
from driftwell.kernels.divergence import psi_terms
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericBins, NumericState
from driftwell.results import Contribution

__all__ = ["contributions"]

LARGEST = 12


def contributions(pair: Pair) -> tuple[Contribution, ...]:
    """The groups that moved most, with their shares on both sides and their terms of the PSI; the twelve largest.

    Nothing where a side is empty. Numeric groups are the runs of bins that PSI compares, categories are themselves.
    """
    try:
        reference, current = pair.measured_groups
    except InsufficientData:
        return ()
    labels = _labels(pair)
    labels += ["missing"] * (len(reference) - len(labels))
    terms = psi_terms(reference, current)
    shares = reference / reference.sum(), current / current.sum()
    found = [
        Contribution(label, float(p), float(q), float(term))
        for label, p, q, term in zip(labels, *shares, terms, strict=True)
    ]
    return tuple(sorted((c for c in found if c.reference or c.current), key=lambda c: -c.psi)[:LARGEST])


def _labels(pair: Pair) -> list[str]:
    """Names of the groups in the order of ``pair.measured_groups``, without the one of missing rows."""
    reference = pair.base
    if isinstance(reference, NumericState):
        return [] if reference.bins is None else _ranges(reference.bins)
    assert isinstance(reference, CategoricalState)
    names = list(reference.vocabulary.categories) if reference.vocabulary else []
    seen_other = reference.other or pair.current.other if isinstance(pair.current, CategoricalState) else 0
    return [*names, "(other)"] if seen_other else names


def _ranges(bins: NumericBins) -> list[str]:
    """``12.5 to 18``: from the lower edge of a group to that of the next; one value where the group holds only one."""
    return [_range(bins, np.flatnonzero(bins.groups == group)) for group in range(bins.n_groups)]


def _range(bins: NumericBins, cells: npt.NDArray[np.intp]) -> str:
    first, last = int(cells[0]), int(cells[-1])
    if last - first + 1 != len(cells):
        return "values the reference never had"  # the one group that is no run of cells
    low = bins.edges[first - 1] if first else None
    high = bins.edges[last] if last < len(bins.edges) else None
    if low is not None and high is not None and high == np.nextafter(low, np.inf):
        return text_of(low)
    # The edge after a cell of one single value is the next float: it reads as that value.
    above = first > 1 and bool(bins.atoms[first - 1])
    if low is None:
        return "all values" if high is None else f"below {_short(high)}"
    if high is None:
        return f"above {_short(low)}" if above else f"{_short(low)} or more"
    return f"{'above ' * above}{_short(low)} to {_short(high)}"


def _short(value: float) -> str:
    return f"{value:.4g}"
