"""The SMTP channel against a real server that misbehaves at every point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.dispatcher.channels.account import Breaker, Limiter
from services.dispatcher.channels.smtp import SmtpChannel, about_address
from services.dispatcher.channels.smtp_line import read_smtp_url, stuffed
from services.dispatcher.errors import HandOverRefused
from services.dispatcher.message import Outbound
from services.dispatcher.outcomes import Accepted, Answer, Deferred, InDoubt, Rejected
from tests.dispatcher.making import dressed
from tests.dispatcher.smtp_sink import Script, Sink
from tests.support.waiting import eventually

RAW = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nlast\r\n"


def message(to: str = "ada@example.com", raw: bytes = RAW) -> Outbound:
    return Outbound("<m@x>", to, "bounce+t@in.example", "Grace <g@x.example>", "x", None, "x", {}, raw)


class HandOver:
    """Counts, and looks whether anything was final before it."""

    def __init__(self, sink: Sink | None = None, refuse: bool = False) -> None:
        self.calls = 0
        self.sink = sink
        self.refuse = refuse

    async def __call__(self) -> None:
        self.calls += 1
        if self.sink is not None:
            assert self.sink.mails == []
        if self.refuse:
            raise HandOverRefused(dressed().dispatch_id)


@asynccontextmanager
async def opened(sink: Sink, query: str = "", **options: Any) -> AsyncIterator[SmtpChannel]:
    options = {"verb_seconds": 1.0, "answer_seconds": 0.5, "late_seconds": 5.0, **options}
    channel = SmtpChannel(read_smtp_url(sink.url + query), time.monotonic, **options)
    try:
        yield channel
    finally:
        await channel.close()


async def sent_with(script: dict[str, Any], to: str = "ada@example.com") -> tuple[Answer, Sink, HandOver]:
    async with Sink(Script(script)) as sink, opened(sink) as channel:
        hand_over = HandOver()
        answer = await channel.send(message(to), hand_over)
        return answer, sink, hand_over


async def test_content_arrives_byte_for_byte_and_the_row_moves_just_before_the_dot() -> None:
    async with Sink() as sink, opened(sink) as channel:
        hand_over = HandOver(sink)
        assert await channel.send(message(), hand_over) == Accepted("250 2.0.0 taken")
        assert hand_over.calls == 1
        assert [mail.content for mail in sink.mails] == [RAW]
        assert sink.verbs == ["ehlo", "mail", "rcpt", "data"]


async def test_lines_are_used_again_after_rset() -> None:
    async with Sink() as sink, opened(sink) as channel:
        for _ in range(3):
            await channel.send(message(), HandOver())
        assert sink.connections == 1
        assert sink.verbs.count("rset") == 2
        assert len(sink.mails) == 3


async def test_concurrent_sends_share_a_bounded_pool() -> None:
    async with Sink() as sink, opened(sink, "?connections=3") as channel:
        answers = await asyncio.gather(*(channel.send(message(), HandOver()) for _ in range(30)))
        assert {type(answer) for answer in answers} == {Accepted}
        assert sink.connections <= 3
        assert len(sink.mails) == 30


async def test_a_refused_hand_over_sends_nothing() -> None:
    async with Sink() as sink, opened(sink) as channel:
        with pytest.raises(HandOverRefused):
            await channel.send(message(), HandOver(refuse=True))
        await channel.send(message(), HandOver())
        assert len(sink.mails) == 1


@pytest.mark.parametrize(
    ("verb", "code", "expected"),
    [
        ("connect", "421 4.3.2 busy", Deferred),
        ("connect", "554 5.7.1 go away", Deferred),
        ("mail", "451 4.3.0 later", Deferred),
        ("mail", "550 5.7.1 not you", Rejected),
        ("mail", "421 4.3.2 closing", Deferred),
        ("rcpt", "450 4.2.0 greylisted", Deferred),
        ("rcpt", "550 5.1.1 no such user", Rejected),
        ("rcpt", "421 4.3.2 closing", Deferred),
        ("data", "451 4.3.0 later", Deferred),
        ("data", "554 5.6.0 no", Rejected),
        ("data", "250 what", Deferred),
        ("dot", "451 4.3.0 later", Deferred),
        ("dot", "552 5.3.4 too big", Rejected),
        ("dot", "421 4.3.2 closing", Deferred),
    ],
)
async def test_refusals_at_every_verb(verb: str, code: str, expected: type[Answer]) -> None:
    answer, sink, hand_over = await sent_with({verb: code})
    assert type(answer) is expected
    assert sink.mails == []
    assert hand_over.calls == (1 if verb == "dot" else 0)
    if isinstance(answer, Deferred):
        assert answer.fault
    if isinstance(answer, Rejected):
        assert answer.bounce == (verb == "rcpt")


@pytest.mark.parametrize("verb", ["connect", "ehlo", "mail", "rcpt", "data"])
async def test_a_line_lost_before_the_content_is_tried_again(verb: str) -> None:
    answer, sink, hand_over = await sent_with({verb: ["drop", None]})
    assert isinstance(answer, Accepted)
    assert len(sink.mails) == 1
    assert hand_over.calls == 1


@pytest.mark.parametrize("verb", ["connect", "mail", "rcpt", "data"])
async def test_a_line_that_is_always_lost_is_deferred(verb: str) -> None:
    answer, sink, hand_over = await sent_with({verb: "drop"})
    assert isinstance(answer, Deferred)
    assert answer.fault
    assert hand_over.calls == 0
    assert sink.mails == []


async def test_a_line_lost_in_the_content_is_deferred_not_doubted() -> None:
    async with Sink(Script({"content": "drop"})) as sink, opened(sink) as channel:

        async def hand_over() -> None:
            await eventually(lambda: sink.dropped)

        assert isinstance(await channel.send(message(), hand_over), Deferred)
        assert sink.mails == []


async def test_a_line_lost_while_the_row_moves_is_deferred_not_doubted() -> None:
    async with Sink() as sink, opened(sink) as channel:

        async def hand_over() -> None:
            """The server goes away while the ledger is being written."""
            before = len(sink._tasks)
            for task in list(sink._tasks):
                task.cancel()
            await eventually(lambda: len(sink._tasks) < before)

        assert isinstance(await channel.send(message(), hand_over), Deferred)
        assert sink.mails == []


@pytest.mark.parametrize("fault", ["swallow", "drop", "garbage"])
async def test_an_answer_lost_after_the_dot_is_in_doubt(fault: str) -> None:
    answer, _, hand_over = await sent_with({"dot": fault})
    assert isinstance(answer, InDoubt)
    assert answer.late is None
    assert hand_over.calls == 1


@pytest.mark.parametrize(
    ("said", "expected"), [("250 2.0.0 taken", Accepted), ("451 4.0.0 no", Deferred), ("550 no", Rejected)]
)
async def test_a_late_answer_still_counts(said: str, expected: type[Answer]) -> None:
    async with Sink(Script({"dot": f"late 1 {said}"})) as sink, opened(sink) as channel:
        answer = await channel.send(message(), HandOver())
        assert isinstance(answer, InDoubt)
        assert answer.late is not None
        assert type(await answer.late) is expected


async def test_a_late_answer_that_never_comes_leaves_the_doubt() -> None:
    async with Sink(Script({"dot": "hang"})) as sink, opened(sink, late_seconds=0.2) as channel:
        answer = await channel.send(message(), HandOver())
        assert isinstance(answer, InDoubt)
        assert answer.late is not None
        assert await answer.late is None


async def test_a_server_that_hangs_is_deferred_within_bounds() -> None:
    started = time.monotonic()
    answer, sink, hand_over = await sent_with({"rcpt": "hang"})
    assert isinstance(answer, Deferred)
    assert hand_over.calls == 0
    assert time.monotonic() - started < 15
    assert sink.mails == []


@pytest.mark.parametrize("early", ["354 go ahead\r\n250 2.0.0 taken", "354 go ahead\r\n250"])
async def test_an_answer_before_the_dot_is_not_taken_for_the_answer_to_it(early: str) -> None:
    answer, sink, hand_over = await sent_with({"data": early, "dot": "550 5.7.1 refused"})
    assert isinstance(answer, Deferred | Rejected)
    assert sink.mails == []
    assert hand_over.calls <= 1


async def test_addresses_outside_ascii_need_smtputf8() -> None:
    async with Sink() as sink, opened(sink) as channel:
        assert isinstance(await channel.send(message("ädä@example.com"), HandOver()), Accepted)
        assert sink.mails[0].to == "ädä@example.com"
    async with Sink(extensions=("8BITMIME",)) as sink, opened(sink) as channel:
        assert isinstance(await channel.send(message("ädä@example.com"), HandOver()), Rejected)


async def test_the_servers_word_is_kept_without_addresses() -> None:
    answer, _, _ = await sent_with({"rcpt": "550 5.1.1 <ada@example.com> unknown"})
    assert answer == Rejected("rcpt 550 5.1.1 … unknown", bounce=True)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "no such user", True),
        (551, "gone", True),
        (553, "bad name", True),
        (550, "5.1.1 unknown", True),
        (550, "5.2.1 disabled", True),
        (550, "5.7.1 policy", False),
        (552, "5.2.2 full", False),
        (554, "no", False),
    ],
)
def test_which_refusals_are_about_the_address(code: int, text: str, expected: bool) -> None:
    assert about_address(code, text) is expected


async def test_the_breaker_opens_rests_and_lets_one_try_through() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0], failures=2, open_seconds=30)
    breaker.fault()
    assert breaker.open_for() == 0
    breaker.fault()
    assert breaker.open_for() == 30
    now[0] = 31
    assert breaker.open_for() == 0
    assert breaker.open_for() > 0, "one try at a time"
    breaker.fault()
    assert breaker.open_for() == 30
    now[0] = 62
    assert breaker.open_for() == 0
    breaker.well()
    assert breaker.open_for() == 0


async def test_an_open_circuit_defers_without_fault_and_without_a_connection() -> None:
    async with Sink(Script({"connect": "drop"})) as sink:
        breaker = Breaker(time.monotonic, failures=1)
        async with opened(sink, breaker=breaker) as channel:
            first = await channel.send(message(), HandOver())
            assert isinstance(first, Deferred)
            assert first.fault
            seen = sink.connections
            second = await channel.send(message(), HandOver())
            assert isinstance(second, Deferred)
            assert not second.fault
            assert second.retry_after_seconds is not None
            assert sink.connections == seen


async def test_the_limiter_spaces_and_gives_up_when_it_would_take_too_long() -> None:
    now = [0.0]
    limiter = Limiter(lambda: now[0], per_second=0.5)
    assert await limiter.turn(5) == 0
    assert await limiter.turn(1) == 2
    assert await Limiter(lambda: 0.0).turn(0) == 0


@pytest.mark.parametrize(
    ("url", "port", "tls", "starttls"),
    [
        ("smtp://h", 25, False, None),
        ("smtp://u:p%40@h", 587, False, None),
        ("smtps://h", 465, True, False),
        ("smtp://h:1025?starttls=false", 1025, False, False),
        ("smtp://h?starttls=true", 25, False, True),
    ],
)
def test_smtp_urls(url: str, port: int, tls: bool, starttls: bool | None) -> None:
    address = read_smtp_url(url)
    assert (address.port, address.tls, address.starttls) == (port, tls, starttls)


@pytest.mark.parametrize("url", ["http://h", "smtp://", "smtp://h?starttls=perhaps", "smtp://h:99999"])
def test_bad_smtp_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_smtp_url(url)


def test_stuffing() -> None:
    assert stuffed(b".a\n..b\rc\r\n.") == b"..a\r\n...b\r\nc\r\n..\r\n"
    assert stuffed(b"") == b"\r\n"
