"""The life of an alert: inactive → pending → firing → resolved, with one notice at each end of its firing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from driftwell.alerts.findings import findings
from driftwell.alerts.rules import AlertRule, Evaluation, evaluate
from driftwell.outbox import Channel
from driftwell.results import isoformat
from driftwell.stores.base import Ledger, Notice

__all__ = ["AlertState", "Event", "alert_key", "apply", "step"]

Event: TypeAlias = Literal["firing", "resolved"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_ENDED = "0001-01-01T00:00:00Z"  # how Alertmanager writes the end of an alert that still fires


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where the alert of one rule stands; times are microseconds of the checks' clock.

    ``since_us``: when its condition last became true (or, inactive and resolved, false). ``changed_us``:
    when the state last changed. ``seen_us``: the newest check that was looked at. ``fired_us``: when it last
    began to fire. ``notified``: people were told of it firing and not yet of its end.
    """

    state: Literal["inactive", "pending", "firing", "resolved"]
    since_us: int
    changed_us: int
    seen_us: int
    fired_us: int | None = None
    notified: bool = False


def step(
    rule: AlertRule, previous: AlertState | None, firing: bool | None, at_us: int
) -> tuple[AlertState, Event | None]:
    """The state after a check at ``at_us`` in which the rule's condition was ``firing``, and what happened.

    None (no data, or the rule failed) changes nothing. A check older than one already seen changes nothing.
    The alert fires once its condition has held for ``for_`` and ``cooldown`` has passed since it last fired;
    it resolves in the first check without the condition. Pure: the same series of checks gives the same
    events.

    Examples
    --------
    >>> state, event = step(AlertRule("Low", "accuracy < 0.8"), None, True, 0)
    >>> state.state, event
    ('firing', 'firing')
    """
    now = previous or AlertState("inactive", at_us, at_us, at_us)
    if at_us < now.seen_us:
        return now, None
    now = replace(now, seen_us=at_us)
    if firing is None:
        return now, None
    if not firing:
        return _without_condition(now, at_us)
    if now.state == "firing":
        return now, None
    if now.state != "pending":
        now = replace(now, state="pending", since_us=at_us, changed_us=at_us)
    rested = now.fired_us is None or at_us - now.fired_us >= rule.cooldown_us
    if rested and at_us - now.since_us >= rule.hold_us:
        return replace(now, state="firing", changed_us=at_us, fired_us=at_us, notified=False), "firing"
    return now, None


def _without_condition(now: AlertState, at_us: int) -> tuple[AlertState, Event | None]:
    if now.state == "firing":
        return replace(now, state="resolved", since_us=at_us, changed_us=at_us), "resolved"
    if now.state == "pending":
        return replace(now, state="inactive", since_us=at_us, changed_us=at_us), None
    return now, None


def alert_key(rule: str, model: str, version: str) -> str:
    """The key of an alert: rule, model and version, each escaped so that no two alerts share one.

    Examples
    --------
    >>> alert_key("ModelDataDrift", "flights", "v1")
    'ModelDataDrift:flights:v1'
    """
    return ":".join(quote(part, safe="") for part in (rule, model, version))


def apply(
    ledger: Ledger,
    model: str,
    version: str,
    check: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rules: Iterable[AlertRule],
    channels: Sequence[Channel],
    at_us: int,
    *,
    link: str = "",
    clock: Callable[[], float] = time.time,
) -> list[dict[str, Any]]:
    """Judge a check by the rules, keep the state of each alert, and put the notices into the outbox.

    A notice goes to every channel when an alert fires and when one that was told about ends. Of a group's
    firing alerts only the most serious are told; a lesser one is told once it stands alone. Applying the
    same check again, also after a crash half way, loses no notice and sends none twice.

    Parameters
    ----------
    check
        ``CheckResult.to_dict()``; ``at_us`` is its time, by which ``for_`` and ``cooldown`` go.
    metrics
        What the rules see: ``metrics_of(check)``, and the user's own.
    link
        Address of the model's page, for the notices.
    clock
        The time at which the notices are written, in seconds.

    Returns
    -------
    list of dict
        What happened in this check: ``name, severity, status`` ("firing" or "resolved"), ``value, message,
        model, version, at, notified`` (False where a more serious alert of the group speaks for it).

    Raises only ``StoreError``.
    """
    stored = {alert["key"]: alert for alert in ledger.get_alerts(model)}
    moves = [_move(rule, model, version, stored, check, metrics, at_us) for rule in rules]
    told = {move.key: status for move in moves if (status := _to_tell(move, moves)) is not None}
    context = _Context(model, version, check, link)
    documents = [context.document(move, told.get(move.key)) for move in moves]
    # What a crash left untold goes first. What is to be told is stored before it is put into the outbox and
    # struck out after that, so that a crash in between tells it again, under the same keys.
    _tell(ledger, [alert for alert in stored.values() if alert["telling"]], channels, clock)
    for document in documents:
        ledger.put_alert(document)
    _tell(ledger, [document for document in documents if document["telling"]], channels, clock)
    return context.events(moves, told)


def _tell(
    ledger: Ledger,
    alerts: Sequence[Mapping[str, Any]],
    channels: Sequence[Channel],
    clock: Callable[[], float],
) -> None:
    now_us = round(clock() * 1e6)
    notices = [
        Notice(f"{telling['key']}:{one.name}", one.name, telling["kind"], telling["body"], now_us)
        for telling in (alert["telling"] for alert in alerts)
        for one in channels
    ]
    if notices:
        ledger.enqueue(notices)
    for alert in alerts:
        ledger.put_alert({**alert, "telling": None})


@dataclass(frozen=True, slots=True)
class _Move:
    """What one check did to one alert; ``value`` and ``message`` are the last that were known."""

    key: str
    rule: AlertRule
    evaluation: Evaluation
    state: AlertState
    event: Event | None
    value: float | None
    message: str


def _move(
    rule: AlertRule,
    model: str,
    version: str,
    stored: Mapping[str, Mapping[str, Any]],
    check: Mapping[str, Any],
    metrics: Mapping[str, Any],
    at_us: int,
) -> _Move:
    key = alert_key(rule.name, model, version)
    last = stored.get(key)
    if last is not None and at_us < last["seen_us"]:
        found = Evaluation(rule, last["outcome"], last["value"], last["reason"] or last["message"])
    else:
        found = evaluate(rule, metrics)
        if found.firing and rule.expression is not None:
            found = replace(found, message=findings(check, rule.expression.names) or found.message)
    state, event = step(rule, _state_of(last), found.firing, at_us)
    if found.firing is None and last is not None:
        return _Move(key, rule, found, state, event, last["value"], last["message"])
    return _Move(key, rule, found, state, event, found.value, found.message)


def _state_of(alert: Mapping[str, Any] | None) -> AlertState | None:
    if alert is None:
        return None
    return AlertState(**{one.name: alert[one.name] for one in fields(AlertState)})


def _to_tell(move: _Move, moves: Sequence[_Move]) -> Event | None:
    """What people have not been told yet about an alert, and should be."""
    if move.state.state != "firing":
        return "resolved" if move.state.notified else None
    group = move.rule.group
    outranked = group is not None and any(
        other.state.state == "firing" and other.rule.group == group and other.rule.rank > move.rule.rank
        for other in moves
    )
    return None if move.state.notified or outranked else "firing"


@dataclass(frozen=True, slots=True)
class _Context:
    """What all alerts of one check have in common."""

    model: str
    version: str
    check: Mapping[str, Any]
    link: str

    def document(self, move: _Move, status: Event | None) -> dict[str, Any]:
        """The alert as the ledger keeps it; ``telling`` is what still has to go into the outbox."""
        state = asdict(move.state)
        telling = None
        if status is not None:
            kind = "alert" if status == "firing" else "resolved"
            key = f"{move.key}:{move.state.fired_us}:{kind}"
            telling = {"key": key, "kind": kind, "body": self._body(move, status)}
            state["notified"] = status == "firing"
        unknown = move.evaluation.firing is None
        return state | {
            "key": move.key,
            "model": self.model,
            "version": self.version,
            "rule": move.rule.name,
            "severity": move.rule.severity,
            "group": move.rule.group,
            "value": move.value,
            "message": move.message,
            "summary": move.rule.summary,
            "outcome": move.evaluation.outcome,
            "reason": move.evaluation.message if unknown else None,
            "telling": telling,
        }

    def _body(self, move: _Move, status: Event) -> dict[str, Any]:
        """One alert in Alertmanager's words: the labels are its identity, all that varies is annotation."""
        labels = {
            "alertname": move.rule.name,
            "severity": move.rule.severity,
            "model": self.model,
            "model_version": self.version,
            "monitor": "driftwell",
            **({"signal": move.rule.group} if move.rule.group else {}),
        }
        window = self.check.get("window") or {}
        annotations = {
            "summary": move.rule.summary or f"{move.rule.name}: {move.rule.words}",
            "description": move.message,
            "value": move.value,
            "features": ", ".join(self.check.get("culprits") or ()),
            "window_start": window.get("start"),
            "window_end": window.get("end"),
            "reference": self.check.get("reference_id"),
            "check_id": self.check.get("check_id"),
        }
        return {
            "status": status,
            "labels": labels,
            "annotations": {name: str(value) for name, value in annotations.items() if value not in (None, "")},
            "startsAt": _time(move.state.fired_us or move.state.changed_us),
            "endsAt": _time(move.state.changed_us) if status == "resolved" else NOT_ENDED,
            "generatorURL": self.link,
            "fingerprint": hashlib.sha256(move.key.encode()).hexdigest()[:16],
        }

    def events(self, moves: Iterable[_Move], told: Mapping[str, Event]) -> list[dict[str, Any]]:
        """What happened, told or not."""
        return [
            {
                "name": move.rule.name,
                "severity": move.rule.severity,
                "status": told.get(move.key) or move.event,
                "value": move.value,
                "message": move.message,
                "model": self.model,
                "version": self.version,
                "at": _time(move.state.seen_us),
                "notified": move.key in told,
            }
            for move in moves
            if move.event is not None or move.key in told
        ]


def _time(at_us: int) -> str:
    return isoformat(EPOCH + timedelta(microseconds=at_us))
