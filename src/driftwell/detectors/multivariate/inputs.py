"""What the tests start from: checked options, a generator, and rows on the kernel's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.encoding import Encoded
from driftwell.detectors.multivariate.scaling import Scale, scale_of
from driftwell.errors import BadInput
from driftwell.kernels.kernel_tests import median_bandwidth

__all__ = ["Kernel", "check_count", "check_share", "few_rows", "generator", "kernel_for"]

Floats = npt.NDArray[np.float64]

BANDWIDTH_ROWS = 1_000
"""Most pooled rows the median heuristic looks at."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A Gaussian kernel for these rows: the ``scale`` to put them on, its ``width`` there, and its ``bandwidth`` in
    their own unit."""

    scale: Scale
    width: float
    bandwidth: float


def kernel_for(data: Encoded, bandwidth: float | None, rng: np.random.Generator) -> Kernel:
    """The kernel of this bandwidth; None takes the median heuristic on at most 1,000 pooled rows."""
    number = isinstance(bandwidth, (int, float, np.number)) and not isinstance(bandwidth, bool)
    if bandwidth is not None and not (number and 0 < float(bandwidth) < math.inf):
        raise BadInput(f"bandwidth must be None or a finite number above 0. Got {bandwidth!r}")
    scale = scale_of(data.pooled)
    if bandwidth is not None:
        return Kernel(scale, max(bandwidth / scale.unit, np.finfo(float).tiny), float(bandwidth))
    width = median_bandwidth(scale.of(few_rows(data.pooled, rng)))
    return Kernel(scale, width, width * scale.unit)


def few_rows(rows: Floats, rng: np.random.Generator) -> Floats:
    """At most 1,000 of the rows, drawn at random: those the median heuristic looks at."""
    if len(rows) <= BANDWIDTH_ROWS:
        return rows
    return rows[np.sort(rng.choice(len(rows), BANDWIDTH_ROWS, replace=False))]


def generator(seed: Any) -> np.random.Generator:
    """The generator of this seed, an int of at least 0."""
    return np.random.default_rng(check_count("seed", seed, 0))


def check_count(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise BadInput(f"{name} must be an int of at least {least}. Got {value!r}")
    return int(value)


def check_share(name: str, value: Any) -> float:
    """``value`` as a float above 0 and below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise BadInput(f"{name} must be a number above 0 and below 1. Got {value!r}")
    return float(value)
