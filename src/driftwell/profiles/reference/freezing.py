"""From an Arrow table to a reference: its bins frozen, its rows counted in them, some of them kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput
from driftwell.profiles.profile import Profile, Visit, freeze
from driftwell.profiles.reference.frozen import edges_id
from driftwell.profiles.reference.reference import Reference
from driftwell.profiles.reference.roles import find_features, find_roles, outputs_of
from driftwell.profiles.reference.sample import rows_kept
from driftwell.profiles.reference.weighted import freeze_weighted, weigh, without_facets

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["freeze_reference"]


def freeze_reference(
    table: pa.Table,
    given_roles: Mapping[str, str | None],
    *,
    feature_names: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    weights: Any = None,
    visit: Visit | None = None,
    keep_rows: bool = False,
) -> Reference:
    """Freeze the bins of an Arrow table and count it in them; ``visit`` sees each column's sorted values.

    ``keep_rows`` draws the row sample too, which takes a hash of each cell.
    """
    if table.num_rows == 0:
        raise BadInput("a reference needs rows; this table has none")
    table, units, weight_role = weigh(table, weights)
    roles = find_roles(table.column_names, given_roles) | weight_role
    features, ignored = find_features(table, roles, feature_names, kinds)
    typed = outputs_of(table, roles, kinds)
    if units is None:
        bins, states = freeze(features, visit=visit)
        output_bins, outputs = freeze(typed)
    else:
        features, ignored = without_facets(features, ignored)
        bins, states = freeze_weighted(features, units)
        output_bins, outputs = freeze_weighted(typed, units)
    sample, history = rows_kept(table, roles, features, typed, kinds) if keep_rows else (None, None)
    return Reference(
        profile=Profile(states, outputs, table.num_rows, edges_id(bins, output_bins)),
        bins=bins,
        output_bins=output_bins,
        kinds={name: column.kind for name, column in features.columns.items()},
        roles=roles,
        ignored=ignored,
        created=datetime.now(UTC),
        sample=sample,
        history=history,
    )
