"""Notifications: what members should hear of. Who a notification is for stands in ``to``: None for everybody,
``approvers`` (of sequences) or ``administrators`` (of the organization), or one member (``member:<id>``). Tasks that
are due are no events: readers add them.

What tells of a state that many events confirm (a limit reached, sending that fails) is one document per partition, day
and key; readers merge those of one key. Names are looked up on reading; ``personal`` is what a step had to say, None
when there is nothing personal, or not any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from services.projector.event import Event
from services.projector.ops import Derivation, FirstOf, Ops
from services.projector.views.ignored import EVERYTHING
from services.projector.views.plain import plain
from services.projector.views.view import Keys, View, on

#: Events whose plan may say that a limit was reached.
_PLANNING = (
    "enrollment.started.v1",
    "enrollment.activated.v1",
    "enrollment.resumed.v1",
    "enrollment.replanned.v1",
    "enrollment.advanced.v1",
    "enrollment.migrated.v1",
    "enrollment.step_postponed.v1",
    "enrollment.step_sent.v1",
    "enrollment.step_stopped.v1",
    "enrollment.step_in_doubt.v1",
    "enrollment.step_taken.v1",
    "enrollment.step_skipped.v1",
    "enrollment.step_done_by_person.v1",
    "enrollment.step_approved.v1",
    "enrollment.step_overdue.v1",
)
#: Events of an attempt that may have failed; they plan as well.
_ENDING = ("enrollment.step_deferred.v1", "enrollment.step_failed.v1")
#: Reasons of a pause that somebody must look into.
_HELD = frozenset({"missing_value", "in_doubt", "failure"})
APPROVERS, ADMINISTRATORS = "approvers", "administrators"
_AUTHOR: dict[str, Derivation] = {"to": FirstOf(("audience", "author"))}
_HANDLED = frozenset(
    {
        *_PLANNING,
        "lead.replied.v1",
        "lead.erased.v1",
        "enrollment.members_notified.v1",
        "enrollment.paused.v1",
        *_ENDING,
        "sequence.submitted.v1",
        "sequence.rejected.v1",
        "sequence.approved.v1",
        "sequence.edited.v1",
        "sequence.archived.v1",
        "sequence.deleted.v1",
        "sequence.braked.v1",
        "sequence.released.v1",
        "organization.sender_braked.v1",
        "organization.sender_released.v1",
    }
)


class Notifications(View):
    """``key`` is the same in the documents that are merged, else the document's id. ``hidden``: nothing to hear any
    more.
    """

    name = "notifications"
    version = 3
    indexes: ClassVar[tuple[Keys, ...]] = ((("organization_id", 1), ("merged", 1), ("at", -1), ("_id", -1)),)
    ignored = EVERYTHING - _HANDLED

    def concerns(self, event: Event) -> bool:
        topic, data = event.topic, event.data
        if topic == "enrollment.paused.v1":
            return data.get("reason") in _HELD
        if topic in _ENDING:
            return _is_fault(event) or _full(data) is not None
        if topic in _PLANNING:
            return _full(data) is not None
        return True

    @on("lead.replied.v1")
    def replied(self, event: Event, ops: Ops) -> None:
        self._tell(event, ops, "reply", {"channel": event.data.get("channel")})

    @on("enrollment.members_notified.v1")
    def notified(self, event: Event, ops: Ops) -> None:
        to = str(event.data["to"])
        personal = {"text": event.data["text"]} if event.data.get("text") is not None else None
        audience = None if to == "all" else to if to.startswith("member:") else f"member:{to}"
        self._tell(event, ops, "message", {"step_id": event.data["step_id"]}, to=audience, personal=personal)

    @on("lead.erased.v1")
    def erased(self, event: Event, ops: Ops) -> None:
        ops.set_where("lead_id", event.subject, {"personal": None})

    @on("enrollment.paused.v1")
    def held(self, event: Event, ops: Ops) -> None:
        if self.concerns(event):
            owner = event.data.get("owner")
            to = f"member:{owner}" if owner is not None else None
            self._tell(event, ops, "held", {"reason": event.data["reason"]}, to=to)

    @on("sequence.braked.v1")
    def sequence_braked(self, event: Event, ops: Ops) -> None:
        fields = {"sequence_id": event.subject, "detail": plain(event.data["why"])}
        self._brake(event, ops, f"sequence-{event.subject}", {"kind": "sequence_braked", "to": APPROVERS, **fields})

    @on("organization.sender_braked.v1")
    def sender_braked(self, event: Event, ops: Ops) -> None:
        sender = event.data["sender_id"]
        detail = {"sender_id": sender, **plain(event.data["why"])}
        fields = {"kind": "sender_braked", "to": ADMINISTRATORS, "detail": detail}
        self._brake(event, ops, f"sender-{event.organization_id}-{sender}", fields)

    @on("sequence.released.v1")
    def sequence_released(self, event: Event, ops: Ops) -> None:
        ops.document(event, f"brake-sequence-{event.subject}").set({"hidden": True})

    @on("organization.sender_released.v1")
    def sender_released(self, event: Event, ops: Ops) -> None:
        key = f"brake-sender-{event.organization_id}-{event.data['sender_id']}"
        ops.document(event, key).set({"hidden": True})

    @on(*_PLANNING)
    def planned(self, event: Event, ops: Ops) -> None:
        limit = _full(event.data)
        if limit is not None:
            self._merge(event, ops, "limit_reached", f"{limit.get('scope')}:{limit.get('unit')}", dict(limit))

    @on(*_ENDING)
    def failed(self, event: Event, ops: Ops) -> None:
        self.planned(event, ops)
        if _is_fault(event):
            channel = str(event.data.get("channel"))
            detail = {"channel": channel, "reason": event.data.get("reason")}
            self._merge(event, ops, "sending_fails", channel, detail)

    @on("sequence.submitted.v1")
    def submitted(self, event: Event, ops: Ops) -> None:
        author = event.actor if (event.actor or "").startswith("member:") else None
        self._approval(event, ops, "approval_wanted", {"audience": APPROVERS, "author": author, "detail": {}})

    @on("sequence.rejected.v1")
    def rejected(self, event: Event, ops: Ops) -> None:
        feedback = {"feedback": event.data.get("feedback")}
        self._approval(event, ops, "sequence_rejected", {"audience": None, "detail": feedback})

    @on("sequence.approved.v1", "sequence.edited.v1", "sequence.archived.v1", "sequence.deleted.v1")
    def settled(self, event: Event, ops: Ops) -> None:
        self._approval(event, ops, "approval_settled", {"hidden": True})

    def _tell(
        self,
        event: Event,
        ops: Ops,
        kind: str,
        detail: dict[str, Any],
        *,
        to: str | None = None,
        personal: dict[str, Any] | None = None,
    ) -> None:
        enrollment_id = event.subject if event.topic.startswith("enrollment.") else event.data.get("enrollment_id")
        ops.new(
            str(event.position),
            {
                "organization_id": event.organization_id,
                "partition": event.partition,
                "position": event.position,
                "at": event.at,
                "kind": kind,
                "to": to,
                "merged": False,
                "hidden": False,
                "lead_id": event.lead_id,
                "enrollment_id": enrollment_id,
                "sequence_id": event.sequence_id,
                "detail": detail,
                "personal": personal,
            },
        )

    def _approval(self, event: Event, ops: Ops, kind: str, fields: dict[str, Any]) -> None:
        document = ops.document(event, f"approval-{event.subject}")
        document.set({"kind": kind, "at": event.at, "merged": False, "sequence_id": event.subject, "hidden": False})
        document.set(fields)
        document.derive(_AUTHOR)

    def _brake(self, event: Event, ops: Ops, what: str, fields: dict[str, Any]) -> None:
        document = ops.document(event, f"brake-{what}")
        document.set({"at": event.at, "merged": False, "hidden": False, **fields})

    def _merge(self, event: Event, ops: Ops, kind: str, what: str, detail: dict[str, Any]) -> None:
        key = f"{kind}-{event.organization_id}-{what}-{event.at.date().isoformat()}"
        document = ops.document(event, f"{key}-{event.partition:02d}")
        document.set({"kind": kind, "key": key, "to": None, "merged": True, "hidden": False, "detail": detail})
        document.min("at", event.at)
        document.max("last_at", event.at)
        document.inc("times")


def _is_fault(event: Event) -> bool:
    """Did sending fail, for no fault of the address?"""
    data = event.data
    return bool(data.get("fault")) if event.topic == "enrollment.step_deferred.v1" else not data.get("bounce")


def _full(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The limit that put a plan off; None when none did."""
    plan = data.get("plan")
    if not plan:
        return None
    why = plan.get("why") or {}
    inputs: Mapping[str, Any] | None = why.get("inputs") if why.get("rule") == "quota" else None
    return inputs
