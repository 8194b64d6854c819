"""A command's connections: RabbitMQ for orders and questions, MongoDB for views, jobs and dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from shared.clock import Clock, load_clock
from shared.events import Command, Envelope
from shared.events.query import Answer
from shared.ids import new_id
from shared.messaging.errors import BrokerAway, RequestTimeout
from shared.messaging.publisher import Publisher
from shared.messaging.requests import Requester
from shared.messaging.topology import exchange_of, routing_key_of
from shared.persistence.mongo import MongoClient, connect
from shared.settings import Settings, SettingsError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
SOURCE = "tendril/cli"


class Refused(Exception):
    """The write side said no. The text is its reason, with what is wrong field by field."""


class NoAnswer(Exception):
    """Nobody answers. One line."""


@dataclass
class Broker:
    """Asks the enrollment service."""

    publisher: Publisher
    requester: Requester
    clock: Clock

    async def ask(
        self,
        message: Command,
        *,
        organization_id: str | None = None,
        subject: UUID | None = None,
        id_: str | None = None,
    ) -> Answer:
        """The answer to an order or a question. Raises Refused, NoAnswer, BrokerAway."""
        envelope = Envelope(
            id=id_ or new_id().hex,
            message=message,
            source=SOURCE,
            time=self.clock.now(),
            organization_id=organization_id,
            subject=subject,
            actor="system",
        )
        try:
            answer = await self.requester.request(
                exchange_of(envelope), routing_key_of(envelope), envelope, timeout_seconds=ANSWER_SECONDS
            )
        except RequestTimeout:
            raise NoAnswer(
                f"the enrollment service gave no answer in {ANSWER_SECONDS:g} s: is it running? (tendril doctor)"
            ) from None
        if not answer.ok:
            raise Refused(_reason(answer))
        return answer


@asynccontextmanager
async def broker(settings: Settings) -> AsyncIterator[Broker]:
    """Connected. Raises SettingsError, BrokerAway."""
    url = _address(settings, settings.require_amqp_url)
    _be_silent()
    publisher = Publisher(url, name="cli", partitions=settings.partitions)
    requester = Requester(url, name="cli", publisher=publisher)
    try:
        await publisher.start(wait=False)
        await requester.start(wait=False)
        try:
            await asyncio.wait_for(publisher.wait_up(), CONNECT_SECONDS)
        except TimeoutError:
            raise BrokerAway(f"RabbitMQ does not answer at {without_password(url)}") from None
        yield Broker(publisher, requester, load_clock(settings.home))
    finally:
        await asyncio.gather(requester.close(), publisher.close(), return_exceptions=True)


@asynccontextmanager
async def mongo(settings: Settings) -> AsyncIterator[MongoClient]:
    """Connected. Raises SettingsError, and the driver's error when nobody answers."""
    client = connect(_address(settings, settings.require_mongo_url), settings.mongo_driver)
    try:
        await client.ping()
        yield client
    finally:
        await client.close()


def _address(settings: Settings, of: Callable[[], str]) -> str:
    """Raises SettingsError, which says that nothing runs here: that is why no address is known."""
    try:
        return of()
    except SettingsError as error:
        raise SettingsError(
            f"nothing runs in {settings.home} (start it with tendril up, or set TENDRIL_HOME): {error}"
        ) from None


def without_password(url: str) -> str:
    """An address that may be shown."""
    head, separator, tail = url.rpartition("@")
    if not separator:
        return url
    scheme, mark, _ = head.partition("://")
    return f"{scheme}{mark}{tail}"


def _be_silent() -> None:
    """Attempts to connect are not news to who typed a command: the error at the end says it once."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _reason(answer: Answer) -> str:
    problem = answer.problem
    if problem is None:
        return "refused without a reason"
    fields: list[Any] = [f"{each.get('field')}: {each.get('problem')}" for each in problem.errors]
    return "; ".join([problem.detail or problem.title, *fields])
