"""Lead: the state, folded from its events. Orders and facts are decided in ``lead_orders`` and ``inbound``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from services.enrollment.domain.frozen import replace
from shared.events.lead import (
    PERSONAL_FIELDS,
    PLAIN_FIELDS,
    LeadAddressSuppressed,
    LeadAssigned,
    LeadBookedMeeting,
    LeadCaptured,
    LeadDetailsMerged,
    LeadErased,
    LeadIdentityClashed,
    LeadJoinedSequence,
    LeadLeftSequence,
    LeadMatched,
    LeadNotMatched,
    LeadResubscribed,
    LeadScored,
    LeadTagged,
    LeadUnsubscribed,
    LeadWentAway,
    LeadWon,
)
from shared.events.message import Event
from shared.events.why import Why

FIELDS = (*PERSONAL_FIELDS, *PLAIN_FIELDS)
#: The address a channel sends to. The null channel stands in for e-mail.
ADDRESS_FIELD = {"email": "email", "null": "email", "sms": "phone", "whatsapp": "phone"}
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
#: The rule of a lead that unsubscribed, and the reason for which the address of one is suppressed.
UNSUBSCRIBED: Literal["unsubscribed"] = "unsubscribed"


def contact_channel(channel: str) -> str:
    """The channel whose consent, unsubscribes and suppressions apply: those of e-mail for the null channel."""
    return "email" if channel == "null" else channel


class Membership(NamedTuple):
    """An enrollment of the lead. ``ended_at`` is None while it is open."""

    sequence_id: UUID
    version: int
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Lead:
    """A person being nurtured. ``stamps`` holds, per field, since when its value is known to be true
    (``custom.<name>`` and ``consent.<channel>`` too). No moment in it is later than the event that told of it: a clock
    that is ahead wins over no later word.
    """

    id: UUID
    organization_id: str
    external_id: str | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    title: str | None = None
    timezone: str | None = None
    locale: str | None = None
    source: str | None = None
    status: str | None = None
    temperature: str | None = None
    owner: str | None = None  #: a member's id
    score: int = 0
    tags: frozenset[str] = frozenset()
    custom_fields: Mapping[str, Any] = field(default_factory=dict)
    consent: Mapping[str, bool] = field(default_factory=dict)
    stamps: Mapping[str, datetime] = field(default_factory=dict)
    funnels: frozenset[str] = frozenset()
    unsubscribed: Mapping[str, datetime] = field(default_factory=dict)
    unsubscribed_sequences: frozenset[tuple[str, UUID]] = frozenset()
    enrollments: Mapping[UUID, Membership] = field(default_factory=dict)
    unmatched: Why | None = None
    judged: bool = False  #: matching has been done for a ``lead.created``
    clashes: frozenset[tuple[UUID, str]] = frozenset()
    won: frozenset[datetime] = frozenset()
    won_at: datetime | None = None
    meetings: frozenset[datetime] = frozenset()
    met_at: datetime | None = None
    suppressed: frozenset[tuple[str, str]] = frozenset()
    away_until: date | None = None  #: the day the lead is back, as an automatic answer said
    erased: bool = False

    @property
    def open_enrollments(self) -> list[UUID]:
        return [each for each, membership in self.enrollments.items() if membership.ended_at is None]

    def memberships(self, sequence_id: UUID) -> list[Membership]:
        """Every enrollment in a sequence, oldest first."""
        return [each for each in self.enrollments.values() if each.sequence_id == sequence_id]

    def address(self, channel: str) -> str | None:
        """Where a channel reaches the lead; None when it cannot."""
        name = ADDRESS_FIELD.get(channel)
        if name == "email":
            return self.email
        return self.phone if name == "phone" else None


_BLANK = Lead(UUID(int=0), "")


def initial(lead_id: UUID, organization_id: str) -> Lead:
    """A lead without events. Its empty mappings are shared: no state is changed in place."""
    return replace(_BLANK, id=lead_id, organization_id=organization_id)


def _captured(state: Lead, event: LeadCaptured, at: datetime) -> Lead:
    values = {name: getattr(event, name) for name in FIELDS}
    custom = dict(event.custom_fields or {})
    since = min(event.occurred_at, at)
    stamps = {name: since for name, value in values.items() if value is not None}
    if event.score or event.score_given:  # none given reads 0: any word about it counts
        stamps["score"] = since
    stamps.update({f"custom.{name}": since for name in custom})
    stamps.update({f"consent.{channel}": since for channel in event.consent})
    return replace(
        state,
        **values,
        score=event.score,
        tags=frozenset(event.tags),
        custom_fields=custom,
        consent=dict(event.consent),
        stamps=stamps,
        funnels=frozenset([event.funnel_id]) if event.funnel_id else state.funnels,
    )


def _merged(state: Lead, event: LeadDetailsMerged, at: datetime) -> Lead:
    values = {name: value for name in FIELDS if (value := getattr(event, name)) is not None}
    custom = event.custom_fields or {}
    since = min(event.occurred_at, at)
    stamps = dict(state.stamps)
    stamps.update(dict.fromkeys(values, since))
    stamps.update({f"custom.{name}": since for name in custom})
    stamps.update({f"consent.{channel}": since for channel in event.consent})
    known = state.custom_fields
    if event.cleared or event.cleared_custom:
        gone = event.cleared_custom or []
        values.update(dict.fromkeys(event.cleared))
        stamps.update(dict.fromkeys([*event.cleared, *(f"custom.{name}" for name in gone)], since))
        known = {name: value for name, value in known.items() if name not in gone}
    return replace(
        state,
        **values,
        custom_fields={**known, **custom},
        consent={**state.consent, **event.consent},
        stamps=stamps,
        funnels=state.funnels | {event.funnel_id} if event.funnel_id else state.funnels,
    )


def _scored(state: Lead, event: LeadScored, at: datetime) -> Lead:
    since = event.why.inputs.get("occurred_at")
    if not isinstance(since, str):
        return replace(state, score=event.after)
    return replace(state, score=event.after, stamps={**state.stamps, "score": min(datetime.fromisoformat(since), at)})


def _tagged(state: Lead, event: LeadTagged, _at: datetime) -> Lead:
    return replace(state, tags=(state.tags | set(event.added)) - set(event.removed))


def _assigned(state: Lead, event: LeadAssigned, _at: datetime) -> Lead:
    return replace(state, owner=event.owner)


def _unsubscribed(state: Lead, event: LeadUnsubscribed, _at: datetime) -> Lead:
    if event.sequence_id is not None:
        return replace(
            state, unsubscribed_sequences=state.unsubscribed_sequences | {(event.channel, event.sequence_id)}
        )
    return replace(state, unsubscribed={**state.unsubscribed, event.channel: event.at})


def _resubscribed(state: Lead, event: LeadResubscribed, _at: datetime) -> Lead:
    kept = {channel: since for channel, since in state.unsubscribed.items() if channel != event.channel}
    sequences = frozenset(each for each in state.unsubscribed_sequences if each[0] != event.channel)
    return replace(state, unsubscribed=kept, unsubscribed_sequences=sequences)


def _joined(state: Lead, event: LeadJoinedSequence, _at: datetime) -> Lead:
    membership = Membership(event.sequence_id, event.version)
    return replace(state, enrollments={**state.enrollments, event.enrollment_id: membership})


def _left(state: Lead, event: LeadLeftSequence, at: datetime) -> Lead:
    membership = state.enrollments.get(event.enrollment_id) or Membership(event.sequence_id, 0)
    return replace(state, enrollments={**state.enrollments, event.enrollment_id: membership._replace(ended_at=at)})


def _won(state: Lead, event: LeadWon, at: datetime) -> Lead:
    since = min(event.occurred_at, at)
    return replace(state, won=state.won | {event.occurred_at}, won_at=max(state.won_at or LONG_AGO, since))


def _met(state: Lead, event: LeadBookedMeeting, at: datetime) -> Lead:
    since = min(event.occurred_at, at)
    return replace(state, meetings=state.meetings | {event.occurred_at}, met_at=max(state.met_at or LONG_AGO, since))


def _erased(state: Lead, _event: LeadErased, _at: datetime) -> Lead:
    gone = dict.fromkeys(PERSONAL_FIELDS)
    return replace(state, **gone, custom_fields={}, erased=True)


def _suppressed(state: Lead, event: LeadAddressSuppressed, _at: datetime) -> Lead:
    return replace(state, suppressed=state.suppressed | {(event.channel, event.address_hash)})


def _away(state: Lead, event: LeadWentAway, _at: datetime) -> Lead:
    return replace(state, away_until=event.returns_on)


def _clashed(state: Lead, event: LeadIdentityClashed, _at: datetime) -> Lead:
    return replace(state, clashes=state.clashes | {(event.other_lead_id, kind) for kind in event.kinds})


def _matched(state: Lead, _event: LeadMatched, _at: datetime) -> Lead:
    return replace(state, judged=True, unmatched=None)


def _not_matched(state: Lead, event: LeadNotMatched, _at: datetime) -> Lead:
    if event.on == "score_reached":
        return state
    return replace(state, judged=True, unmatched=event.why)


_APPLY: dict[type[Event], Callable[[Lead, Any, datetime], Lead]] = {
    LeadCaptured: _captured,
    LeadDetailsMerged: _merged,
    LeadIdentityClashed: _clashed,
    LeadMatched: _matched,
    LeadNotMatched: _not_matched,
    LeadScored: _scored,
    LeadTagged: _tagged,
    LeadAssigned: _assigned,
    LeadUnsubscribed: _unsubscribed,
    LeadResubscribed: _resubscribed,
    LeadAddressSuppressed: _suppressed,
    LeadBookedMeeting: _met,
    LeadWentAway: _away,
    LeadWon: _won,
    LeadJoinedSequence: _joined,
    LeadLeftSequence: _left,
    LeadErased: _erased,
}


def evolve(state: Lead, event: Event, at: datetime) -> Lead:
    """The state after an event recorded at ``at``. An event it does not know leaves it as it is."""
    apply = _APPLY.get(type(event))
    return state if apply is None else apply(state, event, at)
