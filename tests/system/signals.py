"""What a recipient does with a mail: replies to it, or unsubscribes with one click."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage

from tests.system.sink import Mail
from tests.system.stack import Stack


async def one_click(stack: Stack, mail: Mail) -> None:
    """Unsubscribes as a mail program does (RFC 8058); returns once the tracker has answered that it is done."""
    header = str(mail.message["List-Unsubscribe"])
    address = next(part.strip(" <>") for part in header.split(",") if "http" in part)
    answer = await stack.http.post(address, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200, answer.text


async def reply(stack: Stack, mail: Mail, text: str = "Yes please, tell me more.\n") -> None:
    """Answers by SMTP; returns once the tracker has taken the message."""
    answer = EmailMessage()
    answer["From"], answer["To"] = mail.to, str(mail.message["Reply-To"])
    answer["Subject"] = f"Re: {mail.subject}"
    answer["In-Reply-To"] = str(mail.message["Message-ID"])
    answer.set_content(text)
    await asyncio.to_thread(_hand_in, stack.smtp_port, answer)


def _hand_in(port: int, message: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.send_message(message)
