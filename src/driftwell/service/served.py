"""Which model a request means, over all models of a runtime."""

from __future__ import annotations

import logging
from typing import Any

from driftwell.config import Config
from driftwell.errors import BadInput, DriftwellError, StoreError, UnknownName
from driftwell.monitor.monitor import Monitor
from driftwell.monitor.runtime import DEFAULT_VERSION, Runtime
from driftwell.profiles import Reference
from driftwell.routes.problems import ProblemError

__all__ = ["Served"]

SETTLE_SECONDS = 2.0

logger = logging.getLogger("driftwell.service")


class Served:
    """The models of a runtime by name; those of the configuration are known before their first record."""

    def __init__(self, runtime: Runtime, config: Config) -> None:
        self.runtime = runtime
        self.config = config
        self._with_reference: set[tuple[str, str]] = set()
        self._known: dict[str, list[str]] = {}

    def versions(self) -> dict[str, list[str]]:
        """Versions of each model; the last is meant when none is named: the configured, else the newest."""
        found: dict[str, list[str]] = {name: [] for name in self.config.models}
        rows = [row[:2] for row in sorted(self.runtime.models(), key=lambda row: row[3])]
        for name, version in (*sorted(self._with_reference - set(rows)), *rows):
            found.setdefault(name, []).append(version)
        for name, configured in self.config.models.items():
            if configured.version:
                found[name] = [v for v in found[name] if v != configured.version] + [configured.version]
        return {name: versions or [DEFAULT_VERSION] for name, versions in found.items()}

    def set_reference(self, model: str, version: str, reference: Any) -> Reference:
        """Set a reference, a table or the path of a file; a new model is known from then on."""
        found = self.runtime.monitor(model, version).set_reference(reference)
        self._with_reference.add((model, version))
        return found

    def load_references(self) -> None:
        """Take the reference files of the configuration; one that cannot be used is a warning, not an end."""
        for name, configured in self.config.models.items():
            if configured.reference:
                try:
                    version = configured.version or self.versions()[name][-1]
                    self.runtime.monitor(name, version).give_reference(configured.reference)
                    self._with_reference.add((name, version))
                except DriftwellError as exc:
                    logger.warning("model %s goes on without a reference: %s", name, exc)

    def _settled(self, model: str | None = None, version: str | None = None) -> dict[str, list[str]]:
        """Versions of each model; a name not yet known may wait in the queue with its first record."""
        known = self.versions()
        if model in known and version in (None, *known[model]):
            return known
        self.runtime.recorder.flush(SETTLE_SECONDS)
        return self.versions()

    def _versions_for_posting(self, model: str | None, version: str | None) -> dict[str, list[str]]:
        """The versions of each model, as they were known last while the store does not answer: what is posted then
        waits for it. Raises ``StoreError`` where the place is not clear without it."""
        try:
            self._known = self.versions()
        except StoreError:
            if model is None or (version is None and model not in self._known):
                raise
        return self._known

    def resolve(self, model: str | None, version: str | None) -> Monitor | None:
        """The monitor a query means; None when there is no model at all.

        Raises
        ------
        UnknownName
            There is no such model or version.
        ProblemError
            422: several models are served and none is named.
        """
        known = self._settled(model, version)
        if not known:
            return None
        if model is None:
            if len(known) > 1:
                detail = f"several models are served: name one with ?model= ({_listed(known)})"
                raise ProblemError(422, detail, members={"models": sorted(known)})
            model = next(iter(known))
        if model not in known:
            raise UnknownName("model", model, known)
        if version is not None and version not in known[model]:
            raise UnknownName(f"version of {model!r}", version, known[model])
        return self.runtime.monitor(model, version or known[model][-1])

    def place(self, model: str | None, version: str | None) -> tuple[str, str]:
        """Where a posted record belongs: new names are new models.

        Raises
        ------
        BadInput
            No model is named, and there is none or more than one.
        """
        known = self._versions_for_posting(model, version)
        if model is None and not known:
            known = self._settled()
        if model is None:
            if len(known) != 1:
                which = f"several are served: {_listed(known)}" if known else "there is none yet"
                raise BadInput(f"model is missing and {which}")
            model = next(iter(known))
        return model, version or known.get(model, [DEFAULT_VERSION])[-1]


def _listed(known: dict[str, list[str]]) -> str:
    names = sorted(known)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
