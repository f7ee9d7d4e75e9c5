"""What the model answered, judged beside the features: classes by half the sum of absolute differences of their shares,
confidence by KS, numbers as features are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftwell.detectors.verdict import Policy

__all__ = ["output_policy"]

OWN_METHOD = {
    ("prediction", "categorical"): "total_variation",
    ("prediction", "boolean"): "total_variation",
    ("confidence", "numeric"): "ks",
}


def output_policy(policy: Policy, kinds: Mapping[str, str]) -> Policy:
    """The policy with the methods of outputs where the user named none: ``kinds`` is the kind of each output."""
    if policy.method is not None and not isinstance(policy.method, Mapping):
        return policy
    own = {role: OWN_METHOD[role, kind] for role, kind in kinds.items() if (role, kind) in OWN_METHOD}
    given = dict(policy.method or {})
    return replace(policy, method=own | given)
