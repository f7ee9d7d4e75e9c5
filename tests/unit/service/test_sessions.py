"""Session cookies: signed, expiring, and a key that only its owner can read."""

from __future__ import annotations

import base64
import os
import threading

import pytest

from driftwell.errors import ConfigError
from driftwell.service.sessions import Session, read_session, session_key, sign_session

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.mark.parametrize("digest", [None, b"\x00" * 32, b"\xff" * 32])
def test_what_was_signed_is_read(digest):
    session = Session(1_000, digest)
    assert read_session(sign_session(session, KEY), KEY, 999) == session


def test_session_ends_at_its_time():
    assert read_session(sign_session(Session(1_000, None), KEY), KEY, 1_000) is None


def test_other_key_is_refused():
    assert read_session(sign_session(Session(1_000, None), OTHER), KEY, 0) is None


@pytest.mark.parametrize("part", [0, 1])
def test_every_changed_bit_is_refused(part):
    parts = sign_session(Session(1_000, b"d" * 32), KEY).split(".")
    raw = base64.urlsafe_b64decode(parts[part] + "==")
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        parts[part] = base64.urlsafe_b64encode(changed).decode().rstrip("=")
        assert read_session(".".join(parts), KEY, 0) is None


@pytest.mark.parametrize("cookie", ["", ".", "a", "a.b", "a.b.c", "é.é", "!.!", "AAAA.AAAA"])
def test_what_is_no_session_is_refused(cookie):
    assert read_session(cookie, KEY, 0) is None


def test_key_is_made_once_and_kept(tmp_path):
    path = tmp_path / "store.db.session-key"
    key = session_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert session_key(path) == key
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_processes_that_start_together_share_the_key(tmp_path):
    path, found = tmp_path / "key", []
    start = threading.Barrier(8)

    def read():
        start.wait()
        found.append(session_key(path))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key"
    session_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        session_key(path)


def test_file_without_a_key_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="delete it"):
        session_key(path)


def test_folder_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot keep the session key"):
        session_key(tmp_path / "absent" / "key")
    assert os.listdir(tmp_path) == []
