"""What a driver's error means for the user and what to do about it."""

from __future__ import annotations

import psycopg
from psycopg import errors

from driftwell.errors import BadInput, DriftwellError, FormatError, StoreError
from driftwell.stores.postgres.address import STATEMENT_SECONDS, Address

__all__ = ["explain"]

_KINDS: dict[type[psycopg.Error], tuple[type[DriftwellError], str]] = {
    errors.DiskFull: (StoreError, "no space left on the server of {url}: free some, nothing of this was stored"),
    errors.OutOfMemory: (StoreError, "the server of {url} is out of memory: nothing of this was stored"),
    errors.ReadOnlySqlTransaction: (
        StoreError,
        "{url} is read-only: name the primary server, or set default_transaction_read_only = off for this user",
    ),
    errors.InsufficientPrivilege: (
        StoreError,
        "the user of {url} lacks a right: make it the owner of schema {schema}, or let an administrator"
        " create that schema and grant it (see docs/stores-postgresql.md)",
    ),
    errors.QueryCanceled: (
        StoreError,
        f"the server of {{url}} did not finish within its statement_timeout ({STATEMENT_SECONDS} s unless the address"
        " says otherwise): is it overloaded, or does another session hold a lock?",
    ),
    errors.LockNotAvailable: (StoreError, "a lock of {url} stayed taken: does another session hold it?"),
    errors.DeadlockDetected: (StoreError, "{url} undid this for the sake of another session: try again"),
    errors.UndefinedTable: (
        StoreError,
        "tables of schema {schema} are missing at {url}: restore them, or open the store again to make them anew",
    ),
    errors.UntranslatableCharacter: (
        BadInput,
        "the database of {url} cannot hold this text: create it with ENCODING 'UTF8'",
    ),
    errors.ProgramLimitExceeded: (BadInput, "an id or name is too long for an index: keep it below 2,000 bytes"),
    errors.DataCorrupted: (FormatError, "the database of {url} is damaged: restore a copy"),
    errors.IndexCorrupted: (FormatError, "an index of {url} is damaged: REINDEX the schema {schema}"),
}

# The driver gives no code for an attempt to connect that failed, only the text of libpq or of the server.
_ATTEMPTS = {
    "password authentication failed": "wrong user or password for {url}: check both",
    "no password supplied": "{url} asks for a password: put it into the address, or into ~/.pgpass",
    "no pg_hba.conf entry": "the server of {url} does not let this user in from here: add a line to its pg_hba.conf",
    'role "': "there is no such user at {url}: create it, or name another",
    'database "': "there is no such database at {url}: create it (createdb), or name another",
    "permission denied for database": "the user of {url} may not connect to this database: GRANT CONNECT to it",
    "too many clients": "the server of {url} has no connection left: raise max_connections, or use fewer processes",
    "remaining connection slots": "the server of {url} has no connection left: raise max_connections",
    "starting up": "the server of {url} is starting: try again in a moment",
    "shutting down": "the server of {url} is shutting down: start it again",
    "certificate": "the certificate of {url} was not accepted: check sslmode and sslrootcert",
    "SSL": "no encrypted connection to {url}: check sslmode, and whether the server offers TLS",
    "timeout": "no answer from {url} in time: check host and port, and whether a firewall is between",
    "Connection refused": "nothing listens at {url}: is the server running, and are host and port right?",
    "No such file or directory": "nothing listens at {url}: is the server running, and are host and port right?",
    "resolve": "the host of {url} is unknown: check its name",
    "translate host name": "the host of {url} is unknown: check its name",
}


def explain(exc: psycopg.Error, address: Address, *, connecting: bool = False) -> DriftwellError:
    """The error to raise instead: a sentence that says what to do, then the driver's words without the password."""
    words = address.without_secrets(str(exc))
    kind, sentence = _meaning(exc, words, connecting=connecting)
    return kind(f"{sentence.format(url=address.url, schema=address.schema)} ({words})")


def _meaning(exc: psycopg.Error, words: str, *, connecting: bool) -> tuple[type[DriftwellError], str]:
    for cause, meaning in _KINDS.items():
        if isinstance(exc, cause):
            return meaning
    if connecting:
        for part, sentence in _ATTEMPTS.items():
            if part in words:
                return StoreError, sentence
        return StoreError, "cannot connect to {url}"
    if isinstance(exc, psycopg.OperationalError):
        return StoreError, "the connection to {url} was lost, or the server failed: it is tried anew with the next call"
    return StoreError, "the store {url} failed"
