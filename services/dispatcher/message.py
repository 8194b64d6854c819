"""The message that goes out: headers, MIME form, and what of it is kept in the ledger.

One Message-ID per dispatch. Reply-To and the envelope's sender carry an address token; the unsubscribe headers allow
one click (RFC 8058). No header value holds a line break.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import idna

from services.dispatcher.attaching import boundary_of, from_documents, to_documents, written
from services.dispatcher.errors import BadAddress
from services.dispatcher.invitation import calendar_part
from services.dispatcher.links import Addresses
from shared.events.dispatch import Attached, DressedStep
from shared.rendering.errors import BrokenContent
from shared.rendering.message import Rendered

_FORBIDDEN = re.compile(r"[\r\n\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029]")
_MESSAGE_ID = re.compile(r"^<[!-;=?-~]{1,900}>$")
_LOCAL = re.compile(r"^[^\s<>()\[\]\\,;:@\"\x00-\x1f\x7f]{1,64}$")
_DOMAIN = re.compile(r"^(?=.{1,253}$)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*$")
_TOKEN_HEADERS = ("Message-ID", "In-Reply-To", "References", "List-Unsubscribe")
NO_FILES: Mapping[str, bytes] = MappingProxyType({})
#: A References header keeps the first and the last of a long thread.
MOST_REFERENCES = 20


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message as a channel gets it. ``raw`` is its MIME form with CRLF line ends; empty for channels that need
    none. Of a text ``to`` is a phone number; of a call it is the URL, ``subject`` the method and ``text`` the body.

    ``attachments`` are the files at the end of ``raw``; without them it is ``kept`` bytes long, None when it has none.
    """

    message_id: str
    to: str
    envelope_sender: str
    sender: str
    subject: str
    html: str | None
    text: str
    headers: dict[str, str]
    raw: bytes = b""
    organization_id: str = ""
    attachments: tuple[Attached, ...] = ()
    boundary: str = ""
    kept: int | None = None

    @property
    def needs_utf8(self) -> bool:
        """Whether an address can only be written with SMTPUTF8."""
        return not (self.to.isascii() and self.envelope_sender.isascii())


def compose(
    step: DressedStep,
    rendered: Rendered,
    addresses: Addresses,
    unsubscribe: str | None,
    now: datetime,
    *,
    mime: bool = True,
    marks: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, bytes] = NO_FILES,
) -> Outbound:
    """``files``: the bytes of the step's attachments by hash. ``unsubscribe`` None leaves its headers out; ``marks``
    are headers besides. Raises BadAddress when the lead's address is none,
    BrokenContent when a name or a subject cannot stand in a header.
    """
    to = mail_address(step.address)
    headers = {
        "From": _mailbox(step.sender.name, step.sender.email),
        "To": to,
        "Subject": checked(rendered.subject, "the subject"),
        "Date": _date(now.replace(microsecond=0)),
        "Message-ID": addresses.message_id,
        "Reply-To": addresses.reply_to,
        **marks,
    }
    if unsubscribe is not None:
        headers["List-Unsubscribe"] = f"<{unsubscribe}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    thread = [reference for reference in step.thread if _MESSAGE_ID.match(reference)]
    if thread:
        headers["In-Reply-To"] = thread[-1]
        headers["References"] = " ".join(
            thread if len(thread) <= MOST_REFERENCES else [thread[0], *thread[1 - MOST_REFERENCES :]]
        )
    if rendered.invited is not None:
        domain = addresses.message_id.rpartition("@")[2].rstrip(">")
        calendar = calendar_part(step, rendered.invited, to, domain, now)
    else:
        calendar = None
    outbound = Outbound(
        message_id=addresses.message_id,
        to=to,
        envelope_sender=addresses.envelope_sender,
        sender=headers["From"],
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
        headers=headers,
    )
    if not mime:
        return outbound
    if not step.attachments:
        return _with_mime(outbound, calendar)
    boundary = boundary_of(step.dispatch_id)
    return _complete(replace(_with_mime(outbound, calendar, boundary), attachments=tuple(step.attachments)), files)


@lru_cache(maxsize=8)
def _date(second: datetime) -> str:
    """As mails say it (RFC 5322, section 3.3); many are made in the same second."""
    return format_datetime(second)


def mail_address(address: str) -> str:
    """The address as it stands on the envelope, its domain in ASCII. Raises BadAddress."""
    local, _, domain = address.strip().rpartition("@")
    if not _LOCAL.match(local):
        raise BadAddress
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            raise BadAddress from None
    if not _DOMAIN.match(domain):
        raise BadAddress
    return f"{local}@{domain}"


def checked(value: str, what: str) -> str:
    """The value, if a header can hold it. Raises BrokenContent."""
    if _FORBIDDEN.search(value):
        raise BrokenContent(f"{what} holds a line break or a control character")
    return value


def to_document(message: Outbound) -> dict[str, Any]:
    """As it is kept in the row: attachments by their hash."""
    document: dict[str, Any] = {
        "message_id": message.message_id,
        "to": message.to,
        "envelope_sender": message.envelope_sender,
        "from": message.sender,
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "headers": message.headers,
        "raw": message.raw[: message.kept],
        "organization_id": message.organization_id,
    }
    if message.attachments:
        document |= {"attachments": to_documents(message.attachments), "boundary": message.boundary}
    return document


def from_document(document: dict[str, Any], files: Mapping[str, bytes] = NO_FILES) -> Outbound:
    """The same message again, byte for byte. ``files``: the bytes of its attachments by hash."""
    message = Outbound(
        message_id=document["message_id"],
        to=document["to"],
        envelope_sender=document["envelope_sender"],
        sender=document["from"],
        subject=document["subject"],
        html=document["html"],
        text=document["text"],
        headers=document["headers"],
        raw=document["raw"],
        organization_id=document.get("organization_id", ""),
        attachments=from_documents(document.get("attachments", ())),
        boundary=document.get("boundary", ""),
    )
    return _complete(message, files) if message.attachments else message


def _complete(message: Outbound, files: Mapping[str, bytes]) -> Outbound:
    """With its attachments behind what is there."""
    raw = message.raw + written(message.attachments, files, message.boundary)
    return replace(message, raw=raw, kept=len(message.raw))


@lru_cache(maxsize=256)
def _mailbox(name: str, email: str) -> str:
    """``Name <address>``, quoted and encoded as needed."""
    checked(name, "the sender's name")
    try:
        return str(Address(display_name=name, addr_spec=checked(email, "the sender's address")))
    except (ValueError, IndexError) as error:
        raise BrokenContent(f"the sender's address cannot be used: {type(error).__name__}") from None


def _with_mime(message: Outbound, calendar: str | None, boundary: str = "") -> Outbound:
    """With a ``boundary``: up to where attachments begin."""
    policy = SMTPUTF8 if message.needs_utf8 or not message.sender.rpartition("<")[2].isascii() else SMTP
    mail = EmailMessage(policy=policy)
    try:
        for name, value in message.headers.items():
            if name not in _TOKEN_HEADERS:
                mail[name] = value
        mail.set_content(message.text, cte=_encoding(message.text))
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html", cte=_encoding(message.html))
        if calendar is not None:
            mail.add_alternative(calendar, subtype="calendar", cte="base64", params={"method": "REQUEST"})
        if boundary:
            mail.make_mixed(boundary)
        raw = _token_headers(message.headers) + mail.as_bytes()
    except (ValueError, IndexError, UnicodeError) as error:
        raise BrokenContent(f"the message cannot be written as mail: {type(error).__name__}") from None
    if boundary:
        raw = raw[: raw.rindex(b"--%s--" % boundary.encode())]
    return replace(message, raw=raw, boundary=boundary)


def _token_headers(headers: dict[str, str]) -> bytes:
    """Headers of ids and addresses, folded between them only: the library would encode the long ones beyond
    recognition.
    """
    lines = (f"{name}: " + "\r\n ".join(headers[name].split(" ")) for name in _TOKEN_HEADERS if name in headers)
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _encoding(content: str) -> str:
    """Quoted-printable keeps lines short and 8-bit safe; plain ASCII with short lines stays readable."""
    short = all(len(line) <= 900 for line in content.splitlines())
    return "7bit" if content.isascii() and short else "quoted-printable"
