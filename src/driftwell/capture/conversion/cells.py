"""The features of a record by name, and what is known of the features of a model version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.capture.snapshot import RefusedError
from driftwell.frame import text_of
from driftwell.profiles.states.composite import CompositeBins

if TYPE_CHECKING:
    from driftwell.profiles.profile import Bins
    from driftwell.profiles.reference import Reference

__all__ = ["CellColumns", "Cells", "Shape", "kind_of", "named_cells"]

MAX_POSITIONS = 256
"""Up to this many elements a list without a reference is a row ``f0, f1, …``; a longer one is one series."""
MAX_FEATURES = 4_096
"""Features learned for one model version without a reference; further names are ignored and counted."""

Cells = Mapping[str, Any]
_NAME_TYPES = frozenset({str})


@dataclass(slots=True)
class Shape:
    """What is known of the features of one model version.

    ``kinds`` are those of the reference (``fixed``: no other feature is kept), or those learned so far: the first
    value of a feature decides. ``given`` are the user's, which win over learning. ``former`` are names that features
    of a fixed shape had before they were renamed: kept where a row has them, and never meant by position. ``lengths``
    are those of the reference's vectors, or learned in the same way.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    fixed: bool = False
    classes: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(reference: Reference, feature_map: Mapping[str, str] | None = None) -> Shape:
        """The shape a reference fixes; ``feature_map`` has its name of a feature by the one that is recorded."""
        names = feature_map or {}
        recorded = {old: new for new, old in names.items()}
        kinds = {recorded.get(name, name): kind for name, kind in reference.kinds.items()}
        others = reference.kinds | {new: reference.kinds[old] for new, old in names.items() if old in reference.kinds}
        former = {name: kind for name, kind in others.items() if name not in kinds}
        known = {name: _length_of(bins) for name, bins in reference.bins.items()}
        lengths = {name: n for name in others if (n := known.get(names.get(name, name)))}
        return Shape(kinds, True, tuple(reference.classes), former=former, lengths=lengths)

    @property
    def is_series(self) -> bool:
        """Whether a list can only be the series ``value``: the one feature of the reference, or said to be one."""
        if self.fixed:
            return self.kinds == {"value": "series"}
        return self.given.get("value") == "series"

    def kind(self, name: str, values: Iterable[Any]) -> str | None:
        """The kind of a feature; None while it has shown no value that has one."""
        found = self.kinds.get(name) or self.former.get(name) or self.given.get(name)
        if found is None:
            found = next((kind for kind in map(kind_of, values) if kind), None)
        if found is not None and not self.fixed:
            self.kinds[name] = found
        return found

    def length(self, name: str, values: Iterable[Any]) -> int | None:
        """How many elements each value of a vector feature has; None for other kinds, and before the first vector."""
        if (self.kinds.get(name) or self.former.get(name)) != "vector":
            return None
        if name not in self.lengths and not self.fixed:
            found = next((len(value) for value in values if isinstance(value, (list, np.ndarray))), None)
            if found is not None:
                self.lengths[name] = found
        return self.lengths.get(name)

    def names_of(self, layouts: Mapping[tuple[str, ...], int], ignored: Counter[str]) -> list[str]:
        """The features of these rows, in the order of the reference or of their appearance; others are counted.

        ``layouts`` has the names of rows, and how many rows have just these.
        """
        if self.fixed:
            known = self.kinds.keys()
            further: dict[str, int] = {}
            for layout, count in layouts.items():
                for name in layout:
                    if name not in known:
                        further[name] = further.get(name, 0) + count
            ignored.update({name: count for name, count in further.items() if name not in self.former})
            return [*self.kinds, *(name for name in self.former if name in further)]
        names: dict[str, None] = {}
        for layout in layouts:
            names |= dict.fromkeys(layout)
        room = MAX_FEATURES - len(self.kinds)
        fresh = [name for name in names if name not in self.kinds]
        ignored.update(fresh[room:])
        left_out = frozenset(fresh[room:])
        return [name for name in names if name not in left_out]


class CellColumns:
    """The features of many records column by column; those of rows that have the same names are taken at once.

    Attributes
    ----------
    layouts
        The names that rows have, and how many rows have just these.
    absent
        Which rows have no features at all.
    """

    def __init__(self) -> None:
        self._blocks: list[Mapping[str, Sequence[Any]] | Sequence[Cells | None]] = []
        self.layouts: Counter[tuple[str, ...]] = Counter()
        self.absent: list[bool] = []

    def add(self, cells: Sequence[Cells | None]) -> None:
        """Further rows."""
        layouts = Counter(tuple(own) for own in cells if own is not None)
        self.layouts += layouts
        absent = [own is None for own in cells]
        self.absent += absent
        if len(layouts) == 1 and not any(absent) and all(layouts):
            values = zip(*(own.values() for own in cells if own is not None), strict=True)
            self._blocks.append(dict(zip(*layouts, values, strict=True)))
        else:
            self._blocks.append(cells)

    def columns(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """The values of these features, None where a row has none."""
        found: dict[str, list[Any]] = {}
        for name in names:
            column = found[name] = []
            for block in self._blocks:
                if not isinstance(block, Mapping):
                    column += [own.get(name) if own else None for own in block]
                elif name in block:
                    column += block[name]
                else:
                    column += [None] * len(next(iter(block.values())))
        return found


def _length_of(bins: Bins) -> int | None:
    """Elements of each vector where a reference froze vectors."""
    return bins.frozen.get("length") if isinstance(bins, CompositeBins) else None


def kind_of(value: Any) -> str | None:
    """The kind a value shows: truth values boolean, numbers numeric, text categorical, times datetime, lists series;
    else None."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "numeric"
    if isinstance(value, (list, np.ndarray)):
        return "series"
    if isinstance(value, date):
        return "datetime"
    return "categorical" if isinstance(value, str) else None


def named_cells(features: Any, shape: Shape) -> Cells | None:
    """The features of one record by name; None where there are none.

    A list or array is the series ``value`` where that is what the features are known to be. Else it goes by position:
    the reference's features, or ``f0, f1, …``, or one series ``value`` when it is long. Raises ``RefusedError``:
    ``feature_count`` for another width than the reference's, ``features`` for what is no row.
    """
    if features is None:
        return None
    if isinstance(features, dict):
        return features if _NAME_TYPES.issuperset(map(type, features)) else _text_names(features)
    if isinstance(features, np.ndarray) and features.ndim == 1:
        features = features.tolist()
    if not isinstance(features, list):
        raise RefusedError("features")
    if shape.is_series:
        return {"value": features}
    if shape.fixed:
        if len(features) != len(shape.kinds):
            raise RefusedError("feature_count")
        return dict(zip(shape.kinds, features, strict=True))
    if len(features) > MAX_POSITIONS:
        return {"value": features}
    return {f"f{i}": value for i, value in enumerate(features)}


def _text_names(features: Mapping[Any, Any]) -> dict[str, Any]:
    """Names that are numbers, as data frames with unnamed columns have them, become text."""
    return {name if type(name) is str else text_of(name): value for name, value in features.items()}
