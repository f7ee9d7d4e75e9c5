"""`POST /api/v1/monitoring/check-drift`: a baseline against a table that is sent or lies on the server."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections import Counter
from pathlib import Path as FilePath
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from driftwell.drift import compare
from driftwell.errors import BadInput, FormatError, MissingReference
from driftwell.profiles import Reference
from driftwell.routes.body import bounded, media_type
from driftwell.routes.paths import Path
from driftwell.routes.problems import Answer, ProblemError
from driftwell.routes.schemas import SeverityName
from driftwell.service.api.context import Context, Ctx

__all__ = ["COMPARE_PATHS"]

MULTIPART = "multipart/form-data"
DEFAULT_ROOT = "data"
TABLES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".arrow", ".feather", ".npy")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IMAGES_LATER = "images are not available in this version: send a reference and a table"


class DriftChecked(BaseModel):
    """Whether the table drifted from the baseline, how far, and the full report."""

    drift_detected: bool
    severity: SeverityName
    report: dict[str, Any]


async def check_drift(
    request: Request,
    ctx: Ctx,
    data_dir: Annotated[str | None, Query(description="Folder of tables below the server's data_root.")] = None,
    model: Annotated[
        str | None,
        Query(max_length=200, description="Its reference is the baseline when no baseline_file is sent."),
    ] = None,
) -> Response:
    """Compare a table with a baseline once; nothing is recorded."""
    if media_type(request) != MULTIPART:
        raise ProblemError(415, f"send {MULTIPART}", members={"accepted": [MULTIPART]})
    async with bounded(request, ctx.max_upload_bytes).form(max_files=3, max_fields=4) as form:
        return Answer(await run_in_threadpool(_compare, ctx, form, data_dir, model))


def _compare(ctx: Context, form: FormData, data_dir: str | None, model: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="driftwell-") as folder:
        try:
            reference = _baseline(ctx, _file(form, "baseline_file", folder), _text(form, "model") or model)
            table = _current(ctx, _file(form, "data_file", folder), _text(form, "data_dir") or data_dir)
            result = compare(reference, table)
        except (BadInput, FormatError) as exc:
            # The user sent a file of another name and has no use for the path of our copy.
            raise BadInput(str(exc).replace(f"{folder}/", "")) from exc
    return {
        "drift_detected": result.drift_detected,
        "severity": str(result.severity),
        "report": result.to_dict(),
    }


def _current(ctx: Context, sent: FilePath | None, folder: str | None) -> str:
    if sent is not None and folder is None:
        return str(sent)
    if sent is None and folder is not None:
        return _tables(ctx, folder)
    raise BadInput("send one of data_file (a table) and data_dir (a folder on the server)")


def _baseline(ctx: Context, sent: FilePath | None, model: str | None) -> Reference:
    if sent is not None:
        if sent.suffix not in (".json", ".npy"):
            return Reference.from_data(str(sent))
        if sent.suffix == ".json" and _is_image_baseline(sent):
            raise BadInput(f"the baseline is one of images; {IMAGES_LATER}")
        return Reference.load(sent)
    if model is None:
        raise BadInput("baseline_file is missing: send a reference made by `driftwell baseline`, or name a model")
    ctx.served.resolve(model, None)
    name, version = ctx.served.place(model, None)
    stored = ctx.runtime.ledger.get_reference(name, version)
    if stored is None:
        raise MissingReference(f"{name} {version} has no reference: run `driftwell baseline` or PUT one")
    return Reference.from_json(stored[1], source=f"the reference of {name} {version}")


def _is_image_baseline(path: FilePath) -> bool:
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(document, dict) and "dataset_info" in document


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if isinstance(value, UploadFile):
        raise BadInput(f"{name} must be text; {IMAGES_LATER}" if name == "model" else f"{name} must be text")
    return value or None


def _file(form: FormData, name: str, folder: str) -> FilePath | None:
    """The file that was sent, under a name of our own that keeps only its kind."""
    value = form.get(name)
    if value is None:
        return None
    if not isinstance(value, UploadFile):
        raise BadInput(f"{name} must be a file")
    suffix = FilePath(value.filename or "").suffix.lower()
    if suffix in IMAGES:
        raise BadInput(f"{name} is an image; {IMAGES_LATER}")
    if suffix not in TABLES:
        raise BadInput(f"{name} must be one of {', '.join(TABLES)}; its name ends in {suffix or 'nothing'!r}")
    path = FilePath(folder, f"{name}{suffix}")
    with path.open("wb") as target:
        shutil.copyfileobj(value.file, target)
    return path


def _tables(ctx: Context, name: str) -> str:
    """The pattern of all tables of a folder below the allowed root, of the kind that most of them have."""
    root = FilePath(ctx.config.data_root or DEFAULT_ROOT).resolve()
    try:
        candidates = [(root / name).resolve(), FilePath(name).resolve()]
        allowed = [folder for folder in candidates if folder.is_relative_to(root)]
        folder = next((folder for folder in allowed if folder.is_dir()), None)
    except (OSError, ValueError, RuntimeError) as exc:
        raise BadInput("data_dir is no path") from exc
    if not allowed:
        raise ProblemError(403, "data_dir lies outside of the folder that this server may read (data_root)")
    if folder is None:
        raise BadInput(f"data_dir {name!r} is no folder on the server")
    tables = Counter(p.suffix for p in folder.rglob("*") if p.suffix.lower() in TABLES and p.is_file())
    if not tables:
        raise BadInput(f"data_dir {name!r} holds no tables; {IMAGES_LATER}")
    return f"{glob.escape(str(folder))}/**/*{tables.most_common(1)[0][0]}"


_FILE = {"type": "string", "format": "binary"}

COMPARE_PATHS = (
    Path(
        "POST",
        "/api/v1/monitoring/check-drift",
        check_drift,
        DriftChecked,
        errors=(400, 404, 413, 415),
        body={
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "baseline_file": _FILE | {"description": "A reference (JSON), or raw values (.npy)."},
                        "data_file": _FILE | {"description": "A table: Parquet, CSV, JSON lines, Arrow, .npy."},
                        "data_dir": {"type": "string", "description": "Instead of data_file."},
                        "model": {"type": "string", "description": "Instead of baseline_file."},
                    },
                }
            }
        },
    ),
)
