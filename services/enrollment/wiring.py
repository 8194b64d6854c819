"""Builds the write side from one settings object."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from services.enrollment.bulk_runner import BulkRunner
from services.enrollment.channel_watch import ChannelWatch
from services.enrollment.clerk import Clerk
from services.enrollment.committer import Committer
from services.enrollment.company_stops import CompanyStops
from services.enrollment.dressing import Dresser
from services.enrollment.intake import Intake
from services.enrollment.reader import Reader
from services.enrollment.relay import Relay
from services.enrollment.scheduler import Scheduler
from services.enrollment.states import States
from services.enrollment.timer_wakes import TimerWakes
from services.enrollment.trial_runner import TrialRunner
from shared.clock import Clock
from shared.messaging.consumers import Consumers, Subscription
from shared.messaging.publisher import Publisher
from shared.messaging.topology import DEFAULT_CHANNELS
from shared.persistence.eventstore import EventStore, StoreUnavailable, open_store
from shared.settings import PostgresStore, Settings

log = structlog.get_logger()

Role = Literal["commands", "clerk", "reader"]
ROLES: frozenset[Role] = frozenset({"commands", "clerk", "reader"})
QUERY_PREFETCH = 16


class WrongRoles(Exception):
    """The store allows no such split of roles."""


@dataclass
class EnrollmentService:
    """The parts of one process, started and closed in order."""

    store: EventStore
    publisher: Publisher
    committer: Committer
    consumers: Consumers | None
    clerk: Clerk | None
    watch: ChannelWatch
    runner: TrialRunner

    async def start(self) -> None:
        await self.publisher.start()
        await self.watch.start()
        await self.committer.start()
        if self.clerk is not None:
            await self.clerk.start()
        if self.consumers is not None:
            await self.consumers.start()

    async def close(self) -> None:
        """Takes nothing new, finishes what runs, then lets go of the store."""
        if self.consumers is not None:
            await self.consumers.close()
        await self.runner.close()
        if self.clerk is not None:
            await self.clerk.close()
        await self.committer.close()
        await self.watch.close()
        await self.publisher.close()
        await asyncio.to_thread(self.store.close)

    def readiness(self) -> dict[str, bool]:
        return {
            "broker": self.publisher.is_up,
            "consumers": self.consumers is None or self.consumers.is_up,
        }


async def build(
    settings: Settings, clock: Clock, *, roles: Collection[Role] = ROLES, store: EventStore | None = None
) -> EnrollmentService:
    """Opens the store and connects the parts; starts nothing. Raises WrongRoles, or the store's own errors."""
    chosen = frozenset(roles) or ROLES
    shared = isinstance(settings.store, PostgresStore)
    if not shared and chosen != ROLES:
        raise WrongRoles("with SQLite the one enrollment process has all three roles: leave --roles out")
    amqp_url = settings.require_amqp_url()
    if store is None:
        store = await asyncio.to_thread(partial(open_store, settings, roles=chosen, wall=clock.wall))
    states = States(store, shared=shared)
    publisher = Publisher(amqp_url, name="enrollment", partitions=settings.partitions)
    watch = ChannelWatch(amqp_url, DEFAULT_CHANNELS)
    committer = Committer(store, states, clock, partitions=settings.partitions, channel_consumed=watch.consumed)
    clerk: Clerk | None = None
    if "clerk" in chosen:
        scheduler = Scheduler(store, committer, clock)
        relay = Relay(store, publisher, committer, Dresser(store, states, committer.versions), clock)
        errands = BulkRunner(store, committer, clock), CompanyStops(store, committer, clock), TimerWakes(store, clock)
        clerk = Clerk(store, scheduler, relay, errands)

        def wake() -> None:
            scheduler.wake()
            relay.wake()

        committer.on_commit = wake
    runner = TrialRunner(settings, clock)
    subscriptions: list[Subscription] = []
    if "commands" in chosen:
        subscriptions += Intake(committer, publisher).subscriptions()
    if "reader" in chosen:
        subscriptions.append(
            Subscription("enrollment.queries", QUERY_PREFETCH, Reader(store, states, clock, runner).handle)
        )
    consumers = None
    if subscriptions:
        consumers = Consumers(
            amqp_url,
            name="enrollment",
            publisher=publisher,
            queues=subscriptions,
            available=partial(available, store),
            now=clock.now,
            partitions=settings.partitions,
        )
    return EnrollmentService(store, publisher, committer, consumers, clerk, watch, runner)


async def available(store: EventStore) -> bool:
    """Does the store answer?"""
    try:
        await asyncio.to_thread(store.last_position)
    except StoreUnavailable:
        return False
    return True
