"""Carries out what a stop rule that says ``company`` asks for: one order for each other lead of the company.

What is still to do is a row, written with the event that asked for it and moved on page by page. A page that was
interrupted is given again: an order's id is made of what asked for it and its target, and the inbox answers it.
"""

from __future__ import annotations

import asyncio

import structlog

from services.enrollment.committer import Committer
from services.enrollment.errand import Errand
from shared.clock import Clock
from shared.events.enrollment import StopForCompany
from shared.events.envelope import Envelope
from shared.faults import crash_point
from shared.ids import derived_id
from shared.persistence.eventstore import CompanyStop, EventStore, StoreUnavailable

log = structlog.get_logger()

#: Leads given their order at once.
PAGE = 256
#: Stops looked at in one turn, a page of each.
TURN = 16
#: The orders' place in the inbox.
EXCHANGE = "company"


class CompanyStops(Errand):
    NAME = "companies"

    def __init__(self, store: EventStore, committer: Committer, clock: Clock) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock

    async def turn(self) -> bool:
        """A page of each stop."""
        stops = await asyncio.to_thread(self._store.company_stops, TURN)
        for stop in stops:
            await self._give(stop)
        return bool(stops)

    async def _give(self, stop: CompanyStop) -> None:
        """One page of orders, and the note of it."""
        leads = await asyncio.to_thread(self._store.leads_of_company, stop.organization_id, stop.hash, stop.after, PAGE)
        crash_point("company.before_page")
        orders = [self._order(stop, lead_id) for lead_id in leads]
        answers = await self._committer.submit_page(orders, exchange=EXCHANGE)
        for lead_id, answer in zip(leads, answers, strict=True):
            if isinstance(answer, StoreUnavailable):
                raise answer
            if isinstance(answer, BaseException):
                log.error("company_stop_failed", lead_id=str(lead_id), error=repr(answer))
        crash_point("company.after_page")
        reached = leads[-1] if len(leads) == PAGE else None
        await asyncio.to_thread(self._store.company_stop_reached, stop, reached)

    def _order(self, stop: CompanyStop, lead_id: object) -> Envelope:
        order = StopForCompany.model_validate(
            {
                "lead_id": lead_id,
                "sequence_id": stop.sequence_id,
                "enrollment_id": stop.enrollment_id,
                "signal": stop.signal,
                "do": stop.do,
                "company_hash": stop.hash,
            }
        )
        return Envelope(
            id=derived_id(EXCHANGE, stop.enrollment_id, stop.signal, lead_id).hex,
            message=order,
            source="tendril/company",
            time=self._clock.now(),
            organization_id=stop.organization_id,
            subject=order.lead_id,
            lead_id=order.lead_id,
            causation_id=str(stop.enrollment_id),
            actor="system",
        )
