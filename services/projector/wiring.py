"""Builds the projector from one settings object."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.projector.announcer import Announcer, Sender
from services.projector.event import Event
from services.projector.feed import Feed
from services.projector.generations import Generations
from services.projector.jobs import Jobs
from services.projector.links import Links
from services.projector.ownership import Ownership
from services.projector.pages import Pages, ReaderPages
from services.projector.projector import GATHER_SECONDS, Parts, Projector
from services.projector.sessions import Sessions
from services.projector.views import ALL_VIEWS, View
from services.projector.writer import Writer
from shared.clock import Clock
from shared.ids import new_id
from shared.messaging.publisher import Publisher
from shared.messaging.push import PushSender
from shared.messaging.requests import Requester
from shared.persistence.leases import RENEW_SECONDS, TTL_SECONDS, Leases
from shared.persistence.mongo import MongoClient, connect
from shared.persistence.views import LEASES, ViewReader, database_name
from shared.settings import Settings

GROUP = "projector"


@dataclass
class ProjectorService:
    """The parts of one process, started and closed in order."""

    mongo: MongoClient
    publisher: Publisher | None
    requester: Requester | None
    sender: PushSender | None
    feed: Feed
    projector: Projector

    async def start(self) -> None:
        """Starts everything; servers that are away are waited for in the background."""
        if self.publisher is not None:
            await self.publisher.start(wait=False)
        if self.requester is not None:
            await self.requester.start(wait=False)
        await self.projector.start(self.feed)

    async def close(self) -> None:
        """Finishes the batch in hand, gives back partitions and frames, then lets go of the servers."""
        await self.projector.close()
        if self.requester is not None:
            await self.requester.close()
        if self.publisher is not None:
            await self.publisher.close()
        if self.sender is not None:
            await self.sender.close()
        await self.mongo.close()

    def readiness(self) -> dict[str, bool]:
        """Ready once it takes part in sharing out the partitions, with both servers there."""
        return {"broker": self.feed.connected, "mongodb": self.projector.mongo_there, "views": self.projector.prepared}


async def build(
    settings: Settings,
    clock: Clock,
    *,
    views: Sequence[View] = ALL_VIEWS,
    pages: Pages | None = None,
    sender: Sender | None = None,
    gather_seconds: float = GATHER_SECONDS,
    lease_seconds: tuple[float, float] = (TTL_SECONDS, RENEW_SECONDS),
) -> ProjectorService:
    """Connects the parts; starts nothing. ``lease_seconds`` are the time to live of a lease and the pause between
    renewals.
    """
    amqp_url = settings.require_amqp_url()
    mongo = connect(settings.require_mongo_url(), settings.mongo_driver)
    reader = ViewReader(mongo, settings.database_prefix)
    database = mongo.database(database_name(settings.database_prefix))
    generations = Generations(mongo, database, views, settings.partitions)
    owner = f"{socket.gethostname()}-{os.getpid()}-{new_id().hex[-8:]}"
    sessions = Sessions(mongo, database, owner)
    ttl_seconds, renew_seconds = lease_seconds
    leases = Leases(
        database.collection(LEASES),
        owner,
        group=GROUP,
        partitions=settings.partitions,
        ttl_seconds=ttl_seconds,
        renew_seconds=renew_seconds,
    )
    publisher: Publisher | None = None
    requester: Requester | None = None
    if pages is None:
        publisher = Publisher(amqp_url, name="projector")
        requester = Requester(amqp_url, name="projector answers", publisher=publisher)
        pages = ReaderPages(requester, clock)
    push: PushSender | None = None
    if sender is None:
        push = PushSender(amqp_url)
        sender = push

    async def names(events: Sequence[Event]) -> Mapping[str, str | None]:
        return await names_for(reader, events)

    announcer = Announcer(sender, views, clock, names)
    jobs = Jobs(mongo, database, generations, clock, lambda: 0 in projector.owned)
    parts = Parts(
        generations=generations,
        writer=Writer(mongo, database, clock, sessions),
        links=Links(database),
        leases=leases,
        ownership=Ownership(generations, sessions, leases, announcer, clock),
        jobs=jobs,
        pages=pages,
        announcer=announcer,
        clock=clock,
    )
    projector = Projector(parts, gather_seconds=gather_seconds)
    feed = Feed(amqp_url, name="projector feed", partitions=settings.partitions, arrived=projector.wake)
    return ProjectorService(mongo, publisher, requester, push, feed, projector)


async def names_for(reader: ViewReader, events: Sequence[Event]) -> dict[str, str | None]:
    """Names of the leads and sequences of these events, by id."""
    names = await reader.names_of(event.lead_id for event in events)
    wanted = sorted({event.sequence_id for event in events if event.sequence_id is not None})
    if wanted:
        sequences = await reader.collection("sequences")
        found = await sequences.find({"_id": {"$in": wanted}}, {"name": 1}).to_list()
        names |= {sequence["_id"]: sequence.get("name") for sequence in found}
    return names
