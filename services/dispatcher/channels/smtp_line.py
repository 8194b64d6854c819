"""One SMTP connection. aiosmtplib speaks every verb but the end of DATA: that it cannot tell a line lost before the
final dot from one lost after it is the reason why the content and the dot are written here, in two steps, on its
protocol.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from aiosmtplib.errors import SMTPException

from services.dispatcher.channels.protocol import HandOver
from services.dispatcher.errors import LineLost
from services.dispatcher.message import Outbound

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_LEADING_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """Where and how to hand mail over. ``per_second`` 0 = no smoothing."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool  #: from the first byte (smtps)
    starttls: bool | None  #: True: required, False: never, None: when the server offers it
    verify: bool
    per_second: float
    connections: int


def read_smtp_url(url: str) -> SmtpAddress:
    """From ``smtp[s]://user:password@host:port?starttls=true|false&verify=true|false&per_second=N&connections=N``.

    Raises ValueError, without the password in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("an SMTP address reads smtp://user:password@host:port or smtps://…")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    tls = parts.scheme == "smtps"
    starttls = _flag(options["starttls"]) if "starttls" in options else None
    return SmtpAddress(
        host=parts.hostname,
        port=parts.port or (465 if tls else 587 if parts.username else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
        starttls=False if tls else starttls,
        verify=_flag(options.get("verify", "true")),
        per_second=float(options.get("per_second", 0)),
        connections=int(options.get("connections", 8)),
    )


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0", "yes", "no", "required", "never"):
        raise ValueError(f"a flag of an SMTP address must be true or false, got {value!r}")
    return value.lower() in ("true", "1", "yes", "required")


class Refused(Exception):
    """The server answered a verb with something other than yes. ``verb``: connect, login, mail, rcpt, data."""

    def __init__(self, verb: str, code: int, text: str) -> None:
        self.verb = verb
        self.code = code
        self.text = text
        super().__init__(f"{verb}: {code} {text}")


class AnswerLost(Exception):
    """The final dot may have left and the answer cannot be known."""


class AnswerLate(Exception):
    """The final dot has left and no answer came yet; the line still stands."""


class SmtpLine:
    """A connection that has greeted and signed in. Not for concurrent use."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client
        self.used = 0  #: messages handed over

    @classmethod
    async def open(cls, address: SmtpAddress, *, timeout_seconds: float) -> SmtpLine:
        """Raises LineLost, or Refused with ``connect`` or ``login``."""
        client = aiosmtplib.SMTP(
            hostname=address.host,
            port=address.port,
            username=address.username,
            password=address.password,
            use_tls=address.tls,
            start_tls=address.starttls,
            validate_certs=address.verify,
            timeout=timeout_seconds,
            local_hostname="localhost.localdomain",
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            client.close()
            raise Refused("login", error.code, error.message) from None
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise Refused("connect", error.code, error.message) from None
        except (SMTPException, OSError, ValueError) as error:
            client.close()
            raise LineLost(f"cannot connect: {type(error).__name__}") from error
        return cls(client)

    @property
    def stands(self) -> bool:
        """Whether another message can go over it."""
        return self._client.is_connected

    async def begin(self, message: Outbound) -> None:
        """RSET where needed, MAIL, RCPT, DATA, and the content without its final dot. Raises LineLost or Refused."""
        encoding, option = "ascii", b""
        if message.needs_utf8:
            if not self._client.supports_extension("smtputf8"):
                raise Refused("rcpt", 553, "5.6.7 the server does not take addresses outside ASCII")
            encoding, option = "utf-8", b" SMTPUTF8"
        try:
            if self.used:
                await self._verb("rset", b"RSET", 250)
            sender, recipient = message.envelope_sender.encode(encoding), message.to.encode(encoding)
            await self._verb("mail", b"MAIL FROM:<%b>%b" % (sender, option), 250)
            await self._verb("rcpt", b"RCPT TO:<%b>" % recipient, 250, 251)
            await self._verb("data", b"DATA", 354)
            await self._write(stuffed(message.raw))
        except (SMTPException, OSError, ValueError) as error:
            self.close()
            raise LineLost(f"line lost: {type(error).__name__}") from error

    async def end(self, hand_over: HandOver, *, timeout_seconds: float) -> tuple[int, str]:
        """Awaits ``hand_over``, writes the final dot, and waits for the answer: code and text.

        Raises LineLost when the dot did not leave, AnswerLost or AnswerLate when it may have, and what ``hand_over``
        raises.
        """
        try:
            self._expect_silence()
            await hand_over()
            await asyncio.sleep(0)  # what the network has brought meanwhile is seen before the dot, not after it
            self._expect_silence()
        except BaseException:
            self.close()  # content without a dot: the server drops it
            raise
        protocol = self._client.protocol
        if protocol is None or not self.stands:
            raise LineLost("line lost before the final dot")
        self.used += 1
        try:
            protocol.write(b".\r\n")
        except (SMTPException, OSError) as error:
            self.close()
            raise AnswerLost(f"line lost at the final dot: {type(error).__name__}") from error
        return await self._answer(timeout_seconds)

    async def late_answer(self, timeout_seconds: float) -> tuple[int, str] | None:
        """Waits on for the answer that was late; None when it never came. The line is closed afterwards."""
        try:
            return await self._answer(timeout_seconds)
        except (AnswerLost, AnswerLate):
            return None
        finally:
            self.close()

    async def _answer(self, timeout_seconds: float) -> tuple[int, str]:
        protocol = self._client.protocol
        if protocol is None:
            raise AnswerLost("line lost after the final dot")
        try:
            response = await protocol.read_response(timeout=timeout_seconds)
        except aiosmtplib.SMTPReadTimeoutError as error:
            raise AnswerLate(f"no answer within {timeout_seconds:g} s") from error
        except (SMTPException, OSError) as error:
            self.close()
            raise AnswerLost(f"no answer: {type(error).__name__}") from error
        except BaseException:
            self.close()
            raise
        if not 200 <= response.code < 600 or 300 <= response.code < 400:
            self.close()
            raise AnswerLost(f"no answer but {response.code}")
        if response.code == 421:
            self.close()
        return response.code, response.message

    def close(self) -> None:
        """Drops the line."""
        self._client.close()

    async def quit(self) -> None:
        """Says goodbye."""
        try:
            await self._client.quit(timeout=2)
        except (SMTPException, OSError):
            self._client.close()

    async def _verb(self, verb: str, command: bytes, *wanted: int) -> None:
        response = await self._client.execute_command(command)
        if response.code not in wanted:
            if not 400 <= response.code < 600:
                self.close()
                raise LineLost(f"{verb} was answered with {response.code}")
            raise Refused(verb, response.code, response.message)

    async def _write(self, content: bytes) -> None:
        protocol = self._client.protocol
        if protocol is None:
            raise LineLost("line lost before the content")
        protocol.write(content)
        async with asyncio.timeout(self._client.timeout):
            await protocol._drain_helper()

    def _expect_silence(self) -> None:
        """A server that speaks before the dot has gone out of step: what it says next could be taken for the answer."""
        protocol = self._client.protocol
        if protocol is None or not self.stands:
            raise LineLost("line lost before the final dot")
        if protocol._buffer:
            self.close()
            raise LineLost("the server spoke before the final dot")


def stuffed(raw: bytes) -> bytes:
    """The content as it goes over the line: CRLF line ends, dots doubled at line starts, a line end last."""
    content = _LINE_ENDS.sub(b"\r\n", raw)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    return _LEADING_DOT.sub(b"..", content)
