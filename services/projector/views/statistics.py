"""Statistics: whole-number counters per partition, merged on reading. Keyed by organization, sequence, step, variant,
sender and time, never by a person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Document, Ops
from services.projector.views.ignored import EVERYTHING
from services.projector.views.view import Keys, View, on
from shared.persistence.field_names import stored_name

WEEK = timedelta(weeks=1)

#: Events that count as they are: topic -> figure.
_FIGURES = {
    "lead.captured.v1": "leads",
    "lead.erased.v1": "erased",
    "lead.booked_meeting.v1": "meetings",
    "lead.won.v1": "conversions",
    "lead.unsubscribed.v1": "unsubscribed",
    "enrollment.step_sent.v1": "sent",
    "enrollment.step_deferred.v1": "deferred",
    "enrollment.step_stopped.v1": "stopped",
    "enrollment.step_in_doubt.v1": "in_doubt",
    "enrollment.step_skipped.v1": "skipped",
    "enrollment.goal_reached.v1": "goals",
    "task.opened.v1": "tasks_opened",
    "task.completed.v1": "tasks_done",
    "task.skipped.v1": "tasks_skipped",
    "task.draft_approved.v1": "tasks_done",
    "task.draft_rejected.v1": "tasks_skipped",
}


#: Events that count in ways of their own.
_COUNTED = frozenset(
    {
        "enrollment.started.v1",
        "enrollment.activated.v1",
        "enrollment.paused.v1",
        "enrollment.resumed.v1",
        "enrollment.completed.v1",
        "enrollment.exited.v1",
        "enrollment.step_due.v1",
        "enrollment.step_failed.v1",
        "enrollment.step_settled.v1",
        "enrollment.engagement_noted.v1",
        "enrollment.conversion_attributed.v1",
        "engagement.signal_received.v1",
    }
)
#: What is shown of cohorts, by week since the enrollment began.
_OF_COHORTS = frozenset({"enrolled", "sent", "opened", "clicked", "replied", "conversions", "completed", "exited"})
#: Signals of machines that are counted, apart from those of people.
_BY_MACHINES = {"opened": "machine_opened", "clicked": "machine_clicked"}
MACHINE = 0.5  #: from this confidence on a hit counts as a machine's


class Statistics(View):
    """Per scope (``organization``, ``sequence:<id>``) and partition a document of all time and one of each day (UTC)
    with its hours; and per week (Monday, UTC) one of the cohorts that began in it.

    A document of all time holds figures (``n``), enrollments by status now (``now``), those that left by reason
    (``reasons``), and the figures of senders; a sequence's those of its steps and variants too.
    """

    name = "statistics"
    version = 3
    indexes: ClassVar[tuple[Keys, ...]] = ((("organization_id", 1), ("scope", 1), ("bucket", 1)),)
    ignored = EVERYTHING - _FIGURES.keys() - _COUNTED

    @on(*_FIGURES)
    def plain_figure(self, event: Event, ops: Ops) -> None:
        figure = _FIGURES[event.topic]
        _count(event, ops, _called(event) if figure == "sent" else figure)
        if figure == "unsubscribed":  # of the message that the lead unsubscribed from, where there was one
            _count_parts(event, ops, figure)

    @on("enrollment.step_due.v1")
    def due(self, event: Event, ops: Ops) -> None:
        if event.data["attempt"] == 1:  # a step is due once, however often it is tried
            _count(event, ops, "due")

    @on("enrollment.step_failed.v1")
    def failed(self, event: Event, ops: Ops) -> None:
        """An address that the receiving server refuses at once has bounced like one that comes back later."""
        _count(event, ops, "failed")
        if event.data.get("bounce"):
            _count(event, ops, "bounced")
            _count(event, ops, "bounced_unsent")

    @on("enrollment.step_settled.v1")
    def settled(self, event: Event, ops: Ops) -> None:
        _count(event, ops, _called(event) if event.data["outcome"] == "sent" else "failed")

    @on("enrollment.engagement_noted.v1")
    def engaged(self, event: Event, ops: Ops) -> None:
        signal = event.data["signal"]
        if signal != "unsubscribed":  # the lead's own event counts that, and a complaint that is one too
            _count(event, ops, signal)

    @on("enrollment.conversion_attributed.v1")
    def converted(self, event: Event, ops: Ops) -> None:
        """The lead's own event counts for the organization."""
        _count(event, ops, "conversions", organization=False)

    @on("engagement.signal_received.v1")
    def hit(self, event: Event, ops: Ops) -> None:
        figure = _BY_MACHINES.get(event.data["signal"])
        if figure is not None and (event.data.get("machine") or 0.0) >= MACHINE:
            _count(event, ops, figure, by=event.data.get("count") or 1)

    @on("enrollment.started.v1")
    def started(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "enrolled")
        _move(event, ops, None, "active" if event.data.get("plan") else "pending")

    @on("enrollment.activated.v1")
    def activated(self, event: Event, ops: Ops) -> None:
        _move(event, ops, "pending", "active")

    @on("enrollment.paused.v1")
    def paused(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "paused")
        _move(event, ops, event.data.get("was") or "active", "paused")

    @on("enrollment.resumed.v1")
    def resumed(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "resumed")
        _move(event, ops, "paused", "active")

    @on("enrollment.completed.v1")
    def completed(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "completed")
        _move(event, ops, "active", None)
        took = event.data.get("took_seconds")
        if took is not None:
            for ever in _ever(event, ops):
                ever.inc("n.took_seconds", took)
                ever.inc("n.timed")

    @on("enrollment.exited.v1")
    def exited(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "exited")
        _move(event, ops, event.data.get("was") or "active", None)
        for ever in _ever(event, ops):
            ever.inc(f"reasons.{stored_name(event.data['reason'])}")


def _document(event: Event, ops: Ops, scope: str, bucket: str) -> Document:
    document = ops.document(event, f"{event.organization_id}|{scope}|{event.partition}|{bucket}")
    if "scope" not in document.stages[0].paths:
        document.set_on_insert({"scope": scope, "bucket": bucket})
    return document


def _ever(event: Event, ops: Ops) -> list[Document]:
    """The documents of all time that an enrollment's event belongs to."""
    scopes = ["organization"] if event.sequence_id is None else ["organization", f"sequence:{event.sequence_id}"]
    return [_document(event, ops, scope, "all") for scope in scopes]


def _called(event: Event) -> str:
    """The figure of a step that was carried out: a call of another system is no message that could be opened."""
    return "called" if event.data.get("channel") == "webhook" else "sent"


def _count(event: Event, ops: Ops, figure: str, *, by: int = 1, organization: bool = True) -> None:
    stamp = event.at.isoformat()
    day, hour = stamp[:10], stamp[11:13]
    if organization:
        _count_in(_document(event, ops, "organization", "all"), figure, by)
        _count_on(_document(event, ops, "organization", f"day:{day}"), hour, figure, by)
    if event.sequence_id is not None:
        scope = f"sequence:{event.sequence_id}"
        _count_in(_document(event, ops, scope, "all"), figure, by)
        _count_on(_document(event, ops, scope, f"day:{day}"), hour, figure, by)
    if event.topic.startswith("enrollment."):
        _count_parts(event, ops, figure)
        if figure in _OF_COHORTS and event.enrolled_at is not None:
            _count_cohort(event, ops, figure)


def _count_in(ever: Document, figure: str, by: int) -> None:
    ever.inc(f"n.{figure}", by)


def _count_on(day: Document, hour: str, figure: str, by: int) -> None:
    day.inc(f"n.{figure}", by)
    day.inc(f"hours.{hour}.{figure}", by)


def _count_parts(event: Event, ops: Ops, figure: str) -> None:
    """A step's, variant's and sender's own figures, where the event names them."""
    get = event.data.get
    step_id, sender = get("step_id"), get("sender")
    if event.sequence_id is not None and step_id is not None:
        ever = _document(event, ops, f"sequence:{event.sequence_id}", "all")
        ever.inc(f"steps.{step_id}.{figure}")
        if get("variant") is not None:
            ever.inc(f"variants.{step_id}.{get('variant')}.{get('content')}.{figure}")
        if sender is not None:
            ever.inc(f"senders.{stored_name(sender)}.{figure}")
    if sender is not None:
        _document(event, ops, "organization", "all").inc(f"senders.{stored_name(sender)}.{figure}")


def _count_cohort(event: Event, ops: Ops, figure: str) -> None:
    began = event.enrolled_at
    assert began is not None
    monday = began.date() - timedelta(days=began.weekday())
    week = max((event.at - began) // WEEK, 0)
    cohort = _document(event, ops, "cohorts", f"week:{monday}")
    cohort.inc(f"sequences.{event.sequence_id}.{week}.{figure}")


def _move(event: Event, ops: Ops, before: str | None, after: str | None) -> None:
    """One enrollment less in one status, one more in another; None is outside."""
    if before == after:
        return
    for ever in _ever(event, ops):
        if before is not None:
            ever.inc(f"now.{before}", -1)
        if after is not None:
            ever.inc(f"now.{after}")
