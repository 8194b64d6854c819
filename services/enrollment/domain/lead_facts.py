"""What a lead's own stream records besides its fields: suppressed addresses, unsubscribes, meetings, conversions, and
what follows for its enrollments.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.enrollment.domain.attribution import attribute
from services.enrollment.domain.company import company_hash
from services.enrollment.domain.enrollment import Execution
from services.enrollment.domain.errors import LeadErasedAlready
from services.enrollment.domain.identities import normalise_address
from services.enrollment.domain.lead import UNSUBSCRIBED, Lead, contact_channel
from services.enrollment.domain.leaving import apply_stop_rule
from services.enrollment.domain.work import Work
from shared.events.definition import StopRule
from shared.events.enrollment import StopForCompany
from shared.events.lead import (
    LeadAddressSuppressed,
    LeadBookedMeeting,
    LeadResubscribed,
    LeadUnsubscribed,
    LeadWon,
)
from shared.events.why import Why

#: Why an enrollment left that was stopped for what another lead of its company did: no success of its own.
COMPANY = "company"


def known_lead(work: Work, lead_id: UUID) -> Lead:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = work.lead(lead_id)
    if lead.erased:
        raise LeadErasedAlready(f"lead {lead_id} was erased")
    return lead


def suppress_address(
    work: Work, lead_id: UUID, channel: str, reason: Literal["bounce", "complaint", "wrong_number"]
) -> None:
    """The lead's address on a channel must not be sent to any more; what is suppressed already stays as it is."""
    lead = work.find_lead(lead_id)
    contact = contact_channel(channel)
    address = lead.address(contact) if lead is not None else None
    if lead is None or not address:
        return
    normal = normalise_address(contact, address)
    key = work.world.address_hash(work.organization_id, contact, normal)
    if (contact, key) in lead.suppressed and work.world.suppression(work.organization_id, contact, normal) is not None:
        return
    work.on_lead(lead_id, LeadAddressSuppressed(channel=contact, address_hash=key, reason=reason, at=work.now))


def keep_unsubscribes(work: Work, lead: Lead) -> None:
    """Before a lead is erased: what it unsubscribed from holds for its addresses, whoever comes with them later."""
    for channel in lead.unsubscribed:
        key = _not_yet_suppressed(work, lead, channel)
        if key is not None:
            event = LeadAddressSuppressed(channel=channel, address_hash=key, reason=UNSUBSCRIBED, at=work.now)
            work.on_lead(lead.id, event)


def _not_yet_suppressed(work: Work, lead: Lead, channel: str) -> str | None:
    """The hash of the lead's address on a channel; None when it has none, or one that is suppressed itself."""
    address = lead.address(channel)
    if not address:
        return None
    normal = normalise_address(channel, address)
    return (
        None
        if own_suppression(work, channel, normal)
        else work.world.address_hash(work.organization_id, channel, normal)
    )


def own_suppression(work: Work, channel: str, normal: str) -> str | None:
    """Why an address, and not only its domain, is suppressed; None when it is not."""
    world, organization_id = work.world, work.organization_id
    reason = world.suppression(organization_id, channel, normal)
    if (
        reason is None
        or "@" not in normal
        or reason != world.suppression(organization_id, channel, normal.rpartition("@")[2])
    ):
        return reason
    # Domains are suppressed by hand alone, as these addresses were.
    key = world.address_hash(organization_id, channel, normal)
    return reason if (channel, key) in work.organization().suppressed else None


def resubscribe(work: Work, lead: Lead, channel: str, *, source: str) -> Lead:
    """An explicit opt-in: lifts the lead's unsubscribes from a channel, and what an unsubscribe, of this lead or of
    another that had it, has suppressed its address for. Bounces, complaints and what a person suppressed stay.
    """
    known = channel in lead.unsubscribed or any(each[0] == channel for each in lead.unsubscribed_sequences)
    address, key = lead.address(channel), None
    if address:
        normal = normalise_address(channel, address)
        hashed = work.world.address_hash(work.organization_id, channel, normal)
        by_hand = (channel, hashed) in work.organization().suppressed
        if not by_hand and own_suppression(work, channel, normal) == UNSUBSCRIBED:
            key = hashed
    if not known and key is None:
        return lead
    return work.on_lead(lead.id, LeadResubscribed(channel=channel, at=work.now, source=source, address_hash=key))


def unsubscribe(
    work: Work,
    lead: Lead,
    channel: str,
    *,
    at: datetime,
    source: str,
    enrollment_id: UUID | None = None,
    execution: Execution | None = None,
    sequence_id: UUID | None = None,
) -> None:
    """No more on a channel, or in one sequence; ``execution`` is the message it came back for. Open enrollments whose
    rules stop on it end or pause. From a whole channel the lead's address goes: nobody who shares it is sent to any
    more.
    """
    contact = contact_channel(channel)
    known = contact in lead.unsubscribed or (
        sequence_id is not None and (contact, sequence_id) in lead.unsubscribed_sequences
    )
    if not known:
        work.on_lead(
            lead.id,
            LeadUnsubscribed(
                channel=contact,
                sequence_id=sequence_id,
                enrollment_id=enrollment_id,
                at=at,
                source=source,
                address_hash=_not_yet_suppressed(work, lead, contact) if sequence_id is None else None,
                **({} if execution is None else _message(execution)),
            ),
        )
    stop_enrollments(
        work, lead.id, "unsubscribe", Why(rule="unsubscribe", inputs={"channel": contact}), sequence_id=sequence_id
    )


def _message(execution: Execution) -> dict[str, Any]:
    return {"execution": execution.number, "step_id": execution.step_id, **execution.credit}


def win(work: Work, lead: Lead, *, value: float | None, currency: str | None, occurred_at: datetime) -> None:
    """The lead converted; the same moment twice is one conversion. One that lies ahead counts as of now."""
    if occurred_at in lead.won:
        return
    work.on_lead(lead.id, LeadWon(value=value, currency=currency, occurred_at=occurred_at))
    at = min(occurred_at, work.now)
    attribute(work, lead, at)
    stop_enrollments(work, lead.id, "conversion", Why(rule="conversion", inputs={"at": at.isoformat()}))


def book_meeting(
    work: Work,
    lead: Lead,
    *,
    at: datetime | None,
    place: str | None,
    occurred_at: datetime,
    whenever_begun: bool = False,
) -> None:
    """A meeting was booked at ``occurred_at``, to take place ``at``. Enrollments that began later go on, unless
    ``whenever_begun``.
    """
    if occurred_at in lead.meetings:
        return
    work.on_lead(lead.id, LeadBookedMeeting(at=at, place=place, occurred_at=occurred_at))
    why = Why(rule="meeting_booked", inputs={"at": min(occurred_at, work.now).isoformat()})
    stop_enrollments(work, lead.id, "meeting_booked", why, begun_by=None if whenever_begun else occurred_at)


def stop_enrollments(
    work: Work,
    lead_id: UUID,
    signal: str,
    why: Why,
    *,
    sequence_id: UUID | None = None,
    begun_by: datetime | None = None,
) -> None:
    """Applies a stop rule to every open enrollment of a lead (of one sequence when it is named, and only to those
    begun by a moment when that is given).
    """
    for enrollment_id in work.lead(lead_id).open_enrollments:
        state = work.find_enrollment(enrollment_id)
        if state is None or (sequence_id is not None and state.sequence_id != sequence_id):
            continue
        if begun_by is not None and state.started_at > begun_by:
            continue
        rule = work.version(state.sequence_id, state.version).settings.stop_rule(signal)
        apply_stop_rule(work, state, rule, why)


def stop_for_company(work: Work, command: StopForCompany) -> None:
    """The lead's open enrollments in the sequence stop, or pause. A lead that is gone, or of another company now, is
    left alone.
    """
    lead, asked_by = work.find_lead(command.lead_id), work.find_enrollment(command.enrollment_id)
    if lead is None or lead.erased or (asked_by is not None and asked_by.lead_id == lead.id):
        return
    if company_hash(work.world, work.organization_id, lead.company) != command.company_hash:
        return
    why = Why(rule=COMPANY, inputs={"signal": command.signal, "enrollment": str(command.enrollment_id)})
    for enrollment_id in lead.open_enrollments:
        state = work.find_enrollment(enrollment_id)
        if state is not None and state.sequence_id == command.sequence_id:
            rule = StopRule(on=command.signal, do=command.do)
            apply_stop_rule(work, state, rule, why, reason=COMPANY)
