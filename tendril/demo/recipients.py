"""The people who get the mail: they watch the mailbox and come back through the tracker's doors."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from typing import Any

import aiosmtplib
import httpx
import orjson
import structlog
from pymongo.errors import PyMongoError

from shared.clock import Clock
from shared.messaging.errors import BrokerAway, PublishUnknown
from shared.messaging.publisher import Publisher
from shared.messaging.topology import LEADS
from shared.persistence.mongo import Collection
from tendril.demo.letters import bounce_of, reply_to
from tendril.demo.progress import ProgressFile
from tendril.demo.reactions import LONGEST, Act, Reaction, reactions_to

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
PAGE = 500
AT_ONCE = 16
TRIES = 5
FIELDS = {"to": 1, "from": 1, "envelope_from": 1, "subject": 1, "headers": 1, "html": 1, "text": 1, "at": 1}


class Recipients:
    """Acts until it is cancelled."""

    def __init__(
        self, mails: Collection, publisher: Publisher, clock: Clock, progress: ProgressFile, smtp_port: int
    ) -> None:
        self._mails = mails
        self._publisher = publisher
        self._clock = clock
        self._progress = progress
        self._smtp_port = smtp_port
        self._http = httpx.AsyncClient(timeout=10.0, follow_redirects=False)
        self._smtp = asyncio.Semaphore(4)
        self._order = itertools.count()
        self._waiting: list[tuple[Any, int, Reaction]] = []
        self._newest = ""

    async def run(self) -> None:
        """Never returns."""
        try:
            while True:
                try:
                    await self._read_mail()
                    await self._act()
                except PyMongoError as error:
                    log.debug("mailbox_unread", problem=str(error))
                self._progress.save()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._http.aclose()

    async def _read_mail(self) -> None:
        """New mails; at the start also those of the last days, whose reactions may still be ahead."""
        acted = self._progress.progress.acted_until
        while True:
            known: dict[str, Any] = {"_id": {"$gt": self._newest}}
            if not self._newest and acted is not None:
                known["at"] = {"$gte": acted - LONGEST}
            page = await self._mails.find(known, FIELDS, sort=[("_id", 1)], limit=PAGE).to_list()
            for mail in page:
                self._newest = mail["_id"]
                for reaction in reactions_to(mail, self._progress.progress.seed):
                    if acted is None or reaction.at > acted or mail["at"] > acted:
                        heapq.heappush(self._waiting, (reaction.at, next(self._order), reaction))
            if len(page) < PAGE:
                return

    async def _act(self) -> None:
        now = self._clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            due: list[Reaction] = []
            while self._waiting and self._waiting[0][0] <= now and len(due) < AT_ONCE:
                due.append(heapq.heappop(self._waiting)[2])
            await asyncio.gather(*(self._try(reaction) for reaction in due))
        self._progress.change(acted_until=now)

    async def _try(self, reaction: Reaction) -> None:
        """Again when a door is shut; given up after a few times, as people do."""
        for pause in range(1, TRIES + 1):
            try:
                await self._do(reaction)
            except (httpx.TransportError, aiosmtplib.SMTPException, OSError, BrokerAway, PublishUnknown) as error:
                log.debug("door_shut", act=str(reaction.act), problem=repr(error))
                await asyncio.sleep(0.2 * pause)
            else:
                return

    async def _do(self, reaction: Reaction) -> None:
        browser = {"User-Agent": reaction.agent, "Accept-Language": "en;q=0.9", "Accept": "*/*"}
        match reaction.act:
            case Act.OPEN | Act.CLICK:
                await self._http.get(reaction.target, headers=browser)
            case Act.UNSUBSCRIBE:
                await self._http.post(reaction.target, headers=browser, data={"List-Unsubscribe": "One-Click"})
            case Act.REPLY | Act.AWAY:
                draw = random.Random(f"{reaction.mail['_id']}:words")
                await self._send(*reply_to(reaction.mail, reaction.at, draw, away=reaction.act is Act.AWAY))
            case Act.BOUNCE:
                await self._send(*bounce_of(reaction.mail, reaction.at))
            case Act.BOOK:
                await self._tell(reaction, "meeting.booked", {"place": "Video call"})
            case Act.WIN:
                await self._tell(reaction, "lead.converted", {"value": 1_450, "currency": "EUR"})

    async def _send(self, sender: str, recipient: str, source: bytes) -> None:
        """``sender`` is empty for a report that must not be answered."""
        async with (
            self._smtp,
            aiosmtplib.SMTP(hostname="127.0.0.1", port=self._smtp_port, start_tls=False, timeout=10) as door,
        ):
            await door.sendmail(sender, [recipient], source)

    async def _tell(self, reaction: Reaction, key: str, more: dict[str, Any]) -> None:
        """As the calendar's or the shop's own message."""
        body = {
            "organization_id": "demo",
            "occurred_at": reaction.at.isoformat(),
            "lead": {"email": reaction.mail["to"]},
            **more,
        }
        await self._publisher.publish_body(
            LEADS,
            key,
            orjson.dumps(body),
            content_type="application/json",
            message_id=f"demo-{reaction.mail['_id']}-{reaction.act}",
        )
