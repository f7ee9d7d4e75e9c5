"""CaptureMiddleware: sees the exchanges of one endpoint pass, alters nothing, waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from driftwell.capture.ids import is_kept, new_id
from driftwell.capture.middleware.passage import App, Message, Passage, Receive, Scope, Send, by_name, id_in, in_thread
from driftwell.capture.middleware.paths import Extractor, Side, extractor
from driftwell.capture.records import Deferred
from driftwell.config import MonitorSettings
from driftwell.errors import BadInput

if TYPE_CHECKING:
    from driftwell.capture.redaction import Redaction

__all__ = ["CaptureMiddleware", "ExchangeSink", "Watched"]

SHUTDOWN_SECONDS = 5.0
METHODS = frozenset({"POST", "PUT", "PATCH"})
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
    """The part of the recorder that the middleware uses; none of it raises, and only ``flush`` and
    ``offer_exchange_now`` wait."""

    @property
    def enabled(self) -> bool:
        """Whether anything is recorded at all."""

    @property
    def journaling(self) -> bool:
        """Whether a record must be in the spool before the answer is."""

    @property
    def redact_for(self) -> Callable[[str], Redaction | None]:
        """The redaction of a model."""

    def names_for(self, model: str, version: str) -> Sequence[str] | None:
        """The names of features given by position; None where nobody knows them."""

    def make_id(self, ended: float) -> str:
        """A new prediction id for this moment."""

    def offer_exchange(self, exchange: Deferred) -> None:
        """Take one exchange, to be read on the recorder's thread."""

    def offer_exchange_now(self, exchange: Deferred) -> None:
        """Read one exchange and put its records into the spool; returns when they are there."""

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
        Bytes of a request or a response, unpacked, beyond which an exchange is not recorded.
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
    ``not_json``, ``streaming``, ``encoded``, ``too_large``, ``incomplete``, ``status``, ``sampled``, ``empty``.

    Body and status are never altered. Cost while the application answers: references to the chunks of both bodies;
    they are parsed, and unpacked where they are gzip (to ``max_body`` at most), on the recorder's thread. With the
    monitor's ``durability="journal"`` that happens on another thread before the last part of the answer is sent, so
    that an answered request outlives the process. While the recorder is switched off everything passes untouched.
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
        self.names_for = partial(monitor.recorder.names_for, monitor.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and watch it if it is a prediction."""
        recorder = self.monitor.recorder
        if scope["type"] != "http" or scope.get("method") not in METHODS or not self._is_endpoint(scope):
            told = self._flush_at_the_end(send) if scope["type"] == "lifespan" else send
            await self.app(scope, receive, told)
            return
        if not recorder.enabled:
            await self.app(scope, receive, send)
            return
        headers = by_name(scope.get("headers", ()))
        given = id_in(headers, self.id_header)
        if self.sample < 1:
            given = given or new_id()
            if not is_kept(given, self.sample):
                recorder.note_skipped(self.monitor.name, self.monitor.version, "sampled")
                await self.app(scope, receive, send)
                return
        await Passage(self, scope, receive, send, headers, given).run()

    def _flush_at_the_end(self, send: Send) -> Send:
        """Store what waits before the server is told that all is shut down: it may then die of SIGTERM at once."""

        async def sent(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await in_thread(self.monitor.recorder.flush, SHUTDOWN_SECONDS)
            await send(message)

        return sent

    def _is_endpoint(self, scope: Scope) -> bool:
        path, root = scope.get("path", ""), scope.get("root_path", "")
        return bool(path == self.path or (root and path == root + self.path))


def _header_name(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")
