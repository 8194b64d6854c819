"""Organization: a tenant. State and decisions about settings, members, API keys, senders and suppressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.enrollment.domain.attachments import Attachment, attachments_after
from services.enrollment.domain.calendars import EVERYBODY, Calendar, calendar, of_sender
from services.enrollment.domain.errors import InvalidSettings, LastAdmin, MemberExists, UnknownTarget
from services.enrollment.domain.snippets import Snippet, snippets_after
from services.enrollment.domain.templates import templates_after
from services.enrollment.domain.windows import (
    NONE_PASSED,
    QUIET_CHANNELS,
    Hours,
    Passed,
    days_off,
    hours_around,
    zone_named,
)
from shared.events.attachment import AttachmentAdded, AttachmentRemoved
from shared.events.definition import Brake, Limits, QuietHours, RampUp, Window
from shared.events.message import Event
from shared.events.organization import (
    AddMember,
    AddressSuppressed,
    AddressUnsuppressed,
    ApiKeyIssued,
    ApiKeyRevoked,
    CalendarSet,
    DeedRecorded,
    FoundOrganization,
    IssueApiKey,
    MemberAdded,
    MemberSet,
    OrganizationFounded,
    OrganizationSettingsSet,
    RecordDeed,
    ReleaseSender,
    Role,
    SenderBraked,
    SenderReleased,
    SenderSet,
    SetCalendar,
    SetMember,
    SetOrganization,
    SetSender,
    SnippetRemoved,
    SnippetSet,
)
from shared.events.template import TemplateRemoved, TemplateSaved
from shared.events.why import Why

#: What a signal adds to a lead's score where the organization says nothing else.
DEFAULT_SCORE_RULES: Mapping[str, int] = {"opened": 5, "clicked": 10, "replied": 20}
DEFAULT_SENDER = "default"
#: A year in which every country that is known has holidays.
HOLIDAY_YEAR = 2026
NO_LIMITS = Limits()
_PLAIN_SETTINGS = ("name", "timezone", "postal_address", "limits", "score_rules", "max_open_enrollments")
QUIET_HOURS = QuietHours()
LOUD_HOURS = hours_around(QUIET_HOURS)
DEFAULT_BRAKE = Brake()


@dataclass(frozen=True, slots=True)
class Member:
    member_id: UUID
    email: str
    name: str
    role: Role
    active: bool = True
    password_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    key_id: UUID
    name: str
    role: Role
    scopes: tuple[str, ...]
    secret_hash: str
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class SenderAccount:
    sender_id: str
    name: str
    email: str
    limits: Limits
    active: bool
    ramp_up: RampUp | None = None
    ramp_from: datetime | None = None  #: a moment of the ramp-up's first day; None without one
    brake: Brake = DEFAULT_BRAKE
    braked: Why | None = None  #: why it has stopped itself
    releases: int = 0  #: how often a person let it go on


@dataclass(frozen=True, slots=True)
class Organization:
    """``id`` is the short word of the tenant. ``hours`` is compiled from ``windows``, None when any hour will do;
    ``loud_hours`` from ``quiet_hours``. ``calendars`` are days off by whose they are.
    """

    id: str
    name: str = ""
    timezone: str = "UTC"
    postal_address: str = ""
    windows: tuple[Window, ...] = ()
    hours: Hours | None = None
    quiet_hours: QuietHours = QUIET_HOURS
    loud_hours: Hours | None = LOUD_HOURS
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    limits: Limits = NO_LIMITS
    score_rules: Mapping[str, int] = field(default_factory=dict)
    max_open_enrollments: int = 0  #: of one lead at a time; 0 = as many as there are
    members: Mapping[UUID, Member] = field(default_factory=dict)
    api_keys: Mapping[UUID, ApiKey] = field(default_factory=dict)
    senders: Mapping[str, SenderAccount] = field(default_factory=dict)
    suppressed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    snippets: Mapping[str, Snippet] = field(default_factory=dict)
    templates: frozenset[UUID] = frozenset()
    attachments: Mapping[UUID, Attachment] = field(default_factory=dict)  #: removed ones too

    def sender_for(self, asked: str | None) -> SenderAccount | None:
        """The active sender a step asks for by name; without a name ``default``, else the first by name. None when
        there is none.
        """
        if asked is not None:
            named = self.senders.get(asked)
            return named if named is not None and named.active else None
        preferred = self.senders.get(DEFAULT_SENDER)
        if preferred is not None and preferred.active:
            return preferred
        return next((each for _, each in sorted(self.senders.items()) if each.active), None)

    def hours_for(self, sender: str | None, passed: Passed = NONE_PASSED) -> list[Hours]:
        """Every rule about hours for a message that is not ``passed``, but for quiet hours; ``sender`` is what its step
        asks for."""
        found = [] if self.hours is None or "window" in passed else [self.hours]
        if self.calendars and "day_off" not in passed:
            account = self.sender_for(sender)
            names = (EVERYBODY,) if account is None else (EVERYBODY, of_sender(account.sender_id))
            found += [known.hours for name in names if (known := self.calendars.get(name)) is not None]
        return found

    def calendars_of(self, *names: str) -> list[Calendar]:
        """Those of these calendars that there are, and everybody's."""
        return [known for name in (EVERYBODY, *names) if (known := self.calendars.get(name)) is not None]

    def loud_hours_for(self, channel: str) -> Hours | None:
        """When a channel may ring; None for any hour."""
        return self.loud_hours if channel in QUIET_CHANNELS else None

    def score_for(self, signal: str) -> int:
        """What a signal adds to a lead's score."""
        return self.score_rules.get(signal, DEFAULT_SCORE_RULES.get(signal, 0))


def initial(organization_id: str) -> Organization:
    return Organization(organization_id)


def _settings(state: Organization, event: OrganizationSettingsSet) -> Organization:
    changes = {name: value for name in _PLAIN_SETTINGS if (value := getattr(event, name)) is not None}
    if event.windows is not None:
        changes["windows"] = tuple(event.windows)
        changes["hours"] = Hours(event.windows) if event.windows else None
    if event.quiet_hours is not None:
        changes["quiet_hours"] = event.quiet_hours
        changes["loud_hours"] = hours_around(event.quiet_hours)
    return replace(state, **changes)


def _member(state: Organization, event: MemberSet) -> Organization:
    member = state.members.get(event.member_id)
    if member is None:
        return state
    changes = {
        name: value for name in ("role", "password_hash", "active") if (value := getattr(event, name)) is not None
    }
    return replace(state, members={**state.members, event.member_id: replace(member, **changes)})


def _revoked(state: Organization, event: ApiKeyRevoked) -> Organization:
    known = state.api_keys.get(event.key_id)
    if known is None:
        return state
    return replace(state, api_keys={**state.api_keys, event.key_id: replace(known, revoked=True)})


def _calendars(state: Organization, event: CalendarSet) -> dict[str, Calendar]:
    calendars = {name: known for name, known in state.calendars.items() if name != event.calendar}
    if event.holidays is not None or event.days_off:
        calendars[event.calendar] = calendar(event.holidays, event.days_off)
    return calendars


def _sender(state: Organization, event: SenderSet | SenderBraked | SenderReleased) -> Organization:
    known = state.senders.get(event.sender_id)
    if isinstance(event, SenderSet):
        account = _account(known, event, event.ramp_from)
    elif known is None:
        return state
    elif isinstance(event, SenderBraked):
        account = replace(known, braked=event.why)
    else:
        account = replace(known, braked=None, releases=known.releases + 1)
    return replace(state, senders={**state.senders, account.sender_id: account})


Kept = SnippetSet | SnippetRemoved | TemplateSaved | TemplateRemoved | AttachmentAdded | AttachmentRemoved


def _kept(state: Organization, event: Kept) -> Organization:
    """What is kept to be used again."""
    if isinstance(event, SnippetSet | SnippetRemoved):
        return replace(state, snippets=snippets_after(state.snippets, event))
    if isinstance(event, AttachmentAdded | AttachmentRemoved):
        return replace(state, attachments=attachments_after(state.attachments, event))
    return replace(state, templates=templates_after(state.templates, event))


def evolve(state: Organization, event: Event, _at: datetime) -> Organization:
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case OrganizationFounded():
            state = replace(state, name=event.name, timezone=event.timezone, postal_address=event.postal_address)
        case OrganizationSettingsSet():
            state = _settings(state, event)
        case CalendarSet():
            state = replace(state, calendars=_calendars(state, event))
        case MemberAdded():
            member = Member(event.member_id, event.email, event.name, event.role, password_hash=event.password_hash)
            state = replace(state, members={**state.members, event.member_id: member})
        case MemberSet():
            state = _member(state, event)
        case ApiKeyIssued():
            key = ApiKey(event.key_id, event.name, event.role, tuple(event.scopes), event.secret_hash)
            state = replace(state, api_keys={**state.api_keys, event.key_id: key})
        case ApiKeyRevoked():
            state = _revoked(state, event)
        case SenderSet() | SenderBraked() | SenderReleased():
            state = _sender(state, event)
        case _ if isinstance(event, Kept):
            state = _kept(state, event)
        case AddressSuppressed():
            state = replace(state, suppressed={**state.suppressed, (event.channel, event.address_hash): event.reason})
        case AddressUnsuppressed():
            left = {
                key: reason for key, reason in state.suppressed.items() if key != (event.channel, event.address_hash)
            }
            state = replace(state, suppressed=left)
    return state


def found(state: Organization | None, command: FoundOrganization) -> Iterator[Event]:
    """Raises InvalidSettings for an unknown zone."""
    _known_zone(command.timezone)
    if state is None:
        yield OrganizationFounded(name=command.name, timezone=command.timezone, postal_address=command.postal_address)


def set_organization(state: Organization, command: SetOrganization) -> Iterator[Event]:
    """Raises InvalidSettings. Only what changes is recorded."""
    if command.timezone is not None:
        _known_zone(command.timezone)
    if command.windows and not any(window.days for window in command.windows):
        raise InvalidSettings(errors=[{"field": "windows", "problem": "must name at least one day"}])
    changed = {
        name: value
        for name in (*_PLAIN_SETTINGS, "quiet_hours")
        if (value := getattr(command, name)) is not None and value != getattr(state, name)
    }
    if command.windows is not None and tuple(command.windows) != state.windows:
        changed["windows"] = command.windows
    if changed:
        yield OrganizationSettingsSet(**changed)


def add_member(state: Organization, command: AddMember) -> Iterator[Event]:
    """Raises MemberExists when another member has the address."""
    email = command.email.strip().casefold()
    if command.member_id in state.members:
        if state.members[command.member_id].email != email:
            raise MemberExists(f"member {command.member_id} has another address")
        return
    if any(member.email == email for member in state.members.values()):
        raise MemberExists("another member has this address", errors=[{"field": "email", "problem": "is taken"}])
    yield MemberAdded(
        member_id=command.member_id,
        email=email,
        name=command.name,
        role=command.role,
        password_hash=command.password_hash,
    )


def set_member(state: Organization, command: SetMember) -> Iterator[Event]:
    """Raises UnknownTarget, or LastAdmin when nobody could administer any more."""
    member = state.members.get(command.member_id)
    if member is None:
        raise UnknownTarget("member", command.member_id)
    changed = {
        name: value
        for name in ("role", "password_hash", "active")
        if (value := getattr(command, name)) is not None and value != getattr(member, name)
    }
    if not changed:
        return
    after = replace(member, **changed)
    was_admin = member.role == "admin" and member.active
    if was_admin and not (after.role == "admin" and after.active):
        others = (each for each in state.members.values() if each.member_id != member.member_id)
        if not any(each.role == "admin" and each.active for each in others):
            raise LastAdmin("make another member admin first")
    yield MemberSet(member_id=command.member_id, **changed)


def record_deed(command: RecordDeed) -> Iterator[Event]:
    """Whoever does it again is recorded again."""
    yield DeedRecorded(deed=command.deed, target=command.target, by=command.by)


def set_calendar(state: Organization, command: SetCalendar) -> Iterator[Event]:
    """Raises UnknownTarget for a sender or member that there is not, InvalidSettings."""
    kind, _, name = command.calendar.partition(":")
    if kind == "sender" and name not in state.senders:
        raise UnknownTarget("sender", name)
    if kind == "member" and name not in {str(member_id) for member_id in state.members}:
        raise UnknownTarget("member", name)
    if command.holidays is not None and not days_off(command.holidays, HOLIDAY_YEAR):
        raise InvalidSettings(
            f"no holidays are known for {command.holidays}",
            errors=[{"field": "holidays", "problem": "must be a country such as DE, or a part of one such as DE-BY"}],
        )
    known = state.calendars.get(command.calendar)
    before = (known.holidays, list(known.days_off)) if known is not None else (None, [])
    if before != (command.holidays, command.days_off):
        yield CalendarSet(calendar=command.calendar, holidays=command.holidays, days_off=command.days_off)


def issue_api_key(state: Organization, command: IssueApiKey) -> Iterator[Event]:
    if command.key_id not in state.api_keys:
        yield ApiKeyIssued(
            key_id=command.key_id,
            name=command.name,
            role=command.role,
            scopes=command.scopes,
            secret_hash=command.secret_hash,
        )


def revoke_api_key(state: Organization, key_id: UUID) -> Iterator[Event]:
    """Raises UnknownTarget."""
    key = state.api_keys.get(key_id)
    if key is None:
        raise UnknownTarget("API key", key_id)
    if not key.revoked:
        yield ApiKeyRevoked(key_id=key_id)


def set_sender(state: Organization, command: SetSender, now: datetime) -> Iterator[Event]:
    """Raises InvalidSettings for a ramp-up without the limit it leads to."""
    if command.ramp_up is not None and command.limits.per_day is None:
        raise InvalidSettings(
            "a ramp-up needs the daily limit it leads to",
            errors=[{"field": "limits.per_day", "problem": "must say where the ramp-up ends"}],
        )
    known = state.senders.get(command.sender_id)
    ramp_from = None
    if command.ramp_up is not None:
        ramp_from = known.ramp_from if known is not None and known.ramp_from is not None else now
    if known != _account(known, command, ramp_from):
        yield SenderSet(
            sender_id=command.sender_id,
            name=command.name,
            email=command.email,
            limits=command.limits,
            active=command.active,
            ramp_up=command.ramp_up,
            ramp_from=ramp_from,
            brake=command.brake,
        )


def changes_hours(event: Event) -> bool:
    """Does what waits have to be planned again? A coach's calendar moves tasks only, and those when they are made."""
    match event:
        case OrganizationSettingsSet():
            return event.windows is not None or event.quiet_hours is not None or event.timezone is not None
        case CalendarSet():
            return not event.calendar.startswith("member:")
        case _:
            return False


def loosens_limits(before: Organization | None, event: Event, at: datetime) -> bool:
    """May more go out from now on than what waits was planned with? ``before``: the organization without the event.

    What is switched off loosens nothing, unless another sender takes over; all it said meanwhile counts when it is
    switched on again.
    """
    match event:
        case OrganizationSettingsSet(limits=Limits() as limits):
            return before is not None and _looser(before.limits, limits)
        case SenderSet():
            if before is None:
                return False
            preferred = _preferred(evolve(before, event, at))
            if preferred is not None and preferred != _preferred(before):
                return True
            known = before.senders.get(event.sender_id)
            if known is None or not event.active:
                return False
            ramp = (event.ramp_up, event.ramp_from)
            ramps_otherwise = known.ramp_up is not None and (known.ramp_up, known.ramp_from) != ramp
            return not known.active or ramps_otherwise or _looser(known.limits, event.limits)
        case _:
            return False


def _looser(before: Limits, after: Limits) -> bool:
    pairs = ((before.per_day, after.per_day), (before.per_minute, after.per_minute))
    return any(old is not None and (new is None or new > old) for old, new in pairs)


def _preferred(state: Organization) -> str | None:
    """Whose limits hold for a step that asks for no sender."""
    account = state.sender_for(None)
    return account.sender_id if account is not None else None


def release_sender(state: Organization, command: ReleaseSender) -> Iterator[Event]:
    """Raises UnknownTarget."""
    known = state.senders.get(command.sender_id)
    if known is None:
        raise UnknownTarget("sender", command.sender_id)
    if known.braked is not None:
        yield SenderReleased(sender_id=command.sender_id)


def _account(known: SenderAccount | None, said: SetSender | SenderSet, ramp_from: datetime | None) -> SenderAccount:
    """A sender as it is said to be; a brake that is on stays on."""
    return SenderAccount(
        said.sender_id,
        said.name,
        said.email,
        said.limits,
        said.active,
        said.ramp_up,
        ramp_from,
        said.brake,
        braked=known.braked if known is not None else None,
        releases=known.releases if known is not None else 0,
    )


def suppress(state: Organization, channel: str, address_hash: str, reason: str, now: datetime) -> Iterator[Event]:
    if (channel, address_hash) not in state.suppressed:
        yield AddressSuppressed(channel=channel, address_hash=address_hash, reason=reason, at=now)


def unsuppress(state: Organization, channel: str, address_hash: str, known: str | None) -> Iterator[Event]:
    """``known`` is the reason the suppression list gives (it also holds what leads' bounces added); None when it has
    no such entry.
    """
    if (channel, address_hash) in state.suppressed or known is not None:
        yield AddressUnsuppressed(channel=channel, address_hash=address_hash)


def _known_zone(name: str) -> None:
    if zone_named(name) is None:
        raise InvalidSettings(
            f"{name} is no time zone", errors=[{"field": "timezone", "problem": "must be a name of the tz database"}]
        )
