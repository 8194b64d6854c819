"""What comes in over AMQP: funnels' leads, commands, outcomes and signals, each handed to the committer and
acknowledged after the commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.enrollment.committer import Committer
from services.enrollment.spelling import spelled
from services.enrollment.telemetry import DEAD
from shared.events.envelope import Envelope
from shared.events.errors import InvalidMessage
from shared.events.query import Answer, Problem
from shared.messaging.consumers import Delivery, Subscription, dead_letter
from shared.messaging.errors import DependencyAway
from shared.messaging.frames import encode
from shared.messaging.publisher import Publisher
from shared.persistence.eventstore import StoreUnavailable

log = structlog.get_logger()

#: Unacknowledged messages per queue. Outcomes and signals come as frames of many.
PREFETCH = {
    "enrollment.leads": 500,
    "enrollment.commands": 200,
    "enrollment.outcomes": 64,
    "enrollment.signals": 64,
    "enrollment.bulk": 100,
}
#: Queues whose messages the inbox must recognise when they come twice. A repeated outcome is recognised by the
#: enrollment itself.
INBOX_EXCHANGE = {
    "enrollment.leads": "tendril.leads",
    "enrollment.commands": "tendril.commands",
    "enrollment.signals": "tendril.commands",
    "enrollment.bulk": "tendril.commands",
}


class Intake:
    """Handlers of the write side's queues."""

    def __init__(self, committer: Committer, publisher: Publisher) -> None:
        self._committer = committer
        self._publisher = publisher

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(queue, prefetch, self._handler(queue)) for queue, prefetch in PREFETCH.items()]

    def _handler(self, queue: str) -> Callable[[Delivery], Awaitable[None]]:
        exchange = INBOX_EXCHANGE.get(queue)

        async def handle(delivery: Delivery) -> None:
            await self._take(queue, exchange, delivery)

        return handle

    async def _take(self, queue: str, exchange: str | None, delivery: Delivery) -> None:
        readable = await self._readable(queue, delivery)
        answers = await self._committer.submit_page(readable, exchange=exchange)
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                raise DependencyAway("event store") from answer
            if isinstance(answer, BaseException) and len(answers) == 1:
                raise answer
        await self._conclude(queue, delivery, readable, answers)

    async def _readable(self, queue: str, delivery: Delivery) -> list[Envelope]:
        """The envelopes as the domain expects them; one that cannot be read so is answered or set aside."""
        readable = []
        for envelope in delivery.envelopes:
            try:
                readable.append(spelled(envelope))
            except InvalidMessage as error:
                problem = Problem(
                    code="invalid", title="The message has errors", detail=str(error), status=422, errors=error.reasons
                )
                if delivery.reply_to is not None:
                    await delivery.reply(Answer(ok=False, problem=problem))
                else:
                    await self._refused(queue, delivery, envelope, problem)
        return readable

    async def _conclude(
        self, queue: str, delivery: Delivery, envelopes: Sequence[Envelope], answers: Sequence[Answer | BaseException]
    ) -> None:
        for envelope, answer in zip(envelopes, answers, strict=True):
            if isinstance(answer, BaseException):  # one of a frame: the others stand, this one is set aside alone
                await self._set_aside(queue, envelope, "failed", str(answer), [])
            elif delivery.reply_to is not None:
                await delivery.reply(answer)
            elif not answer.ok and answer.problem is not None:
                await self._refused(queue, delivery, envelope, answer.problem)

    async def _refused(self, queue: str, delivery: Delivery, envelope: Envelope, problem: Problem) -> None:
        """Nobody waits for the answer: the message is kept where an operator sees it, with the reason."""
        reasons = problem.errors or [{"field": "", "problem": problem.detail}]
        if len(delivery.envelopes) == 1:
            DEAD.labels(queue, problem.code).inc()
            raise InvalidMessage(reasons, message_id=envelope.id)
        await self._set_aside(queue, envelope, problem.code, problem.detail, reasons)

    async def _set_aside(
        self, queue: str, envelope: Envelope, code: str, detail: str, reasons: list[dict[str, str]]
    ) -> None:
        DEAD.labels(queue, code).inc()
        body, content_type = encode([envelope])
        await dead_letter(
            self._publisher,
            queue,
            body,
            content_type,
            {"message_id": envelope.id},
            reasons or [{"field": "", "problem": detail}],
            code,
        )
