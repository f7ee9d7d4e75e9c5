"""The store over Redis or Valkey: rows and labels in memory, bounded by age and by count. Needs a ledger beside it."""

from driftwell.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
