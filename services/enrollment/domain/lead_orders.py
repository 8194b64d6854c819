"""Orders to a lead: edit, set its status, tag, score, convert, assign, erase."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from services.enrollment.domain import moments
from services.enrollment.domain.errors import InvalidLead
from services.enrollment.domain.inbound import identify, merge, normalised
from services.enrollment.domain.lead import FIELDS, Lead
from services.enrollment.domain.lead_facts import keep_unsubscribes, known_lead, resubscribe, win
from services.enrollment.domain.leaving import leave
from services.enrollment.domain.scoring import change_score
from services.enrollment.domain.task import by_hand_of
from services.enrollment.domain.work import IdentityClaim, Work
from shared.events.lead import (
    AssignLead,
    ConvertLead,
    EditLead,
    EraseLead,
    LeadAssigned,
    LeadBody,
    LeadDetailsMerged,
    LeadErased,
    LeadTagged,
    ScoreLead,
    SetLeadStatus,
    TagLead,
)
from shared.events.task import TaskWithdrawn
from shared.events.why import Why

BY_HAND = "by_hand"


def edit(work: Work, command: EditLead) -> None:
    """Raises UnknownTarget, LeadErasedAlready or InvalidLead (an identity that names another lead cannot be taken).

    A person's word counts from now on, whatever was known; a consent given here is an explicit opt-in and lifts an
    unsubscribe. An
    identity that is cleared is no field any more, but still names this lead to a funnel that knows it.
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
    lead = merge(work, lead, body.model_copy(update={"tags": None}), work.now, by_hand=True)
    clear(work, lead, command.clear, command.clear_custom)
    if command.lead.tags is not None:
        _retag(work, lead, add=command.lead.tags, remove=lead.tags - set(command.lead.tags))
    lead = work.lead(lead.id)
    work.claims.extend(
        IdentityClaim(work.organization_id, kind, normal, lead.id)
        for kind, normal in identified.named.items()
        if kind not in identified.owners
    )
    for channel, given in (command.lead.consent or {}).items():
        if given:
            lead = resubscribe(work, lead, channel, source=BY_HAND)


def clear(work: Work, lead: Lead, names: Collection[str], custom: Collection[str]) -> None:
    """Takes values away; what has none already is not recorded."""
    gone = set(lead.custom_fields) if "custom_fields" in names else set(custom) & set(lead.custom_fields)
    cleared = [name for name in FIELDS if name in names and getattr(lead, name) is not None]
    if cleared or gone:
        work.on_lead(
            lead.id, LeadDetailsMerged(cleared=cleared, cleared_custom=sorted(gone) or None, occurred_at=work.now)
        )


def set_status(work: Work, command: SetLeadStatus) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    if command.status is None:
        clear(work, lead, ["status"], [])
    else:
        merge(work, lead, LeadBody(status=command.status), work.now, by_hand=True)


def tag(work: Work, command: TagLead) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    _retag(work, known_lead(work, command.lead_id), add=command.add, remove=command.remove)


def _retag(work: Work, lead: Lead, *, add: Collection[str], remove: Collection[str]) -> None:
    removed = sorted(set(remove) & lead.tags)
    added = sorted(set(add) - lead.tags - set(remove))
    if added or removed:
        work.on_lead(lead.id, LeadTagged(added=added, removed=removed, why=Why(rule=BY_HAND)))


def score(work: Work, command: ScoreLead) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    change_score(work, lead.id, add=command.add, to=command.set, why=Why(rule=command.why))


def convert(work: Work, command: ConvertLead) -> None:
    """Raises UnknownTarget, LeadErasedAlready, or InvalidMoment for a conversion that is still to come."""
    lead = known_lead(work, command.lead_id)
    moments.done(work, "at", command.at)
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
    """Raises UnknownTarget. Everything still running stops, open tasks are withdrawn; what is in flight is still
    answered and recorded. What the lead unsubscribed from stays so for its addresses.
    """
    lead = work.lead(command.lead_id)
    if lead.erased:
        return
    for enrollment_id in lead.open_enrollments:
        state = work.find_enrollment(enrollment_id)
        if state is not None:
            leave(work, state, "erased", stop="erased")
    for task_id in sorted(work.world.figures(work.organization_id, by_hand_of(lead.id))):
        task = work.find_task(UUID(task_id))
        if task is not None and task.status == "open":
            work.record("task", task.id, TaskWithdrawn(reason="erased"), lead.id)
    keep_unsubscribes(work, lead)
    work.on_lead(lead.id, LeadErased())
