"""Univariate methods: what is compared of one column (``Pair``), and every way to compare it (``METHODS``)."""

from driftwell.detectors.univariate.pair import Pair, Rows
from driftwell.detectors.univariate.table import BORROWED, DRIFT_SCORE, METHODS, Method, every_method, method, methods

__all__ = ["BORROWED", "DRIFT_SCORE", "METHODS", "Method", "Pair", "Rows", "every_method", "method", "methods"]
