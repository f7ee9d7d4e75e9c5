"""The webhook channel: Alertmanager's webhook body (version 4), signed as Standard Webhooks says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from driftwell.outbox import AddressPolicy, Delivery, SigningKey, post_json, safe_url
from driftwell.outbox.http import check_url
from driftwell.stores.base import Notice

__all__ = ["WebhookChannel", "webhook_body"]


class WebhookChannel:
    """POSTs each notice to an address.

    ``name`` shows scheme, host and port, and a digest in place of the rest, which may hold a key. Raises
    ``ConfigError`` for an address that can never be sent to.

    Examples
    --------
    >>> WebhookChannel("https://hooks.example.com/T0/key").name
    'webhook:https://hooks.example.com#91ab6eb9'
    """

    def __init__(
        self,
        url: str,
        *,
        allow: AddressPolicy | None = None,
        key: SigningKey | None = None,
        link: str = "",
    ) -> None:
        self._url = url
        self._allow = allow or AddressPolicy()
        self._key = key
        self._link = link
        check_url(url, self._allow)
        self.name = f"webhook:{safe_url(url)}#{hashlib.sha256(url.encode()).hexdigest()[:8]}"

    def __repr__(self) -> str:
        return f"<WebhookChannel {self.name}>"

    def send(self, notice: Notice) -> Delivery:
        """POST the notice once; its id is the same in all attempts, so that receivers can tell repeats."""
        return post_json(
            self._url,
            webhook_body(notice.body, self._link),
            allow=self._allow,
            key=self._key,
            message_id=f"msg_{hashlib.sha256(notice.key.encode()).hexdigest()[:32]}",
        )


def webhook_body(alert: dict[str, Any], link: str = "") -> dict[str, Any]:
    """Alertmanager's webhook message (version 4) with one alert in it."""
    grouped = {name: alert["labels"][name] for name in ("alertname", "model", "model_version")}
    pairs = ", ".join(f"{name}={json.dumps(value)}" for name, value in grouped.items())
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{pairs}}}",
        "truncatedAlerts": 0,
        "status": alert["status"],
        "receiver": "driftwell",
        "groupLabels": grouped,
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": link,
        "alerts": [alert],
    }
