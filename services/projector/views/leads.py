"""Leads: who they are, what they agreed to, and what they showed. Where they stand, ``enrollments`` says."""

from __future__ import annotations

from typing import Any, ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Derivation, Join, Ops, Union
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, FUNNEL, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.plain import plain, plain_fields
from services.projector.views.view import Keys, View, on
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS
from shared.persistence.field_names import stored_name
from shared.persistence.search import tokens

_SEARCHED = ("first_name", "last_name", "company", "email", "phone", "external_id")
_DERIVED: dict[str, Derivation] = {
    "name": Join(("first_name", "last_name")),
    "search": Union(tuple(f"tokens.{field}" for field in _SEARCHED)),
}
#: Signals by which a lead shows that it is there.
_LIVELY = frozenset({"opened", "clicked", "replied"})


class Leads(View):
    """A document per lead. ``funnel_id`` is the funnel it first came by, ``funnels`` all of them. Personal fields are
    None once the lead is erased."""

    name = "leads"
    version = 5
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("captured_at", -1), ("_id", 1)),
        (("organization_id", 1), ("search", 1), ("captured_at", -1)),
        (("organization_id", 1), ("status", 1), ("captured_at", -1)),
        (("organization_id", 1), ("erased", 1), ("status", 1), ("captured_at", -1)),
        (("organization_id", 1), ("temperature", 1), ("captured_at", -1)),
        (("organization_id", 1), ("score", -1), ("_id", 1)),
        (("organization_id", 1), ("name", 1), ("_id", 1)),
        (("organization_id", 1), ("last_activity_at", -1), ("_id", 1)),
        (("organization_id", 1), ("tags", 1), ("captured_at", -1)),
        (("organization_id", 1), ("source", 1), ("captured_at", -1)),
        (("organization_id", 1), ("funnels", 1), ("captured_at", -1)),
        (("organization_id", 1), ("owner", 1), ("captured_at", -1)),
        (("organization_id", 1), ("email", 1)),
    )
    ignored = (
        BULK
        | FUNNEL
        | ENGAGEMENT
        | TASK
        | SEQUENCE
        | ORGANIZATION
        | (ENROLLMENT - {"enrollment.engagement_noted.v1"})
        | {
            "lead.identity_clashed.v1",
            "lead.joined_sequence.v1",
            "lead.left_sequence.v1",
            "lead.not_enrolled.v1",
            "lead.note_logged.v1",
        }
    )

    @on("lead.captured.v1")
    def captured(self, event: Event, ops: Ops) -> None:
        data = event.data
        document = self.new_of_subject(
            event,
            ops,
            {
                "lead_id": event.subject,
                **{field: data.get(field) for field in (*PERSONAL_FIELDS, *PLAIN_FIELDS)},
                "funnel_id": data.get("funnel_id"),
                "funnels": [data["funnel_id"]] if data.get("funnel_id") else [],
                "score": data.get("score") or 0,
                "tags": list(dict.fromkeys(data.get("tags") or ())),
                "consent": dict(data.get("consent") or {}),
                "custom_fields": plain_fields(data.get("custom_fields")),
                "tokens": {field: tokens(data.get(field)) for field in _SEARCHED},
                "owner": None,
                "unsubscribed": {},
                "unsubscribed_sequences": {},
                "suppressed": {},
                "away_until": None,
                "captured_at": event.at,
                "last_activity_at": event.at,
                "meeting_at": None,
                "match": None,
                "converted": False,
                "erased": False,
            },
        )
        document.derive(_DERIVED)

    @on("lead.details_merged.v1")
    def merged(self, event: Event, ops: Ops) -> None:
        data = event.data
        fields: dict[str, Any] = {
            field: data[field] for field in (*PERSONAL_FIELDS, *PLAIN_FIELDS) if data.get(field) is not None
        }
        fields |= {f"tokens.{field}": tokens(data[field]) for field in _SEARCHED if data.get(field) is not None}
        fields |= {f"consent.{name}": given for name, given in (data.get("consent") or {}).items()}
        fields |= {f"custom_fields.{name}": value for name, value in plain_fields(data.get("custom_fields")).items()}
        document = self.of_subject(event, ops)
        document.set(fields)
        document.add_to_set("funnels", [data["funnel_id"]] if data.get("funnel_id") else [])
        cleared = data.get("cleared") or ()
        document.set(dict.fromkeys(cleared))
        document.set({f"tokens.{field}": [] for field in cleared if field in _SEARCHED})
        for name in data.get("cleared_custom") or ():
            document.unset(f"custom_fields.{stored_name(name)}")
        document.derive(_DERIVED)

    @on("lead.matched.v1", "lead.not_matched.v1")
    def matched(self, event: Event, ops: Ops) -> None:
        """The newest answer of matching: the sequence chosen, or None, and why; by sequence why it was not chosen. That
        a change of score led nowhere leaves it as it is."""
        if event.data.get("on") == "score_reached":
            return
        answer = {"sequence_id": event.data.get("sequence_id"), "at": event.at, "why": plain(event.data["why"])}
        self.of_subject(event, ops).set({"match": {**answer, "refused": plain(event.data.get("refused") or {})}})

    @on("lead.scored.v1")
    def scored(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"score": event.data["after"]})

    @on("lead.tagged.v1")
    def tagged(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.add_to_set("tags", event.data.get("added") or ())
        document.remove_from_set("tags", event.data.get("removed") or ())

    @on("lead.assigned.v1")
    def assigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"owner": event.data.get("owner")})

    @on("lead.call_logged.v1", "lead.meeting_logged.v1", "lead.email_logged.v1")
    def spoken_with(self, event: Event, ops: Ops) -> None:
        at = moment(event.data["at"]) or event.at
        self.of_subject(event, ops).max("last_activity_at", min(at, event.at))

    @on("lead.unsubscribed.v1")
    def unsubscribed(self, event: Event, ops: Ops) -> None:
        sequence_id = event.data.get("sequence_id")
        path = f"unsubscribed_sequences.{sequence_id}" if sequence_id else f"unsubscribed.{event.data['channel']}"
        self.of_subject(event, ops).set({path: moment(event.data["at"])})

    @on("lead.resubscribed.v1")
    def resubscribed(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.unset(f"unsubscribed.{event.data['channel']}")
        document.set({"unsubscribed_sequences": {}})

    @on("lead.went_away.v1")
    def went_away(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"away_until": event.data["returns_on"]})

    @on("lead.address_suppressed.v1")
    def suppressed(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({f"suppressed.{event.data['channel']}": event.data["reason"]})

    @on("lead.booked_meeting.v1")
    def booked_meeting(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set({"meeting_at": moment(event.data.get("at"))})
        document.max("last_activity_at", event.at)

    @on("lead.won.v1")
    def won(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set({"converted": True})
        document.max("last_activity_at", event.at)

    @on("lead.replied.v1")
    def replied(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).max("last_activity_at", event.at)

    @on("enrollment.engagement_noted.v1")
    def engaged(self, event: Event, ops: Ops) -> None:
        if event.data["signal"] in _LIVELY and event.lead_id:
            ops.document(event, event.lead_id).max("last_activity_at", event.at)

    @on("lead.erased.v1")
    def erased(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set(dict.fromkeys(PERSONAL_FIELDS))
        document.set({"custom_fields": {}, "tokens": {}, "erased": True})
        document.derive(_DERIVED)
