"""Where an InfluxDB is and how one logs in, read from a store URL; secrets never leave the header they are made for."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from driftwell.errors import BadInput

__all__ = ["Address", "parse_address"]

EXAMPLE = "influxdb://user:password@localhost:8086/driftwell"
PORT = 8086
TOKEN_VARIABLE = "INFLUXDB_TOKEN"  # noqa: S105 - the name of a variable
_OPTIONS = {"rp", "token_env"}


@dataclass(frozen=True, slots=True)
class Address:
    """One database of one server; ``authorization`` is the header's value, ``secrets`` what no text may show."""

    host: str
    port: int
    database: str
    secure: bool = False
    retention_policy: str | None = None
    authorization: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def server(self) -> str:
        """``host:port``, with the brackets of IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without user, password and token."""
        return f"influxdb{'+https' if self.secure else ''}://{self.server}/{self.database}"

    def without_secrets(self, text: str) -> str:
        """``text`` with every secret blotted out."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text


def parse_address(url: str, environment: Mapping[str, str] | None = None) -> Address:
    """Read ``influxdb://[user:password|:TOKEN@]host[:8086]/database[?rp=policy&token_env=VARIABLE]``.

    A token may stand in the place of the password without a user; else it is read from the variable ``token_env``, and
    where the address names no user at all from ``INFLUXDB_TOKEN``. Raises ``BadInput``, which shows nothing secret.

    Examples
    --------
    >>> parse_address("influxdb://ann:pw@db.example/drift", {}).url
    'influxdb://db.example:8086/drift'
    """
    environment = os.environ if environment is None else environment
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True))
        database = unquote(parts.path.strip("/"), errors="strict")
    except ValueError:  # its message may quote the address
        raise BadInput(f"an InfluxDB store is named like {EXAMPLE}; this address cannot be read") from None
    if parts.scheme not in ("influxdb", "influxdb+https"):
        raise BadInput(f"an InfluxDB store is named like {EXAMPLE}, or influxdb+https://…")
    # A cloud or on-premise bucket may have a slash in its name, as db/rp mappings write them.
    if not host or not database or re.search(r"[\x00-\x1f\x7f]", database):
        raise BadInput(f"the address of an InfluxDB store needs a host and a database, like {EXAMPLE}")
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise BadInput(f"unknown option {unknown[0]!r} in the InfluxDB address: known are rp and token_env")
    authorization, secrets = _login(parts, options.get("token_env"), environment)
    secure = parts.scheme == "influxdb+https"
    return Address(host, port, database, secure, options.get("rp") or None, authorization, secrets)


def _login(
    parts: SplitResult, token_env: str | None, environment: Mapping[str, str]
) -> tuple[str | None, tuple[str, ...]]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Basic {login}", tuple(s for s in (parts.password, password, login) if s)
    if token_env is not None and not environment.get(token_env):
        raise BadInput(f"the InfluxDB address takes its token from the variable {token_env}, which is not set")
    token = password or environment.get(token_env or TOKEN_VARIABLE, "")
    if not token:
        return None, ()
    if not (token.isascii() and token.isprintable()):
        raise BadInput("an InfluxDB token consists of printable ASCII characters; this one does not")
    return f"Token {token}", tuple(s for s in (parts.password, token) if s)
