"""References as JSON documents: versioned, with a digest of all they say; an altered one is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.errors import BadInput, FormatError, MergeError, MissingReference
from driftwell.profiles.format.codec import decode, decode_bins, encode, encode_bins
from driftwell.profiles.profile import State
from driftwell.profiles.reference.frozen import edges_id
from driftwell.profiles.reference.reference import Reference
from driftwell.profiles.reference.roles import metrics
from driftwell.profiles.reference.sample import MAX_ROWS, History
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["from_json", "load", "save", "to_json"]

FORMAT = "driftwell-reference"
FORMAT_VERSION = 1
_REBUILD = "build it again with 'driftwell baseline'"


def to_json(reference: Reference) -> bytes:
    """The document: what people read first, the counts as one block of base64 last."""
    features = [
        {
            "name": name,
            "kind": kind,
            "bins": encode_bins(reference.bins[name]),
            "summary": _summary(reference.profile.columns[name]),
        }
        for name, kind in reference.kinds.items()
    ]
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": reference.id,
        "created": _time_out(reference.created),
        "name": reference.name,
        "version": reference.version,
        "n_rows": reference.n_rows,
        "preprocessing": list(reference.preprocessing),
        "performance": reference.performance,
        "importance": reference.importance,
        "roles": reference.roles,
        "ignored": reference.ignored,
        "features": features,
        "parent": reference.parent,
        "seen": reference.seen,
        "outputs": {role: encode_bins(found) for role, found in reference.output_bins.items()},
        "history": _history_out(reference.history),
        "state": base64.b64encode(encode(reference.profile, edges=False)).decode(),
        "sample": _sample_out(reference.sample),
    }
    document["digest"] = _digest(document)
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def from_json(data: bytes, source: str) -> Reference:
    """Read what ``to_json`` wrote; ``source`` names it in errors."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FormatError(f"{source} is not JSON ({exc}): {_REBUILD}") from exc
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FormatError(f"{source} is not a Driftwell reference: build one with 'driftwell baseline'")
    version = document.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatError(
            f"{source} was written by a newer Driftwell (format {version}, this one reads {FORMAT_VERSION}): upgrade"
        )
    try:
        found = _from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MergeError) as exc:
        raise FormatError(f"{source} is corrupt ({exc!r}): {_REBUILD}") from exc
    if document.get("id") != found.id:
        raise FormatError(f"{source} was altered: its content does not have the id it states")
    if "digest" in document and document["digest"] != _digest(document):
        raise FormatError(
            f"{source} was altered: its content does not have the digest it states; {_REBUILD}, or take the line "
            "'digest' out if it was meant"
        )
    return found


def save(reference: Reference, path: Any) -> None:
    """Write the document, whole or not at all; folders are created."""
    target = _path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
            draft = Path(handle.name)
        try:
            draft.write_bytes(reference.to_json())
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as exc:
        raise BadInput(f"cannot write {target}: {exc.strerror or exc}") from exc


def load(path: Any) -> Reference:
    """Read a document, or build a reference from a ``.npy`` array."""
    source = _path(path)
    if not os.path.exists(source):
        raise MissingReference(f"there is no reference at {source}: run 'driftwell baseline DATA -o {source}'")
    if source.suffix == ".npy":
        return Reference.from_data(source)
    try:
        data = source.read_bytes()
    except OSError as exc:
        raise BadInput(f"cannot read {source}: {exc.strerror or exc}") from exc
    return from_json(data, str(source))


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise BadInput(f"a reference is kept in a file: pass its path. Got {path!r}")
    return Path(path)


def _digest(document: dict[str, Any]) -> str:
    """Hash of everything else in the document, however its JSON is laid out."""
    content = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.blake2b(msgspec.json.encode(content, order="sorted"), digest_size=16).hexdigest()


def _sample_out(sample: pa.Table | None) -> dict[str, Any] | None:
    if sample is None:
        return None
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, sample.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(sample.combine_chunks())
    data = sink.getvalue()
    return {
        "rows": sample.num_rows,
        "checksum": hashlib.blake2b(data, digest_size=16).hexdigest(),
        "arrow": base64.b64encode(data).decode(),
    }


def _sample_in(written: dict[str, Any] | None) -> pa.Table | None:
    if written is None:
        return None
    import pyarrow as pa

    data = base64.b64decode(written["arrow"], validate=True)
    if hashlib.blake2b(data, digest_size=16).hexdigest() != written["checksum"]:
        raise ValueError("its row sample does not fit its checksum")
    try:
        found = pa.ipc.open_stream(data).read_all()
    except pa.ArrowException as exc:
        raise ValueError(f"its row sample cannot be read: {exc}") from exc
    if found.num_rows != written["rows"] or found.num_rows > MAX_ROWS:
        raise ValueError("its row sample has another number of rows than stated")
    return found


def _history_out(history: History | None) -> dict[str, Any] | None:
    if history is None:
        return None
    return {
        "repeated": history.repeated,
        "ordered_by": history.ordered_by,
        "start": _time_out(history.start),
        "end": _time_out(history.end),
        "later": base64.b64encode(np.packbits(history.later).tobytes()).decode(),
    }


def _history_in(written: dict[str, Any] | None, sample: pa.Table | None) -> History | None:
    if written is None:
        return None
    rows = 0 if sample is None else sample.num_rows
    bits = np.frombuffer(base64.b64decode(written["later"], validate=True), np.uint8)
    if len(bits) != -(-rows // 8) or int(written["repeated"]) < 0:
        raise ValueError("its history does not fit its row sample")
    return History(
        repeated=int(written["repeated"]),
        ordered_by=str(written["ordered_by"]),
        later=np.unpackbits(bits, count=rows).astype(np.bool_),
        start=_time_in(written["start"]),
        end=_time_in(written["end"]),
    )


def _time_out(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _time_in(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _from_document(document: dict[str, Any]) -> Reference:
    bins = {f["name"]: decode_bins(f["bins"]) for f in document["features"]}
    output_bins = {role: decode_bins(found) for role, found in document["outputs"].items()}
    stored = decode(base64.b64decode(document["state"], validate=True))
    if stored.edges_id != edges_id(bins, output_bins):
        raise ValueError("its bins do not belong to its counts")
    if document["n_rows"] != stored.n_rows:
        raise ValueError("it states another number of rows than it counts")
    sample = _sample_in(document.get("sample"))
    bare = Reference(
        profile=stored,
        bins=bins,
        output_bins=output_bins,
        kinds={f["name"]: f["kind"] for f in document["features"]},
        roles=dict(document["roles"]),
        name=document["name"],
        version=document["version"],
        preprocessing=tuple(document["preprocessing"]),
        performance=metrics("performance", document["performance"]),
        importance=metrics("importance", document["importance"]),
        ignored=dict(document["ignored"]),
        created=_time_in(document["created"]),
        sample=sample,
        history=_history_in(document.get("history"), sample),
        parent=document.get("parent"),
        seen=document.get("seen"),
    )
    return replace(bare, profile=bare.attach(stored))


def _summary(state: State) -> dict[str, Any]:
    if isinstance(state, CategoricalState):
        return {"count": state.count, "missing": state.missing, "distinct": state.distinct}
    if isinstance(state, CompositeState):
        facets = {name: _summary(part) for name, part in state.facets.items()}
        return {"count": state.count, "missing": state.missing, "facets": facets}
    quartiles = [state.quantile(q) for q in (0.25, 0.5, 0.75)]
    numbers = {"mean": state.mean, "std": state.std, "min": state.min, "max": state.max}
    return {"count": state.count, "missing": state.missing, "nan": state.nan, "quartiles": quartiles} | {
        key: value if value is None or math.isfinite(value) else None for key, value in numbers.items()
    }
