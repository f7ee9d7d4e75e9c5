"""Columns that say several things a row: a state made of facets, each an ordinary numeric or categorical state.

A kind is what a reference fixes besides bins (``freeze``), and how a column becomes facets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from driftwell.errors import FormatError, MergeError
from driftwell.frame import CodedColumn, CompositeColumn, NumericColumn
from driftwell.profiles.states import datetimes, series, text, vectors
from driftwell.profiles.states.categorical import (
    BOOLEAN_VOCABULARY,
    NO_VOCABULARY,
    CategoricalState,
    Vocabulary,
    build_categorical,
)
from driftwell.profiles.states.numeric import (
    PLAIN_BINS,
    NumericBins,
    NumericState,
    build_numeric,
    freeze_bins,
    sorted_values,
)

__all__ = [
    "FACETS",
    "CompositeBins",
    "CompositeState",
    "Facet",
    "attach",
    "build_composite",
    "freeze_composite",
    "plain_composite",
]

Part = NumericState | CategoricalState
PartBins = NumericBins | Vocabulary
Ints = npt.NDArray[np.int64]
_NO_SUMS = np.empty(0, np.int64)


class Facet(NamedTuple):
    """One thing a kind says of its values.

    ``cells`` are fixed by the kind; None means numbers, whose bins a reference freezes. ``judged``: whether a change
    of it is drift. ``size``: where each row has several counts, the facet that says how many; rows that are missing are
    not in such a one.
    """

    cells: Vocabulary | None = None
    judged: bool = True
    size: str | None = None


_NUMBER = Facet()
_TRUTH = Facet(BOOLEAN_VOCABULARY)

FACETS: dict[str, dict[str, Facet]] = {
    "datetime": {
        "time": Facet(judged=False),  # later rows have later times, which is no change of the data
        "hour_of_week": Facet(datetimes.HOUR_OF_WEEK),
        "day_of_week": Facet(datetimes.DAY_OF_WEEK),
        "lag": _NUMBER,
    },
    "text": {
        "length": _NUMBER,
        "tokens": _NUMBER,
        "empty": _TRUTH,
        "non_ascii": _TRUTH,
        "repeats": Facet(NO_VOCABULARY, judged=False),
        "unknown_words": Facet(text.WORD_CELLS, size="tokens"),
        "ngrams": Facet(text.NGRAM_CELLS, size="length"),
    },
    "vector": {
        "norm": _NUMBER,
        "centroid": Facet(vectors.CENTROIDS),
        **dict.fromkeys(vectors.PROJECTIONS, _NUMBER),
    },
    "series": {
        "elements": Facet(size="length"),
        "length": _NUMBER,
        "mean": _NUMBER,
        "std": _NUMBER,
    },
}
"""The facets of each kind, by name."""


_Facets = Callable[[Any, dict[str, Any]], Mapping[str, NumericColumn | CodedColumn | CategoricalState]]


class _Kind(NamedTuple):
    freeze: Callable[[Any], dict[str, Any]]
    facets: _Facets
    reference_facets: _Facets
    sums: Callable[[Any, dict[str, Any]], Ints] = lambda column, frozen: _NO_SUMS


_KINDS = {
    "datetime": _Kind(datetimes.freeze_datetime, datetimes.datetime_facets, datetimes.datetime_facets),
    "text": _Kind(text.freeze_text, text.text_facets, text.reference_text_facets),
    "vector": _Kind(vectors.freeze_vector, vectors.vector_facets, vectors.vector_facets, vectors.random_features),
    "series": _Kind(series.freeze_series, series.series_facets, series.series_facets),
}


@dataclass(frozen=True, eq=False)
class CompositeBins:
    """What a reference freezes of a composite column: the bins of each facet, and what the kind itself needs."""

    kind: str
    facets: dict[str, PartBins]
    frozen: dict[str, Any]

    @cached_property
    def id(self) -> str:
        """Content hash; states of different ids never merge."""
        ids = {name: bins.id for name, bins in self.facets.items()}
        said = json.dumps([self.kind, ids, self.frozen], sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, eq=False)
class CompositeState:
    """Counts of one composite column, facet by facet: merges in any order to the same bytes.

    Attributes
    ----------
    kind
        ``datetime``, ``text``, ``vector`` or ``series``.
    facets
        State of each facet. One that some batches could not fill (the lag of rows without event times) counts as
        missing in their rows, one that none could fill is absent.
    count, missing, invalid
        Rows that hold a value, rows that do not, and how many of these could not be read.
    sums
        Of vectors: sums of the frozen random features, see ``vectors.random_features``; else empty.
    """

    kind: str
    bins: CompositeBins | None
    bins_id: str
    facets: dict[str, Part]
    count: int
    missing: int = 0
    invalid: int = 0
    sums: Ints = field(default_factory=lambda: _NO_SUMS)

    # A composite value has no mean or order; the names exist so that one loop can read every column.
    mean = None
    std = None
    min = None
    max = None
    distinct = None

    def quantile(self, q: float) -> None:
        """Composite values have no order; ask a facet."""

    @property
    def n_rows(self) -> int:
        """All rows."""
        return self.count + self.missing

    @property
    def judged(self) -> dict[str, Part]:
        """The facets in which a change is drift."""
        return {name: state for name, state in self.facets.items() if FACETS[self.kind][name].judged}

    def records_per_count(self, facet: str) -> float:
        """Records for each count of a facet: 1 where every record counts once, less where each has several elements.

        Counts times this are what a test may take for independent observations.
        """
        size = FACETS[self.kind][facet].size
        mean = self.facets[size].mean if size else None
        return min(1.0, 1 / mean) if mean else 1.0

    @property
    def repeated(self) -> float | None:
        """Share of texts that are repetitions of another one, None for other kinds and where there is no text.

        Exact up to 256 distinct texts; beyond that estimated from the 256 distinct texts whose hashes are smallest.
        """
        seen = self.facets.get("repeats")
        if not isinstance(seen, CategoricalState) or not seen.newcomers:
            return None
        return 1 - len(seen.newcomers) / sum(seen.newcomers.values())

    def merge(self, other: CompositeState) -> CompositeState:
        """Both together; the bins must be the same."""
        if self.bins_id != other.bins_id:
            raise MergeError(f"bins {self.bins_id} and {other.bins_id} differ: profile both against one reference")
        facets: dict[str, Part] = {}
        for name in sorted(self.facets.keys() | other.facets.keys()):
            mine, theirs = self.facets.get(name), other.facets.get(name)
            if mine is not None and theirs is not None:
                facets[name] = _merged(mine, theirs)
            elif mine is not None:
                facets[name] = _with_missing(self.kind, name, mine, other.n_rows)
            elif theirs is not None:
                facets[name] = _with_missing(self.kind, name, theirs, self.n_rows)
        return CompositeState(
            kind=self.kind,
            bins=self.bins or other.bins,
            bins_id=self.bins_id,
            facets=facets,
            count=self.count + other.count,
            missing=self.missing + other.missing,
            invalid=self.invalid + other.invalid,
            sums=self.sums + other.sums,
        )

    def with_missing(self, rows: int) -> CompositeState:
        """The same with so many more rows in which the column is missing."""
        facets = {name: _with_missing(self.kind, name, part, rows) for name, part in self.facets.items()}
        return replace(self, facets=facets, missing=self.missing + rows)


def freeze_composite(column: CompositeColumn) -> tuple[CompositeBins, CompositeState]:
    """Freeze what is needed to count a column like this one, and count it."""
    kind = _KINDS[column.kind]
    frozen = kind.freeze(column)
    bins: dict[str, PartBins] = {}
    parts: dict[str, Part] = {}
    for name, found in kind.reference_facets(column, frozen).items():
        cells = FACETS[column.kind][name].cells
        if isinstance(found, NumericColumn):
            values = sorted_values(found)
            bins[name] = own = freeze_bins(values)
            parts[name] = build_numeric(found, own, values)
        elif cells is not None:
            bins[name] = cells
            parts[name] = _counted(found, cells)
    made = CompositeBins(column.kind, bins, frozen)
    return made, _state(column, made, parts)


def plain_composite(kind: str) -> CompositeBins:
    """The bins of a column that has no reference: counts, extremes and exact sums, and the cells the kind fixes."""
    bins = {name: facet.cells or PLAIN_BINS for name, facet in FACETS[kind].items()}
    return CompositeBins(kind, bins, {})


def build_composite(column: CompositeColumn, bins: CompositeBins) -> CompositeState:
    """Count a column in frozen bins.

    Raises
    ------
    ColumnError
        Vectors of another length than the reference's.
    """
    parts: dict[str, Part] = {}
    for name, found in _KINDS[column.kind].facets(column, bins.frozen).items():
        own = bins.facets.get(name)
        if isinstance(found, NumericColumn) and isinstance(own, NumericBins):
            parts[name] = build_numeric(found, own)
        elif not isinstance(found, NumericColumn) and isinstance(own, Vocabulary):
            parts[name] = _counted(found, own)
    return _state(column, bins, parts)


def attach(state: CompositeState, bins: CompositeBins) -> CompositeState:
    """Give a state that was stored without its bins the bins back."""
    facets: dict[str, Part] = {}
    for name, part in state.facets.items():
        own = bins.facets.get(name)
        if isinstance(part, NumericState) and isinstance(own, NumericBins) and len(part.counts) == own.n_cells:
            facets[name] = replace(part, bins=own)
        elif isinstance(part, CategoricalState) and isinstance(own, Vocabulary):
            facets[name] = replace(part, vocabulary=own)
        else:
            raise FormatError("a stored profile does not fit the bins of its reference")
    return replace(state, bins=bins, facets=facets)


def _state(column: CompositeColumn, bins: CompositeBins, parts: dict[str, Part]) -> CompositeState:
    missing = int(np.count_nonzero(column.missing))
    return CompositeState(
        kind=column.kind,
        bins=bins,
        bins_id=bins.id,
        facets=dict(sorted(parts.items())),
        count=len(column.missing) - missing,
        missing=missing,
        invalid=column.invalid,
        sums=_KINDS[column.kind].sums(column, bins.frozen),
    )


def _counted(found: CodedColumn | CategoricalState, cells: Vocabulary) -> CategoricalState:
    return found if isinstance(found, CategoricalState) else build_categorical(found, cells)


def _merged(a: Part, b: Part) -> Part:
    if isinstance(a, NumericState) and isinstance(b, NumericState):
        return a.merge(b)
    assert isinstance(a, CategoricalState)
    assert isinstance(b, CategoricalState)
    return a.merge(b)


def _with_missing(kind: str, name: str, part: Part, rows: int) -> Part:
    return part if FACETS[kind][name].size else replace(part, missing=part.missing + rows)
