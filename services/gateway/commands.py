"""Changes: commands sent to the write side with request-reply, for the domain's answer and a cursor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi.responses import JSONResponse

from services.gateway.principals import Principal
from services.gateway.problems import Refused
from shared.clock import Clock
from shared.events.envelope import Envelope
from shared.events.message import Command
from shared.events.query import Answer
from shared.ids import new_id
from shared.messaging.requests import Requester
from shared.messaging.topology import exchange_of, routing_key_of
from shared.telemetry import current_traceparent

POSITION_HEADER = "Tendril-Position"
TIMEOUT_SECONDS = 10.0


class Commands:
    """Sends orders and questions on behalf of a principal."""

    def __init__(self, requester: Requester, clock: Clock) -> None:
        self._requester = requester
        self._clock = clock

    async def send(
        self,
        principal: Principal,
        command: Command,
        *,
        message_id: str | None = None,
        subject: UUID | None = None,
        lead_id: UUID | None = None,
    ) -> Answer:
        """The answer to an accepted order. ``message_id`` makes a repeat recognisable. Raises Refused, BrokerAway,
        RequestTimeout.
        """
        envelope = Envelope(
            id=message_id or new_id().hex,
            message=command,
            source="tendril/gateway",
            time=self._clock.now(),
            organization_id=principal.organization_id,
            subject=subject,
            lead_id=lead_id,
            traceparent=current_traceparent(),
            actor=principal.actor,
        )
        answer = await self._requester.request(
            exchange_of(envelope), routing_key_of(envelope), envelope, timeout_seconds=TIMEOUT_SECONDS
        )
        if not answer.ok and answer.problem is not None:
            raise Refused(answer.problem)
        return answer


def changed(answer: Answer, *, status: int = 200, **extra: Any) -> JSONResponse:
    """The response to a change: the domain's result and where it stands in the log."""
    headers = {POSITION_HEADER: answer.position} if answer.position else None
    return JSONResponse({**answer.result, **extra}, status_code=status, headers=headers)
