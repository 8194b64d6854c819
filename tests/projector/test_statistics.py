"""What the statistics count equals what is found by looking at every event of a random history."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.memory_world import MemoryWorld
from services.projector.links import enrollment_of
from shared.events.engagement import RecordSignal
from shared.events.enrollment import (
    CancelEnrollment,
    ConversionAttributed,
    EngagementNoted,
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentStarted,
    PauseEnrollment,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    ResolveDispatch,
    ResumeEnrollment,
    StepDue,
    StepFailed,
    StepSent,
    StepSettled,
)
from shared.events.envelope import Envelope, to_cloud_event
from shared.events.lead import LeadBody, LeadConverted, LeadCreated, LeadUnsubscribed, LeadWon
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.ids import derived_id, partition_of
from shared.persistence.figures import add_up
from tests.domain.scenario import T, days, definition, email
from tests.projector.projecting import events_of, projected

VARIANTS = [{"variant_id": name, "config": {"subject": name}} for name in ("a", "b")]
STEPS = [
    email("hello", variants=VARIANTS, selection={"mode": "auto", "min_sent": 1}),
    email("again", delay=days(2)),
    email("last", delay=days(9), variants=VARIANTS),
]
SEQUENCES = [derived_id("sequence", name) for name in ("one", "two")]
PEOPLE = 6


class History:
    """Leads that go through two sequences while much happens to them."""

    def __init__(self, seed: int, rounds: int) -> None:
        self.dice = random.Random(seed)
        self.world = MemoryWorld(T)
        self.times: list[Any] = []
        self.send(FoundOrganization(name="Demo"))
        self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
        for nth, sequence_id in enumerate(SEQUENCES):
            made = definition(STEPS, settings={"on_in_doubt": "hold" if nth else "continue"})
            trigger = made.trigger.model_copy(update={"priority": nth})
            made = made.model_copy(update={"name": f"S{nth}", "trigger": trigger})
            self.send(DraftSequence(sequence_id=sequence_id, definition=made, activate=True))
        for number in range(PEOPLE):
            body = LeadBody(email=f"lead{number}@example.com")
            self.send(LeadCreated(organization_id="demo", lead=body), f"lead{number}")
        for _ in range(rounds):
            self.dice.choice((self.wake, self.wake, self.answer, self.answer, self.signal, self.signal, self.order))()
        self.events = self._cloud_events()

    def send(self, message: Message, message_id: str = "") -> None:
        with contextlib.suppress(DomainError):
            self.world.send(message, message_id=message_id)
        self._stamp()

    def _stamp(self) -> None:
        self.times += [self.world.now] * (len(self.world.log) - len(self.times))

    @property
    def enrollments(self) -> list[Enrollment]:
        return [state for state in self.world.states.values() if isinstance(state, Enrollment)]

    def wake(self) -> None:
        self.world.advance(timedelta(hours=self.dice.choice((1, 30, 60, 200))))
        for timer in self.world.due()[:2]:
            self.world.wake(timer)
        self._stamp()

    def answer(self) -> None:
        state = self.dice.choice(self.enrollments)
        flight = state.in_flight
        if flight is None:
            return
        kinds: list[tuple[type[Any], dict[str, Any]]] = [
            (RecordSent, {"sent_at": self.world.now}),
            (RecordSent, {"sent_at": self.world.now}),
            (RecordInDoubt, {"reason": "lost"}),
            (RecordDeferred, {"reason": "busy", "fault": True}),
            (RecordRejected, {"reason": "no such box", "bounce": self.dice.random() < 0.3}),
        ]
        cls, more = self.dice.choice(kinds)
        self.send(
            cls(
                enrollment_id=state.id,
                execution=flight.execution,
                attempt=flight.attempt,
                dispatch_id=flight.dispatch_id,
                **more,
            )
        )

    def signal(self) -> None:
        state = self.dice.choice(self.enrollments)
        if not state.executions:
            return
        signal = self.dice.choice(("opened", "opened", "clicked", "replied", "unsubscribed", "complained", "delivered"))
        machine = 0.9 if signal in {"opened", "clicked"} and self.dice.random() < 0.3 else 0.0
        self.send(
            RecordSignal.model_validate(
                {
                    "enrollment_id": state.id,
                    "execution": self.dice.choice(list(state.executions)),
                    "signal": signal,
                    "at": self.world.now,
                    "machine": machine,
                    "count": self.dice.choice((1, 1, 3)),
                }
            )
        )

    def order(self) -> None:
        state = self.dice.choice(self.enrollments)
        number = max(state.executions, default=1)
        body = LeadBody(email=f"lead{self.dice.randrange(PEOPLE)}@example.com")
        self.send(
            self.dice.choice(
                (
                    PauseEnrollment(enrollment_id=state.id),
                    ResumeEnrollment(enrollment_id=state.id),
                    ResumeEnrollment(enrollment_id=state.id),
                    CancelEnrollment(enrollment_id=state.id, reason="not.ours $"),
                    ResolveDispatch(enrollment_id=state.id, execution=number, outcome="sent"),
                    LeadConverted(organization_id="demo", lead=body, occurred_at=self.world.now),
                )
            ),
            f"order{len(self.world.log)}",
        )

    def _cloud_events(self) -> list[dict[str, Any]]:
        found = []
        for position, (change, at) in enumerate(zip(self.world.log, self.times, strict=True), start=1):
            envelope = Envelope(
                id=str(position),
                message=change.event,
                source="test",
                time=at,
                organization_id="demo",
                subject=change.id,
                lead_id=change.lead_id,
                partition=partition_of(change.lead_id or change.id, 16),
                position=position,
            )
            found.append(to_cloud_event(envelope))
        return found


def merged(documents: dict[str, Any], scope: str, bucket: str = "all") -> dict[str, Any]:
    total: dict[str, Any] = {}
    for document in documents.values():
        if document["scope"] == scope and document["bucket"].startswith(bucket):
            names = ("n", "now", "reasons", "senders", "steps", "variants", "sequences")
            add_up(total, {name: document[name] for name in names if name in document})
    return total


HISTORIES = st.builds(History, st.integers(0, 2**32), st.integers(0, 120))


@given(HISTORIES, st.lists(st.integers(0, 300), max_size=4))
@settings(max_examples=25, deadline=None)
def test_counts_equal_events(history: History, cuts: list[int]) -> None:
    documents = projected(events_of(history.events), cuts)["statistics"]
    log = history.world.log
    sequence_of = {state.id: state.sequence_id for state in history.enrollments}
    for sequence_id in SEQUENCES:
        tree = merged(documents, f"sequence:{sequence_id}")
        own = [change.event for change in log if sequence_of.get(change.id) == sequence_id]
        figures = tree.get("n", {})
        assert figures.get("enrolled", 0) == count(own, EnrollmentStarted)
        assert figures.get("due", 0) == sum(isinstance(each, StepDue) and each.attempt == 1 for each in own)
        assert figures.get("sent", 0) == len(sends(own))
        assert figures.get("conversions", 0) == count(own, ConversionAttributed)
        assert figures.get("completed", 0) == figures.get("timed", 0) == count(own, EnrollmentCompleted)
        took = sum(each.took_seconds or 0 for each in own if isinstance(each, EnrollmentCompleted))
        assert figures.get("took_seconds", 0) == took
        reasons = Counter(each.reason for each in own if isinstance(each, EnrollmentExited))
        assert sum(tree.get("reasons", {}).values()) == reasons.total()
        for signal in ("opened", "clicked", "replied", "complained", "delivered"):
            noted = [each for each in own if isinstance(each, EngagementNoted) and each.signal == signal]
            assert figures.get(signal, 0) == len(noted)
        refused = sum(isinstance(each, StepFailed) and each.bounce for each in own)
        noted = [each for each in own if isinstance(each, EngagementNoted) and each.signal == "bounced"]
        assert figures.get("bounced", 0) == refused + len(noted)
        assert figures.get("bounced_unsent", 0) == refused
        unsubscribed = [
            change.event
            for change in log
            if isinstance(change.event, LeadUnsubscribed)
            and sequence_of.get(change.event.enrollment_id or change.id) == sequence_id
        ]
        assert figures.get("unsubscribed", 0) == len(unsubscribed)
        for figure in ("bounced", "unsubscribed", "failed", "in_doubt"):
            assert summed(tree.get("senders", {}), figure) == figures.get(figure, 0)
            assert summed(tree.get("steps", {}), figure) == figures.get(figure, 0)
        now = Counter(str(state.status) for state in history.enrollments if state.sequence_id == sequence_id)
        for status in ("pending", "active", "paused"):
            assert tree.get("now", {}).get(status, 0) == now[status]
        assert summed(tree.get("senders", {}), "sent") == figures.get("sent", 0)
        assert summed(tree.get("steps", {}), "sent") == figures.get("sent", 0)
        variants = Counter((each.step_id, each.variant) for each in sends(own) if each.variant is not None)
        for (step_id, variant), wanted in variants.items():
            assert summed(tree["variants"][step_id][variant], "sent") == wanted
    everything = merged(documents, "organization")
    assert everything.get("n", {}).get("conversions", 0) == count([change.event for change in log], LeadWon)


@given(HISTORIES)
@settings(max_examples=10, deadline=None)
def test_days_cohorts_and_machines_add_up(history: History) -> None:
    documents = projected(events_of(history.events))["statistics"]
    ever = merged(documents, "organization").get("n", {})
    by_day = merged(documents, "organization", "day:").get("n", {})
    for figure in ("sent", "opened", "clicked", "enrolled", "machine_opened", "machine_clicked"):
        assert by_day.get(figure, 0) == ever.get(figure, 0)
    hits = [each["data"] for each in history.events if each["type"] == "engagement.signal_received.v1"]
    machines: Counter[str] = Counter()
    for hit in hits:
        if hit["machine"] >= 0.5:
            machines[hit["signal"]] += hit["count"]
    assert ever.get("machine_opened", 0) == machines["opened"]
    assert ever.get("machine_clicked", 0) == machines["clicked"]
    cohorts = merged(documents, "cohorts", "week:").get("sequences", {})
    for figure in ("enrolled", "sent", "opened", "completed", "exited"):
        found = sum(summed(by_week, figure) for by_week in cohorts.values())
        assert found == ever.get(figure, 0)


def test_a_cohort_is_counted_from_each_ones_own_beginning() -> None:
    history = History(7, 150)
    began = {each["subject"]: each["time"] for each in history.events if each["type"] == "enrollment.started.v1"}
    assert len(began) == PEOPLE
    weeks: Counter[int] = Counter()
    for event in events_of(history.events):
        settled = event.topic == "enrollment.step_settled.v1" and event.data["outcome"] == "sent"
        if settled or event.topic == "enrollment.step_sent.v1":
            assert event.enrolled_at is not None
            assert enrollment_of(event) in began
            weeks[(event.at - event.enrolled_at).days // 7] += 1
    documents = projected(events_of(history.events))["statistics"]
    found: dict[str, Any] = {}
    for by_week in merged(documents, "cohorts", "week:")["sequences"].values():
        add_up(found, by_week)
    assert {int(week): figures["sent"] for week, figures in found.items() if "sent" in figures} == weeks


def count(events: list[Any], cls: type[Any]) -> int:
    return sum(isinstance(each, cls) for each in events)


def sends(events: list[Any]) -> list[StepSent | StepSettled]:
    return [
        each
        for each in events
        if isinstance(each, StepSent) or (isinstance(each, StepSettled) and each.outcome == "sent")
    ]


def summed(tree: dict[str, Any], figure: str) -> int:
    return sum(each.get(figure, 0) for each in tree.values())
