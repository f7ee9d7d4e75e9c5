"""Where the store is: addresses, the variables that name one, and what an address says without opening it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from driftwell.errors import ConfigError

__all__ = [
    "DEFAULT_LEDGER",
    "DEFAULT_STORE",
    "PLAIN_VARIABLES",
    "STORE_TYPES",
    "default_retention_hours",
    "file_of",
    "is_remote",
    "kind_of",
    "normal_address",
    "store_address",
    "without_secrets",
]

STORE_TYPES = ("sqlite", "postgresql", "redis", "influxdb")
DEFAULT_STORE = "sqlite:///driftwell.db"
DEFAULT_LEDGER = "sqlite:///driftwell-ledger.db"
PLAIN_VARIABLES = {
    "sqlite": "DATABASE_URL",
    "postgresql": "DATABASE_URL",
    "redis": "REDIS_URL",
    "influxdb": "INFLUXDB_URL",
}
"""Variables of running deployments that hold the address of a store of each type."""

BOUNDED_HOURS = 24.0
"""Retention of the stores that keep everything in memory or by time, where none is set."""

_KINDS = {
    "sqlite": "sqlite",
    "memory": "memory",
    "postgresql": "postgresql",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "influxdb": "influxdb",
    "influxdb+https": "influxdb",
}
_EXAMPLES = f"{DEFAULT_STORE}, postgresql://user@host/database, redis://host:6379/0 or influxdb://host:8086/database"
_OTHER_SPELLINGS = re.compile(r"(postgres|postgresql|sqlite)(\+[a-z0-9]+)?://", re.IGNORECASE)


def normal_address(url: str) -> str:
    """The address as stores know it: ``postgres://`` and the ``dialect+driver://`` of SQLAlchemy become plain.

    Examples
    --------
    >>> normal_address("postgresql+psycopg://db/models"), normal_address("sqlite+pysqlite:///x.db")
    ('postgresql://db/models', 'sqlite:///x.db')
    """
    found = _OTHER_SPELLINGS.match(url)
    if found is None:
        return url
    scheme = "sqlite" if found[1].lower() == "sqlite" else "postgresql"
    return f"{scheme}://{url[found.end() :]}"


def kind_of(url: str) -> str | None:
    """The type of store an address names, ``memory`` included; None when it names none."""
    scheme, sign, _ = normal_address(url).partition("://")
    return _KINDS.get(scheme) if sign else None


def is_remote(url: str) -> bool:
    """Whether a server keeps the store."""
    return kind_of(url) in ("postgresql", "redis", "influxdb")


def file_of(url: str) -> str | None:
    """The path of a store that is a file, else None."""
    return normal_address(url).removeprefix("sqlite:///") if kind_of(url) == "sqlite" else None


def default_retention_hours(url: str) -> float | None:
    """Hours that feature rows are kept where no retention is set; None: for ever.

    Examples
    --------
    >>> default_retention_hours("redis://cache"), default_retention_hours("sqlite:///driftwell.db")
    (24.0, None)
    """
    return BOUNDED_HOURS if kind_of(url) in ("redis", "influxdb") else None


def without_secrets(url: str) -> str:
    """The address without user, password and options, fit for a log line.

    Examples
    --------
    >>> without_secrets("postgresql://me:secret@db:5432/models?password=x")
    'postgresql://db:5432/models'
    """
    if not is_remote(url):
        return normal_address(url)
    parts = urlsplit(normal_address(url))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def store_address(
    own: str | None, kind: str | None, in_file: str | None, environ: Mapping[str, str], *, guess: bool
) -> tuple[str, list[str]]:
    """The address of the store, and sentences about what was set and is not used.

    Parameters
    ----------
    own
        What ``DRIFTWELL_STORE`` says; it wins.
    kind
        What ``FEATURE_STORE_TYPE`` says: the variable of that type (``PLAIN_VARIABLES``) comes next.
    in_file
        ``store`` of the file; then the default, which only a store of type sqlite has.
    guess
        Without a type, take the one of the plain variables that is the address of a store: right for the service,
        wrong inside an application, whose own database that is.

    Raises ``ConfigError``, without any part of an address that could be secret.
    """
    if own is not None:
        return _checked(own, kind, "DRIFTWELL_STORE"), []
    if kind is not None:
        found, notices = _of_type(kind, environ)
    else:
        found, notices = _guessed(environ, in_file) if guess else (None, [])
    if found is not None:
        return normal_address(found), notices
    if in_file is not None:
        return _checked(in_file, kind, "store"), notices
    if kind not in (None, "sqlite"):
        variable = PLAIN_VARIABLES[kind or ""]
        raise ConfigError(f"FEATURE_STORE_TYPE is {kind}, but there is no address: set DRIFTWELL_STORE or {variable}")
    return DEFAULT_STORE, notices


def _of_type(kind: str, environ: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The address in the variable of a type of store, None where it is not set."""
    variable = PLAIN_VARIABLES[kind]
    found = _plain(variable, environ)
    if not found or kind_of(found) == kind:
        return found or None, []
    if kind != "sqlite":
        raise ConfigError(f"{variable} is not the address of a store of type {kind}: write {_EXAMPLES}")
    return None, [f"{variable} is not a SQLite address and FEATURE_STORE_TYPE says sqlite: it is not used"]


def _guessed(environ: Mapping[str, str], in_file: str | None) -> tuple[str | None, list[str]]:
    """The only plain variable that is the address of a store; of several none says which it is."""
    given = {variable: _plain(variable, environ) for variable in dict.fromkeys(PLAIN_VARIABLES.values())}
    found = {variable: url for variable, url in given.items() if kind_of(url) is not None}
    notices = [
        f"{variable} is not the address of a store: it is not used"
        for variable, url in given.items()
        if url and variable not in found
    ]
    if len(found) > 1:
        said = f"{' and '.join(found)} are set, and nothing says which is the store"
        if in_file is None:
            raise ConfigError(f"{said}: set FEATURE_STORE_TYPE to {', '.join(STORE_TYPES)}, or DRIFTWELL_STORE")
        return None, [*notices, f"{said}: it is the one of the settings file; FEATURE_STORE_TYPE chooses another"]
    notices += [
        f"the store is the one of {variable}: set FEATURE_STORE_TYPE or DRIFTWELL_STORE to say so"
        for variable in found.keys() - {"DATABASE_URL"}  # many an application has one for its cache
    ]
    return next(iter(found.values()), None), notices


def _plain(variable: str, environ: Mapping[str, str]) -> str:
    found = environ.get(variable, "").strip()
    if variable != "INFLUXDB_URL":
        return found
    return re.sub(r"^http(s?)://", lambda scheme: f"influxdb{'+https' if scheme[1] else ''}://", found)


def _checked(url: str, kind: str | None, source: str) -> str:
    found = kind_of(url)
    if found is None:
        raise ConfigError(f"{source} is not the address of a store: write {_EXAMPLES}")
    if kind not in (None, found):
        raise ConfigError(f"{source} is the address of a {found} store, but FEATURE_STORE_TYPE says {kind}: drop one")
    return normal_address(url)
