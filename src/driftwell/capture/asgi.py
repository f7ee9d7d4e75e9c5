"""CaptureMiddleware: sees the exchanges of one endpoint pass, alters nothing, waits for nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from driftwell.capture.exchange import Exchange
from driftwell.capture.ids import is_kept, is_usable, new_id
from driftwell.capture.paths import Extractor, Side, extractor
from driftwell.capture.records import Deferred
from driftwell.config import MonitorSettings
from driftwell.errors import BadInput

__all__ = ["CaptureMiddleware", "ExchangeSink", "Watched"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SHUTDOWN_SECONDS = 5.0
METHODS = frozenset({"POST", "PUT", "PATCH"})
_STREAMS = (b"text/event-stream", b"application/x-ndjson", b"application/jsonl", b"application/json-seq")
_SIDES: dict[str, tuple[Side, ...]] = {
    "features": ("request",),
    "prediction": ("response",),
    "score": ("response",),
    "probability": ("response",),
    "timestamp": ("request",),
    "segment": ("request",),
    "entity_id": ("request",),
    "version": ("response", "request"),
    "prediction_id": ("response", "request"),
}


class ExchangeSink(Protocol):
    """The part of the recorder that the middleware uses; none of it raises, only ``flush`` waits."""

    def offer_exchange(self, exchange: Deferred) -> None:
        """Take one exchange, to be read on the recorder's thread."""

    def note_skipped(self, model: str, version: str, reason: str) -> None:
        """Count a request that was passed over."""

    def note_error(self, model: str, version: str) -> None:
        """Count a request that the application failed to answer."""

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what waits is stored; False after ``timeout`` seconds."""


class Watched(Protocol):
    """What the middleware needs of a monitor: whose records these are, and where they go."""

    @property
    def name(self) -> str:
        """The model."""

    @property
    def version(self) -> str:
        """The version of records that name none."""

    @property
    def recorder(self) -> ExchangeSink:
        """Where exchanges go."""

    @property
    def settings(self) -> MonitorSettings:
        """The monitor's options, for ``sample_rate``."""


class CaptureMiddleware:
    """Records the predictions of an existing JSON endpoint; pure ASGI.

    Parameters
    ----------
    app
        The application; ``add_middleware`` passes it.
    monitor
        The ``Monitor`` that records.
    path
        Path of the endpoint. POST, PUT and PATCH requests to it are recorded; everything else passes untouched.
    features, timestamp, segment, entity_id
        Where they lie in the request: a dotted path (``"x"``, ``"instances.0"``, ``""`` for all of it), or a function
        of ``(request_json, response_json)``, called on the recorder's thread. None: not recorded.
    prediction, score, probability
        Where they lie in the response.
    version
        Where the model version lies in the response or the request; else it is the monitor's.
    prediction_id
        Where the id lies: looked for in the response, the request, and the headers of both; made where there is none.
    response_id_header
        Name of a response header that tells the client the id which feedback needs, such as ``X-Prediction-ID``. The
        id must then be known before the answer is: it is the header named by ``prediction_id``, or made, and the
        JSON is not searched. An answer that already has this header keeps it, and its value is the id.
    max_body
        Bytes of a request or a response beyond which an exchange is not recorded.
    sample
        Share of the requests that is recorded, decided by the hash of the id in the header where there is one. The
        ``sample`` of the monitor holds too: the smaller share is recorded, of the others nothing is copied.

    Raises
    ------
    BadInput
        An option cannot be used.

    Notes
    -----
    A list of rows (dicts or lists) as features means many rows; predictions and scores must then be lists of the same
    length, and of one id the rows get ``id:0, id:1, …``. Only answers of 200 to 299 are recorded, those of 500 and
    above and exceptions count as ``errors`` in ``monitor.stats()``; what is passed over is counted under ``skipped``:
    ``not_json``, ``streaming``, ``encoded``, ``too_large``, ``incomplete``, ``status``, ``sampled``.

    Body and status are never altered. Cost while the application answers: references to the chunks of both bodies.
    """

    def __init__(
        self,
        app: App,
        *,
        monitor: Watched,
        path: str = "/predict",
        features: Any = "x",
        prediction: Any = "y",
        score: Any = None,
        probability: Any = None,
        timestamp: Any = None,
        segment: Any = None,
        entity_id: Any = None,
        version: Any = None,
        prediction_id: Any = "x-request-id",
        response_id_header: str | None = None,
        max_body: int = 1024 * 1024,
        sample: float = 1.0,
    ) -> None:
        if not path.startswith("/"):
            raise BadInput(f"path must start with a slash. Got {path!r}")
        if not 0 <= sample <= 1:
            raise BadInput(f"sample is a share in 0…1. Got {sample!r}")
        sample = min(sample, monitor.settings.sample_rate)
        if response_id_header is not None and callable(prediction_id):
            raise BadInput("with response_id_header the id must be known before the answer: name a header, no function")
        given = {
            "features": features, "prediction": prediction, "score": score, "probability": probability,
            "timestamp": timestamp, "segment": segment, "entity_id": entity_id, "version": version,
            "prediction_id": prediction_id,
        }  # fmt: skip
        made = {name: extractor(where, name, *_SIDES[name]) for name, where in given.items()}
        self.app = app
        self.monitor = monitor
        self.path = path
        self.extractors: dict[str, Extractor] = {name: one for name, one in made.items() if one is not None}
        self.id_header = _header_name(prediction_id) if isinstance(prediction_id, str) else None
        self.response_id_header = _header_name(response_id_header) if response_id_header is not None else None
        self.max_body = max_body
        self.sample = sample

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and watch it if it is a prediction."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._flush_at_the_end(send))
            return
        if scope["type"] != "http" or scope.get("method") not in METHODS or not self._is_endpoint(scope):
            await self.app(scope, receive, send)
            return
        pass_ = _Passage(self, scope, receive, send)
        if self.sample < 1 and not is_kept(pass_.decide_id(), self.sample):
            self.monitor.recorder.note_skipped(self.monitor.name, self.monitor.version, "sampled")
            await self.app(scope, receive, send)
            return
        await pass_.run()

    def _flush_at_the_end(self, send: Send) -> Send:
        """Store what waits before the server is told that all is shut down: it may then die of SIGTERM at once."""

        async def sent(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await asyncio.to_thread(self.monitor.recorder.flush, SHUTDOWN_SECONDS)
            await send(message)

        return sent

    def _is_endpoint(self, scope: Scope) -> bool:
        path, root = scope.get("path", ""), scope.get("root_path", "")
        return bool(path == self.path or (root and path == root + self.path))


class _Passage:
    """One request and its response while they pass."""

    def __init__(self, outer: CaptureMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._outer = outer
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()
        self._latency = 0.0
        self._request = _Body(outer.max_body)
        self._response = _Body(outer.max_body)
        self._status = 0
        self._skip = _unreadable(scope.get("headers", ()), missing_is_json=True)
        self._id = _id_in(scope.get("headers", ()), outer.id_header)
        self._told = False
        self._ended = False

    def decide_id(self) -> str:
        """The id of the request, made now if no header gave one."""
        if self._id is None:
            self._id = new_id()
        return self._id

    async def run(self) -> None:
        """Pass the call on."""
        try:
            await self._outer.app(self._scope, self._receive_and_see, self._send_and_see)
        except Exception:
            self._end(failed=not self._response.complete)  # a client may be gone before its answer
            raise
        finally:
            self._end()

    async def _receive_and_see(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._request.see(message)
        return message

    async def _send_and_see(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = self._start(message)
        elif message["type"] == "http.response.body":
            self._response.see(message)
            self._latency = time.perf_counter() - self._started
        await self._send(message)
        if self._response.complete:
            self._end()

    def _start(self, message: Message) -> Message:
        """Note what kind of answer it is, and tell the client the id where that is wanted."""
        headers = list(message.get("headers", ()))
        self._status = message["status"]
        self._skip = self._skip or _unreadable(headers, missing_is_json=False)
        self._id = self._id or _id_in(headers, self._outer.id_header)
        name = self._outer.response_id_header
        if name is None:
            return message
        self._told = True
        own = _id_in(headers, name)
        if own is not None:
            self._id = own
            return message
        headers.append((name, self.decide_id().encode("latin-1")))
        return {**message, "headers": headers}

    def _end(self, failed: bool = False) -> None:
        """Hand the exchange over, or count why not; only the first call counts."""
        if self._ended:
            return
        self._ended = True
        monitor = self._outer.monitor
        if failed or self._status >= 500:
            monitor.recorder.note_error(monitor.name, monitor.version)
            return
        reason = self._why_not()
        if reason is not None:
            monitor.recorder.note_skipped(monitor.name, monitor.version, reason)
            return
        monitor.recorder.offer_exchange(
            Exchange(
                model=monitor.name,
                version=monitor.version,
                extractors=self._outer.extractors,
                request=self._request.content(),
                response=self._response.content(),
                endpoint=self._scope["path"],
                status=self._status,
                latency_seconds=self._latency,
                ended=time.time(),
                shared_id=self._id,
                told=self._told,
            )
        )

    def _why_not(self) -> str | None:
        if not self._response.complete:
            return "incomplete"
        if not 200 <= self._status < 300:
            return "status"
        if self._skip is not None:
            return self._skip
        if self._request.too_large or self._response.too_large:
            return "too_large"
        return None if self._request.complete else "incomplete"


class _Body:
    """The chunks of a body up to a number of bytes; one that is larger is forgotten."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._chunks: list[bytes] = []
        self.complete = False
        self.too_large = False

    def see(self, message: Message) -> None:
        """Keep the chunk of a message."""
        chunk = bytes(message.get("body") or b"")
        self.complete = not message.get("more_body", False)
        self._left -= len(chunk)
        if self._left >= 0:
            self._chunks.append(chunk)
        else:
            self.too_large = True
            self._chunks.clear()

    def content(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)


def _header_name(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")


def _id_in(headers: Iterable[tuple[bytes, bytes]], name: bytes | None) -> str | None:
    """The id a header gives, if it can be one."""
    found = next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")
    return found if is_usable(found) else None


def _unreadable(headers: Iterable[tuple[bytes, bytes]], *, missing_is_json: bool) -> str | None:
    """Why a body of these headers is not read, None where it is JSON."""
    found = {key.lower(): value.lower() for key, value in headers}
    if found.get(b"content-encoding", b"identity") != b"identity":
        return "encoded"
    kind = found.get(b"content-type", b"").split(b";")[0].strip()
    if kind in _STREAMS:
        return "streaming"
    is_json = kind == b"application/json" or kind.endswith(b"+json") or (not kind and missing_is_json)
    return None if is_json else "not_json"
