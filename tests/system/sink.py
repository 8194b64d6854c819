"""An SMTP sink that keeps every message it was given. Imports no product code: it is the independent witness of what
went out."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage

from tendril.embedded.ports import free_port


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as received after its final dot."""

    sender: str
    to: str
    raw: bytes
    at: float  #: monotonic seconds
    answered: bool  #: False when the answer to the dot was withheld

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body is not None, f"no {kind} part"
        return str(body.get_content())

    def link(self, pattern: str) -> str:
        """The first address in the HTML part that matches ``pattern``."""
        found = re.search(rf'"(https?://[^"]*{pattern}[^"]*)"', self.part("html"))
        assert found is not None, f"no link like {pattern}"
        return found.group(1)


@dataclass(slots=True)
class Sink:
    """Listens on 127.0.0.1. ``swallow_answers`` withholds the answer to that many final dots and cuts the line;
    ``hold`` delays the answer to the dot until it is set, ``hold_data`` the go-ahead for DATA (``asked`` counts who
    waits for it); ``refuse`` answers DATA's dot with this line instead of
    250."""

    mails: list[Mail] = field(default_factory=list)
    swallow_answers: int = 0
    refuse: str | None = None
    hold: asyncio.Event | None = None
    hold_data: asyncio.Event | None = None
    asked: int = 0
    in_data: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """At the same port each time."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._session, "127.0.0.1", self.port, limit=1 << 24)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def to(self, address: str) -> list[Mail]:
        return [mail for mail in self.mails if mail.to == address]

    def duplicates(self) -> dict[tuple[str, str], int]:
        """(recipient, subject) that came more than once: the subject of every step differs."""
        counted = Counter((mail.to, mail.subject) for mail in self.mails)
        return {key: count for key, count in counted.items() if count > 1}

    async def wait_for(self, count: int, *, to: str | None = None, seconds: float = 60) -> list[Mail]:
        """The mails once there are ``count``. Raises AssertionError after ``seconds``."""
        deadline = time.monotonic() + seconds
        while len(found := self.mails if to is None else self.to(to)) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(found)} of {count} mails came in {seconds} s"
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), min(left, 1.0))
            except TimeoutError:
                continue
        return found

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = ""
        recipients: list[str] = []
        try:
            writer.write(b"220 sink\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb in (b"EHLO", b"HELO"):
                    writer.write(b"250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 33554432\r\n")
                elif verb == b"MAIL":
                    sender, recipients = _address(line), []
                    writer.write(b"250 ok\r\n")
                elif verb == b"RCPT":
                    recipients.append(_address(line))
                    writer.write(b"250 ok\r\n")
                elif verb == b"DATA":
                    if self.hold_data is not None:
                        self.asked += 1
                        await self.hold_data.wait()
                    writer.write(b"354 go on\r\n")
                    await writer.drain()
                    if not await self._data(reader, writer, sender, recipients):
                        return
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                else:
                    writer.write(b"250 ok\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _data(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str, recipients: list[str]
    ) -> bool:
        self.in_data += 1
        try:
            body = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
        finally:
            self.in_data -= 1
        body = body.replace(b"\r\n..", b"\r\n.")
        if self.refuse is not None:
            writer.write(self.refuse.encode() + b"\r\n")
            return True
        swallow = self.swallow_answers > 0
        if swallow:
            self.swallow_answers -= 1
        self.mails += [Mail(sender, to, body, time.monotonic(), not swallow) for to in recipients]
        self._arrived.set()
        if swallow:
            return False
        if self.hold is not None:
            await self.hold.wait()
        writer.write(b"250 kept\r\n")
        return True


def _address(line: bytes) -> str:
    found = re.search(rb"<([^>]*)>", line)
    return found.group(1).decode() if found else ""
