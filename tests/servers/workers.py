"""Processes of their own for tests that write from several at once.

They are forked from one that has the libraries loaded and nothing open, so that a test does not wait for imports.
"""

from __future__ import annotations

import multiprocessing

__all__ = ["WORKERS"]

WORKERS = multiprocessing.get_context("forkserver")
WORKERS.set_forkserver_preload(["driftwell.stores.checks", "driftwell.stores.sqlite", "driftwell.stores.reading"])
