"""At the door: identities in the one spelling that is compared, merge tags in their new form; read with the parsers
that the domain does without."""

from __future__ import annotations

from dataclasses import replace

from services.enrollment.content_facts import in_new_form, steps_in_new_form
from shared.events.envelope import Envelope
from shared.events.errors import InvalidMessage
from shared.events.lead import EditLead, InboundLead, LeadBody
from shared.events.sequence import ChangeSequence, DraftSequence, EditSequence
from shared.identity import IdentityKind, InvalidIdentity, normalise

KINDS: tuple[IdentityKind, ...] = ("external_id", "email", "phone")


def spelled(envelope: Envelope) -> Envelope:
    """The same message with its lead's identities normalised, and for a funnel's message with its organization; a
    definition's merge tags in their new form.

    Raises InvalidMessage with a reason for every field that is no identity, or when body and event name two
    organizations.
    """
    message = envelope.message
    if isinstance(message, DraftSequence | EditSequence):
        changed = {"definition": in_new_form(message.definition)}
        return replace(envelope, message=message.model_copy(update=changed))
    if isinstance(message, ChangeSequence):
        steps = steps_in_new_form(message.steps) if message.steps is not None else None
        return replace(envelope, message=message.model_copy(update={"steps": steps}))
    if not isinstance(message, InboundLead | EditLead):
        return envelope
    body, reasons = _spelled(message.lead)
    organization_id = envelope.organization_id
    if isinstance(message, InboundLead):
        if organization_id not in (None, message.organization_id):
            reasons.append({"field": "organization_id", "problem": "differs from the event's organizationid"})
        organization_id = message.organization_id
    if reasons:
        raise InvalidMessage(reasons, message_id=envelope.id)
    return replace(envelope, message=message.model_copy(update={"lead": body}), organization_id=organization_id)


def _spelled(body: LeadBody) -> tuple[LeadBody, list[dict[str, str]]]:
    changed: dict[str, str] = {}
    reasons: list[dict[str, str]] = []
    for kind in KINDS:
        text = getattr(body, kind)
        if text is None:
            continue
        try:
            changed[kind] = normalise(kind, text)
        except InvalidIdentity as error:
            reasons.append({"field": f"lead.{kind}", "problem": error.problem})
    return body.model_copy(update=changed), reasons
