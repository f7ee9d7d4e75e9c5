"""The test of whole rows: the newest rows of a window against those that the reference keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from driftwell.detectors.multivariate import MultivariateVerdict, judge_rows, multivariate_method
from driftwell.detectors.policy import Policy
from driftwell.errors import BadInput, DriftwellError
from driftwell.monitor.checks.context import CheckContext
from driftwell.monitor.windowing import Span, to_us
from driftwell.profiles.reference import Reference, rename
from driftwell.quality import QualityResult
from driftwell.stores.transform import Transform
from driftwell.stores.windows import recorded_features

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["newest_features", "whole_rows"]


def whole_rows(
    context: CheckContext, span: Span, table: Any, policy: Policy, quality: QualityResult | None, *, n_rows: int
) -> MultivariateVerdict | None:
    """The verdict of the multivariate method of the settings on the columns that are not broken; None without one.

    What keeps the test from running is its verdict, of status ``error``: the columns have theirs all the same.
    ``n_rows`` is the size of the window.
    """
    method, reference = context.settings.multivariate, context.reference
    if method is None or reference is None:
        return None
    broken = () if quality is None else quality.broken
    try:
        if reference.sample is None:
            raise BadInput(f"multivariate={method!r} needs rows, and this reference keeps none: build it again")
        limit = multivariate_method(method).row_limit
        rows = newest_features(context, span, table, limit)
        found = judge_rows(
            method,
            reference.sample,
            rows,
            kinds={name: kind for name, kind in reference.kinds.items() if name not in broken},
            alpha=policy.alpha,
            min_samples=policy.min_samples,
            bandwidth=(context.settings.drift_update_ref or {}).get("sigma"),
        )
    except DriftwellError as exc:
        return _not_run(method, policy, reference, n_rows, str(exc))
    if table is None and limit <= rows.num_rows < n_rows:
        note = f"the newest {limit:,} of {n_rows:,} rows were read: {method} takes no more"
        found = replace(found, notes=(note, *found.notes))
    return found


def newest_features(context: CheckContext, span: Span, table: Any, limit: int) -> pa.Table:
    """The features of at most ``limit`` rows, the newest of a window, as the reference knows them; rows given are
    taken as they are."""
    if table is not None:
        return rename(table, context.settings.feature_map)
    after = context.mark if context.only_after_mark else 0
    start, end = to_us(span.start), to_us(span.end)
    most = span.at_most(limit)
    rows = context.store.read(context.model, context.version, start, end, limit=most, after_arrival=after)
    return Transform(context.settings.feature_map, context.settings.preprocess)(recorded_features(rows))


def _not_run(method: str, policy: Policy, reference: Reference, n_rows: int, reason: str) -> MultivariateVerdict:
    return MultivariateVerdict(
        method=method, status="error", alpha=policy.alpha, n_reference=reference.n_rows, n_current=n_rows, reason=reason
    )
