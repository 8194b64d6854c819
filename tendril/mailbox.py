"""The demo mailbox: an SMTP server on loopback that keeps what it is given in MongoDB. Run as ``python -m
tendril.mailbox``."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import re
import signal
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import PyMongoError

from shared.clock import Clock, load_clock
from shared.persistence.mongo import Collection, connect
from shared.settings import load_settings
from shared.telemetry import configure_logging
from shared.tokens import LinkClaims, Tokens

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
COLLECTION = "mailbox"
KEPT = 50_000  #: the newest mails; older ones are removed
PRUNE_EVERY = 500
MAX_BYTES = 16 << 20
MAX_RAW = 200_000  #: characters of the source that are kept
UNSUBSCRIBE_LINK = re.compile(r"/t/u/([A-Za-z0-9_-]+)")
STORED = "250 kept"
AWAY = "451 the mailbox cannot store at present"
UNREADABLE = "550 this is no message"


def database_of(prefix: str) -> str:
    """The gateway's database, where the mails are read."""
    return f"{prefix}_gateway"


class Mailbox:
    """aiosmtpd's handler. A mail is answered only once it is stored; those that come together are stored together."""

    def __init__(self, mails: Collection, clock: Clock, tokens: Tokens) -> None:
        self._mails = mails
        self._tokens = tokens
        self._clock = clock
        self._pending: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._since_prune = 0

    async def prepare(self) -> None:
        """Makes the indexes."""
        await self._mails.create_indexes(
            [
                IndexModel([("at", DESCENDING), ("_id", DESCENDING)]),
                IndexModel([("to", ASCENDING), ("at", DESCENDING)]),
                IndexModel([("lead_id", ASCENDING), ("at", DESCENDING)]),
            ]
        )

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """One mail for all its recipients; the SMTP answer."""
        del server, session
        source = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        try:
            document = document_of(source, envelope.mail_from or "", envelope.rcpt_tos, self._tokens)
        except (ValueError, LookupError, IndexError) as error:
            log.warning("mail_unreadable", problem=repr(error))
            return UNREADABLE
        document["at"] = self._clock.now()
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((document, stored))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        try:
            await stored
        except PyMongoError as error:
            log.warning("mail_not_stored", problem=str(error))
            return AWAY
        return STORED

    async def _write(self) -> None:
        """All that waits, in one call each time, until nothing waits."""
        while self._pending:
            batch, self._pending = self._pending, []
            problem: PyMongoError | None = None
            try:
                await self._mails.insert_many([document for document, _ in batch])
            except PyMongoError as error:
                problem = error
            for _, stored in batch:
                if stored.done():  # whoever handed it over has gone
                    continue
                if problem is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(problem)
            if problem is None:
                await self._prune(len(batch))

    async def _prune(self, added: int) -> None:
        self._since_prune += added
        if self._since_prune < PRUNE_EVERY:
            return
        self._since_prune = 0
        with contextlib.suppress(PyMongoError):  # the next one does it
            oldest_kept = await self._mails.find({}, {"_id": 1}, sort=[("_id", -1)], skip=KEPT - 1, limit=1).to_list()
            if oldest_kept:
                await self._mails.delete_many({"_id": {"$lt": oldest_kept[0]["_id"]}})


def document_of(source: bytes, envelope_from: str, recipients: list[str], tokens: Tokens) -> dict[str, Any]:
    """A mail as it is kept, without its time. Ids are texts that grow with time; whose mail it is stands in its
    unsubscribe link."""
    message = email.message_from_bytes(source, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    headers = [[name, str(value)] for name, value in message.items()]
    claims = _claims(message, tokens)
    return {
        "_id": str(ObjectId()),
        "to": parseaddr(str(message["To"] or ""))[1] or (recipients[0] if recipients else ""),
        "from": str(message["From"] or envelope_from),
        "envelope_from": envelope_from,
        "recipients": recipients,
        "subject": str(message["Subject"] or ""),
        "organization_id": claims.organization_id if claims else None,
        "lead_id": str(claims.lead_id) if claims else None,
        "enrollment_id": str(claims.enrollment_id) if claims else None,
        "execution": claims.execution if claims else None,
        "message_id": str(message["Message-ID"] or ""),
        "headers": headers,
        "html": _part(message, "html"),
        "text": _part(message, "plain"),
        "raw": source.decode("utf-8", errors="replace")[:MAX_RAW],
        "size": len(source),
    }


def _claims(message: EmailMessage, tokens: Tokens) -> LinkClaims | None:
    found = UNSUBSCRIBE_LINK.search(str(message["List-Unsubscribe"] or ""))
    return tokens.read_link(found.group(1)) if found else None


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content())


async def serve() -> None:
    """Where ``SMTP_URL`` says, until SIGTERM or SIGINT. Raises SettingsError, or OSError when the port is taken."""
    settings = load_settings()
    port = urlsplit(settings.smtp_address).port
    configure_logging(settings.log_format, "mailbox")
    client = connect(settings.require_mongo_url(), settings.mongo_driver)
    mails = client.database(database_of(settings.database_prefix)).collection(COLLECTION, majority=False)
    mailbox = Mailbox(mails, load_clock(settings.home), Tokens(settings.secret_key_list))
    await mailbox.prepare()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: SMTP(mailbox, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, hostname="demo-mailbox", loop=loop),
        HOST,
        port,
    )
    log.info("mailbox_ready", address=f"{HOST}:{port}")
    try:
        await stop.wait()
    finally:
        server.close()
        await client.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
