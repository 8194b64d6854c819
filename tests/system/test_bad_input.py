"""Bad input at every edge of the whole system: a clear error or one dead letter each, nothing lost, nothing crashed.

What each edge does in detail is tested with its service. Here everything stands behind it: what gets in must pass the
store, the relay and every view.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aio_pika
import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.waiting import eventually
from tests.system.checking import verify_all
from tests.system.sequences import email, sequence
from tests.system.stack import ORGANIZATION, Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

JSON = "application/json"
CLOUD_EVENT = "application/cloudevents+json"
MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("bad")) as running:
        await running.api("POST", "sequences?activate=true", json=sequence("Good", [email("only")]))
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_crashes(stack: Stack) -> AsyncIterator[None]:
    """After each test the same processes run, are ready, and a good lead gets its mail."""
    before = pids(stack)
    yield
    await a_good_lead_passes(stack)
    assert pids(stack) == before
    for name in stack.services:
        await stack.ready(name, seconds=10)
    views = (await stack.api("GET", "ops/views"))["items"]
    assert {view["name"]: view["state"] for view in views} == {view["name"]: "live" for view in views}


def pids(stack: Stack) -> dict[str, int | None]:
    return {
        name: process.child.pid if process.running and process.child else None
        for name, process in stack.services.items()
    }


async def a_good_lead_passes(stack: Stack) -> None:
    number = secrets.randbelow(1 << 40)
    await stack.publish_leads([lead(number)])
    await stack.sink.wait_for(1, to=f"lead{number}@example.com")

    async def shown() -> bool:
        return bool(await stack.items("enrollments", q=f"lead{number}@example.com", status="completed"))

    await eventually(shown, timeout_seconds=30, message="the good lead is not shown")


async def publish(stack: Stack, body: bytes, *, routing_key: str = "lead.created", **properties: Any) -> None:
    channel = await stack.channel()
    try:
        exchange = await channel.get_exchange("tendril.leads", ensure=False)
        await exchange.publish(aio_pika.Message(body, **{"content_type": JSON, **properties}), routing_key)
    finally:
        await channel.close()


async def letters(stack: Stack, message_id: str | None, marker: str) -> list[dict[str, Any]]:
    """The dead letters of a message: by its id, else by a text in its body."""
    return [
        each
        for each in await stack.items("ops/dead-letters")
        if (each["message_id"] == message_id if message_id else marker in each["body"])
    ]


def written(body: Any) -> bytes:
    """As JSON; other writers nest deeper than ours."""
    return json.dumps(body, ensure_ascii=False).encode()


def body_of(address: str, *, beside: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A good body but for the given fields."""
    body = {"organization_id": ORGANIZATION, "lead": {"email": address, **fields}, **(beside or {})}
    return written(body)


def event_of(address: str, **attributes: Any) -> bytes:
    """A good CloudEvent but for the given attributes; None leaves one out."""
    data = {"organization_id": ORGANIZATION, "lead": {"email": address}}
    event = {"specversion": "1.0", "id": f"ce-{address}", "type": "lead.created.v1", "source": "crm", "data": data}
    return orjson.dumps({name: value for name, value in {**event, **attributes}.items() if value is not None})


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"in": value}
    return value


A = "@bad.example.com"
NINES = b"9" * 300
#: Name, body, field that a reason names ("" the whole body).
DEAD: list[tuple[str, bytes, str]] = [
    ("empty", b"", ""),
    ("not-json", b"{]", ""),
    ("not-utf8", b'{"organization_id": "\xff\xfe"}', ""),
    ("surrogate-escaped", b'{"organization_id": "demo", "lead": {"email": "s@x.example", "title": "\\ud800"}}', ""),
    ("surrogate-raw", b'{"organization_id": "demo", "lead": {"email": "s@x.example", "title": "\xed\xa0\x80"}}', ""),
    ("a-list", b"[]", ""),
    ("a-number", b"17", ""),
    ("null", b"null", ""),
    ("too-deep-to-read", b"[" * 200_000, ""),
    ("deep-objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ""),
    ("not-a-number", b'{"organization_id": "demo", "lead": {"email": "n@x.example", "score": NaN}}', ""),
    ("no-organization", b'{"lead": {"email": "o@x.example"}}', "organization_id"),
    ("organization-of-wrong-type", b'{"organization_id": {"$ne": 1}, "lead": {"email": "o@x.de"}}', "organization_id"),
    ("organization-no-name", b'{"organization_id": "../etc\\u0000", "lead": {"email": "o@x.de"}}', "organization_id"),
    ("unknown-organization", b'{"organization_id": "nobody", "lead": {"email": "o@x.example"}}', "organization_id"),
    ("no-lead", b'{"organization_id": "demo"}', "lead"),
    ("lead-of-wrong-type", b'{"organization_id": "demo", "lead": ["a"]}', "lead"),
    ("no-identity", b'{"organization_id": "demo", "lead": {"first_name": "Nobody"}}', ""),
    ("email-of-wrong-type", b'{"organization_id": "demo", "lead": {"email": 7}}', "lead.email"),
    ("email-no-address", body_of("nobody at home"), "lead.email"),
    ("email-with-nul", body_of("nul\0@x.example"), "lead.email"),
    ("email-with-a-header", body_of("a@x.example\r\nBcc: all@x.example"), "lead.email"),
    ("email-too-long", body_of("a" * 400 + A), "lead.email"),
    ("phone-no-number", body_of("p" + A, phone="call me"), "lead.phone"),
    ("score-too-high", body_of("s" + A, score=101), "lead.score"),
    ("score-huge", b'{"organization_id": "demo", "lead": {"email": "h@x.example", "score": 1e308}}', "lead.score"),
    ("score-beyond-any-number", b'{"organization_id": "demo", "lead": {"email": "h@x.example", "score": 1e999}}', ""),
    ("score-of-300-digits", b'{"organization_id":"demo","lead":{"phone":"+49","score":' + NINES + b"}}", "lead.score"),
    ("name-too-long", body_of("l" + A, first_name="x" * 2_001), "lead.first_name"),
    ("tags-of-wrong-type", body_of("t" + A, tags=[{"a": 1}]), "lead.tags[0]"),
    ("too-many-tags", body_of("t" + A, tags=["t"] * 201), "lead.tags"),
    ("custom-fields-no-map", body_of("c" + A, custom_fields=[1]), "lead.custom_fields"),
    ("consent-unknown", body_of("c" + A, consent={"fax": True}), "lead.consent.fax"),
    ("occurred-without-zone", body_of("z" + A, beside={"occurred_at": "2026-01-01T00:00:00"}), "occurred_at"),
    ("occurred-never", body_of("z" + A, beside={"occurred_at": "yesterday"}), "occurred_at"),
    ("one-byte-too-long", body_of("big" + A, custom_fields={"x": "y" * MIB}), ""),
    ("larger-than-a-document", body_of("huge" + A, custom_fields={"x": "y" * (17 * MIB)}), ""),
    ("event-of-wrong-type", event_of("e1" + A, type="lead.updated.v1"), "type"),
    ("event-of-no-type", event_of("e2" + A, type="x"), "type"),
    ("event-of-another-version", event_of("e3" + A, specversion="0.3"), "specversion"),
    ("event-without-source", event_of("e4" + A, source=None), "source"),
    ("event-without-data", event_of("e5" + A, data=None), "data"),
    ("event-of-two-organizations", event_of("e6" + A, organizationid="other"), "organizationid"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "field"), DEAD, ids=[case[0] for case in DEAD])
async def test_what_cannot_be_a_lead_is_one_dead_letter_with_reasons(
    stack: Stack, name: str, body: bytes, field: str
) -> None:
    await publish(stack, body, message_id=f"dead-{name}")

    async def dead() -> list[dict[str, Any]]:
        return await letters(stack, f"dead-{name}", "")

    found = await eventually(dead, timeout_seconds=20, message="no dead letter")
    await a_good_lead_passes(stack)
    assert len(await dead()) == 1
    assert found[0]["queue"] == "enrollment.leads"
    assert any(reason["field"] == field and reason["problem"] for reason in found[0]["reasons"]), found[0]["reasons"]


#: Name, fields of the lead, what stands beside it: unusual, and all the same a lead.
LEADS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nul-in-a-name", {"first_name": "A\0da"}, {}),
    ("template-in-a-name", {"first_name": "{{ organization }}{% raise %}"}, {}),
    ("markup-in-a-name", {"first_name": "<script>alert(1)</script>", "company": '"><img src=x onerror=1>'}, {}),
    ("line-breaks-in-a-name", {"first_name": "Ada\r\nBcc: all@example.com\r\n\r\nbody"}, {}),
    ("right-to-left-and-emoji", {"first_name": "\u202eadA\U0001f600\u200b"}, {}),
    ("operators-as-names", {"custom_fields": {"$set": 1, "a.b": 2, "": 3, "x\0y": 4, "__proto__": 5}}, {}),
    ("operators-below", {"custom_fields": {"deep": {"$where": "1", "a.b": [{"$gt": ""}], "": 0, "n\0": 1}}}, {}),
    ("numbers-beyond-64-bits", {"custom_fields": {"u": 2**64 - 1, "low": -(2**63), "f": 1.7e308}}, {}),
    ("deeply-nested-fields", {"custom_fields": {"deep": nested(300)}}, {}),
    ("many-fields", {"custom_fields": {f"f{n}": n for n in range(5_000)}}, {}),
    ("nearly-too-long", {"custom_fields": {"x": "y" * (MIB - 200)}}, {}),
    ("unknown-fields", {"$or": [], "nested": {"a": [1, None, True]}}, {"what": "ever"}),
    ("no-such-zone", {"timezone": "Mars/Olympus", "locale": "xx-\u0000"}, {}),
    ("long-ago", {}, {"occurred_at": "0001-01-01T00:00:00Z"}),
    ("far-ahead", {}, {"occurred_at": "9999-12-31T23:59:59Z"}),
    ("ahead-of-its-zone", {}, {"occurred_at": "9999-12-31T23:59:59-01:00"}),
    ("hostile-funnel", {}, {"funnel_id": "a.b/../\0$x"}),
]


@pytest.mark.parametrize(("name", "fields", "beside"), LEADS, ids=[case[0] for case in LEADS])
async def test_what_is_unusual_is_a_lead_or_one_dead_letter(
    stack: Stack, name: str, fields: dict[str, Any], beside: dict[str, Any]
) -> None:
    body = body_of(f"{name}{A}", beside={"funnel_id": "test-funnel", **beside}, **fields)
    await publish(stack, body, message_id=f"odd-{name}")

    async def ended() -> bool:
        dead = await letters(stack, f"odd-{name}", "")
        known = await stack.items("leads", q=f"{name}{A}")
        assert len(dead) + len(known) <= 1
        if known:  # it can be shown, with all that belongs to it
            await stack.api("GET", f"leads/{known[0]['lead_id']}")
            await stack.api("GET", f"leads/{known[0]['lead_id']}/timeline")
        return len(dead) + len(known) == 1

    await eventually(ended, timeout_seconds=20, message="neither a lead nor a dead letter")


@pytest.mark.parametrize(
    ("name", "properties", "dead"),
    [
        ("no-id", {}, False),
        ("no-content-type", {"content_type": None}, False),
        ("other-content-type", {"content_type": "text/html; charset=utf-16"}, None),
        ("event-type-for-bare-data", {"content_type": CLOUD_EVENT}, True),
        ("odd-headers", {"headers": {"x-death": "none", "replay": True, "n": {"a": [1, 2]}, "x-reasons": "{"}}, False),
        ("no-such-key", {"routing_key": "lead.exploded"}, True),
        ("longest-id", {"message_id": "\u00e4" * 127}, False),
        ("priority-and-expiry", {"priority": 255, "correlation_id": "\0" * 200, "reply_to": "nowhere"}, None),
    ],
)
async def test_odd_properties(stack: Stack, name: str, properties: dict[str, Any], dead: bool | None) -> None:
    await publish(stack, body_of(f"{name}{A}"), **properties)

    async def ended() -> bool:
        found = await letters(stack, None, f"{name}{A}")
        known = await stack.items("leads", q=f"{name}{A}")
        assert len(found) + len(known) == 1
        assert dead is None or dead == bool(found)
        return True

    await eventually(ended, timeout_seconds=20)


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@"), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)
FIELDS = ("phone", "first_name", "title", "timezone", "score", "tags", "custom_fields", "consent", "$x", "a.b")
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "organization_id": st.just(ORGANIZATION) | st.just(ORGANIZATION) | HOSTILE,
        "occurred_at": HOSTILE,
        "funnel_id": HOSTILE,
        "more": HOSTILE,
        "fields": st.dictionaries(st.sampled_from(FIELDS), HOSTILE, max_size=3),
    },
)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(st.lists(BODIES, min_size=25, max_size=50))
async def test_any_body_is_a_lead_or_one_dead_letter(stack: Stack, bodies: list[dict[str, Any]]) -> None:
    tag = secrets.token_hex(6)
    messages: dict[str, bytes] = {}
    for number, body in enumerate(bodies):
        fields = body.pop("fields", {})
        who = {"email": f"{tag}-{number}{A}", **fields}
        messages[f"{tag}-{number}"] = orjson.dumps({"organization_id": ORGANIZATION, **body, "lead": who})
    await asyncio.gather(*(publish(stack, body, message_id=name) for name, body in messages.items()))

    async def ended() -> bool:
        dead = [each["message_id"] for each in await stack.items("ops/dead-letters") if each["message_id"] in messages]
        known = [each["email"].partition("@")[0] for each in await stack.items("leads", q=tag)]
        assert sorted(dead + known) == sorted(messages)
        return True

    await eventually(ended, timeout_seconds=40, message="not every message came to one end")


async def test_hostile_http_bodies_get_problem_documents(stack: Stack) -> None:
    bodies: list[tuple[bytes, str]] = [
        (b"", JSON),
        (b"{]", JSON),
        (b"\xff\xfe", JSON),
        (b'{"lead": "\\ud800"}', JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":' * 50_000, JSON),
        (written({"lead": {"email": "deep" + A, "custom_fields": nested(300)}}), JSON),
        (orjson.dumps({"lead": {"email": "wide" + A, "custom_fields": {"u": 2**64 - 1, "$set": {"a.b": "\0"}}}}), JSON),
        (orjson.dumps({"lead": {"email": {"$ne": None}}, "steps": {"$gt": ""}, "name": ["x"]}), JSON),
        (written({"name": "\0", "steps": [{"kind": "email", "config": nested(300)}]}), JSON),
        (orjson.dumps({"name": "n", "steps": [{"kind": "wait", "delay": {"amount": 10**18, "unit": "weeks"}}]}), JSON),
        (orjson.dumps({"lead_id": "x" * 5_000, "sequence_id": "\0", "outcome": 1e308}), JSON),
        (b'{"lead": {"email": "h@x.example", "score": ' + b"9" * 5_000 + b"}}", JSON),
        (orjson.dumps({"lead": {"email": "big" + A, "custom_fields": {"x": "y" * (9 * MIB)}}}), JSON),
        (b"a=b&c=%00", "application/x-www-form-urlencoded"),
        (b"<a/>", "application/xml; charset=\x80"),
    ]
    nobody = "00000000-0000-0000-0000-000000000000"
    routes = [
        ("POST", "leads"),
        ("PATCH", f"leads/{nobody}"),
        ("POST", "sequences"),
        ("PUT", f"sequences/{nobody}"),
        ("POST", "enrollments"),
        ("POST", f"enrollments/{nobody}/pause"),
        ("POST", f"tasks/{nobody}/complete"),
        ("POST", "senders"),
        ("PATCH", "organization"),
        ("POST", "auth/token"),
    ]
    for method, route in routes:
        for body, kind in bodies:
            answer = await stack.http.request(
                method,
                f"{stack.api_url}/{route}",
                content=body,
                headers=[
                    (b"Authorization", f"Bearer {stack._token}".encode()),
                    (b"Content-Type", kind.encode("latin-1")),
                    (b"Idempotency-Key", secrets.token_hex(8).encode()),
                ],
            )
            said = f"{method} {route} {body[:60]!r}: {answer.status_code} {answer.text[:300]}"
            assert answer.status_code < 500, said
            if answer.status_code >= 400:
                assert answer.headers["content-type"].startswith("application/problem+json"), said
                assert {"type", "title", "status", "detail", "code"} <= set(answer.json()), said


async def test_hostile_queries_and_headers_get_problem_documents(stack: Stack) -> None:
    paths = [
        "leads?limit=-1",
        "leads?limit=99999999999999999999",
        "leads?cursor=%00",
        "leads?cursor=" + "A" * 3_000,
        "leads?sort=$where",
        "leads?q=%00%ff",
        "leads?q=" + "(" * 2_000,
        "leads?min_position=99-99999999999999999999999",
        "leads?min_position=00-%00",
        "leads/%00",
        "leads/..%2f..%2fetc",
        "leads/00000000-0000-0000-0000-000000000000",
        "enrollments?status=$ne",
        "enrollments?lead_id[$ne]=1",
        "enrollments/00000000-0000-0000-0000-000000000000/events?after=1e9",
        "metrics/timeseries?bucket=hour&from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
        "metrics/timeseries?bucket=eon",
        "jobs/%F0%9F%98%80",
        "ops/dead-letters/%24ne",
        "no/such/route",
    ]
    for path in paths:
        answer = await stack.http.get(
            f"{stack.api_url}/{path}",
            headers={"Authorization": f"Bearer {stack._token}"},
        )
        assert answer.status_code < 500, (path, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"].startswith("application/problem+json"), (path, answer.text)
    for header in ("Bearer", "Bearer a.b.c", "Basic \xff", "Bearer " + "x" * 6_000):
        answer = await stack.http.get(f"{stack.api_url}/leads", headers=[(b"Authorization", header.encode("latin-1"))])
        assert answer.status_code == 401, (header, answer.text)


async def test_hostile_tokens_and_smtp_sessions_make_no_signal(stack: Stack) -> None:
    before = {each["id"] for each in await stack.items("ops/dead-letters")}
    door = f"http://127.0.0.1:{stack.tracker_port}"
    for token in ("x", "%00", "A" * 6_000, "..%2f", "%F0%9F%98%80", "' or 1=1 --"):
        assert (await stack.http.get(f"{door}/t/o/{token}.gif")).status_code in (200, 404)
        assert (await stack.http.get(f"{door}/t/c/{token}")).status_code == 404
        assert (await stack.http.post(f"{door}/t/u/{token}", data={"List-Unsubscribe": "One-Click"})).status_code < 500
    lines = [
        b"\x00\xff\xfe\r\n",
        b"EHLO " + b"x" * 5_000 + b"\r\n",
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<reply+%s@in.demo.example>\r\nDATA\r\n.\r\n" % (b"a" * 47),
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<root@localhost>\r\nQUIT\r\n",
        b"EHLO a\r\nDATA\r\nRSET\r\nRCPT\r\nMAIL\r\nVRFY \xff\r\nNOOP\r\nQUIT\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"EHLO a\r\nSTARTTLS\r\n" + bytes(range(256)) * 20,
    ]
    for line in lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.smtp_port)
        writer.write(line)
        with suppress(ConnectionError, TimeoutError):
            await writer.drain()
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 10)
            assert said.startswith(b"220 "), said
            assert b"\r\n250 OK: queued" not in said
        writer.close()
    after = {each["id"] for each in await stack.items("ops/dead-letters")}
    assert after == before, "something of it became a signal"


async def test_after_all_that_every_view_equals_the_log(stack: Stack) -> None:
    await verify_all(stack)
    queues = {each["name"]: each["messages"] for each in (await stack.api("GET", "ops/queues"))["items"]}
    assert queues["enrollment.leads"] == queues["tendril.dead"] == 0
    found = [each["message_id"] for each in await stack.items("ops/dead-letters") if each["message_id"]]
    assert len(found) == len(set(found)), "a message died twice"
