"""Kinds of steps, and what each says in its ``config``: what it sends, whom it waits for, or what it changes.

Texts may hold merge tags. A condition and an appointment, which lean on conditions and delays, stand in
``definition``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from shared.events.free_fields import storable
from shared.events.message import Value
from shared.events.patterns import WEBHOOK_URL, WHATSAPP_LANGUAGE, WHATSAPP_TEMPLATE


class Channel(StrEnum):
    """What carries a message."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    WEBHOOK = "webhook"
    NULL = "null"  #: accepts everything at once; for benchmarks


class StepKind(StrEnum):
    EMAIL = "email"
    EMAIL_MANUAL = "email_manual"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    CALL = "call"
    TASK = "task"
    REMINDER = "reminder"
    SOCIAL = "social"
    NOTE = "note"
    WAIT = "wait"
    CONDITION = "condition"
    WEBHOOK = "webhook"
    SCORE = "score"
    TAG = "tag"
    FIELD = "field"
    APPOINTMENT = "appointment"
    NOTIFICATION = "notification"
    GOAL = "goal"
    EXIT = "exit"


CallOutcome = Literal["connected", "voicemail", "no_answer", "wrong_number"]
CALL_OUTCOMES: tuple[CallOutcome, ...] = ("connected", "voicemail", "no_answer", "wrong_number")
#: What a person's step is called where tasks are listed.
TaskKind = Literal["task", "call", "reminder", "social"]

LONGEST_TEXT = 10_000
#: Files that one e-mail may carry.
MOST_FILES = 10
_HEADER_NAME = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")
_HEADER_VALUE = re.compile(r"^[\t\x20-\x7e\x80-\uffff]{0,4000}$")
#: Set by the dispatcher itself, or about the connection.
RESERVED_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "idempotency-key",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
)


# --- messages ---------------------------------------------------------------------------------------------------------


class MailContent(Value):
    """What an e-mail says. ``html`` or ``text`` must be given. ``thread``: answer in the thread of the previous e-mail
    of this enrollment. ``attachments`` names files of the organization, each once, in the order in which they go."""

    subject: str = Field(min_length=1, max_length=998)
    html: str | None = None
    text: str | None = None
    preheader: str | None = None
    thread: bool = False
    sender: str | None = None
    channel: Literal["email", "null"] = "email"
    attachments: list[UUID] = Field(default=[], max_length=MOST_FILES)

    @field_validator("attachments")
    @classmethod
    def _each_once(cls, named: list[UUID]) -> list[UUID]:
        if len(set(named)) < len(named):
            raise ValueError("each attachment may be named once")
        return named

    @model_validator(mode="after")
    def _some_body(self) -> Self:
        if not (self.html and self.html.strip()) and not (self.text and self.text.strip()):
            raise ValueError("html or text must be given")
        return self


class EmailConfig(MailContent):
    """An e-mail that goes out by itself."""


class SmsConfig(Value):
    """A text message; 1,600 characters are ten parts."""

    text: str = Field(min_length=1, max_length=1_600)
    sender: str | None = None
    channel: Literal["sms", "null"] = "sms"


class WhatsappTemplate(Value):
    """A template approved by the provider; ``parameters`` fill its places in order and may hold merge tags."""

    name: str = Field(pattern=WHATSAPP_TEMPLATE)
    language: str = Field(pattern=WHATSAPP_LANGUAGE)
    parameters: list[Annotated[str, StringConstraints(min_length=1, max_length=1_024)]] = Field(
        default=[], max_length=20
    )


class WhatsappConfig(Value):
    """Exactly one of ``text`` (within a conversation) and ``template`` is given."""

    text: str | None = Field(default=None, min_length=1, max_length=4_096)
    template: WhatsappTemplate | None = None
    sender: str | None = None
    channel: Literal["whatsapp", "null"] = "whatsapp"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.text is None) == (self.template is None):
            raise ValueError("exactly one of text and template must be given")
        return self


def _good_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise ValueError(f"{name[:100]!r} is no header that can be sent")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"{name} is set by the dispatcher itself")
    return headers


class WebhookConfig(Value):
    """A call of another system. Without ``body`` it gets the step and the lead's fields as JSON; merge tags in a JSON
    body are escaped for it. ``url`` is fixed: it holds no merge tags."""

    url: str = Field(pattern=WEBHOOK_URL, max_length=2_000)
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: Annotated[dict[str, str], AfterValidator(_good_headers)] = Field(default={}, max_length=30)
    body: str | None = Field(default=None, max_length=100_000)
    channel: Literal["webhook", "null"] = "webhook"


# --- what waits for a person ------------------------------------------------------------------------------------------


class PersonConfig(Value):
    """What a person is to do, and by when.

    ``due_in_hours`` counts from the moment the step is due. ``assignee`` is a member's id; None, or a member who is
    no longer active, leaves it to the lead's owner, or to anybody. ``overdue`` says what follows when nobody has done
    it ``overdue_after_hours`` after it was to be done: the enrollment waits on, goes on with the next step, or ends.
    """

    due_in_hours: int = Field(default=24, ge=0, le=24 * 365)
    assignee: str | None = Field(default=None, max_length=200)
    overdue: Literal["wait", "continue", "exit"] = "wait"
    overdue_after_hours: int = Field(default=48, ge=0, le=24 * 365)


class TaskConfig(PersonConfig):
    title: str = Field(min_length=1, max_length=300)
    notes: str | None = Field(default=None, max_length=LONGEST_TEXT)


class ReminderConfig(TaskConfig):
    """A task that only reminds."""


class CallRetry(Value):
    """Which outcomes have the call tried again, ``after_hours`` later and at most ``at_most`` times more."""

    on: list[Literal["voicemail", "no_answer"]] = Field(default=["no_answer", "voicemail"], min_length=1)
    after_hours: int = Field(default=24, ge=1, le=24 * 90)
    at_most: int = Field(default=2, ge=1, le=20)


class CallConfig(TaskConfig):
    """Done with one of ``CALL_OUTCOMES``; a wrong number is not messaged any more. ``retry`` None: one try."""

    retry: CallRetry | None = None


class SocialConfig(TaskConfig):
    """A touch by hand in a social network."""

    network: Literal["linkedin", "x", "facebook", "instagram", "xing", "other"] = "linkedin"


class EmailManualConfig(MailContent, PersonConfig):
    """An e-mail that a person approves, edits or rejects; approved, it goes out like any other. ``on_reject``: go on
    with the next step, or end."""

    on_reject: Literal["skip", "exit"] = "skip"


# --- what takes effect at once ----------------------------------------------------------------------------------------


class WaitConfig(Value):
    """A wait is its step's delay and nothing more."""


class NoteConfig(Value):
    """A text in the lead's timeline."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)


class ScoreConfig(Value):
    """``add`` moves the score (0 to 100, cut off at both ends); ``set`` replaces it. Exactly one is given."""

    add: int | None = Field(default=None, ge=-100, le=100)
    set: int | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.add is None) == (self.set is None):
            raise ValueError("exactly one of add and set must be given")
        return self


class TagConfig(Value):
    add: list[str] = []
    remove: list[str] = []

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.add and not self.remove:
            raise ValueError("add or remove must name a tag")
        return self


class FieldConfig(Value):
    """Fields of the lead that get a new value; those left out stay. ``owner`` is a member's id."""

    status: str | None = Field(default=None, min_length=1, max_length=200)
    temperature: str | None = Field(default=None, min_length=1, max_length=200)
    owner: UUID | None = None
    custom_fields: dict[Annotated[str, StringConstraints(min_length=1, max_length=200)], str | int | float | bool] = (
        Field(default={}, max_length=50)
    )

    @field_validator("custom_fields")
    @classmethod
    def _can_be_written(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return storable(fields)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.status is None and self.temperature is None and self.owner is None and not self.custom_fields:
            raise ValueError("at least one field must be given")
        return self


class NotificationConfig(Value):
    """A word to members in the app. ``to`` is ``owner``, ``all`` or a member's id; an owner or member that is missing
    or not active means all."""

    text: str = Field(min_length=1, max_length=2_000)
    to: str = Field(default="owner", min_length=1, max_length=200)


class GoalConfig(Value):
    """The enrollment has reached what it was for. The stop rule ``goal`` decides what follows."""

    name: str = Field(default="goal", min_length=1, max_length=200)


class ExitConfig(Value):
    reason: str = Field(default="exit_step", min_length=1, max_length=200)


#: Config of every kind but condition and appointment.
PLAIN_CONFIGS: dict[StepKind, type[Value]] = {
    StepKind.EMAIL: EmailConfig,
    StepKind.EMAIL_MANUAL: EmailManualConfig,
    StepKind.SMS: SmsConfig,
    StepKind.WHATSAPP: WhatsappConfig,
    StepKind.CALL: CallConfig,
    StepKind.TASK: TaskConfig,
    StepKind.REMINDER: ReminderConfig,
    StepKind.SOCIAL: SocialConfig,
    StepKind.NOTE: NoteConfig,
    StepKind.WAIT: WaitConfig,
    StepKind.WEBHOOK: WebhookConfig,
    StepKind.SCORE: ScoreConfig,
    StepKind.TAG: TagConfig,
    StepKind.FIELD: FieldConfig,
    StepKind.NOTIFICATION: NotificationConfig,
    StepKind.GOAL: GoalConfig,
    StepKind.EXIT: ExitConfig,
}
