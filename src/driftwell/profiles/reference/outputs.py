"""What the model answered, found in any table under the names a reference knows it by."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from driftwell.profiles.reference.confidence import confidence
from driftwell.profiles.reference.roles import OUTPUTS, PROBABILITIES

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.profiles.reference.reference import Reference

__all__ = ["output_columns", "output_sources", "output_table"]


def output_sources(roles: Mapping[str, str], present: Container[str]) -> dict[str, str]:
    """The column of each output and probability: the one that had the role in the reference, else the role's name."""
    named = {role: roles.get(role, role) for role in (*OUTPUTS, *PROBABILITIES)}
    found = {role: source if source in present else role for role, source in named.items()}
    return {role: source for role, source in found.items() if source in present}


def output_columns(table: pa.Table, reference: Reference, sources: Mapping[str, str]) -> dict[str, Any]:
    """The outputs the reference knows, by role; confidence follows from prediction and probability."""
    known = reference.output_bins
    found: dict[str, Any] = {role: table.column(sources[role]) for role in OUTPUTS if role in known and role in sources}
    if "confidence" in known and "prediction" in sources:
        given = [sources[role] for role in PROBABILITIES if role in sources]
        sure = confidence(table, sources["prediction"], given, reference.classes)
        found |= {} if sure is None else {"confidence": sure}
    return found


def output_table(table: pa.Table, reference: Reference) -> pa.Table:
    """The outputs of a table as one of their own."""
    import pyarrow as pa

    sources = output_sources(reference.roles, set(table.column_names))
    return pa.table(output_columns(table, reference, sources))
