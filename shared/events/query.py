"""Questions to the reader, and the one form of answer that every request gets."""

from __future__ import annotations

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from shared.events.definition import Intent, SequenceDefinition, StepId
from shared.events.enrollment import MigrateEnrollment, SignalKind
from shared.events.lead import LeadBody
from shared.events.message import Command, Instant, Value


class QueryEventsPage(Command):
    """A page of the log after ``after`` (exclusive), in log order, up to ``limit``. The answer's result:
    ``{"events": [CloudEvent, …], "last": <highest position looked at>, "end": <newest position in the log>}``."""

    TOPIC = "query.events_page.v1"
    after: int = Field(default=0, ge=0)
    up_to: int | None = None
    limit: int = Field(default=500, ge=1, le=5_000)
    partitions: list[int] | None = None
    organization_id: str | None = None


class QueryAggregateEvents(Command):
    """Events of one aggregate; result ``{"events": [CloudEvent, …]}``. Versions count from 1."""

    TOPIC = "query.aggregate_events.v1"
    aggregate_id: UUID
    after_version: int = 0
    up_to_version: int | None = None
    at: Instant | None = None
    limit: int = Field(default=1_000, ge=1, le=5_000)


class QueryEnrollmentState(Command):
    """An enrollment as it was; result is the enrollment document of the API, with the names of steps and in plain words
    what it waits for, plus ``would_do``, what it would have done next, as QueryDryRun answers."""

    TOPIC = "query.enrollment_state.v1"
    enrollment_id: UUID
    at: Instant | None = None
    version: int | None = None


class PlayedSignal(Value):
    """A signal to play into a dry run, ``after_minutes`` its step was sent; ``meeting_booked`` and ``conversion`` name
    no step and count from the start."""

    signal: SignalKind | Literal["meeting_booked", "conversion"]
    step: StepId | None = None
    after_minutes: int = Field(default=60, ge=0, le=5 * 366 * 24 * 60)
    link: str | None = Field(default=None, max_length=4_096)
    intent: Intent | None = None  #: of a reply

    @model_validator(mode="after")
    def _of_a_step(self) -> Self:
        if (self.step is None) != (self.signal in {"meeting_booked", "conversion"}):
            raise ValueError("step must be given, but for meeting_booked and conversion")
        if self.intent is not None and self.signal != "replied":
            raise ValueError("intent belongs to the signal replied")
        return self


class QueryDryRun(Command):
    """What one lead, known or made up, would get from a sequence: of the definition given, else of ``version``, else
    of the draft, else of what runs. Result as ``POST sequences/{id}/test`` answers. ``from_`` None: now."""

    TOPIC = "query.dry_run.v1"
    organization_id: str
    sequence_id: UUID
    lead_id: UUID | None = None
    lead: LeadBody | None = None
    from_: Instant | None = None
    signals: list[PlayedSignal] = []
    version: int | None = None
    definition: SequenceDefinition | None = None


class QueryPreview(Command):
    """One message as a lead would read it. Result ``{"content": {"subject", "html", "text"} | null, "problem",
    "missing"}``. ``variant``: as those get it who drew that."""

    TOPIC = "query.preview.v1"
    organization_id: str
    sequence_id: UUID
    step_id: StepId
    lead_id: UUID | None = None
    lead: LeadBody | None = None
    version: int | None = None
    definition: SequenceDefinition | None = None
    variant: str | None = None


class QueryWhy(Command):
    """Why a lead got a step or did not, or why an enrollment stands where it does: from recorded events alone. Exactly
    one of ``lead_id`` and ``enrollment_id``; ``step_id`` is of ``sequence_id``, or of the enrollment's sequence. Result
    ``{"lead_id", "sequence_id", "step_id", "answers", "items"}``: where each enrollment stands, newest first, or why
    there is none, and the reasons that were recorded, oldest first."""

    TOPIC = "query.why.v1"
    organization_id: str
    lead_id: UUID | None = None
    enrollment_id: UUID | None = None
    sequence_id: UUID | None = None
    step_id: StepId | None = None

    @model_validator(mode="after")
    def _about_one(self) -> Self:
        if (self.lead_id is None) == (self.enrollment_id is None):
            raise ValueError("exactly one of lead_id and enrollment_id must be given")
        if self.step_id is not None and self.lead_id is not None and self.sequence_id is None:
            raise ValueError("a step is one of a sequence: sequence_id must be given too")
        return self


class QueryTestMessage(Command):
    """The message of a step that sends e-mail, ready to be sent to ``to``: of the definition given, else of
    ``version``, else of the draft, else of what runs; with ``variant`` as those get it who drew that. Result
    ``{"step"}``, a DressedStep."""

    TOPIC = "query.test_message.v1"
    organization_id: str
    sequence_id: UUID
    step_id: StepId
    to: str = Field(max_length=320)
    lead_id: UUID | None = None
    lead: LeadBody | None = None
    version: int | None = None
    definition: SequenceDefinition | None = None
    variant: str | None = None


class QueryDefinitionCheck(Command):
    """Is this definition, as it was sent, fit to be saved? Result ``{"errors", "warnings"}``, each
    ``{"field", "problem"}``."""

    TOPIC = "query.definition_check.v1"
    organization_id: str
    definition: dict[str, Any]


class GroupInside(Value):
    """Enrollments that stand alike: at ``step_id`` of ``version`` (None: before the first), or behind it once it is
    ``concluded``; ``done`` are the steps that took effect."""

    version: int
    step_id: str | None
    concluded: bool = False
    done: list[str] = []
    count: int


class QueryMigrationPlan(Command):
    """What becomes of those inside when they move to ``version`` (None: to the draft). Result ``{"version", "errors",
    "moves", "stays", "steps": [{"version", "step_id", "count", "goes", "to_step", "why", "text"}]}``, ``step_id`` and
    ``to_step`` with their ``_name`` and ``_number``; ``why`` is the rule, ``text`` says it in plain words."""

    TOPIC = "query.migration_plan.v1"
    organization_id: str
    sequence_id: UUID
    version: int | None = None
    moves: dict[str, str] = {}
    repeats: bool = False
    groups: list[GroupInside] = Field(max_length=10_000)


class QueryMigration(Command):
    """What an order to migrate would do to one enrollment now. Result ``{"event", "from_step", "to_step", "plan",
    "why"}``, the steps with their ``_name`` and ``_number``, ``why`` with ``names`` and ``text``; ``event`` is None
    when it stays as it is."""

    TOPIC = "query.migration.v1"
    organization_id: str
    order: MigrateEnrollment


class Rates(Value):
    """Shares of sent messages that are opened, clicked and replied to. Who clicks has opened."""

    open: float = Field(default=0.4, ge=0, le=1)
    click: float = Field(default=0.1, ge=0, le=1)
    reply: float = Field(default=0.02, ge=0, le=1)


class QueryStartForecast(Command):
    """Begin a forecast that the gateway has put down as a job: of ``size`` made-up leads, or of the leads named there
    when it is None. ``from_`` None: now."""

    TOPIC = "query.start_forecast.v1"
    organization_id: str
    job_id: str
    sequence_id: UUID
    version: int | None = None
    definition: SequenceDefinition | None = None
    size: int | None = None
    from_: Instant | None = None
    seed: int = 0
    rates: Rates = Rates()


class QueryStartBacktest(Command):
    """Begin a backtest of the past enrollments that the gateway has put down with the job."""

    TOPIC = "query.start_backtest.v1"
    organization_id: str
    job_id: str
    sequence_id: UUID
    version: int | None = None
    definition: SequenceDefinition | None = None


class QueryTimers(Command):
    """Counts of timers; result ``{"waiting", "blocked", "due", "due_by_class", "due_organizations",
    "oldest_due_seconds", "organization": {"waiting", "blocked", "due_by_class"}}``. ``due_organizations`` says how many
    have due timers; the last is about one organization, and left out without it."""

    TOPIC = "query.timers.v1"
    organization_id: str | None = None


class QueryOrganization(Command):
    """Is there such an organization, and has it members? For the first start, before any view exists. Result
    ``{"found": bool, "members": int}``."""

    TOPIC = "query.organization.v1"
    organization_id: str


class Problem(Value):
    """RFC 9457, without ``type``: the gateway adds it from ``code``."""

    code: str
    title: str
    detail: str
    status: int = 422
    errors: list[dict[str, str]] = []


class Answer(Value):
    """Answer to a command or query. ``position`` is ``<partition>-<position>`` of the last event written, None when
    nothing was."""

    ok: bool
    result: dict[str, Any] = {}
    position: str | None = None
    problem: Problem | None = None
