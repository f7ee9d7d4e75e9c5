"""One request and its response while they pass: only references to their chunks are kept, nothing is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from driftwell.capture.ids import is_usable, new_id
from driftwell.capture.middleware.exchange import Exchange

if TYPE_CHECKING:
    from driftwell.capture.middleware.asgi import CaptureMiddleware

__all__ = ["App", "Headers", "Message", "Passage", "Receive", "Scope", "Send", "by_name", "id_in", "in_thread"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_STREAMS = (b"text/event-stream", b"application/x-ndjson", b"application/jsonl", b"application/json-seq")


class Passage:
    """One call of the middleware: the chunks of both bodies, and what is known of them."""

    __slots__ = (
        "_answered", "_asked", "_ended", "_gone", "_id", "_latency", "_outer", "_packed", "_receive", "_request",
        "_response", "_room", "_scope", "_send", "_skip", "_started", "_status", "_told",
    )  # fmt: skip

    def __init__(
        self, outer: CaptureMiddleware, scope: Scope, receive: Receive, send: Send, headers: Headers, given: str | None
    ) -> None:
        self._outer = outer
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request: list[bytes] = []
        self._response: list[bytes] = []
        self._room = [outer.max_body, outer.max_body]
        self._asked = self._answered = self._told = self._ended = self._gone = False
        self._id = given
        self._status = 0
        self._latency = 0.0
        kind, packed = _kind(headers.get(b"content-type", b"application/json"), headers.get(b"content-encoding", b""))
        self._skip = kind
        self._packed = [packed, False]
        self._started = time.perf_counter()

    async def run(self) -> None:
        """Pass the call on."""
        try:
            await self._outer.app(self._scope, self._receive_and_see, self._send_and_see)
        except Exception:
            self._end(failed=not self._answered and not self._gone)  # a client may leave before its answer
            raise
        finally:
            self._end()

    async def _receive_and_see(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._asked = not message.get("more_body", False)
            self._see(message, self._request, 0)
        elif message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def _send_and_see(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self._see(message, self._response, 1)
            if not message.get("more_body", False):
                self._answered = True
                self._latency = time.perf_counter() - self._started
                if self._outer.monitor.recorder.journaling:
                    await self._end_in_journal()
        elif kind == "http.response.start":
            message = self._start(message)
        try:
            await self._send(message)
        except Exception:
            self._gone = True
            raise
        if self._answered:
            self._end()

    def _see(self, message: Message, chunks: list[bytes], side: int) -> None:
        """Keep the chunk of a message, unless it is known already that the exchange is not recorded."""
        chunk = message.get("body")
        if not chunk or self._skip is not None:
            return
        self._room[side] -= len(chunk)
        if self._room[side] < 0:
            self._pass_over("too_large")
        else:
            chunks.append(bytes(chunk))

    def _pass_over(self, reason: str) -> None:
        self._skip = reason
        self._request.clear()
        self._response.clear()

    def _start(self, message: Message) -> Message:
        """Note what kind of answer it is, and tell the client the id where that is wanted."""
        outer = self._outer
        self._status = message["status"]
        headers = by_name(message.get("headers", ()))
        kind, self._packed[1] = _kind(headers.get(b"content-type", b"-"), headers.get(b"content-encoding", b""))
        if kind is not None and self._skip is None:
            self._pass_over(kind)
        if self._id is None:
            self._id = id_in(headers, outer.id_header)
        name = outer.response_id_header
        if name is None:
            return message
        self._told = True
        own = id_in(headers, name)
        if own is not None:
            self._id = own
            return message
        self._id = self._id or new_id()
        return {**message, "headers": [*message.get("headers", ()), (name, self._id.encode("latin-1"))]}

    def _end(self, failed: bool = False) -> None:
        """Hand the exchange over, or count why not; only the first call counts."""
        exchange = self._finish(failed)
        if exchange is not None:
            self._outer.monitor.recorder.offer_exchange(exchange)

    async def _end_in_journal(self) -> None:
        """The same for a recorder that must have written it before the client has its answer."""
        exchange, recorder = self._finish(), self._outer.monitor.recorder
        if exchange is None:
            return
        try:
            await in_thread(recorder.offer_exchange_now, exchange)
        except RuntimeError:  # no thread can be had, as at the end of a process
            recorder.offer_exchange(exchange)

    def _finish(self, failed: bool = False) -> Exchange | None:
        """What to hand over; None where there is nothing, which is counted."""
        if self._ended:
            return None
        self._ended = True
        monitor = self._outer.monitor
        recorder, name, version = monitor.recorder, monitor.name, monitor.version
        if failed or self._status >= 500:
            recorder.note_error(name, version)
            return None
        reason = self._why_not()
        if reason is not None:
            recorder.note_skipped(name, version, reason)
            return None
        return Exchange(
            name,
            version,
            self._outer.extractors,
            b"".join(self._request),
            b"".join(self._response),
            self._scope["path"],
            self._status,
            self._latency,
            time.time(),
            self._id,
            self._told,
            self._outer.max_body,
            (self._packed[0], self._packed[1]),
            recorder.redact_for(name),
            self._outer.names_for,
            recorder.make_id,
        )

    def _why_not(self) -> str | None:
        if not self._status:
            return "incomplete"
        if not 200 <= self._status < 300:
            return "status"
        if self._skip is not None:
            return self._skip
        return None if self._asked and self._answered else "incomplete"


async def in_thread(function: Callable[..., Any], *args: Any) -> None:
    """Call it in a thread, whatever runs the event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import anyio.to_thread  # its own loops are the only others that ASGI servers have

        await anyio.to_thread.run_sync(function, *args)
    else:
        await asyncio.to_thread(function, *args)


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The last value of each header."""
    found = dict(headers)
    return found if all(map(bytes.islower, found)) else {name.lower(): value for name, value in headers}


def id_in(headers: Headers, name: bytes | None) -> str | None:
    """The id a header gives, if it can be one."""
    if name is None or name not in headers:
        return None
    found = headers[name].decode("latin-1")
    return found if is_usable(found) else None


@lru_cache(maxsize=256)
def _kind(content_type: bytes, encoding: bytes) -> tuple[str | None, bool]:
    """Why a body of these headers is not read, None where it is JSON; and whether it is gzip."""
    coding = encoding.lower()
    if coding not in (b"", b"identity", b"gzip", b"x-gzip"):
        return "encoded", False
    kind = content_type.lower().split(b";")[0].strip()
    if kind in _STREAMS:
        return "streaming", False
    is_json = kind == b"application/json" or kind.endswith(b"+json")
    return None if is_json else "not_json", coding.endswith(b"gzip")
