"""Calls of other systems over HTTP.

A host name is resolved once, every address it has must be public, and the connection goes to one of these: a name
that changes its mind between the check and the call gains nothing. No redirect is followed. Each attempt carries the
same id, so a receiver that has seen it can tell; therefore an answer that is lost is tried again, not left in doubt.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime

import httpx

from services.dispatcher.channels.account import Breaker
from services.dispatcher.channels.protocol import HandOver
from services.dispatcher.message import Outbound
from services.dispatcher.outcomes import Accepted, Answer, Deferred, Rejected
from shared import telemetry
from shared.webhook_signing import secret_of, signature

CONNECT_SECONDS = 5.0
#: All of an attempt; it stays within what a step may be held.
CALL_SECONDS = 20.0
#: Connections at a time, to all receivers together.
CONNECTIONS = 50
#: Receivers whose breaker is remembered.
MOST_HOSTS = 1_000
LONGEST_WISH_SECONDS = 24 * 3_600.0
#: Answers that may be another one later.
PASSING = frozenset({408, 425, 429})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_calls = telemetry.histogram("dispatcher_webhook_seconds", "Machine seconds from resolving to the answer")


class NotPublic(Exception):
    """The host has an address that is not public."""


class WebhookChannel:
    """``keys`` sign, newest first; ``wall`` is machine time, UTC. ``allow_private`` lets calls go to loopback and
    private networks.
    """

    wants_mime = False

    def __init__(
        self,
        keys: Sequence[str],
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
        *,
        allow_private: bool = False,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._keys = keys
        self._wall = wall
        self._monotonic = monotonic
        self._allow_private = allow_private
        self._call_seconds = call_seconds
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        # A connection is not used again: two names with one address must not share what was verified for one of them.
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(call_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=0),
        )

    async def send(self, message: Outbound, hand_over: HandOver) -> Answer:
        """See Channel."""
        started = self._monotonic()
        try:
            async with asyncio.timeout(self._call_seconds):
                await self._slots.acquire()
        except TimeoutError:
            return Deferred("all connections are busy", fault=False, retry_after_seconds=self._call_seconds)
        url = httpx.URL(message.to)
        breaker = self._breaker(url.host)
        try:
            closed = breaker.open_for()
            if closed:
                return Deferred("the receiver failed repeatedly", fault=False, retry_after_seconds=closed)
            return await self._attempt(message, url, hand_over, breaker)
        finally:
            breaker.unclear()
            self._slots.release()
            _calls.observe(self._monotonic() - started)

    async def close(self) -> None:
        """Ends what is still open."""
        await self._client.aclose()

    def _breaker(self, host: str) -> Breaker:
        breaker = self._breakers.pop(host, None) or Breaker(self._monotonic)
        self._breakers[host] = breaker
        if len(self._breakers) > MOST_HOSTS:
            self._breakers.popitem(last=False)
        return breaker

    async def _attempt(self, message: Outbound, url: httpx.URL, hand_over: HandOver, breaker: Breaker) -> Answer:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                address = await self._address(url)
        except NotPublic:
            return Rejected(f"{url.host} has no public address")
        except (OSError, UnicodeError, TimeoutError):
            breaker.fault()
            return Deferred(f"{url.host} cannot be resolved")
        request = self._request(message, url, address)
        await hand_over()
        try:
            async with asyncio.timeout(self._call_seconds):
                response = await self._client.send(request, stream=True)
                await response.aclose()  # what it says does not matter
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            breaker.fault()
            return Deferred(f"no answer from {url.host}: {type(error).__name__}")
        if response.status_code >= 500:
            breaker.fault()
        else:
            breaker.well()
        return answer_of(response)

    async def _address(self, url: httpx.URL) -> str:
        """Raises NotPublic, or OSError when there is no such host."""
        loop = asyncio.get_running_loop()
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await loop.getaddrinfo(url.raw_host.decode("ascii"), port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise NotPublic
        return addresses[0]

    def _request(self, message: Outbound, url: httpx.URL, address: str) -> httpx.Request:
        body = message.text.encode()
        at = int(self._wall().timestamp())
        secrets = [secret_of(key, message.organization_id) for key in self._keys]
        headers = {
            "User-Agent": "Tendril",
            **message.headers,
            "Host": url.netloc.decode("ascii"),
            "Idempotency-Key": message.message_id,
            "webhook-id": message.message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(secrets, message.message_id, at, body),
        }
        return self._client.build_request(
            message.subject,
            url.copy_with(host=address),
            content=body,
            headers={name.encode(): value.encode() for name, value in headers.items()},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )


def answer_of(response: httpx.Response) -> Answer:
    """What a status means: 2xx accepted; 429, other passing ones and 5xx later again; the rest never."""
    status = response.status_code
    if 200 <= status < 300:
        return Accepted(str(status))
    if 300 <= status < 400:
        return Rejected(f"{status}: redirects are not followed")
    if status in PASSING or status >= 500:
        return Deferred(str(status), retry_after_seconds=_wish(response.headers.get("Retry-After")))
    return Rejected(str(status))


def _wish(text: str | None) -> float | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return min(float(text), LONGEST_WISH_SECONDS)


def is_public(text: str) -> bool:
    """May the outside world be at this address? Loopback, private and other special ones are refused, also where they
    hide in an address of IPv6.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast
