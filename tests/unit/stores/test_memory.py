"""The store in memory: for the threads of one process, gone when it is closed, refused in a forked child."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

from driftwell.errors import StoreError
from driftwell.stores import open_store
from driftwell.stores.checks import ALWAYS, count_leaves, make_batch
from driftwell.stores.memory import MemoryStore


def test_each_store_is_its_own_and_gone_when_closed():
    first, second = open_store("memory://"), open_store("memory://")
    first.append(make_batch("b", ["a"]), count_leaves)
    assert (first.count("m", None, *ALWAYS), second.count("m", None, *ALWAYS)) == (1, 0)
    first.close()
    first.close()
    with pytest.raises(StoreError, match="is closed"):
        first.models()
    second.close()


def test_threads_share_it():
    store = MemoryStore()

    def write(name: str) -> None:
        for i in range(20):
            store.append(make_batch(f"{name}{i}", [f"{name}{i}", f"shared{i}"]), count_leaves)
            store.read("m", None, *ALWAYS)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count("m", None, *ALWAYS) == 4 * 20 + 20
    store.close()


def test_it_says_that_nothing_lasts():
    store = MemoryStore()
    assert (store.url, store.capabilities.durable, store.capabilities.ledger) == ("memory://", False, True)
    found = store.info()
    assert (found["kind"], found["journal_mode"], found["path"], found["problems"]) == ("memory", "memory", None, [])
    before = found["bytes"]
    store.append(make_batch("b", [str(i) for i in range(5_000)]), count_leaves)
    assert store.info()["bytes"] > before + 100_000
    store.close()


FORKING = """
    import os
    from driftwell.errors import NotSupported
    from driftwell.stores.checks import ALWAYS, count_leaves, make_batch
    from driftwell.stores.memory import MemoryStore

    store = MemoryStore()
    store.append(make_batch("b", ["a"]), count_leaves)
    child = os.fork()
    if not child:
        code = 1
        try:
            store.append(make_batch("c", ["c"]), count_leaves)
        except NotSupported as exc:
            code = 0 if "sqlite:///" in str(exc) else 2
        own = MemoryStore()
        own.append(make_batch("c", ["c"]), count_leaves)
        own.close()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    store.append(make_batch("d", ["d"]), count_leaves)
    print(code, store.count("m", None, *ALWAYS), store.info()["integrity"])
"""


def test_a_forked_child_is_told_to_use_a_file():
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("0 2 ok", "")
