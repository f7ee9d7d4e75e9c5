"""Attaching the truth to predictions. The script decides; of several labels the first stands."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.labels import count_fates
from driftwell.stores.redis.server import Server

__all__ = ["add_labels"]

LABELS_TOGETHER = 5_000
"""Labels of one call of the script: the server does nothing else meanwhile."""

_FATES = {"m": "matched", "e": "early", "d": "duplicate", "c": "conflicting", "a": "ambiguous"}


def add_labels(server: Server, labels: Sequence[Label], keep_ms: int) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``."""
    fates: list[str] = []
    owners: list[str | None] = []
    ambiguous: dict[str, list[str]] = {}
    for first in range(0, len(labels), LABELS_TOGETHER):
        part = labels[first : first + LABELS_TOGETHER]
        packed = msgspec.msgpack.encode([(x.prediction_id, x.true_label, str(x.time_us), x.model or "") for x in part])
        letters, numbers, names, several = server.run("labels", packed, keep_ms, server.address.max_rows)
        models = [None, *(name.decode() for name in names)]
        fates += [_FATES[letter] for letter in letters.decode()]
        owners += [models[number] for number in msgspec.msgpack.decode(numbers)]
        for position, of in msgspec.msgpack.decode(several):
            ambiguous[part[position].prediction_id] = sorted(str(models[number]) for number in of)
    return count_fates(fates, owners, ambiguous)
