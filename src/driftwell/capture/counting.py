"""What became of everything that was offered, counted for each model version; one lock guards all numbers."""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from driftwell.results import isoformat
from driftwell.stores.base import HOUR_US, AppendResult, LabelCounts

__all__ = ["LATENCY_EDGES", "Counting", "LabelTally", "Tally"]

LATENCY_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper edges in seconds of the latency histogram; a last bucket holds what is slower."""

MAX_NAMES = 100
OTHERS = "(others)"
MOST_PLACES = 1_000


@dataclass(slots=True)
class Tally:
    """Records of one model version: ``offered = stored + waiting + sum(dropped) + sum(rejected)``.

    ``recovered`` are those of ``stored`` that another process left in its spool, ``unjournaled`` those offered that
    could not be written there.
    """

    offered: int = 0
    stored: int = 0
    waiting: int = 0
    skewed: int = 0
    sampled_out: int = 0
    errors: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_EDGES) + 1))
    latency_sum: float = 0.0
    recovered: int = 0
    unjournaled: int = 0
    lost: Counter[tuple[int, str]] = field(default_factory=Counter)  # by hour of arrival and reason

    def settle(self, rows: int, result: AppendResult, arrived: float) -> None:
        """``rows`` that waited were stored or told to be there already."""
        self.waiting -= rows
        self.stored += result.stored
        self.reject(_filled({"duplicate": result.duplicate, "conflict": result.conflict}), arrived)

    def recover(self, stored: int) -> None:
        """Rows that another process left behind are stored now."""
        self.offered += stored
        self.stored += stored
        self.recovered += stored

    def reject(self, reasons: Mapping[str, int], arrived: float) -> None:
        """Rows cannot be kept; ``arrived`` is when they came, in seconds since 1970."""
        self.rejected.update(reasons)
        for reason, n in reasons.items():
            self.lost[_hour(arrived), f"rejected.{reason}"] += n

    def drop(self, rows: int, reason: str, arrived: float) -> None:
        """Rows are given up."""
        self.dropped[reason] += rows
        self.lost[_hour(arrived), f"dropped.{reason}"] += rows

    def ignore(self, names: Counter[str]) -> None:
        """Count cells of features that are not kept; only the first names are told apart."""
        for name, count in names.items():
            known = name in self.ignored or len(self.ignored) < MAX_NAMES
            self.ignored[name if known else OTHERS] += count

    def observe(self, latency_seconds: float) -> None:
        """Enter a latency into the histogram."""
        self.latency_counts[bisect.bisect_left(LATENCY_EDGES, latency_seconds)] += 1
        self.latency_sum += latency_seconds


@dataclass(slots=True)
class LabelTally:
    """Labels of one model, or of none where the label named none."""

    offered: int = 0
    waiting: int = 0
    matched: int = 0
    early: int = 0
    duplicate: int = 0
    conflicting: int = 0
    ambiguous: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unjournaled: int = 0

    def hand_over(self, other: LabelTally) -> LabelTally:
        """One label that waited turns out to belong to another tally, which is returned."""
        self.offered -= 1
        self.waiting -= 1
        other.offered += 1
        other.waiting += 1
        return other

    def settle(self, fate: LabelCounts) -> None:
        """One label that waited was added."""
        self.waiting -= 1
        self.count_fate(fate)

    def count_fate(self, fate: LabelCounts) -> None:
        """Count what became of one label."""
        self.matched += fate.matched
        self.early += fate.early
        self.duplicate += fate.duplicate
        self.conflicting += fate.conflicting
        self.ambiguous += len(fate.ambiguous)

    def recover(self, fate: LabelCounts) -> None:
        """One label that another process left behind was added; one that was there already counts nowhere."""
        if not fate.duplicate:
            self.offered += 1
            self.count_fate(fate)

    def reject(self, reason: str) -> None:
        """One label that waited cannot be kept."""
        self.waiting -= 1
        self.rejected[reason] += 1

    def drop(self, count: int, reason: str, arrived: float) -> None:
        """Labels are given up; only those of records are told by hour."""
        self.dropped[reason] += count


class Counting:
    """All tallies. Whoever changes one holds ``lock``, which is held only for the change itself.

    The lock may be taken twice by one thread: a signal handler or a finalizer may record while its thread records.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from nothing, with a new lock: a forked child inherits neither."""
        self.lock = threading.RLock()
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._labels: dict[str | None, LabelTally] = {}
        self.last_success: float | None = None

    def tally(self, model: str, version: str) -> Tally:
        """The tally of a model version, made on first use; one for all that come after a thousand others."""
        return self._tallies.get((model, version)) or self._new_tally((model, version))

    def _new_tally(self, place: tuple[str, str]) -> Tally:
        with self.lock:  # who counts goes through all of them
            return self._tallies.setdefault(place if len(self._tallies) < MOST_PLACES else ("", ""), Tally())

    def models(self) -> set[str]:
        """The models that records were counted for."""
        with self.lock:
            return {model for model, _ in self._tallies}

    def refuse(self, model: str, version: str, reasons: Mapping[str, int]) -> None:
        """Count records that were refused before they were offered."""
        tally = self.tally(model, version)
        tally.offered += sum(reasons.values())
        tally.reject(reasons, time.time())

    def refuse_labels(self, model: str | None, reasons: Mapping[str, int]) -> None:
        """The same for labels."""
        tally = self.labels(model)
        tally.offered += sum(reasons.values())
        tally.rejected.update(reasons)

    def labels(self, model: str | None) -> LabelTally:
        """The tally of a model's labels, made on first use; one for all that come after a thousand others."""
        return self._labels.get(model) or self._new_labels(model)

    def _new_labels(self, model: str | None) -> LabelTally:
        with self.lock:
            return self._labels.setdefault(model if len(self._labels) < MOST_PLACES else None, LabelTally())

    def find(self, key: Sequence[str | None]) -> Tally | LabelTally:
        """The tally of ``("record", model, version)`` or ``("label", model)``."""
        what, *names = key
        return self.labels(names[0]) if what == "label" else self.tally(str(names[0]), str(names[1]))

    def give_up(self, waiting: Mapping[tuple[str | None, ...], int], reason: str) -> None:
        """What was offered, does not wait any more and was never counted as anything was lost: it is rejected now.

        ``waiting`` is what really waits, by the keys of ``find``.
        """
        with self.lock:
            own = self._by_tally(waiting)
            for tally in self._tallies.values():
                tally.waiting = own[id(tally)]
                known = tally.stored + tally.waiting + tally.dropped.total() + tally.rejected.total()
                if tally.offered > known:
                    tally.reject({reason: tally.offered - known}, time.time())
            for labels in self._labels.values():
                labels.waiting = own[id(labels)]
                fates = labels.matched + labels.early + labels.duplicate + labels.conflicting + labels.ambiguous
                known = fates + labels.waiting + labels.dropped.total() + labels.rejected.total()
                if labels.offered > known:
                    labels.rejected[reason] += labels.offered - known

    def lose(self, key: Sequence[str | None], rows: int, reason: str, arrived: float) -> None:
        """Rows that waited are dropped."""
        with self.lock:
            tally = self.find(key)
            tally.waiting -= rows
            tally.drop(rows, reason, arrived)

    def lose_rest(
        self,
        elsewhere: Mapping[tuple[str | None, ...], int],
        most: Mapping[tuple[str | None, ...], int] | None,
        reason: str,
    ) -> None:
        """What waits is dropped, but for so many rows that wait elsewhere; at most so many, where that is given."""
        with self.lock:
            kept, bound = self._by_tally(elsewhere), self._by_tally(most or {})
            tallies: list[Tally | LabelTally] = [*self._tallies.values(), *self._labels.values()]
            for tally in tallies:
                rows = tally.waiting - kept[id(tally)]
                rows = rows if most is None else min(rows, bound[id(tally)])
                if rows > 0:
                    tally.waiting -= rows
                    tally.drop(rows, reason, time.time())

    def _by_tally(self, rows: Mapping[tuple[str | None, ...], int]) -> Counter[int]:
        found: Counter[int] = Counter()
        for key, count in rows.items():
            found[id(self.find(key))] += count
        return found

    def losses(self) -> Counter[str]:
        """Everything lost so far by reason, over all models, for the log."""
        with self.lock:
            found: Counter[str] = Counter()
            tallies: list[tuple[str, Tally | LabelTally]] = [("records", t) for t in self._tallies.values()]
            for kind, one in (*tallies, *(("labels", t) for t in self._labels.values())):
                found.update({f"{kind} dropped ({reason})": n for reason, n in one.dropped.items()})
                found.update({f"{kind} rejected ({reason})": n for reason, n in one.rejected.items()})
            return found

    def lost_by_hour(self) -> dict[tuple[str, str, int, str], int]:
        """Records lost so far by model, version, hour of arrival (microseconds since 1970) and reason."""
        with self.lock:
            places = self._tallies.items()
            return {(m, v, hour, reason): n for (m, v), t in places for (hour, reason), n in t.lost.items()}

    def stats(self, model: str | None, version: str | None) -> dict[str, Any]:
        """Everything counted, at one moment, over the model versions asked for."""
        with self.lock:
            chosen = [t for (m, v), t in self._tallies.items() if model in (None, m) and version in (None, v)]
            labels = [t for m, t in self._labels.items() if model in (None, m)]
            return {
                **{name: sum(getattr(t, name) for t in chosen) for name in ("offered", "stored", "waiting")},
                **{name: _total(getattr(t, name) for t in chosen) for name in ("dropped", "rejected")},
                **{name: sum(getattr(t, name) for t in chosen) for name in ("recovered", "unjournaled")},
                "last_success": _moment(self.last_success),
                "labels": _label_stats(labels),
                **{name: sum(getattr(t, name) for t in chosen) for name in ("skewed", "sampled_out", "errors")},
                "skipped": _total(t.skipped for t in chosen),
                "ignored_features": _total(t.ignored for t in chosen),
                "latency": _latency(chosen),
            }


def _label_stats(tallies: list[LabelTally]) -> dict[str, Any]:
    counted = ("matched", "early", "duplicate", "conflicting", "ambiguous", "offered", "waiting", "unjournaled")
    return {
        **{name: sum(getattr(t, name) for t in tallies) for name in counted},
        "expired": 0,
        "dropped": _total(t.dropped for t in tallies),
        "rejected": _total(t.rejected for t in tallies),
        "skipped": _total(t.skipped for t in tallies),
    }


def _hour(seconds: float) -> int:
    return int(seconds * 1e6) // HOUR_US * HOUR_US


def _total(counters: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(total)


def _filled(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _latency(tallies: list[Tally]) -> dict[str, Any] | None:
    """``{"buckets": [[upper edge or None, cumulative count], …], "sum": seconds}``; None without any latency."""
    counts = [sum(column) for column in zip(*(t.latency_counts for t in tallies), strict=True)]
    if not any(counts):
        return None
    edges: list[float | None] = [*LATENCY_EDGES, None]
    buckets = [[edge, sum(counts[: i + 1])] for i, edge in enumerate(edges)]
    return {"buckets": buckets, "sum": sum(t.latency_sum for t in tallies)}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else isoformat(datetime.fromtimestamp(seconds, UTC))
