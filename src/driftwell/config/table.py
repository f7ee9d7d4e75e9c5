"""The rows of the settings table: how a field of a settings class says what it is, and how a value is read by it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from driftwell.config.values import Kind
from driftwell.errors import ConfigError, shown

__all__ = ["Option", "Setting", "declared", "read_value"]


@dataclass(frozen=True, slots=True)
class Option:
    """What a field of a settings class says about itself, in its annotation.

    ``plain`` are environment variables without the prefix, which deployments already set. A ``secret`` can
    also be given as ``<name>_file`` and never appears in an error or a repr. A ``shared`` option is one for all
    models of a process, so that no ``[models.<name>]`` table may set it.
    """

    kind: Kind
    meaning: str
    aliases: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    secret: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table.

    ``scope`` is ``"monitor"`` (an option of ``Monitor``, a key of the file and of each ``[models.<name>]``
    table) or ``"service"`` (a key of the file). The other fields are those of ``Option``.
    """

    name: str
    scope: str
    default: Any
    kind: Kind
    meaning: str
    aliases: tuple[str, ...]
    plain: tuple[str, ...]
    secret: bool
    shared: bool

    @property
    def type(self) -> str:
        """The kind of value in words."""
        return self.kind.words

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return f"DRIFTWELL_{self.name.upper()}"


def declared(cls: type, scope: str) -> dict[str, Setting]:
    """The settings that the fields of a dataclass declare with ``Annotated[type, Option(…)]``."""
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for one in dataclasses.fields(cls):
        for about in get_args(hints[one.name])[1:]:
            if isinstance(about, Option):
                row = {f.name: getattr(about, f.name) for f in dataclasses.fields(about)}
                found[one.name] = Setting(one.name, scope, one.default, **row)
    return found


def read_value(row: Setting, value: Any, *, source: str = "") -> Any:
    """``value`` as the setting's type; the ``ConfigError`` names the setting (or ``source``) and its type."""
    try:
        return row.kind.read(value)
    except Exception as exc:  # noqa: BLE001 - the methods of a user's object may raise anything
        got = "something else" if row.secret else shown(value)
        raise ConfigError(f"{source or row.name} must be {row.type}; got {got}") from (None if row.secret else exc)
