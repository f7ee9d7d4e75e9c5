"""Methods that compare means and standard deviations, from exact sums."""

from __future__ import annotations

import math

from driftwell.detectors.univariate.pair import Pair
from driftwell.errors import InsufficientData
from driftwell.kernels import significance
from driftwell.kernels.relevance import normal_shift_p_value
from driftwell.results import Measure

__all__ = ["mean_shift", "mean_shift_exceeds", "std_shift", "t_test"]


def mean_shift(pair: Pair) -> Measure:
    """Distance of the means in reference standard deviations."""
    n, m = _sizes(pair)
    reference, current = pair.measured
    assert reference.mean is not None
    assert current.mean is not None
    shift = abs(current.mean - reference.mean)
    if not reference.std:
        value = 0.0 if shift == 0 else math.inf
        return Measure("mean_shift", value, value, value, n, m)
    value = shift / reference.std
    margin = 1.959964 * _mean_shift_error(pair)
    interval = (max(0.0, value - margin), value + margin)
    return Measure("mean_shift", value, value, value, n, m, interval=interval)


def mean_shift_exceeds(pair: Pair, threshold: float) -> float:
    """p-value of "the mean moved by no more than this"."""
    return normal_shift_p_value(pair.measure("mean_shift").value, threshold, _mean_shift_error(pair))


def std_shift(pair: Pair) -> Measure:
    """Relative change of the standard deviation."""
    reference, current = pair.measured
    if reference.std is None or current.std is None:
        raise InsufficientData("a standard deviation needs two values on each side")
    if reference.std == 0:
        value = 0.0 if current.std == 0 else math.inf
    else:
        value = abs(current.std / reference.std - 1)
    return Measure("std_shift", value, value, value, *_sizes(pair))


def t_test(pair: Pair) -> Measure:
    """Welch's absolute t."""
    reference, current = pair.measured
    if reference.std is None or current.std is None:
        raise InsufficientData("a t-test needs two values on each side")
    assert reference.mean is not None
    assert current.mean is not None
    n, m = _sizes(pair)
    value, p = significance.welch_test(reference.mean, reference.std, n, current.mean, current.std, m)
    return Measure("t_test", value, value, value, n, m, p_value=p, statistic=value)


def _sizes(pair: Pair) -> tuple[int, int]:
    reference, current = pair.numeric
    return pair.sizes(reference.finite, current.finite)


def _mean_shift_error(pair: Pair) -> float:
    """Standard error of the mean shift; 0 where the reference is constant."""
    n, m = _sizes(pair)
    reference, current = pair.measured
    if not reference.std:
        return 0.0
    return math.hypot(1 / math.sqrt(n), (current.std or 0.0) / reference.std / math.sqrt(m))
