"""Monitor options: names, types, defaults, and what is refused."""

from datetime import timedelta

import pytest

from driftwell.config import SETTINGS, UNAVAILABLE, MonitorSettings, format_duration, settings_from
from driftwell.config.settings import OPTIONS
from driftwell.errors import ConfigError, NotSupported


def test_defaults_are_those_of_the_contract():
    # The numbers of the configuration contract: window 1000, threshold .05, p .05, 30 and 10 minutes,
    # 100 samples, 10,000 in memory, 100,000 queued, 256 MiB, 1 s.
    made = settings_from({})
    assert made == MonitorSettings()
    assert (made.performance_window_size, made.performance_threshold, made.drift_p_value) == (
        1000,
        0.05,
        0.05,
    )
    assert (made.drift_check_minutes, made.performance_check_minutes) == (30, 10)
    assert (made.drift_min_samples, made.max_samples, made.queue_records) == (100, 10_000, 100_000)
    assert (made.queue_bytes, made.flush_seconds, made.sample_rate) == (268_435_456, 1.0, 1.0)
    assert (made.metrics_prefix, made.collection_dir, made.channels) == (
        "driftwell",
        "data/production",
        ("log",),
    )
    assert made.enable_drift_detection
    assert made.enable_performance_tracking
    assert made.enable_prometheus
    assert (made.alarm, made.drift_threshold, made.rules) == ("per_check", None, None)
    assert (made.durability, made.journal_fsync, made.spool_bytes) == ("queued", False, 2**30)
    assert (made.retention_hours, made.label_maturity, made.history_retention) == (None, timedelta(days=30), None)


def test_aliases_mean_the_same_option():
    made = settings_from({"min_samples": 50, "sample": 0.5, "recent_records": 7})
    assert (made.drift_min_samples, made.sample_rate, made.max_samples) == (50, 0.5, 7)
    assert (made.min_samples, made.recent_records) == (50, 7)


def test_none_means_the_default():
    assert settings_from({"performance_window_size": None, "redact": None}) == MonitorSettings()


def test_values_get_their_types():
    made = settings_from({"queue_bytes": "1MiB", "check_every": "PT1H", "kinds": {"a": "categorical"}})
    assert (made.queue_bytes, made.check_every, made.kinds) == (
        2**20,
        timedelta(hours=1),
        {"a": "categorical"},
    )


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ConfigError, match="'drift_pvalue'; did you mean 'drift_p_value'"):
        settings_from({"drift_pvalue": 0.1})


def test_an_option_like_nothing_lists_the_known_ones():
    with pytest.raises(ConfigError, match="known: alarm, channels"):
        settings_from({"qqq": 1})


def test_one_option_under_two_names_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        settings_from({"sample": 0.5, "sample_rate": 0.6})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("performance_window_size", 0),
        ("performance_window_size", 1.5),
        ("performance_window_size", True),
        ("drift_p_value", 1.5),
        ("drift_p_value", float("nan")),
        ("flush_seconds", 0),
        ("sample_rate", "lots"),
        ("enable_prometheus", "maybe"),
        ("queue_bytes", "big"),
        ("check_every", "1h"),
        ("check_every", "PT0S"),
        ("kinds", {"a": "image"}),
        ("kinds", 5),
        ("preprocess", "module:function"),
        ("metrics_prefix", "drift-well"),
        ("webhook_allow_private", ["10.0.0.1/8"]),
        ("alarm", "never"),
        ("channels", 5),
        ("threshold", {"psi": "high"}),
        ("performance_threshold", {"abs": -1}),
    ],
)
def test_a_bad_value_names_its_option(name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        settings_from({name: value})


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_value_that_cannot_be_shown_names_its_option_too(name):
    class Unsayable:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(ConfigError, match=f"^{name} must be "):
        settings_from({name: Unsayable()})


@pytest.mark.parametrize("name", sorted(UNAVAILABLE))
def test_what_is_not_built_is_never_ignored(name):
    with pytest.raises(NotSupported, match=f"'{name}' is not available in this version"):
        settings_from({name: "journal"})


def test_the_budgeted_alarm_is_not_available():
    with pytest.raises(NotSupported, match="per_check"):
        settings_from({"alarm": "budget"})


def test_the_interval_that_is_said_most_plainly_wins():
    assert settings_from({}).drift_interval == timedelta(minutes=30)
    assert settings_from({"drift_check_interval_hours": 2}).drift_interval == timedelta(hours=2)
    both = settings_from({"drift_check_interval_hours": 2, "check_every": "PT5M"})
    assert both.drift_interval == timedelta(minutes=5)


def test_settings_show_no_secret():
    made = settings_from({"webhook_secret": "whsec_hush", "channels": ["webhook:https://h.example/key"]})
    assert "hush" not in repr(made)
    assert "/key" not in repr(made)


def test_keys_and_addresses_are_not_shown():
    made = settings_from({"redact_key": "hunter2hunter2", "ledger": "postgresql://u:hunter2@db/x"})
    assert "hunter2" not in repr(made)


def test_a_bad_secret_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        settings_from({"webhook_secret": 12345})
    assert "12345" not in str(caught.value)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        settings_from({}).sample_rate = 0.5


@pytest.mark.parametrize("row", SETTINGS.values(), ids=lambda row: row.name)
def test_each_setting_documents_itself(row):
    assert row.meaning
    assert row.type
    assert row.env == f"DRIFTWELL_{row.name.upper()}"
    if row.default is not None and row.default != ():
        # Read from its own text, as from an environment variable, a default is itself.
        text = ",".join(row.default) if isinstance(row.default, tuple) else str(row.default)
        text = format_duration(row.default) if isinstance(row.default, timedelta) else text
        assert row.kind.read(text) == row.default
