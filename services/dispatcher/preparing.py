"""From a dressed step to a message ready to be handed over, or to the ending that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pymongo.errors import PyMongoError

from services.dispatcher.attaching import Files, MissingFile, from_documents
from services.dispatcher.call import compose_call
from services.dispatcher.errors import BadAddress
from services.dispatcher.ledger_store import away
from services.dispatcher.links import StepLinks, addresses_of
from services.dispatcher.message import NO_FILES, Outbound, compose, from_document, mail_address
from services.dispatcher.outcomes import Ending, RejectedEnding, UndressedEnding
from services.dispatcher.states import Claim, Step
from services.dispatcher.stops import keys_of
from services.dispatcher.text_message import compose_text
from shared.clock import Clock
from shared.events import Envelope, InvalidMessage
from shared.events.dispatch import DressedStep
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.message import render_step
from shared.rendering.plain import TEXT_KINDS
from shared.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Preparer:
    """``tracking_url`` is the base of links, ``inbound_domain`` that of reply and bounce addresses."""

    tokens: Tokens
    tracking_url: str
    inbound_domain: str
    clock: Clock
    files: Files

    async def fetch(self, dressed: DressedStep, step: Step, claim: Claim) -> Mapping[str, bytes] | Ending:
        """The bytes of what the message carries, by hash; an ending when some are gone. Raises LedgerAway."""
        stored = (claim.message or {}).get("attachments", ())
        if not dressed.attachments and not stored:
            return NO_FILES
        try:
            return await self.files.of(step.organization_id, (*dressed.attachments, *from_documents(stored)))
        except MissingFile as error:
            return UndressedEnding(str(error))
        except PyMongoError as error:
            raise away(error) from error

    def prepare(
        self, dressed: DressedStep, step: Step, claim: Claim, *, mime: bool, files: Mapping[str, bytes] = NO_FILES
    ) -> Outbound | Ending:
        """The message as an earlier attempt was about to send it, where that went to the same address; else a new
        one. ``files`` as ``fetch`` answers them.
        """
        by_mail = dressed.webhook is None and dressed.kind not in TEXT_KINDS
        try:
            to = mail_address(dressed.address) if by_mail else dressed.address
            if claim.message is not None and claim.message["to"] == to:
                return from_document(claim.message, files)
            assert step.lead_id is not None, "steps without a lead are refused on arrival"
            links = StepLinks(self.tokens, self.tracking_url, step, step.lead_id)
            if dressed.webhook is not None:
                return compose_call(dressed, step, links)
            if not by_mail:
                return compose_text(dressed, links)
            rendered = render_step(dressed, links, derive_text=mime)
            addresses = addresses_of(self.tokens, self.inbound_domain, step)
            return compose(dressed, rendered, addresses, links.unsubscribe, self.clock.now(), mime=mime, files=files)
        except MissingValues as error:
            return UndressedEnding(str(error), tuple(error.names))
        except BrokenContent as error:
            return UndressedEnding(str(error))
        except BadAddress as error:
            return RejectedEnding(str(error), bounce=True)


def read_step(envelope: Envelope) -> tuple[DressedStep, Step]:
    """What a dispatcher takes from the wire. Raises InvalidMessage for anything but a complete DressedStep."""
    dressed = envelope.message
    if not isinstance(dressed, DressedStep):
        raise InvalidMessage([{"field": "type", "problem": f"must be {DressedStep.TOPIC}, got {envelope.topic}"}])
    if envelope.organization_id is None or envelope.lead_id is None or envelope.position is None:
        raise InvalidMessage([{"field": "", "problem": "organizationid, leadid and position are required"}])
    lead_id: UUID = envelope.lead_id
    since = dressed.due_at if dressed.reminder else None
    step = Step(
        dispatch_id=dressed.dispatch_id,
        organization_id=envelope.organization_id,
        lead_id=lead_id,
        enrollment_id=dressed.enrollment_id,
        sequence_id=dressed.sequence_id,
        execution=dressed.execution,
        step_id=dressed.step_id,
        channel=dressed.channel,
        attempt=dressed.attempt,
        position=envelope.position,
        decided_at=since or envelope.time,
        keys=keys_of(dressed, envelope.organization_id, lead_id),
        since=since,
    )
    return dressed, step
