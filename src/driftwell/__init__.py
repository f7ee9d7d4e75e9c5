"""Driftwell watches machine-learning models in production.

Names load on first use: importing the package reads no other module, opens nothing and starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from driftwell._version import __version__

if TYPE_CHECKING:
    from driftwell.alerts.rules import AlertRule, evaluate_rules
    from driftwell.capture.middleware.asgi import CaptureMiddleware
    from driftwell.detectors.multivariate import (
        domain_classifier,
        energy_test,
        hotelling_test,
        lsdd_test,
        mmd_test,
        pca_reconstruction,
        portfolio_test,
        random_feature_test,
    )
    from driftwell.drift import DriftDetector, DriftResult, compare, methods
    from driftwell.evaluation.performance import performance
    from driftwell.evaluation.window import PerformanceWindow
    from driftwell.monitor.monitor import Monitor, create_monitor
    from driftwell.profiles.profile import Profile, merge_profiles, profile
    from driftwell.profiles.reference import Reference
    from driftwell.results import CheckResult, ColumnResult, Severity

_HOME = {
    "AlertRule": "driftwell.alerts.rules",
    "CaptureMiddleware": "driftwell.capture.middleware.asgi",
    "CheckResult": "driftwell.results",
    "ColumnResult": "driftwell.results",
    "DriftDetector": "driftwell.drift",
    "DriftResult": "driftwell.drift",
    "Monitor": "driftwell.monitor.monitor",
    "PerformanceWindow": "driftwell.evaluation.window",
    "Profile": "driftwell.profiles.profile",
    "Reference": "driftwell.profiles.reference",
    "Severity": "driftwell.results",
    "compare": "driftwell.drift",
    "create_monitor": "driftwell.monitor.monitor",
    "domain_classifier": "driftwell.detectors.multivariate",
    "energy_test": "driftwell.detectors.multivariate",
    "evaluate_rules": "driftwell.alerts.rules",
    "hotelling_test": "driftwell.detectors.multivariate",
    "lsdd_test": "driftwell.detectors.multivariate",
    "merge_profiles": "driftwell.profiles.profile",
    "methods": "driftwell.drift",
    "mmd_test": "driftwell.detectors.multivariate",
    "pca_reconstruction": "driftwell.detectors.multivariate",
    "performance": "driftwell.evaluation.performance",
    "portfolio_test": "driftwell.detectors.multivariate",
    "profile": "driftwell.profiles.profile",
    "random_feature_test": "driftwell.detectors.multivariate",
}

_NAMESPACES = ("testing",)

__all__ = [
    "AlertRule",
    "CaptureMiddleware",
    "CheckResult",
    "ColumnResult",
    "DriftDetector",
    "DriftResult",
    "Monitor",
    "PerformanceWindow",
    "Profile",
    "Reference",
    "Severity",
    "__version__",
    "compare",
    "create_monitor",
    "domain_classifier",
    "energy_test",
    "evaluate_rules",
    "hotelling_test",
    "lsdd_test",
    "merge_profiles",
    "methods",
    "mmd_test",
    "pca_reconstruction",
    "performance",
    "portfolio_test",
    "profile",
    "random_feature_test",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _NAMESPACES:
        return importlib.import_module(f"driftwell.{name}")
    raise AttributeError(f"module 'driftwell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
