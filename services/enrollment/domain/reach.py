"""May this lead be reached on a channel? Address, consent, unsubscribes, suppressions. And is there a sender?"""

from __future__ import annotations

from uuid import UUID

from services.enrollment.domain.flow import Node
from services.enrollment.domain.identities import normalise_address
from services.enrollment.domain.lead import UNSUBSCRIBED, Lead, contact_channel
from services.enrollment.domain.organization import DEFAULT_SENDER, Organization
from services.enrollment.domain.work import Work
from shared.events.why import Why


def barrier(work: Work, lead: Lead | None, channel: str, sequence_id: UUID) -> Why | None:
    """What stands between a channel and the lead; None when nothing does."""
    if lead is None or lead.erased:
        return Why(rule="erased")
    contact = contact_channel(channel)
    if contact in lead.unsubscribed or (
        lead.unsubscribed_sequences and (contact, sequence_id) in lead.unsubscribed_sequences
    ):
        return Why(rule=UNSUBSCRIBED, inputs={"channel": contact})
    if lead.consent.get(contact) is False:
        return Why(rule="consent", inputs={"channel": contact})
    address = lead.address(channel)
    if not address:
        return Why(rule="address", inputs={"channel": contact})
    reason = work.world.suppression(work.organization_id, contact, normalise_address(contact, address))
    return Why(rule="suppression", inputs={"channel": contact, "reason": reason}) if reason is not None else None


def missing_sender(organization: Organization | None, node: Node) -> str | None:
    """The sender an e-mail step asks for, when the organization has no such active one; None when all is well. Other
    channels send under the name that their provider knows.
    """
    if node.channel != "email" or not node.step.active:
        return None
    if organization is not None and organization.sender_for(node.sender) is not None:
        return None
    return node.sender or DEFAULT_SENDER
