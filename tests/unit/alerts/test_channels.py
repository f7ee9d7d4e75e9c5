"""Channels: opening them by address, and what they send; webhooks to a real server on loopback."""

import base64
import hashlib
import hmac
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from driftwell.alerts import (
    AlertRule,
    CallbackChannel,
    LogChannel,
    WebhookChannel,
    apply,
    channel,
    open_channels,
)
from driftwell.errors import ConfigError, NotSupported, UnknownName
from driftwell.outbox import Rejected, Sent, send_due
from driftwell.stores.base import Notice

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
LOOPBACK = ("127.0.0.1/32",)


def body(status="firing", severity="warning", model="flights", description="x is 0.5 (rule: x < 1)"):
    return {
        "status": status,
        "labels": {"alertname": "Low", "severity": severity, "model": model, "model_version": "v1"},
        "annotations": {"summary": "x is low", "description": description, "value": "0.5"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-01T01:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "0123456789abcdef",
    }


def notice(**options):
    return Notice("Low:flights:v1:5:alert:log", "log", "alert", body(**options), 0)


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            self.server.requests.append((self.path, dict(self.headers.items()), content))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.requests, made.status = [], 200
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


# --- opening ----------------------------------------------------------------------------------------------


def test_addresses_open_channels():
    assert channel("log") == LogChannel()
    assert isinstance(channel("webhook:https://h.example/x"), WebhookChannel)


@pytest.mark.parametrize("address", ["slack:https://s", "email:a@x", "pagerduty:key", "alertmanager:http://a"])
def test_a_channel_that_is_not_built_is_said(address):
    with pytest.raises(NotSupported, match="not available in this version"):
        channel(address)


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("webhok:https://h", UnknownName, "did you mean 'webhook'"),
        ("", UnknownName, "Known: log, webhook"),
        ("log:file", ConfigError, "write 'log'"),
        ("webhook:", ConfigError, "https://host/path"),
        ("webhook:ftp://h/x", ConfigError, "https://host/path"),
        ("webhook:http://127.0.0.1:9/x", ConfigError, "webhook_allow_private"),
        ("webhook:http://169.254.169.254/latest", ConfigError, "not a public address"),
    ],
)
def test_an_address_that_can_never_work_is_an_error_at_once(address, error, words):
    with pytest.raises(error, match=words):
        channel(address)


def test_a_bad_secret_or_network_is_an_error_at_once():
    with pytest.raises(ConfigError, match="24 to 64"):
        channel("webhook:https://h.example/x", secret="hunter2")
    with pytest.raises(ConfigError, match="not a network"):
        channel("webhook:https://h.example/x", allow_private=["localhost"])


def test_names_are_stable_distinct_and_free_of_secrets():
    first, again, other = (WebhookChannel(f"https://u:pw@h.example/{p}") for p in ("key1", "key1", "key2"))
    assert first.name == again.name != other.name
    assert first.name.startswith("webhook:https://h.example#")
    for secret in ("key1", "pw"):
        assert secret not in first.name + repr(first)


def test_settings_open_addresses_functions_and_channels():
    own = LogChannel(name="mine")
    opened = open_channels(["log", "log", own, print, lambda alert: None, lambda alert: None])
    names = list(opened)
    assert names[:3] == ["log", "mine", "callback:builtins.print"]
    assert len(names) == 5
    assert names[4] == f"{names[3]}#2"


def test_what_is_no_channel_is_an_error():
    with pytest.raises(ConfigError, match="got 7"):
        open_channels([7])


# --- sending ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({"severity": "info"}, logging.INFO),
        ({"severity": "warning"}, logging.WARNING),
        ({"severity": "critical"}, logging.CRITICAL),
        ({"severity": "critical", "status": "resolved"}, logging.INFO),
    ],
)
def test_the_log_has_one_line_at_the_right_level(caplog, options, level):
    caplog.set_level(logging.INFO, logger="driftwell.alerts")
    assert LogChannel().send(notice(**options)) == Sent()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("driftwell.alerts", level)
    status, severity = options.get("status", "firing"), options["severity"]
    assert record.getMessage() == (f"{status} [{severity}] Low: model flights v1: x is low x is 0.5 (rule: x < 1)")


def test_names_cannot_forge_a_log_line(caplog):
    LogChannel().send(notice(model="m\nCRITICAL forged\x1b[2J\u2028"))
    assert "m CRITICAL forged [2J" in caplog.records[0].getMessage()


def test_a_webhook_is_alertmanagers_version_4_and_signed(server):
    url = f"webhook:http://127.0.0.1:{server.server_port}/hook"
    made = channel(url, allow_private=LOOPBACK, secret=SECRET, link="https://drift.example")
    assert [made.send(notice()), made.send(notice())] == [Sent(), Sent()]
    (path, headers, content), again = server.requests
    message = json.loads(content)
    alert = body()
    # The fields of Alertmanager's webhook message, version 4 (its documentation and template/Data).
    assert message == {
        "version": "4",
        "groupKey": '{}:{alertname="Low", model="flights", model_version="v1"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "driftwell",
        "groupLabels": {"alertname": "Low", "model": "flights", "model_version": "v1"},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": "https://drift.example",
        "alerts": [alert],
    }
    assert path == "/hook"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.new(bytes(range(24)), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == again[1]["webhook-id"]
    assert "." not in headers["webhook-id"]


def test_a_webhook_without_a_secret_is_not_signed(server):
    made = channel(f"webhook:http://127.0.0.1:{server.server_port}/", allow_private=LOOPBACK)
    assert made.send(notice()) == Sent()
    assert not any(name.lower().startswith("webhook-") for name in server.requests[0][1])


def test_a_webhook_that_is_gone_is_rejected(server):
    server.status = 410
    made = channel(f"webhook:http://127.0.0.1:{server.server_port}/", allow_private=LOOPBACK)
    assert isinstance(made.send(notice()), Rejected)


def test_a_function_gets_one_flat_dict():
    got = []
    assert CallbackChannel(got.append).send(notice()) == Sent()
    assert got == [
        {
            "name": "Low",
            "severity": "warning",
            "status": "firing",
            "model": "flights",
            "version": "v1",
            "summary": "x is low",
            "message": "x is 0.5 (rule: x < 1)",
            "value": 0.5,
            "starts_at": "2026-01-01T00:00:00Z",
            "ends_at": None,
        }
    ]
    CallbackChannel(got.append).send(notice(status="resolved"))
    assert (got[1]["status"], got[1]["ends_at"]) == ("resolved", "2026-01-01T01:00:00Z")


def test_a_coroutine_function_is_awaited():
    got = []

    async def tell(alert):
        got.append(alert["name"])

    assert CallbackChannel(tell).send(notice()) == Sent()
    assert got == ["Low"]


def test_a_function_that_raises_is_not_called_again(caplog):
    def fail(alert):
        raise ValueError("no phone")

    delivery = CallbackChannel(fail).send(notice())
    assert isinstance(delivery, Rejected)
    assert "ValueError: no phone" in delivery.reason
    assert "ValueError: no phone" in caplog.text


# --- from a check to the wire -----------------------------------------------------------------------------


class Ledger:
    """Alerts and outbox in memory, as far as one pass needs them."""

    def __init__(self):
        self.alerts, self.waiting, self.settled = {}, {}, {}

    def get_alerts(self, model=None):
        return list(self.alerts.values())

    def put_alert(self, alert):
        self.alerts[alert["key"]] = alert

    def enqueue(self, notices):
        self.waiting |= {one.key: one for one in notices}
        return len(notices)

    def due(self, now_us, *, limit=20, lease_us=0):
        found = [one for key, one in self.waiting.items() if key not in self.settled]
        return found[:limit]

    def settle(self, key, *, state, now_us, retry_at_us=None, error=None):
        self.settled[key] = state


def test_an_alert_goes_from_the_check_to_every_channel(server, caplog):
    got, ledger = [], Ledger()
    addresses = ["log", f"webhook:http://127.0.0.1:{server.server_port}/", got.append]
    channels = open_channels(addresses, allow_private=LOOPBACK)
    rules = [AlertRule("Low", "x < 1")]
    apply(ledger, "flights", "v1", {}, {"x": 0.5}, rules, list(channels.values()), 0)
    report = send_due(ledger, channels, now_us=0, rng=np.random.default_rng(0))
    assert report.sent == 3
    assert "firing [warning] Low" in caplog.text
    assert json.loads(server.requests[0][2])["alerts"][0]["annotations"]["value"] == "0.5"
    assert got[0]["name"] == "Low"
