"""Sending JSON to an address that a user gave: checked where it leads, signed, never redirected."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from driftwell.errors import ConfigError
from driftwell.outbox.outbox import Delivery, Rejected, Retry, Sent

if TYPE_CHECKING:
    import httpx2

__all__ = ["AddressPolicy", "SigningKey", "check_url", "post_json", "safe_url"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]

TRIED_ADDRESSES = 4  # of one name, before an attempt counts as failed
TIMEOUT_SECONDS = 15.0
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's host: reaches inside although the range is public
        "192.0.0.0/24",  # the rest are special ranges that some versions of ipaddress take for public
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "2001::/23",
        "3fff::/20",
        "5f00::/16",
    )
)


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses may be connected to: public ones, and the networks in ``allow_private``.

    Loopback, private, link-local (cloud metadata), carrier-grade, multicast and reserved ranges are refused
    unless listed, also when an IPv4 address hides in an IPv6 one. Raises ``ConfigError`` for what is not a
    network.

    Examples
    --------
    >>> AddressPolicy().refusal("10.0.0.7")
    '10.0.0.7 is not a public address'
    >>> AddressPolicy(allow_private=("10.0.0.0/8",)).refusal("10.0.0.7") is None
    True
    """

    allow_private: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.allow_private:
            try:
                ipaddress.ip_network(text)
            except ValueError as exc:
                raise ConfigError(f"not a network such as 127.0.0.1/32: {text!r}") from exc

    def refusal(self, address: str) -> str | None:
        """Why ``address`` (an IP address as text) may not be connected to, or None."""
        found = ipaddress.ip_address(address)
        inner = _embedded(found)
        allowed = any(one in ipaddress.ip_network(net) for net in self.allow_private for one in (found, inner))
        if allowed or _is_public(inner):
            return None
        return f"{address} is not a public address"


def _embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64, compatible), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64 or (address.packed[:12] == bytes(12) and int(address) > 1):
        return ipaddress.IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.teredo is not None))
    )
    return address.is_global and not special and not any(address in network for network in NOT_PUBLIC)


@dataclass(frozen=True)
class SigningKey:
    """Signs messages as Standard Webhooks 1.0 says; the key never appears in the repr.

    ``secret`` is ``whsec_`` and the base64 of 24 to 64 random bytes; several, separated by spaces, each add a
    signature, so that a receiver can change from one to the other. Raises ``ConfigError``.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self._keys or not all(24 <= len(key) <= 64 for key in self._keys):
            raise ConfigError("a webhook secret is whsec_ followed by the base64 of 24 to 64 random bytes")

    @functools.cached_property
    def _keys(self) -> tuple[bytes, ...]:
        try:
            return tuple(base64.b64decode(part.removeprefix("whsec_"), validate=True) for part in self.secret.split())
        except ValueError:
            return ()

    def headers(self, message_id: str, sent_seconds: int, body: bytes) -> dict[str, str]:
        """The three headers of a message sent at ``sent_seconds`` (Unix time)."""
        signed = b"%b.%d.%b" % (message_id.encode(), sent_seconds, body)
        made = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in self._keys]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(sent_seconds),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
        }


def safe_url(url: str) -> str:
    """The address without what may be secret in it: scheme, host and port only.

    Examples
    --------
    >>> safe_url("https://user:pass@hooks.example.com:8443/T0/B1/key?x=1")
    'https://hooks.example.com:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def check_url(url: str, allow: AddressPolicy) -> None:
    """Refuse at once what could never be sent to: raises ``ConfigError`` that shows nothing secret.

    A name is resolved and checked only when something is sent, since it may lead elsewhere by then.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise ConfigError("a webhook address must look like https://host/path (http or https)")
    try:
        refusal = allow.refusal(host)
    except ValueError:  # a name, not an address
        return
    if refusal:
        raise ConfigError(f"{refusal}; list it in webhook_allow_private to allow it")


def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of a name, the preferred one first. Raises ``OSError`` when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def post_json(
    url: str,
    body: Any,
    *,
    allow: AddressPolicy,
    headers: Mapping[str, str] | None = None,
    key: SigningKey | None = None,
    message_id: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
    clock: Callable[[], float] = time.time,
    resolver: Resolver = resolve,
) -> Delivery:
    """POST ``body`` as JSON and say what became of it; never raises for anything the network does.

    The name is resolved once and only an address that ``allow`` permits is connected to, while TLS still
    verifies the name; proxies in the environment are not used. ``timeout_seconds`` bounds the whole exchange
    (but not a name server that hangs).
    Answers: 2xx is sent; 408, 429, 3xx (never followed), 5xx and broken connections are retried, honouring
    ``Retry-After``; other 4xx and refused addresses are rejected. The body of the answer is not read. With
    ``key`` the message is signed under ``message_id``. Call it on a thread without a running event loop.
    """
    content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    sent = {"content-type": "application/json", "user-agent": "driftwell", **(headers or {})}
    if key is not None:
        sent |= key.headers(message_id, int(clock()), content)
    exchange = _Exchange(url, content, sent, allow, resolver, clock)
    return asyncio.run(exchange.run(timeout_seconds))


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request and its answer."""

    url: str
    content: bytes
    headers: Mapping[str, str]
    allow: AddressPolicy
    resolver: Resolver
    clock: Callable[[], float]

    async def run(self, timeout_seconds: float) -> Delivery:
        import httpx2

        try:
            check_url(self.url, self.allow)
            async with asyncio.timeout(timeout_seconds):
                return await self._post(httpx2.URL(self.url))
        except TimeoutError:
            return Retry(f"no answer from {safe_url(self.url)} within {timeout_seconds:g} s")
        except ConfigError as exc:
            return Rejected(str(exc))
        except httpx2.InvalidURL:
            return Rejected("the address is not a valid URL")
        except (httpx2.HTTPError, OSError) as exc:
            return Retry(f"{safe_url(self.url)}: {type(exc).__name__}: {exc}".rstrip(": "))
        except UnicodeError:
            return Rejected(f"{safe_url(self.url)}: the host is not a valid name")

    async def _post(self, url: httpx2.URL) -> Delivery:
        import httpx2

        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().run_in_executor(None, self.resolver, url.host, port)
        refusals = {address: self.allow.refusal(address) for address in found}
        allowed = [address for address, refusal in refusals.items() if refusal is None]
        if not allowed:
            refusal = next(iter(refusals.values()), "the name has no address")
            return Rejected(f"{safe_url(self.url)}: {refusal}; webhook_allow_private can allow it")
        async with httpx2.AsyncHTTPTransport() as transport:
            for address in allowed[:TRIED_ADDRESSES]:
                try:
                    answer = await transport.handle_async_request(self._request(url, address))
                except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
                    failure = exc
                    continue
                await answer.aclose()
                return self._delivery(answer)
        raise failure

    def _request(self, url: httpx2.URL, address: str) -> httpx2.Request:
        """The request to the checked address; the name stays in the Host header and in the TLS handshake."""
        import httpx2

        headers = {"host": url.netloc.decode("ascii"), **self.headers}
        if url.userinfo:
            login = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
            headers.setdefault("authorization", f"Basic {login}")
        return httpx2.Request(
            "POST",
            url.copy_with(host=address, userinfo=b""),
            headers=headers,
            content=self.content,
            extensions={"sni_hostname": url.raw_host.decode("ascii"), "timeout": {"connect": 5.0}},
        )

    def _delivery(self, answer: httpx2.Response) -> Delivery:
        status = answer.status_code
        reason = f"{safe_url(self.url)} answered {status} {answer.reason_phrase}".rstrip()
        if 200 <= status < 300:
            return Sent()
        if 300 <= status < 400:
            return Retry(f"{reason}: redirects are not followed, give the final address")
        if status in (408, 429) or status >= 500:
            return Retry(reason, retry_after(answer.headers.get("retry-after"), self.clock()))
        return Rejected(reason)


def retry_after(header: str | None, now_seconds: float) -> float | None:
    """The seconds a ``Retry-After`` header asks for, as a number or a date; None without a usable one.

    Examples
    --------
    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 50.0), retry_after("soon", 0.0)
    (120.0, 10.0, None)
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now_seconds)
    except (ValueError, OverflowError):
        return None
