"""What the recorder owes to forks and to the end of child processes."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["Forkable", "finish_with_child", "notice_fork", "survive_forks"]


class Forkable(Protocol):
    """Something with locks and a thread, neither of which a forked child inherits in a usable state."""

    def before_fork(self) -> None:
        """Take the locks, so that no other thread holds one at the moment of the fork."""

    def after_fork_in_parent(self) -> None:
        """Give the locks back."""

    def after_fork_in_child(self) -> None:
        """Start afresh, with new locks."""


def survive_forks(one: Forkable) -> None:
    """Prepare this object for every fork as long as it lives."""
    with _state.one_fork:
        _alive.add(one)


def finish_with_child(finish: Callable[[], None]) -> None:
    """Call ``finish`` when this process ends, if it is a child of ``multiprocessing``: those skip ``atexit``."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, finish, exitpriority=1)


def notice_fork() -> None:
    """Start afresh if this process was forked without any hook, as servers written in C may do. Cost: about 50 ns."""
    if os.getpid() == _state.pid:
        return
    with _noticing:  # new to every child, since only children use it
        if os.getpid() != _state.pid:
            _after_fork_in_child()


class _State:
    """What a fork is prepared with. ``one_fork`` is held from the first lock taken to the last given back: of two
    threads that fork at once, the second waits."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """For the process that we are in now."""
        self.pid = os.getpid()
        self.one_fork = threading.RLock()
        self.prepared: list[Forkable] = []
        self.is_prepared = False


_alive: weakref.WeakSet[Forkable] = weakref.WeakSet()
_state = _State()
_noticing = threading.Lock()


def _before_fork() -> None:
    _state.one_fork.acquire()
    _state.is_prepared = True
    for one in list(_alive):
        one.before_fork()
        _state.prepared.append(one)


def _after_fork_in_parent() -> None:
    if not _state.is_prepared:
        return
    while _state.prepared:
        _state.prepared.pop().after_fork_in_parent()
    _state.is_prepared = False
    _state.one_fork.release()


def _after_fork_in_child() -> None:
    """All that is alive starts afresh, prepared or not: a fork from C runs this hook alone, or none."""
    _state.renew()
    for one in list(_alive):
        one.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
