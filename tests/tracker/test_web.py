"""Every route of the HTTP door, on a real broker."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracker.cap import HITS_PER_MINUTE
from services.tracker.machine import judge
from services.tracker.pages import language_of
from services.tracker.web import GIF, safe_target
from tests.tracker.conftest import BROWSER, ENROLLMENT, LEAD, SEQUENCE, TARGET, TOKENS, Running, link

FLIPPED = link("click")[:-1] + ("A" if link("click")[-1] != "A" else "E")
BAD_TOKENS = [
    "x",
    "%00",
    "%2e%2e%2fetc%2fpasswd",
    "😀".encode().hex(),
    "a" * 9_000,
    FLIPPED,
    link("click") + "=",
    TOKENS.address_token(ENROLLMENT, 1),
    base64.urlsafe_b64encode(b"\xff" * 120).decode(),
]


async def test_the_picture_is_43_bytes_is_not_stored_and_makes_one_signal(tracker: Running) -> None:
    answer = await tracker.http.get(f"/t/o/{link('open')}.gif")
    assert (answer.status_code, answer.headers["content-type"], len(answer.content)) == (200, "image/gif", 43)
    assert "no-store" in answer.headers["cache-control"]
    envelopes = await tracker.published()  # confirmed before the answer: it is there
    assert len(envelopes) == 1
    assert (envelopes[0].organization_id, envelopes[0].lead_id) == ("demo", LEAD)
    (signal,) = [envelope.message for envelope in envelopes]
    assert signal.model_dump(
        include={"enrollment_id", "execution", "channel", "signal", "source", "machine", "count"}
    ) == {
        "enrollment_id": ENROLLMENT,
        "execution": 2,
        "channel": "email",
        "signal": "opened",
        "source": "pixel",
        "machine": 0.0,
        "count": 1,
    }


async def test_a_click_leads_to_its_address_and_makes_one_signal(tracker: Running) -> None:
    answer = await tracker.http.get(f"/t/c/{link('click')}")
    assert (answer.status_code, answer.headers["location"]) == (302, TARGET)
    (signal,) = await tracker.signals(1)
    assert (signal.signal, signal.link, signal.source) == ("clicked", TARGET, "link")


async def test_head_makes_no_signal(tracker: Running) -> None:
    for path in (f"/t/o/{link('open')}.gif", f"/t/c/{link('click')}", f"/t/u/{link('unsubscribe')}"):
        answer = await tracker.http.head(path)
        assert answer.status_code in (200, 302)
        assert answer.content == b""
    assert await tracker.published() == []
    assert await tracker.stops() == []


async def test_a_bad_token_gets_the_same_picture_and_no_signal(tracker: Running) -> None:
    for token in (*BAD_TOKENS, link("click"), link("unsubscribe"), ""):
        answer = await tracker.http.get(f"/t/o/{token}.gif")
        assert (answer.status_code, answer.content) == (200, GIF), token
    assert await tracker.published() == []


async def test_a_bad_token_is_never_a_redirect(tracker: Running) -> None:
    for token in (*BAD_TOKENS, link("open"), link("unsubscribe"), ""):
        answer = await tracker.http.get(f"/t/c/{token}")
        assert answer.status_code == 404, token
        assert "location" not in answer.headers
    assert await tracker.published() == []


async def test_a_bad_token_unsubscribes_nobody(tracker: Running) -> None:
    for token in (*BAD_TOKENS, link("open"), link("click")):
        for method in ("GET", "POST"):
            answer = await tracker.http.request(method, f"/t/u/{token}")
            assert answer.status_code == 404, token
    assert await tracker.published() == []
    assert await tracker.stops() == []


TARGETS = [
    ("https://example.com/a b", False),
    ("javascript:alert(1)", False),
    (" https://example.com", False),
    ("//example.com", False),
    ("https:///nowhere", False),
    ("ftp://example.com", False),
    ("https://example.com\\@evil.example", False),
    ("https://example.com/\r\nSet-Cookie: a=b", False),
    ("https://[broken", False),
    ("data:text/html,x", False),
    ("", False),
    ("HTTPS://example.com/x", True),
    ("http://example.com:8080/ü?q=ä#ö", True),
]


async def test_only_web_addresses_are_redirected_to(tracker: Running) -> None:
    for target, safe in TARGETS:
        answer = await tracker.http.get(f"/t/c/{link('click', target=target)}")
        assert answer.status_code == (302 if safe else 404), target
        assert ("location" in answer.headers) is safe
    assert len(await tracker.published()) == sum(safe for _, safe in TARGETS)


@given(st.text(max_size=80))
def test_a_location_is_always_one_plain_line(target: str) -> None:
    location = safe_target(target)
    assert location is None or (location.isascii() and not set(location) & set(b" \r\n\x00"))


async def test_the_unsubscribe_page_asks_and_does_nothing(tracker: Running) -> None:
    answer = await tracker.http.get(f"/t/u/{link('unsubscribe')}", headers={"accept-language": "de-CH, en;q=0.5"})
    assert answer.status_code == 200
    assert '<html lang="de">' in answer.text
    assert 'value="sequence"' in answer.text
    assert "<script" not in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert await tracker.published() == []
    assert await tracker.stops() == []
    only_all = await tracker.http.get(f"/t/u/{link('unsubscribe', sequence_id=None)}")
    assert 'value="sequence"' not in only_all.text


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
async def test_one_click_stops_everything_on_the_channel(tracker: Running, encoding: str) -> None:
    path = f"/t/u/{link('unsubscribe')}"
    fields = {"List-Unsubscribe": "One-Click"}
    answer = (
        await tracker.http.post(path, data=fields)
        if encoding == "urlencoded"
        else await tracker.http.post(path, files={name: (None, value) for name, value in fields.items()})
    )
    assert answer.status_code == 200
    (stop,) = await tracker.stops()
    assert (stop.scope, stop.key, stop.provisional, stop.before) == ("lead", f"{LEAD}:email", True, None)
    (signal,) = await tracker.signals(1)
    assert (signal.signal, signal.whole, signal.source) == ("unsubscribed", True, "one_click")


@pytest.mark.parametrize(
    ("choice", "scope", "key", "whole"),
    [
        ("sequence", "enrollment", str(ENROLLMENT), False),
        ("all", "lead", f"{LEAD}:email", True),
        ("?", "lead", f"{LEAD}:email", True),
    ],
)
async def test_the_form_stops_what_was_chosen(tracker: Running, choice: str, scope: str, key: str, whole: bool) -> None:
    answer = await tracker.http.post(f"/t/u/{link('unsubscribe')}", data={"choice": choice})
    assert answer.status_code == 200
    (stop,) = await tracker.stops()
    assert (stop.scope, stop.key) == (scope, key)
    (signal,) = await tracker.signals(1)
    assert (signal.whole, signal.source) == (whole, "link_page")


UNREADABLE = [
    (b"", ""),
    (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
    (b"no boundary at all", "multipart/form-data"),
    (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
    (b"{}", "application/json"),
    (b"&".join([b"a=b"] * 2_000), "application/x-www-form-urlencoded"),
]


async def test_an_unreadable_body_still_unsubscribes(tracker: Running) -> None:
    for body, content_type in UNREADABLE:
        answer = await tracker.http.post(
            f"/t/u/{link('unsubscribe')}", content=body, headers={"content-type": content_type}
        )
        assert answer.status_code == 200, body
        assert len(await tracker.stops()) == 1


async def test_an_oversized_body_is_refused(tracker: Running) -> None:
    answer = await tracker.http.post(f"/t/u/{link('unsubscribe')}", content=b"x" * 100_000)
    assert answer.status_code == 413
    assert await tracker.stops() == []


async def test_hits_beyond_the_cap_are_counted(tracker: Running) -> None:
    token = link("open")
    for _ in range(HITS_PER_MINUTE + 7):
        assert (await tracker.http.get(f"/t/o/{token}.gif")).status_code == 200
    signals = await tracker.signals(HITS_PER_MINUTE)
    assert {signal.count for signal in signals} == {1}
    await tracker.service.door.close()
    (rest,) = await tracker.signals(1)
    assert rest.count == 7


async def test_a_click_of_a_person_goes_out_by_itself_however_often_a_scanner_came(tracker: Running) -> None:
    token, scanner = link("click"), {"user-agent": "Mozilla/5.0 Mimecast"}
    for _ in range(HITS_PER_MINUTE + 7):
        assert (await tracker.http.get(f"/t/c/{token}", headers=scanner)).status_code == 302
    await tracker.http.get(f"/t/c/{token}")
    for _ in range(3):
        await tracker.http.get(f"/t/c/{token}", headers=scanner)
    signals = await tracker.signals(HITS_PER_MINUTE + 1)
    assert [signal.count for signal in signals if signal.machine < 0.5] == [1]
    await tracker.service.door.close()
    (rest,) = await tracker.signals(1)
    assert (rest.count, rest.machine >= 0.5) == (10, True)


async def test_many_at_once_share_frames_and_each_has_its_own_id(tracker: Running) -> None:
    tokens = [link("open", execution=number) for number in range(1, 121)]
    await asyncio.gather(*(tracker.http.get(f"/t/o/{token}.gif") for token in tokens))
    envelopes = await tracker.published()
    assert len({envelope.id for envelope in envelopes}) == len(envelopes) == 120


@pytest.mark.parametrize(
    ("headers", "machine", "reason"),
    [
        ({"user-agent": "python-httpx/0.28"}, True, "crawler"),
        ({"user-agent": "Mozilla/5.0"}, True, "apple_mail_privacy"),
        ({"user-agent": ""}, True, "no_user_agent"),
        ({"sec-purpose": "prefetch;prerender"}, True, "prefetch"),
        ({"purpose": "Prefetch"}, True, "prefetch"),
        ({"x-purpose": "preview"}, True, "prefetch"),
        ({"user-agent": "Mozilla/5.0 Mimecast"}, True, "scanner"),
        (
            {"user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"},
            False,
            "image_proxy_google",
        ),
        (
            {"user-agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"},
            False,
            "image_proxy_yahoo",
        ),
        ({}, False, None),
    ],
)
def test_machines_are_marked_with_a_reason(headers: dict[str, str], machine: bool, reason: str | None) -> None:
    verdict = judge({**BROWSER, **headers}, click=False)
    assert (verdict.confidence >= 0.5, verdict.reason) == (machine, reason)


async def test_a_machines_hit_is_recorded_as_one(tracker: Running) -> None:
    await tracker.http.get(f"/t/c/{link('click')}", headers={"user-agent": "python-httpx/0.28"})
    (signal,) = await tracker.signals(1)
    assert (signal.machine, signal.machine_reason, signal.client) == (0.95, "crawler", "python-httpx/0.28")


async def test_other_methods_are_refused(tracker: Running) -> None:
    for path in ("/t/o/x.gif", "/t/c/x"):
        assert (await tracker.http.post(path)).status_code == 405


async def test_signs_of_life(tracker: Running) -> None:
    assert (await tracker.http.get("/healthz")).status_code == 200
    assert (await tracker.http.get("/readyz")).json()["checks"] == {"http": True, "smtp": True, "spool": True}
    assert "tendril_tracker_signals_total" in (await tracker.http.get("/metrics")).text
    assert (await tracker.http.get("/nothing")).status_code == 404
    assert (await tracker.http.get("/t/o/without-suffix")).status_code == 404


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("fr, de;q=0.3, en;q=0.2", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("de;q=x", "en"),
        (";;;,,,", "en"),
    ],
)
def test_the_language_is_the_first_of_ours(header: str, language: str) -> None:
    assert language_of(header) == language


def test_the_sequence_is_offered_only_when_the_token_names_one() -> None:
    claims = TOKENS.read_link(link("unsubscribe"))
    assert claims is not None
    assert claims.sequence_id == SEQUENCE
