"""Lead: a person being nurtured. What funnels say, orders, and what has happened.

``LeadCreated`` and its three sisters are the funnels' messages (exchange ``tendril.leads``); the events made from
them have names of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from shared.events.free_fields import storable
from shared.events.message import Command, Event, Fact, Instant, Pii, PiiMap, PiiTexts, Value
from shared.events.patterns import CURRENCY
from shared.events.why import Why
from shared.ids import MOST_ORGANIZATION, ORGANIZATION

MAX_FIELD = 2_000

#: Lead fields that are not personal and are kept in clear.
PLAIN_FIELDS = ("title", "timezone", "locale", "source", "status", "temperature")
#: Lead fields that are personal; ``custom_fields`` as well.
PERSONAL_FIELDS = ("external_id", "email", "phone", "first_name", "last_name", "company")

#: Lead fields that may be without a value, but for single custom fields.
ClearableField = Literal[
    "external_id", "email", "phone", "first_name", "last_name", "company",
    "title", "timezone", "locale", "source", "status", "temperature",
    "custom_fields",
]  # fmt: skip

Tag = Annotated[str, Field(min_length=1, max_length=200)]


#: Of a schema whose unknown fields are kept.
OPEN: JsonDict = {"additionalProperties": True}


class LeadBody(Value):
    """A lead as a funnel or a person sends it. Absent fields stay as they are; unknown fields go to
    ``custom_fields``."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=OPEN)

    external_id: str | None = Field(default=None, min_length=1, max_length=200)
    email: str | None = Field(default=None, max_length=320)
    phone: str | None = Field(default=None, max_length=40)
    first_name: str | None = Field(default=None, max_length=MAX_FIELD)
    last_name: str | None = Field(default=None, max_length=MAX_FIELD)
    company: str | None = Field(default=None, max_length=MAX_FIELD)
    title: str | None = Field(default=None, max_length=MAX_FIELD)
    timezone: str | None = Field(default=None, max_length=64)
    locale: str | None = Field(default=None, max_length=35)
    score: int | None = Field(default=None, ge=0, le=100)
    source: str | None = Field(default=None, max_length=MAX_FIELD)
    status: str | None = Field(default=None, max_length=MAX_FIELD)
    temperature: str | None = Field(default=None, max_length=MAX_FIELD)
    tags: list[str] | None = Field(default=None, max_length=200)
    custom_fields: dict[str, Any] | None = None
    consent: dict[Literal["email", "sms", "whatsapp", "open_tracking"], bool] | None = None

    @model_validator(mode="before")
    @classmethod
    def _keep_unknown_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        unknown = {key: value for key, value in data.items() if key not in cls.model_fields}
        if not unknown:
            return data
        known = {key: value for key, value in data.items() if key in cls.model_fields}
        custom = known.get("custom_fields") or {}
        return {**known, "custom_fields": {**unknown, **custom} if isinstance(custom, dict) else custom}

    @field_validator("custom_fields")
    @classmethod
    def _can_be_written(cls, fields: dict[str, Any] | None) -> dict[str, Any] | None:
        return storable(fields)


def with_unknown_fields_in_lead(data: Any, fields: Collection[str]) -> Any:
    """Fields beside ``lead`` that nobody knows are kept with the lead's custom fields."""
    if not isinstance(data, dict) or not isinstance(data.get("lead"), dict):
        return data
    unknown = {key: value for key, value in data.items() if key not in fields}
    if not unknown:
        return data
    known = {key: value for key, value in data.items() if key in fields}
    return {**known, "lead": {**unknown, **data["lead"]}}


class InboundLead(Fact):
    """Common body of the funnels' messages. ``occurred_at`` decides between messages that come out of order; None
    means on arrival."""

    organization_id: str = Field(min_length=1, max_length=MOST_ORGANIZATION, pattern=ORGANIZATION)
    funnel_id: str | None = Field(default=None, max_length=200)
    occurred_at: Instant | None = None
    lead: LeadBody

    @model_validator(mode="before")
    @classmethod
    def _keep_unknown_fields(cls, data: Any) -> Any:
        return with_unknown_fields_in_lead(data, cls.model_fields)


class LeadCreated(InboundLead):
    """Needs an e-mail or a phone."""

    TOPIC = "lead.created.v1"

    @model_validator(mode="after")
    def _reachable(self) -> LeadCreated:
        if not self.lead.email and not self.lead.phone:
            raise ValueError("one of lead.email and lead.phone is required")
        return self


class _Known(InboundLead):
    @model_validator(mode="after")
    def _identified(self) -> _Known:
        if not self.lead.email and not self.lead.phone and not self.lead.external_id:
            raise ValueError("one of lead.external_id, lead.email and lead.phone is required")
        return self


class LeadUpdated(_Known):
    TOPIC = "lead.updated.v1"


class LeadConverted(_Known):
    TOPIC = "lead.converted.v1"
    value: float | None = Field(default=None, ge=0)
    currency: str | None = Field(default=None, pattern=CURRENCY)


class MeetingBooked(_Known):
    TOPIC = "lead.meeting_booked.v1"
    at: Instant | None = None
    place: str | None = Field(default=None, max_length=MAX_FIELD)


#: Routing key on ``tendril.leads`` -> class of its body.
INBOUND_BY_ROUTING_KEY: dict[str, type[InboundLead]] = {
    "lead.created": LeadCreated,
    "lead.updated": LeadUpdated,
    "lead.converted": LeadConverted,
    "meeting.booked": MeetingBooked,
}


# --- orders ---------------------------------------------------------------------------------------------------------


class EditLead(Command):
    """A member changes a lead's fields by hand; absent ones stay. ``tags`` replace those there were. ``clear`` names
    fields that have no value from now on, ``clear_custom`` custom fields."""

    TOPIC = "lead.edit.v1"
    lead_id: UUID
    lead: LeadBody
    clear: list[ClearableField] = []
    clear_custom: list[str] = []


class SetLeadStatus(Command):
    """``status`` None: none any more."""

    TOPIC = "lead.set_status.v1"
    lead_id: UUID
    status: str | None = Field(min_length=1, max_length=MAX_FIELD)


class TagLead(Command):
    TOPIC = "lead.tag.v1"
    lead_id: UUID
    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)


class ScoreLead(Command):
    TOPIC = "lead.score.v1"
    lead_id: UUID
    add: int | None = Field(default=None, ge=-100, le=100)
    set: int | None = Field(default=None, ge=0, le=100)
    why: str = Field(default="by_hand", min_length=1, max_length=200)


class ConvertLead(Command):
    """A member says that the lead converted. ``at`` None: just now."""

    TOPIC = "lead.convert.v1"
    lead_id: UUID
    value: float | None = Field(default=None, ge=0, le=1e15)
    currency: str | None = Field(default=None, pattern=CURRENCY)
    at: Instant | None = None


class AssignLead(Command):
    """``owner`` is a member's id; None: nobody's."""

    TOPIC = "lead.assign.v1"
    lead_id: UUID
    owner: UUID | None


class EraseLead(Command):
    """Forget a person: the key is deleted, everything still running stops."""

    TOPIC = "lead.erase.v1"
    lead_id: UUID


# --- what has happened ------------------------------------------------------------------------------------------------


class LeadCaptured(Event):
    """A lead is known for the first time. ``stamps`` holds, per field, the moment its value was true (for messages
    out of order)."""

    TOPIC = "lead.captured.v1"
    funnel_id: str | None = None
    external_id: Pii = None
    email: Pii = None
    phone: Pii = None
    first_name: Pii = None
    last_name: Pii = None
    company: Pii = None
    custom_fields: PiiMap = None
    title: str | None = None
    timezone: str | None = None
    locale: str | None = None
    source: str | None = None
    status: str | None = None
    temperature: str | None = None
    score: int = 0
    score_given: bool = False  #: tells a score of 0 from none
    tags: list[str] = []
    consent: dict[str, bool] = {}
    occurred_at: Instant


class LeadDetailsMerged(Event):
    """Fields that won by the latest ``occurred_at``; what is None here stayed as it was, but for those ``cleared``,
    which have no value from now on. ``custom_fields`` holds only changed ones, ``cleared_custom`` the names of those
    that are gone."""

    TOPIC = "lead.details_merged.v1"
    funnel_id: str | None = None
    external_id: Pii = None
    email: Pii = None
    phone: Pii = None
    first_name: Pii = None
    last_name: Pii = None
    company: Pii = None
    custom_fields: PiiMap = None
    title: str | None = None
    timezone: str | None = None
    locale: str | None = None
    source: str | None = None
    status: str | None = None
    temperature: str | None = None
    consent: dict[str, bool] = {}
    cleared: list[str] = []
    cleared_custom: PiiTexts = None
    occurred_at: Instant
    why: Why | None = None


class LeadIdentityClashed(Event):
    """Two identities of one message name two leads; the external id won and nothing was merged."""

    TOPIC = "lead.identity_clashed.v1"
    other_lead_id: UUID
    kinds: list[Literal["external_id", "email", "phone"]]


class LeadMatched(Event):
    """Which sequence was chosen, and why; ``refused`` says, per sequence not chosen, by which rule."""

    TOPIC = "lead.matched.v1"
    sequence_id: UUID
    version: int
    why: Why
    refused: dict[str, Why] = {}


class LeadNotMatched(Event):
    """No sequence took the lead. ``why`` holds the reason; ``refused`` the rule per sequence. ``score_reached``: its
    score has crossed thresholds of the sequences in ``refused``, which it did not come into; of others nothing is said
    then."""

    TOPIC = "lead.not_matched.v1"
    why: Why
    refused: dict[str, Why] = {}
    on: Literal["created", "score_reached"] = "created"


class LeadNotEnrolled(Event):
    """An order to enrol the lead, ``by`` ``hand`` or ``bulk``, was refused for the rule in ``why``. Of a lead that is
    in the sequence already nothing is recorded."""

    TOPIC = "lead.not_enrolled.v1"
    sequence_id: UUID
    by: str
    bulk_id: UUID | None = None
    why: Why


class LeadScored(Event):
    TOPIC = "lead.scored.v1"
    before: int
    after: int
    why: Why


class LeadTagged(Event):
    TOPIC = "lead.tagged.v1"
    added: list[str] = []
    removed: list[str] = []
    why: Why | None = None


class LeadAssigned(Event):
    """``owner`` is a member's id; None: nobody's."""

    TOPIC = "lead.assigned.v1"
    owner: str | None
    why: Why | None = None


class LeadUnsubscribed(Event):
    """No more messages on ``channel``. ``sequence_id`` narrows it to one sequence. ``address_hash``: the organization's
    keyed hash of the address that is suppressed by it, for whoever has it; None when it was suppressed already, when
    there is none, and for one sequence. Where a message led to it, ``step_id``, ``sender``, ``variant`` and ``content``
    are that message's, for their figures; events older than these fields lack them."""

    TOPIC = "lead.unsubscribed.v1"
    channel: str
    sequence_id: UUID | None = None
    enrollment_id: UUID | None = None
    execution: int | None = None
    step_id: str | None = None
    sender: str | None = None
    variant: str | None = None
    content: str | None = None
    at: Instant
    source: str  #: ``link``, ``one_click``, ``reply``, ``sms_stop``, ``by_hand``
    address_hash: str | None = None


class LeadResubscribed(Event):
    """An explicit later opt-in. ``address_hash``: the address that an unsubscribe had suppressed and that may be sent
    to again; None when none was."""

    TOPIC = "lead.resubscribed.v1"
    channel: str
    at: Instant
    source: str
    address_hash: str | None = None


class LeadAddressSuppressed(Event):
    """The address must not be sent to: a hard bounce, a complaint, a wrong number, or the unsubscribe of a lead that is
    erased. ``address_hash`` is the organization's keyed hash."""

    TOPIC = "lead.address_suppressed.v1"
    channel: str
    address_hash: str
    reason: Literal["bounce", "complaint", "by_hand", "wrong_number", "unsubscribed"]
    at: Instant


class LeadBookedMeeting(Event):
    TOPIC = "lead.booked_meeting.v1"
    at: Instant | None = None
    place: Pii = None
    occurred_at: Instant


class LeadWon(Event):
    """The lead converted."""

    TOPIC = "lead.won.v1"
    value: float | None = None
    currency: str | None = None
    occurred_at: Instant


class LeadReplied(Event):
    """A message from the lead, with its text as received (quotes stripped into ``text``)."""

    TOPIC = "lead.replied.v1"
    channel: str
    enrollment_id: UUID | None = None
    execution: int | None = None
    subject: Pii = None
    text: Pii = None
    at: Instant


class LeadWentAway(Event):
    """An automatic answer named the day on which the lead is back; until then no message goes out."""

    TOPIC = "lead.went_away.v1"
    returns_on: date
    enrollment_id: UUID
    execution: int
    at: Instant


class LeadJoinedSequence(Event):
    """The lead's own record of an enrollment that opened: duplicates and re-enrolment are decided on it."""

    TOPIC = "lead.joined_sequence.v1"
    enrollment_id: UUID
    sequence_id: UUID
    version: int


class LeadLeftSequence(Event):
    """An enrollment of the lead ended. ``how``: ``completed`` or ``exited``."""

    TOPIC = "lead.left_sequence.v1"
    enrollment_id: UUID
    sequence_id: UUID
    how: Literal["completed", "exited"]
    reason: str | None = None


class LeadErased(Event):
    """The lead's key is deleted: every personal field in the log reads None from now on."""

    TOPIC = "lead.erased.v1"
