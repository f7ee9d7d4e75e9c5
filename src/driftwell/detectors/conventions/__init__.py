"""The definitions of other monitors under dotted names (``evidently.psi``), so that a migration starts from the same
figure. They reproduce the other tool's number, its bins and floors included; they are not what Driftwell recommends."""

from driftwell.detectors.conventions import alibi, evidently, frouros, nannyml, scipy_stats
from driftwell.detectors.univariate import Method

__all__ = ["CONVENTIONS"]

CONVENTIONS: dict[str, Method] = {
    method.name: method for peer in (evidently, nannyml, alibi, frouros, scipy_stats) for method in peer.METHODS
}
"""Every convention by name. From numbers they need the rows of both sides, from categories every category by name."""
