"""What the conventions read: the rows of numbers and the counts of categories, missing values left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.univariate import Method, Pair
from driftwell.detectors.univariate.table import ALL_KINDS, DISCRETE, NUMERIC
from driftwell.errors import InsufficientData
from driftwell.kernels.histogram_shares import value_counts
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericState
from driftwell.results import Measure

__all__ = [
    "ALL_KINDS",
    "DISCRETE",
    "NUMERIC",
    "convention",
    "counts",
    "rows",
    "shares",
    "tested",
    "two_values",
    "typed_rows",
]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Sides = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Test = Callable[[Any, Any], tuple[float, float | None]]

_EXACT_INTEGERS = 2.0**53
_LARGEST = 1e150


def convention(
    name: str,
    kinds: tuple[str, ...],
    read: Callable[[Pair, str], Sides],
    value: Callable[[Any, Any], float],
    threshold: float | None,
    unit: str,
    why: str,
) -> Method:
    """A distance of another tool: a function of what ``read`` gives of the two sides."""

    def measure(pair: Pair) -> Measure:
        sides = read(pair, name)
        found = value(*sides)
        return Measure(name, found, found, found, *_sizes(pair))

    return Method(name, kinds, measure, threshold, unit, _needs(kinds), why, p_value=False)


def tested(name: str, kinds: tuple[str, ...], read: Callable[[Pair, str], Sides], test: Test, why: str) -> Method:
    """A test of another tool: the value is the size of its statistic, and significance alone decides.

    Rows that stand for fewer or more than themselves (``Pair.factors``) are unknown to the other tools: such a pair
    keeps the statistic and has no p-value.
    """

    def measure(pair: Pair) -> Measure:
        statistic, p = test(*read(pair, name))
        if math.isnan(statistic):
            raise InsufficientData(f"{name} has no value on these rows: nothing varies")
        plain = pair.factors == (1.0, 1.0) and p is not None and not math.isnan(p)
        size = abs(statistic)
        return Measure(name, size, size, size, *_sizes(pair), p_value=p if plain else None, statistic=statistic)

    return Method(name, kinds, measure, None, "statistic", _needs(kinds), why)


def rows(pair: Pair, name: str) -> tuple[Floats, Floats]:
    """Sorted finite values of both sides.

    Raises
    ------
    InsufficientData
        The rows of a side are gone, none of them is finite, or some are beyond 1e150.
    """
    both = pair.all_rows
    if pair.weighed is not None:
        raise InsufficientData(f"{name} takes rows for equals, and those of the reference have weights")
    if both is None:
        raise InsufficientData(f"{name} needs the rows of both sides: give two tables")
    reference, current = (side[np.isfinite(side)] for side in both)
    if not len(reference) or not len(current):
        raise InsufficientData("one side has no finite values")
    if max(abs(float(side[end])) for side in (reference, current) for end in (0, -1)) > _LARGEST:
        raise InsufficientData(f"{name} has no value on numbers beyond {_LARGEST:g}: their squares leave float64")
    return reference, current


def typed_rows(pair: Pair, name: str) -> Sides:
    """The rows, as integers where a data frame would hold integers: whole numbers, none of them missing."""
    reference, current = rows(pair, name)
    return _typed(reference, pair.reference.n_rows), _typed(current, pair.current.n_rows)


def counts(pair: Pair, name: str) -> tuple[Counts, Counts]:
    """Rows of each category (of numbers: of each distinct value) that either side has, in sorted order.

    Raises
    ------
    InsufficientData
        A side is empty, or has categories that are counted together and not by name.
    """
    if pair.kind == "numeric":
        return value_counts(*rows(pair, name))
    named = _by_name(pair.reference, name), _by_name(pair.current, name)
    found = sorted({category for side in named for category, count in side.items() if count})
    reference, current = (np.array([side.get(category, 0) for category in found], np.int64) for side in named)
    if not reference.sum() or not current.sum():
        raise InsufficientData("one side has no rows")
    return reference, current


def shares(pair: Pair, name: str) -> tuple[Floats, Floats]:
    """The counts over the rows of their side."""
    reference, current = counts(pair, name)
    return reference / reference.sum(), current / current.sum()


def two_values(pair: Pair, name: str) -> tuple[Counts, Counts]:
    """The counts of a column of at most two values, ``(first, second)`` a side."""
    reference, current = counts(pair, name)
    if len(reference) > 2:
        raise InsufficientData(f"{name} reads columns of two values, this one has {len(reference)}")
    gone = 2 - len(reference)
    return np.pad(reference, (0, gone)), np.pad(current, (0, gone))


def _needs(kinds: tuple[str, ...]) -> str:
    return {NUMERIC: "rows of both sides", DISCRETE: "every category by name"}.get(kinds, "rows, or categories by name")


def _by_name(state: object, name: str) -> dict[str, int]:
    assert isinstance(state, CategoricalState)
    if not state.named:
        raise InsufficientData(f"{name} needs every category by name, and this column has too many")
    vocabulary = state.vocabulary.categories if state.vocabulary else ()
    return dict(zip(vocabulary, state.counts[:-1].tolist(), strict=True)) | state.newcomers


def _typed(values: Floats, n_rows: int) -> npt.NDArray[Any]:
    whole = len(values) == n_rows and np.abs(values[[0, -1]]).max() < _EXACT_INTEGERS
    return values.astype(np.int64) if whole and np.array_equal(values, np.rint(values)) else values


def _sizes(pair: Pair) -> tuple[int, int]:
    reference, current = (
        state.finite if isinstance(state, NumericState) else state.count for state in (pair.reference, pair.current)
    )
    return reference, current
