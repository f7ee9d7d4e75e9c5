"""The server store: predictions, labels and the ledger in one schema of a PostgreSQL database."""

from driftwell.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
