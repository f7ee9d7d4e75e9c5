"""The embedded store: one SQLite file."""

from driftwell.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
