"""The SMTP door: replies and bounces to addresses that carry a token.

A mail is answered with 250 only once its signals are with the broker or synced to disk; until then the sender keeps it
and tries again, and the same mail makes the same ids.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Any, Literal
from uuid import UUID

import structlog
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as MailEnvelope

from services.tracker import telemetry
from services.tracker.bounces import Bounce, Complaint, Delivered, Report, report_of
from services.tracker.errors import NotDurable
from services.tracker.mails import header, parse
from services.tracker.outbox import Outbox
from services.tracker.replies import asks_to_stop, is_auto_reply, reply_text
from services.tracker.returning import return_date
from services.tracker.signals import mail_signal, mail_stop
from shared.events import Envelope
from shared.events.engagement import MAX_REPLY_TEXT, RecordSignal
from shared.faults import crash_point
from shared.tokens import Tokens

MAX_MAIL_BYTES = 10 << 20
#: The standard says 998; many programs write longer lines, and an answer is not refused for that.
MAX_LINE_BYTES = 64 << 10
MAX_RECIPIENTS = 20
MAX_SUBJECT = 2_000
#: Mails taken apart at once; each may be ten megabytes.
PARSING_AT_ONCE = 4
SESSION_SECONDS = 120.0

Box = Literal["reply", "bounce"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of ours: what it is for, and what its token names."""

    box: Box
    enrollment_id: UUID
    execution: int


def read_address(address: str, tokens: Tokens, domain: str) -> Address | None:
    """``reply+<token>@domain`` or ``bounce+<token>@domain``, in any case of letters; None for anything else."""
    local, at, host = address.strip().rpartition("@")
    box, plus, token = local.partition("+")
    if not at or not plus or host.rstrip(".").lower() != domain.lower():
        return None
    claims = tokens.read_address(token)
    match box.lower():
        case "reply" | "bounce" as known if claims is not None:
            return Address("reply" if known == "reply" else "bounce", *claims)
    return None


def signals_of(raw: bytes, address: Address, at: datetime, *, empty_sender: bool) -> list[Envelope]:
    """What a mail means: its signals, with a stop before each that asks for one. Never raises for what the mail
    holds.
    """
    key = hashlib.blake2b(raw, digest_size=16).hexdigest()
    try:
        message = parse(raw)
        report = report_of(message, to_bounce_address=address.box == "bounce")
        if report is not None:
            return _from_report(report, address, at, key)
        return _from_reply(message, address, at, key, empty_sender=empty_sender)
    except Exception as error:  # noqa: BLE001  # a mail that cannot be read has still come
        telemetry.UNREADABLE_MAILS.inc()
        _log.warning("mail_unreadable", error=repr(error))
        if address.box == "bounce":
            return [mail_signal(_bounced(address, at, Bounce("soft", None)), mail_key=key)]
        reply = _signal(address, at, "replied", "smtp_reply", auto_reply=empty_sender)
        return [mail_signal(reply, mail_key=key)]


def _from_report(report: Report, address: Address, at: datetime, key: str) -> list[Envelope]:
    match report:
        case Bounce():
            return [mail_signal(_bounced(address, at, report), mail_key=key)]
        case Delivered():
            return [mail_signal(_signal(address, at, "delivered", "smtp_report"), mail_key=key)]
        case Complaint():
            complained = mail_signal(_signal(address, at, "complained", "smtp_complaint"), mail_key=key)
            return [mail_stop(complained, address.enrollment_id, "complained"), complained]


def _from_reply(message: Message, address: Address, at: datetime, key: str, *, empty_sender: bool) -> list[Envelope]:
    auto = is_auto_reply(message, empty_sender=empty_sender)
    text = reply_text(message)[:MAX_REPLY_TEXT]
    subject = header(message, "Subject")[:MAX_SUBJECT]
    reply = _signal(
        address,
        at,
        "replied",
        "smtp_reply",
        auto_reply=auto,
        subject=subject or None,
        text=text or None,
        returns_on=return_date(f"{subject}\n{text}", at.date()) if auto else None,
    )
    replied = mail_signal(reply, mail_key=key)
    if auto or not asks_to_stop(text):
        return [replied]
    unsubscribed = mail_signal(_signal(address, at, "unsubscribed", "smtp_reply"), mail_key=key)
    return [mail_stop(unsubscribed, address.enrollment_id, "unsubscribed"), unsubscribed, replied]


def _bounced(address: Address, at: datetime, bounce: Bounce) -> RecordSignal:
    return _signal(address, at, "bounced", "smtp_bounce", bounce_kind=bounce.kind, bounce_status=bounce.status)


def _signal(address: Address, at: datetime, signal: str, source: str, **fields: Any) -> RecordSignal:
    return RecordSignal.model_validate(
        {
            "enrollment_id": address.enrollment_id,
            "execution": address.execution,
            "signal": signal,
            "at": at,
            "source": source,
            **fields,
        }
    )


class InboundHandler:
    """aiosmtpd's hooks: who is a recipient, and what becomes of a mail."""

    def __init__(self, tokens: Tokens, outbox: Outbox, domain: str, now: Callable[[], datetime]) -> None:
        self._tokens = tokens
        self._outbox = outbox
        self._domain = domain
        self._now = now
        self._parsing = asyncio.Semaphore(PARSING_AT_ONCE)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: MailEnvelope, address: str, options: list[str]
    ) -> str:
        """550 for anybody but us."""
        if read_address(address, self._tokens, self._domain) is None:
            telemetry.REFUSED.labels("smtp", "recipient").inc()
            return "550 5.1.1 there is nobody of this name here"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: MailEnvelope) -> str:  # noqa: N802
        """250 once durable, else 451."""
        raw = envelope.original_content or b""
        empty_sender = envelope.mail_from in (None, "", "<>")
        at = self._now()
        found: list[Envelope] = []
        for recipient in envelope.rcpt_tos:
            address = read_address(recipient, self._tokens, self._domain)
            if address is None:
                continue
            async with self._parsing:
                found += await asyncio.to_thread(signals_of, raw, address, at, empty_sender=empty_sender)
        try:
            await self._outbox.hand_over(found)
        except NotDurable:
            return "451 4.3.0 cannot be stored now, please try again"
        for signalled in found:
            if isinstance(signalled.message, RecordSignal):
                telemetry.SIGNALS.labels(signalled.message.signal, signalled.message.source).inc()
        crash_point("tracker.mail_stored")
        return "250 2.0.0 stored"

    async def handle_exception(self, error: Exception) -> str:
        """The sender tries again."""
        _log.error("smtp_session_failed", error=repr(error))
        return "451 4.3.0 please try again"


class InboundSession(SMTP):
    """One SMTP session that takes long lines."""

    line_length_limit = MAX_LINE_BYTES


def session(handler: InboundHandler, domain: str) -> InboundSession:
    """A protocol for ``loop.create_server``."""
    return InboundSession(
        handler,
        data_size_limit=MAX_MAIL_BYTES,
        enable_SMTPUTF8=True,
        hostname=domain,
        ident="tendril",
        timeout=SESSION_SECONDS,
        loop=asyncio.get_running_loop(),
    )
