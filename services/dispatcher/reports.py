"""Reporting: outcomes as facts to the write side, in frames, confirmed, with the same ids at every repeat."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.dispatcher.outcomes import Ending, ending_from_document, fact_of, outcome_id
from services.dispatcher.states import Row, Step
from shared.clock import Clock
from shared.events import Envelope
from shared.messaging import topology
from shared.messaging.errors import BrokerAway, PublishUnknown
from shared.messaging.publisher import Publisher
from shared.telemetry import counter

SOURCE = "tendril/dispatcher"
ROUTING_KEY = "outcome.frame"
#: Outcomes in one frame.
MOST_IN_FRAME = 100
#: A confirm that does not come is asked for again this often before the frame is let go of.
TRIES = 3

_reported = counter("dispatcher_outcomes_total", "Outcomes reported", ["outcome"])


class Reporter:
    """Publishes outcomes."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock

    def of_step(self, step: Step, ending: Ending, traceparent: str | None = None) -> Envelope:
        """How the step's own attempt ended."""
        return self._envelope(
            ending,
            step.organization_id,
            step.lead_id,
            step.enrollment_id,
            step.execution,
            step.attempt,
            step.dispatch_id,
            traceparent,
        )

    def of_row(self, row: Row, asked: int = 0) -> Envelope | None:
        """The row's answer, for the attempt asked about when that is the later one; None while it has none."""
        ending = ending_from_document(row.ending)
        if ending is None:
            return None
        attempt = max(row.attempt, asked)
        return self._envelope(
            ending, row.organization_id, row.lead_id, row.enrollment_id, row.execution, attempt, row.dispatch_id
        )

    async def publish(self, outcomes: Sequence[Envelope]) -> None:
        """Returns once the broker has confirmed all of them. Raises BrokerAway or PublishUnknown; repeating is safe."""
        for start in range(0, len(outcomes), MOST_IN_FRAME):
            await self._publish_frame(outcomes[start : start + MOST_IN_FRAME])
        for outcome in outcomes:
            _reported.labels(outcome.topic.split(".")[1]).inc()

    async def _publish_frame(self, frame: Sequence[Envelope]) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._publisher.publish(topology.COMMANDS, ROUTING_KEY, frame)
            except (PublishUnknown, BrokerAway):
                if attempt == TRIES:
                    raise
            else:
                return

    def _envelope(
        self,
        ending: Ending,
        organization_id: str,
        lead_id: UUID | None,
        enrollment_id: UUID,
        execution: int,
        attempt: int,
        dispatch_id: UUID,
        traceparent: str | None = None,
    ) -> Envelope:
        fact = fact_of(
            ending, enrollment_id=enrollment_id, execution=execution, attempt=attempt, dispatch_id=dispatch_id
        )
        return Envelope(
            id=outcome_id(fact),
            message=fact,
            source=SOURCE,
            time=self._clock.now(),
            organization_id=organization_id,
            subject=enrollment_id,
            lead_id=lead_id,
            traceparent=traceparent,
            actor="system",
        )
