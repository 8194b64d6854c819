"""What funnels say: created, updated, converted, meeting booked. The order of arrival does not matter."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment.domain import moments
from services.enrollment.domain.enrolling import match_created
from services.enrollment.domain.errors import InvalidLead
from services.enrollment.domain.identities import IdentityKind, normalise
from services.enrollment.domain.lead import FIELDS, Lead
from services.enrollment.domain.lead_facts import book_meeting, win
from services.enrollment.domain.scoring import change_score
from services.enrollment.domain.windows import zone_named
from services.enrollment.domain.work import IdentityClaim, Work
from shared.events.lead import (
    InboundLead,
    LeadBody,
    LeadCaptured,
    LeadConverted,
    LeadCreated,
    LeadDetailsMerged,
    LeadIdentityClashed,
    LeadTagged,
    MeetingBooked,
)
from shared.events.task import TaskOpened
from shared.events.why import Why
from shared.ids import derived_id

KINDS: tuple[IdentityKind, ...] = ("external_id", "email", "phone")
FROM_MESSAGE = "message"


class Identified(NamedTuple):
    """Whom a message is about. ``named`` holds its identities in comparable form, ``owners`` the leads they name
    already.
    """

    lead_id: UUID | None
    named: dict[IdentityKind, str]
    owners: dict[IdentityKind, UUID]


def record(work: Work, fact: InboundLead, message_id: str) -> UUID:
    """Raises InvalidLead, also for an organization that there is not; InvalidMoment for what is dated in the future.
    Answers the id of the lead that the message is about.
    """
    if work.find_organization() is None:
        problem = f"there is no organization {work.organization_id}"
        raise InvalidLead(problem, errors=[{"field": "organization_id", "problem": problem}])
    moments.done(work, "occurred_at", fact.occurred_at, moments.ASKEW_BY_ZONE)
    # Of a clock that is ahead nothing counts as later than its arrival: else it would outlast every later word.
    at = min(fact.occurred_at, work.now) if fact.occurred_at is not None else work.now
    body = normalised(fact.lead)
    identified = identify(work, body)
    lead_id = identified.lead_id or _new_id(work, identified, message_id)
    known = work.find_lead(lead_id)
    body = _without(body, _clashing(identified, lead_id))
    if known is None:
        lead = _capture(work, lead_id, fact.funnel_id, body, at)
    else:
        lead = merge(work, known, body, at, funnel_id=fact.funnel_id, dated=fact.occurred_at is not None)
    _claim(work, lead_id, identified)
    _report_clashes(work, lead, identified)
    said = fact.occurred_at or work.now  # as it was said: the same conversion that comes again is known by it
    if isinstance(fact, LeadConverted):
        win(work, lead, value=fact.value, currency=fact.currency, occurred_at=said)
    elif isinstance(fact, MeetingBooked):
        book_meeting(work, lead, at=fact.at, place=fact.place, occurred_at=said, whenever_begun=True)
    elif isinstance(fact, LeadCreated):
        match_created(work, work.lead(lead_id), fact.funnel_id)
    return lead_id


# --- who is it --------------------------------------------------------------------------------------------------------


def normalised(body: LeadBody) -> LeadBody:
    """The same with e-mail, phone and external id in the one form that is compared. Raises InvalidLead, field by
    field.
    """
    errors = []
    if body.email is not None and normalise("email", body.email) is None:
        errors.append({"field": "lead.email", "problem": "must be an e-mail address"})
    if body.phone is not None and normalise("phone", body.phone) is None:
        errors.append({"field": "lead.phone", "problem": "must be a phone number, best in the form +4915112345678"})
    if body.external_id is not None and normalise("external_id", body.external_id) is None:
        errors.append({"field": "lead.external_id", "problem": "must not be blank"})
    if body.timezone is not None and zone_named(body.timezone) is None:
        errors.append({"field": "lead.timezone", "problem": "must be a name of the tz database"})
    if errors:
        raise InvalidLead("; ".join(f"{each['field']} {each['problem']}" for each in errors), errors=errors)
    return body.model_copy(
        update={kind: normalise(kind, text) for kind in KINDS if (text := getattr(body, kind)) is not None}
    )


def identify(work: Work, body: LeadBody) -> Identified:
    """The external id wins over the e-mail, the e-mail over the phone; a phone alone never joins leads with different
    e-mails.
    """
    named: dict[IdentityKind, str] = {}
    owners: dict[IdentityKind, UUID] = {}
    for kind in KINDS:
        text = getattr(body, kind)
        normal = normalise(kind, text) if text is not None else None
        if normal is None:
            continue
        named[kind] = normal
        owner = _owner(work, kind, normal)
        if owner is not None:
            owners[kind] = owner
    lead_id = owners.get("external_id") or owners.get("email")
    if lead_id is None and "phone" in owners and _same_person(work, owners["phone"], named):
        lead_id = owners["phone"]
    return Identified(lead_id, named, owners)


def _owner(work: Work, kind: IdentityKind, normal: str) -> UUID | None:
    for claim in work.claims:
        if (claim.kind, claim.normalised) == (kind, normal):
            return claim.lead_id
    return work.world.lead_by_identity(work.organization_id, kind, normal)


def _same_person(work: Work, owner: UUID, named: dict[IdentityKind, str]) -> bool:
    """A phone names its owner unless message and owner are known apart by e-mail or external id."""
    lead = work.find_lead(owner)
    if lead is None:
        return False
    apart: tuple[IdentityKind, ...] = ("email", "external_id")
    for kind in apart:
        known = getattr(lead, kind)
        if kind in named and known is not None and normalise(kind, known) != named[kind]:
            return False
    return True


def _new_id(work: Work, identified: Identified, message_id: str) -> UUID:
    """From the message's id, else from the first identity's keyed hash: the same after a redelivery, and never a bare
    hash of personal data.
    """
    seed: list[object] = ["message", message_id]
    if not message_id:
        kind = next(kind for kind in KINDS if kind in identified.named)
        seed = [kind, work.world.address_hash(work.organization_id, kind, identified.named[kind])]
    nth = 0
    while True:
        lead_id = derived_id("lead", work.organization_id, *seed, *([nth] if nth else []))
        if work.find_lead(lead_id) is None:
            return lead_id
        nth += 1  # the stream of a lead that was erased, or of another person, is left alone


def _clashing(identified: Identified, lead_id: UUID) -> set[str]:
    """Identities of the message that belong to another lead: they are not taken over. A shared phone stays as a
    field.
    """
    return {kind for kind, owner in identified.owners.items() if owner != lead_id and kind != "phone"}


def _without(body: LeadBody, fields: set[str]) -> LeadBody:
    return body.model_copy(update=dict.fromkeys(fields)) if fields else body


def _claim(work: Work, lead_id: UUID, identified: Identified) -> None:
    work.claims.extend(
        IdentityClaim(work.organization_id, kind, normal, lead_id)
        for kind, normal in identified.named.items()
        if kind not in identified.owners
    )


def _report_clashes(work: Work, lead: Lead, identified: Identified) -> None:
    """An event and a task, once for each pair."""
    others: dict[UUID, list[Any]] = {}
    for kind in sorted(_clashing(identified, lead.id)):
        other = identified.owners[kind]  # type: ignore[index]  # a kind
        if (other, kind) not in lead.clashes:
            others.setdefault(other, []).append(kind)
    for other, kinds in others.items():
        work.on_lead(lead.id, LeadIdentityClashed(other_lead_id=other, kinds=kinds))
        task_id = derived_id("task", lead.id, "identity_clash", other)
        if work.find_task(task_id) is None:
            event = TaskOpened(
                kind="identity_clash",
                title="Two leads share an identity",
                notes=f"This lead and lead {other} were named by one message ({', '.join(kinds)}). Nothing was merged.",
                due_at=work.now,
            )
            work.record("task", task_id, event, lead.id)


# --- its fields -------------------------------------------------------------------------------------------------------


def _capture(work: Work, lead_id: UUID, funnel_id: str | None, body: LeadBody, at: datetime) -> Lead:
    event = LeadCaptured(
        funnel_id=funnel_id,
        **{name: getattr(body, name) for name in FIELDS},
        custom_fields=dict(body.custom_fields) if body.custom_fields else None,
        score=body.score or 0,
        score_given=body.score is not None,
        tags=list(dict.fromkeys(body.tags or [])),
        consent={str(channel): given for channel, given in (body.consent or {}).items()},
        occurred_at=at,
    )
    lead = work.on_lead(lead_id, event)
    if lead.score:
        work.crossings.append((lead_id, 0, lead.score))
    return lead


def merge(
    work: Work,
    lead: Lead,
    body: LeadBody,
    at: datetime,
    *,
    funnel_id: str | None = None,
    dated: bool = False,
    by_hand: bool = False,
) -> Lead:
    """Each field keeps the value with the latest ``at``; of two at one moment the greater, so that their order does
    not matter. Tags add up.

    ``dated``: the message says itself when it was true, so a value it merely confirms holds from then on. ``by_hand``:
    a person's word wins over all that is known.
    """
    wins = partial(_changes, lead) if by_hand else partial(_wins, lead, at, dated)
    values = {
        name: value
        for name in FIELDS
        if (value := getattr(body, name)) is not None and wins(name, getattr(lead, name), value)
    }
    custom = {
        name: value
        for name, value in (body.custom_fields or {}).items()
        if wins(f"custom.{name}", lead.custom_fields.get(name), value)
    }
    consent = {
        str(channel): given
        for channel, given in (body.consent or {}).items()
        if wins(f"consent.{channel}", _caution(lead.consent.get(channel)), _caution(given))
    }
    new_funnel = funnel_id if funnel_id is not None and funnel_id not in lead.funnels else None
    if values or custom or consent or new_funnel is not None:
        lead = work.on_lead(
            lead.id,
            LeadDetailsMerged(
                funnel_id=new_funnel, **values, custom_fields=custom or None, consent=consent, occurred_at=at
            ),
        )
    added = [tag for tag in dict.fromkeys(body.tags or []) if tag not in lead.tags]
    if added:
        lead = work.on_lead(lead.id, LeadTagged(added=added, why=Why(rule=FROM_MESSAGE)))
    if body.score is not None and wins("score", lead.score, body.score):
        why = Why(rule=FROM_MESSAGE, inputs={"occurred_at": at.isoformat()})
        lead = change_score(work, lead.id, to=body.score, why=why, confirm=True) or lead
    return lead


def _changes(lead: Lead, field: str, known: Any, value: Any) -> bool:
    return bool(value != known) or field not in lead.stamps


def _wins(lead: Lead, at: datetime, dated: bool, field: str, known: Any, value: Any) -> bool:
    since = lead.stamps.get(field)
    if since is None or at > since:
        return since is None or dated or bool(value != known)
    return at == since and bool(value != known) and repr(value) > repr(known)


def _caution(given: bool | None) -> int | None:
    """At one moment a refusal outweighs a consent."""
    return None if given is None else 0 if given else 1
