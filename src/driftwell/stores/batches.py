"""Stored batches of a model version as a sequence that reads each when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from driftwell.stores.base import PredictionBatch

__all__ = ["StoredBatches"]


class StoredBatches(Sequence[PredictionBatch]):
    """The batches that ``load`` finds at these places, each read when it is asked for: a long history needs no memory.

    One whose rows are gone by then comes without any.
    """

    def __init__(self, load: Callable[[Any], PredictionBatch], places: Sequence[Any]) -> None:
        self._load, self._places = load, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> PredictionBatch: ...
    @overload
    def __getitem__(self, index: slice) -> StoredBatches: ...
    def __getitem__(self, index: int | slice) -> PredictionBatch | StoredBatches:
        if isinstance(index, slice):
            return StoredBatches(self._load, self._places[index])
        return self._load(self._places[index])
