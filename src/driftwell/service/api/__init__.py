"""The paths of the service beside those of one model: one file a resource."""

from driftwell.service.api.checks import CHECK_PATHS
from driftwell.service.api.compare import COMPARE_PATHS
from driftwell.service.api.context import Context
from driftwell.service.api.health import METRICS_PATHS, probe_router
from driftwell.service.api.references import REFERENCE_PATHS

__all__ = ["API_PATHS", "METRICS_PATHS", "Context", "probe_router"]

API_PATHS = (*REFERENCE_PATHS, *COMPARE_PATHS, *CHECK_PATHS)
