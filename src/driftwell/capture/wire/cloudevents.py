"""CloudEvents 1.0 (and 0.3 as Seldon sends it): headers or a JSON document become one ``Event``.

Pure functions. What model servers send under these envelopes is told here too: which events are one half of an
exchange, what joins the halves, and which attributes name model, version and time.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from driftwell.errors import BadInput

__all__ = ["Event", "Half", "from_document", "from_headers", "from_payload", "is_binary"]

Half = Literal["request", "response"]

VERSIONS = ("1.0", "0.3")
MAX_ATTRIBUTE = 4_096
"""Characters of an attribute that is kept with a record; longer ones are cut."""

_PREFIXES = (
    "org.kubeflow.serving.inference.",  # KServe
    "io.seldon.serving.inference.",  # Seldon Core, MLServer
    "azureml.inference.",  # Azure Machine Learning's data collector
)
_HALVES: Mapping[str, Half] = {
    "request": "request",
    "inputs": "request",
    "model_inputs": "request",
    "response": "response",
    "outputs": "response",
    "model_outputs": "response",
}
_OWN = frozenset(("specversion", "id", "source", "type", "data", "data_base64", "datacontenttype", "dataref"))
_OPAQUE = frozenset(("", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"))
"""Content types that say nothing: KServe copies the client's header, which curl fills by itself."""
_NO_ENDPOINT = frozenset(("", "default", "NOTIMPLEMENTED"))
"""Endpoints that name no version: KServe's usual one, and MLServer outside of Seldon Core."""
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its context attributes, and its data as the bytes of a JSON text.

    ``attributes`` are all others by name: ``time``, ``subject`` and the extensions.
    """

    id: str
    source: str
    type: str
    data: bytes = field(repr=False)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def half(self) -> Half | None:
        """Which half of an exchange a model server's event is; None for data of any other kind."""
        for prefix in _PREFIXES:
            if self.type.startswith(prefix):
                return _HALVES.get(self.type.removeprefix(prefix))
        return None

    @property
    def exchange_id(self) -> str:
        """The id that both halves of an exchange have: the event's own (KServe uses one for both, Seldon too), or
        where events have ids of their own their ``correlationid`` (Azure)."""
        own = self.type.startswith("azureml.") and _text(self.attributes.get("correlationid"))
        return own or self.id

    @property
    def key(self) -> bytes:
        """What both halves of one exchange have in common, hashed: no other exchange has it."""
        where = self.source if not self.attributes.get("inferenceservicename") else ""
        parts = (self._service(), where, self.exchange_id)
        return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).digest()

    def _service(self) -> tuple[Any, ...]:
        # Source is no part of it where the service is named: of several replicas the halves may name different pods.
        return tuple(self.attributes.get(name) for name in ("namespace", "inferenceservicename", "component"))

    @property
    def model(self) -> str | None:
        """The service that is said to have answered."""
        return _text(self.attributes.get("inferenceservicename")) or _text(self.attributes.get("modelid"))

    @property
    def version(self) -> str | None:
        """``modelversion``, else an ``endpoint`` that is not the default one (``canary``)."""
        endpoint = _text(self.attributes.get("endpoint"))
        return _text(self.attributes.get("modelversion")) or (None if endpoint in _NO_ENDPOINT else endpoint)

    @property
    def time(self) -> datetime | None:
        """When it occurred; None when it does not say. Raises ``BadInput`` for what is no RFC 3339 time."""
        given = self.attributes.get("time")
        if given is None or given == "":
            return None
        try:
            found = datetime.fromisoformat(str(given).strip().upper())
        except ValueError as exc:
            raise BadInput(f"the event's time is no RFC 3339 time: {str(given)[:50]!r}") from exc
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is kept with each record: source, type and all extensions (``sampledrate``, ``recordedtime`` …)."""
        found: dict[str, Any] = {"source": self.source[:MAX_ATTRIBUTE], "type": self.type[:MAX_ATTRIBUTE]}
        for name, value in self.attributes.items():
            if name not in ("time", "schemaurl", "dataschema", "datacontentencoding"):
                found[name] = _sampled_rate(value) if name == "sampledrate" else _kept(value)
        return found

    def document(self) -> Any:
        """The decoded data; raises ``BadInput`` where it is no JSON."""
        try:
            return msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise BadInput(f"the event's data is not JSON: {exc}") from exc
        except RecursionError as exc:
            raise BadInput("the event's data is nested too deeply") from exc


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether a request carries one event in the binary mode: its attributes are headers."""
    return "ce-specversion" in headers or "ce-type" in headers


def from_headers(headers: Iterable[tuple[str, str]], content_type: str, body: bytes) -> Event:
    """One event of the HTTP binding's binary mode: ``ce-`` headers, percent-encoded; the body is the data.

    Raises
    ------
    BadInput
        A required attribute is missing, a header cannot be decoded, or the content type is not JSON's.
    """
    found: dict[str, Any] = {}
    for name, value in headers:
        name = name.lower()
        if name.startswith("ce-"):
            found[name[3:].replace("-", "")] = _header_value(name, value)
    found["datacontenttype"] = content_type  # ce-datacontenttype is no header of the binding
    return _event(found, body)


def from_document(document: Any) -> Event:
    """One event of the structured mode, or of a batch: a JSON object with ``data`` or ``data_base64``.

    ``document`` maps names to ``msgspec.Raw``, so that data stays the text that was sent. Raises ``BadInput``.
    """
    if not isinstance(document, Mapping):
        raise BadInput("an event must be a JSON object")
    data = document.get("data")
    found = {name: msgspec.json.decode(value) for name, value in document.items() if name != "data"}
    encoded = found.pop("data_base64", None)
    if data is not None and found.get("datacontentencoding") == "base64":  # 0.3
        encoded, data = msgspec.json.decode(data), None
    if encoded is not None:
        if data is not None:
            raise BadInput("an event has data or data_base64, not both")
        return _event(found, _from_base64(encoded))
    return _event(found, None if data is None else bytes(data))


def from_payload(document: Any, body: bytes) -> Event | None:
    """The event that MLServer puts inside a V2 body, as ``Ce-`` headers in ``parameters.headers``; None without any."""
    parameters = document.get("parameters") if isinstance(document, Mapping) else None
    headers = parameters.get("headers") if isinstance(parameters, Mapping) else None
    if not isinstance(headers, Mapping):
        return None
    named = [(str(name), str(value)) for name, value in headers.items()]
    if not is_binary({name.lower(): value for name, value in named}):
        return None
    return from_headers(named, "application/json", body)


def _event(found: dict[str, Any], data: bytes | None) -> Event:
    version = found.get("specversion")
    if version not in VERSIONS:
        raise BadInput(f"specversion must be one of {', '.join(VERSIONS)}. Got {str(version)[:50]!r}")
    for name in ("id", "source", "type"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise BadInput(f"the event lacks {name}")
    if data is None or not data.strip():
        if found.get("dataref"):
            raise BadInput("dataref is not fetched: send the data itself")
        raise BadInput("the event has no data")
    kind = str(found.get("datacontenttype") or "").partition(";")[0].strip().lower()
    if kind not in _OPAQUE and kind != "application/json" and not kind.endswith("+json"):
        raise BadInput(f"the event's data has the content type {kind[:100]!r}: send JSON")
    attributes = {name: value for name, value in found.items() if name not in _OWN and value is not None}
    if len(attributes) > 64 or not all(_NAME.fullmatch(name) for name in attributes):
        raise BadInput("an event has at most 64 attributes, with names of letters and digits")
    return Event(found["id"], found["source"], found["type"], data, attributes)


def _header_value(name: str, value: str) -> str:
    plain = _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found[1]), value.strip())
    try:
        return unquote(plain, errors="strict")
    except UnicodeDecodeError as exc:
        raise BadInput(f"the header {name[:100]} is not percent-encoded UTF-8") from exc


def _from_base64(encoded: Any) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError) as exc:
        raise BadInput("data_base64 is not base64") from exc


def _sampled_rate(value: Any) -> int:
    """The event stands for this many: 1 of N was sent."""
    try:
        rate = int(value)
    except (ValueError, TypeError):
        rate = 0
    if rate < 1:
        raise BadInput(f"sampledrate must be a whole number of at least 1. Got {str(value)[:50]!r}")
    return rate


def _kept(value: Any) -> Any:
    """A scalar as it is; KServe's ``metadata`` and ``annotations``, JSON inside a text, stay text."""
    if isinstance(value, str):
        return value[:MAX_ATTRIBUTE]
    return value if isinstance(value, (bool, int, float)) else msgspec.json.encode(value).decode()[:MAX_ATTRIBUTE]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and value != "NOTIMPLEMENTED" else None
