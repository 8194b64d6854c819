"""Builds a dispatcher from one settings object."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from services.dispatcher.attaching import Files
from services.dispatcher.channels.null import NullChannel
from services.dispatcher.channels.protocol import Channel
from services.dispatcher.channels.smtp import SmtpChannel
from services.dispatcher.channels.smtp_line import read_smtp_url
from services.dispatcher.channels.webhook import WebhookChannel
from services.dispatcher.epoch import RAISE_SECONDS, Epoch
from services.dispatcher.errors import LedgerAway
from services.dispatcher.handler import StepHandler
from services.dispatcher.holding import Holdings
from services.dispatcher.ledger_mongo import MongoLedger
from services.dispatcher.preparing import Preparer
from services.dispatcher.proving import Prover, is_test
from services.dispatcher.reports import Reporter
from services.dispatcher.states import LEASE_SECONDS, RENEW_SECONDS, Row
from services.dispatcher.stop_handler import StopHandler
from shared.clock import Clock
from shared.ending import ended
from shared.messaging.consumers import Consumers, Subscription
from shared.messaging.delivery import Delivery
from shared.messaging.errors import MessagingError
from shared.messaging.publisher import Publisher
from shared.messaging.topology import QUEUE_STOPS, SERVED_CHANNELS, dispatch_queue
from shared.persistence.files import Files as StoredFiles
from shared.persistence.mongo import MongoClient, connect, is_unavailable
from shared.settings import Settings
from shared.tokens import Tokens

CHANNELS = SERVED_CHANNELS
#: Frames of 25 held at a time per channel: enough to keep the ledger's batches full, few enough to leave work to a
#: twin.
FRAME_PREFETCH = 8
STOP_PREFETCH = 8

_log = structlog.get_logger(__name__)


class UnknownChannel(Exception):
    """There is no adapter of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is no channel {name!r}; known are {', '.join(CHANNELS)}")


@dataclass
class DispatcherService:
    """The parts of one process, started and closed in order."""

    mongo: MongoClient
    ledger: MongoLedger
    epoch: Epoch
    clock: Clock
    publisher: Publisher
    holdings: Holdings
    steps: StepHandler
    channels: Mapping[str, Channel]
    consumers: Consumers
    _watch: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Returns once messages are being taken, however long broker and MongoDB take to come."""
        await self.publisher.start()
        while True:
            try:
                await self.ledger.start()
                await self._look()
                break
            except LedgerAway as error:
                _log.warning("ledger is away", error=str(error))
                await asyncio.sleep(1)
        self.holdings.start()
        self._watch = asyncio.create_task(self._keep_looking(), name="ledger epoch")
        await self.consumers.start()

    async def close(self) -> None:
        """Takes nothing new, finishes what runs, then lets go."""
        await self.consumers.close()
        await ended(self._watch)
        for channel in self.channels.values():
            await channel.close()
        await self.steps.close()
        await self.holdings.close()
        await self.publisher.close()
        await self.mongo.close()

    def readiness(self) -> dict[str, bool]:
        """What must be true for steps to be handled."""
        return {"broker": self.publisher.is_up, "consumers": self.consumers.is_up}

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(RAISE_SECONDS)
            with suppress(LedgerAway):
                await self._look()

    async def _look(self) -> None:
        restored_at = await self.epoch.raise_count(self.clock.now())
        if restored_at is not None:
            await self.ledger.mark_restored(restored_at)


async def build(
    settings: Settings,
    clock: Clock,
    *,
    channels: Sequence[str] = CHANNELS,
    adapters: Mapping[str, Channel] | None = None,
    lease_seconds: float = LEASE_SECONDS,
    renew_seconds: float = RENEW_SECONDS,
) -> DispatcherService:
    """Connects nothing yet. ``channels`` empty = all. ``adapters`` replace the built-in ones by name.

    Raises UnknownChannel, SettingsError, and ValueError for an SMTP address that cannot be used.
    """
    amqp_url = settings.require_amqp_url()
    names = tuple(channels) or CHANNELS
    built = {name: (adapters or {}).get(name) or _adapter(name, settings, clock) for name in names}
    # A write of the ledger whose answer is lost sends its message back to the queue; the row then tells what took
    # place.
    mongo = connect(settings.require_mongo_url(), settings.mongo_driver, retry_writes=False)
    database = mongo.database(f"{settings.database_prefix}_ledger")
    ledger = MongoLedger(database, owner=f"{socket.gethostname()}:{os.getpid()}", lease_seconds=lease_seconds)
    publisher = Publisher(amqp_url, name="dispatcher", channels=names)
    reporter = Reporter(publisher, clock)

    async def report_lapsed(rows: list[Row]) -> None:
        with suppress(MessagingError):  # asked again by the rows' own StepDue, or by a watchdog
            await reporter.publish([answer for row in rows if (answer := reporter.of_row(row)) is not None])

    holdings = Holdings(ledger, clock, report_lapsed, renew_seconds=renew_seconds)
    files = Files(StoredFiles(mongo, settings.database_prefix))
    tokens = Tokens(settings.secret_key_list)
    preparer = Preparer(tokens, settings.tracking_url, settings.inbound_domain, clock, files)
    steps = StepHandler(ledger, holdings, reporter, preparer, built, clock)
    prover = Prover(built, files, settings.inbound_domain, clock)
    stops = StopHandler(ledger, holdings, reporter, clock)

    async def take(delivery: Delivery) -> None:
        await (prover if is_test(delivery) else steps).handle(delivery)

    async def available() -> bool:
        try:
            await mongo.ping()
        except Exception as error:
            if is_unavailable(error):
                return False
            raise
        return True

    consumers = Consumers(
        amqp_url,
        name="dispatcher",
        publisher=publisher,
        queues=[
            Subscription(QUEUE_STOPS, STOP_PREFETCH, stops.handle),
            *(Subscription(dispatch_queue(name), FRAME_PREFETCH, take) for name in names),
        ],
        available=available,
        channels=names,
    )
    settings.home.mkdir(parents=True, exist_ok=True)
    epoch = Epoch(database, settings.home / f"ledger-{settings.database_prefix}.json")
    return DispatcherService(mongo, ledger, epoch, clock, publisher, holdings, steps, built, consumers)


def _adapter(name: str, settings: Settings, clock: Clock) -> Channel:
    match name:
        case "email":
            return SmtpChannel(read_smtp_url(settings.smtp_address), clock.monotonic)
        case "webhook":
            return WebhookChannel(
                settings.secret_key_list,
                clock.wall,
                clock.monotonic,
                allow_private=settings.allow_private_webhooks,
            )
        case "null":
            return NullChannel()
        case _:
            raise UnknownChannel(name)
