"""Record predictions in a Driftwell service from another process: the recorder's promises, over HTTP.

``Client`` never raises and never blocks once it is made: what it is given waits in its own queue (or spool) until the
service has taken it. It needs no more of Driftwell's libraries than recording does, and never a web framework.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from driftwell.capture.recorder import Recorder
from driftwell.capture.records import LabelTicket
from driftwell.capture.snapshot import RAISABLE
from driftwell.capture.wire.sender import Sender, Token
from driftwell.errors import BadInput, ConfigError, NotSupported

if TYPE_CHECKING:
    from driftwell.stores.base import PredictionStore

__all__ = ["Client"]

logger = logging.getLogger("driftwell.client")

NEWEST = "(newest)"
"""Stands for the version where none is given: the service takes its configured or newest one."""
MAX_NAME = 200
SPOOL_BYTES = 1024**3


class Client:
    """Sends predictions and labels of one model to a service.

    Parameters
    ----------
    url
        Of the service: ``https://driftwell.example.com``, with the path under which it is mounted where it has one.
    token, token_file
        A token with the scope ``ingest`` (``driftwell token create --scope ingest``), or a file that holds one and is
        read again when the service refuses it. Without either, ``DRIFTWELL_TOKEN`` of the environment, if set.
    model, version
        Which model records belong to. Without a version the service takes its configured or newest one.
    feature_names
        Names of features that are given by position (a list, a 1-D or 2-D array). Without them ``f0, f1, …``.
    classes
        Names of the classes, in the order of a list given as ``probability``; the last is the positive one.
    kinds
        Kinds of features whose first value does not show it.
    verify
        ``True`` checks the service's certificate by the system's authorities; a path is a file of others. It cannot be
        switched off.
    timeout_seconds
        How long one request may take.
    queue_records, queue_bytes, flush_seconds
        Bounds of what waits in memory, and how long a record waits at most before it is sent.
    durability
        ``"queued"``, or ``"journal"``: a record is in the spool of ``spool_dir`` before the call returns, and survives
        the death of the process.
    spool_dir, spool_bytes, journal_fsync
        A folder of this client's own on local disk where batches wait while the service is away, how large it may
        become, and whether each record is forced to the disk.
    redact, redact_key
        Rules of redaction by column, and the secret of ``"hash"``. They are applied before anything is kept or sent.
    sample_rate
        The share of ids that is recorded, decided by the id.

    Raises
    ------
    BadInput
        The address, the model or another argument cannot be used; nothing raises later.
    ConfigError
        A rule of redaction is not known, ``journal`` has no ``spool_dir``, or ``token_file`` cannot be read.
    NotSupported
        ``journal`` on a system without file locks (Windows).

    Notes
    -----
    Stored means: the service answered 202. It stores what it took a second later, and with ``durability = "journal"``
    in its own configuration also if it is killed before. What was sent twice, since an answer was lost, is stored once.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        model: str,
        version: str | None = None,
        feature_names: Sequence[str] | None = None,
        classes: Sequence[Any] | None = None,
        kinds: Mapping[str, str] | None = None,
        verify: Literal[True] | str | os.PathLike[str] = True,
        timeout_seconds: float = 10.0,
        queue_records: int = 100_000,
        queue_bytes: int = 256 * 1024**2,
        flush_seconds: float = 1.0,
        durability: Literal["queued", "journal"] = "queued",
        spool_dir: str | os.PathLike[str] | None = None,
        spool_bytes: int = SPOOL_BYTES,
        journal_fsync: bool = False,
        redact: Mapping[str, Any] | None = None,
        redact_key: bytes | str | None = None,
        sample_rate: float = 1.0,
    ) -> None:
        for what, name in (("model", model), ("version", version)):
            if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()):
                raise BadInput(f"{what} must have 1 to {MAX_NAME} printable characters. Got {name!r}")
        if model is None:
            raise BadInput("model names the model that records belong to: Client(url, model='flights')")
        if not 0 < sample_rate <= 1:
            raise BadInput(f"sample_rate lies above 0 and up to 1. Got {sample_rate!r}")
        if durability not in ("queued", "journal"):
            raise BadInput(f"durability is 'queued' or 'journal'. Got {durability!r}")
        if durability == "journal" and spool_dir is None:
            raise ConfigError("durability='journal' needs spool_dir, a folder of this client's own on local disk")
        self.model = model
        self.version = version
        self._names = None if feature_names is None else [str(name) for name in feature_names]
        self._classes = None if classes is None else [str(name) for name in classes]
        self._keep = sample_rate
        self._sender = Sender(
            url, Token.of(token, token_file), verify=verify, timeout_seconds=timeout_seconds, unnamed_version=NEWEST
        )
        self._recorder = Recorder(
            cast("PredictionStore", self._sender),  # the part of it that a recorder uses
            reference_for=lambda model, version: None,
            leaf_builder=lambda reference: lambda batch: (),
            kinds=kinds,
            queue_records=queue_records,
            queue_bytes=queue_bytes,
            flush_seconds=flush_seconds,
            **_keeping(self._sender.url, durability, spool_dir, spool_bytes, journal_fsync, redact, redact_key),
        )

    def record_prediction(
        self,
        features: Any,
        prediction: Any = None,
        *,
        score: Any = None,
        probability: Any = None,
        prediction_id: Any = None,
        timestamp: Any = None,
        segment: Any = None,
        entity_id: Any = None,
        latency_seconds: Any = None,
        metadata: Any = None,
        true_label: Any = None,
    ) -> str:
        """Record one prediction; returns its id at once. Never raises, never blocks. Fields as of a ``Monitor``."""
        return self._recorder.offer(
            self.model,
            self._version,
            _guarded(self._named, features),
            prediction,
            score=score,
            probability=_guarded(self._by_class, probability),
            prediction_id=prediction_id,
            timestamp=timestamp,
            segment=segment,
            entity_id=entity_id,
            latency_seconds=latency_seconds,
            metadata=metadata,
            true_label=true_label,
            keep=self._keep,
        )

    def record_batch(self, table: Any) -> list[str]:
        """Record every row of any table; returns the ids in its order. Never raises.

        Columns named like the fields of a record are these fields, all others are features. A table larger than the
        queue waits for the service, up to 5 seconds for each 10,000 rows.
        """
        return self._recorder.offer_table(self.model, self._version, _guarded(self._table, table), {})

    def record_feedback(self, prediction_id: Any, true_label: Any, *, timestamp: Any = None) -> LabelTicket:
        """Record the truth about one prediction, early or late. Never raises, never blocks.

        ``wait(seconds)`` of what is returned tells what became of it.
        """
        return self._recorder.offer_label(prediction_id, true_label, model=self.model, timestamp=timestamp)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the service has all that was recorded so far; False when that took longer than ``timeout``."""
        return self._recorder.flush(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits, for at most ``timeout`` seconds; what is left is dropped, unless a spool keeps it."""
        self._recorder.close(timeout)
        self._sender.close()

    def stats(self) -> dict[str, Any]:
        """What was offered and what became of it, as ``Monitor.stats()``; the sums are the same.

        ``rejected`` has ``http_413`` and the like for what the service refused, ``invalid_row`` for single rows.
        """
        found = self._recorder.stats()
        rows, labels = self._sender.refused()
        found["stored"] -= sum(rows.values())
        found["rejected"] = dict(Counter(found["rejected"]) + rows)
        found["labels"]["rejected"] = dict(Counter(found["labels"]["rejected"]) + labels)
        return found

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._sender.url!r}, model={self.model!r}, version={self.version!r})"

    @property
    def _version(self) -> str:
        return NEWEST if self.version is None else self.version

    def _named(self, features: Any) -> Any:
        """Features by position under the names given for them; another number of them stays without names."""
        names = self._names
        if names is None or isinstance(features, Mapping) or features is None:
            return features
        row = features
        if getattr(row, "ndim", 1) == 2 and len(row) == 1:
            row = row[0]
        if hasattr(row, "to_dict") or isinstance(row, (str, bytes)) or len(row) != len(names):
            return features
        return dict(zip(names, row, strict=True))

    def _by_class(self, probability: Any) -> Any:
        classes = self._classes
        if (
            classes is None
            or probability is None
            or isinstance(probability, Mapping)
            or not hasattr(probability, "__len__")
        ):
            return probability
        shares = probability[0] if getattr(probability, "ndim", 1) == 2 and len(probability) == 1 else probability
        return dict(zip(classes, shares, strict=True)) if len(shares) == len(classes) else probability

    def _table(self, table: Any) -> Any:
        if self._names is None:
            return table
        from driftwell.frame import read_table

        return read_table(table, feature_names=self._names)


def _guarded(convert: Callable[[Any], Any], value: Any) -> Any:
    """The converted value, or the value itself where it cannot be: the recorder then says what is wrong with it."""
    try:
        return convert(value)
    except RAISABLE:  # objects of the caller may raise anything, and recording never does
        return value


def _keeping(
    url: str,
    durability: str,
    spool_dir: str | os.PathLike[str] | None,
    spool_bytes: int,
    journal_fsync: bool,
    redact: Mapping[str, Any] | None,
    redact_key: bytes | str | None,
) -> dict[str, Any]:
    """Further options of the recorder: where records wait on disk, and what is done to them before they are kept."""
    found: dict[str, Any] = {}
    if spool_dir is not None:
        from driftwell.capture.spool.files import Spool

        try:
            found["spool"] = Spool(spool_dir, most_bytes=spool_bytes, fsync=journal_fsync, store=url)
            found["durability"] = durability
        except NotSupported as exc:  # with a journal it is a promise, else only more room
            if durability == "journal":
                raise
            logger.warning("records wait in memory only: %s", exc)
    if redact:
        from driftwell.capture.redaction import Redaction

        key = redact_key.encode() if isinstance(redact_key, str) else redact_key
        rules = Redaction.of(redact, key)
        found["redact_for"] = lambda model: rules
    return found
