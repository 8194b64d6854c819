"""Messages: every execution handed to a channel, what became of it and what came back; and every step passed over."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Document, Ops
from services.projector.views.ignored import BULK, FUNNEL, LEAD, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.plain import plain
from services.projector.views.view import Keys, Partial, View, on
from shared.persistence.search import tokens

#: Signal -> field that holds the moment of the first one that counts.
_FIRST = {
    "delivered": "delivered_at",
    "opened": "first_opened_at",
    "clicked": "clicked_at",
    "replied": "replied_at",
    "bounced": "bounced_at",
    "complained": "complained_at",
    "unsubscribed": "unsubscribed_at",
}
#: Signal -> counter of hits by people and by machines.
_HITS = {"opened": ("opens", "machine_opens"), "clicked": ("clicks", "machine_clicks")}
MACHINE = 0.5  #: from this confidence on a hit counts as a machine's


class Messages(View):
    """A document per execution of a message step, and per step that was passed over (``skipped``); its id is
    ``<enrollment_id>-<execution>``. ``log`` holds each attempt by its number: when it was due, when it ended, how and
    why. It holds nothing personal.
    """

    name = "messages"
    version = 4
    # Every index is paid for by every message: an enrollment's are found by the range of their ids. Lists name every
    # status when none is asked for, so that one index serves both.
    indexes: ClassVar[tuple[Keys | Partial, ...]] = (
        (("organization_id", 1), ("status", 1), ("due_at", -1), ("_id", 1)),
        (("sequence_id", 1), ("status", 1), ("due_at", -1), ("_id", 1)),
        (("lead_id", 1), ("due_at", -1), ("_id", 1)),
        Partial((("organization_id", 1), ("error_tokens", 1), ("due_at", -1), ("_id", 1)), "troubled", True),
    )
    ignored = (
        BULK
        | FUNNEL
        | LEAD
        | TASK
        | SEQUENCE
        | ORGANIZATION
        | {
            "enrollment.started.v1",
            "enrollment.activated.v1",
            "enrollment.start_refused.v1",
            "enrollment.migration_awaited.v1",
            "enrollment.migration_dropped.v1",
            "enrollment.migrated.v1",
            "enrollment.step_postponed.v1",
            "enrollment.advanced.v1",
            "enrollment.company_stop_asked.v1",
            "enrollment.replanned.v1",
            "enrollment.step_taken.v1",
            "enrollment.step_handed_to_person.v1",
            "enrollment.step_done_by_person.v1",
            "enrollment.step_approved.v1",
            "enrollment.step_overdue.v1",
            "enrollment.note_left.v1",
            "enrollment.members_notified.v1",
            "enrollment.goal_reached.v1",
            "enrollment.paused.v1",
            "enrollment.resumed.v1",
            "enrollment.completed.v1",
            "enrollment.exited.v1",
        }
    )

    @on("enrollment.step_due.v1")
    def due(self, event: Event, ops: Ops) -> None:
        data = event.data
        if data["attempt"] > 1:
            due_at, attempt = moment(data["due_at"]), data["attempt"]
            fields = {"status": "due", "attempts": attempt, "due_at": due_at, f"log.{attempt}": {"due_at": due_at}}
            _message(event, ops).set(fields)
            return
        ops.new_document(
            event,
            _id(event),
            {
                "dispatch_id": data["dispatch_id"],
                "lead_id": event.lead_id,
                "enrollment_id": event.subject,
                "sequence_id": data["sequence_id"],
                "version": data["version"],
                "step_id": data["step_id"],
                "execution": data["execution"],
                "channel": data["channel"],
                "sender": data.get("sender"),
                "variant": data.get("variant"),
                "why": data.get("why"),
                "status": "due",
                "attempts": 1,
                "due_at": moment(data["due_at"]),
                "sent_at": None,
                "error": None,
                "log": {"1": {"due_at": moment(data["due_at"])}},
            },
        )

    @on("enrollment.step_sent.v1")
    def sent(self, event: Event, ops: Ops) -> None:
        data = event.data
        fields = {
            "status": "sent",
            "sent_at": moment(data["sent_at"]),
            "message_id": data.get("message_id"),
            "answer": data.get("answer"),
            "error": None,
        }
        _ended(event, ops, "sent", at=moment(data["sent_at"])).set(fields)

    @on("enrollment.step_deferred.v1")
    def deferred(self, event: Event, ops: Ops) -> None:
        _troubled(event, ops, "deferred")

    @on("enrollment.step_failed.v1")
    def failed(self, event: Event, ops: Ops) -> None:
        _troubled(event, ops, "failed")

    @on("enrollment.step_stop_requested.v1")
    def stop_requested(self, event: Event, ops: Ops) -> None:
        _message(event, ops).set({"stop_requested": event.data["reason"]})

    @on("enrollment.step_stopped.v1")
    def stopped(self, event: Event, ops: Ops) -> None:
        _troubled(event, ops, "stopped")

    @on("enrollment.step_in_doubt.v1")
    def in_doubt(self, event: Event, ops: Ops) -> None:
        _troubled(event, ops, "in_doubt").set({"in_doubt_at": event.at})

    @on("enrollment.step_skipped.v1")
    def skipped(self, event: Event, ops: Ops) -> None:
        """A message that was tried before may be passed over when its turn comes again."""
        data, why = event.data, event.data["why"]
        document = _message(event, ops)
        document.set_on_insert(
            {
                "lead_id": event.lead_id,
                "enrollment_id": event.subject,
                "sequence_id": event.sequence_id,
                "step_id": data["step_id"],
                "execution": data["execution"],
                "channel": None,
                "attempts": 0,
                "sent_at": None,
            }
        )
        document.set({"status": "skipped", "kind": data["kind"], "due_at": event.at, "why": plain(why)})
        _explain(document, why["rule"])

    @on("enrollment.step_settled.v1")
    def settled(self, event: Event, ops: Ops) -> None:
        status = "sent" if event.data["outcome"] == "sent" else "failed"
        _message(event, ops).set({"status": status, "settled_by": event.data["by"]})

    @on("enrollment.watchdog_rang.v1")
    def watchdog_rang(self, event: Event, ops: Ops) -> None:
        _message(event, ops).set({"reminders": event.data["round"]})

    @on("enrollment.engagement_noted.v1")
    def engaged(self, event: Event, ops: Ops) -> None:
        _message(event, ops).set({_FIRST[event.data["signal"]]: moment(event.data["at"])})

    @on("enrollment.conversion_attributed.v1")
    def converted(self, event: Event, ops: Ops) -> None:
        _message(event, ops).set({"converted_at": moment(event.data["occurred_at"])})

    @on("engagement.signal_received.v1")
    def hit(self, event: Event, ops: Ops) -> None:
        data = event.data
        counters = _HITS.get(data["signal"])
        if counters is not None:
            document = ops.document(event, f"{data['enrollment_id']}-{data['execution']}")
            document.inc(counters[(data.get("machine") or 0.0) >= MACHINE], data.get("count") or 1)


def _message(event: Event, ops: Ops) -> Document:
    return ops.document(event, _id(event))


def _id(event: Event) -> str:
    return f"{event.subject}-{event.data['execution']}"


def _ended(event: Event, ops: Ops, outcome: str, *, at: datetime | None, error: str | None = None) -> Document:
    """The message whose attempt came to an end."""
    path = f"log.{event.data['attempt']}"
    document = _message(event, ops)
    document.set({f"{path}.ended_at": at, f"{path}.outcome": outcome, f"{path}.error": error})
    return document


def _troubled(event: Event, ops: Ops, status: str) -> Document:
    """An attempt that ended without a message sent, as far as is known."""
    document = _ended(event, ops, status, at=event.at, error=event.data["reason"])
    document.set({"status": status})
    _explain(document, event.data["reason"])
    return document


def _explain(document: Document, error: str) -> None:
    document.set({"error": error, "error_tokens": tokens(error), "troubled": True})
