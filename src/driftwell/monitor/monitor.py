"""Monitor: what a user holds for one model version. It delegates; nothing is computed here."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwell.capture.decorator import Capturing, Function, captured
from driftwell.config import MonitorSettings
from driftwell.errors import BadInput
from driftwell.frame import read_table
from driftwell.monitor import answers
from driftwell.monitor.follow_up import FollowUp
from driftwell.monitor.pipeline import DAY, CheckContext, run_check
from driftwell.monitor.references import as_reference, checked_baseline
from driftwell.monitor.rows import export_window, file_path, read_window, save_newest
from driftwell.monitor.runtime import DEFAULT_VERSION, Runtime, check_names
from driftwell.monitor.scheduler import Scheduler
from driftwell.monitor.windowing import as_moment, read_moment, resolve_window, to_us, whole_number
from driftwell.profiles.reference import Reference
from driftwell.results import CheckResult

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.alerts.rules import AlertRule

__all__ = ["Monitor", "create_monitor"]

log = logging.getLogger("driftwell.monitor")

SETTLE_SECONDS = 2.0


class Monitor:
    """Watches one version of one model: records what it saw, checks it, says what moved.

    Recording never raises and never blocks; what could not be kept is counted in ``stats()``.

    Parameters
    ----------
    name, version
        The model and its version. Records that name another version go to that one.
    reference
        A ``Reference``, a table to build one from, or the path of a saved one. Without it the one in the store is
        used, and until there is one, checks answer ``no_data`` for drift.
    store
        ``sqlite:///driftwell.db`` (the default), ``postgresql://…``, ``redis://…``, ``influxdb://…`` or ``memory://``.
        A server that cannot be reached at the start is no error: records wait until it answers. One that refuses the
        password, or has no such database, is.
    **options
        Settings by name; an unknown one is an error that names the nearest. One that is not given is read from its
        environment variable. See the settings page of the docs.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> monitor = Monitor("flights", version="v1", store=f"sqlite:///{folder}/driftwell.db")
    >>> pid = monitor.record_prediction({"dep_delay": 12.0, "carrier": "UA"}, "late", score=0.81)
    >>> monitor.flush()
    True
    >>> monitor.stats()["stored"]
    1
    >>> monitor.close()
    """

    def __init__(
        self, name: str, version: str | None = None, reference: Any = None, store: str | None = None, **options: Any
    ) -> None:
        check_names(name, version or DEFAULT_VERSION)
        runtime = Runtime.open(store, patient=True, **options)
        try:
            self._set_up(runtime, name, version or DEFAULT_VERSION, runtime.settings, owns=True)
            if reference is not None:
                self.give_reference(reference)
            runtime.start_housekeeping()
        except BaseException:
            runtime.close()
            raise

    @classmethod
    def _shared(cls, runtime: Runtime, name: str, version: str, settings: MonitorSettings) -> Monitor:
        """A monitor on a runtime that others use too; closing it leaves the runtime open."""
        check_names(name, version)
        monitor = cls.__new__(cls)
        monitor._set_up(runtime, name, version, settings, owns=False)
        return monitor

    def _set_up(self, runtime: Runtime, name: str, version: str, settings: MonitorSettings, *, owns: bool) -> None:
        self.name = name
        self.version = version
        self.runtime = runtime
        self.recorder = runtime.recorder
        self.settings = settings
        self._owns = owns
        self._baseline: dict[str, float] = {}
        self._said_naive = False
        self._follow_up = FollowUp(runtime.ledger, runtime.outgoing, name, version, settings)
        self._scheduler: Scheduler | None = None

    # -- reference -------------------------------------------------------------------------------------------

    @property
    def reference(self) -> Reference | None:
        """The current reference of this model version."""
        return self.runtime.reference_for(self.name, self.version)

    def set_reference(self, reference: Any) -> Reference:
        """Make this the reference, also while running: a ``Reference``, a path, or a table to build one from.

        It is written to the ledger, kept rows are counted again in its bins, and collector statistics start afresh.
        One without baseline metrics leaves the baseline in force.
        """
        found = as_reference(reference, name=self.name, version=self.version, kinds=self.settings.kinds)
        found = found if found.performance else replace(found, performance=self.baseline)
        return self.runtime.put_reference(self.name, self.version, found)

    def give_reference(self, reference: Any) -> None:
        """The same at a start: while the store has not answered yet it is used at once, and written when it does."""
        if not self.runtime.is_awaited:
            self.set_reference(reference)
            return
        found = as_reference(reference, name=self.name, version=self.version, kinds=self.settings.kinds)
        self.runtime.put_reference_later(self.name, self.version, found)

    def set_baseline(self, performance: Mapping[str, float]) -> None:
        """Baseline metrics that later windows are compared with; kept with the reference where there is one."""
        self._baseline = checked_baseline(performance)
        if (reference := self.reference) is not None:
            self.runtime.put_reference(self.name, self.version, replace(reference, performance=self._baseline))

    @property
    def baseline(self) -> dict[str, float]:
        """The baseline metrics in force: those of the reference, else those set here."""
        return dict((self.reference.performance if self.reference else None) or self._baseline)

    # -- recording -------------------------------------------------------------------------------------------

    def record_prediction(
        self, features: Any, prediction: Any = None, score: float | None = None, probability: Any = None,
        prediction_id: str | None = None, timestamp: Any = None, segment: str | None = None,
        entity_id: str | None = None, latency_seconds: float | None = None,
        metadata: Mapping[str, Any] | None = None, attributions: Mapping[str, float] | None = None,
        true_label: Any = None,
    ) -> str:  # fmt: skip
        """Record one prediction; returns its id at once. ``attributions`` are kept in the metadata."""
        if attributions is not None:  # looked at by the recorder, which bears whatever they raise
            metadata = ChainMap({"attributions": attributions}, {} if metadata is None else metadata)  # type: ignore[arg-type]
        return self.recorder.offer(
            self.name, self.version, features, prediction, score=score, probability=probability,
            prediction_id=prediction_id, timestamp=timestamp, segment=segment, entity_id=entity_id,
            latency_seconds=latency_seconds, metadata=metadata, true_label=true_label, keep=self.settings.sample_rate,
        )  # fmt: skip

    def record_batch(self, table: Any) -> list[str]:
        """Record every row of a table; columns have their roles by name. Returns the ids."""
        roles = self.runtime.roles_for(self.name, self.version)
        return self.recorder.offer_table(self.name, self.version, table, roles)

    def capture(
        self, *, features: Any = None, prediction: Any = None, score: Any = None, probability: Any = None,
        prediction_id: Any = None, timestamp: Any = None, segment: Any = None, entity_id: Any = None,
    ) -> Callable[[Function], Function]:  # fmt: skip
        """Decorate a function, async or not, so that each of its calls is recorded, with its latency.

        ``prediction``, ``score`` and ``probability`` are dotted paths into what it returns (``prediction=None``: all of
        it), ``features`` and the rest are names of arguments or dotted paths that begin with one; a list of them or
        None, which means all arguments, makes a feature of each. Anything may be a function of ``(arguments, result)``,
        ``features`` of the arguments alone, which are read before the call.

        What the function returns and raises stays as it is; an exception is counted as an error and records nothing.
        Raises ``BadInput`` for a generator, or an argument that is not there.
        """
        where = {
            "features": features, "prediction": prediction, "score": score, "probability": probability,
            "prediction_id": prediction_id, "timestamp": timestamp, "segment": segment, "entity_id": entity_id,
        }  # fmt: skip
        return lambda function: captured(self, function, where)

    def capturing(
        self, features: Any, *, prediction_id: Any = None, timestamp: Any = None, segment: Any = None,
        entity_id: Any = None, metadata: Any = None,
    ) -> Capturing:  # fmt: skip
        """Record what a ``with`` block predicts: ``with monitor.capturing(features) as record: record.prediction = …``

        ``prediction``, ``score``, ``probability`` and every other field may be set on ``record``; its ``prediction_id``
        is known at once. A block that ends with an exception is counted as an error and records nothing.
        """
        return Capturing(
            self, features, prediction_id=prediction_id, timestamp=timestamp, segment=segment, entity_id=entity_id,
            metadata=metadata,
        )  # fmt: skip

    def redact(self, table: Any) -> pa.Table:
        """A table as ``record_batch`` would keep it, by the rules of the option ``redact``: to build a reference from.

        Raises ``BadInput`` for what is no table.
        """
        found, redaction = read_table(table), self.runtime.redaction_for(self.name)
        if redaction is None:
            return found
        return redaction.apply_table(found, self.runtime.roles_for(self.name, self.version), ids=True)

    def record_feedback(self, prediction_id: str, true_label: Any, timestamp: Any = None) -> Any:
        """Record the truth about a prediction, early or late. The ticket's ``wait(seconds)`` tells its fate."""
        return self.recorder.offer_label(prediction_id, true_label, model=self.name, timestamp=timestamp)

    def record_metric(self, name: str, value: float, timestamp: Any = None, **labels: str) -> None:
        """Keep one point of a metric of your own (business, cost, memory), for rules and pages. Written at once:
        raises ``BadInput`` for a value that is no number, ``StoreError`` when the store fails."""
        self._follow_up.record_metric(name, value, to_us(self._moment(timestamp)), labels)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything offered so far is stored; False when ``timeout`` seconds were not enough."""
        return self.recorder.flush(timeout)

    def stats(self) -> dict[str, Any]:
        """What this process offered and what became of it: ``offered = stored + waiting + dropped + rejected``."""
        return self.recorder.stats(self.name, self.version)

    # -- checking --------------------------------------------------------------------------------------------

    def check(self, window: Any = "PT1H", at: Any = None, data: Any = None, extend_to: Any = None) -> CheckResult:
        """Check one window, record the result, and tell alerts and retraining about it.

        ``window`` is an ISO 8601 duration before ``at`` (default now, not included), or a number of records. ``data``
        are rows that are not in the store: a table, or a function of ``(start, end)`` giving one. ``extend_to``
        reaches back to this span while there are fewer than ``min_samples`` rows. A part that cannot run is a verdict
        of status ``error``; ``BadInput`` is raised for a window, a time or a table that cannot be read.
        """
        context = self._settled()
        self.runtime.seal()
        result = run_check(context, window=window, at=self._moment(at), data=data, extend_to=extend_to)
        self.runtime.note_errors(result)
        self._follow_up.after(result)
        return self.runtime.renew_reference(context, result)

    async def acheck(
        self, window: Any = "PT1H", at: Any = None, data: Any = None, extend_to: Any = None
    ) -> CheckResult:
        """``check`` in a thread, for async applications."""
        return await asyncio.to_thread(self.check, window, at, data, extend_to)

    def _context(self, since: str | None = None) -> CheckContext:
        return CheckContext(
            store=self.runtime.store,
            ledger=self.runtime.ledger,
            model=self.name,
            version=self.version,
            settings=self.settings,
            reference=self.reference,
            baseline=self.baseline,
            mark=0 if since == "all" else self.runtime.ledger.get_mark(self.name),
        )

    def _settled(self, since: str | None = None) -> CheckContext:
        """What answers read, with everything offered so far in the store."""
        self.flush(SETTLE_SECONDS)
        self.recorder.tell_losses()
        return self._context(since)

    def add_rule(self, rule: AlertRule) -> None:
        """Evaluate one more rule after each check."""
        self._follow_up.add_rule(rule)

    def on_alert(self, callback: Callable[[dict[str, Any]], Any]) -> None:
        """Call ``callback(event)`` for each alert that fires or resolves in this process."""
        self._follow_up.on_alert(callback)

    def on_retraining(self, callback: Callable[[str, dict[str, Any]], Any]) -> None:
        """Call ``callback(reason, details)`` when retraining is due; it may be async."""
        self._follow_up.on_retraining(callback)

    def trigger_retraining(self, reason: str = "manual", details: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask for retraining now; passes the cool-down, not the rule of one run at a time."""
        return self._follow_up.trigger(reason, dict(details or {}), answers.newest_check(self._context()))

    # -- answers: the very dicts of the HTTP contract -----------------------------------------------------------

    def collector_stats(self, since: str | None = None) -> dict[str, Any]:
        """Totals, statistics of inputs and outputs, time range; since the newest mark, or ``since="all"``."""
        return answers.collector_stats(self._settled(since), self.stats())

    def recent(self, n: int = 10) -> list[dict[str, Any]]:
        """The ``n`` newest predictions over all processes, newest first, those still waiting here included."""
        count = whole_number("n", n)
        return answers.recent(self._context(), self.recorder.waiting(self.name, self.version), count)

    def recent_http(self, n: int = 10, since: str | None = None) -> list[dict[str, Any]]:
        """``recent`` in the words of the HTTP contract: input, output, metadata."""
        return answers.recent_http(self._settled(since), whole_number("n", n))

    def hourly_summary(self, hours: int = 168, since: str | None = None) -> dict[str, Any]:
        """Count, input mean and output mean an hour, for the newest ``hours`` hours that have data."""
        return answers.hourly_summary(self._settled(since), whole_number("hours", hours))

    def save_batch(self, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Write the newest ``max_samples`` predictions since the mark to JSON (newest first), or to Parquet (oldest
        first) by the suffix of ``path``. Default: a JSON file of its own in ``collection_dir``."""
        name = f"predictions_{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
        target = Path(self.settings.collection_dir) / name if path is None else file_path(path)
        n, mark = self.settings.max_samples, self._settled().mark
        save_newest(self.runtime.store, self.name, self.version, target, n=n, after_arrival=mark)
        return {"status": "saved", "filepath": str(target)}

    def clear(self) -> dict[str, Any]:
        """Start the statistics afresh; nothing stored is deleted. Returns how many predictions they had covered."""
        context = self._settled()
        self.runtime.ledger.set_mark(self.name)
        covered = context.store.totals(self.name, self.version, after_arrival=context.mark)["predictions"]
        return {"status": "cleared", "cleared": covered}

    def drift_status(self, window: Any = None, at: Any = None, since: str | None = None) -> dict[str, Any]:
        """The newest check since the mark, else one computed now; for ``window`` and ``at`` always computed.

        Default window: the 24 hours of event time that end with the newest prediction.
        """
        context, moment = self._settled(), None if at is None else self._moment(at)
        if window is None and at is None:
            check = answers.newest_check(context, any_mark=since == "all")
            check = check or answers.check_now(context, only_after_mark=since != "all")
        else:
            check = answers.check_now(context, window, moment)
        return answers.drift_status(check, has_reference=context.reference is not None)

    def drift_performance(self) -> dict[str, Any]:
        """Realized performance of the newest ``performance_window_size`` labelled predictions, and what is known of
        the labels."""
        return answers.drift_performance(self._settled())

    def drift_scores(self) -> dict[str, Any]:
        """Drift score of each feature in the newest check."""
        return answers.drift_scores(answers.newest_check(self._context()))

    def status(self) -> dict[str, Any]:
        """Everything at a glance: newest check, counts, retraining."""
        found = answers.status(self._settled(), self._next_check())
        counts = found["counts"] | {"capture": self.stats()}
        return found | {"counts": counts, "retraining": self._follow_up.retraining_status()}

    def metrics_text(self) -> str | None:
        """Prometheus text of this model; None when Prometheus is switched off."""
        if not self.settings.enable_prometheus:
            return None
        from driftwell.monitor.exporter import metrics_text

        self.flush(SETTLE_SECONDS)
        running = self._next_check() is not None
        return metrics_text(
            self.runtime, lambda: [(self.name, self.version)], prefix=self.settings.metrics_prefix, monitoring=running
        )

    # -- reading ---------------------------------------------------------------------------------------------

    def read(
        self,
        window: Any = DAY,
        columns: Sequence[str] | None = None,
        labelled: bool | None = None,
        limit: int | None = None,
        at: Any = None,
    ) -> pa.Table:
        """Stored rows of a window in the order of their time, labels joined, as a ``pyarrow.Table``.

        ``columns``: only these, in this order; ``ColumnError`` for one that no row has. ``labelled`` True: only rows
        whose label is known, False: only the others. ``limit`` keeps the newest.
        """
        context, moment = self._settled(), self._moment(at)
        span, _ = resolve_window(context.store, self.name, self.version, window, moment)
        return read_window(context, span, columns, labelled=labelled, limit=limit)

    def export(
        self, path: str | os.PathLike[str], window: Any = DAY, labelled: bool | None = True, at: Any = None
    ) -> Path:
        """Write the rows of a window to Parquet, for retraining. Returns the path.

        Memory holds an hour's rows, however long the window is. The file is there when all of it is written.
        """
        context, target = self._settled(), file_path(path)
        span, _ = resolve_window(context.store, self.name, self.version, window, self._moment(at))
        export_window(context, span, target, labelled=labelled)
        return target

    # -- keeping ---------------------------------------------------------------------------------------------

    def delete(self, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = ()) -> int:
        """Delete predictions of this model by id, and all of a subject, with features and labels; how many are gone.

        What waits in this process is stored first and deleted too. Counts and profiles of windows stay as they are.
        """
        from driftwell.monitor.deletion import delete_records

        found = delete_records(self.runtime, prediction_ids=prediction_ids, entity_ids=entity_ids, model=self.name)
        if found.waiting_elsewhere:
            log.warning("other processes hold records in %s that may be about what was deleted", found.spool)
        return found.deleted

    def prune(self) -> dict[str, int]:
        """Delete what is older than the retention, of every model of the store; happens by itself every hour.

        The number of feature ``rows``, of ``predictions`` and of entries of ``history`` that went.
        """
        return self.runtime.housekeeping.prune()

    # -- life ------------------------------------------------------------------------------------------------

    def router(self, auth: str | None = "token", dependencies: Sequence[Any] = ()) -> Any:
        """Every one-model path of the HTTP contract as a FastAPI router. ``auth=None`` opens it, said in the log."""
        from driftwell.monitor.router import monitor_router

        return monitor_router(self, auth=auth, dependencies=dependencies)

    def start(self) -> Monitor:
        """Check in the background, every ``check_every``."""
        if self._scheduler is None:
            every = self.settings.drift_interval
            self._scheduler = Scheduler(lambda: self.check(window=every), every, name=f"driftwell-{self.name}")
            self._scheduler.start()
        return self

    def stop(self) -> None:
        """Stop background checks."""
        if self._scheduler is not None:
            self._scheduler.stop()
            self._scheduler = None

    def close(self) -> None:
        """Stop, store what waits, let a retraining callback end, release the store; later records are dropped."""
        self.stop()
        if self._owns:
            self.wait_for_retraining()
            self.runtime.close()
        else:
            self.flush(SETTLE_SECONDS * 5)

    def wait_for_retraining(self, timeout: float | None = None) -> bool:
        """Wait for a retraining run of this process to end; False when it has not after ``timeout`` seconds."""
        return self._follow_up.wait(timeout)

    def __enter__(self) -> Monitor:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Monitor:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def _moment(self, at: Any) -> datetime:
        """A time the user gave, now where none was; the first one without a zone is spoken of."""
        if at is None:
            return datetime.now(UTC)
        if read_moment(at).tzinfo is None and not self._said_naive:
            self._said_naive = True
            log.warning("%s: the time %s has no zone and is taken as UTC", self.name, at)
        return as_moment(at)

    def _next_check(self) -> datetime | None:
        return self._scheduler.next_run if self._scheduler else self.runtime.next_check


def create_monitor(config: Mapping[str, Any] | None = None, *, name: str | None = None, **options: Any) -> Monitor:
    """A monitor from a mapping of options; its name is ``config["name"]``, else the metrics prefix, else ``default``.

    Examples
    --------
    >>> import tempfile
    >>> store = f"sqlite:///{tempfile.mkdtemp()}/driftwell.db"
    >>> create_monitor({"name": "flights", "min_samples": 50}, store=store).name
    'flights'
    """
    if not isinstance(config, (Mapping, type(None))):
        raise BadInput(f"create_monitor takes options as a dict or by name. Got {config!r}")
    merged = {**(config or {}), **options}
    named = merged.pop("name", None)
    return Monitor(name or named or merged.get("metrics_prefix") or "default", **merged)
