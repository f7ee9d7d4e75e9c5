"""Prometheus text of what the monitor knows, read at the scrape from store and ledger.

Each scrape builds a registry of its own: any number of applications in one process export without clashes,
and no worker has to share files with another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from driftwell.errors import StoreError
from driftwell.monitor.process_metrics import process_metrics

if TYPE_CHECKING:
    from driftwell.monitor.runtime import Runtime

__all__ = ["ModelSample", "exposition", "metrics_text", "sample"]

TOP_FEATURES = 20
CUSTOM_DAYS = 30
DAY_US = 86_400_000_000
MODEL_LABELS = ("model", "version")


@dataclass(frozen=True, slots=True)
class ModelSample:
    """One model version at the moment of a scrape; ``check`` is its newest check as recorded."""

    model: str
    version: str
    predictions: int = 0
    feedback: int = 0
    monitoring: bool = False
    retrainings: int = 0
    check: Mapping[str, Any] | None = None
    capture: Mapping[str, Any] = field(default_factory=dict)
    alerts: Mapping[str, int] = field(default_factory=dict)
    custom: tuple[tuple[str, Mapping[str, str], float], ...] = ()


Values = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric name: its type, its labels beside model and version, and where its values come from."""

    suffix: str
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily]
    help: str
    read: Callable[[ModelSample], Values]
    labels: tuple[str, ...] = ()


def metrics_text(
    runtime: Runtime,
    models: Callable[[], Sequence[tuple[str, str]]],
    *,
    prefix: str = "driftwell",
    top_features: int = TOP_FEATURES,
    monitoring: bool | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """The metrics of model versions in Prometheus text format.

    While the store does not answer, those of the process alone, ``store_up`` 0 among them: what waits and what is lost
    matters most then.

    Parameters
    ----------
    models
        Gives the model versions; may raise ``StoreError``.
    prefix
        First part of every metric name; may be empty.
    top_features
        Most feature series of a model version; those that drifted most are kept, the number of the others is
        itself a metric.
    monitoring
        Whether background checks are running; None: as the runtime's schedule says.
    """
    now_us = round(clock() * 1_000_000)
    running = runtime.next_check is not None if monitoring is None else monitoring
    try:
        runtime.ledger.get_mark("")
        samples = [replace(sample(runtime, model, version, now_us), monitoring=running) for model, version in models()]
        is_up = True
    except StoreError:
        samples, is_up = [], False
    return exposition(samples, runtime.recorder.stats() | {"store_up": is_up}, prefix=prefix, top_features=top_features)


def sample(runtime: Runtime, model: str, version: str, now_us: int) -> ModelSample:
    """Read what one model version exports from store, ledger and recorder."""
    ledger = runtime.ledger
    totals = runtime.store.totals(model, version)
    checks = ledger.checks(model, version, limit=1)
    alerts: dict[str, int] = {}
    for alert in ledger.get_alerts(model):
        if alert["state"] == "firing" and alert.get("version") in (version, None):
            alerts[alert["severity"]] = alerts.get(alert["severity"], 0) + 1
    newest = {
        (point["name"], tuple(sorted(point["labels"].items()))): point["value"]
        for point in ledger.metrics(model, now_us - CUSTOM_DAYS * DAY_US, now_us + DAY_US)
    }
    return ModelSample(
        model,
        version,
        predictions=totals["predictions"],
        feedback=totals["labels"],
        retrainings=sum(run.get("version") in (version, None) for run in ledger.runs(model, limit=1_000_000)),
        check=checks[0] if checks else None,
        capture=runtime.recorder.stats(model, version),
        alerts=alerts,
        custom=tuple((name, dict(labels), value) for (name, labels), value in newest.items()),
    )


def exposition(
    samples: Sequence[ModelSample],
    capture: Mapping[str, Any],
    *,
    prefix: str = "driftwell",
    top_features: int = TOP_FEATURES,
) -> str:
    """Prometheus text of samples read before; ``capture`` are the recorder's numbers over all models."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(samples, capture, _stem(prefix), top_features))
    return generate_latest(registry).decode()


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps its collectors by identity
class _Collector:
    samples: Sequence[ModelSample]
    capture: Mapping[str, Any]
    stem: str
    top: int

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            yield self._filled(family)
        yield self._feature_scores()
        yield from self._custom()
        yield from self._latency()
        yield from process_metrics(self.stem, self.capture)

    def _filled(self, family: _Family) -> Metric:
        made = family.kind(self.stem + family.suffix, family.help, labels=(*MODEL_LABELS, *family.labels))
        for one in self.samples:
            for labels, value in family.read(one):
                if value is not None:
                    made.add_metric((one.model, one.version, *labels), value)
        return made

    def _feature_scores(self) -> Metric:
        text = "Drift score in 0 to 1 of the features that drifted most in the newest check."
        made = GaugeMetricFamily(self.stem + "feature_drift_score", text, labels=(*MODEL_LABELS, "feature"))
        for one in self.samples:
            for name, score in _ranked(one)[: self.top]:
                made.add_metric((one.model, one.version, name), score)
        return made

    def _custom(self) -> Iterator[Metric]:
        """A user's labels are the user's own, so this family has no fixed set of them."""
        made = GaugeMetricFamily(self.stem + "custom_metric", "Newest value of a metric of the user's own.")
        for one in self.samples:
            for name, labels, value in one.custom:
                own = {_label(key): str(text) for key, text in labels.items()}
                made.add_sample(made.name, {**own, "model": one.model, "name": name}, value)
        yield made
        dropped = GaugeMetricFamily(
            self.stem + "series_dropped",
            "Feature series left out of this scrape by the cap.",
            labels=MODEL_LABELS,
        )
        for one in self.samples:
            dropped.add_metric((one.model, one.version), max(0, len(_ranked(one)) - self.top))
        yield dropped

    def _latency(self) -> Iterator[Metric]:
        text = "Latency of the predictions that this process recorded."
        made = HistogramMetricFamily(self.stem + "prediction_latency_seconds", text, labels=MODEL_LABELS)
        for one in self.samples:
            found = one.capture.get("latency")
            if found:
                buckets = [(_bound(edge), count) for edge, count in found["buckets"]]
                made.add_metric((one.model, one.version), buckets=buckets, sum_value=found["sum"])
        yield made


# -- where each value comes from -----------------------------------------------------------------------------


def _realized(one: ModelSample) -> Mapping[str, Mapping[str, Any]]:
    performance = (one.check or {}).get("performance") or {}
    found: Mapping[str, Mapping[str, Any]] = performance.get("realized") or {}
    return found


def _metric(*names: str) -> Callable[[ModelSample], Values]:
    def read(one: ModelSample) -> Values:
        found = next((_realized(one)[name] for name in names if name in _realized(one)), {})
        return [((), found.get("value"))]

    return read


def _performance(one: ModelSample) -> Values:
    return [((name, "realized"), found.get("value")) for name, found in _realized(one).items()]


def _of_check(key: str) -> Callable[[ModelSample], Values]:
    def read(one: ModelSample) -> Values:
        value = (one.check or {}).get(key)
        return [((), None if value is None else float(value))]

    return read


def _quality(count: Callable[[Mapping[str, Any]], int]) -> Callable[[ModelSample], Values]:
    """A number of the newest check's quality; absent where no quality was judged."""

    def read(one: ModelSample) -> Values:
        found = (one.check or {}).get("quality") or {}
        return [((), float(count(found)) if found.get("status", "no_data") != "no_data" else None)]

    return read


def _together(one: ModelSample) -> Mapping[str, Any] | None:
    """The test of whole rows of the newest check; None where none was asked for or it could not judge."""
    found: Mapping[str, Any] = ((one.check or {}).get("drift") or {}).get("multivariate") or {}
    return found if found.get("p_value") is not None else None


def _drift_distance(one: ModelSample) -> Values:
    if (together := _together(one)) is not None:
        return [((), together["statistic"])]
    return [((), (one.check or {}).get("max_drift_score"))]


def _drift_p_value(one: ModelSample) -> Values:
    if (together := _together(one)) is not None:
        return [((), together["p_value"])]
    columns = ((one.check or {}).get("drift") or {}).get("columns") or {}
    sound = [column for column in columns.values() if column.get("status") != "broken"]
    known = [column["p_adjusted"] for column in sound if column.get("p_adjusted") is not None]
    return [((), min(known, default=None))]


def _last_success(one: ModelSample) -> Values:
    if one.check is None or one.check["status"] == "error":
        return []
    return [((), datetime.fromisoformat(one.check["timestamp"]).timestamp())]


def _alerts(one: ModelSample) -> Values:
    return [((severity,), float(one.alerts.get(severity, 0))) for severity in ("info", "warning", "critical")]


def _ranked(one: ModelSample) -> list[tuple[str, float]]:
    scores = ((one.check or {}).get("drift") or {}).get("scores") or {}
    known = [(name, score) for name, score in scores.items() if score is not None]
    return sorted(known, key=lambda item: (-item[1], item[0]))


FAMILIES = (
    _Family("precision", GaugeMetricFamily, "Realized precision in the newest check.", _metric("precision")),
    _Family("recall", GaugeMetricFamily, "Realized recall in the newest check.", _metric("recall")),
    _Family("accuracy", GaugeMetricFamily, "Realized accuracy in the newest check.", _metric("accuracy")),
    _Family("f1_score", GaugeMetricFamily, "Realized F1 in the newest check.", _metric("f1", "f1_score")),
    _Family(
        "performance_score",
        GaugeMetricFamily,
        "Every performance metric of the newest check.",
        _performance,
        ("metric", "kind"),
    ),
    _Family(
        "drift_detected",
        GaugeMetricFamily,
        "1 when the newest check found drift.",
        _of_check("drift_detected"),
    ),
    _Family(
        "drift_p_value",
        GaugeMetricFamily,
        "P-value of the multivariate test of the newest check; without one, the smallest adjusted p-value.",
        _drift_p_value,
    ),
    _Family(
        "drift_distance",
        GaugeMetricFamily,
        "Statistic of the multivariate test of the newest check; without one, the largest drift score.",
        _drift_distance,
    ),
    _Family(
        "performance_degraded",
        GaugeMetricFamily,
        "1 when the newest check found performance worse than the baseline.",
        _of_check("performance_degraded"),
    ),
    _Family(
        "quality_failed",
        GaugeMetricFamily,
        "Rules of data quality that failed in the newest check.",
        _quality(lambda found: found["n_failed"]),
    ),
    _Family(
        "broken_columns",
        GaugeMetricFamily,
        "Columns that the newest check found broken.",
        _quality(lambda found: len(found["broken"])),
    ),
    _Family(
        "monitoring_status",
        GaugeMetricFamily,
        "1 while background checks run.",
        lambda s: [((), float(s.monitoring))],
    ),
    _Family(
        "monitor_last_success_timestamp_seconds",
        GaugeMetricFamily,
        "When the newest check that did not fail was made.",
        _last_success,
    ),
    _Family(
        "monitor_run_duration_seconds",
        GaugeMetricFamily,
        "How long the newest check took.",
        _of_check("duration_seconds"),
    ),
    _Family(
        "capture_coverage_ratio",
        GaugeMetricFamily,
        "Stored of offered predictions in the hours of the newest check, over all processes.",
        _of_check("coverage"),
    ),
    _Family("alerts_firing", GaugeMetricFamily, "Alerts that fire now.", _alerts, ("severity",)),
    _Family("predictions", CounterMetricFamily, "Predictions stored.", lambda s: [((), float(s.predictions))]),
    _Family("feedback", CounterMetricFamily, "Predictions with a label.", lambda s: [((), float(s.feedback))]),
    _Family(
        "retraining_triggered",
        CounterMetricFamily,
        "Retraining runs.",
        lambda s: [((), float(s.retrainings))],
    ),
)


def _stem(prefix: str) -> str:
    """The prefix as the start of a metric name: characters Prometheus does not know become underscores.

    Examples
    --------
    >>> _stem("fraud-model"), _stem(""), _stem("2nd")
    ('fraud_model_', '', '_2nd_')
    """
    if not prefix:
        return ""
    text = re.sub(r"[^a-zA-Z0-9_]", "_", prefix)
    return f"{'_' if text[0].isdigit() else ''}{text}_"


def _label(name: str) -> str:
    """A user's label name as Prometheus takes it, apart from our own names."""
    text = re.sub(r"[^a-zA-Z0-9_]", "_", name) or "_"
    return f"label_{text}" if text[0].isdigit() or text.startswith("__") or text in ("model", "name") else text


def _bound(edge: float | None) -> str:
    return "+Inf" if edge is None else repr(float(edge))
