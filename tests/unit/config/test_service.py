"""driftwell.toml and the environment: what is read, what wins, what is refused."""

from datetime import timedelta

import pytest

from driftwell.config import environment_store, load_config
from driftwell.errors import ConfigError, NotSupported


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def make(text, name="driftwell.toml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return make


def test_without_file_or_variables_all_is_default():
    config = load_config(None, {})
    assert (config.store, config.host, config.port) == ("sqlite:///driftwell.db", "127.0.0.1", 8765)
    assert config.notices == ()
    assert config.models == {}
    assert not config.metrics_public


def test_a_file_in_the_folder_is_found(write):
    write("port = 9000")
    assert load_config(None, {}).port == 9000


def test_a_variable_names_the_file(write, tmp_path):
    write("port = 9001", "other.toml")
    assert load_config(None, {"DRIFTWELL_CONFIG": str(tmp_path / "other.toml")}).port == 9001


def test_prefixed_beats_plain_beats_file_beats_default(write):
    file = write("drift_min_samples = 10")
    plain = {"DRIFT_MIN_SAMPLES": "20"}
    both = {**plain, "DRIFTWELL_DRIFT_MIN_SAMPLES": "30"}
    asked = [load_config(path, env) for path, env in ((None, {}), (file, {}), (file, plain), (file, both))]
    file.unlink()
    assert load_config(None, {}).settings_for("m").drift_min_samples == 100
    assert [config.settings_for("m").drift_min_samples for config in asked] == [10, 10, 20, 30]


def test_an_alias_is_a_variable_too():
    assert load_config(None, {"DRIFTWELL_MIN_SAMPLES": "5"}).settings_for("m").drift_min_samples == 5


def test_the_plain_names_are_honoured():
    env = {"DRIFT_THRESHOLD": "0.3", "DRIFT_CHECK_INTERVAL_HOURS": "6", "FEATURE_STORE_TYPE": "sqlite"}
    made = load_config(None, env).settings_for("m")
    assert made.drift_threshold == 0.3
    assert made.drift_interval == timedelta(hours=6)


def test_the_service_checks_every_two_hours_unless_told(write):
    assert load_config(None, {}).settings_for("m").drift_interval == timedelta(hours=2)
    file = write("drift_check_minutes = 15")
    assert load_config(file, {}).settings_for("m").drift_interval == timedelta(minutes=15)


def test_an_empty_variable_is_not_set():
    assert load_config(None, {"DRIFTWELL_PORT": " ", "SLACK_WEBHOOK_URL": ""}).notices == ()


def test_an_empty_prefix_is_set():
    assert load_config(None, {"DRIFTWELL_METRICS_PREFIX": ""}).settings_for("m").metrics_prefix == ""
    assert load_config(None, {}).settings_for("m").metrics_prefix == "driftwell"


def test_tables_and_lists_come_as_json_or_commas():
    env = {
        "DRIFTWELL_PERFORMANCE_THRESHOLD": '{"abs": 0.05}',
        "DRIFTWELL_CHANNELS": "log, webhook:https://h.example/x",
        "DRIFTWELL_ENABLE_PROMETHEUS": "off",
    }
    made = load_config(None, env).settings_for("m")
    assert made.performance_threshold == {"abs": 0.05}
    assert made.channels == ("log", "webhook:https://h.example/x")
    assert made.enable_prometheus is False


def test_a_model_has_its_own_version_reference_and_options(write, tmp_path):
    file = write(
        """
        drift_min_samples = 50
        [models.flights]
        version = "v1"
        reference = "model_artifacts/{version}/reference_distribution.json"
        min_samples = 200
        [models.other]
        """
    )
    config = load_config(file, {})
    flights = config.models["flights"]
    assert flights.version == "v1"
    assert flights.reference == str(tmp_path / "model_artifacts/v1/reference_distribution.json")
    assert config.settings_for("flights").drift_min_samples == 200
    assert config.settings_for("other").drift_min_samples == 50
    assert config.settings_for("never heard of").drift_min_samples == 50


def test_paths_in_the_file_are_relative_to_it(write, tmp_path):
    file = write('token_file = "token"\ncollection_dir = "/abs/data"')
    config = load_config(file, {"DRIFTWELL_DATA_ROOT": "data"})
    assert config.token_file == str(tmp_path / "token")
    assert config.settings_for("m").collection_dir == "/abs/data"
    assert config.data_root == "data"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "unknown key prot; did you mean port"),
        ("drift_treshold = 1", "did you mean 'drift_threshold'|did you mean drift_threshold"),
        ("[models.m]\nversoin = 'v1'", "unknown key models.m.versoin; did you mean version"),
        ("[models.m]\nport = 1", "unknown key models.m.port"),
        ("[models.m]\nversion = 1", "models.m.version must be text"),
        ("[models.m]\nreference = 'a/{version}.json'", "models.m.version is not set"),
        ("[models.m]\nmin_samples = 'few'", "models.m.min_samples must be whole number"),
        ("models = 3", "models must be tables"),
        ("port = 70000", "port must be port, 0 to 65535"),
        ("retraining_callback = 'a.b'", "retraining_callback takes a Python function"),
        ("sample = 1\nsample_rate = 1", "given twice"),
        ("port = ", "not a TOML file"),
        ("webhook_secret_file = 'nowhere'", "webhook_secret_file: cannot read the file"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_error(write, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(text), {})


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load_config(tmp_path / "none.toml", {})


def test_a_file_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "latin.toml").write_bytes('host = "\xe4"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.toml", {})


@pytest.mark.parametrize("source", ['false_alarm_budget = "P90D"', 'alarm = "budget"'])
def test_what_is_not_built_is_refused_in_the_file(write, source):
    with pytest.raises(NotSupported, match="not available in this version"):
        load_config(write(source), {})


@pytest.mark.parametrize("env", [{"DRIFTWELL_FALSE_ALARM_BUDGET": "1000"}, {"DRIFTWELL_ALARM": "budget"}])
def test_what_is_not_built_is_refused_in_the_environment(env):
    with pytest.raises(NotSupported, match="not available in this version"):
        load_config(None, env)


def test_a_bad_variable_is_named():
    with pytest.raises(ConfigError, match=r"^DRIFT_MIN_SAMPLES must be whole number"):
        load_config(None, {"DRIFT_MIN_SAMPLES": "many"})
    with pytest.raises(ConfigError, match="DRIFTWELL_PREPROCESS cannot be set"):
        load_config(None, {"DRIFTWELL_PREPROCESS": "x"})


def test_the_address_of_the_store_has_an_order(write):
    file = write('store = "sqlite:///file.db"')
    env = {"DATABASE_URL": "sqlite:///plain.db"}
    assert load_config(file, {}).store == "sqlite:///file.db"
    assert load_config(file, env).store == "sqlite:///plain.db"
    assert load_config(file, {**env, "DRIFTWELL_STORE": "sqlite:///own.db"}).store == "sqlite:///own.db"


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"FEATURE_STORE_TYPE": "postgresql", "DATABASE_URL": "postgres://u@db/x"}, "postgresql://u@db/x"),
        (
            {"FEATURE_STORE_TYPE": "postgresql", "DATABASE_URL": "postgresql+psycopg://u@db/x"},
            "postgresql://u@db/x",
        ),
        (
            {"FEATURE_STORE_TYPE": "redis", "REDIS_URL": "rediss://r/1", "DATABASE_URL": "sqlite:///a.db"},
            "rediss://r/1",
        ),
        ({"FEATURE_STORE_TYPE": "influxdb", "INFLUXDB_URL": "http://i:8086/m"}, "influxdb://i:8086/m"),
        ({"FEATURE_STORE_TYPE": "influxdb", "INFLUXDB_URL": "https://i:8086/m"}, "influxdb+https://i:8086/m"),
        ({"FEATURE_STORE_TYPE": "redis", "REDIS_URL": "redis://r", "DRIFTWELL_STORE": "redis://own"}, "redis://own"),
        ({"DATABASE_URL": "postgresql://u@db/x"}, "postgresql://u@db/x"),
        ({"DRIFTWELL_FEATURE_STORE_TYPE": "sqlite", "FEATURE_STORE_TYPE": "redis"}, "sqlite:///driftwell.db"),
    ],
)
def test_the_type_of_the_store_says_which_variable_is_its_address(env, address):
    assert load_config(None, env).store == address


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"FEATURE_STORE_TYPE": "postgresql"}, "set DRIFTWELL_STORE or DATABASE_URL"),
        ({"FEATURE_STORE_TYPE": "redis", "DATABASE_URL": "sqlite:///x.db"}, "set DRIFTWELL_STORE or REDIS_URL"),
        ({"FEATURE_STORE_TYPE": "influxdb"}, "set DRIFTWELL_STORE or INFLUXDB_URL"),
        (
            {"FEATURE_STORE_TYPE": "postgresql", "DATABASE_URL": "mysql://u:hunter2@db/x"},
            "DATABASE_URL is not the address of a store of type postgresql",
        ),
        (
            {"FEATURE_STORE_TYPE": "redis", "DRIFTWELL_STORE": "sqlite:///x.db"},
            "a sqlite store, but FEATURE_STORE_TYPE says redis",
        ),
        ({"DRIFTWELL_STORE": "hunter2.db"}, "DRIFTWELL_STORE is not the address of a store"),
        ({"DRIFTWELL_STORE": "mysql://u:hunter2@db/x"}, "DRIFTWELL_STORE is not the address of a store"),
    ],
)
def test_a_store_without_an_address_is_one_clear_error(env, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(None, env)
    assert "hunter2" not in str(caught.value)


def test_the_plain_variable_of_the_type_beats_the_file_and_the_code_beats_all(write):
    file = write('feature_store_type = "redis"\nstore = "redis://file"')
    assert load_config(file, {}).store == "redis://file"
    assert load_config(file, {"REDIS_URL": "redis://plain"}).store == "redis://plain"
    assert load_config(file, {"REDIS_URL": "redis://plain"}, store="sqlite:///code.db").store == "sqlite:///code.db"


def test_the_address_of_the_store_may_be_a_secret_file_and_is_never_shown(tmp_path):
    (tmp_path / "url").write_text("postgresql://u:hunter2@db/x\n", encoding="utf-8")
    config = load_config(None, {"DRIFTWELL_STORE_FILE": str(tmp_path / "url")})
    assert config.store == "postgresql://u:hunter2@db/x"
    assert "hunter2" not in repr(config) + "".join(config.notices)


def test_a_database_that_is_no_store_is_left_alone_and_said():
    config = load_config(None, {"DATABASE_URL": "mysql://u:hunter2@db/x"})
    assert config.store == "sqlite:///driftwell.db"
    assert config.notices == ("DATABASE_URL is not the address of a store: it is not used",)


@pytest.mark.parametrize(
    ("env", "store"),
    [
        ({"REDIS_URL": "redis://:hunter2@cache/0"}, "redis://:hunter2@cache/0"),
        ({"INFLUXDB_URL": "https://u:hunter2@series:8086/db"}, "influxdb+https://u:hunter2@series:8086/db"),
        ({"REDIS_URL": "redis://:hunter2@cache/0", "DATABASE_URL": "mysql://db/x"}, "redis://:hunter2@cache/0"),
    ],
)
def test_a_service_takes_the_only_address_there_is_and_says_so(env, store):
    config = load_config(None, env)
    assert config.store == store
    variable = next(iter(env))
    assert config.notices[-1] == (
        f"the store is the one of {variable}: set FEATURE_STORE_TYPE or DRIFTWELL_STORE to say so"
    )
    assert "hunter2" not in "".join(config.notices)


def test_of_two_addresses_somebody_must_say_which(write):
    env = {"DATABASE_URL": "postgresql://u:hunter2@db/x", "REDIS_URL": "redis://:hunter2@cache/0"}
    with pytest.raises(ConfigError, match=r"DATABASE_URL and REDIS_URL are set.*set FEATURE_STORE_TYPE") as caught:
        load_config(None, env)
    assert "hunter2" not in str(caught.value)
    assert load_config(None, env | {"FEATURE_STORE_TYPE": "redis"}).store == env["REDIS_URL"]
    assert load_config(None, env | {"DRIFTWELL_STORE": "redis://own"}).store == "redis://own"
    config = load_config(write('store = "sqlite:///file.db"'), env)
    assert config.store == "sqlite:///file.db"
    (notice,) = config.notices
    assert "it is the one of the settings file" in notice


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({}, "sqlite:///driftwell.db"),
        ({"REDIS_URL": "redis://app/theirs"}, "sqlite:///driftwell.db"),
        ({"REDIS_URL": "redis://app/0", "DATABASE_URL": "postgresql://app/theirs"}, "sqlite:///driftwell.db"),
        ({"DATABASE_URL": "postgresql://app/theirs"}, "sqlite:///driftwell.db"),
        ({"FEATURE_STORE_TYPE": "postgresql", "DATABASE_URL": "postgresql://app/ours"}, "postgresql://app/ours"),
        ({"DRIFTWELL_STORE": "redis://own", "DATABASE_URL": "postgresql://app/theirs"}, "redis://own"),
    ],
)
def test_a_monitor_takes_the_database_of_its_application_only_when_told(env, address):
    assert environment_store(env) == address


def test_a_service_keeps_its_promise_and_a_memory_store_makes_none(write):
    assert load_config(None, {}).settings_for("m").durability == "journal"
    assert load_config(None, {"DRIFTWELL_DURABILITY": "queued"}).settings_for("m").durability == "queued"
    assert load_config(None, {}, store="memory://").settings_for("m").durability == "queued"


def test_what_is_one_for_all_models_is_refused_in_the_table_of_one(write):
    with pytest.raises(ConfigError, match=r"models\.m\.retention_hours is one for all models"):
        load_config(write("[models.m]\nretention_hours = 24"), {})
    assert load_config(write('[models.m]\nredact = {email = "drop"}'), {}).settings_for("m").redact == {"email": "drop"}


def test_anothers_database_is_left_alone_when_the_type_is_said(write):
    file = write('store = "sqlite:///file.db"')
    config = load_config(file, {"FEATURE_STORE_TYPE": "sqlite", "DATABASE_URL": "postgresql://u:hunter2@db/x"})
    assert config.store == "sqlite:///file.db"
    assert len(config.notices) == 1
    assert "DATABASE_URL" in config.notices[0]
    assert "hunter2" not in config.notices[0]


def test_what_is_accepted_but_not_built_is_said():
    env = {
        "SLACK_WEBHOOK_URL": "https://s.example/k",
        "ALERT_EMAILS": "a@x, b@x",
    }
    config = load_config(None, env)
    assert [notice.split()[0] for notice in config.notices] == [
        "SLACK_WEBHOOK_URL",
        "ALERT_EMAILS",
    ]
    assert config.alert_emails == ("a@x", "b@x")
    assert "s.example/k" not in "".join(config.notices) + repr(config)


def test_retention_has_a_plain_name_and_two_of_ours():
    for name in ("FEATURE_RETENTION_HOURS", "DRIFTWELL_RETENTION_HOURS", "DRIFTWELL_FEATURE_RETENTION_HOURS"):
        assert load_config(None, {name: "24"}).settings_for("m").retention_hours == 24
    assert load_config(None, {}).settings_for("m").retention_hours is None


def test_an_unknown_variable_is_said_with_the_nearest():
    config = load_config(None, {"DRIFTWELL_PROT": "1", "DRIFTWELL_TOKEN": "x", "OTHER": "1"})
    assert config.notices == (
        "the variable DRIFTWELL_PROT is not a setting and does nothing; did you mean DRIFTWELL_PORT?",
    )


def test_the_variables_of_kubernetes_are_not_ours():
    # A Kubernetes service called driftwell puts these into every pod of its namespace.
    env = {
        "DRIFTWELL_PORT": "tcp://10.0.0.9:8765",
        "DRIFTWELL_PORT_8765_TCP": "tcp://10.0.0.9:8765",
        "DRIFTWELL_SERVICE_HOST": "10.0.0.9",
    }
    config = load_config(None, env)
    assert (config.port, config.notices) == (8765, ())


def test_a_secret_comes_from_a_file_and_is_never_shown(write, tmp_path):
    (tmp_path / "secret").write_text("whsec_hush\n", encoding="utf-8")
    in_file = load_config(write('webhook_secret_file = "secret"'), {})
    in_env = load_config(None, {"DRIFTWELL_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")})
    for config in (in_file, in_env):
        assert config.settings_for("m").webhook_secret == "whsec_hush"
        assert "hush" not in repr(config) + repr(config.settings_for("m"))
