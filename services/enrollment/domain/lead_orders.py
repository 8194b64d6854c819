"""Orders to a lead: edit, tag, score, convert, assign, erase."""

from __future__ import annotations

from services.enrollment.domain.errors import InvalidLead
from services.enrollment.domain.inbound import identify, merge, normalised
from services.enrollment.domain.lead_facts import known_lead, win
from services.enrollment.domain.leaving import leave
from services.enrollment.domain.scoring import change_score
from services.enrollment.domain.work import IdentityClaim, Work
from shared.events.lead import (
    AssignLead,
    ConvertLead,
    EditLead,
    EraseLead,
    LeadAssigned,
    LeadErased,
    LeadResubscribed,
    LeadTagged,
    ScoreLead,
    TagLead,
)
from shared.events.why import Why

BY_HAND = "by_hand"


def edit(work: Work, command: EditLead) -> None:
    """Raises UnknownTarget, LeadErasedAlready or InvalidLead (an identity that names another lead cannot be taken).

    A person's word counts from now on; a consent given here is an explicit opt-in and lifts an unsubscribe.
    """
    lead = known_lead(work, command.lead_id)
    body = normalised(command.lead)
    identified = identify(work, body)
    taken = [kind for kind, owner in identified.owners.items() if owner != lead.id and kind != "phone"]
    if taken:
        raise InvalidLead(
            "another lead has this identity",
            errors=[{"field": f"lead.{kind}", "problem": "names another lead"} for kind in taken],
        )
    lead = merge(work, lead, body, work.now)
    work.claims.extend(
        IdentityClaim(work.organization_id, kind, normal, lead.id)
        for kind, normal in identified.named.items()
        if kind not in identified.owners
    )
    for channel, given in (command.lead.consent or {}).items():
        if given and (channel in lead.unsubscribed or any(each[0] == channel for each in lead.unsubscribed_sequences)):
            lead = work.on_lead(lead.id, LeadResubscribed(channel=channel, at=work.now, source=BY_HAND))


def tag(work: Work, command: TagLead) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    removed = sorted(set(command.remove) & lead.tags)
    added = sorted(set(command.add) - lead.tags - set(command.remove))
    if added or removed:
        work.on_lead(lead.id, LeadTagged(added=added, removed=removed, why=Why(rule=BY_HAND)))


def score(work: Work, command: ScoreLead) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    change_score(work, lead.id, add=command.add, to=command.set, why=Why(rule=command.why))


def convert(work: Work, command: ConvertLead) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    win(work, lead, value=command.value, currency=command.currency, occurred_at=command.at or work.now)


def assign(work: Work, command: AssignLead) -> None:
    """Raises UnknownTarget, LeadErasedAlready, or InvalidLead for an owner who is no active member."""
    lead = known_lead(work, command.lead_id)
    member = work.organization().members.get(command.owner) if command.owner is not None else None
    if command.owner is not None and (member is None or not member.active):
        problem = "is no active member"
        raise InvalidLead(f"owner {problem}", errors=[{"field": "owner", "problem": problem}])
    owner = str(command.owner) if command.owner is not None else None
    if lead.owner != owner:
        work.on_lead(lead.id, LeadAssigned(owner=owner, why=Why(rule=BY_HAND)))


def erase(work: Work, command: EraseLead) -> None:
    """Raises UnknownTarget. Everything still running stops; what is in flight is still answered and recorded."""
    lead = work.lead(command.lead_id)
    if lead.erased:
        return
    for enrollment_id in lead.open_enrollments:
        state = work.find_enrollment(enrollment_id)
        if state is not None:
            leave(work, state, "erased", stop="erased")
    work.on_lead(lead.id, LeadErased())
