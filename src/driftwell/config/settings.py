"""The options of one monitored model, each stated once: name, type, default, meaning, other names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

from driftwell.config import values
from driftwell.config.table import Option, declared, read_value
from driftwell.errors import ConfigError, NotSupported, nearest

__all__ = ["NAMES", "OPTIONS", "UNAVAILABLE", "MonitorSettings", "canonical", "settings_from"]


MULTIVARIATE = ("mmd", "energy", "domain_classifier", "pca", "lsdd", "hotelling", "random_features", "portfolio")
"""The tests of whole rows by name; this layer knows no more of them."""


@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """How one model is watched. Made by ``settings_from``, so every value has its type and is in range."""

    enable_drift_detection: Annotated[bool, Option(values.BOOLEAN, "compare each window with the reference")] = True
    enable_performance_tracking: Annotated[
        bool, Option(values.BOOLEAN, "score the predictions whose labels are known")
    ] = True
    enable_prometheus: Annotated[bool, Option(values.BOOLEAN, "offer the metrics as Prometheus text")] = True
    metrics_prefix: Annotated[str, Option(values.PREFIX, "first word of every metric name; empty is allowed")] = (
        "driftwell"
    )

    drift_check_minutes: Annotated[float, Option(values.POSITIVE, "minutes between background drift checks")] = 30.0
    drift_check_interval_hours: Annotated[
        float | None,
        Option(
            values.POSITIVE,
            "hours between background drift checks; wins over drift_check_minutes "
            "(the service takes 2 when neither is set)",
            plain=("DRIFT_CHECK_INTERVAL_HOURS",),
        ),
    ] = None
    performance_check_minutes: Annotated[
        float,
        Option(
            values.POSITIVE,
            "accepted for existing deployments: performance is part of every check, at the drift interval",
        ),
    ] = 10.0
    check_every: Annotated[
        timedelta | None,
        Option(
            values.INTERVAL, "time between background checks of every kind, such as PT1H; wins over the settings above"
        ),
    ] = None

    method: Annotated[Any, Option(values.METHOD, "drift method: one, several, or one by column; by default psi")] = None
    threshold: Annotated[
        Any, Option(values.THRESHOLD, "threshold on the drift method's value; by default the method's own")
    ] = None
    drift_p_value: Annotated[
        float, Option(values.SHARE, "largest adjusted p-value at which a column counts as changed")
    ] = 0.05
    drift_threshold: Annotated[
        float | None,
        Option(values.SHARE, "a drift score (0 to 1) above this is drift too", plain=("DRIFT_THRESHOLD",)),
    ] = None
    drift_min_samples: Annotated[
        int,
        Option(
            values.COUNT,
            "fewest rows on either side for a drift verdict; below it the answer is no_data",
            aliases=("min_samples",),
            plain=("DRIFT_MIN_SAMPLES",),
        ),
    ] = 100
    multivariate: Annotated[
        str | None,
        Option(
            values.one_of(*MULTIVARIATE),
            "test of whole rows beside the columns: reads the newest rows of the window, as many as the method takes, "
            "and compares them with the rows that the reference keeps; by default none",
        ),
    ] = None
    drift_update_ref: Annotated[
        Mapping[str, Any] | None,
        Option(
            values.UPDATE,
            "let the reference follow the data after each check without drift: the last so many rows, or so many drawn "
            'from all; "when_drifted": true updates after drift too, "sigma" is the bandwidth of multivariate = "mmd"',
        ),
    ] = None
    kinds: Annotated[
        Mapping[str, str] | None, Option(values.KINDS, "kind of a column, where the reference does not say")
    ] = None
    feature_map: Annotated[
        Mapping[str, str] | None,
        Option(
            values.NAMES,
            "the reference's name of a feature, by the name under which it is recorded or given to check(data=…)",
        ),
    ] = None
    preprocess: Annotated[
        Callable[..., Any] | None,
        Option(
            values.PYTHON,
            "function applied to features before detection: to recorded ones as an Arrow table (features alone, in "
            "the background), to those given to check(data=…) as they are; returns a table with the same rows",
        ),
    ] = None
    quality: Annotated[
        Any,
        Option(
            values.QUALITY,
            "rules of data quality: false for none, or by column (* for all) limits in place of the learned ones, "
            'such as {"age": {"range": [0, 120]}, "*": {"freshness": "PT2H"}}',
        ),
    ] = None

    performance_window_size: Annotated[int, Option(values.COUNT, "labelled predictions in a performance window")] = 1000
    performance_threshold: Annotated[
        Any,
        Option(
            values.TOLERANCE,
            'how much worse than the baseline is degraded: relative, {"abs": x} for absolute, or by metric',
        ),
    ] = 0.05

    sample_rate: Annotated[
        float, Option(values.SHARE, "share of the predictions that is recorded", aliases=("sample",))
    ] = 1.0
    max_samples: Annotated[
        int,
        Option(values.COUNT, "newest records kept at hand for display", aliases=("recent_records",)),
    ] = 10_000
    queue_records: Annotated[
        int, Option(values.COUNT, "most records waiting to be stored; further ones are counted as lost", shared=True)
    ] = 100_000
    queue_bytes: Annotated[int, Option(values.SIZE, "most bytes waiting to be stored", shared=True)] = 256 * 1024**2
    flush_seconds: Annotated[
        float, Option(values.POSITIVE, "longest time a record waits before it is stored", shared=True)
    ] = 1.0
    collection_dir: Annotated[str, Option(values.PATH, "folder of the files that save_batch writes")] = (
        "data/production"
    )

    durability: Annotated[
        str,
        Option(
            values.one_of("queued", "journal"),
            "what a record survives from the call on: queued, nothing; journal, the death of the process (the service "
            "takes journal when it is not set)",
            shared=True,
        ),
    ] = "queued"
    journal_fsync: Annotated[
        bool,
        Option(values.BOOLEAN, "with journal: survive the death of the machine too, at a disk's speed", shared=True),
    ] = False
    spool_dir: Annotated[
        str | None,
        Option(
            values.PATH,
            "folder under which records wait for the store; by default beside a file store, else driftwell-spool",
            shared=True,
        ),
    ] = None
    spool_bytes: Annotated[
        int, Option(values.SIZE, "most bytes waiting in the spool; further records are counted as lost", shared=True)
    ] = 1024**3
    ledger: Annotated[
        str | None,
        Option(
            values.TEXT,
            "address of the database for references, verdicts and alerts (sqlite or postgresql); by default the store "
            "where it can be one, else sqlite:///driftwell-ledger.db",
            secret=True,
            shared=True,
        ),
    ] = field(default=None, repr=False)
    redact: Annotated[
        Mapping[str, Any] | None,
        Option(
            values.REDACT, "what is done to columns before anything is kept: drop, hash, bucket or truncate by column"
        ),
    ] = None
    redact_key: Annotated[str | None, Option(values.TEXT, "key of the hashes that redact makes", secret=True)] = field(
        default=None, repr=False
    )
    retention_hours: Annotated[
        float | None,
        Option(
            values.POSITIVE,
            "hours after their arrival that feature rows are kept; by default 24 on Redis and InfluxDB, else for ever",
            aliases=("feature_retention_hours",),
            plain=("FEATURE_RETENTION_HOURS",),
            shared=True,
        ),
    ] = None
    label_maturity: Annotated[
        timedelta,
        Option(
            values.INTERVAL,
            "how long labels may take: predictions stay at least so long where their feature rows are deleted",
            shared=True,
        ),
    ] = timedelta(days=30)
    history_retention: Annotated[
        timedelta | None,
        Option(values.INTERVAL, "how long profiles, verdicts and losses are kept; by default for ever", shared=True),
    ] = None
    max_store_bytes: Annotated[
        int | None, Option(values.SIZE, "size of the store of which driftwell doctor warns at 80 %", shared=True)
    ] = None

    alarm: Annotated[
        str, Option(values.one_of("per_check"), "what disturbs anyone: per_check, each check by itself")
    ] = "per_check"
    rules: Annotated[tuple[Any, ...] | None, Option(values.LIST, "alert rules; by default the built-in set")] = None
    channels: Annotated[tuple[Any, ...], Option(values.LIST, "where alerts go: log, webhook:https://…")] = field(
        default=("log",), repr=False
    )  # addresses may carry keys
    webhook_secret: Annotated[
        str | None,
        Option(
            values.TEXT,
            "key that signs webhooks: whsec_ and base64; several with spaces while one replaces another",
            secret=True,
        ),
    ] = field(default=None, repr=False)
    webhook_allow_private: Annotated[
        tuple[str, ...],
        Option(values.NETWORKS, "private or loopback networks webhooks may go to, such as 127.0.0.1/32"),
    ] = ()
    retraining: Annotated[
        tuple[Any, ...],
        Option(values.LIST, "Python functions (reason, details) that retrain, and at most one policy"),
    ] = ()
    retraining_callback: Annotated[
        Callable[..., Any] | None,
        Option(values.PYTHON, "one Python function (reason, details) that retrains"),
    ] = None

    @property
    def min_samples(self) -> int:
        """Another name of ``drift_min_samples``."""
        return self.drift_min_samples

    @property
    def recent_records(self) -> int:
        """Another name of ``max_samples``."""
        return self.max_samples

    @property
    def drift_interval(self) -> timedelta:
        """Time between background drift checks: ``check_every``, else the hours, else the minutes."""
        if self.check_every is not None:
            return self.check_every
        if self.drift_check_interval_hours is not None:
            return timedelta(hours=self.drift_check_interval_hours)
        return timedelta(minutes=self.drift_check_minutes)


OPTIONS = declared(MonitorSettings, "monitor")
NAMES = {alias: row.name for row in OPTIONS.values() for alias in (row.name, *row.aliases)}
"""Every accepted spelling of an option, with the name it stands for."""

UNAVAILABLE: dict[str, tuple[Any, ...]] = {"false_alarm_budget": ()}
"""Documented options that this version does not have, with the values that ask for nothing."""


def settings_from(options: Mapping[str, Any]) -> MonitorSettings:
    """Settings from options by name; None, and an option left out, mean the default.

    Raises ``ConfigError`` for an unknown name (naming the nearest), a value out of range, or one option under
    two names; ``NotSupported`` for an option that this version does not have.

    Examples
    --------
    >>> settings_from({"min_samples": 50, "check_every": "PT1H"}).drift_min_samples
    50
    """
    found: dict[str, Any] = {}
    for given, value in options.items():
        name = canonical(given, value)
        if name is None or value is None:
            continue
        if name in found:
            raise ConfigError(f"option {name!r} is given twice, once under another name: give it once")
        found[name] = read_value(OPTIONS[name], value)
    return MonitorSettings(**found)


def canonical(given: str, value: Any) -> str | None:
    """The option's name in the table; None when this version lacks it and ``value`` asks for nothing."""
    if given in UNAVAILABLE:
        if value is None or value in UNAVAILABLE[given]:
            return None
        raise NotSupported(f"option {given!r} is not available in this version of Driftwell: leave it out")
    if given not in NAMES:
        close = nearest(str(given), [*NAMES, *UNAVAILABLE])
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(NAMES))}"
        raise ConfigError(f"unknown option {given!r}; {hint}")
    if given == "alarm" and value == "budget":
        raise NotSupported("alarm='budget' is not available in this version of Driftwell: use 'per_check'")
    return NAMES[given]
