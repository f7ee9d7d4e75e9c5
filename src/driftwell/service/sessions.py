"""Browser sessions: a signed cookie that says until when its bearer may do what a token allowed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from driftwell.errors import ConfigError

__all__ = ["Session", "read_session", "session_key", "sign_session"]

KEY_BYTES = 32
PURPOSE = b"driftwell session 1\0"


@dataclass(frozen=True, slots=True)
class Session:
    """What a session cookie says: until when, and the digest of its token (None: the start link).

    The digest is looked up again at each request, so that revoking the token ends its sessions.
    """

    expires_us: int
    digest: bytes | None


def sign_session(session: Session, key: bytes) -> str:
    """The cookie value: the session and its signature, both in URL-safe base64."""
    body = msgspec.json.encode([session.expires_us, session.digest.hex() if session.digest else None])
    return f"{_encode(body)}.{_encode(_signature(body, key))}"


def read_session(cookie: str, key: bytes, now_us: int) -> Session | None:
    """The session of a cookie; None when the signature is wrong, it has expired or is no session at all."""
    try:
        body, signature = (base64.urlsafe_b64decode(f"{part}==") for part in cookie.split("."))
    except (ValueError, binascii.Error):
        return None
    if not hmac.compare_digest(signature, _signature(body, key)):
        return None
    expires_us, digest = msgspec.json.decode(body, type=tuple[int, str | None])
    if expires_us <= now_us:
        return None
    return Session(expires_us, bytes.fromhex(digest) if digest else None)


def session_key(path: Path) -> bytes:
    """The signing key kept in ``path``; made there on first use, readable by its owner alone.

    Raises
    ------
    ConfigError
        The file cannot be written or read, can be read by others, or holds no key.
    """
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        key = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot keep the session key in {path}: {exc.strerror}") from exc
    if mode & 0o077:
        raise ConfigError(f"the session key {path} can be read by others: run chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} holds no session key: delete it, a new one is made (browsers log in again)")
    return key


def _create(path: Path) -> None:
    """Write under another name and link into place: another process sees no file or a whole one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        os.link(temporary, path)
    except FileExistsError:
        return  # another process was first: its key stands
    finally:
        os.unlink(temporary)


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, PURPOSE + body, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
