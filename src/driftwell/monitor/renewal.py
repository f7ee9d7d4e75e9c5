"""A reference that follows its data: after a check in which nothing moved, one with the rows of its window."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput
from driftwell.monitor.windowing import as_moment, to_us
from driftwell.profiles.reference.updating import UpdatePolicy, updated_reference
from driftwell.results import CheckResult, Severity
from driftwell.stores.export import typed
from driftwell.stores.transform import Transform
from driftwell.stores.windows import recorded_features

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.monitor.pipeline import CheckContext
    from driftwell.profiles.reference import Reference

__all__ = ["Renewal", "renewed_reference"]

log = logging.getLogger("driftwell.monitor")

MOST_ROWS = 100_000
EARLIER_CHECKS = 100
OUTPUTS = ("prediction", "score", "true_label")


@dataclass(frozen=True, slots=True)
class Renewal:
    """The option ``drift_update_ref``, read: how the reference is updated, and ``sigma``, the bandwidth of the MMD."""

    policy: Mapping[str, Any]
    sigma: float | None = None

    @staticmethod
    def of(given: Mapping[str, Any]) -> Renewal:
        """Read what the settings hold. Raises ``BadInput`` and ``UnknownName`` as ``UpdatePolicy.of`` does."""
        policy = {key: value for key, value in given.items() if key != "sigma"}
        UpdatePolicy.of(policy)
        sigma = given.get("sigma")
        if sigma is not None and (isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not sigma > 0):
            raise BadInput(f"sigma of drift_update_ref is a number above 0. Got {sigma!r}")
        return Renewal(policy, sigma)


def renewed_reference(context: CheckContext, check: CheckResult) -> Reference | None:
    """The reference updated with the rows of a check; None where the settings or the check do not ask for it.

    Rows that an earlier update has seen are left out, of the others the newest 100,000 are taken. A drawn reservoir
    depends on the end of the window, so that the same check gives the same reference.

    Raises
    ------
    NotSupported, BadInput, ColumnError
        As ``updated_reference`` does.
    """
    if context.settings.drift_update_ref is None or context.reference is None:
        return None
    policy = Renewal.of(context.settings.drift_update_ref).policy
    if not _allows(check, when_drifted=UpdatePolicy.of(policy).when_drifted):
        return None
    end = to_us(check.window.end)
    rows = _rows(context, max(to_us(check.window.start), _seen_until(context, context.reference)), end)
    return updated_reference(context.reference, rows, policy, seed=abs(end)) if rows.num_rows else None


def _allows(check: CheckResult, *, when_drifted: bool) -> bool:
    """Whether the stored rows of this check are sound, were judged, and (unless ``when_drifted``) have not moved."""
    judged = (check.drift or {}).get("status") in ("ok", "drift")
    unsound = any(
        verdict.signal in ("drift", "quality")
        and (verdict.status == "error" or (verdict.signal == "quality" and verdict.severity is Severity.HIGH))
        for verdict in check.verdicts
    )
    moved = any(v.signal in ("drift", "output") and v.severity > Severity.NONE for v in check.verdicts)
    return check.source == "store" and judged and not unsound and (when_drifted or not moved)


def _seen_until(context: CheckContext, reference: Reference) -> int:
    """The end of the last window that was judged by the reference this one was updated from."""
    known = context.ledger.checks(context.model, context.version, limit=EARLIER_CHECKS)
    own = [c for c in known if c["reference_id"] == reference.parent and c["source"] == "store"]
    return max((to_us(as_moment(c["window"]["end"])) for c in own), default=-(2**62)) if reference.parent else -(2**62)


def _rows(context: CheckContext, start_us: int, end_us: int) -> pa.Table:
    """Features as the reference knows them, with those outputs and labels that any row has."""
    rows = typed(context.store.read(context.model, context.version, start_us, end_us, limit=MOST_ROWS))
    found = Transform(context.settings.feature_map, context.settings.preprocess)(recorded_features(rows))
    for name in OUTPUTS:
        column = rows.column(name)
        if name not in found.column_names and column.null_count < len(column):
            found = found.append_column(name, column)
    return found
