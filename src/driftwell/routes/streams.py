"""Rows of an Arrow stream: offered as tables, one for each model version they belong to."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from driftwell.capture.wire.arrow_stream import unpacked
from driftwell.errors import BadInput
from driftwell.frame import text_of
from driftwell.routes.ingest import INVALID, ROOM, note_refused_rows, placed
from driftwell.routes.problems import ProblemError
from driftwell.routes.protocol import Ingest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["accept_table"]

ROW_BYTES = 100
"""About what a row takes besides its columns."""
UNUSABLE = "the table cannot be recorded: the log of the service says why"


def accept_table(table: pa.Table, ingest: Ingest, *, model: str | None, version: str | None) -> dict[str, Any]:
    """Queue the rows of a table whose columns have the names of a record's fields; all others are features.

    Columns ``model`` and ``version`` say where rows belong unless the query says it: then they are features. Rows that
    cannot be read as records are counted when they are stored, by reason; here those are rejected that belong nowhere.

    Raises
    ------
    ProblemError
        422 when no row belongs anywhere or the table cannot be used; 429 when the queue has no room for all of it.
    """
    try:
        flat, roles = unpacked(table)
    except BadInput as error:
        raise ProblemError(422, str(error)) from error
    named = _named(flat, roles, {"model": model, "version": version})
    place = functools.cache(functools.partial(placed, ingest))
    ids: list[str | None] = [None] * len(flat)
    rejected: list[dict[str, Any]] = []
    accepted = 0
    with ingest.turn:
        if len(flat) > ingest.recording.room(int(flat.nbytes) + ROW_BYTES * len(flat)):
            raise ProblemError(429, ROOM, headers={"Retry-After": "1"})
        columns = flat.drop_columns([name for name in ("model", "version") if roles.get(name) == name])
        absent = {name: f"\0{name}" for name in ("model", "version")}  # what is left of these names is a feature
        for names, index in named.items():
            where = place(*names)
            if isinstance(where, str):
                rejected += [{"index": i, "reason": where} for i in index]
                note_refused_rows(ingest, None, None, {INVALID: len(index)})
                continue
            part = columns if len(index) == len(flat) else columns.take(index)
            made = ingest.recording.offer_table(*where, part, {**roles, **absent})
            if len(made) != len(index):  # counted there already
                rejected += [{"index": i, "reason": UNUSABLE} for i in index]
                continue
            accepted += len(index)
            for i, one in zip(index, made, strict=True):
                ids[i] = one
    if len(flat) and not accepted:
        detail = f"no row can be used; the first: {rejected[0]['reason']}"
        raise ProblemError(422, detail, members={"rejected": rejected})
    rejected.sort(key=lambda one: int(one["index"]))
    return {"accepted": accepted, "ids": ids, "rejected": rejected, "ignored_fields": {}}


def _named(
    table: pa.Table, roles: dict[str, str], query: Mapping[str, str | None]
) -> dict[tuple[str | None, str | None], list[int]]:
    """Row numbers by the model and version they name; ``roles`` is told which columns said so."""
    columns = []
    for name, given in query.items():
        if given is None and name not in roles and name in table.column_names:
            roles[name] = name
            columns.append([None if cell is None else text_of(cell) for cell in table[name].to_pylist()])
        else:
            columns.append([given] * len(table))
    found: dict[tuple[str | None, str | None], list[int]] = {}
    for i, names in enumerate(zip(*columns, strict=True)):
        found.setdefault(names, []).append(i)
    return found
