"""Orders that never stand behind sends: stops, settlements, forgetting. They have a queue and a consumer of their own.

A stop writes its key first and moves rows second; a dispatcher claims first and reads the keys second. So one of the
two always sees the other. An order that comes twice does the same again: rows it stopped before are reported by
whoever holds their StepDue, or asked for by the next attempt.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from services.dispatcher.errors import LedgerAway
from services.dispatcher.holding import Holdings
from services.dispatcher.ledger import Ledger
from services.dispatcher.reports import Reporter
from services.dispatcher.states import Row, State, Step
from services.dispatcher.stops import key_name, name_of_order
from shared import telemetry
from shared.clock import Clock
from shared.events import Envelope, InvalidMessage, to_cloud_event
from shared.events.dispatch import ForgetLead, SettleDispatch, StopOrder
from shared.faults import crash_point
from shared.messaging.delivery import Delivery
from shared.messaging.frames import Unreadable

#: A step in flight for longer than this has been given up by its watchdogs. So a stop asks about a step decided no
#: earlier.
STEP_AGE = timedelta(days=1)

_log = structlog.get_logger(__name__)
_orders = telemetry.counter("dispatcher_orders_total", "Orders to the ledger", ["order"])


class StopHandler:
    """Handles the deliveries of ``dispatcher.stops``."""

    def __init__(self, ledger: Ledger, holdings: Holdings, reporter: Reporter, clock: Clock) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._reporter = reporter
        self._clock = clock

    async def handle(self, delivery: Delivery) -> None:
        """Raises LedgerAway or a MessagingError to let go of the orders."""
        outcomes: list[Envelope] = []
        try:
            for envelope in delivery.envelopes:
                try:
                    outcomes += await self._carried_out(envelope)
                except InvalidMessage as error:
                    if len(delivery.envelopes) == 1:
                        raise
                    delivery.unreadable.append(Unreadable(to_cloud_event(envelope), error))
        except LedgerAway:
            self._holdings.outage()
            raise
        crash_point("dispatcher.before_stop_report")
        if outcomes:
            await self._reporter.publish(outcomes)

    async def _carried_out(self, envelope: Envelope) -> list[Envelope]:
        match envelope.message:
            case StopOrder() as order:
                _orders.labels(f"stop.{order.scope}").inc()
                return await self._stop(envelope, order)
            case SettleDispatch() as order:
                _orders.labels("settle").inc()
                row = await self._ledger.settle(order.dispatch_id, order.outcome, order.by, self._clock.now())
                if row is None:
                    _log.warning("settled a dispatch the ledger does not know", dispatch_id=str(order.dispatch_id))
                return []
            case ForgetLead() as order:
                _orders.labels("forget").inc()
                count = await self._ledger.forget(order.lead_id)
                _log.info("content of a lead cleared", lead_id=str(order.lead_id), rows=count)
                return []
            case other:
                raise InvalidMessage([{"field": "type", "problem": f"{other.TOPIC} is no order to the ledger"}])

    async def _stop(self, envelope: Envelope, order: StopOrder) -> list[Envelope]:
        name = name_of_order(envelope)
        key = await self._ledger.apply_stop(name, order)
        crash_point("dispatcher.after_stop_key")
        rows = await self._ledger.stop_rows(name, key, self._clock.wall())
        crash_point("dispatcher.after_stop_rows")
        asked = await self._asked(envelope, order)
        if asked is not None and all(row.dispatch_id != asked.dispatch_id for row in rows):
            rows.append(asked)
        answers = (self._reporter.of_row(row, order.attempt or 0 if row is asked else 0) for row in rows)
        return [answer for answer in answers if answer is not None]

    async def _asked(self, envelope: Envelope, order: StopOrder) -> Row | None:
        """The row the order wants an answer about; made ``stopped`` when the dispatch was never claimed."""
        if order.answer_to is None:
            return None
        row = await self._ledger.row(order.answer_to)
        if (
            row is None
            and order.scope == "enrollment"
            and order.execution
            and order.attempt
            and envelope.organization_id
        ):
            row = await self._ledger.stop_unseen(
                _unseen(envelope, order, order.answer_to), order.reason, self._clock.wall()
            )
        if row is not None and row.state in (State.CLAIMED, State.HANDING_OVER):
            return None  # its holder reports; when that is gone, the sweep does
        return row


def _unseen(envelope: Envelope, order: StopOrder, dispatch_id: UUID) -> Step:
    assert envelope.organization_id is not None
    return Step(
        dispatch_id=dispatch_id,
        organization_id=envelope.organization_id,
        lead_id=envelope.lead_id,
        enrollment_id=UUID(order.key),
        sequence_id=None,
        execution=order.execution or 1,
        step_id="",
        channel="",
        attempt=order.attempt or 1,
        position=max((order.before or 0) - 1, 0),
        decided_at=order.at - STEP_AGE,
        keys=(key_name("enrollment", order.key, envelope.organization_id),),
    )
