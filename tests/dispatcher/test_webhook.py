"""Calls of other systems, against a real HTTP server: what arrives, what each answer means, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.call import compose_call
from services.dispatcher.channels.webhook import WebhookChannel, answer_of, is_public
from services.dispatcher.errors import HandOverRefused
from services.dispatcher.links import StepLinks
from services.dispatcher.message import Outbound, from_document, to_document
from services.dispatcher.outcomes import Accepted, Deferred, Rejected
from shared.events.dispatch import WebhookCall
from shared.rendering.errors import BrokenContent, MissingValues
from shared.tokens import Tokens
from shared.webhook_signing import secret_of, signature
from tests.dispatcher.making import LEAD, ORGANIZATION, dressed, step_of

KEYS = ["newest-key-0123456789", "older-key-0123456789"]
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Receiver:
    """A server that keeps what it got and answers with ``answer``; None: not at all."""

    answer: bytes | None = OK
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.got.append((head[0], headers, body))
        if self.answer is None:
            await reader.read()  # until the caller gives up
        else:
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def channel(stack: AsyncExitStack, **more: Any) -> WebhookChannel:
    made = WebhookChannel(KEYS, lambda: NOW, monotonic, **{"allow_private": True, **more})
    stack.push_async_callback(made.close)
    return made


def call(url: str = "https://example.com/hook", body: str | None = None, **more: Any) -> Outbound:
    asked = WebhookCall(url=url, method=more.pop("method", "POST"), headers=more.pop("headers", {}))
    step = dressed(
        kind="webhook", channel="webhook", address=url, content={"body": body}, webhook=asked, **more.pop("step", {})
    )
    links = StepLinks(Tokens(KEYS), "http://t", step_of(step), LEAD)
    return compose_call(step, step_of(step), links)


async def handed() -> None:
    """The ledger agrees."""


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_a_call_carries_the_step_its_id_and_a_signature(receiver: Receiver, stack: AsyncExitStack) -> None:
    message = call(receiver.url, headers={"X-Team": "a"})
    assert await (await channel(stack)).send(message, handed) == Accepted("200")
    [(line, headers, body)] = receiver.got
    assert line == "POST /hook?a=b HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (headers["x-team"], headers["content-type"]) == ("a", "application/json")
    assert headers["idempotency-key"] == headers["webhook-id"] == message.message_id
    said = orjson.loads(body)
    assert (said["lead"]["first_name"], said["organization_id"], said["step_id"]) == ("Ada", ORGANIZATION, "welcome")
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    signed = f"{message.message_id}.{headers['webhook-timestamp']}.".encode() + body
    wanted = []
    for key in KEYS:
        raw = base64.b64decode(secret_of(key, ORGANIZATION).removeprefix("whsec_"))
        wanted.append("v1," + base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode())
    assert headers["webhook-signature"].split(" ") == wanted


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification."""
    made = signature(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_organization_has_a_secret_of_its_own() -> None:
    assert secret_of(KEYS[0], "demo") != secret_of(KEYS[0], "other") != secret_of(KEYS[1], "other")


async def test_a_later_attempt_sends_the_same_bytes_with_the_same_id(receiver: Receiver, stack: AsyncExitStack) -> None:
    receiver.answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    message, made = call(receiver.url), await channel(stack)
    assert await made.send(message, handed) == Deferred("500")
    receiver.answer = OK
    assert await made.send(from_document(to_document(message)), handed) == Accepted("200")
    first, second = receiver.got
    assert (first[1]["webhook-id"], first[2]) == (second[1]["webhook-id"], second[2])


@given(name=st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and text.isprintable()))
def test_no_value_breaks_out_of_a_json_body(name: str) -> None:
    values = {"first_name": name, "tags": [name]}
    message = call(body='{"hello": "{{ first_name }}", "n": {{ score | default: 0 }}}', step={"lead": values})
    assert orjson.loads(message.text) == {"hello": name, "n": 0}


def test_a_body_of_another_type_is_left_as_it_is() -> None:
    message = call(body='name="{{ first_name }}"', headers={"Content-Type": "text/plain"})
    assert (message.text, message.headers) == ('name="Ada"', {"Content-Type": "text/plain"})


def test_a_body_that_is_no_json_is_never_sent() -> None:
    with pytest.raises(BrokenContent):
        call(body="{ {{ first_name }} }")


def test_a_missing_value_holds_the_step() -> None:
    with pytest.raises(MissingValues) as caught:
        call(body='{"plan": "{{ plan }}"}')
    assert caught.value.names == ["plan"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_call_that_only_asks_has_no_body(method: str) -> None:
    message = call(method=method)
    assert (message.subject, message.text, message.headers) == (method, "", {})


# --- what an answer means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("204 No", Accepted("204")),
        ("301 Moved", Rejected("301: redirects are not followed")),
        ("400 No", Rejected("400")),
        ("404 No", Rejected("404")),
        ("410 Gone", Rejected("410")),
        ("408 Slow", Deferred("408")),
        ("429 Many", Deferred("429", retry_after_seconds=7.0)),
        ("500 Oh", Deferred("500", retry_after_seconds=7.0)),
        ("503 Oh", Deferred("503", retry_after_seconds=7.0)),
    ],
)
async def test_what_a_status_means(receiver: Receiver, stack: AsyncExitStack, status: str, wanted: object) -> None:
    wish = "" if "Slow" in status else "Retry-After: 7\r\n"
    receiver.answer = f"HTTP/1.1 {status}\r\n{wish}Location: /else\r\nContent-Length: 0\r\n\r\n".encode()
    assert await (await channel(stack)).send(call(receiver.url), handed) == wanted
    assert len(receiver.got) == 1


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/9 what\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_an_answer_that_is_lost_is_tried_again(
    receiver: Receiver, stack: AsyncExitStack, answer: bytes | None
) -> None:
    receiver.answer = answer
    said = await (await channel(stack, call_seconds=0.5)).send(call(receiver.url), handed)
    assert isinstance(said, Deferred)
    assert said.fault


async def test_a_receiver_that_is_away_is_tried_again_and_given_a_rest(stack: AsyncExitStack) -> None:
    made = await channel(stack)
    url = "http://127.0.0.1:1/"
    for _ in range(5):
        said = await made.send(call(url), handed)
        assert isinstance(said, Deferred)
        assert said.fault
    said = await made.send(call(url), handed)
    assert isinstance(said, Deferred)
    assert not said.fault
    assert said.retry_after_seconds


async def test_one_receivers_rest_is_no_others(receiver: Receiver, stack: AsyncExitStack) -> None:
    made = await channel(stack)
    for _ in range(6):
        await made.send(call("http://localhost:1/"), handed)
    assert await made.send(call(receiver.url), handed) == Accepted("200")


def test_a_silly_wish_is_not_taken() -> None:
    for wish in ("-1", "soon", "9" * 30, "٣"):
        answer = answer_of(httpx.Response(503, headers={b"Retry-After": wish.encode()}))
        assert answer == Deferred("503")


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_stopped_step_is_never_called(receiver: Receiver, stack: AsyncExitStack) -> None:
    message = call(receiver.url)

    async def refuse() -> None:
        raise HandOverRefused(dressed().dispatch_id)

    with pytest.raises(HandOverRefused):
        await (await channel(stack)).send(message, refuse)
    assert receiver.got == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::1]", "0.0.0.0"])
async def test_a_private_address_is_refused_whatever_it_is_called(
    receiver: Receiver, stack: AsyncExitStack, host: str
) -> None:
    handed_over = False

    async def hand_over() -> None:
        nonlocal handed_over
        handed_over = True

    made = await channel(stack, allow_private=False)
    answer = await made.send(call(f"http://{host}:{receiver.port}/"), hand_over)
    assert isinstance(answer, Rejected | Deferred)
    assert not handed_over
    assert receiver.got == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::a01:203",
        "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_outside_world_is_public(address: str) -> None:
    assert is_public(address)


async def test_a_name_that_does_not_exist_is_tried_again(stack: AsyncExitStack) -> None:
    answer = await (await channel(stack)).send(call("http://nowhere.invalid/"), handed)
    assert answer == Deferred("nowhere.invalid cannot be resolved")
