"""What commands on a store open: the same store, by the same settings, as the service started in this folder."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftwell.config import Config
    from driftwell.monitor.opening import Stores
    from driftwell.monitor.runtime import Runtime

__all__ = ["command_config", "command_stores", "open_runtime"]


def command_config(store: str | None) -> Config:
    """The settings of ``driftwell.toml`` and the environment; ``store`` wins. A command waits until what it sends is
    stored, so that nothing of it goes through the spool."""
    from driftwell.config import load_config

    config = load_config(None, os.environ, store=store)
    return replace(config, options={**config.options, "durability": "queued"})


def open_runtime(store: str | None) -> Runtime:
    """The runtime of a command. A store that does not answer is an error at once."""
    from driftwell.monitor.runtime import Runtime

    return Runtime.configured(command_config(store))


def command_stores(store: str | None) -> Stores:
    """The store and the ledger of a command that records nothing."""
    from driftwell.monitor.opening import open_stores

    config = command_config(store)
    return open_stores(config.store, config.settings_for(""))
