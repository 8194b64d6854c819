"""Steps that take effect at once: what they change in the lead, note down or tell."""

from __future__ import annotations

from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.leaving import active_member, active_owner, apply_stop_rule, complete
from services.enrollment.domain.scoring import change_score
from services.enrollment.domain.work import Work
from shared.events.definition import Step
from shared.events.enrollment import GoalReached, MembersNotified, NoteLeft
from shared.events.kinds import FieldConfig, GoalConfig, NoteConfig, NotificationConfig, ScoreConfig, TagConfig
from shared.events.lead import LeadAssigned, LeadDetailsMerged, LeadTagged
from shared.events.why import Why

ALL_MEMBERS = "all"
OWNER = "owner"
#: To whom a notification goes that names no member.
NOBODY_NAMED = frozenset({ALL_MEMBERS, OWNER})


def take_effect(work: Work, state: Enrollment, step: Step, execution: int) -> None:
    """What a step does that was taken as ``execution``; nothing for a wait. Texts are recorded with the lead's values
    in place, encrypted like all that is personal.
    """
    match step.config:
        case ScoreConfig(add=add, set=to):
            change_score(work, state.lead_id, add=add, to=to, why=by_step(state, step))
        case TagConfig():
            _tag(work, state, step, step.config)
        case NoteConfig(text=template):
            text = work.world.filled(template, work.find_lead(state.lead_id))
            work.on_enrollment(state, NoteLeft(execution=execution, step_id=step.step_id, text=text))
        case NotificationConfig(text=template, to=to):
            lead = work.find_lead(state.lead_id)
            named = active_owner(work, state) if to == OWNER else active_member(work, to)
            text = work.world.filled(template, lead)
            told = MembersNotified(execution=execution, step_id=step.step_id, to=named or ALL_MEMBERS, text=text)
            work.on_enrollment(state, told)


def set_fields(work: Work, state: Enrollment, step: Step, config: FieldConfig) -> Why | None:
    """Gives the lead's fields their new values; what is so already is not recorded. An owner who is no active member
    is left out: the answer then says so.
    """
    lead = work.find_lead(state.lead_id)
    if lead is None or lead.erased:
        return None
    changed = {
        name: value
        for name in ("status", "temperature")
        if (value := getattr(config, name)) is not None and value != getattr(lead, name)
    }
    custom = {
        name: value
        for name, value in config.custom_fields.items()
        if name not in lead.custom_fields or lead.custom_fields[name] != value
    }
    if changed or custom:
        why = by_step(state, step)
        event = LeadDetailsMerged(**changed, custom_fields=custom or None, occurred_at=work.now, why=why)
        work.on_lead(lead.id, event)
    owner = str(config.owner) if config.owner is not None else lead.owner
    if owner == lead.owner:
        return None
    organization = work.find_organization()
    member = organization.members.get(config.owner) if organization is not None and config.owner is not None else None
    if member is None or not member.active:
        return Why(rule="owner_not_active", inputs={"owner": owner})
    work.on_lead(lead.id, LeadAssigned(owner=owner, why=by_step(state, step)))
    return None


def reach_goal(work: Work, state: Enrollment, step: Step, execution: int, config: GoalConfig) -> Enrollment:
    """Marks the goal reached. The stop rule ``goal`` ends or holds the enrollment; without one it goes on."""
    state = work.on_enrollment(state, GoalReached(execution=execution, step_id=step.step_id, goal=config.name))
    rule = work.version(state.sequence_id, state.version).settings.stop_rule("goal")
    state = apply_stop_rule(work, state, rule, Why(rule="goal", inputs={"step": step.step_id, "goal": config.name}))
    return complete(work, state) if state.status == Status.ACTIVE and state.plan is None else state


def by_step(state: Enrollment, step: Step) -> Why:
    """A step is the reason."""
    return Why(rule="step", inputs={"enrollment": str(state.id), "step": step.step_id})


def _tag(work: Work, state: Enrollment, step: Step, config: TagConfig) -> None:
    lead = work.find_lead(state.lead_id)
    if lead is None:
        return
    added = sorted(set(config.add) - lead.tags)
    removed = sorted(set(config.remove) & lead.tags)
    if added or removed:
        work.on_lead(lead.id, LeadTagged(added=added, removed=removed, why=by_step(state, step)))
