"""The address of a PostgreSQL database: what the driver needs, and what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from driftwell.errors import BadInput

__all__ = ["Address", "read_address"]

SCHEMA = "driftwell"
"""The schema that holds the tables unless ``?schema=`` names another."""
APPLICATION = "driftwell"
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
IDLE_TRANSACTION_SECONDS = 300
"""A process that was stopped within a transaction holds up others no longer than this."""

_SECRETS = ("password", "sslpassword")
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_EXAMPLE = "postgresql://user:password@host:5432/database"
_DEFAULTS: dict[str, Any] = {
    "application_name": APPLICATION,
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the store lies. ``parameters`` go to the driver and hold the password; ``url`` is without secrets."""

    parameters: dict[str, Any] = field(repr=False)
    schema: str
    url: str

    def without_secrets(self, text: str) -> str:
        """The text of a driver's message on one line, with the password blotted out."""
        for secret in (str(self.parameters[name]) for name in _SECRETS if self.parameters.get(name)):
            text = text.replace(secret, "***")
        return " ".join(text.split())


def read_address(url: str) -> Address:
    """Read ``postgresql://user:password@host:port/database?schema=…&…``; other options are those of libpq.

    Raises ``BadInput``, without any part of the address, when it cannot be read: what looks like a host may be half
    of a password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    schema = options.pop("schema", SCHEMA)
    if not _PLAIN_NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise BadInput(f"?schema= takes a name of lower-case letters, digits and _, got {schema!r}")
    try:
        found = conninfo_to_dict(place + ("?" + urlencode(options, quote_via=quote) if options else ""))
    except ProgrammingError:
        raise BadInput(_unreadable()) from None
    user, host, database, port = (str(found.get(name) or "") for name in ("user", "host", "dbname", "port"))
    if "@" in host + database or (port and not port.replace(",", "0").isdecimal()):
        raise BadInput(_unreadable())
    session = f"-c search_path={schema} -c statement_timeout={STATEMENT_SECONDS}s"
    session += f" -c idle_in_transaction_session_timeout={IDLE_TRANSACTION_SECONDS}s"
    session += " -c jit=off"  # compiling takes longer than our queries, which all go by an index
    parameters: dict[str, Any] = _DEFAULTS | {name: value for name, value in found.items() if value is not None}
    parameters["options"] = f"{session} {parameters.get('options', '')}".strip()
    parameters["client_encoding"] = "utf8"
    return Address(parameters, schema, _shown(user, host, database, port, schema))


def _shown(user: str, host: str, database: str, port: str, schema: str) -> str:
    at = f"{quote(user)}@" if user else ""
    place = host if not host.startswith("/") else quote(host, safe="")
    own = "" if schema == SCHEMA else f"?schema={schema}"
    return f"postgresql://{at}{place}{':' + port if port else ''}/{quote(database)}{own}"


def _unreadable() -> str:
    return (
        f"this address of a PostgreSQL database cannot be read: write it like {_EXAMPLE}, with %40 for @, %2F for /,"
        " %3A for :, %3F for ? and %23 for # in user and password"
    )
