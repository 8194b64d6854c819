"""Enrollment: one lead in one version of one sequence. Orders to it, and what has happened in it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.events.definition import Intent, StepId, StopSignal
from shared.events.message import Command, Event, Fact, Instant, Pii
from shared.events.why import Plan, QuotaSlot, TimerClass, Why

PauseReason = Literal["by_hand", "stop_rule", "failure", "in_doubt", "missing_value"]
StopReason = Literal[
    "paused",
    "cancelled",
    "replied",
    "unsubscribed",
    "bounced",
    "meeting_booked",
    "converted",
    "clicked",
    "goal",
    "consent",
    "suppressed",
    "erased",
]
#: A transient fault that lasted, a permanent one, silence, or content that could not be rendered.
FailedHow = Literal["retries_used", "rejected", "unanswered", "undressed"]
SignalKind = Literal["delivered", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed"]


# --- orders ---------------------------------------------------------------------------------------------------------


class Enroll(Command):
    """Put a lead into a sequence's active version. ``start`` False leaves it pending until started by hand,
    ``start_at`` until that moment."""

    TOPIC = "enrollment.enroll.v1"
    lead_id: UUID
    sequence_id: UUID
    start: bool = True
    by: str = "hand"  #: ``hand``, ``trigger``, ``bulk``
    why: Why | None = None
    bulk_id: UUID | None = None  #: the bulk it is part of
    start_at: Instant | None = None


class StartEnrollment(Command):
    TOPIC = "enrollment.start.v1"
    enrollment_id: UUID


class PauseEnrollment(Command):
    """Hold an enrollment where it stands; a step in flight is asked to stop."""

    TOPIC = "enrollment.pause.v1"
    enrollment_id: UUID
    reason: PauseReason = "by_hand"
    until: Instant | None = None  #: None = until resumed by hand


class ResumeEnrollment(Command):
    TOPIC = "enrollment.resume.v1"
    enrollment_id: UUID


class CancelEnrollment(Command):
    TOPIC = "enrollment.cancel.v1"
    enrollment_id: UUID
    reason: str = Field(default="cancelled", min_length=1, max_length=200)


class UndoEnrollment(Command):
    """Take back the enrollment that a bulk opened for a lead: it is cancelled. One that messages went out to is left as
    it is and refused, or with ``also_sent`` cancelled all the same; the messages stay sent."""

    TOPIC = "enrollment.undo.v1"
    lead_id: UUID
    sequence_id: UUID
    bulk_id: UUID
    also_sent: bool = False


class AdvanceEnrollment(Command):
    """Go on by hand: run the waiting step now (``skip`` ``wait``), or pass it over (``step``). Rules about hours and
    limits still hold, but for those named: ``force_window`` (windows of sequence, channel and organization, weekends
    and holidays), ``force_day_off`` (days off of organization and sender, a lead's absence), ``force_quiet_hours``."""

    TOPIC = "enrollment.advance.v1"
    enrollment_id: UUID
    skip: Literal["wait", "step"] = "wait"
    force_window: bool = False
    force_day_off: bool = False
    force_quiet_hours: bool = False


class RestartEnrollment(Command):
    """Begin again from the first step, as a new enrollment in the sequence's active version; an open one leaves. It is
    a person's explicit word, so neither the rule of re-enrolment nor exclusivity stands against it; what it passed is
    recorded with it."""

    TOPIC = "enrollment.restart.v1"
    enrollment_id: UUID


class StopForCompany(Command):
    """Another lead of the same company has met a stop rule that says ``company`` (given by the clerk, in process). A
    lead that has left the company since is left alone."""

    TOPIC = "enrollment.stop_for_company.v1"
    lead_id: UUID
    sequence_id: UUID
    enrollment_id: UUID  #: whose rule it was
    signal: StopSignal
    do: Literal["pause", "exit"]
    company_hash: str


class MigrateEnrollment(Command):
    """Move an enrollment to another version of its sequence: to the same step, or to the one that ``moves`` names for
    it. A step in flight finishes first. ``repeats``: a move may lead to a step that was done already, which is then
    done again. ``forward``: one that is in a later version, or is on its way there, stays."""

    TOPIC = "enrollment.migrate.v1"
    enrollment_id: UUID
    version: int = Field(ge=1)
    moves: dict[StepId, StepId] = Field(default={}, max_length=500)
    repeats: bool = False
    forward: bool = False


class ResolveDispatch(Command):
    """A person says what became of a send in doubt."""

    TOPIC = "enrollment.resolve_dispatch.v1"
    enrollment_id: UUID
    execution: int = Field(ge=1)
    outcome: Literal["sent", "not_sent"]


class WakeTimer(Command):
    """A timer is due (given by the scheduler, in process). One whose execution and attempt the state has left behind
    does nothing."""

    TOPIC = "enrollment.wake_timer.v1"
    enrollment_id: UUID
    execution: int
    attempt: int
    timer_class: TimerClass


# --- outcomes: facts from a dispatcher --------------------------------------------------------------------------------


class Outcome(Fact):
    """What became of an attempt."""

    enrollment_id: UUID
    execution: int = Field(ge=1)
    attempt: int = Field(ge=1)
    dispatch_id: UUID


class RecordSent(Outcome):
    """The channel accepted the message. ``answer`` is the provider's own word, without personal data."""

    TOPIC = "enrollment.record_sent.v1"
    sent_at: Instant
    message_id: str | None = None
    answer: str | None = None


class RecordDeferred(Outcome):
    """Not now. ``fault`` tells a transient fault (counts against max_retries) from a mere wait; ``retry_at`` is the
    provider's wish."""

    TOPIC = "enrollment.record_deferred.v1"
    reason: str
    fault: bool
    retry_at: Instant | None = None


class RecordRejected(Outcome):
    """Refused for good."""

    TOPIC = "enrollment.record_rejected.v1"
    reason: str
    bounce: bool = False  #: the address itself is bad


class RecordStopped(Outcome):
    """A stop was in time: nothing went out and nothing will."""

    TOPIC = "enrollment.record_stopped.v1"
    reason: str


class RecordInDoubt(Outcome):
    """The message was handed over and the answer lost."""

    TOPIC = "enrollment.record_in_doubt.v1"
    reason: str


class RecordUndressed(Outcome):
    """The step could not be rendered or dressed: a value is missing without fallback, or the content is broken."""

    TOPIC = "enrollment.record_undressed.v1"
    reason: str
    missing: list[str] = []


# --- what has happened ------------------------------------------------------------------------------------------------


class EnrollmentStarted(Event):
    """``plan`` is None while the enrollment is pending: until ``start_at``, or by hand when that is None too.
    ``restarts`` is the enrollment that it begins again."""

    TOPIC = "enrollment.started.v1"
    lead_id: UUID
    sequence_id: UUID
    version: int
    by: str
    why: Why | None = None
    plan: Plan | None
    bulk_id: UUID | None = None
    restarts: UUID | None = None
    start_at: Instant | None = None


class EnrollmentActivated(Event):
    """A pending enrollment began."""

    TOPIC = "enrollment.activated.v1"
    plan: Plan


class StartRefused(Event):
    """A pending enrollment does not begin at its moment: it has come and something stands between the first message
    and the lead, or a stop rule that pauses was met before. It stays pending and can be started by hand."""

    TOPIC = "enrollment.start_refused.v1"
    why: Why


class StepPostponed(Event):
    """A due step waits for the next moment that satisfies every rule."""

    TOPIC = "enrollment.step_postponed.v1"
    execution: int
    step_id: str
    plan: Plan


class EnrollmentAdvanced(Event):
    """The rest of a step's wait was passed over by hand."""

    TOPIC = "enrollment.advanced.v1"
    execution: int
    step_id: str
    plan: Plan


class EnrollmentReplanned(Event):
    """What waits was planned again, because the lead or the organization's rules changed. ``why`` says what did."""

    TOPIC = "enrollment.replanned.v1"
    execution: int
    step_id: str
    plan: Plan
    why: Why


class StepDue(Event):
    """An attempt was decided and goes to the dispatchers. ``valid_until``: later than that it is stale and planned
    again. ``variant`` is which content the lead gets and ``content`` a digest of it, ``draw`` the number it was drawn
    by, and ``why`` what else was looked at; a later attempt keeps it."""

    TOPIC = "enrollment.step_due.v1"
    sequence_id: UUID
    version: int
    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    due_at: Instant
    valid_until: Instant
    quotas: list[QuotaSlot] = []
    sender: str | None = None
    variant: str | None = None
    content: str | None = None
    draw: float | None = None
    why: Why | None = None
    draft_id: UUID | None = None  #: the approved draft whose content goes out
    starts_at: Instant | None = None  #: when the appointment begins that it invites to


class StepSent(Event):
    TOPIC = "enrollment.step_sent.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    sent_at: Instant
    message_id: str | None = None
    answer: str | None = None
    plan: Plan | None  #: None when the enrollment ends, is paused, or has ended
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class StepDeferred(Event):
    """The attempt ended without a send; ``plan`` says when the next one is decided (None: held by a pause or stop)."""

    TOPIC = "enrollment.step_deferred.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    reason: str
    fault: bool
    plan: Plan | None


class StepFailed(Event):
    """The step will not be sent: refused for good, retries used up, three watchdog rounds without an answer, or it
    could not be rendered. The failure policy decides ``plan``. ``how`` is None in events older than the field."""

    TOPIC = "enrollment.step_failed.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    reason: str
    bounce: bool = False
    how: FailedHow | None = None
    plan: Plan | None
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class StepStopRequested(Event):
    """The dispatchers are asked to hold back a step in flight; the execution stays open until they answer."""

    TOPIC = "enrollment.step_stop_requested.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    reason: StopReason


class StepStopped(Event):
    """The stop was in time. ``plan`` repeats the step as a new execution when the enrollment has been resumed
    meanwhile, else None."""

    TOPIC = "enrollment.step_stopped.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    reason: str
    plan: Plan | None


class StepInDoubt(Event):
    TOPIC = "enrollment.step_in_doubt.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    reason: str
    plan: Plan | None
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class StepSettled(Event):
    """What became of a send in doubt. ``by``: ``delivered``, ``opened``, ``replied``, ``late_answer``,
    ``member:<id>``, …"""

    TOPIC = "enrollment.step_settled.v1"
    execution: int
    step_id: str
    channel: str
    dispatch_id: UUID
    outcome: Literal["sent", "not_sent"]
    by: str
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class WatchdogRang(Event):
    """A step in flight was not answered in time: the same StepDue (or stop) is published again. ``round`` counts from
    1; ``next_at`` is machine time. ``consumed``: the channel's queue had a consumer, so the silence counts."""

    TOPIC = "enrollment.watchdog_rang.v1"
    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    sequence_id: UUID
    version: int
    round: int
    due_at: Instant
    valid_until: Instant
    stopping: StopReason | None = None
    next_at: Instant
    consumed: bool = True


class StepSkipped(Event):
    """The step was passed over by its own conditions, because it is inactive, or because the lead cannot be reached
    on its channel."""

    TOPIC = "enrollment.step_skipped.v1"
    execution: int
    step_id: str
    kind: str
    why: Why
    plan: Plan | None


class StepTaken(Event):
    """A step without a message took effect: a wait ended, a score, tag, field, condition, note, notification, goal or
    exit was carried out. ``arm`` is ``then`` or ``else`` for a condition."""

    TOPIC = "enrollment.step_taken.v1"
    execution: int
    step_id: str
    kind: str
    arm: Literal["then", "else"] | None = None
    why: Why | None = None
    plan: Plan | None


class StepHandedToPerson(Event):
    """The step waits for a task or a draft; ``plan`` is blocked on ``task:<id>``. Its ``at`` is when the step is
    overdue, None when it waits without an end."""

    TOPIC = "enrollment.step_handed_to_person.v1"
    execution: int
    step_id: str
    kind: str
    task_id: UUID
    plan: Plan


class StepDoneByPerson(Event):
    """``plan`` is of the same step again when the outcome asks for another try."""

    TOPIC = "enrollment.step_done_by_person.v1"
    execution: int
    step_id: str
    task_id: UUID
    outcome: str
    plan: Plan | None


class StepApproved(Event):
    """A person approved the draft ``task_id``; ``plan`` says when the step sends it."""

    TOPIC = "enrollment.step_approved.v1"
    execution: int
    step_id: str
    task_id: UUID
    plan: Plan


class StepOverdue(Event):
    """Nobody did the task in time: the enrollment goes on without it, or ends (``plan`` is None then, and after the
    last step)."""

    TOPIC = "enrollment.step_overdue.v1"
    execution: int
    step_id: str
    task_id: UUID
    then: Literal["continue", "exit"]
    plan: Plan | None


class NoteLeft(Event):
    """A note step put a text in the lead's timeline."""

    TOPIC = "enrollment.note_left.v1"
    execution: int
    step_id: str
    text: Pii = None


class MembersNotified(Event):
    """A notification step told members something. ``to`` is ``all`` or a member's id."""

    TOPIC = "enrollment.members_notified.v1"
    execution: int
    step_id: str
    to: str
    text: Pii = None


class GoalReached(Event):
    """The enrollment has reached what it was for; the stop rule ``goal`` decides what follows."""

    TOPIC = "enrollment.goal_reached.v1"
    execution: int
    step_id: str
    goal: str


class EngagementNoted(Event):
    """The first signal that counts of its kind for an execution. ``late`` for one that came after the enrollment
    ended."""

    TOPIC = "enrollment.engagement_noted.v1"
    execution: int
    step_id: str
    channel: str
    signal: SignalKind
    at: Instant
    link: str | None = None
    intent: Intent | None = None  #: of a reply
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class EnrollmentPaused(Event):
    """Held where it stands. ``was`` is its status until then: one that is held may be held anew for another reason.
    ``owner``: the lead's at that moment, where somebody must look into it; None when there is none."""

    TOPIC = "enrollment.paused.v1"
    reason: PauseReason
    was: str = "active"
    why: Why | None = None
    until: Instant | None = None
    owner: str | None = None


class EnrollmentResumed(Event):
    """``plan`` is None while an answer is outstanding."""

    TOPIC = "enrollment.resumed.v1"
    plan: Plan | None


class ConversionAttributed(Event):
    """The lead converted within the time in which a message is taken to have led to it: the last one that it clicked,
    else opened, else got (``by``). ``occurred_at`` is the moment of the conversion."""

    TOPIC = "enrollment.conversion_attributed.v1"
    execution: int
    step_id: str
    channel: str
    by: Literal["clicked", "opened", "sent"]
    occurred_at: Instant
    sender: str | None = None
    variant: str | None = None
    content: str | None = None


class CompanyStopAsked(Event):
    """A stop rule that says ``company`` was met: the other leads of the lead's company stop in this sequence too. Once
    for each signal. ``company_hash`` is the organization's keyed hash of the company's name."""

    TOPIC = "enrollment.company_stop_asked.v1"
    signal: StopSignal
    do: Literal["pause", "exit"]
    company_hash: str


class MigrationAwaited(Event):
    """The enrollment moves to another version as soon as the step in flight is answered."""

    TOPIC = "enrollment.migration_awaited.v1"
    to_version: int
    execution: int
    step_id: str
    moves: dict[str, str] = {}
    repeats: bool = False


class EnrollmentMigrated(Event):
    """It goes on in another version. ``from_step`` is where it stood, ``to_step`` where it goes on (None: nothing is
    left); ``plan`` is None while it is paused at a place that both versions have, or pending. ``held``: it is paused,
    so the plan waits. ``repeats``: the step was done before and is to be done again."""

    TOPIC = "enrollment.migrated.v1"
    from_version: int
    to_version: int
    from_step: str | None
    to_step: str | None
    why: Why
    plan: Plan | None
    held: bool = False
    repeats: bool = False


class MigrationDropped(Event):
    """The awaited move does not happen: the enrollment stays in its version."""

    TOPIC = "enrollment.migration_dropped.v1"
    to_version: int
    why: Why


class EnrollmentCompleted(Event):
    """Every step is done. ``took_seconds`` counts from its beginning."""

    TOPIC = "enrollment.completed.v1"
    took_seconds: int | None = None


class EnrollmentExited(Event):
    """Left before the end. ``reason``: ``replied``, ``unsubscribed``, ``bounced``, ``cancelled``, ``exit_step``,
    ``failure``, …; ``was`` its status until then."""

    TOPIC = "enrollment.exited.v1"
    reason: str
    was: str = "active"
    why: Why | None = None
