"""Tables offered as a whole: which column is which field, and the rows and columns a batch is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.capture.conversion.cells import Shape
from driftwell.capture.conversion.fields import Notes
from driftwell.capture.ids import IdSource
from driftwell.capture.records import FIELDS, TableRows
from driftwell.capture.snapshot import RefusedError
from driftwell.frame import read_table, text_of

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.profiles.reference import Reference
    from driftwell.stores.transform import Transform

__all__ = ["SLICE_ROWS", "columns_of", "fields_of", "own_table", "placed", "roles_of", "slices_of"]

SLICE_ROWS = 10_000
"""Rows of one item of the queue."""

TABLE_ROLES = ("prediction_id", "model", "version", *FIELDS)


def own_table(table: Any, reference: Reference | None, transform: Transform) -> pa.Table:
    """Read any table into memory of our own, so that the caller may change what was passed.

    Raises ``BadInput`` for what is no table, and ``RefusedError("feature_count")`` for an array of another width than
    the reference's.
    """
    import pyarrow as pa

    found = read_table(table, feature_names=_names_of(table, reference, transform))
    for i, column in enumerate(found.schema):
        if column.type == pa.string_view():  # of polars; Arrow cannot take rows of it
            found = found.set_column(i, column.name, found.column(i).cast(pa.string()))
    return found if isinstance(table, pa.Table) else found.take(pa.array(np.arange(found.num_rows)))


def _names_of(table: Any, reference: Reference | None, transform: Transform) -> list[str] | None:
    """The reference's names for an array or a list of rows, which have none of their own."""
    if reference is None or transform.preprocess or not isinstance(table, (np.ndarray, list, tuple)):
        return None
    if isinstance(table, (list, tuple)) and all(isinstance(row, Mapping) for row in table):
        return None
    shape = np.shape(table)
    if (shape[1] if len(shape) == 2 else 1) != len(reference.kinds):
        raise RefusedError("feature_count")
    return list(Shape.of(reference, transform.feature_map).kinds)


def roles_of(table: pa.Table, roles: Mapping[str, str], reference: Reference | None) -> dict[str, str]:
    """``{field: column}``: as the reference says, else by name, unless the reference has it as a feature."""
    features = reference.kinds if reference is not None else {}
    found = {}
    for role in TABLE_ROLES:
        column = roles.get(role, role)
        if column in table.column_names and (role in roles or column not in features):
            found[role] = column
    return found


def slices_of(
    model: str, version: str, table: pa.Table, roles: Mapping[str, str], arrived: float, ids: IdSource
) -> tuple[list[str], list[TableRows]]:
    """The ids of all rows, and the rows cut into items of one model version each."""
    names = _ids_of(table, roles.get("prediction_id"), arrived, ids)
    items = []
    for (own_model, own_version), index in _placed(model, version, table, roles).items():
        part = table if index is None else table.take(index)
        own = names if index is None else [names[i] for i in index]
        for start in range(0, len(own), SLICE_ROWS):
            cut = part.slice(start, SLICE_ROWS)
            items.append(TableRows(own_model, own_version, own[start : start + SLICE_ROWS], arrived, cut, roles))
    return names, items


def _ids_of(table: pa.Table, column: str | None, arrived: float, ids: IdSource) -> list[str]:
    given = _cells(table.column(column)) if column else [None] * table.num_rows
    return [ids.make(arrived) if value is None else text_of(value) for value in given]


def _placed(
    model: str, version: str, table: pa.Table, roles: Mapping[str, str]
) -> dict[tuple[str, str], list[int] | None]:
    """Row numbers of each model version; None stands for all rows."""
    if "model" not in roles and "version" not in roles:
        return {(model, version): None}
    models = _names(table, roles.get("model"), model)
    versions = _names(table, roles.get("version"), version)
    placed: dict[tuple[str, str], list[int] | None] = {}
    for i, key in enumerate(zip(models, versions, strict=True)):
        rows = placed.setdefault(key, [])
        assert rows is not None
        rows.append(i)
    return placed


def _names(table: pa.Table, column: str | None, default: str) -> list[str]:
    if column is None:
        return [default] * table.num_rows
    return [default if value is None else text_of(value) for value in _cells(table.column(column))]


def placed(item: TableRows, reference: Reference | None, transform: Transform) -> TableRows:
    """Rows whose columns could not be understood when they came, with the reference that is known now.

    Raises ``RefusedError("feature_count")`` for columns by position that are not as many as the reference's features.
    """
    if item.unplaced is None or reference is None or transform.preprocess is not None:
        return item
    table = item.table
    found = roles_of(table, {**reference.roles, **item.unplaced}, reference)
    roles = {role: name for role, name in found.items() if role in FIELDS}
    roles |= {role: name for role, name in item.roles.items() if role not in FIELDS}  # ids and places were read by them
    names = [name for name in table.column_names if name not in roles.values()]
    own = list(Shape.of(reference, transform.feature_map).kinds)
    if names != own and names in ([f"f{i}" for i in range(len(names))], ["value"]):
        if len(names) != len(own):
            raise RefusedError("feature_count")
        renamed = dict(zip(names, own, strict=True))
        table = table.rename_columns([renamed.get(name, name) for name in table.column_names])
    return replace(item, table=table, roles=roles, unplaced=None)


def fields_of(item: TableRows, notes: Notes) -> list[Sequence[Any]]:
    """The columns of ``FIELDS``."""
    columns: list[Sequence[Any]] = []
    for name in FIELDS:
        role = item.roles.get(name)
        if role is None:
            columns.append([None] * item.rows)
        else:
            found = item.table.column(role)
            columns.append(_times(found, notes) if name == "timestamp" else _cells(found))
    return columns


def columns_of(item: TableRows, shape: Shape, notes: Notes) -> dict[str, list[Any]]:
    """The features of a table: the reference's (nulls where the table lacks one), or all columns without a role."""
    taken = set(item.roles.values())
    others = [name for name in item.table.column_names if name not in taken]
    if shape.fixed:
        names = [*shape.kinds, *(name for name in shape.former if name in others)]
        notes.ignored.update({name: item.rows for name in others if name not in names})
    else:
        names = shape.names_of({tuple(others): 1}, notes.ignored)
    present = set(item.table.column_names)
    return {n: _cells(item.table.column(n)) if n in present else [None] * item.rows for n in names}


def _times(column: pa.ChunkedArray, notes: Notes) -> Sequence[Any]:
    import pyarrow as pa

    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        return _cells(column)
    notes.naive_time |= column.type.tz is None
    # Python's datetimes have no nanoseconds, and Arrow refuses to drop them unasked.
    return list(column.cast(pa.timestamp("us", "UTC"), safe=False).to_pylist())


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column as Python has them; cells of a column of mixed types are decoded from their JSON."""
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        texts: list[Any] = column.cast(column.type.storage_type).to_pylist()
        if getattr(column.type, "type_name", None) != "mixed":
            return texts
        return [None if text is None else msgspec.json.decode(text) for text in texts]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return list(column.to_pylist())
