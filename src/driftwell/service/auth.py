"""Who may do what: bearer tokens for programs, a login link and a session cookie for browsers.

A cookie may only read, unless the request comes from a page of this service (Origin, Sec-Fetch-Site). That
check, not the attribute, keeps other sites from changing anything: SameSite=Lax lets links in mails and
chats open a page, where Strict would open them logged out, the link of a web terminal included.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request, Response

from driftwell.errors import ConfigError
from driftwell.routes.problems import ProblemError
from driftwell.routes.tokens import (
    ALL_SCOPES,
    Bearer,
    Grant,
    audited,
    authenticate,
    digest,
    make_token,
    require,
    unauthorized,
)
from driftwell.service.sessions import Session, read_session, session_key, sign_session
from driftwell.stores.base import Ledger

__all__ = [
    "ALL_SCOPES",
    "Authority",
    "check_bind",
    "is_loopback",
    "key_beside",
    "local_guard",
    "make_token",
    "new_start_token",
    "same_origin",
]

logger = logging.getLogger("driftwell.service")

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
START_SESSION = timedelta(hours=24)
TOKEN_SESSION = timedelta(days=30)
SECOND_US = 1_000_000
MICROSECOND = timedelta(microseconds=1)
START_LINK = Grant("start link", frozenset(ALL_SCOPES))


class Authority:
    """Checks every request: bearer tokens of the ledger, the token of a file, and sessions of browsers.

    Parameters
    ----------
    key
        Signs the session cookies.
    start_token
        Opens one session with all scopes, once: the link that `driftwell serve` prints.
    fixed
        Tokens that are in no ledger (`token_file`), by digest.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: bytes,
        *,
        start_token: str | None = None,
        fixed: Mapping[bytes, Grant] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._start = digest(start_token) if start_token else None
        self._start_lock = threading.Lock()
        self._fixed = dict(fixed or {})
        self._clock = clock

    def guard(self, scope: str) -> Callable[..., None]:
        """The dependency that lets a request through when it may do what ``scope`` covers."""

        # A plain function: FastAPI calls it in a thread, where the ledger may block.
        def check(request: Request, sent: Bearer = None) -> None:
            grant = self._of_token(digest(sent.credentials)) if sent else self._of_cookie(request)
            if grant is None:
                raise unauthorized(presented=sent is not None)
            require(grant, scope)
            audited(self._ledger, grant.who, scope, request, self._now_us())

        return check

    def log_in(self, token: str, request: Request, response: Response) -> bool:
        """Give the browser a session for this token; False when the token is not valid (any more)."""
        presented, now_us = digest(token), self._now_us()
        if self._take_start(presented):
            who, session = START_LINK.who, Session(now_us + START_SESSION // MICROSECOND, None)
        elif grant := self._of_token(presented):
            who, session = grant.who, Session(now_us + TOKEN_SESSION // MICROSECOND, presented)
        else:
            return False
        self._ledger.audit(who, "log in", {}, now_us)
        response.set_cookie(
            cookie_name(request),
            sign_session(session, self._key),
            max_age=(session.expires_us - now_us) // SECOND_US,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return True

    def is_logged_in(self, request: Request) -> bool:
        """Whether the browser has a valid session."""
        return self._of_session(request) is not None

    def _of_cookie(self, request: Request) -> Grant | None:
        grant = self._of_session(request)
        if grant and request.method not in SAFE_METHODS and same_origin(request) is not True:
            raise ProblemError(403, "a browser session may change something only from a page of this service")
        return grant

    def _of_session(self, request: Request) -> Grant | None:
        cookie = request.cookies.get(cookie_name(request))
        session = read_session(cookie, self._key, self._now_us()) if cookie else None
        if session is None:
            return None
        if session.digest is None:
            return START_LINK
        return self._of_token(session.digest)

    def _of_token(self, presented: bytes) -> Grant | None:
        return self._fixed.get(presented) or authenticate(self._ledger, presented, self._now_us())

    def _take_start(self, presented: bytes) -> bool:
        with self._start_lock:
            valid = self._start is not None and secrets.compare_digest(self._start, presented)
            if valid:
                self._start = None
            return valid

    def _now_us(self) -> int:
        return round(self._clock() * SECOND_US)


def local_guard(scope: str) -> Callable[..., None]:
    """The guard without tokens: everything is allowed, except a change asked for by another site's page."""

    def check(request: Request) -> None:
        if request.method not in SAFE_METHODS and same_origin(request) is False:
            raise ProblemError(403, f"another site's page asked for {scope} access; that is refused")

    return check


def same_origin(request: Request) -> bool | None:
    """Whether a page of this very service sent the request; None when nothing tells (no browser sent it)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host")
    return None


def cookie_name(request: Request) -> str:
    """One name a port: browsers share cookies over the ports of a host, and services must not clash."""
    return f"driftwell_session_{request.url.port or request.url.scheme}"


def new_start_token() -> str:
    """A token for the link that opens the first browser session."""
    return secrets.token_urlsafe(32)


def check_bind(host: str, auth: bool) -> None:
    """Refuse to listen without tokens where others could reach it.

    Raises
    ------
    ConfigError
        ``auth`` is False and ``host`` is not a loopback address.

    Examples
    --------
    >>> check_bind("127.0.0.1", auth=False)
    """
    if not auth and not is_loopback(host):
        raise ConfigError(
            f"--no-auth is for loopback addresses only, and {host!r} can be reached from elsewhere: "
            "listen on 127.0.0.1, or leave --no-auth out and make tokens with `driftwell token create`"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address (without port) means this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.8", "::1", "0.0.0.0", "localhost.evil.example")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def key_beside(store_url: str) -> bytes:
    """The session key kept beside a SQLite file; elsewhere, or in a read-only folder, one for this process.

    Sessions then end when the service stops, which the log says once.
    """
    scheme, _, path = store_url.partition(":///")
    if scheme == "sqlite" and path and path != ":memory:":
        try:
            return session_key(Path(f"{path}.session-key"))
        except ConfigError as exc:
            logger.warning("%s; browsers will have to log in again after a restart", exc)
    return secrets.token_bytes(32)
