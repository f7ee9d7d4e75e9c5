"""Columns that were renamed since the reference was built: the user says so, nothing is assumed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from driftwell.errors import BadInput, ColumnError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_targets", "rename"]


def rename(table: pa.Table, feature_map: Mapping[str, str] | None) -> pa.Table:
    """Rename columns of a table to the names the reference has, all at once: two names may be swapped.

    Raises
    ------
    BadInput
        It is no dict of names.
    ColumnError
        It names a column the table does not have, two new names become one, a column of that name is there already,
        or it is a chain (``{"a": "b", "b": "c"}``), which could be meant in two ways.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rename(pa.table({"age_years": [31], "city": ["Oslo"]}), {"age_years": "age"}).column_names
    ['age', 'city']
    """
    if feature_map is None:
        return table
    if not isinstance(feature_map, Mapping) or not all(
        isinstance(name, str) for pair in feature_map.items() for name in pair
    ):
        raise BadInput(f"feature_map is a dict {{'new': 'old'}}. Got {feature_map!r}")
    present = set(table.column_names)
    unknown = [name for name in feature_map if name not in present]
    if unknown:
        raise ColumnError(f"feature_map names columns the table does not have: {', '.join(unknown)}")
    _check_one_each(feature_map, present)
    return table.rename_columns([feature_map.get(name, name) for name in table.column_names])


def check_targets(feature_map: Mapping[str, str] | None, known: Iterable[str]) -> None:
    """Refuse a map to a name that is none of the reference's, which would leave a column unread in silence."""
    names = list(known)
    for old in (feature_map or {}).values():
        if old not in names:
            close = nearest(old, names)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ColumnError(f"feature_map gives a column the name {old!r}, which the reference does not have{hint}")


def _check_one_each(feature_map: Mapping[str, str], present: set[str]) -> None:
    sources: dict[str, list[str]] = defaultdict(list)
    for new, old in feature_map.items():
        sources[old].append(new)
    for old, several in sources.items():
        if len(several) > 1:
            named = " and ".join(map(repr, several))
            raise ColumnError(f"feature_map gives {named} the one name {old!r}: keep one of them")
    for new, old in feature_map.items():
        if old in present and old not in feature_map:
            raise ColumnError(
                f"feature_map gives a second column the name {old}: the table has {old!r} beside {new!r}; drop one"
            )
    for name in feature_map:
        if name not in sources:
            _check_no_chain(feature_map, name)


def _check_no_chain(feature_map: Mapping[str, str], first: str) -> None:
    """A name nobody is renamed to begins a chain; what begins nowhere is a cycle, which can only mean a swap."""
    chain = [first]
    while chain[-1] in feature_map:
        chain.append(feature_map[chain[-1]])
    if len(chain) > 2:
        raise ColumnError(
            f"feature_map is a chain, {' → '.join(chain)}: map each name of the table to the reference's name of it"
        )
