"""The reference: built from a table, sampled, weighted, checked, updated, kept as a JSON document."""

from driftwell.profiles.reference.reference import Reference
from driftwell.profiles.reference.renaming import rename

__all__ = ["Reference", "rename"]
