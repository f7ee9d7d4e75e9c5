"""`PUT /api/v1/models/{model}/reference`: a reference file, raw values, or a table to build one from."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Path as PathParameter
from fastapi import Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from driftwell.errors import BadInput, FormatError
from driftwell.profiles import Reference
from driftwell.routes.body import media_type, read_body
from driftwell.routes.ingest import name_flaw
from driftwell.routes.paths import Path, content
from driftwell.routes.problems import Answer
from driftwell.service.api.context import Context, Ctx

__all__ = ["REFERENCE_PATHS"]


class ReferenceStored(BaseModel):
    """The reference that windows are compared with from now on; statistics start afresh."""

    status: str
    model: str
    version: str
    reference_id: str
    n_rows: int
    features: list[str]


def _array(body: bytes) -> Any:
    import numpy as np

    try:
        return np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, OSError) as exc:
        raise FormatError(f"the body is no .npy array of numbers: {exc}") from exc


def _table(body: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(pa.BufferReader(body))
    except (pa.ArrowException, OSError) as exc:
        raise FormatError(f"the body is no Parquet file: {exc}") from exc


Reader = Callable[[bytes], Any]
READERS: Mapping[str, Reader] = {
    "application/json": Reference.from_json,
    "application/x-npy": _array,
    "application/vnd.apache.parquet": _table,
    "application/x-parquet": _table,
}
MAGIC: Mapping[bytes, Reader] = {b"\x93NUMPY": _array, b"PAR1": _table}
BINARY = "application/octet-stream"


async def put_reference(
    request: Request,
    ctx: Ctx,
    model: Annotated[str, PathParameter(max_length=200)],
    version: Annotated[str | None, Query(max_length=200, description="The newest when left out.")] = None,
) -> Response:
    """Set what normal looked like: a Driftwell reference (JSON), a `.npy` array, or a Parquet table."""
    body = await read_body(request, types=(*READERS, BINARY), limit=ctx.max_upload_bytes)
    return Answer(await run_in_threadpool(_store, ctx, body, media_type(request), model, version))


def _store(ctx: Context, body: bytes, kind: str, model: str, version: str | None) -> dict[str, object]:
    flaw = name_flaw("model", model) or name_flaw("version", version)
    if flaw:
        raise BadInput(flaw)
    rows = _reader(kind, body)(body)
    name, its_version = ctx.served.place(model, version)
    reference = ctx.served.set_reference(name, its_version, rows)
    return {
        "status": "reference_stored",
        "model": name,
        "version": its_version,
        "reference_id": reference.id,
        "n_rows": reference.n_rows,
        "features": reference.feature_names,
    }


def _reader(kind: str, body: bytes) -> Reader:
    """By content type, or by the first bytes where the type only says that they are bytes."""
    if kind != BINARY:
        return READERS[kind]
    for magic, reader in MAGIC.items():
        if body.startswith(magic):
            return reader
    return Reference.from_json


REFERENCE_PATHS = (
    Path(
        "PUT",
        "/api/v1/models/{model}/reference",
        put_reference,
        ReferenceStored,
        errors=(413, 415),
        body={
            **content(["application/json"], {"type": "object"}),
            **content([*list(READERS)[1:], BINARY], {"type": "string", "format": "binary"}),
        },
    ),
)
