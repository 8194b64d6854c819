"""The SMTP door: who is a recipient, what a mail means, and that nothing in one can break it."""

from __future__ import annotations

import asyncio
import smtplib
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.tracker.bounces import Bounce, Complaint, Delivered
from services.tracker.inbound import MAX_MAIL_BYTES, Address, read_address, signals_of
from shared.events.dispatch import StopOrder
from shared.events.engagement import RecordSignal
from tests.tracker import mails
from tests.tracker.conftest import DOMAIN, ENROLLMENT, TOKENS, Running, mail

TOKEN = TOKENS.address_token(ENROLLMENT, 4)
REPLY = Address("reply", ENROLLMENT, 4)
BOUNCE = Address("bounce", ENROLLMENT, 4)
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def meaning(raw: bytes, address: Address = REPLY, *, empty_sender: bool = False) -> list[RecordSignal]:
    envelopes = signals_of(raw, address, NOW, empty_sender=empty_sender)
    return [envelope.message for envelope in envelopes if isinstance(envelope.message, RecordSignal)]


def send(port: int, raw: bytes, *recipients: str, sender: str = "ada@example.com") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail(sender, list(recipients), raw)


# --- dialogue ---------------------------------------------------------------------------------------------------------


async def test_a_reply_is_recorded_before_it_is_acknowledged(tracker: Running) -> None:
    await asyncio.to_thread(send, tracker.smtp_port, mail(), f"reply+{TOKEN}@{DOMAIN}")
    envelopes = await tracker.published()
    assert [envelope.organization_id for envelope in envelopes] == [None]
    signal = envelopes[0].message
    assert isinstance(signal, RecordSignal)
    assert (signal.signal, signal.enrollment_id, signal.execution) == ("replied", ENROLLMENT, 4)
    assert (signal.text, signal.subject, signal.auto_reply) == ("Yes, tell me more.", "Re: Welcome", False)


async def test_a_mail_handed_in_twice_makes_the_same_ids(tracker: Running) -> None:
    for address in (f"reply+{TOKEN}@{DOMAIN}", f"REPLY+{TOKEN.upper()}@{DOMAIN.upper()}"):
        await asyncio.to_thread(send, tracker.smtp_port, mail(), address)
    envelopes = await tracker.published()
    assert len(envelopes) == 2
    assert len({envelope.id for envelope in envelopes}) == 1


async def test_a_bounce_comes_from_nobody(tracker: Running) -> None:
    await asyncio.to_thread(
        send, tracker.smtp_port, mails.dsn("failed", "5.1.1"), f"bounce+{TOKEN}@{DOMAIN}", sender=""
    )
    (signal,) = await tracker.signals(1)
    assert (signal.signal, signal.bounce_kind, signal.bounce_status) == ("bounced", "hard", "5.1.1")


async def test_a_reply_of_one_word_stops_the_enrollment_first(tracker: Running) -> None:
    await asyncio.to_thread(send, tracker.smtp_port, mail("STOP.\r\n\r\n> Welcome"), f"reply+{TOKEN}@{DOMAIN}")
    (stop,) = await tracker.stops()
    assert (stop.scope, stop.key, stop.provisional) == ("enrollment", str(ENROLLMENT), True)
    assert [signal.signal for signal in await tracker.signals(2)] == ["unsubscribed", "replied"]


async def test_anybody_else_is_refused_at_once(tracker: Running) -> None:
    def dialogue() -> None:
        with smtplib.SMTP("127.0.0.1", tracker.smtp_port, timeout=20) as client:
            client.helo("tests")
            client.mail("ada@example.com")
            for address in (
                "postmaster@in.demo.example",
                f"reply+{TOKEN}@elsewhere.example",
                f"reply+{TOKEN[:-1]}a@{DOMAIN}",
                f"other+{TOKEN}@{DOMAIN}",
                f"reply{TOKEN}@{DOMAIN}",
                f"reply+@{DOMAIN}",
                "a" * 300 + f"@{DOMAIN}",
            ):
                code, _ = client.rcpt(address)
                assert code == 550, address
            assert client.docmd("DATA")[0] == 503
            assert client.docmd("VRFY ada")[0] in (252, 502)
            assert client.docmd("NONSENSE \x00\xff"[:9])[0] == 500
            code, _ = client.rcpt(f"reply+{TOKEN}@{DOMAIN}")
            assert code == 250

    await asyncio.to_thread(dialogue)
    assert await tracker.published() == []


async def test_an_oversized_mail_is_refused_and_long_lines_are_not(tracker: Running) -> None:
    def dialogue() -> None:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            send(tracker.smtp_port, mail("x" * 70 + ("\r\n" + "y" * 900) * 12_000), f"reply+{TOKEN}@{DOMAIN}")
        assert refused.value.smtp_code == 552
        send(tracker.smtp_port, mail("A long line. " * 1_000), f"reply+{TOKEN}@{DOMAIN}")

    assert MAX_MAIL_BYTES < 12_000 * 902
    await asyncio.to_thread(dialogue)
    (signal,) = await tracker.signals(1)
    assert signal.signal == "replied"


async def test_a_connection_cut_in_the_middle_of_a_mail_makes_nothing(tracker: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", tracker.smtp_port)
    for line in ("", "EHLO tests", "MAIL FROM:<a@b.example>", f"RCPT TO:<reply+{TOKEN}@{DOMAIN}>", "DATA"):
        if line:
            writer.write(f"{line}\r\n".encode())
        while (await reader.readline())[3:4] == b"-":
            pass
    writer.write(mail()[:40])
    await writer.drain()
    writer.close()
    await asyncio.to_thread(send, tracker.smtp_port, mail(), f"reply+{TOKEN}@{DOMAIN}")
    assert len(await tracker.signals(1)) == 1


# --- meaning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["stop", "STOP", " Unsubscribe! ", "Bitte abmelden.", "désabonner", "“Stop”"])
def test_words_that_alone_unsubscribe(word: str) -> None:
    assert [signal.signal for signal in meaning(mail(word))] == ["unsubscribed", "replied"]


@pytest.mark.parametrize("text", ["please stop by on Monday", "don't stop", "unsubscribe? why would I", "no", ""])
def test_words_that_do_not(text: str) -> None:
    assert [signal.signal for signal in meaning(mail(text))] == ["replied"]


@pytest.mark.parametrize("raw", mails.AUTO_REPLIES)
def test_auto_replies_are_recognised(raw: bytes) -> None:
    (signal,) = meaning(raw)
    assert (signal.signal, signal.auto_reply) == ("replied", True)


def test_a_mail_from_nobody_is_no_persons() -> None:
    assert [signal.auto_reply for signal in meaning(mail(), empty_sender=True)] == [True]
    assert [signal.auto_reply for signal in meaning(mail(headers={"Auto-Submitted": "no"}))] == [False]


@pytest.mark.parametrize(("raw", "text"), mails.REPLIES)
def test_quoted_text_is_stripped(raw: bytes, text: str) -> None:
    (signal,) = meaning(raw)
    assert signal.text == text


@pytest.mark.parametrize("address", [REPLY, BOUNCE])
@pytest.mark.parametrize(
    ("raw", "report"),
    [
        (mails.dsn("failed", "5.1.1"), Bounce("hard", "5.1.1")),
        (mails.dsn("failed", "4.2.2"), Bounce("soft", "4.2.2")),
        (mails.dsn("delayed", "4.4.7"), Bounce("soft", "4.4.7")),
        (mails.dsn("delivered", "2.0.0"), Delivered()),
        (mails.dsn("relayed", "2.1.9"), Delivered()),
        (mails.dsn("failed", ""), Bounce("hard", "smtp; 550 no such user")),
        (mails.dsn("FAILED", "5.7.1 (policy)"), Bounce("hard", "5.7.1")),
        (mails.arf("abuse"), Complaint()),
    ],
)
def test_reports_are_read(raw: bytes, report: object, address: Address) -> None:
    signals = meaning(raw, address, empty_sender=True)
    match report:
        case Bounce(kind, status):
            assert [(s.signal, s.bounce_kind, s.bounce_status) for s in signals] == [("bounced", kind, status)]
        case Delivered():
            assert [s.signal for s in signals] == ["delivered"]
        case Complaint():
            assert [s.signal for s in signals] == ["complained"]


def test_a_complaint_stops_the_enrollment() -> None:
    stop, signal = signals_of(mails.arf("abuse"), BOUNCE, NOW, empty_sender=False)
    assert isinstance(stop.message, StopOrder)
    assert stop.message.scope == "enrollment"
    assert isinstance(signal.message, RecordSignal)


@pytest.mark.parametrize(("raw", "kind", "status"), mails.ODD_BOUNCES)
def test_bounces_that_keep_to_no_standard(raw: bytes, kind: str, status: str | None) -> None:
    (signal,) = meaning(raw, BOUNCE, empty_sender=True)
    assert (signal.signal, signal.bounce_kind, signal.bounce_status) == ("bounced", kind, status)


def test_an_absence_note_at_the_bounce_address_is_an_auto_reply() -> None:
    (signal,) = meaning(mails.AUTO_REPLIES[0], BOUNCE, empty_sender=True)
    assert (signal.signal, signal.auto_reply) == ("replied", True)


# --- hostile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", mails.HOSTILE)
@pytest.mark.parametrize("address", [REPLY, BOUNCE])
def test_hostile_mails_make_a_signal_and_no_crash(raw: bytes, address: Address) -> None:
    signals = meaning(raw, address)
    assert signals
    for signal in signals:
        signal.model_dump_json().encode()  # no lone surrogate gets through


HEADERS = st.sampled_from(
    [
        "Content-Type",
        "Subject",
        "Content-Transfer-Encoding",
        "Content-Disposition",
        "Auto-Submitted",
        "From",
        "Precedence",
    ]
)
VALUES = (
    st.sampled_from(
        [
            "multipart/mixed; boundary=b", "multipart/report; report-type=delivery-status; boundary=b", "text/html",
            "message/rfc822", "message/delivery-status", "message/feedback-report", "base64", "quoted-printable",
            "=?utf-8?b?////?=", "=?x?q?=", "text/plain; charset=utf-7", "text/plain; charset=\"\0\"", "x-uuencode",
            "text/plain; charset*0*=%%%", "attachment; filename*=''%",
        ]
    )
    | st.text(max_size=40)
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(st.tuples(HEADERS, VALUES), max_size=6),
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\r\n--b\r\n", b"\r\n--b--", b"\r\n\r\n", b"Status: 5.1.1"]),
        max_size=12,
    ),
    st.sampled_from([REPLY, BOUNCE]),
    st.booleans(),
)
def test_no_mail_breaks_the_reader(
    fields: list[tuple[str, str]], body: list[bytes], address: Address, empty: bool
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("utf-8", "surrogateescape")
    for signal in meaning(head + b"\r\n" + b"".join(body), address, empty_sender=empty):
        signal.model_dump_json().encode()


@given(st.text(max_size=120))
def test_no_address_breaks_the_reader(address: str) -> None:
    assert read_address(address, TOKENS, DOMAIN) is None
