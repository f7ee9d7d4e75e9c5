"""What a retraining run goes through: requested → running → completed or failed, kept in the ledger."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from driftwell.config import format_duration
from driftwell.errors import DriftwellError
from driftwell.results import isoformat
from driftwell.retraining.policy import (
    EPOCH,
    Decision,
    Policy,
    active_run,
    cooldown_until,
    decide,
    decide_manual,
)
from driftwell.retraining.targets import Ended, Target
from driftwell.stores.base import Ledger

__all__ = ["Retrainer", "expire", "request", "run"]

logger = logging.getLogger("driftwell.retraining")


def request(
    ledger: Ledger,
    model: str,
    version: str,
    decision: Decision,
    *,
    targets: Sequence[Target],
    at_us: int,
    now_us: int,
) -> dict[str, Any]:
    """Record a run as requested and return it.

    ``at_us`` is the time of the check, ``now_us`` the wall clock. The id of a run that a check asked for
    repeats when the same check asks again. Without a target the request is recorded, and stays, for people
    to see. Raises ``RunningError`` while another run of the model has not ended.
    """
    check_id = decision.details.get("check_id")
    policy_id = hashlib.sha256(f"{model}\0{version}\0{check_id}".encode()).hexdigest()[:32]
    by_policy = decision.details.get("triggered_by") == "policy" and check_id
    made: dict[str, Any] = {
        "id": policy_id if by_policy else uuid.uuid4().hex,
        "model": model,
        "version": version,
        "state": "requested",
        "reason": decision.reason,
        "details": decision.details,
        "targets": [target.name for target in targets],
        "at_us": at_us,
        "requested_us": now_us,
        "started_us": None,
        "finished_us": None,
        "results": [],
        "error": None,
    }
    if not targets:
        ledger.put_run(made)
    elif (other := ledger.start_run(made)) is not None:
        raise RunningError(other)
    _say(ledger, made, now_us)
    return made


class RunningError(Exception):
    """Another run of the model has not ended, perhaps of a process that decided in the same instant."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has not ended")


def run(
    ledger: Ledger,
    made: Mapping[str, Any],
    targets: Iterable[Target],
    *,
    clock: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Take a requested run through all targets to its end and return it; it failed when any of them did.

    Raises only ``StoreError``: what a target ends with is a value.
    """
    running = {**made, "state": "running", "started_us": _now(clock)}
    _keep(ledger, running, running["started_us"])
    ended = [(target.name, target.start(made["reason"], made["details"])) for target in targets]
    failed = [f"{name}: {end.error}" for name, end in ended if end.state == "failed"]
    done = {
        **running,
        "state": "failed" if failed else "completed",
        "finished_us": _now(clock),
        "results": [_result(name, end) for name, end in ended],
        "error": "; ".join(failed) or None,
    }
    _keep(ledger, done, done["finished_us"])
    return done


def expire(ledger: Ledger, model: str, policy: Policy, now_us: int) -> list[dict[str, Any]]:
    """The model's runs, after those without a result for ``policy.stale_after`` were recorded as failed."""
    runs = ledger.runs(model)
    for index, one in enumerate(runs):
        begun = one["started_us"] or one["requested_us"]
        if active_run([one]) is not None and now_us - begun >= policy.stale_us:
            limit = format_duration(timedelta(microseconds=policy.stale_us))
            runs[index] = {
                **one,
                "state": "failed",
                "finished_us": now_us,
                "error": f"no result within {limit}",
            }
            _keep(ledger, runs[index], now_us)
    return runs


def _keep(ledger: Ledger, made: Mapping[str, Any], now_us: int) -> None:
    ledger.put_run(dict(made))
    _say(ledger, made, now_us)


def _say(ledger: Ledger, made: Mapping[str, Any], now_us: int) -> None:
    who = str(made["details"].get("triggered_by") or "policy")
    details = {name: made[name] for name in ("id", "model", "version", "reason", "targets", "error")}
    ledger.audit(who, f"retraining.{made['state']}", details, now_us)
    level = logging.WARNING if made["state"] == "failed" else logging.INFO
    words = made["error"] or made["reason"]
    logger.log(level, "retraining of %s %s %s: %s", made["model"], made["version"], made["state"], words)


def _result(name: str, end: Ended) -> dict[str, Any]:
    return {"target": name, "state": end.state, "error": end.error, "result": end.result}


def _now(clock: Callable[[], float]) -> int:
    return round(clock() * 1e6)


class Retrainer:
    """Retraining of one model version: decides after each check, and runs the targets on a thread of its own.

    Nothing retrains while ``targets`` is empty. A run that has begun is finished before the interpreter
    exits; ``wait`` waits for it earlier. One run at a time a model, over all processes that share the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        model: str,
        version: str,
        *,
        policy: Policy | None = None,
        targets: Iterable[Target] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy or Policy()
        self.targets = list(targets)
        self._ledger = ledger
        self._model = model
        self._version = version
        self._clock = clock
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def consider(self, check: Mapping[str, Any], at_us: int) -> Decision:
        """Decide on a check and start the run it asks for; returns at once. Raises only ``StoreError``."""
        if not self.targets:
            return Decision(False, "no retraining callback is set", code="no_target")
        with self._lock:
            runs = expire(self._ledger, self._model, self.policy, _now(self._clock))
            decision = decide(self.policy, check, runs, at_us)
            if decision.trigger:
                try:
                    self._start(decision, at_us)
                except RunningError as exc:
                    reason = f"{decision.reason}, but {exc}"
                    return replace(decision, trigger=False, reason=reason, code="running")
        return decision

    def trigger(
        self, reason: str = "manual", details: Mapping[str, Any] | None = None, *, at_us: int | None = None
    ) -> dict[str, Any]:
        """A person asks for retraining: ``{"status": "retraining_triggered", "id", "reason"}``.

        The ``status`` is ``"running"``, and no run starts, while another has not ended. Without a target the
        request is recorded and nothing else happens; ``reason`` says so.
        """
        with self._lock:
            now_us = _now(self._clock)
            runs = expire(self._ledger, self._model, self.policy, now_us)
            decision = decide_manual(runs, self._model, self._version, reason, details)
            if not decision.trigger:
                return {"status": "running", "id": None, "reason": decision.reason}
            try:
                made = self._start(decision, now_us if at_us is None else at_us)
            except RunningError as exc:
                return {"status": "running", "id": None, "reason": str(exc)}
        said = reason if self.targets else f"{reason} (recorded only: no retraining callback is set)"
        return {"status": "retraining_triggered", "id": made["id"], "reason": said}

    def _start(self, decision: Decision, at_us: int) -> dict[str, Any]:
        targets = tuple(self.targets)
        now_us = _now(self._clock)
        made = request(self._ledger, self._model, self._version, decision, targets=targets, at_us=at_us, now_us=now_us)
        if targets:
            self._worker = threading.Thread(target=self._run, args=(made, targets), name="driftwell-retraining")
            self._worker.start()
        return made

    def _run(self, made: dict[str, Any], targets: tuple[Target, ...]) -> None:
        try:
            run(self._ledger, made, targets, clock=self._clock)
        except DriftwellError as exc:
            logger.error("the end of retraining run %s cannot be recorded: %s", made["id"], exc)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for this process's run to end; False when it has not after ``timeout`` seconds, and at once when
        asked by the run itself, which cannot wait for its own end."""
        worker = self._worker
        if worker is None:
            return True
        if worker is threading.current_thread():
            return False
        worker.join(timeout)
        return not worker.is_alive()

    def status(self) -> dict[str, Any]:
        """``last`` (the newest run or None), ``running`` (its id or None), ``cooldown_until`` (or None)."""
        runs = self._ledger.runs(self._model)
        running = active_run(runs)
        return {
            "last": _for_people(runs[0]) if runs else None,
            "running": running["id"] if running else None,
            "cooldown_until": _time(cooldown_until(self.policy, runs)),
        }


def _for_people(made: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: made[name] for name in ("id", "version", "state", "reason", "details", "targets", "error")}
    return known | {name: _time(made[f"{name}_us"]) for name in ("at", "requested", "started", "finished")}


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else isoformat(EPOCH + timedelta(microseconds=at_us))
