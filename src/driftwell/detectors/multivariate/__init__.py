"""Whether all columns together changed: two-sample tests on whole rows, from two arrays or two tables."""

from driftwell.detectors.multivariate.classifier import DomainResult, domain_classifier
from driftwell.detectors.multivariate.density import LsddResult, lsdd_test
from driftwell.detectors.multivariate.features import (
    PortfolioResult,
    RandomFeatureResult,
    portfolio_test,
    random_feature_test,
)
from driftwell.detectors.multivariate.judging import MultivariateVerdict, judge_rows
from driftwell.detectors.multivariate.linear import HotellingResult, PcaResult, hotelling_test, pca_reconstruction
from driftwell.detectors.multivariate.methods import MULTIVARIATE, MultivariateMethod, multivariate_method
from driftwell.detectors.multivariate.pairwise import EnergyResult, MmdResult, energy_test, mmd_test
from driftwell.detectors.multivariate.results import MultivariateResult

__all__ = [
    "MULTIVARIATE",
    "DomainResult",
    "EnergyResult",
    "HotellingResult",
    "LsddResult",
    "MmdResult",
    "MultivariateMethod",
    "MultivariateResult",
    "MultivariateVerdict",
    "PcaResult",
    "PortfolioResult",
    "RandomFeatureResult",
    "domain_classifier",
    "energy_test",
    "hotelling_test",
    "judge_rows",
    "lsdd_test",
    "mmd_test",
    "multivariate_method",
    "pca_reconstruction",
    "portfolio_test",
    "random_feature_test",
]
