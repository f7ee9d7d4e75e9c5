"""What monitors share: one store and ledger, one recorder for all models, one sender for all notices."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from driftwell.capture.patience import Seldom
from driftwell.capture.recorder import Recorder
from driftwell.config import Config, MonitorSettings, environment_options, environment_store, settings_from
from driftwell.config.addresses import DEFAULT_STORE
from driftwell.errors import BadInput, DriftwellError, UnknownName, shown
from driftwell.monitor import housekeeping
from driftwell.monitor.housekeeping import Housekeeping
from driftwell.monitor.opening import Stores, open_stores
from driftwell.monitor.outgoing import Outgoing
from driftwell.monitor.references import References
from driftwell.monitor.scheduler import Scheduler
from driftwell.monitor.spooling import SpoolState, open_spool, spool_name, spool_state
from driftwell.profiles.reference import Reference
from driftwell.results import CheckResult
from driftwell.stores.base import HOUR_US, Leaf, LeafBuilder, Ledger, PredictionBatch, PredictionStore
from driftwell.stores.transform import Transform
from driftwell.stores.windows import leaf_builder

if TYPE_CHECKING:
    from driftwell.capture.redaction import Redaction
    from driftwell.capture.spool.files import Spool
    from driftwell.monitor.checks.context import CheckContext
    from driftwell.monitor.monitor import Monitor

__all__ = ["DEFAULT_VERSION", "Runtime", "check_names"]

log = logging.getLogger("driftwell.monitor")

DEFAULT_VERSION = "1"
MOST_LETTERS = 200
SEALED_LEAVES = 8
"""Leaves that an hour which is over may keep: a check reads them all, at about a millisecond each."""
MOST_MODELS = 1_024
"""Models whose rules of redaction are kept at hand; those of others are read again."""


class Runtime:
    """Store, ledger, recorder and sender, opened once and shared by every monitor of a process.

    Attributes
    ----------
    store, ledger
        Where rows and what is known about them are kept.
    recorder
        Takes records of all models.
    """

    def __init__(
        self,
        store: PredictionStore,
        ledger: Ledger,
        settings: MonitorSettings | None = None,
        *,
        settings_for: Callable[[str], MonitorSettings] | None = None,
        public_url: str = "",
        spool: Spool | None = None,
        spool_name: str = "",
        stores: Stores | None = None,
    ) -> None:
        self.stores = stores or Stores(store, ledger, (store,))
        self.spool = spool
        self._spool_name = spool_name
        self.store = store
        self.ledger = ledger
        self.settings = settings or MonitorSettings()
        self._settings_for = settings_for or (lambda model: self.settings)
        self.references = References(ledger, self.transform_for, lambda: self.is_awaited)
        # One look-up a record, on the caller's thread: a model's rules are read once.
        self.redaction_for = lru_cache(MOST_MODELS)(lambda model: redaction_of(self._settings_for(model)))
        self.recorder = Recorder(
            store,
            reference_for=self.reference_for,
            leaf_builder=self._recorded_leaves,
            transform_for=self.transform_for,
            kinds=self.settings.kinds,
            queue_records=self.settings.queue_records,
            queue_bytes=self.settings.queue_bytes,
            flush_seconds=self.settings.flush_seconds,
            spool=spool,
            durability=self.settings.durability,
            redact_for=self.redaction_for,
            losses_to=lambda losses: ledger.put_losses(losses),  # looked up then: the ledger may answer only later
        )
        self.housekeeping = Housekeeping(store, ledger, self.settings, self._stored_leaves)
        self.outgoing = Outgoing(ledger, public_url)
        self._monitors: dict[tuple[str, str], Monitor] = {}
        self._lock = threading.Lock()
        self._seldom = Seldom()
        self._check_errors = Seldom(self.settings.drift_interval.total_seconds())
        self._scheduler: Scheduler | None = None
        self._keeper: Scheduler | None = None

    @staticmethod
    def open(url: str | None = None, *, patient: bool = False, **options: Any) -> Runtime:
        """Open the store at ``url`` with monitor options, else what variables of the environment say. ``patient``: a
        server that cannot be reached now is opened later, see ``open_stores``."""
        given = {name: value for name, value in options.items() if value is not None}
        found = environment_options(os.environ, given)
        rest = {name: value for name, value in options.items() if name in given or name not in found}
        settings = settings_from(found | rest)  # a wrong option must not leave a file behind
        return _opened(url or environment_store(os.environ), settings, (), patient=patient)

    @staticmethod
    def configured(config: Config, *, patient: bool = False, records: bool = True) -> Runtime:
        """Open the store that a service configuration names; each model has its own table's options. ``records``
        False: for reading only, what waits in the spool is left there."""
        return _opened(
            config.store,
            config.settings_for(""),
            tuple(config.models),
            patient=patient,
            records=records,
            settings_for=config.settings_for,
            public_url=config.public_url or "",
        )

    def monitor(self, name: str, version: str | None = None) -> Monitor:
        """The monitor of a model version, made on first use."""
        from driftwell.monitor.monitor import Monitor

        key = (name, version or self.latest_version(name) or DEFAULT_VERSION)
        with self._lock:
            if key not in self._monitors:
                self._monitors[key] = Monitor._shared(self, key[0], key[1], self._settings_for(name))
            return self._monitors[key]

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows or a reference."""
        known = self.store.models()
        named = {(model, version) for model, version, *_ in known}
        return known + [(*pair, 0, 0) for pair in self.ledger.references() if pair not in named]

    def latest_version(self, model: str) -> str | None:
        """The version of the model with the newest prediction, None when the model has none."""
        found = [(last, version) for name, version, _, last in self.models() if name == model]
        return max(found)[1] if found else None

    def find(self, model: str, version: str | None = None) -> Monitor:
        """The monitor of a model that has rows or a reference.

        Raises
        ------
        UnknownName
            There is no such model or version.
        """
        known = self.models()
        names = {name for name, *_ in known} | {name for name, _ in self._monitors}
        if model not in names:
            raise UnknownName("model", model, names)
        versions = {v for name, v, *_ in known if name == model} | {v for name, v in self._monitors if name == model}
        if version is not None and version not in versions:
            raise UnknownName(f"version of {model}", version, versions)
        return self.monitor(model, version)

    def reference_for(self, model: str, version: str) -> Reference | None:
        """The current reference of a model version; another process's change is seen within a second.

        While the store does not answer, the one known last serves; ``StoreError`` where none was ever read.
        """
        return self.references.get(model, version)

    def roles_for(self, model: str, version: str) -> dict[str, str]:
        """The roles that the reference gives to columns; none while it cannot be read."""
        try:
            reference = self.reference_for(model, version)
        except DriftwellError:
            return {}
        return reference.roles if reference else {}

    def put_reference(self, model: str, version: str, reference: Reference) -> Reference:
        """Make this the reference; leaves of kept rows are rebuilt on its edges. The same one again is no change."""
        return self.references.put(model, version, reference)

    def put_reference_later(self, model: str, version: str, reference: Reference) -> None:
        """Use this reference from now on; it is written when the store, which does not answer yet, does."""
        self.references.put_later(model, version, reference)

    def renew_reference(self, context: CheckContext, check: CheckResult) -> CheckResult:
        """Let the reference follow the data where the settings ask for it and the check allows it. The check, which
        then counts as one since the new reference."""
        from driftwell.monitor.renewal import renewed_reference

        model, version = check.model, check.version
        try:
            found = renewed_reference(context, check)
            if found is None:
                return check
            self.put_reference(model, version, found)
            own = replace(check, mark=self.ledger.get_mark(model))
            self.ledger.put_check(own.to_dict())
        except DriftwellError as exc:
            log.warning("the reference of %s %s was not updated: %s", model, version, exc)
            return check
        words = (model, version, found.id, f"{found.n_rows:,}", found.parent)
        log.info("the reference of %s %s is now %s, %s rows, updated from %s", *words)
        return own

    def transform_for(self, model: str) -> Transform:
        """What the settings of a model ask to be done to its features before they are counted."""
        settings = self._settings_for(model)
        return Transform(settings.feature_map, settings.preprocess)

    def _stored_leaves(self, model: str, version: str) -> LeafBuilder:
        """Leaves of batches that were stored without."""
        return self._recorded_leaves(self.reference_for(model, version))

    def _recorded_leaves(self, reference: Reference | None) -> LeafBuilder:
        """Leaves of records as they come. Where the user's function fails they are counted in no bins: the rows are
        kept, and the next check, which counts them again, says what is wrong."""

        def build(batch: PredictionBatch) -> Sequence[Leaf]:
            kinds = self._settings_for(batch.model).kinds
            try:
                return leaf_builder(reference, self.transform_for(batch.model), kinds=kinds)(batch)
            except BadInput as exc:
                if self._seldom.permits(batch.model):
                    log.warning("%s %s is recorded, but not counted yet: %s", batch.model, batch.version, exc)
                return leaf_builder(None, kinds=kinds)(batch)

        return build

    def start(self) -> None:
        """Check the newest version of every model on schedule."""
        every = self.settings.drift_interval
        self._scheduler = Scheduler(lambda: self.check_all(every), every, name="driftwell-checks")
        self._scheduler.start()
        self.start_housekeeping()

    def start_housekeeping(self) -> None:
        """Tidy up the store in the background, at once and every hour, where there is anything to do."""
        if self._keeper is None and self.housekeeping.is_needed:
            self._keeper = Scheduler(
                self.housekeeping.run, housekeeping.EVERY, name="driftwell-housekeeping", at_once=True
            )
            self._keeper.start()

    def check_all(self, window: timedelta) -> None:
        """One scheduled round: a model whose check fails does not keep the others from theirs."""
        newest = {name: version for name, version, _, _ in sorted(self.models(), key=lambda row: row[3])}
        for name, version in newest.items():
            try:
                self.monitor(name, version).check(window)
            except DriftwellError as exc:
                log.warning("scheduled check of %s %s failed: %s", name, version, exc)

    def note_errors(self, check: CheckResult) -> None:
        """Say in one line why a check could not be made, once in the time between two checks."""
        reasons = dict.fromkeys(v.reason for v in check.verdicts if v.status == "error" and v.feature is None)
        if reasons and self._check_errors.permits(f"{check.model} {check.version}"):
            log.warning("check of %s %s failed: %s", check.model, check.version, "; ".join(map(str, reasons)))

    def seal(self) -> None:
        """Merge the leaves of hours that are over, so that windows merge hours and not flushes; a failure costs time
        at the next check and nothing else."""
        try:
            self.ledger.seal(round(time.time() * 1e6) // HOUR_US * HOUR_US, more_than=SEALED_LEAVES)
        except DriftwellError as exc:
            log.warning("the leaves of past hours could not be merged: %s", exc)

    @property
    def is_awaited(self) -> bool:
        """Whether the store has not answered since the start."""
        return self.stores.are_awaited

    def spool_state(self, *, of_others: bool = False) -> SpoolState | None:
        """What lies in the spool folder, ``of_others``: but for the files of this process; None without a spool."""
        if self.spool is None:
            return None
        own = self.spool.own
        return spool_state(
            self.spool.folder, self._spool_name, without=own.name if of_others and own is not None else ""
        )

    @property
    def next_check(self) -> datetime | None:
        """When the next scheduled round comes; None when there is no schedule."""
        return self._scheduler.next_run if self._scheduler else None

    def close(self) -> None:
        """Store what waits, then release the connections."""
        for scheduler in (self._scheduler, self._keeper):
            if scheduler is not None:
                scheduler.stop()
        for monitor in list(self._monitors.values()):
            monitor.stop()
            monitor.wait_for_retraining()
        self.outgoing.stop()
        self.recorder.close()
        if self.spool is not None:
            self.spool.close()
        self.stores.close()


def _opened(
    url: str,
    settings: MonitorSettings,
    models: Sequence[str],
    *,
    patient: bool,
    records: bool = True,
    settings_for: Callable[[str], MonitorSettings] | None = None,
    public_url: str = "",
) -> Runtime:
    """The runtime on a store, its ledger and its spool. Wrong settings are said before a file is made."""
    if not isinstance(url, str):
        raise BadInput(f"a store is named by its address, such as {DEFAULT_STORE}. Got {shown(url)}")
    for each in (settings, *(settings_for(model) for model in models if settings_for)):
        redaction_of(each)
    spool = open_spool(url, settings) if records else None
    stores = open_stores(url, settings, patient=patient)
    return Runtime(
        stores.rows,
        stores.ledger,
        settings,
        settings_for=settings_for,
        public_url=public_url,
        spool=spool,
        spool_name=spool_name(url, settings.spool_dir),
        stores=stores,
    )


def redaction_of(settings: MonitorSettings) -> Redaction | None:
    """What the settings say must not be kept; None: nothing. ``ConfigError`` for rules that are none."""
    if not settings.redact:
        return None
    from driftwell.capture.redaction import Redaction

    return Redaction.of(settings.redact, settings.redact_key.encode() if settings.redact_key else None)


def check_names(model: str, version: str) -> None:
    """Raise ``BadInput`` for a name of a model or a version that could not be shown or asked for."""
    for what, name in (("model name", model), ("version", version)):
        if not isinstance(name, str) or not name or len(name) > MOST_LETTERS or any(ord(c) < 32 for c in name):
            raise BadInput(f"a {what} is text of 1 to {MOST_LETTERS} printable characters. Got {name!r}")
