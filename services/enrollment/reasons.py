"""What a recorded event says about why something was sent, waited, was left out or ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from services.enrollment.naming import Names, Place
from shared.events import enrollment as e
from shared.events import sequence as s
from shared.events.envelope import Envelope
from shared.events.lead import (
    LeadAddressSuppressed,
    LeadCaptured,
    LeadDetailsMerged,
    LeadErased,
    LeadResubscribed,
    LeadUnsubscribed,
    LeadWentAway,
)
from shared.events.message import Event
from shared.events.organization import SenderBraked, SenderReleased
from shared.events.why import Plan, Why
from shared.events.wording import told

#: Life of a sequence -> its rule.
LIFE: dict[type[Event], str] = {
    s.SequencePublished: "sequence_published",
    s.SequencePaused: "sequence_paused",
    s.SequenceResumed: "sequence_resumed",
    s.SequenceReleased: "released",
    s.SequenceArchived: "sequence_archived",
    s.SequenceDeleted: "sequence_deleted",
    s.SequenceRestored: "sequence_restored",
}


class Reason(NamedTuple):
    """``kind`` is what happened (``waits``, ``skipped``, ``sent``, …), ``why`` its rule and inputs. ``step_id`` is
    None for what concerns no step; ``until`` the moment to which something waits, None when it has no end.
    ``version`` is the one that the enrollment was in then, None outside of enrollments.
    """

    at: datetime
    kind: str
    why: Why
    step_id: str | None = None
    execution: int | None = None
    until: datetime | None = None
    sequence_id: UUID | None = None
    enrollment_id: UUID | None = None
    actor: str | None = None
    version: int | None = None

    def as_answer(self, names: Names) -> dict[str, Any]:
        """As the API shows it."""
        place = Place(self.sequence_id, self.version)
        named = names.inputs(self.why, place)
        step = names.step(place, self.step_id)
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            **self.why.model_dump(mode="json"),
            "names": named,
            "text": told(self.why, self.until, named),
            "until": self.until.isoformat() if self.until is not None else None,
            "step_id": self.step_id,
            "step_name": step.name if step is not None else None,
            "step_number": step.number if step is not None else None,
            "execution": self.execution,
            "sequence_id": str(self.sequence_id) if self.sequence_id is not None else None,
            "sequence_name": names.sequence(self.sequence_id),
            "version": self.version,
            "enrollment_id": str(self.enrollment_id) if self.enrollment_id is not None else None,
            "actor": self.actor,
            "actor_name": names.actor(self.actor),
        }


def of_enrollment(envelope: Envelope, sequence_id: UUID, version: int) -> Iterator[Reason]:
    """What an enrollment's own event says, the wait that it begins included. ``version``: it is in that one then."""
    event = cast("Event", envelope.message)
    step_id, execution = getattr(event, "step_id", None), getattr(event, "execution", None)
    plan: Plan | None = getattr(event, "plan", None)
    where: dict[str, Any] = {
        "sequence_id": sequence_id,
        "enrollment_id": envelope.subject,
        "actor": envelope.actor,
        "version": version,
    }
    own = said(event)
    if own is not None:
        until = getattr(event, "start_at", None) or getattr(event, "until", None)
        yield Reason(envelope.time, *own, step_id, execution, until, **where)
    if plan is not None and not plan.is_due(envelope.time):
        where["actor"] = None
        yield Reason(envelope.time, "waits", plan.why, plan.step_id, plan.execution, plan.at, **where)


def said(event: Event) -> tuple[str, Why] | None:
    """What happened by an enrollment's event, and its rule; None for one that explains nothing."""
    tell = _TELLS.get(type(event))
    return tell(event) if tell is not None else None


def pending(start_at: datetime | None) -> Why:
    """Why an enrollment has not begun."""
    return Why(rule="pending_by_hand") if start_at is None else Why(rule="pending", inputs={"start_at": start_at})


def refused_start(events: Sequence[Envelope]) -> tuple[Why, datetime] | None:
    """What kept a pending enrollment from beginning when its moment came, and when; None when nothing has."""
    for each in reversed(events):
        if isinstance(each.message, e.StartRefused):
            return each.message.why, each.time
    return None


def paused(event: e.EnrollmentPaused) -> Why:
    return event.why or Why(rule="paused", inputs={"reason": event.reason})


def ended(event: e.EnrollmentExited) -> Why:
    return event.why or Why(rule="exited", inputs={"reason": event.reason})


def _due(event: e.StepDue) -> tuple[str, Why]:
    return "due", event.why or Why(rule="due", inputs={"attempt": event.attempt})


def _deferred(event: e.StepDeferred) -> tuple[str, Why]:
    inputs = {"reason": event.reason, "attempt": event.attempt}
    return "deferred", Why(rule="retry" if event.fault else "deferred", inputs=inputs)


def _failed(event: e.StepFailed) -> tuple[str, Why]:
    inputs = {"reason": event.reason, "how": event.how}
    return "failed", Why(rule="bounced" if event.bounce else "failure", inputs=inputs)


def _settled(event: e.StepSettled) -> tuple[str, Why]:
    rule = "settled_sent" if event.outcome == "sent" else "settled_not_sent"
    return "settled", Why(rule=rule, inputs={"by": event.by})


def _unanswered(event: e.WatchdogRang) -> tuple[str, Why]:
    return "unanswered", Why(rule="unanswered" if event.consumed else "not_consumed", inputs={"round": event.round})


def _taken(event: e.StepTaken) -> tuple[str, Why]:
    return "branched" if event.arm is not None else "done", event.why or Why(rule="taken")


def _started(event: e.EnrollmentStarted) -> tuple[str, Why]:
    if event.plan is None:
        return "pending", pending(event.start_at)
    return "enrolled", event.why or Why(rule="enrolled", inputs={"by": event.by})


_TELLS: dict[type[Event], Callable[[Any], tuple[str, Why]]] = {
    e.EnrollmentStarted: _started,
    e.EnrollmentActivated: lambda _: ("began", Why(rule="began")),
    e.StartRefused: lambda event: ("refused", event.why),
    e.StepDue: _due,
    e.StepSent: lambda event: ("sent", Why(rule="sent", inputs={"channel": event.channel})),
    e.StepDeferred: _deferred,
    e.StepFailed: _failed,
    e.StepStopRequested: lambda event: ("stopping", Why(rule="stop_asked", inputs={"reason": event.reason})),
    e.StepStopped: lambda event: ("stopped", Why(rule="stopped", inputs={"reason": event.reason})),
    e.StepInDoubt: lambda event: ("in_doubt", Why(rule="in_doubt", inputs={"reason": event.reason})),
    e.StepSettled: _settled,
    e.WatchdogRang: _unanswered,
    e.StepSkipped: lambda event: ("skipped", event.why),
    e.StepTaken: _taken,
    e.StepDoneByPerson: lambda event: ("done", Why(rule="done_by_person", inputs={"outcome": event.outcome})),
    e.StepApproved: lambda event: ("approved", Why(rule="approved", inputs={"draft": str(event.task_id)})),
    e.StepOverdue: lambda event: ("skipped", Why(rule="overdue", inputs={"then": event.then})),
    e.GoalReached: lambda event: ("goal", Why(rule="goal", inputs={"step": event.step_id, "goal": event.goal})),
    e.EnrollmentReplanned: lambda event: ("planned_again", event.why),
    e.EnrollmentPaused: lambda event: ("paused", paused(event)),
    e.EnrollmentResumed: lambda _: ("resumed", Why(rule="resumed")),
    e.MigrationAwaited: lambda event: (
        "moves",
        Why(rule="migration_awaited", inputs={"to_version": event.to_version}),
    ),
    e.MigrationDropped: lambda event: ("stays", event.why),
    e.EnrollmentMigrated: lambda event: ("moved", event.why),
    e.EnrollmentCompleted: lambda _: ("completed", Why(rule="completed")),
    e.EnrollmentExited: lambda event: ("ended", ended(event)),
}


def of_lead(envelope: Envelope) -> Iterator[Reason]:
    """What keeps messages from a lead, or lets them through again, whatever the sequence. Matching is told by
    ``explanation``, which knows the sequences.
    """
    for why in _of_lead(envelope.message):
        yield Reason(envelope.time, "lead", why, actor=envelope.actor)


def _of_lead(event: Any) -> Iterator[Why]:
    match event:
        case LeadCaptured() | LeadDetailsMerged():
            for channel, given in sorted(event.consent.items()):
                if not given:
                    yield Why(rule="consent", inputs={"channel": channel})
        case LeadUnsubscribed():
            yield Why(rule="unsubscribed", inputs={"channel": event.channel, "source": event.source})
        case LeadResubscribed():
            yield Why(rule="resubscribed", inputs={"channel": event.channel, "source": event.source})
        case LeadAddressSuppressed():
            yield Why(rule="suppression", inputs={"channel": event.channel, "reason": event.reason})
        case LeadWentAway():
            yield Why(rule="out_of_office", inputs={"returns_on": event.returns_on.isoformat()})
        case LeadErased():
            yield Why(rule="erased")


def of_sequence(envelope: Envelope) -> Iterator[Reason]:
    """Whether a sequence takes leads and sends."""
    event = cast("Event", envelope.message)
    if isinstance(event, s.SequenceBraked):
        why = event.why
    elif (rule := LIFE.get(type(event))) is not None:
        why = Why(rule=rule)
    else:
        return
    yield Reason(envelope.time, "sequence", why, sequence_id=envelope.subject, actor=envelope.actor)


def of_sender(envelope: Envelope, sender_id: str) -> Iterator[Reason]:
    """The brake of a sender."""
    event = envelope.message
    if isinstance(event, SenderBraked) and event.sender_id == sender_id:
        yield Reason(envelope.time, "sender", event.why, actor=envelope.actor)
    elif isinstance(event, SenderReleased) and event.sender_id == sender_id:
        yield Reason(envelope.time, "sender", Why(rule="released"), actor=envelope.actor)
