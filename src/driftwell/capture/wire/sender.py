"""A service as the store of a recorder: batches are posted as Arrow streams, labels as JSON.

Only what a recorder asks of a store is here. A failure that may pass is a ``StoreError``, which the recorder tries
again; what the service will never take is counted as refused.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from driftwell._version import __version__
from driftwell.capture.processes import survive_forks
from driftwell.capture.wire.arrow_stream import STREAM_TYPE, batch_to_stream
from driftwell.errors import BadInput, ConfigError, StoreError
from driftwell.results import isoformat
from driftwell.stores.base import AppendResult, Capabilities, Label, LabelCounts, LeafBuilder, PredictionBatch

if TYPE_CHECKING:
    import httpx2
    import pyarrow as pa

__all__ = ["Sender", "Token"]

logger = logging.getLogger("driftwell.client")

MOST_SENT_BYTES = 8 * 1024**2
MOST_READ_BYTES = 32 * 1024**2
MOST_LABELS = 1_000
LONGEST_WAIT_SECONDS = 300.0
TRIES_OF_PENDING = 5
PASSING = frozenset((401, 403, 404, 405, 407, 408, 415, 421, 425, 429))
"""Answers that another try may change once someone has put right a token, an address or a proxy; so may 3xx and 5xx."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, or the file it is in; never in a repr."""

    text: str | None = field(default=None, repr=False)
    file: Path | None = None

    @staticmethod
    def of(token: str | None, file: str | os.PathLike[str] | None) -> Token:
        """The token that is given, else that of the file, else ``DRIFTWELL_TOKEN``. Raises ``ConfigError``."""
        if token is not None and file is not None:
            raise ConfigError("give token or token_file, not both")
        if file is not None:
            return Token(file=Path(file)).read()
        return Token((token or os.environ.get("DRIFTWELL_TOKEN") or "").strip() or None)

    def read(self) -> Token:
        """The same with what its file holds now. Raises ``ConfigError``."""
        if self.file is None:
            return self
        try:
            text = self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"cannot read token_file {self.file}: {exc}") from exc
        if not text:
            raise ConfigError(f"token_file {self.file} is empty")
        return replace(self, text=text)

    @property
    def headers(self) -> dict[str, str]:
        """The header that shows it."""
        return {} if self.text is None else {"Authorization": f"Bearer {self.text}"}


@dataclass(slots=True)
class Progress:
    """How far a batch is that is posted in parts, so that what was taken before a failure is not sent again."""

    batch_id: str
    rest: list[pa.Table]
    refused: Counter[str] = field(default_factory=Counter)


class Sender:
    """Posts to one service; used by the one thread of a recorder.

    Raises ``BadInput`` for an address that is not ``http(s)://host…`` without user, password, query and fragment.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        verify: Literal[True] | str | os.PathLike[str],
        timeout_seconds: float,
        unnamed_version: str,
    ) -> None:
        self._url = _checked(url)
        if verify is not True and not isinstance(verify, (str, os.PathLike)):
            raise BadInput("verify is True or the path of a file of certificates; it cannot be switched off")
        self._token = token
        self._verify = verify
        self._timeout = timeout_seconds
        self._unnamed_version = unnamed_version
        self._http: httpx2.Client | None = None
        self._inherited: httpx2.Client | None = None
        self._not_before = 0.0
        self._progress: Progress | None = None
        self._said: set[int] = set()
        self._refused_rows: Counter[str] = Counter()
        self._refused_labels: Counter[str] = Counter()
        survive_forks(self)
        if token.text and self._url.startswith("http://") and not _is_local(self._url):
            logger.warning("the token for %s travels unencrypted: use https", self._url)

    @property
    def url(self) -> str:
        """The address of the service."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """What the service behind it does with rows; it is no ledger here."""
        return Capabilities(ledger=False, delete=False)

    def refused(self) -> tuple[Counter[str], Counter[str]]:
        """Rows and labels that the service refused, by reason; the recorder has them as stored."""
        return self._refused_rows, self._refused_labels

    def recent(self, model: str, version: str | None, n: int, *, after_arrival: int = 0) -> list[dict[str, Any]]:
        """Nothing: the kinds of features are learned from what is recorded here."""
        return []

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Post the rows, in parts where they are too large for one request. Raises ``StoreError``."""
        if self._progress is None or self._progress.batch_id != batch.batch_id:
            self._progress = Progress(batch.batch_id, [batch.rows])
        rest, refused = self._progress.rest, self._progress.refused
        query = {"model": batch.model}
        if batch.version != self._unnamed_version:
            query["version"] = batch.version
        while rest:
            rows = rest[-1]
            status, answer = self._post_rows(rows, query)
            rest.pop()
            if status == 202:
                refused["invalid_row"] += len(answer.get("rejected", ()))
            elif status == 413 and rows.num_rows > 1:
                half = rows.num_rows // 2
                rest += [rows.slice(half), rows.slice(0, half)]
            else:
                refused[f"http_{status}"] += rows.num_rows
        self._refused_rows = self._refused_rows + refused  # never changed in place: others read it
        self._progress = None
        return AppendResult(len(batch))

    def _post_rows(self, rows: pa.Table, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        body = batch_to_stream(rows)
        if len(body) > MOST_SENT_BYTES and rows.num_rows > 1:
            return 413, {}  # as a service would say; only a row by itself is tried whatever its size
        return self._post("/api/v1/predictions", STREAM_TYPE, body, query)

    def add_labels(self, labels: Sequence[Label]) -> LabelCounts:
        """Post the labels, and again those whose commit the service did not await. Raises ``StoreError``."""
        fates = [""] * len(labels)
        ambiguous: dict[str, list[str]] = {}
        for start in range(0, len(labels), MOST_LABELS):
            left = list(range(start, min(start + MOST_LABELS, len(labels))))
            for _ in range(TRIES_OF_PENDING):
                words, models = self._post_labels([labels[i] for i in left])
                ambiguous |= models
                for i, word in zip(left, words, strict=True):
                    fates[i] = word
                left = [i for i in left if fates[i] == "pending"]
                if not left:
                    break
            if left:
                raise StoreError(f"{self._url} has taken labels and not stored them yet")
        counts = Counter(fates)
        return LabelCounts(
            matched=counts["matched"],
            early=counts["early"],
            duplicate=counts["duplicate"],
            conflicting=counts["conflicting"],
            ambiguous=ambiguous,
            fates=tuple(fates),
        )

    def close(self) -> None:
        """Release the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def before_fork(self) -> None:
        """Nothing is held."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start with connections and counts of its own; the parent's connections stay open for the parent."""
        self._inherited = self._http
        self._http = None
        self._progress = None
        self._refused_rows, self._refused_labels = Counter(), Counter()

    def _post_labels(self, labels: Sequence[Label]) -> tuple[list[str], dict[str, list[str]]]:
        rows = [
            {
                "prediction_id": label.prediction_id,
                "true_label": msgspec.Raw(label.true_label.encode()),
                "timestamp": isoformat(datetime.fromtimestamp(label.time_us / 1_000_000, UTC)),
                **({} if label.model is None else {"model": label.model}),
            }
            for label in labels
        ]
        status, answer = self._post(
            "/api/v1/feedback", "application/json", msgspec.json.encode(rows), {"fates": "true"}
        )
        words = answer.get("fates")
        if status not in (202, 409) or not isinstance(words, list) or len(words) != len(labels):
            words = ["rejected"] * len(labels)
        refused = Counter({"invalid_row" if status in (202, 409) else f"http_{status}": words.count("rejected")})
        self._refused_labels = self._refused_labels + refused
        return words, dict(answer.get("ambiguous") or {})

    def _post(self, path: str, kind: str, body: bytes, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; raises ``StoreError`` for what another try may change."""
        import httpx2

        if time.monotonic() < self._not_before:
            raise StoreError(f"{self._url} asked to wait")
        headers = {"Content-Type": kind, **self._token.headers}
        try:
            with self._client().stream("POST", self._url + path, params=query, content=body, headers=headers) as answer:
                said = bytearray()
                for chunk in answer.iter_bytes():
                    said += chunk
                    if len(said) > MOST_READ_BYTES:
                        raise StoreError(f"the answer of {self._url} is too long: is this a Driftwell service?")
        except (httpx2.HTTPError, httpx2.StreamError) as exc:
            raise StoreError(f"{self._url} cannot be reached: {type(exc).__name__} {exc}") from exc
        document = _document(bytes(said))
        status = answer.status_code
        if status == 202 or (status == 409 and "fates" in document):
            self._said.clear()
            return status, document
        if status in PASSING or not 400 <= status < 500:
            self._told(status, answer.headers.get("retry-after"), document)
        elif status != 413:
            logger.warning("%s refuses what it was sent (%d): %s", self._url, status, document.get("detail", ""))
        return status, document

    def _told(self, status: int, retry_after: str | None, document: Mapping[str, Any]) -> None:
        """Raise for an answer that may be another one the next time."""
        if status in (401, 403):
            self._token = self._read_again()
            message = f"{self._url} refuses the token ({status}): {document.get('detail', 'no reason given')}"
            if status not in self._said:
                self._said.add(status)
                logger.error("%s; records wait until it is accepted", message)
            raise StoreError(message)
        if status in (429, 503):
            self._not_before = time.monotonic() + _seconds(retry_after)
        if 300 <= status < 400:
            raise StoreError(f"{self._url} sends to another address, which is not followed: give that one as url")
        raise StoreError(f"{self._url} answers {status}: {document.get('detail', 'is this a Driftwell service?')}")

    def _read_again(self) -> Token:
        try:
            return self._token.read()
        except ConfigError as exc:
            logger.warning("%s", exc)
            return self._token

    def _client(self) -> httpx2.Client:
        import httpx2

        if self._http is None:
            verify: Any = True
            if self._verify is not True:
                import ssl

                verify = ssl.create_default_context(cafile=os.fspath(self._verify))
            agent = {"User-Agent": f"driftwell-client/{__version__}"}
            self._http = httpx2.Client(verify=verify, timeout=self._timeout, follow_redirects=False, headers=agent)
        return self._http


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        good = False
    if not good:
        raise BadInput("url is the address of a service, such as https://driftwell.example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput("url has no user, password, query or fragment: the token is given by itself")
    return url.rstrip("/")


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(retry_after: str | None) -> float:
    """How long to wait: a number of seconds or a date; 1 where neither can be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT_SECONDS)
    try:
        wait = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 1.0
    return min(max(wait, 0.0), LONGEST_WAIT_SECONDS)
