"""Mergeable profiles: frozen bins, exact sums, categories, and the reference that froze them."""

from driftwell.profiles.profile import Profile, merge_profiles, profile
from driftwell.profiles.reference import Reference

__all__ = ["Profile", "Reference", "merge_profiles", "profile"]
