"""HTTP to one InfluxDB database: compressed writes, streamed queries, kept connections, errors in plain words."""

from __future__ import annotations

import gzip
import http.client
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.errors import NotSupported, StoreError
from driftwell.stores.influx.address import Address

__all__ = ["Client", "Pong", "Series"]

WRITE_SECONDS, QUERY_SECONDS = 30.0, 120.0
"""How long the server may be silent before an attempt has failed."""
MOST_IDLE = 4
CHUNK_ROWS = 50_000
COMPRESS_BYTES = 1_000


class Series(msgspec.Struct):
    """A part of one series of a query's answer; ``statement`` counts the statements of the query from 0."""

    columns: list[str]
    values: list[list[Any]] = []
    tags: dict[str, str] = {}
    statement: int = 0

    def arrays(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Times and numbers of a query for one field of numbers."""
        if isinstance(self.values, _Numbers):
            return self.values.times, self.values.numbers
        times, numbers = zip(*self.values, strict=True)
        return np.array(times, dtype=np.int64), np.array(numbers, dtype=np.float64)


class Pong(NamedTuple):
    """What a server tells unasked: its version, and its clock to the second; None where it does not."""

    version: str | None
    time_us: int | None


class _Numbers(list[list[Any]]):
    """Values that were read as arrays: the list itself stays empty."""

    def __init__(self, times: npt.NDArray[np.int64], numbers: npt.NDArray[np.float64]) -> None:
        self.times, self.numbers = times, numbers


class _Result(msgspec.Struct):
    statement_id: int = 0
    series: list[Series] = []
    error: str = ""


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    error: str = ""


_VALUES, _ONE_FIELD = b'"values":[[', b'"columns":["time","value"]'
MANY_BYTES = 10_000
_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]
    timeout: float


class Client:
    """Connections to one server, shared by threads. Not shared across fork: each process makes its own."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Close idle connections; those at work when they come back. Later calls raise ``StoreError``."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def abandon(self) -> None:
        """Close the copies of the parent's sockets in a forked child; the parent's connections live on."""
        for connection in self._idle:
            connection.close()

    def write(self, lines: Sequence[str], *, seconds: float | None = None) -> None:
        """Write points with times in nanoseconds. The server takes a request's points as a whole but for those it
        refuses: then ``StoreError`` says which kind. Safe to repeat: a point overwrites itself."""
        if not lines:
            return
        try:
            body = "\n".join(lines).encode()
        except UnicodeEncodeError as exc:
            raise StoreError(f"a text is not valid Unicode and was not written: {exc.reason}") from exc
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if len(body) > COMPRESS_BYTES:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        options = {"db": self.address.database, "precision": "ns"}
        if self.address.retention_policy:
            options["rp"] = self.address.retention_policy
        seconds = WRITE_SECONDS if seconds is None else seconds
        request = _Request("POST", f"/write?{urlencode(options)}", body, headers, seconds)
        for attempt in (1, 2):
            with self._exchange(request) as answer:
                text = _read_all(answer, seconds)
            if answer.status < 300:
                return
            if attempt == 1 and _is_no_database(text):
                self.create_database()
            else:
                raise self._failure(answer.status, text)

    def query(self, statement: str, *, numbers: bool = False) -> Iterator[Series]:
        """The series of the answer, as they come; times are integers of nanoseconds.

        A missing database has no series. ``numbers``: only one field of numbers is asked for, to be taken with
        ``arrays``. Raises ``StoreError`` where any part of the answer is missing.
        """
        given = {"db": self.address.database, "epoch": "ns", "chunked": "true", "chunk_size": str(CHUNK_ROWS)}
        if self.address.retention_policy:
            given["rp"] = self.address.retention_policy
        path = f"/query?{urlencode(given)}"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        request = _Request("POST", path, urlencode({"q": statement}).encode(), headers, QUERY_SECONDS)
        with self._exchange(request) as answer:
            if answer.status >= 300:
                text = _read_all(answer, QUERY_SECONDS)
                if _is_no_database(text):
                    return
                raise self._failure(answer.status, text)
            for line in _lines(answer):
                if _is_no_database(line):
                    return
                yield from self._numbers(line) if numbers else self._series(line)

    def ask(self, statement: str) -> list[Series]:
        """All series of the answer at once."""
        return list(self.query(statement))

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows of the answer as dicts of columns and tags."""
        return [
            series.tags | dict(zip(series.columns, row, strict=True))
            for series in self.query(statement)
            for row in series.values
        ]

    def ping(self) -> Pong:
        """Whether the server answers, and what it tells of itself."""
        with self._exchange(_Request("GET", "/ping", None, {}, 10.0)) as answer:
            _read_all(answer, 10.0)
            if answer.status >= 300:
                raise self._failure(answer.status, b"")
            return Pong(answer.headers.get("X-Influxdb-Version") or None, _moment_us(answer.headers.get("Date")))

    def is_open_to_all(self) -> bool:
        """Whether the server answers who has not logged in."""
        path = f"/query?{urlencode({'db': self.address.database, 'q': 'SHOW MEASUREMENTS LIMIT 1'})}"
        with self._exchange(_Request("GET", path, None, {"Authorization": ""}, 10.0)) as answer:
            _read_all(answer, 10.0)
            return answer.status == 200

    def create_database(self) -> None:
        """Create the database where it is missing. Raises ``StoreError`` where that is not permitted."""
        quoted = self.address.database.replace("\\", "\\\\").replace('"', '\\"')
        try:
            self.ask(f'CREATE DATABASE "{quoted}"')
        except StoreError as exc:
            raise StoreError(
                f"{self.address.url}: there is no database {self.address.database!r} and it cannot be created with this"
                f" login: create it, or for InfluxDB 2 map it to a bucket (influx v1 dbrp create). {exc}"
            ) from exc

    def _series(self, line: bytes) -> Iterator[Series]:
        try:
            answer = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise StoreError(f"{self.address.url} sent an answer that is cut short or is no InfluxDB's") from exc
        for result in answer.results:
            error = answer.error or result.error
            if error:
                raise self._failure(200, error.encode())
            for series in result.series:
                series.statement = result.statement_id
                yield series
        if answer.error and not answer.results:
            raise self._failure(200, answer.error.encode())

    def _numbers(self, line: bytes) -> Iterator[Series]:
        """As ``_series``, with a long list of times and numbers read as columns: in a fifth of the time."""
        start, end = line.find(_VALUES) + len(_VALUES), line.rfind(b"]]")
        if end - start < MANY_BYTES or line.count(_VALUES) != 1 or _ONE_FIELD not in line[:start]:
            yield from self._series(line)
            return
        for series in self._series(line[: start - 1] + line[end + 1 :]):
            series.values = _read_columns(line[start:end])
            yield series

    @contextmanager
    def _exchange(self, request: _Request) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request; the connection is kept when the answer was read to its end."""
        connection = answer = None
        try:
            connection, answer = self._send(request)
            yield answer
            if (answer.isclosed() or answer.length == 0) and not answer.will_close:
                self._keep(connection)
                connection = None
        except TimeoutError as exc:
            raise StoreError(f"{self.address.url} did not answer within {request.timeout:g} s") from exc
        except (OSError, http.client.HTTPException) as exc:
            if isinstance(exc, StoreError):
                raise
            reason = self.address.without_secrets(f"{type(exc).__name__}: {exc}".rstrip(": "))
            raise StoreError(f"{self.address.url} cannot be reached: {reason}") from exc
        finally:
            if answer is not None:
                answer.close()  # which may hold the socket although its connection is closed
            if connection is not None:
                connection.close()

    def _send(self, request: _Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._idle_connection()
        if connection is not None:
            # A kept connection may have been closed by the server meanwhile; every request is safe to repeat.
            with suppress(ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest):
                return connection, self._try(connection, request)
            connection.close()
        connection = self._connect(request.timeout)
        try:
            return connection, self._try(connection, request)
        except BaseException:
            connection.close()
            raise

    def _try(self, connection: http.client.HTTPConnection, request: _Request) -> http.client.HTTPResponse:
        headers = dict(request.headers)
        if self.address.authorization:
            headers.setdefault("Authorization", self.address.authorization)
        if not headers.get("Authorization", "-"):
            del headers["Authorization"]
        if connection.sock is not None:
            connection.sock.settimeout(request.timeout)
        try:
            connection.request(request.method, request.path, request.body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a long body answers and closes before it has read all of it.
            if connection.sock is None:
                raise
        return connection.getresponse()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        address = self.address
        if not address.secure:
            return http.client.HTTPConnection(address.host, address.port, timeout=timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=context)

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._closed:
                raise StoreError(f"the store {self.address.url} is closed: open it again")
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _failure(self, status: int, text: bytes) -> StoreError:
        """What the server refused, in its own words, and what to do where that is known."""
        said = self.address.without_secrets(_said(text)) or f"status {status}"
        where = self.address.url
        if status == 401 or "authorization failed" in said:
            return StoreError(f"{where} refuses this login: check the user and password or the token ({said})")
        if status == 403 or "not authorized" in said or "requires admin privilege" in said:
            return StoreError(f"{where}: this user lacks the right to do that: grant it READ and WRITE ({said})")
        if 300 <= status < 400:
            return StoreError(f"{where} redirects to another address: give the final one")
        if "no space left" in said:
            return StoreError(f"the disk of {where} is full: free space there ({said})")
        if status == 405 or "not implemented" in said or "not supported" in said:
            return _Unsupported(f"{where} does not support this: {said}")
        return StoreError(f"{where} answered {status}: {said}" if status != 200 else f"{where}: {said}")


class _Unsupported(StoreError, NotSupported):
    """The server is a version of InfluxDB that lacks the statement."""


def _read_columns(pairs: bytes) -> _Numbers:
    import pyarrow as pa
    from pyarrow import csv

    kinds = {"time": pa.int64(), "value": pa.float64()}
    table = csv.read_csv(
        pa.BufferReader(pairs.replace(b"],[", b"\n")),
        read_options=csv.ReadOptions(column_names=list(kinds), use_threads=False),
        convert_options=csv.ConvertOptions(column_types=kinds),
    )
    return _Numbers(table["time"].to_numpy(), table["value"].to_numpy())


def _said(text: bytes) -> str:
    with suppress(msgspec.DecodeError):
        found = msgspec.json.decode(text)
        if isinstance(found, dict):
            return str(found.get("error") or found.get("message") or found)[:500]
    return text.decode(errors="replace").strip()[:500]


def _is_no_database(text: bytes) -> bool:
    return b'"error":"database not found' in text  # quotes within a stored text would be escaped


def _read_all(answer: http.client.HTTPResponse, seconds: float) -> bytes:
    """The body of a short answer. A server that sends it drop by drop is cut off after ``seconds``."""
    deadline = time.monotonic() + seconds
    parts = []
    for part in _parts(answer):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of a long answer as they come."""
    begun: list[bytes] = []
    for part in _parts(answer):
        *ended, rest = part.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line])
            begun = []
        begun.append(rest)
    if any(begun):
        yield b"".join(begun)


def _parts(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body as it comes. Raises ``HTTPException`` where it ends early."""
    while part := answer.read1(1 << 20):
        yield part
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _moment_us(header: str | None) -> int | None:
    try:
        return None if header is None else round(parsedate_to_datetime(header).timestamp()) * 1_000_000
    except ValueError:
        return None
