"""What commands on a store open: the same store, by the same settings, as the service started in this folder."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from driftwell.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from driftwell.config import Config
    from driftwell.monitor.opening import Stores
    from driftwell.monitor.runtime import Runtime

__all__ = ["command_config", "command_stores", "no_ledger", "no_store", "open_runtime", "say_notices"]

SETTLE_SECONDS = 10.0


def command_config(store: str | None) -> Config:
    """The settings of ``driftwell.toml`` and the environment; ``store`` wins. A command waits until what it sends is
    stored, so that nothing of it goes through the spool.

    Raises ``ConfigError`` for a store in memory, which would be gone with the command.
    """
    from driftwell.config import load_config
    from driftwell.config.addresses import DEFAULT_STORE, kind_of

    config = load_config(None, os.environ, store=store)
    if kind_of(config.store) == "memory":
        raise ConfigError(f"a store in memory is gone when the command ends: name another, such as {DEFAULT_STORE}")
    return replace(config, options={**config.options, "durability": "queued"})


def say_notices(config: Config) -> None:
    """What was set and cannot be honoured, on standard error."""
    for notice in config.notices:
        sys.stderr.write(f"driftwell: {notice}\n")


def open_runtime(store: str | None, *, records: bool, creates: bool = False) -> Runtime:
    """The runtime of a command. A store that does not answer is an error at once.

    ``records``: what ended processes left in the spool is stored first, as far as 10 seconds reach. ``creates``: a file
    that is missing is made; else it is a ``StoreError``.
    """
    from driftwell.monitor.runtime import Runtime

    config = command_config(store)
    say_notices(config)
    problem = None if creates else no_store(config) or no_ledger(config)
    if problem:
        raise StoreError(problem)
    runtime = Runtime.configured(config, records=records)
    if records:
        runtime.recorder.flush(SETTLE_SECONDS)
    return runtime


def command_stores(store: str | None) -> Stores:
    """The store and the ledger of a command that records nothing."""
    from driftwell.monitor.opening import open_stores

    config = command_config(store)
    say_notices(config)
    return open_stores(config.store, config.settings_for(""))


def no_store(config: Config) -> str | None:
    """What to say where the store is a file that is not there."""
    file = _missing_file(config.store)
    if file is None:
        return None
    return f"there is no such file: {file}; give --store the right one, or record a first prediction ('driftwell log')"


def no_ledger(config: Config) -> str | None:
    """What to say where the ledger is a file of its own that is not there."""
    from driftwell.config.addresses import DEFAULT_LEDGER, kind_of

    own = config.settings_for("").ledger
    beside = DEFAULT_LEDGER if kind_of(config.store) in ("redis", "influxdb") else None
    file = _missing_file(own or beside or config.store)
    if file is None:
        return None
    return f"there is no ledger: {file}; set DRIFTWELL_LEDGER to the right one, or record a first prediction"


def _missing_file(url: str) -> str | None:
    """The full path of a store that is a file and not there; None for any other, and an address that is none."""
    from driftwell.config.addresses import file_of, normal_address

    file = file_of(url) if normal_address(url).startswith("sqlite:///") else None
    return os.path.abspath(file) if file and not os.path.exists(file) else None
