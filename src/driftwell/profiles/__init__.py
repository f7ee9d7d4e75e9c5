"""Mergeable profiles: frozen bins, exact sums, categories, and the reference that froze them."""

from driftwell.profiles.profile import Profile, merge_profiles, profile
from driftwell.profiles.reference import Reference
from driftwell.profiles.reference.updating import updated_reference
from driftwell.profiles.reference.weaknesses import Weakness

__all__ = ["Profile", "Reference", "Weakness", "merge_profiles", "profile", "updated_reference"]
