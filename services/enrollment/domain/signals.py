"""Signals: what comes back for a dispatch. Raw hits go to the engagement stream; the enrollment gets the first that
counts of each kind.
"""

from __future__ import annotations

from datetime import date, timedelta

from services.enrollment.domain.engagement import Engagement, counts
from services.enrollment.domain.enrollment import Enrollment, Execution, Fate
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.lead_facts import stop_enrollments, suppress_address, unsubscribe
from services.enrollment.domain.leaving import apply_stop_rule
from services.enrollment.domain.outcomes import go_on_settled, record_settled
from services.enrollment.domain.scoring import change_score
from services.enrollment.domain.work import Work, engagement_id
from shared.events.engagement import RecordSignal, SignalReceived
from shared.events.enrollment import EngagementNoted
from shared.events.lead import LeadReplied, LeadWentAway
from shared.events.why import Why

#: Longest absence that an automatic answer is believed.
LONGEST_ABSENCE = timedelta(days=60)
#: Signals that prove that a message in doubt went out.
PROOFS = frozenset({"delivered", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed"})
#: Signal -> the stop rule it meets.
_RULES = {"replied": "reply", "clicked": "click"}


def record(work: Work, fact: RecordSignal) -> None:
    """Raises UnknownTarget for a dispatch that never was."""
    state = work.enrollment(fact.enrollment_id)
    execution = state.executions.get(fact.execution)
    if execution is None:
        raise UnknownTarget("execution", f"{fact.enrollment_id}/{fact.execution}")
    if not _keep(work, state, fact):
        return
    if not counts(fact):
        if fact.auto_reply and fact.returns_on is not None:
            _away(work, state, fact, fact.returns_on)
        return
    if fact.signal == "replied":
        _keep_reply(work, state, fact)
    settles = fact.signal in PROOFS and execution.fate == Fate.IN_DOUBT
    if settles:
        state = record_settled(work, state, execution, "sent", fact.signal)
    first = fact.signal not in execution.signals
    if first:
        state = work.on_enrollment(
            state,
            EngagementNoted(
                execution=execution.number,
                step_id=execution.step_id,
                channel=execution.channel,
                signal=fact.signal,
                at=fact.at,
                link=fact.link,
                intent=fact.intent,
                **execution.credit,
            ),
        )
        _score(work, state, fact)
    _act(work, state, execution, fact)
    if settles:  # after the stop rules, so that nothing goes on that the signal itself stops
        go_on_settled(work, work.enrollment(state.id), execution)


def _keep(work: Work, state: Enrollment, fact: RecordSignal) -> bool:
    """The raw hit; False when it is one too many of its kind."""
    stream = engagement_id(state.id, fact.execution)
    known = work.engagement(stream) or Engagement(stream, state.organization_id)
    if not known.keeps(fact):
        return False
    event = SignalReceived(
        enrollment_id=state.id,
        execution=fact.execution,
        channel=fact.channel,
        signal=fact.signal,
        at=fact.at,
        link=fact.link,
        machine=fact.machine,
        machine_reason=fact.machine_reason,
        client=fact.client,
        source=fact.source,
        count=fact.count,
        auto_reply=fact.auto_reply,
        bounce_kind=fact.bounce_kind,
        bounce_status=fact.bounce_status,
    )
    work.record("engagement", stream, event, state.lead_id)
    return True


def _away(work: Work, state: Enrollment, fact: RecordSignal, returns_on: date) -> None:
    """An automatic answer says when the lead is back. It is no reply; what waits is planned for after that day."""
    lead = work.find_lead(state.lead_id)
    today = work.now.date()
    until = min(returns_on, today + LONGEST_ABSENCE)
    if lead is not None and not lead.erased and until >= today and lead.away_until != until:
        event = LeadWentAway(returns_on=until, enrollment_id=state.id, execution=fact.execution, at=fact.at)
        work.on_lead(lead.id, event)


def _keep_reply(work: Work, state: Enrollment, fact: RecordSignal) -> None:
    event = LeadReplied(
        channel=fact.channel,
        enrollment_id=state.id,
        execution=fact.execution,
        subject=fact.subject,
        text=fact.text,
        at=fact.at,
    )
    work.on_lead(state.lead_id, event)


def _score(work: Work, state: Enrollment, fact: RecordSignal) -> None:
    organization = work.find_organization()
    add = organization.score_for(fact.signal) if organization is not None else 0
    if add:
        why = Why(rule=fact.signal, inputs={"enrollment": str(state.id), "execution": fact.execution, "add": add})
        change_score(work, state.lead_id, add=add, why=why)


def _act(work: Work, state: Enrollment, execution: Execution, fact: RecordSignal) -> None:
    """What follows for this enrollment, the lead and its other enrollments."""
    why = Why(rule=fact.signal, inputs={"step": execution.step_id, "at": fact.at.isoformat()})
    match fact.signal:
        case "replied" | "clicked":
            rule = work.version(state.sequence_id, state.version).settings.stop_rule(_RULES[fact.signal])
            apply_stop_rule(work, work.enrollment(state.id), rule, why)
        case "unsubscribed":
            _unsubscribe(work, state, execution, fact)
        case "complained":
            _unsubscribe(work, state, execution, fact)  # first: no opt-in lifts what is suppressed for a complaint
            suppress_address(work, state.lead_id, fact.channel, "complaint")
        case "bounced":
            rule = work.version(state.sequence_id, state.version).settings.stop_rule("bounce")
            apply_stop_rule(work, work.enrollment(state.id), rule, why)
            if fact.bounce_kind == "hard":
                suppress_address(work, state.lead_id, fact.channel, "bounce")
                stop_enrollments(work, state.lead_id, "bounce", why)


def _unsubscribe(work: Work, state: Enrollment, execution: Execution, fact: RecordSignal) -> None:
    lead = work.find_lead(state.lead_id)
    if lead is not None:
        unsubscribe(
            work,
            lead,
            fact.channel,
            at=fact.at,
            source=fact.source,
            enrollment_id=state.id,
            execution=execution,
            sequence_id=None if fact.whole or fact.signal == "complained" else state.sequence_id,
        )
