"""Addresses of the pages."""

from __future__ import annotations

from urllib.parse import quote, urlencode

__all__ = ["Links"]


class Links:
    """Addresses of the pages below ``base``; every name is one quoted path segment, slashes included.

    Examples
    --------
    >>> Links("").feature("team/a", "v 1", "dep delay")
    '/models/team%2Fa/features/dep%20delay?version=v+1'
    """

    def __init__(self, base: str) -> None:
        self.home = f"{base}/"
        self._base = base

    def model(self, model: str, version: str | None = None) -> str:
        """The page of a model, of its newest version where none is named."""
        return f"{self._base}/models/{quote(model, safe='')}{_query(version=version)}"

    def feature(self, model: str, version: str, feature: str, check: str | None = None) -> str:
        """The page of a feature, in its newest check where none is named."""
        path = f"{self._base}/models/{quote(model, safe='')}/features/{quote(feature, safe='')}"
        return path + _query(version=version, check=check)

    def static(self, name: str, digest: str) -> str:
        """A static file, named with its content so that a browser may keep it."""
        return f"{self._base}/static/{quote(name)}?v={digest}"


def _query(**values: str | None) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(known)}" if known else ""
