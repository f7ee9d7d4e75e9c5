"""Bearer tokens: made once, shown once, kept only as a digest, and checked with their scopes.

A token is ``dw_`` and 32 random bytes, so its SHA-256 cannot be turned back by guessing: a slow hash such as
scrypt protects short human passwords and would only slow every request down. Looking a token up by its digest
tells an attacker who measures time about the digest alone, which is of no use.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from driftwell.errors import BadInput
from driftwell.routes.problems import ProblemError
from driftwell.routes.protocol import Guard
from driftwell.stores.base import Ledger

__all__ = [
    "ALL_SCOPES",
    "Bearer",
    "Grant",
    "audited",
    "authenticate",
    "bearer_guard",
    "digest",
    "make_token",
    "require",
    "unauthorized",
]

ALL_SCOPES = ("ingest", "read", "write", "admin")
"""``ingest`` only posts predictions and labels and reads nothing, ``read`` sees everything, ``write`` changes
references and asks for checks and retraining, ``admin`` may do all of it."""

BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `driftwell token create`.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]

CHALLENGE = 'Bearer realm="driftwell"'


@dataclass(frozen=True, slots=True)
class Grant:
    """Who is asking and what they may do."""

    who: str
    scopes: frozenset[str]

    def allows(self, scope: str) -> bool:
        """Whether this grant covers ``scope``; admin covers all."""
        return scope in self.scopes or "admin" in self.scopes


def digest(token: str) -> bytes:
    """What the ledger keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def make_token(
    ledger: Ledger,
    scopes: Sequence[str] = ALL_SCOPES,
    expires: timedelta | None = None,
    now: datetime | None = None,
) -> tuple[str, str]:
    """Make a token with these scopes and keep its digest: ``(token, id)``.

    Parameters
    ----------
    scopes
        Some of `ALL_SCOPES`.
    expires
        How long it is valid, counted from ``now``; None: until it is revoked.
    now
        An aware time; None is the present.

    Raises
    ------
    BadInput
        A scope is unknown, none is given, or the token would have expired already.
    """
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown or not scopes:
        raise BadInput(f"scopes must be some of {', '.join(ALL_SCOPES)}; got {', '.join(scopes) or 'none'}")
    if expires is not None and expires <= timedelta(0):
        raise BadInput(f"a token must be valid for some time; got {expires}")
    now_us = round((now.timestamp() if now else time.time()) * 1_000_000)
    expires_us = None if expires is None else now_us + expires // timedelta(microseconds=1)
    token, token_id = f"dw_{secrets.token_urlsafe(32)}", secrets.token_hex(6)
    ordered = [scope for scope in ALL_SCOPES if scope in scopes]
    ledger.put_token(token_id, digest(token), ordered, expires_us, now_us)
    ledger.audit("cli", "token create", {"id": token_id, "scopes": ordered}, now_us)
    return token, token_id


def authenticate(ledger: Ledger, digest_: bytes, now_us: int) -> Grant | None:
    """The grant of the token with this digest; None when it is unknown, expired or revoked."""
    found = ledger.find_token(digest_)
    if found is None or found["revoked"]:
        return None
    expires_us = found["expires_us"]
    if expires_us is not None and expires_us <= now_us:
        return None
    return Grant(f"token:{found['id']}", frozenset(found["scopes"]))


def unauthorized(presented: bool) -> ProblemError:
    """401: no token, or one that is not valid (never saying which of unknown, expired and revoked it is)."""
    if presented:
        detail = "the token is not valid: unknown, expired or revoked; make one with `driftwell token create`"
        return ProblemError(401, detail, headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'})
    detail = "a token is needed: send `Authorization: Bearer dw_…` (see `driftwell token create`)"
    return ProblemError(401, detail, headers={"WWW-Authenticate": CHALLENGE})


def require(grant: Grant, scope: str) -> None:
    """Raise 403 naming the scope that is missing."""
    if not grant.allows(scope):
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        raise ProblemError(
            403,
            f"this token lacks the scope {scope!r}",
            headers={"WWW-Authenticate": challenge},
            members={"missing_scope": scope},
        )


def audited(ledger: Ledger, who: str, scope: str, request: Request, now_us: int) -> None:
    """Write who asked for a change into the audit log; reading and ingestion are not audited."""
    if scope in ("write", "admin") and request.method not in ("GET", "HEAD"):
        query = {key: value[:200] for key, value in request.query_params.items()}
        ledger.audit(who, f"{request.method} {request.url.path}", query, now_us)


def bearer_guard(ledger: Ledger, *, clock: Callable[[], float] = time.time) -> Guard:
    """A guard that asks for a bearer token with the scope of the path."""

    def guard(scope: str) -> Callable[..., None]:
        # A plain function: FastAPI calls it in a thread, where the ledger may block.
        def check(request: Request, sent: Bearer = None) -> None:
            now_us = round(clock() * 1_000_000)
            grant = authenticate(ledger, digest(sent.credentials), now_us) if sent else None
            if grant is None:
                raise unauthorized(presented=sent is not None)
            require(grant, scope)
            audited(ledger, grant.who, scope, request, now_us)

        return check

    return guard
