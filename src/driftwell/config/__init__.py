"""Settings: one table drives Monitor options, ``driftwell.toml``, the environment and the documentation."""

from __future__ import annotations

from driftwell.config.service import (
    SETTINGS,
    Config,
    ModelConfig,
    environment_options,
    environment_store,
    load_config,
)
from driftwell.config.settings import UNAVAILABLE, MonitorSettings, settings_from
from driftwell.config.table import Setting
from driftwell.config.values import format_duration, parse_duration, parse_size

__all__ = [
    "SETTINGS",
    "UNAVAILABLE",
    "Config",
    "ModelConfig",
    "MonitorSettings",
    "Setting",
    "environment_options",
    "environment_store",
    "format_duration",
    "load_config",
    "parse_duration",
    "parse_size",
    "settings_from",
]
