"""Stores keep predictions and what the monitor knows about them; ``open_store`` finds the one for a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwell.errors import BadInput, NotSupported

if TYPE_CHECKING:
    from driftwell.stores.sqlite import SQLiteStore

__all__ = ["open_store"]


def open_store(url: str) -> SQLiteStore:
    """Open the store at ``url``, creating it when it is missing.

    ``sqlite:///relative.db`` is relative to the working directory, ``sqlite:////absolute.db`` is absolute.

    Raises
    ------
    NotSupported
        The scheme is not one of a store; the message names those that are.
    BadInput
        The URL names no file, or carries options.
    StoreError, FormatError
        The file cannot be opened or is not a store of ours; the message says what to do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(f"sqlite:///{folder}/driftwell.db")
    ...     store.models()
    ...     store.close()
    []
    """
    if not isinstance(url, str):
        raise BadInput(f"a store is named by its address, such as sqlite:///driftwell.db. Got {url!r}")
    scheme, _, path = url.partition("://")
    if scheme not in _STORES:
        known = ", ".join(f"{scheme} ({example})" for scheme, (_, example) in _STORES.items())
        raise NotSupported(f"no store of the kind {scheme!r}: known are {known}")
    opener, example = _STORES[scheme]
    if not path.startswith("/") or path in ("/", "/:memory:") or "?" in path:
        raise BadInput(f"a store of this kind is named like {example}, without options; got {url!r}")
    return opener(path[1:])


def _open_sqlite(path: str) -> SQLiteStore:
    from driftwell.stores.sqlite import SQLiteStore

    return SQLiteStore(path)


_STORES = {"sqlite": (_open_sqlite, "sqlite:///driftwell.db")}
