"""Compare current rows with a reference: ``compare``, ``DriftDetector`` and the result that explains itself."""

from driftwell.detectors.univariate import methods
from driftwell.drift.comparison import compare, compare_profile
from driftwell.drift.detector import DriftDetector
from driftwell.drift.result import DriftResult

__all__ = ["DriftDetector", "DriftResult", "compare", "compare_profile", "methods"]
