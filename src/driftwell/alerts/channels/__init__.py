"""Channels: one file each, opened by their address through one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from driftwell.alerts.channels.callback import CallbackChannel
from driftwell.alerts.channels.log import LogChannel
from driftwell.alerts.channels.webhook import WebhookChannel
from driftwell.errors import ConfigError, NotSupported, UnknownName
from driftwell.outbox import AddressPolicy, Channel, SigningKey

__all__ = ["CHANNELS", "CallbackChannel", "LogChannel", "WebhookChannel", "channel", "open_channels"]


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What channels may need besides their address."""

    allow: AddressPolicy
    key: SigningKey | None
    link: str


def _log(rest: str, options: ChannelOptions) -> Channel:
    if rest:
        raise ConfigError("the log channel has no address: write 'log'")
    return LogChannel()


def _webhook(rest: str, options: ChannelOptions) -> Channel:
    return WebhookChannel(rest, allow=options.allow, key=options.key, link=options.link)


CHANNELS: Mapping[str, Callable[[str, ChannelOptions], Channel]] = {"log": _log, "webhook": _webhook}
"""How a channel is opened, by the word before the colon of its address."""

PLANNED = ("alertmanager", "apprise", "email", "mailto", "pagerduty", "slack")


def channel(address: str, *, allow_private: Iterable[str] = (), secret: str | None = None, link: str = "") -> Channel:
    """The channel of an address: ``log`` or ``webhook:https://…``.

    Parameters
    ----------
    allow_private
        Private or loopback networks a webhook may go to, such as ``127.0.0.1/32``.
    secret
        Key that signs webhooks (``whsec_…``).
    link
        Address of the pages, for the body of webhooks.

    Raises ``ConfigError`` for an address that can never work, ``UnknownName`` for an unknown channel,
    ``NotSupported`` for one that this version does not have.

    Examples
    --------
    >>> channel("log").name
    'log'
    """
    options = ChannelOptions(AddressPolicy(tuple(allow_private)), SigningKey(secret) if secret else None, link)
    kind, _, rest = address.partition(":")
    if kind in PLANNED:
        raise NotSupported(f"the channel {kind!r} is not available in this version: use log or webhook:https://…")
    if kind not in CHANNELS:
        raise UnknownName("channel", kind, CHANNELS)
    return CHANNELS[kind](rest, options)


def open_channels(
    items: Iterable[Any], *, allow_private: Iterable[str] = (), secret: str | None = None, link: str = ""
) -> dict[str, Channel]:
    """Channels by name from what settings hold: addresses, functions (one dict an alert) or channel objects.

    Raises as ``channel`` does.

    Examples
    --------
    >>> list(open_channels(["log"]))
    ['log']
    """
    networks = tuple(allow_private)
    found: dict[str, Channel] = {}
    for item in items:
        made = _open(item, networks, secret, link)
        if isinstance(made, CallbackChannel):
            made = _unlike(found, made)
        found[made.name] = made
    return found


def _unlike(found: Mapping[str, Channel], made: CallbackChannel) -> CallbackChannel:
    """The same function under a name that is free: two lambdas of one module are called the same."""
    for number in range(2, len(found) + 2):
        if made.name not in found or found[made.name] is made:
            break
        made = made.renamed(number)
    return made


def _open(item: Any, networks: tuple[str, ...], secret: str | None, link: str) -> Channel:
    if isinstance(item, str):
        return channel(item, allow_private=networks, secret=secret, link=link)
    if hasattr(item, "send") and hasattr(item, "name"):
        found: Channel = item
        return found
    if callable(item):
        return CallbackChannel(item)
    raise ConfigError(f"a channel is an address such as 'log', a function or a channel object, got {item!r}")
