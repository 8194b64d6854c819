"""Changes are orders to the write side, sent over RabbitMQ; the caller gets the domain's own answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.gateway.access import Principal
from services.gateway.errors import Refused
from shared.clock import Clock
from shared.events import Envelope, Message
from shared.events.query import Answer, Problem
from shared.ids import derived_id, new_id
from shared.messaging.requests import Requester
from shared.messaging.topology import exchange_of, routing_key_of
from shared.telemetry import current_traceparent

SOURCE = "gateway"
#: How long a caller waits for the domain's answer.
ANSWER_SECONDS = 10.0
#: Fields that name the aggregate an order is for, the nearest first.
_TARGETS = ("task_id", "enrollment_id", "bulk_id", "sequence_id", "lead_id")

_UNEXPLAINED = Problem(code="refused", title="Refused", detail="the order was refused")


class Commands:
    """Sends orders and questions on behalf of a principal."""

    def __init__(self, requester: Requester, clock: Clock) -> None:
        self._requester = requester
        self._clock = clock

    async def send(
        self, principal: Principal, message: Message, command_id: str, *, lead_id: UUID | None = None
    ) -> Answer:
        """The answer to an order that was carried out. Raises Refused, BrokerAway, RequestTimeout."""
        return await self.send_as(principal.actor, principal.organization_id, message, command_id, lead_id=lead_id)

    async def send_as(
        self, actor: str, organization_id: str, message: Message, command_id: str, *, lead_id: UUID | None = None
    ) -> Answer:
        """The same on behalf of an actor, e.g. ``system``."""
        envelope = Envelope(
            id=command_id,
            message=message,
            source=SOURCE,
            time=self._clock.now(),
            organization_id=organization_id,
            subject=_subject(message, organization_id),
            lead_id=lead_id or getattr(message, "lead_id", None),
            traceparent=current_traceparent(),
            actor=actor,
        )
        answer = await self._requester.request(
            exchange_of(envelope), routing_key_of(envelope), envelope, timeout_seconds=ANSWER_SECONDS
        )
        if not answer.ok:
            raise Refused(answer.problem or _UNEXPLAINED)
        return answer

    async def ask(self, organization_id: str, question: Message) -> dict[str, Any]:
        """A question to the reader; its result. Raises Refused, BrokerAway, RequestTimeout."""
        answer = await self.send_as("system", organization_id, question, new_id().hex)
        return answer.result


def _subject(message: Message, organization_id: str) -> UUID | None:
    if message.TOPIC.startswith("organization."):
        return derived_id("organization", organization_id)
    for name in _TARGETS:
        value = getattr(message, name, None)
        if isinstance(value, UUID):
            return value
    return None
