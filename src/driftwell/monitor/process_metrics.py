"""Metrics of a process about itself: what became of the records that were offered to it, and what waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from driftwell._version import __version__

__all__ = ["process_metrics"]

STARTING = {"dropped": ("queue_full", "spool_full", "store_failed"), "rejected": ("conflict", "duplicate")}
"""Reasons exported from the first scrape on: Prometheus sees no increase in a series that begins above zero."""

COUNTED = {
    "offered": "Records offered to this process: stored, waiting, dropped and rejected ones together.",
    "stored": "Records stored by this process.",
    "unjournaled": "Records that could not be written to the spool and were only kept in memory until stored.",
    "recovered": "Records stored that a process which ended had left in the spool; also among offered and stored.",
}
WAITING = {
    "waiting": "Records offered to this process and not yet stored.",
    "queue_length": "Entries in the queue of this process: records, labels and requests still to be read.",
}
SPOOL = {
    "bytes": "Bytes on disk in the spool, over all processes that use this folder.",
    "waiting": "Records and labels of this process that wait on disk alone.",
    "unreadable": "Entries of the spool that are damaged and cannot be stored.",
}


def process_metrics(stem: str, capture: Mapping[str, Any]) -> Iterator[Metric]:
    """The families of one process.

    Parameters
    ----------
    stem
        What every name begins with.
    capture
        ``Recorder.stats()`` over all models, with ``store_up``: whether the store answered.
    """
    for name, text in COUNTED.items():
        yield CounterMetricFamily(f"{stem}capture_{name}", text, value=capture.get(name, 0))
    yield from (_lost(stem, kind, capture.get(kind, {})) for kind in ("dropped", "rejected"))
    for name, text in WAITING.items():
        yield GaugeMetricFamily(f"{stem}capture_{name}", text, value=capture.get(name) or 0)
    for name, text in SPOOL.items():
        yield GaugeMetricFamily(f"{stem}capture_spool_{name}", text, value=(capture.get("spool") or {}).get(name, 0))
    yield GaugeMetricFamily(f"{stem}store_up", "1 while the store answers.", value=float(capture.get("store_up", 1)))
    last = GaugeMetricFamily(
        stem + "capture_last_success_timestamp_seconds", "When this process last stored records; absent before it has."
    )
    if at := capture.get("last_success"):
        last.add_metric((), datetime.fromisoformat(at).timestamp())
    yield last
    build = GaugeMetricFamily(stem + "build_info", "Version of Driftwell.", labels=("driftwell_version",))
    build.add_metric((__version__,), 1)
    yield build


def _lost(stem: str, kind: str, reasons: Mapping[str, int]) -> Metric:
    text = f"Records {kind} by this process since its start, by reason."
    made = CounterMetricFamily(f"{stem}capture_{kind}", text, labels=("reason",))
    for reason, count in sorted((dict.fromkeys(STARTING[kind], 0) | dict(reasons)).items()):
        made.add_metric((reason,), count)
    return made
