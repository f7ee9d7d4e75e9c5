"""What is done to recorded features before they are counted: a function of the user's, and other names.

Rows are stored as they were recorded. They are transformed when they become profiles, so that a change of the
settings never asks for rows that are gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.errors import BadInput
from driftwell.frame import read_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Transform"]


@dataclass(frozen=True, slots=True)
class Transform:
    """From recorded features to those of the reference: first ``preprocess``, then the names of ``feature_map``.

    Attributes
    ----------
    feature_map
        The reference's name of a feature by its new name. Rows under either name count; where a row has both, the
        new one does.
    preprocess
        Takes an Arrow table of features, returns any table with as many rows.

    Examples
    --------
    >>> import pyarrow as pa
    >>> Transform({"delay": "dep_delay"})(pa.table({"delay": [1.0]})).column_names
    ['dep_delay']
    """

    feature_map: Mapping[str, str] | None = None
    preprocess: Callable[..., Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.feature_map) or self.preprocess is not None

    @property
    def id(self) -> str:
        """Tells leaves counted after this transform from others: the names, and the name of the function."""
        function = self.preprocess
        own = "" if function is None else getattr(function, "__qualname__", type(function).__qualname__)
        said = (sorted((self.feature_map or {}).items()), own)
        return hashlib.blake2b(msgspec.json.encode(said), digest_size=8).hexdigest()

    def __call__(self, features: pa.Table) -> pa.Table:
        """The features as the reference knows them. Raises ``BadInput`` where ``preprocess`` cannot be used."""
        if self.preprocess is not None:
            features = _preprocessed(self.preprocess, features)
        return _renamed(features, self.feature_map or {})


def _preprocessed(function: Callable[..., Any], features: pa.Table) -> pa.Table:
    try:
        made = function(features)
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise BadInput(f"preprocess failed on recorded features, which it gets as an Arrow table: {reason}") from exc
    found = read_table(made)
    if found.num_rows != features.num_rows:
        raise BadInput(f"preprocess must keep every row: it made {found.num_rows} rows of {features.num_rows}")
    return found


def _renamed(features: pa.Table, feature_map: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: features.column(name) for name in features.column_names}
    renamed = {new: columns.pop(new) for new in feature_map if new in columns}
    for new, own in renamed.items():
        former = columns.get(feature_map[new])
        columns[feature_map[new]] = own if former is None or former.type != own.type else pc.coalesce(own, former)
    return pa.table(columns) if columns else features.select([])
