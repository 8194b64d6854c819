"""What the API shows: response models, from which the OpenAPI document and the web app's types are made."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events.organization import Role
from shared.events.outline import SequenceType
from shared.events.sequence import SequenceStatus

EnrollmentStatus = Literal["pending", "active", "paused", "completed", "exited"]


class Shape(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="ignore")


class ProblemError(Shape):
    field: str = ""
    problem: str


class Problem(Shape):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError]


class TokenPair(Shape):
    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds the access token lasts.")


class Me(Shape):
    id: str
    kind: Literal["member", "api_key"]
    organization_id: str
    email: str
    name: str
    role: Role
    permissions: list[str]


class Today(Shape):
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    bounced: int = 0
    unsubscribed: int = 0
    meetings: int = 0
    enrolled: int = 0


class Totals(Shape):
    leads: int = 0
    sequences: int = 0
    sequences_active: int = 0
    sequences_pending: int = 0
    enrollments_pending: int = 0
    enrollments_active: int = 0
    enrollments_paused: int = 0
    enrollments_completed: int = 0
    enrollments_exited: int = 0
    in_doubt: int = 0
    tasks_open: int = 0


class Rates(Shape):
    """Shares of what was sent, 0 to 1."""

    open: float = 0.0
    click: float = 0.0
    reply: float = 0.0
    bounce: float = 0.0
    unsubscribe: float = 0.0
    complaint: float = 0.0
    conversion: float = 0.0


class Overview(Shape):
    today: Today
    totals: Totals
    rates: Rates
    business_now: datetime
    speed: float


class TimeseriesPoint(Shape):
    at: datetime
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    bounced: int = 0
    unsubscribed: int = 0
    enrolled: int = 0
    completed: int = 0


class Timeseries(Shape):
    items: list[TimeseriesPoint]


class HeatmapHour(Shape):
    """One hour of the week, in the organization's zone; ``weekday`` 0 is Monday."""

    weekday: int
    hour: int
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0


class Heatmap(Shape):
    zone: str
    items: list[HeatmapHour]


class CohortWeek(Shape):
    """What happened in the ``week``-th week (from 0) after each one's own beginning."""

    week: int
    enrolled: int = 0
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    conversions: int = 0
    completed: int = 0
    exited: int = 0


class Cohort(Shape):
    """Those enrolled in the week that begins on the Monday ``began``."""

    began: date
    enrolled: int
    weeks: list[CohortWeek]


class Cohorts(Shape):
    items: list[Cohort]


class Activity(Shape):
    """``outcome`` and ``duration_seconds`` are None where they mean nothing."""

    id: str
    at: datetime
    kind: str
    group: str
    title: str
    outcome: str | None
    duration_seconds: int | None
    lead_id: str | None
    lead_name: str | None
    enrollment_id: str | None
    sequence_id: str | None
    sequence_name: str | None
    step_id: str | None
    step_name: str | None
    actor: str | None
    detail: dict[str, Any]
    position: int


class ActivityPage(Shape):
    items: list[Activity]
    next_cursor: str | None


class Notification(Shape):
    """``kind``: reply, task_due, approval_wanted, sequence_rejected, limit_reached, sending_fails, held,
    sequence_braked, sender_braked, message"""

    id: str
    at: datetime
    kind: str
    read: bool
    lead_id: str | None
    lead_name: str | None
    enrollment_id: str | None
    sequence_id: str | None
    sequence_name: str | None
    task_id: str | None
    detail: dict[str, Any]


class NotificationPage(Shape):
    items: list[Notification]
    next_cursor: str | None


class ErasurePlace(Shape):
    """``left``: documents that still hold something personal."""

    place: str
    left: int


class ErasureState(Shape):
    erased: bool
    complete: bool
    places: list[ErasurePlace]


class Unread(Shape):
    unread: int


class AuditedBulk(Shape):
    """How far a bulk has come, or what it came to. ``report`` and ``refusals`` are where it and its refused targets,
    one by one with the reason, are read."""

    id: str
    status: str
    count: int
    handled: int
    done: int
    unchanged: int
    refused: int
    reasons: dict[str, int]
    finished_at: datetime | None
    report: str
    refusals: str


class AuditEntry(Shape):
    """``changed`` names the fields that were set; their personal values are not shown here. ``bulk`` is set for what
    was done to a bulk."""

    id: str
    at: datetime
    actor: str
    actor_name: str | None
    kind: str
    subject: str
    lead_id: str | None
    sequence_id: str | None
    changed: list[str]
    detail: dict[str, Any]
    bulk: AuditedBulk | None = None
    position: str


class AuditPage(Shape):
    items: list[AuditEntry]
    next_cursor: str | None


class Counted(Shape):
    """Counts since the beginning; rates are shares of what was sent, 0 to 1. What machines did stands apart."""

    enrolled: int = 0
    completed: int = 0
    exited: int = 0
    sent: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    bounced: int = 0
    unsubscribed: int = 0
    complained: int = 0
    failed: int = 0
    skipped: int = 0
    in_doubt: int = 0
    meetings: int = 0
    conversions: int = 0
    machine_opened: int = 0
    machine_clicked: int = 0
    rates: Rates = Rates()


class Badge(Shape):
    """Suggested by a model, and why."""

    suggested: bool
    reason: str = ""


class Reason(Shape):
    """A rule's name (``window``, ``quota``, ``delay``, …) and what it looked at."""

    rule: str
    inputs: dict[str, Any] = {}


class NamedReason(Reason):
    """``text`` says the rule in plain words. ``names``: words for those inputs that are ids (of a sequence, step,
    sender, member, task or funnel), by the input's name."""

    text: str = ""
    names: dict[str, str] = Field(default={})


class Braked(Shape):
    """Why something has stopped itself: the rule (``bounce_rate``, ``complaint_rate``, ``volume``) and what was
    counted."""

    at: datetime
    why: Reason


class SequenceStats(Counted):
    """``enrolled`` are all ever assigned; ``pending``, ``active`` and ``paused`` those inside now."""

    pending: int = 0
    active: int = 0
    paused: int = 0
    exited_by_reason: dict[str, int] = {}
    completion_rate: float = 0.0
    success_rate: float = Field(default=0.0, description="Left by a reply, a meeting, a conversion or the goal.")
    average_seconds_to_complete: int | None = None


class SenderStats(Counted):
    sender_id: str


class SequencePerformance(SequenceStats):
    senders: list[SenderStats]


class StepStats(Counted):
    step_id: str
    name: str | None


class StepStatsList(Shape):
    items: list[StepStats]


class VariantStats(Counted):
    """``share`` is the mean of what is known of the measure's share, ``interval`` its 95 % credible interval.
    ``earlier`` counts what the variant said before it was changed."""

    variant_id: str
    name: str
    weight: int
    share: float
    interval: list[float]
    probability_best: float
    earlier: Counted | None


class StepVariants(Shape):
    step_id: str
    name: str
    measure: str
    selection: dict[str, Any]
    winner: dict[str, Any] | None
    variants: list[VariantStats]


class VariantStatsList(Shape):
    items: list[StepVariants]


class SequenceSummary(Shape):
    """``type`` and ``estimated_minutes`` (the longest way through the delays) are worked out of the steps. ``status``
    is that of the running version, ``draft_status`` that of what would be the next one."""

    id: str
    sequence_id: str
    name: str
    description: str
    category: str
    audience: str
    type: SequenceType
    owner: str | None
    ai: Badge | None
    creator: Literal["ai", "person"]
    estimated_minutes: int
    status: SequenceStatus
    draft_status: str | None
    deleted: bool
    version: int | None
    has_draft: bool
    steps_count: int
    braked: Braked | None = Field(default=None, description="Set while it has stopped itself.")
    created_at: datetime | None
    created_by: str | None
    updated_at: datetime | None
    stats: SequenceStats


class SequencePage(Shape):
    items: list[SequenceSummary]
    next_cursor: str | None


class PublishedVersion(Shape):
    version: int
    published_at: datetime | None = None


class Sequence(SequenceSummary):
    """``definition`` is the draft if there is one, else the running version."""

    definition: dict[str, Any]
    feedback: str | None
    versions: list[PublishedVersion]
    copied_from: str | None = None


class WaitingFor(Shape):
    kind: str
    until: datetime | None = None
    why: Reason | None = None


class NextStep(Shape):
    step_id: str
    at: datetime | None = None


class NamedWait(WaitingFor):
    why: NamedReason | None = None


class NamedNext(NextStep):
    step_name: str | None = None
    step_number: int | None = None


class EnrollmentSummary(Shape):
    id: str
    lead_id: str
    lead_name: str | None
    sequence_id: str
    sequence_name: str | None
    version: int
    status: EnrollmentStatus
    reason: str | None
    current_step: str | None
    current_step_name: str | None
    waiting_for: WaitingFor | None
    next: NextStep | None
    counts: dict[str, int]
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime | None
    position: str


class Upcoming(Shape):
    """A send that comes, as planned now."""

    enrollment_id: str
    lead_id: str
    lead_name: str | None
    sequence_id: str
    sequence_name: str | None
    step_id: str
    step_name: str | None
    execution: int
    channel: str
    at: datetime
    why: Reason | None
    position: str


class UpcomingPage(Shape):
    items: list[Upcoming]
    next_cursor: str | None


class LoggedAttempt(Shape):
    """``outcome``: sent, deferred, failed, stopped or in_doubt; None while it has not ended."""

    attempt: int
    due_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    error: str | None = None


class LoggedExecution(Shape):
    """``channel`` is None for a step that was passed over. ``opens`` and ``clicks`` are those of people."""

    id: str
    enrollment_id: str
    execution: int
    lead_id: str | None
    lead_name: str | None
    sequence_id: str | None
    sequence_name: str | None
    step_id: str
    step_name: str | None
    channel: str | None
    sender: str | None = None
    variant: str | None = None
    status: str
    attempts: list[LoggedAttempt]
    due_at: datetime | None
    sent_at: datetime | None = None
    error: str | None = None
    answer: str | None = None
    why: Reason | None = None
    opens: int = 0
    clicks: int = 0
    machine_opens: int = 0
    machine_clicks: int = 0
    position: str


class ExecutionPage(Shape):
    items: list[LoggedExecution]
    next_cursor: str | None


class EnrollmentPage(Shape):
    items: list[EnrollmentSummary]
    next_cursor: str | None


class Attempt(Shape):
    """An attempt that ended without a send. ``fault`` is None for a mere wait, ``transient`` for one that counts
    against the retries, ``permanent`` for one that no retry mends."""

    attempt: int
    at: datetime
    reason: str
    fault: Literal["transient", "permanent"] | None = None
    again_at: datetime | None = None


class StatusChange(Shape):
    """Who changed an enrollment, when and why. ``status`` ``advanced`` left it active."""

    status: str
    at: datetime
    by: str
    reason: str | None = None
    why: Reason | None = None


class Execution(Shape):
    """One run of one step. ``tries`` are the attempts that ended without a send."""

    execution: int
    step_id: str | None
    kind: str | None = None
    status: str | None
    attempts: int | None = None
    at: datetime | None = None
    why: Any = None
    dispatch_id: str | None = None
    signals: dict[str, Any] = {}
    tries: list[Attempt] = []


class Enrollment(EnrollmentSummary):
    """Steps are called and numbered as in the enrollment's version."""

    current_step_number: int | None = None
    waiting_for: NamedWait | None
    next: NamedNext | None
    restarts: str | None = Field(default=None, description="The enrollment that this one begins again.")
    changes: list[StatusChange] = []
    steps: list[Execution]


class MailboxItem(Shape):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    to: str
    sender: str = Field(alias="from")
    subject: str
    at: datetime
    lead_id: str | None


class MailboxPage(Shape):
    items: list[MailboxItem]
    next_cursor: str | None


class MailboxMessage(MailboxItem):
    headers: list[list[str]]
    html: str | None
    text: str | None


class Document(BaseModel):
    """A document whose fields are those of its view."""

    model_config = ConfigDict(extra="allow")

    id: str


class DocumentPage(Shape):
    items: list[Document]
    next_cursor: str | None


class AttachmentItem(Shape):
    """``size`` in bytes; ``sha256`` of the file's bytes, in hex."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    added_at: datetime
    added_by: str | None = None


class AttachmentPage(Shape):
    items: list[AttachmentItem]
    next_cursor: str | None


class Items(Shape):
    items: list[dict[str, Any]]


class Findings(Shape):
    """Errors refuse a definition, warnings do not. A field reads ``steps.<step_id>.config.subject``."""

    errors: list[ProblemError]
    warnings: list[ProblemError]


class Created(BaseModel):
    """The result of a change: ids of what it made or touched."""

    model_config = ConfigDict(extra="allow")
