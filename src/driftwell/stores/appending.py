"""What every store does before it stores a batch: refuse what no store could hold, and leave out what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput
from driftwell.stores.base import PredictionBatch
from driftwell.stores.keys import MOST_ROWS

__all__ = ["AppliedError", "KnownRowsError", "check_hashes", "check_size", "new_rows"]


class AppliedError(Exception):
    """A batch of this id was stored before."""


class KnownRowsError(Exception):
    """Some of the rows believed to be new are stored already."""


def check_size(batch: PredictionBatch) -> None:
    """Raise ``BadInput`` for more rows than keys have room for, and for hashes that are not one a row."""
    if len(batch) > MOST_ROWS:
        raise BadInput(f"a batch holds at most {MOST_ROWS:,} rows, this one has {len(batch):,}: split it")
    check_hashes(batch)


def check_hashes(batch: PredictionBatch) -> None:
    """Raise ``BadInput`` for hashes that are not one a row."""
    if len(batch.content_hash) != len(batch):
        raise BadInput(f"{len(batch.content_hash)} content hashes for {len(batch)} rows")


def new_rows(ids: Sequence[str], hashes: Sequence[int], known: Mapping[str, int]) -> tuple[npt.NDArray[np.int64], int]:
    """Positions of the rows neither known nor repeated, and how many of the others have the same content.

    >>> new_rows(["a", "b", "b", "c"], [1, 2, 2, 3], {"c": 9})
    (array([0, 1]), 1)
    """
    if not known and len(set(ids)) == len(ids):
        return np.arange(len(ids), dtype=np.int64), 0
    first = dict(known)
    fresh, duplicate = [], 0
    for i, (prediction_id, content) in enumerate(zip(ids, hashes, strict=True)):
        if prediction_id not in first:
            first[prediction_id] = content
            fresh.append(i)
        elif first[prediction_id] == content:
            duplicate += 1
    return np.array(fresh, dtype=np.int64), duplicate
