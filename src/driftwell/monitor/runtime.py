"""What monitors share: one store and ledger, one recorder for all models, one sender for all notices."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from driftwell.capture.patience import Seldom
from driftwell.capture.recorder import Recorder
from driftwell.config import Config, MonitorSettings, environment_options, settings_from
from driftwell.errors import BadInput, DriftwellError, StoreError, UnknownName
from driftwell.monitor.outgoing import Outgoing
from driftwell.monitor.references import says_the_same
from driftwell.monitor.scheduler import Scheduler
from driftwell.profiles.reference import Reference
from driftwell.results import CheckResult
from driftwell.stores import open_store
from driftwell.stores.base import HOUR_US, Leaf, LeafBuilder, Ledger, PredictionBatch, PredictionStore
from driftwell.stores.transform import Transform
from driftwell.stores.windows import leaf_builder, leaf_edges

if TYPE_CHECKING:
    from driftwell.monitor.checks.context import CheckContext
    from driftwell.monitor.monitor import Monitor

__all__ = ["DEFAULT_STORE", "DEFAULT_VERSION", "Runtime", "check_names"]

log = logging.getLogger("driftwell.monitor")

DEFAULT_STORE = "sqlite:///driftwell.db"
DEFAULT_VERSION = "1"
REFERENCE_TTL_SECONDS = 1.0
MOST_LETTERS = 200


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
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.settings = settings or MonitorSettings()
        self._settings_for = settings_for or (lambda model: self.settings)
        self.recorder = Recorder(
            store,
            reference_for=self.reference_for,
            leaf_builder=self._recorded_leaves,
            transform_for=self.transform_for,
            kinds=self.settings.kinds,
            queue_records=self.settings.queue_records,
            queue_bytes=self.settings.queue_bytes,
            flush_seconds=self.settings.flush_seconds,
        )
        self.outgoing = Outgoing(ledger, public_url)
        self._monitors: dict[tuple[str, str], Monitor] = {}
        self._references: dict[tuple[str, str], tuple[float, bytes | None, Reference | None]] = {}
        self._lock = threading.Lock()
        self._seldom = Seldom()
        self._check_errors = Seldom(self.settings.drift_interval.total_seconds())
        self._scheduler: Scheduler | None = None

    @staticmethod
    def open(url: str | None = None, **options: Any) -> Runtime:
        """Open the store at ``url`` (default ``sqlite:///driftwell.db``) with monitor options, else what variables of
        the environment say."""
        given = {name: value for name, value in options.items() if value is not None}
        found = environment_options(os.environ, given)
        rest = {name: value for name, value in options.items() if name in given or name not in found}
        settings = settings_from(found | rest)  # a wrong option must not leave a file behind
        store = open_store(url or DEFAULT_STORE)
        return Runtime(store, store, settings)

    @staticmethod
    def configured(config: Config) -> Runtime:
        """Open the store that a service configuration names; each model has its own table's options."""
        store = open_store(config.store)
        return Runtime(
            store,
            store,
            config.settings_for(""),
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
        now = time.monotonic()
        checked, document, known = self._references.get((model, version), (-math.inf, None, None))
        if now - checked < REFERENCE_TTL_SECONDS:
            return known
        try:
            stored = self.ledger.get_reference(model, version)
        except StoreError:
            if (model, version) in self._references:
                return known
            raise
        fresh = None if stored is None else stored[1]
        if fresh != document:
            source = f"the stored reference of {model} {version}"
            known = None if fresh is None else Reference.from_json(fresh, source=source)
        self._references[model, version] = (now, fresh, known)
        return known

    def roles_for(self, model: str, version: str) -> dict[str, str]:
        """The roles that the reference gives to columns; none while it cannot be read."""
        try:
            reference = self.reference_for(model, version)
        except DriftwellError:
            return {}
        return reference.roles if reference else {}

    def put_reference(self, model: str, version: str, reference: Reference) -> Reference:
        """Make this the reference; leaves of kept rows are rebuilt on its edges. The same one again is no change."""
        current = self.reference_for(model, version)
        if current is not None and says_the_same(current, reference):
            return current
        document = reference.to_json()
        self.ledger.put_reference(model, version, reference.id, document)
        self._references[model, version] = (time.monotonic(), document, reference)
        transform = self.transform_for(model)
        edges_id = leaf_edges(reference, transform)
        self.ledger.replace_leaves(model, version, edges_id, leaf_builder(reference, transform))
        return reference

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
            self.ledger.seal(round(time.time() * 1e6) // HOUR_US * HOUR_US)
        except DriftwellError as exc:
            log.warning("the leaves of past hours could not be merged: %s", exc)

    @property
    def next_check(self) -> datetime | None:
        """When the next scheduled round comes; None when there is no schedule."""
        return self._scheduler.next_run if self._scheduler else None

    def close(self) -> None:
        """Store what waits, then release the connections."""
        if self._scheduler is not None:
            self._scheduler.stop()
        for monitor in list(self._monitors.values()):
            monitor.stop()
            monitor.wait_for_retraining()
        self.outgoing.stop()
        self.recorder.close()
        self.store.close()


def check_names(model: str, version: str) -> None:
    """Raise ``BadInput`` for a name of a model or a version that could not be shown or asked for."""
    for what, name in (("model name", model), ("version", version)):
        if not isinstance(name, str) or not name or len(name) > MOST_LETTERS or any(ord(c) < 32 for c in name):
            raise BadInput(f"a {what} is text of 1 to {MOST_LETTERS} printable characters. Got {name!r}")
