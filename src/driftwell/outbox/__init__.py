"""Durable sending: a notice is written to the ledger first, then sent until it arrives or is given up."""

from __future__ import annotations

from driftwell.outbox.callback import Returned, call, name_of
from driftwell.outbox.http import AddressPolicy, SigningKey, post_json, safe_url
from driftwell.outbox.outbox import (
    Channel,
    Delivery,
    Rejected,
    Retry,
    Sender,
    SendReport,
    Sent,
    send_due,
)

__all__ = [
    "AddressPolicy",
    "Channel",
    "Delivery",
    "Rejected",
    "Retry",
    "Returned",
    "SendReport",
    "Sender",
    "Sent",
    "SigningKey",
    "call",
    "name_of",
    "post_json",
    "safe_url",
    "send_due",
]
