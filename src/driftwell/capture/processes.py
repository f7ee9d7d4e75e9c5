"""What the recorder owes to forks and to the end of child processes."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["Forkable", "finish_with_child", "survive_forks"]


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
    _alive.add(one)


def finish_with_child(finish: Callable[[], None]) -> None:
    """Call ``finish`` when this process ends, if it is a child of ``multiprocessing``: those skip ``atexit``."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, finish, exitpriority=1)


_alive: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking: list[Forkable] = []


def _before_fork() -> None:
    _forking[:] = _alive
    for one in _forking:
        one.before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
