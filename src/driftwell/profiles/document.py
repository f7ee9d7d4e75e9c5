"""References as JSON documents: versioned, with the id of their content; an altered one is refused."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from driftwell.errors import FormatError, MergeError
from driftwell.profiles.categorical import CategoricalState
from driftwell.profiles.codec import decode, decode_bins, encode, encode_bins
from driftwell.profiles.profile import State
from driftwell.profiles.reference import Reference, edges_id
from driftwell.profiles.roles import metrics

__all__ = ["from_json", "to_json"]

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
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": reference.id,
        "created": reference.created.isoformat() if reference.created else None,
        "name": reference.name,
        "version": reference.version,
        "n_rows": reference.n_rows,
        "preprocessing": list(reference.preprocessing),
        "performance": reference.performance,
        "importance": reference.importance,
        "roles": reference.roles,
        "ignored": reference.ignored,
        "features": features,
        "outputs": {role: encode_bins(found) for role, found in reference.output_bins.items()},
        "state": base64.b64encode(encode(reference.profile, edges=False)).decode(),
    }
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
    return found


def _from_document(document: dict[str, Any]) -> Reference:
    bins = {f["name"]: decode_bins(f["bins"]) for f in document["features"]}
    output_bins = {role: decode_bins(found) for role, found in document["outputs"].items()}
    stored = decode(base64.b64decode(document["state"], validate=True))
    if stored.edges_id != edges_id(bins, output_bins):
        raise ValueError("its bins do not belong to its counts")
    created = document["created"]
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
        created=datetime.fromisoformat(created) if created else None,
    )
    return replace(bare, profile=bare.attach(stored))


def _summary(state: State) -> dict[str, Any]:
    if isinstance(state, CategoricalState):
        return {"count": state.count, "missing": state.missing, "distinct": state.distinct}
    quartiles = [state.quantile(q) for q in (0.25, 0.5, 0.75)]
    numbers = {"mean": state.mean, "std": state.std, "min": state.min, "max": state.max}
    return {"count": state.count, "missing": state.missing, "nan": state.nan, "quartiles": quartiles} | {
        key: value if value is None or math.isfinite(value) else None for key, value in numbers.items()
    }
