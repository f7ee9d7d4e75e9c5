"""Sending JSON over HTTP: answers, addresses, signatures, TLS; against real servers on loopback."""

import base64
import hashlib
import hmac
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from driftwell.errors import ConfigError
from driftwell.outbox import AddressPolicy, Rejected, Retry, Sent, SigningKey, post_json
from driftwell.outbox.http import check_url, resolve, retry_after, safe_url

LOOPBACK = AddressPolicy(allow_private=("127.0.0.1/32",))
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def post(url, **options):
    return post_json(url, {"a": 1}, **{"allow": LOOPBACK, **options})


# --- answers ----------------------------------------------------------------------------------------------


def test_json_arrives_with_its_headers(serve, answers):
    with serve(answers(204)) as server:
        delivery = post(f"{server.url}/hook?x=1", headers={"x-team": "ml"})
        path, headers, body = server.requests[0]
    assert delivery == Sent()
    assert (path, json.loads(body)) == ("/hook?x=1", {"a": 1})
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["content-type"] == "application/json"
    assert lower["x-team"] == "ml"
    assert lower["host"] == server.url.removeprefix("http://")
    assert "webhook-signature" not in lower


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Sent),
        (202, Sent),
        (301, Retry),
        (302, Retry),
        (400, Rejected),
        (401, Rejected),
        (404, Rejected),
        (408, Retry),
        (410, Rejected),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
def test_each_answer_means_one_thing(serve, answers, status, kind):
    with serve(answers(status)) as server:
        delivery = post(server.url)
    assert type(delivery) is kind
    if kind is not Sent:
        assert str(status) in delivery.reason


def test_a_redirect_is_not_followed(serve, answers):
    with serve(answers(200)) as target, serve(answers(307, {"location": target.url})) as server:
        delivery = post(server.url)
        assert target.requests == []
    assert "redirects are not followed" in delivery.reason


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(serve, answers, status):
    with serve(answers(status, {"retry-after": "120"})) as server:
        assert post(server.url).after_seconds == 120.0


def test_a_refused_connection_is_retried():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        delivery = post(f"http://127.0.0.1:{unused.getsockname()[1]}/secret-path")
    assert isinstance(delivery, Retry)
    assert "secret-path" not in delivery.reason


def test_a_server_that_hangs_up_is_retried(serve):
    with serve(lambda handler: handler.connection.close()) as server:
        assert isinstance(post(server.url), Retry)


def test_a_silent_server_ends_the_attempt(serve):
    release = threading.Event()
    with serve(lambda handler: release.wait(30)) as server:
        delivery = post(server.url, timeout_seconds=0.3)
        release.set()
    assert isinstance(delivery, Retry)
    assert "within 0.3 s" in delivery.reason


def test_a_server_that_drips_headers_ends_the_attempt(serve):
    stop = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while not stop.wait(0.02):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    with serve(drip) as server:
        delivery = post(server.url, timeout_seconds=0.5)
        stop.set()
    assert isinstance(delivery, Retry)


def test_an_endless_body_is_not_read(serve):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            gone.set()

    gone = threading.Event()
    with serve(endless) as server:
        assert post(server.url) == Sent()
        assert gone.wait(30)


def test_a_name_without_address_is_retried():
    def nowhere(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    delivery = post("http://nowhere.test/", resolver=nowhere)
    assert isinstance(delivery, Retry)
    assert "http://nowhere.test" in delivery.reason


@pytest.mark.parametrize("url", ["ftp://h/x", "http://", "https:///x", "http://h:port/", "//h/x", "h", "http://[::1"])
def test_what_is_no_address_is_rejected(url):
    assert isinstance(post(url), Rejected)
    with pytest.raises(ConfigError, match="must look like https://host/path"):
        check_url(url, LOOPBACK)


# --- where it may go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # cloud metadata
        "168.63.129.16",  # Azure's host, although the range is public
        "100.100.100.200",  # Alibaba's metadata, carrier-grade range
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "ff02::1",
        "2001:db8::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b::a9fe:a9fe",  # NAT64 of the metadata address
    ],
)
def test_addresses_that_are_not_public_are_refused(address):
    assert AddressPolicy().refusal(address) == f"{address} is not a public address"


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address):
    assert AddressPolicy().refusal(address) is None


def test_only_what_is_listed_is_allowed():
    policy = AddressPolicy(allow_private=("10.0.0.0/8", "fd00::/8"))
    assert policy.refusal("10.9.9.9") is None
    assert policy.refusal("::ffff:10.9.9.9") is None
    assert policy.refusal("fd12::1") is None
    assert policy.refusal("127.0.0.1") is not None
    assert policy.refusal("fe80::1") is not None


def test_a_list_that_is_no_network_is_an_error():
    with pytest.raises(ConfigError, match="not a network"):
        AddressPolicy(allow_private=("localhost",))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_no_spelling_of_loopback_gets_through(serve, answers, host):
    with serve(answers(200)) as server:
        delivery = post_json(f"http://{host}:{server.server_port}/", {}, allow=AddressPolicy())
        assert server.requests == []
    assert not isinstance(delivery, Sent)


def test_a_name_that_leads_inside_is_rejected(serve, answers):
    with serve(answers(200)) as server:
        url = f"http://hooks.test:{server.server_port}/"
        delivery = post_json(url, {}, allow=AddressPolicy(), resolver=lambda host, port: ["127.0.0.1"])
        assert server.requests == []
    assert isinstance(delivery, Rejected)
    assert "127.0.0.1 is not a public address" in delivery.reason


def test_the_address_that_was_checked_is_the_one_used(serve, answers):
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with serve(answers(200)) as server:
        url = f"http://hooks.test:{server.server_port}/"
        assert post(url, resolver=rebinding) == Sent()
        assert server.requests[0][1]["host"] == f"hooks.test:{server.server_port}"
    assert asked == ["hooks.test"]


def test_the_next_address_of_a_name_is_tried(serve, answers):
    policy = AddressPolicy(allow_private=("127.0.0.0/8",))
    with serve(answers(200)) as server:
        url = f"http://hooks.test:{server.server_port}/"
        # Nothing listens on 127.0.0.2; the private 10.0.0.1 is never tried.
        found = ["10.0.0.1", "127.0.0.2", "127.0.0.1"]
        assert post_json(url, {}, allow=policy, resolver=lambda host, port: found) == Sent()


def test_proxies_of_the_environment_are_not_used(serve, answers, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serve(answers(200)) as server:
        assert post(server.url) == Sent()


def test_a_refused_literal_fails_when_it_is_configured():
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1 is not a public address; list it in webhook_allow_private"):
        check_url("https://10.0.0.1/x", AddressPolicy())
    check_url("https://hooks.example.com/x", AddressPolicy())


def test_a_literal_resolves_to_itself():
    assert resolve("127.0.0.1", 80) == ["127.0.0.1"]


# --- secrets ----------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_standard_webhooks(serve, answers):
    with serve(answers(200)) as server:
        post(server.url, key=SigningKey(SECRET), message_id="msg_1", clock=lambda: 1_700_000_000.9)
        _, headers, body = server.requests[0]
    # The scheme of the specification, written out: HMAC-SHA256 over id.timestamp.body, base64, "v1,".
    signed = b"msg_1.1700000000." + body
    expected = base64.b64encode(hmac.new(bytes(range(32)), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1700000000"
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_matches_the_published_example():
    # Example of the Standard Webhooks specification (its reference libraries' test vector).
    key = SigningKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = key.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_keys_make_two_signatures():
    other = "whsec_" + base64.b64encode(bytes(24)).decode()
    both = SigningKey(f"{SECRET} {other}").headers("m", 1, b"")["webhook-signature"].split()
    single = [SigningKey(one).headers("m", 1, b"")["webhook-signature"] for one in (SECRET, other)]
    assert both == single


@pytest.mark.parametrize("secret", ["", "whsec_", "hunter2", "whsec_" + base64.b64encode(bytes(23)).decode(), "ü" * 40])
def test_a_weak_or_broken_key_is_an_error(secret):
    with pytest.raises(ConfigError, match="24 to 64 random bytes") as caught:
        SigningKey(secret)
    assert str(caught.value) == "a webhook secret is whsec_ followed by the base64 of 24 to 64 random bytes"


def test_the_repr_of_a_key_hides_it():
    assert repr(SigningKey(SECRET)) == "SigningKey()"


def test_nothing_secret_reaches_the_log(serve, answers, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(answers(400)) as server:
        host = server.url.removeprefix("http://")
        delivery = post(f"http://user:hunter2@{host}/T0/path-key?token=query-key", key=SigningKey(SECRET))
        headers = server.requests[0][1]
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:hunter2").decode()
    said = delivery.reason + caplog.text
    for secret in ("hunter2", "path-key", "query-key", SECRET, headers["authorization"]):
        assert secret not in said


def test_a_safe_url_keeps_only_where_it_goes():
    assert safe_url("https://u:p@h.example:8443/a?b#c") == "https://h.example:8443"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        ("Thu, 01 Jan 1970 00:16:40 GMT", 900.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:40", 900.0),
        ("9" * 50, 999_999_999.0),
    ],
)
def test_retry_after_is_read_as_number_or_date(header, seconds):
    assert retry_after(header, 100.0) == seconds


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for hooks.test that signs itself, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.test"
    options = ["-addext", "subjectAltName=DNS:hooks.test", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    return made


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_verifies_the_name_though_the_address_is_used(serve, answers, tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serve(answers(200), tls) as server:
        right = f"https://hooks.test:{server.server_port}/"
        wrong = f"https://other.test:{server.server_port}/"
        assert post(right, resolver=lambda host, port: ["127.0.0.1"]) == Sent()
        refused = post(wrong, resolver=lambda host, port: ["127.0.0.1"])
        assert len(server.requests) == 1
    assert isinstance(refused, Retry)
    assert "certificate" in refused.reason


def test_an_unknown_certificate_is_not_trusted(serve, answers, tls):
    with serve(answers(200), tls) as server:
        delivery = post(f"https://hooks.test:{server.server_port}/", resolver=lambda host, port: ["127.0.0.1"])
        assert server.requests == []
    assert isinstance(delivery, Retry)
