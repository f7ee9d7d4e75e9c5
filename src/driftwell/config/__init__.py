"""Settings: one table drives Monitor options, ``driftwell.toml``, the environment and the documentation."""

from __future__ import annotations

from driftwell.config.service import SETTINGS, Config, ModelConfig, environment_options, load_config
from driftwell.config.settings import UNAVAILABLE, MonitorSettings, Setting, settings_from
from driftwell.config.values import format_duration, parse_duration, parse_size

__all__ = [
    "SETTINGS",
    "UNAVAILABLE",
    "Config",
    "ModelConfig",
    "MonitorSettings",
    "Setting",
    "environment_options",
    "format_duration",
    "load_config",
    "parse_duration",
    "parse_size",
    "settings_from",
]
