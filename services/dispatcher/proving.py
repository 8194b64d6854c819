"""Test messages: one goes out for somebody to look at, marked as a test, and leaves nothing behind.

No ledger, outcome, token or pixel: it is counted for nothing, and nothing that comes back can be. A delivery that comes
again is not sent again, because nobody knows whether the first was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from pymongo.errors import PyMongoError

from services.dispatcher.attaching import Files, MissingFile
from services.dispatcher.channels.protocol import Channel
from services.dispatcher.errors import BadAddress
from services.dispatcher.ledger_store import away
from services.dispatcher.links import Addresses
from services.dispatcher.message import Outbound, compose
from services.dispatcher.outcomes import Accepted, Deferred, InDoubt, Rejected
from shared.clock import Clock
from shared.events import Envelope
from shared.events.dispatch import TEST_SECONDS, SendTest
from shared.events.query import Answer, Problem
from shared.ids import new_id
from shared.messaging.delivery import Delivery
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.links import PlainLinks
from shared.rendering.message import render_step

SUBJECT_PREFIX = "[Test] "
HEADER = "X-Tendril-Test"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Prover:
    """``domain`` stands in Message-IDs. Any dispatcher may do it."""

    channels: Mapping[str, Channel]
    files: Files
    domain: str
    clock: Clock

    async def handle(self, delivery: Delivery) -> None:
        """Sends it, and answers whoever asked. Raises LedgerAway when its files cannot be read."""
        [envelope] = delivery.envelopes
        await delivery.reply(await self._answer(envelope, again=delivery.redelivered))

    async def _answer(self, envelope: Envelope, *, again: bool) -> Answer:
        order = envelope.message
        assert isinstance(order, SendTest)
        channel = self.channels.get(order.step.channel)
        age = (self.clock.wall() - order.asked_at).total_seconds()
        if again:
            return _refused("in_doubt", "a dispatcher was lost with it: it may have gone out", 503)
        if channel is None or age > TEST_SECONDS:
            return _refused("not_sent", "no dispatcher could take it in time", 503)
        try:
            message = await self._message(envelope.organization_id or "", order, mime=channel.wants_mime)
        except BadAddress as error:
            return _refused("invalid", str(error), 422, field="to")
        except (MissingValues, BrokenContent, MissingFile) as error:
            return _refused("invalid", str(error), 422, field="step_id")
        answer = await channel.send(message, _nothing_to_note)
        _log.info("test message", step_id=order.step.step_id, answer=type(answer).__name__)
        match answer:
            case Accepted(said):
                return Answer(ok=True, result={"message_id": message.message_id, "answer": said})
            case Deferred(reason):
                return _refused("not_sent", reason, 503)
            case Rejected(reason, bounce):
                return _refused("rejected", reason, 422, field="to" if bounce else "step_id")
            case InDoubt(reason):
                return _refused("in_doubt", f"{reason}: it may have gone out", 503)

    async def _message(self, organization_id: str, order: SendTest, *, mime: bool) -> Outbound:
        step = order.step
        rendered = render_step(step, PlainLinks(), derive_text=mime)
        invited = rendered.invited
        if invited is not None:
            invited = replace(invited, title=f"{SUBJECT_PREFIX}{invited.title}")
        rendered = replace(rendered, subject=f"{SUBJECT_PREFIX}{rendered.subject}", invited=invited)
        sender = step.sender.email
        addresses = Addresses(_message_id(new_id(), self.domain), reply_to=sender, envelope_sender=sender)
        try:
            files = await self.files.of(organization_id, step.attachments) if step.attachments else {}
        except PyMongoError as error:
            raise away(error) from error
        marks = {HEADER: f"{step.sequence_id}/{step.step_id}"}
        return compose(step, rendered, addresses, None, self.clock.now(), mime=mime, marks=marks, files=files)


def is_test(delivery: Delivery) -> bool:
    """Is it an order for a test message? It travels alone."""
    return len(delivery.envelopes) == 1 and isinstance(delivery.envelopes[0].message, SendTest)


async def _nothing_to_note() -> None:
    """There is no ledger row to move."""


def _message_id(number: UUID, domain: str) -> str:
    return f"<{number.hex}.test@{domain}>"


def _refused(code: str, detail: str, status: int, *, field: str | None = None) -> Answer:
    errors = [{"field": field, "problem": detail}] if field is not None else []
    title = "Not sent" if status != 422 else "Invalid"
    return Answer(ok=False, problem=Problem(code=code, title=title, detail=detail, status=status, errors=errors))
