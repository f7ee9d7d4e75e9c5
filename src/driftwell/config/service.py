"""The configuration of the service: ``driftwell.toml``, environment variables, and which of them wins."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from driftwell.config import values
from driftwell.config.addresses import DEFAULT_STORE, PLAIN_VARIABLES, STORE_TYPES, kind_of, store_address
from driftwell.config.settings import NAMES, OPTIONS, UNAVAILABLE, MonitorSettings, canonical
from driftwell.config.table import Option, Setting, declared, read_value
from driftwell.errors import ConfigError, nearest

__all__ = ["SETTINGS", "Config", "ModelConfig", "environment_options", "environment_store", "load_config"]

SERVICE_INTERVAL_HOURS = 2.0
MODEL_KEYS = ("version", "reference")
INTERVALS = {"check_every", "drift_check_interval_hours", "drift_check_minutes"}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One ``[models.<name>]`` table: ``reference`` is a path with ``{version}`` already filled in."""

    name: str
    version: str | None = None
    reference: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything the service is told; ``notices`` say what was given but cannot be honoured."""

    store: Annotated[
        str,
        Option(
            values.TEXT,
            "address of the store; the variable without prefix that counts is the one of feature_store_type",
            plain=tuple(dict.fromkeys(PLAIN_VARIABLES.values())),
            secret=True,
        ),
    ] = field(default=DEFAULT_STORE, repr=False)
    feature_store_type: Annotated[
        str,
        Option(
            values.one_of(*STORE_TYPES),
            "type of the store: says whether DATABASE_URL, REDIS_URL or INFLUXDB_URL is its address",
            plain=("FEATURE_STORE_TYPE",),
        ),
    ] = "sqlite"
    slack_webhook_url: Annotated[
        str | None,
        Option(
            values.TEXT,
            "Slack address for alerts; not available yet",
            plain=("SLACK_WEBHOOK_URL",),
            secret=True,
        ),
    ] = field(default=None, repr=False)
    alert_emails: Annotated[
        tuple[str, ...],
        Option(values.LIST, "e-mail addresses for alerts; not available yet", plain=("ALERT_EMAILS",)),
    ] = ()
    host: Annotated[str, Option(values.TEXT, "address the service listens on")] = "127.0.0.1"
    port: Annotated[int, Option(values.PORT, "port the service listens on")] = 8765
    public_url: Annotated[
        str | None, Option(values.TEXT, "address under which people reach the pages, for links in alerts")
    ] = None
    token_file: Annotated[str | None, Option(values.PATH, "file with a token that has every scope")] = None
    metrics_public: Annotated[bool, Option(values.BOOLEAN, "answer /metrics without a token")] = False
    data_root: Annotated[str | None, Option(values.PATH, "folder under which check-drift may read data_dir")] = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def settings_for(self, model: str) -> MonitorSettings:
        """The options of one model: its own table, else the common ones, else the defaults."""
        own = self.models[model].options if model in self.models else {}
        given = {**self.options, **own}
        if not given.keys() & INTERVALS:
            given["drift_check_interval_hours"] = SERVICE_INTERVAL_HOURS
        # An answer 202 is a promise. Nothing in memory outlives the process, and there is no file to wait beside.
        if kind_of(self.store) != "memory" or "spool_dir" in given:
            given.setdefault("durability", "journal")
        return MonitorSettings(**given)


_SERVICE = declared(Config, "service")
SETTINGS: Mapping[str, Setting] = MappingProxyType({**_SERVICE, **OPTIONS})
"""Every setting by name: what drives the reading of the file and the environment, and the documentation."""

_PYTHON_ONLY = {name for name, row in OPTIONS.items() if row.kind is values.PYTHON} | {"retraining"}
_FILES = {f"{name}_file": name for name, row in SETTINGS.items() if row.secret}
_TOP_KEYS = {**NAMES, **_FILES, **{name: name for name in _SERVICE}}
_MODEL_KEYS = {**NAMES, **{key: name for key, name in _FILES.items() if name in OPTIONS}}
_MAY_BE_EMPTY = {row.env for row in SETTINGS.values() if row.kind is values.PREFIX}
_OTHER_VARIABLES = {"DRIFTWELL_CONFIG", "DRIFTWELL_TOKEN", "DRIFTWELL_DISABLED", "DRIFTWELL_DEBUG"}


def load_config(path: str | Path | None, environ: Mapping[str, str], *, store: str | None = None) -> Config:
    """The configuration from a file and the environment: ``DRIFTWELL_…`` > plain name > file > default.

    ``path`` None means the file that ``DRIFTWELL_CONFIG`` names, else ``driftwell.toml`` where there is one.
    Paths inside the file are relative to it. ``store`` is an address given in code, which wins. Raises
    ``ConfigError`` for a file that cannot be read, an unknown key (naming the nearest), a value out of range and an
    address of no store; ``NotSupported`` for an option that this version does not have.

    Examples
    --------
    >>> load_config(None, {"DRIFT_MIN_SAMPLES": "50"}).settings_for("flights").drift_min_samples
    50
    """
    named = path or environ.get("DRIFTWELL_CONFIG")
    file = Path(named or "driftwell.toml")
    document = _parse(file) if named or file.is_file() else {}
    models = document.pop("models", {})
    in_file, in_environment = _from_file(document, file.parent), _from_environment(environ, SETTINGS)
    found = in_file | in_environment
    foreign: list[str] = []
    if store is None:
        store, foreign = store_address(
            in_environment.get("store"), found.get("feature_store_type"), in_file.get("store"), environ, guess=True
        )
    service = {name: value for name, value in found.items() if name in _SERVICE} | {"store": store}
    return Config(
        **service,
        options=MappingProxyType({name: value for name, value in found.items() if name in OPTIONS}),
        models=MappingProxyType(_models(models, file.parent)),
        notices=(*foreign, *_not_honoured(service), *_unknown_variables(environ)),
    )


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read the configuration file {file}: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigError(f"{file} is not a TOML file in UTF-8: {exc}") from exc


def _from_file(table: Mapping[str, Any], folder: Path, *, where: str = "") -> dict[str, Any]:
    """The values of one table of the file, by the settings' own names."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = _name_of(key, value, where)
        if name is None:
            continue
        if name in _PYTHON_ONLY:
            raise ConfigError(f"{where}{key} takes a Python function: give it to Monitor, not to a file")
        if name in found:
            raise ConfigError(f"{where}{name} is given twice, once under another name: give it once")
        row = SETTINGS[name]
        given = _secret(folder / str(value), f"{where}{key}") if key in _FILES else value
        made = read_value(row, given, source=f"{where}{key}")
        found[name] = str(folder / made) if row.kind is values.PATH else made
    return found


def _name_of(key: str, value: Any, where: str) -> str | None:
    if key in NAMES or key in UNAVAILABLE:
        return canonical(key, value)
    allowed = _MODEL_KEYS if where else _TOP_KEYS
    if key not in allowed:
        known = sorted([*allowed, *(MODEL_KEYS if where else ["models"])])
        close = nearest(key, known)
        hint = f"did you mean {close}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown key {where}{key}; {hint}")
    return allowed[key]


def _from_environment(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """The values that variables set; an empty one counts as not set, unless the setting may be empty."""
    for name in UNAVAILABLE:
        canonical(name, environ.get(f"DRIFTWELL_{name.upper()}") or None)
    found: dict[str, Any] = {}
    for name in names:
        row = SETTINGS[name]
        plain = () if name == "store" else row.plain  # which of them counts is a matter of the store's type
        variable = next((v for v in (*_own_variables(row), *plain) if _is_set(v, environ)), None)
        if variable is None:
            continue
        if name in _PYTHON_ONLY:
            raise ConfigError(f"{variable} cannot be set: {name} takes a Python function, give it to Monitor")
        if name in OPTIONS:
            canonical(name, environ[variable])
        from_file = variable == f"{row.env}_FILE"
        text = _secret(Path(environ[variable]), variable) if from_file else environ[variable].strip()
        found[name] = read_value(row, text, source=variable)
    return found


def environment_options(environ: Mapping[str, str], given: Collection[str]) -> dict[str, Any]:
    """The options of a ``Monitor`` that variables set, but for those ``given`` in code, which win.

    The settings of the time between checks are one matter: one of them in code silences the variables of all.

    Examples
    --------
    >>> environment_options({"DRIFT_MIN_SAMPLES": "50", "DRIFTWELL_ALARM": "per_check"}, ["alarm"])
    {'drift_min_samples': 50}
    """
    own = {NAMES.get(name, name) for name in given}
    silent = own | (INTERVALS if own & INTERVALS else set())
    found = _from_environment(environ, [name for name in OPTIONS if name not in silent])
    return {name: value for name, value in found.items() if value is not None}


def _own_variables(row: Setting) -> list[str]:
    """The variables with the prefix that set ``row``, the strongest first."""
    own = [f"DRIFTWELL_{name.upper()}" for name in (row.name, *row.aliases)]
    return [*own, *([f"{row.env}_FILE"] if row.secret else [])]


def _is_set(variable: str, environ: Mapping[str, str]) -> bool:
    text = environ.get(variable, "").strip()
    if variable in _MAY_BE_EMPTY:
        return variable in environ
    # Kubernetes sets <SERVICE>_PORT=tcp://… in every pod beside a service called driftwell.
    return bool(text) and not (variable == "DRIFTWELL_PORT" and text.startswith("tcp://"))


def _secret(file: Path, source: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{source}: cannot read the file {file}") from exc


def environment_store(environ: Mapping[str, str]) -> str:
    """The address of the store of a ``Monitor`` that was given none.

    Raises ``ConfigError`` where variables contradict each other or say a type without an address.

    Examples
    --------
    >>> environment_store({"FEATURE_STORE_TYPE": "redis", "REDIS_URL": "redis://cache:6379/0"})
    'redis://cache:6379/0'
    """
    found = _from_environment(environ, ("store", "feature_store_type"))
    return store_address(found.get("store"), found.get("feature_store_type"), None, environ, guess=False)[0]


def _not_honoured(service: Mapping[str, Any]) -> list[str]:
    said = {
        "slack_webhook_url": "SLACK_WEBHOOK_URL is set, but Slack is not available in this version",
        "alert_emails": "ALERT_EMAILS is set, but e-mail is not available in this version",
    }
    return [sentence for name, sentence in said.items() if service.get(name)]


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = {variable for row in SETTINGS.values() for variable in _own_variables(row)} | _OTHER_VARIABLES
    known |= {f"DRIFTWELL_{name.upper()}" for name in UNAVAILABLE}
    notices = []
    for variable in sorted(environ):
        by_kubernetes = variable.startswith(("DRIFTWELL_SERVICE_", "DRIFTWELL_PORT_"))
        if variable.startswith("DRIFTWELL_") and variable not in known and not by_kubernetes:
            close = nearest(variable, known)
            hint = f"; did you mean {close}?" if close else ""
            notices.append(f"the variable {variable} is not a setting and does nothing{hint}")
    return notices


def _models(tables: Any, folder: Path) -> dict[str, ModelConfig]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError('models must be tables, such as [models.flights] with version = "v1"')
    return {name: _model(name, table, folder) for name, table in tables.items()}


def _model(name: str, table: Mapping[str, Any], folder: Path) -> ModelConfig:
    where = f"models.{name}."
    own = {key: table[key] for key in MODEL_KEYS if key in table}
    for key, value in own.items():
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}{key} must be text, got {value!r}")
    version, reference = own.get("version"), own.get("reference")
    if reference is not None and "{version}" in reference:
        if version is None:
            raise ConfigError(f"{where}reference contains {{version}}, but {where}version is not set")
        reference = reference.replace("{version}", version)
    options = _from_file({k: v for k, v in table.items() if k not in MODEL_KEYS}, folder, where=where)
    for shared in (option for option in options if SETTINGS[option].shared):
        raise ConfigError(f"{where}{shared} is one for all models: write it above the [models.…] tables")
    return ModelConfig(
        name=name,
        version=version,
        reference=None if reference is None else str(folder / reference),
        options=MappingProxyType(options),
    )
