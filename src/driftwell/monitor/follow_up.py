"""What happens after a check: alert rules, notices through the outbox, retraining. Loaded by the first check."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftwell.config import MonitorSettings
from driftwell.errors import BadInput
from driftwell.monitor.windowing import to_us
from driftwell.quality import check_options
from driftwell.results import CheckResult
from driftwell.stores.base import HOUR_US, Ledger

if TYPE_CHECKING:
    from driftwell.alerts import AlertRule
    from driftwell.monitor.outgoing import Outgoing
    from driftwell.outbox import Channel
    from driftwell.retraining import Retrainer

__all__ = ["FollowUp"]

log = logging.getLogger("driftwell.monitor")

CUSTOM_METRICS_US = 30 * 24 * HOUR_US


class FollowUp:
    """Alerts and retraining of one model version. Opened by the first check, not by the first prediction."""

    def __init__(self, ledger: Ledger, outgoing: Outgoing, model: str, version: str, settings: MonitorSettings) -> None:
        self._ledger = ledger
        self._outgoing = outgoing
        self._model = model
        self._version = version
        self._settings = settings
        self._callbacks: list[Callable[[dict[str, Any]], Any]] = []
        self._lock = threading.Lock()
        self._check_settings()

    def _check_settings(self) -> None:
        """Rules, channels and retraining that cannot work are an error at the start, not at the first alert."""
        if self._settings.quality:
            check_options(self._settings.quality)
        if self._settings.drift_update_ref is not None:
            self._say_sigma()
        if self._settings.rules is not None:
            self.rules  # noqa: B018 - builds and so checks them
        if self._settings.channels != ("log",):
            self._channels  # noqa: B018
        if self._settings.retraining or self._settings.retraining_callback:
            self._retrainer  # noqa: B018

    def _say_sigma(self) -> None:
        """``sigma`` is a setting of the test, not of the update beside which it is written."""
        from driftwell.monitor.renewal import Renewal

        sigma = Renewal.of(self._settings.drift_update_ref or {}).sigma
        if sigma is not None:
            off = "" if self._settings.multivariate == "mmd" else ", which is off: multivariate = 'mmd' switches it on"
            log.warning("%s: sigma %g is taken as the bandwidth of the MMD test%s", self._model, sigma, off)

    @cached_property
    def rules(self) -> list[AlertRule]:
        """The rules in force: those of the settings, else the built-in ones, and those added since."""
        from driftwell.alerts import rules_from

        return list(rules_from(self._settings.rules))

    @cached_property
    def _channels(self) -> list[Channel]:
        return self._outgoing.open(
            [*self._settings.channels, *self._callbacks],
            allow_private=self._settings.webhook_allow_private,
            secret=self._settings.webhook_secret,
        )

    @cached_property
    def _retrainer(self) -> Retrainer:
        from driftwell.retraining import Retrainer, plan

        policy, targets = plan(self._settings.retraining, self._settings.retraining_callback)
        return Retrainer(self._ledger, self._model, self._version, policy=policy, targets=targets)

    def after(self, check: CheckResult) -> list[dict[str, Any]]:
        """Judge a check by the rules, send what is due, and ask for retraining where the policy says so.

        Returns the alert events of this check. Rules and policies run on the time of the check.
        """
        from driftwell.alerts import apply, metrics_of

        document = check.to_dict()
        at_us = to_us(check.window.end)
        with self._lock:
            metrics = metrics_of(document) | self._own_metrics(at_us)
            if any(verdict.signal == "traffic" for verdict in check.verdicts):  # rows that could not be counted
                del metrics["sample_count"]
            events = apply(
                self._ledger,
                self._model,
                self._version,
                document,
                metrics,
                self.rules,
                self._channels,
                at_us,
                link=self._outgoing.link(self._model),
            )
            self._outgoing.wake()
            self._retrainer.consider(document, at_us)
        return events

    def _own_metrics(self, end_us: int) -> dict[str, float]:
        """The newest value of each metric the user recorded in the 30 days before the end of the window."""
        points = self._ledger.metrics(self._model, end_us - CUSTOM_METRICS_US, end_us)
        return {point["name"]: point["value"] for point in points}

    def record_metric(self, name: str, value: Any, time_us: int, labels: Mapping[str, Any]) -> None:
        """Keep one point of a metric of the user's own. Raises ``BadInput`` for a value that is no number."""
        try:
            number = float(value)
        except (TypeError, ValueError) as exc:
            raise BadInput(f"the metric {name!r} must be a number. Got {value!r}") from exc
        texts = {str(label): str(text) for label, text in labels.items()}
        self._ledger.put_metric(self._model, str(name), number, time_us, texts)

    def add_rule(self, rule: AlertRule) -> None:
        """One more rule from the next check on. Raises ``ConfigError`` where there is one of its name."""
        from driftwell.alerts import rules_from

        with self._lock:
            self.rules[:] = rules_from([*self.rules, rule])

    def on_alert(self, callback: Callable[[dict[str, Any]], Any]) -> None:
        """Call ``callback`` for each notice of this process."""
        with self._lock:
            self._callbacks.append(callback)
            self.__dict__.pop("_channels", None)

    def on_retraining(self, callback: Callable[[str, dict[str, Any]], Any]) -> None:
        """Call ``callback(reason, details)`` when retraining is due."""
        from driftwell.retraining import CallbackTarget

        self._retrainer.targets.append(CallbackTarget(callback))

    def trigger(self, reason: str, details: dict[str, Any], check: dict[str, Any] | None) -> dict[str, Any]:
        """A person asks for retraining; the newest check's window and id go with it."""
        known: dict[str, Any] = {}
        if check is not None:
            window = check.get("window") or {}
            known = {
                "check_id": check.get("check_id"),
                "window_start": window.get("start"),
                "window_end": window.get("end"),
                "n": check.get("sample_count"),
            }
        return self._retrainer.trigger(reason, known | details)

    def retraining_status(self) -> dict[str, Any]:
        """``last``, ``running`` and ``cooldown_until``."""
        return self._retrainer.status()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for this process's retraining run to end."""
        return "_retrainer" not in self.__dict__ or self._retrainer.wait(timeout)
