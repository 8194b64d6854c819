"""Organization: a tenant. Settings, members, API keys, senders, suppressions."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from shared.events.definition import Brake, DayOff, Limits, QuietHours, RampUp, Window
from shared.events.message import Command, Event, Instant
from shared.events.patterns import CALENDAR_NAME, CHOSEN_ID, SHA_256, SNIPPET_NAME
from shared.events.why import Why

Role = Literal["admin", "coach", "operator", "viewer"]

MOST_SNIPPET = 20_000
#: What a signal adds to a score, or takes from it.
ScoreChange = Annotated[int, Field(ge=-100, le=100)]


class FoundOrganization(Command):
    """Make an organization; one that exists already is left as it is."""

    TOPIC = "organization.found.v1"
    name: str = Field(min_length=1, max_length=200)
    timezone: str = "UTC"
    postal_address: str = ""


class SetOrganization(Command):
    """Change settings; absent ones stay."""

    TOPIC = "organization.set.v1"
    name: str | None = None
    timezone: str | None = None
    postal_address: str | None = None
    windows: list[Window] | None = None
    quiet_hours: QuietHours | None = None
    limits: Limits | None = None
    score_rules: dict[str, ScoreChange] | None = None
    max_open_enrollments: int | None = Field(default=None, ge=0)  #: of one lead at a time; 0 = as many as there are


class SetCalendar(Command):
    """Days off of everybody (``organization``), a sender (``sender:<id>``) or a coach (``member:<id>``). It replaces
    what was set before. ``holidays`` is a country or a part of one, such as DE or DE-BY.
    """

    TOPIC = "organization.set_calendar.v1"
    calendar: str = Field(pattern=CALENDAR_NAME)
    holidays: str | None = Field(default=None, max_length=16)
    days_off: list[DayOff] = Field(default=[], max_length=500)


class AddMember(Command):
    """``password_hash`` is argon2, made by the caller; the password itself never travels."""

    TOPIC = "organization.add_member.v1"
    member_id: UUID
    email: str = Field(min_length=3, max_length=320)
    name: str = ""
    role: Role
    password_hash: str | None = None


class SetMember(Command):
    TOPIC = "organization.set_member.v1"
    member_id: UUID
    role: Role | None = None
    password_hash: str | None = None
    active: bool | None = None


class IssueApiKey(Command):
    """``secret_hash`` is SHA-256 of the key, hex; the key itself is shown once by the caller."""

    TOPIC = "organization.issue_api_key.v1"
    key_id: UUID
    name: str = Field(min_length=1, max_length=200)
    role: Role
    scopes: list[str] = []
    secret_hash: str = Field(pattern=SHA_256)


class RevokeApiKey(Command):
    TOPIC = "organization.revoke_api_key.v1"
    key_id: UUID


class SetSender(Command):
    """Make or change a sender. ``sender_id`` is a short word, e.g. ``default``. A ramp-up counts from the day it is
    first given."""

    TOPIC = "organization.set_sender.v1"
    sender_id: str = Field(pattern=CHOSEN_ID)
    name: str = Field(max_length=200)
    email: str = Field(min_length=3, max_length=320)
    limits: Limits = Limits()
    active: bool = True
    ramp_up: RampUp | None = None
    brake: Brake = Brake()


class ReleaseSender(Command):
    """A person lets a sender go on that has stopped itself; what was counted until then counts no more."""

    TOPIC = "organization.release_sender.v1"
    sender_id: str


class SetSnippet(Command):
    """A piece of content that messages share, named in them by ``{{ snippets.name }}``. ``html`` None: the text stands
    in HTML too. ``new``: refused where there is one of this name, which only an approver may change."""

    TOPIC = "organization.set_snippet.v1"
    name: str = Field(pattern=SNIPPET_NAME)
    text: str = Field(min_length=1, max_length=MOST_SNIPPET)
    html: str | None = Field(default=None, min_length=1, max_length=MOST_SNIPPET)
    new: bool = False


class RemoveSnippet(Command):
    """Steps that still name it are held until it is there again."""

    TOPIC = "organization.remove_snippet.v1"
    name: str = Field(pattern=SNIPPET_NAME)


class SuppressAddress(Command):
    """``address`` is a full address or ``@domain``."""

    TOPIC = "organization.suppress_address.v1"
    channel: str = "email"
    address: str = Field(min_length=2, max_length=320)
    reason: str = "by_hand"


#: What people do that changes nothing in the log, and must stand in the audit all the same.
Deed = Literal["leads_exported", "person_exported", "dead_letter_requeued", "dead_letter_dropped", "view_rebuilt"]


class RecordDeed(Command):
    """Keep that a member or key is about to do something that leaves no other trace. ``target`` is the lead's, the
    letter's id or the view's name; ``by`` names what was filtered by, never for what."""

    TOPIC = "organization.record_deed.v1"
    deed: Deed
    target: str | None = Field(default=None, max_length=200)
    by: list[str] = Field(default=[], max_length=50)


class UnsuppressAddress(Command):
    TOPIC = "organization.unsuppress_address.v1"
    channel: str = "email"
    address: str = Field(min_length=2, max_length=320)


class OrganizationFounded(Event):
    TOPIC = "organization.founded.v1"
    name: str
    timezone: str
    postal_address: str


class OrganizationSettingsSet(Event):
    TOPIC = "organization.settings_set.v1"
    name: str | None = None
    timezone: str | None = None
    postal_address: str | None = None
    windows: list[Window] | None = None
    quiet_hours: QuietHours | None = None
    limits: Limits | None = None
    score_rules: dict[str, int] | None = None
    max_open_enrollments: int | None = None


class CalendarSet(Event):
    """See SetCalendar; an empty one was cleared."""

    TOPIC = "organization.calendar_set.v1"
    calendar: str
    holidays: str | None = None
    days_off: list[DayOff] = []


class MemberAdded(Event):
    TOPIC = "organization.member_added.v1"
    member_id: UUID
    email: str
    name: str
    role: Role
    password_hash: str | None


class MemberSet(Event):
    TOPIC = "organization.member_set.v1"
    member_id: UUID
    role: Role | None = None
    password_hash: str | None = None
    active: bool | None = None


class ApiKeyIssued(Event):
    TOPIC = "organization.api_key_issued.v1"
    key_id: UUID
    name: str
    role: Role
    scopes: list[str]
    secret_hash: str


class ApiKeyRevoked(Event):
    TOPIC = "organization.api_key_revoked.v1"
    key_id: UUID


class SnippetSet(Event):
    TOPIC = "organization.snippet_set.v1"
    name: str
    text: str
    html: str | None = None


class SnippetRemoved(Event):
    TOPIC = "organization.snippet_removed.v1"
    name: str


class SenderSet(Event):
    """``ramp_from`` is a moment of the ramp-up's first day, a day of the organization's zone."""

    TOPIC = "organization.sender_set.v1"
    sender_id: str
    name: str
    email: str
    limits: Limits
    active: bool
    ramp_up: RampUp | None = None
    ramp_from: Instant | None = None
    brake: Brake = Brake()


class SenderBraked(Event):
    """Its bounces, complaints or volume left their band: nothing more is sent with it until a person releases it.
    ``why`` says which, and what was counted."""

    TOPIC = "organization.sender_braked.v1"
    sender_id: str
    why: Why
    at: Instant


class SenderReleased(Event):
    TOPIC = "organization.sender_released.v1"
    sender_id: str


class AddressSuppressed(Event):
    """``address_hash`` is the organization's keyed hash of the address or of ``@domain``."""

    TOPIC = "organization.address_suppressed.v1"
    channel: str
    address_hash: str
    reason: str
    at: Instant


class DeedRecorded(Event):
    """See RecordDeed."""

    TOPIC = "organization.deed_recorded.v1"
    deed: Deed
    target: str | None = None
    by: list[str] = []


class AddressUnsuppressed(Event):
    TOPIC = "organization.address_unsuppressed.v1"
    channel: str
    address_hash: str
