"""The table of multivariate methods: what ``compare(multivariate=…)`` can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from driftwell.detectors.multivariate.classifier import classify
from driftwell.detectors.multivariate.density import lsdd
from driftwell.detectors.multivariate.encoding import Encoded
from driftwell.detectors.multivariate.features import portfolio, random_features
from driftwell.detectors.multivariate.linear import hotelling, pca
from driftwell.detectors.multivariate.pairwise import energy, mmd
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.errors import BadInput, UnknownName

__all__ = ["MULTIVARIATE", "MultivariateMethod", "multivariate_method"]


@dataclass(frozen=True, slots=True)
class MultivariateMethod:
    """A test of whole rows.

    ``run`` takes the encoded samples, the number of relabellings and the seed; ``row_limit`` is the most rows a side
    it is given, further rows are left out at random. ``n_permutations`` is 0 where nothing is relabelled.
    """

    name: str
    run: Callable[[Encoded, int, int], MultivariateResult]
    statistic: str
    purpose: str
    cost: str
    row_limit: int
    n_permutations: int = 0


_QUADRATIC = "quadratic in rows: 0.3 s for 5,000 + 5,000 rows of 32 columns"
_LINEAR = "linear in rows"

_TABLE = (
    MultivariateMethod(
        "mmd",
        lambda data, count, seed: mmd(data, count, seed=seed),
        "unbiased MMD²",
        "any change, best of about the width of its Gaussian kernel",
        _QUADRATIC,
        row_limit=5_000,
        n_permutations=100,
    ),
    MultivariateMethod(
        "energy",
        energy,
        "energy distance",
        "any change, strongest for moved means; no bandwidth to choose",
        _QUADRATIC,
        row_limit=5_000,
        n_permutations=100,
    ),
    MultivariateMethod(
        "domain_classifier",
        lambda data, count, seed: classify(data, seed=seed),
        "area under the ROC curve",
        "diagnosis: how well a model tells the samples apart, and by which columns",
        "nine models",
        row_limit=5_000,
    ),
    MultivariateMethod(
        "pca",
        lambda data, count, seed: pca(data, n_permutations=count, seed=seed),
        "change of the mean reconstruction error",
        "whether the linear structure between columns still holds",
        _LINEAR,
        row_limit=100_000,
        n_permutations=999,
    ),
    MultivariateMethod(
        "lsdd",
        lambda data, count, seed: lsdd(data, count, seed=seed),
        "squared density difference",
        "how far the densities are apart, in few columns",
        _LINEAR,
        row_limit=20_000,
        n_permutations=100,
    ),
    MultivariateMethod(
        "hotelling",
        lambda data, count, seed: hotelling(data),
        "T²",
        "small moves of many means; blind to spreads and dependence",
        f"{_LINEAR}, the fastest",
        row_limit=100_000,
    ),
    MultivariateMethod(
        "random_features",
        lambda data, count, seed: random_features(data, n_permutations=count, seed=seed),
        "estimate of the unbiased MMD²",
        "as mmd, approximated, for many rows",
        _LINEAR,
        row_limit=100_000,
        n_permutations=999,
    ),
    MultivariateMethod(
        "portfolio",
        lambda data, count, seed: portfolio(data, n_permutations=count, seed=seed),
        "smallest p-value of its components",
        "anything: eight tests under one exact level",
        f"{_LINEAR}, about six random-feature tests",
        row_limit=50_000,
        n_permutations=999,
    ),
)

MULTIVARIATE: dict[str, MultivariateMethod] = {m.name: m for m in _TABLE}
"""Every multivariate method by name."""


def multivariate_method(name: str) -> MultivariateMethod:
    """The method of this name, or one clear error that lists the known ones."""
    if not isinstance(name, str):
        raise BadInput(f"multivariate is the name of one method. Got {name!r}")
    if name not in MULTIVARIATE:
        raise UnknownName("multivariate method", name, MULTIVARIATE)
    return MULTIVARIATE[name]
