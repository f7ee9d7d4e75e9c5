"""Categorical and boolean columns: a vocabulary frozen from a reference, exact counts, and newcomers by name."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftwell.errors import MergeError
from driftwell.frame import BOOLEAN_CATEGORIES, CodedColumn
from driftwell.profiles.states.weights import Units, Weighting

__all__ = [
    "BOOLEAN_VOCABULARY",
    "NO_VOCABULARY",
    "CategoricalState",
    "Vocabulary",
    "build_categorical",
    "freeze_vocabulary",
]

MAX_VOCABULARY = 1000
MAX_NEWCOMERS = 256

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The categories that have a cell of their own, sorted by name."""

    categories: tuple[str, ...]

    @cached_property
    def id(self) -> str:
        """Content hash; states of different ids never merge."""
        digest = hashlib.blake2b(digest_size=8)
        for category in self.categories:
            data = category.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()

    @cached_property
    def position(self) -> dict[str, int]:
        """Cell of each category."""
        return {category: i for i, category in enumerate(self.categories)}


NO_VOCABULARY = Vocabulary(())
"""Everything is a newcomer: what is counted while there is no reference."""

BOOLEAN_VOCABULARY = Vocabulary(BOOLEAN_CATEGORIES)


@dataclass(frozen=True, eq=False)
class CategoricalState:
    """Counts of one column: a cell a category of the vocabulary and a last one for all other values.

    ``newcomers`` names the other values, with exact counts, as long as there are at most 256 of them; beyond that
    it keeps the 256 whose hashes are smallest, so that merging in any order keeps the same ones. The mass of the
    other values is always exact. Where rows have weights (``weighting``) all counts but ``count`` and ``n_rows`` are
    in units of 2**-20.
    """

    vocabulary: Vocabulary | None
    bins_id: str
    counts: Ints
    newcomers: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    invalid: int = 0
    kind: str = "categorical"
    weighting: Weighting | None = None

    @cached_property
    def count(self) -> int:
        """Rows that hold a value."""
        return int(self.counts.sum()) if self.weighting is None else self.weighting.present

    @property
    def n_rows(self) -> int:
        """All rows."""
        return self.units if self.weighting is None else self.weighting.rows

    @property
    def units(self) -> int:
        """What all rows count together: their number, or their weight in units of 2**-20."""
        return int(self.counts.sum()) + self.missing

    @property
    def missing_share(self) -> float | None:
        """Share of the rows that hold no value, by weight where they have weights; None without rows."""
        return self.missing / self.units if self.units else None

    @property
    def other(self) -> int:
        """Rows whose value is not in the vocabulary."""
        return int(self.counts[-1])

    @property
    def named(self) -> bool:
        """Whether ``newcomers`` names every other value."""
        return sum(self.newcomers.values()) == self.other

    @property
    def distinct(self) -> int | None:
        """Number of distinct values, None when there were too many newcomers to name."""
        return int(np.count_nonzero(self.counts[:-1])) + len(self.newcomers) if self.named else None

    # A category has no mean or order; the names exist so that one loop can read every column.
    mean = None
    std = None
    min = None
    max = None

    def quantile(self, q: float) -> None:
        """Categories have no order."""

    def merge(self, other: CategoricalState) -> CategoricalState:
        """Both together; the vocabularies must be the same."""
        if self.bins_id != other.bins_id:
            raise MergeError(
                f"vocabularies {self.bins_id} and {other.bins_id} differ: profile both against one reference"
            )
        newcomers = dict(self.newcomers)
        for name, count in other.newcomers.items():
            newcomers[name] = newcomers.get(name, 0) + count
        return CategoricalState(
            vocabulary=self.vocabulary or other.vocabulary,
            bins_id=self.bins_id,
            counts=self.counts + other.counts,
            newcomers=_keep(newcomers),
            missing=self.missing + other.missing,
            invalid=self.invalid + other.invalid,
            kind=self.kind,
            weighting=self.weighting and other.weighting and self.weighting.plus(other.weighting),
        )


def freeze_vocabulary(column: CodedColumn, units: Units | None = None) -> Vocabulary:
    """The categories of a reference column; of more than 1,000 the most frequent (ties by name), or the heaviest where
    rows have weights."""
    if column.kind == "boolean":
        return BOOLEAN_VOCABULARY
    counts = _tally(column, units)
    seen = [(int(-c), name) for c, name in zip(counts, column.categories, strict=True) if c]
    if len(seen) > MAX_VOCABULARY:
        seen = sorted(seen)[:MAX_VOCABULARY]
    return Vocabulary(tuple(sorted(name for _, name in seen)))


def build_categorical(column: CodedColumn, vocabulary: Vocabulary, units: Units | None = None) -> CategoricalState:
    """Count a column in a frozen vocabulary, each row as one or by its units of weight.

    Cost: one pass over the codes, one look-up a distinct value.
    """
    counts = _tally(column, units)
    missing = (len(column.codes) if units is None else int(units.sum())) - int(counts.sum())
    invalid = column.invalid if units is None else min(missing, round(column.invalid * units.mean()))
    cells = np.zeros(len(vocabulary.categories) + 1, np.int64)
    newcomers: dict[str, int] = {}
    for name, count in zip(column.categories, counts.tolist(), strict=True):
        if count:
            cell = vocabulary.position.get(name, -1)
            cells[cell] += count
            if cell < 0:
                newcomers[name] = count
    return CategoricalState(vocabulary, vocabulary.id, cells, _keep(newcomers), missing, invalid, column.kind)


def _tally(column: CodedColumn, units: Units | None) -> Ints:
    """Rows, or units of weight, of each category; sums of units stay below 2**53 and so are exact."""
    held = column.codes >= 0
    codes, weights = (
        (column.codes, units) if held.all() else (column.codes[held], None if units is None else units[held])
    )
    return np.bincount(codes, weights=weights, minlength=len(column.categories)).astype(np.int64)


def _keep(newcomers: dict[str, int]) -> dict[str, int]:
    """The 256 names with the smallest hashes: a name kept from a union was kept in each part that has it."""
    if len(newcomers) <= MAX_NEWCOMERS:
        return dict(sorted(newcomers.items()))
    return dict(sorted(heapq.nsmallest(MAX_NEWCOMERS, newcomers.items(), key=lambda item: _hash(item[0]))))


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
