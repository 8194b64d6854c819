"""What recipients send back: replies, automatic answers, and the report of a mail that could not be delivered."""

from __future__ import annotations

import random
from email.message import EmailMessage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, make_msgid, parseaddr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

_REPLIES = (
    "Hi Mara,\n\nthis came at the right moment. Meetings, mostly. I counted twenty-six next week.\n\nCan we talk?\n",
    "Thank you, I did the page-four exercise on Monday and it held until Wednesday. A record for me.\n\nBest\n",
    "Hello Mara,\n\ndo you also work with whole teams? We are eight and all of us could use this.\n",
    "Hi,\n\nI liked the story. What does the sentence sound like when the person is your own boss?\n",
    "Dear Mara,\n\nmy evenings. It is always the evenings. Is Thursday afternoon possible for a call?\n\nThanks\n",
    "This is kind of you. I printed the energy map and hung it next to my screen.\n",
    "Hi Mara, not this month, we are closing the year. Please write again in January.\n",
)
_AWAY = "I am out of the office until Monday and read mail after that. In urgent cases please call my team.\n"


def reply_to(mail: dict[str, Any], at: datetime, draw: random.Random, *, away: bool) -> tuple[str, str, bytes]:
    """Sender, recipient and source of an answer to this mail."""
    headers = _headers(mail)
    sender = str(mail["to"])
    message = EmailMessage()
    message["From"] = sender
    message["To"] = headers.get("reply-to", str(mail["from"]))
    subject = str(mail["subject"])
    message["Subject"] = f"Out of office: {subject}" if away else f"Re: {subject}"
    message["Date"] = format_datetime(at)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    if headers.get("message-id"):
        message["In-Reply-To"] = headers["message-id"]
        message["References"] = headers["message-id"]
    if away:
        message["Auto-Submitted"] = "auto-replied"
        message.set_content(_AWAY)
    else:
        quoted = "\n".join(f"> {line}" for line in str(mail.get("text") or "").strip().splitlines()[:12])
        message.set_content(f"{draw.choice(_REPLIES)}\nOn {at:%d %b %Y}, Mara Lindqvist wrote:\n{quoted}\n")
    return sender, parseaddr(str(message["To"]))[1], message.as_bytes()


def bounce_of(mail: dict[str, Any], at: datetime) -> tuple[str, str, bytes]:
    """Sender (none), recipient and source of a delivery report (RFC 3464): there is no such mailbox."""
    address = str(mail["to"])
    host = f"mx.{address.rpartition('@')[2]}"
    report = MIMEMultipart("report", report_type="delivery-status")
    report["From"] = f"Mail Delivery System <mailer-daemon@{host}>"
    report["To"] = str(mail["envelope_from"])
    report["Subject"] = "Undelivered Mail Returned to Sender"
    report["Date"] = format_datetime(at)
    report["Message-ID"] = make_msgid(domain=host)
    report["Auto-Submitted"] = "auto-replied"
    report.attach(MIMEText(f"<{address}>: host {host} said: 550 5.1.1 User unknown\n"))
    status = EmailMessage()
    status["Reporting-MTA"] = f"dns; {host}"
    about = EmailMessage()
    about["Final-Recipient"] = f"rfc822; {address}"
    about["Action"] = "failed"
    about["Status"] = "5.1.1"
    about["Diagnostic-Code"] = "smtp; 550 5.1.1 User unknown"
    for each in (status, about):
        del each["MIME-Version"]
    delivery = MIMEMultipart("delivery-status")
    delivery.set_payload([status, about])
    delivery.replace_header("Content-Type", "message/delivery-status")
    report.attach(delivery)
    original = EmailMessage()
    for name in ("From", "To", "Subject", "Message-ID"):
        value = _headers(mail).get(name.lower())
        if value:
            original[name] = value
    report.attach(MIMEMessage(original))
    return "", str(mail["envelope_from"]), report.as_bytes()


def _headers(mail: dict[str, Any]) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in mail["headers"]}
