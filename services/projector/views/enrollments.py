"""Enrollments: where each lead stands in its sequence, what comes next, and what has been done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Document, Ops
from services.projector.views.ignored import BULK, FUNNEL, LEAD, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.plain import plain
from services.projector.views.view import Keys, Partial, View, on

_COUNTED = ("sent", "opened", "clicked", "replied", "bounced", "conversions", "failed", "skipped")


#: ``upcoming_*`` repeat of ``next`` what the list of upcoming sends is found by; ``upcoming`` says whether it is there.
_NOT_UPCOMING = {"upcoming": False, "upcoming_on": None, "upcoming_at": None}
_NOTHING_NEXT = {"next": None, **_NOT_UPCOMING}


def kind_of_channel(channel: str) -> str:
    """The kind of step that sends on a channel; the null channel stands in for e-mail."""
    return "email" if channel == "null" else channel


def _waits_for_start(start_at: str | None) -> dict[str, Any]:
    """A pending enrollment begins at a moment, else by hand."""
    return {"kind": "start", "until": moment(start_at), "why": None}


class Enrollments(View):
    """A document per enrollment. ``steps`` is keyed by execution, because a map can be changed entry by entry;
    ``changes`` says who changed its status, when and why; ``tries`` of a step which attempts ended without a send.
    """

    name = "enrollments"
    version = 6
    indexes: ClassVar[tuple[Keys | Partial, ...]] = (
        (("organization_id", 1), ("started_at", -1), ("_id", 1)),
        (("organization_id", 1), ("status", 1), ("started_at", -1)),
        (("sequence_id", 1), ("status", 1), ("started_at", -1)),
        (("lead_id", 1), ("started_at", -1)),
        Partial((("organization_id", 1), ("upcoming_on", 1), ("upcoming_at", 1), ("_id", 1)), "upcoming", True),
        Partial((("sequence_id", 1), ("upcoming_on", 1), ("upcoming_at", 1), ("_id", 1)), "upcoming", True),
    )
    ignored = (
        BULK
        | FUNNEL
        | LEAD
        | TASK
        | SEQUENCE
        | ORGANIZATION
        | {
            "engagement.signal_received.v1",
            "enrollment.company_stop_asked.v1",
            "enrollment.note_left.v1",
            "enrollment.members_notified.v1",
        }
    )

    @on("enrollment.started.v1")
    def started(self, event: Event, ops: Ops) -> None:
        data = event.data
        document = self.new_of_subject(
            event,
            ops,
            {
                "lead_id": data["lead_id"],
                "sequence_id": data["sequence_id"],
                "version": data["version"],
                "status": "active" if data.get("plan") else "pending",
                "reason": None,
                "moving_to": None,
                "by": data.get("by"),
                "current_step": None,
                "waiting_for": None if data.get("plan") else _waits_for_start(data.get("start_at")),
                "bulk_id": data.get("bulk_id"),
                **_NOTHING_NEXT,
                "counts": dict.fromkeys(_COUNTED, 0),
                "started_at": event.at,
                "ended_at": None,
                "restarts": data.get("restarts"),
                "changes": [
                    _change(event, "active" if data.get("plan") else "pending", data.get("by"), data.get("why"))
                ],
                "steps": {},
            },
        )
        _plan(event, document, data.get("plan"))

    @on("enrollment.start_refused.v1")
    def start_refused(self, event: Event, ops: Ops) -> None:
        why = plain(event.data["why"])
        self.of_subject(event, ops).set(
            {"reason": why["rule"], "waiting_for": {"kind": "start", "until": None, "why": why}}
        )

    @on("enrollment.activated.v1")
    def activated(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set({"status": "active", "reason": None})
        document.add_to_set("changes", [_change(event, "active")])
        _plan(event, document, event.data["plan"])

    @on("enrollment.advanced.v1")
    def advanced(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.add_to_set("changes", [_change(event, "advanced")])
        _plan(event, document, event.data["plan"])

    @on("enrollment.step_postponed.v1", "enrollment.replanned.v1")
    def postponed(self, event: Event, ops: Ops) -> None:
        _plan(event, self.of_subject(event, ops), event.data["plan"])

    @on("enrollment.step_due.v1")
    def due(self, event: Event, ops: Ops) -> None:
        data = event.data
        path = f"steps.{data['execution']}"
        document = self.of_subject(event, ops)
        document.set(
            {
                "current_step": data["step_id"],
                **_NOTHING_NEXT,
                "waiting_for": {"kind": "dispatch", "until": moment(data["valid_until"]), "why": None},
            }
        )
        if data["attempt"] == 1:
            step = {
                "step_id": data["step_id"],
                "kind": _kind_of(data),
                "status": "due",
                "attempts": 1,
                "at": moment(data["due_at"]),
                "why": None,
                "dispatch_id": data["dispatch_id"],
                "signals": {},
            }
            document.set({path: step})
        else:
            document.set(
                {f"{path}.status": "due", f"{path}.attempts": data["attempt"], f"{path}.at": moment(data["due_at"])}
            )

    @on("enrollment.step_sent.v1")
    def sent(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "sent", at=moment(event.data["sent_at"]), why=None)
        if event.data["channel"] != "webhook":  # a call of another system is no message
            document.inc("counts.sent")
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_deferred.v1")
    def deferred(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "deferred", at=event.at, why=event.data["reason"])
        _tried(document, event, "transient" if event.data["fault"] else None)
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_failed.v1")
    def failed(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "failed", at=event.at, why=event.data["reason"])
        _tried(document, event, "transient" if event.data.get("how") == "retries_used" else "permanent")
        document.inc("counts.failed")
        if event.data.get("bounce"):
            document.inc("counts.bounced")
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_stop_requested.v1")
    def stop_requested(self, event: Event, ops: Ops) -> None:
        self._step(event, ops, "stopping", at=event.at, why=event.data["reason"])

    @on("enrollment.step_stopped.v1")
    def stopped(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "stopped", at=event.at, why=event.data["reason"])
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_in_doubt.v1")
    def in_doubt(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "in_doubt", at=event.at, why=event.data["reason"])
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_settled.v1")
    def settled(self, event: Event, ops: Ops) -> None:
        was_sent = event.data["outcome"] == "sent"
        document = self._step(event, ops, "sent" if was_sent else "failed", at=event.at, why=event.data["by"])
        if not was_sent or event.data["channel"] != "webhook":
            document.inc("counts.sent" if was_sent else "counts.failed")

    @on("enrollment.watchdog_rang.v1")
    def watchdog_rang(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({f"steps.{event.data['execution']}.reminders": event.data["round"]})

    @on("enrollment.step_skipped.v1")
    def skipped(self, event: Event, ops: Ops) -> None:
        document = self._entry(event, ops, "skipped", why=event.data["why"])
        document.inc("counts.skipped")
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_taken.v1")
    def taken(self, event: Event, ops: Ops) -> None:
        document = self._entry(event, ops, "taken", why=event.data.get("why"), arm=event.data.get("arm"))
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_handed_to_person.v1")
    def handed_to_person(self, event: Event, ops: Ops) -> None:
        document = self._entry(event, ops, "waiting", why=None, task_id=event.data["task_id"])
        _plan(event, document, event.data["plan"])

    @on("enrollment.step_done_by_person.v1")
    def done_by_person(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "done", at=event.at, why=event.data["outcome"])
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.step_approved.v1")
    def approved(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "approved", at=event.at, why=None)
        _plan(event, document, event.data["plan"])

    @on("enrollment.step_overdue.v1")
    def overdue(self, event: Event, ops: Ops) -> None:
        document = self._step(event, ops, "overdue", at=event.at, why=event.data["then"])
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.goal_reached.v1")
    def goal_reached(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"goal": event.data["goal"], "goal_at": event.at})

    @on("enrollment.engagement_noted.v1")
    def engaged(self, event: Event, ops: Ops) -> None:
        data = event.data
        document = self.of_subject(event, ops)
        document.set({f"steps.{data['execution']}.signals.{data['signal']}": moment(data["at"])})
        document.inc(f"counts.{data['signal']}")

    @on("enrollment.conversion_attributed.v1")
    def converted(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set({f"steps.{event.data['execution']}.converted_at": moment(event.data["occurred_at"])})
        document.inc("counts.conversions")

    @on("enrollment.paused.v1")
    def paused(self, event: Event, ops: Ops) -> None:
        data = event.data
        waiting = {
            "kind": "pause",
            "until": moment(data.get("until")),
            "why": data.get("why") or {"rule": data["reason"], "inputs": {}},
        }
        document = self.of_subject(event, ops)
        document.set({"status": "paused", "reason": data["reason"], "waiting_for": waiting, **_NOTHING_NEXT})
        document.add_to_set("changes", [_change(event, "paused", data["reason"], data.get("why"))])

    @on("enrollment.resumed.v1")
    def resumed(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set(
            {"status": "active", "reason": None, "waiting_for": {"kind": "answer", "until": None, "why": None}}
        )
        document.add_to_set("changes", [_change(event, "active")])
        _plan(event, document, event.data.get("plan"))

    @on("enrollment.migration_awaited.v1")
    def migration_awaited(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"moving_to": event.data["to_version"]})

    @on("enrollment.migration_dropped.v1")
    def migration_dropped(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"moving_to": None})

    @on("enrollment.migrated.v1")
    def migrated(self, event: Event, ops: Ops) -> None:
        document = self.of_subject(event, ops)
        document.set({"version": event.data["to_version"], "moving_to": None})
        plan = event.data.get("plan")
        if not event.data["held"]:
            _plan(event, document, plan)
        elif plan is not None:
            document.set({"current_step": plan["step_id"]})

    @on("enrollment.completed.v1")
    def completed(self, event: Event, ops: Ops) -> None:
        self._ended(event, ops, "completed", None)

    @on("enrollment.exited.v1")
    def exited(self, event: Event, ops: Ops) -> None:
        self._ended(event, ops, "exited", event.data["reason"])

    def _ended(self, event: Event, ops: Ops, status: str, reason: str | None) -> None:
        fields = {
            "status": status,
            "reason": reason,
            "ended_at": event.at,
            "current_step": None,
            "waiting_for": None,
            **_NOTHING_NEXT,
        }
        document = self.of_subject(event, ops)
        document.set(fields)
        document.add_to_set("changes", [_change(event, status, reason, event.data.get("why"))])

    def _step(self, event: Event, ops: Ops, status: str, *, at: Any, why: Any) -> Document:
        """Moves an execution's entry on."""
        path = f"steps.{event.data['execution']}"
        document = self.of_subject(event, ops)
        document.set({f"{path}.status": status, f"{path}.at": at, f"{path}.why": why})
        return document

    def _entry(self, event: Event, ops: Ops, status: str, **more: Any) -> Document:
        """The entry of an execution that sends nothing, whole."""
        data = event.data
        document = self.of_subject(event, ops)
        entry = {
            "step_id": data["step_id"],
            "kind": data["kind"],
            "status": status,
            "attempts": 0,
            "at": event.at,
            "signals": {},
            **more,
        }
        document.set({f"steps.{data['execution']}": entry, "current_step": data["step_id"]})
        return document


def _change(event: Event, status: str, reason: str | None = None, why: Any = None) -> dict[str, Any]:
    """Who, when and why. ``status`` ``advanced`` left it active."""
    return {"status": status, "at": event.at, "by": event.actor or "system", "reason": reason, "why": why}


def _tried(document: Document, event: Event, fault: str | None) -> None:
    """An attempt ended without a send. ``again_at`` is when the next one is decided, None when there is none."""
    data = event.data
    plan = data.get("plan")
    again_at = moment(plan.get("at")) if plan and plan["execution"] == data["execution"] else None
    entry = {"attempt": data["attempt"], "at": event.at, "reason": data["reason"], "fault": fault, "again_at": again_at}
    document.add_to_set(f"steps.{data['execution']}.tries", [entry])


def _kind_of(due: Mapping[str, Any]) -> str:
    """The kind of step that became due, as far as its event tells."""
    if due.get("draft_id") is not None:
        return "email_manual"
    return "appointment" if due.get("starts_at") is not None else kind_of_channel(due["channel"])


def _plan(event: Event, document: Document, plan: Mapping[str, Any] | None) -> None:
    """What comes next. Without a plan nothing changes here: the event that ended or paused says so itself."""
    if plan is None:
        return
    at, blocked_on = moment(plan.get("at")), plan.get("blocked_on")
    waiting: dict[str, Any] = {
        "kind": "time" if blocked_on is None else blocked_on.partition(":")[0],
        "until": at,
        "why": plan.get("why"),
    }
    if blocked_on is not None:
        waiting["on"] = blocked_on
    document.set(
        {
            "current_step": plan["step_id"],
            "next": {"step_id": plan["step_id"], "execution": plan["execution"], "at": at},
            "waiting_for": waiting,
            **_upcoming(event, plan.get("channel"), at),
        }
    )


def _upcoming(event: Event, channel: str | None, at: datetime | None) -> dict[str, Any]:
    """A send to come. What is due at once is as good as gone: it is spared the way into the indexes and out of them."""
    if channel is None or at is None or at <= event.at:
        return _NOT_UPCOMING
    return {"upcoming": True, "upcoming_on": channel, "upcoming_at": at}
