"""The brake: who stops itself, when, and how it goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.brake import Tally, tally, verdict
from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.evolving import evolve_any
from services.enrollment.domain.row_types import TIMER
from services.enrollment.stop_orders import orders_of
from shared.events.definition import Brake
from shared.events.engagement import RecordSignal
from shared.events.enrollment import RecordRejected, RecordSent, StepDue, StepPostponed
from shared.events.message import Event
from shared.events.organization import ReleaseSender, SenderBraked, SenderReleased, SetSender
from shared.events.sequence import ReleaseSequence, SequenceBraked, SequenceReleased
from tests.domain.many import Many, day
from tests.domain.scenario import T, email

TIGHT = {"bounce_percent": 20, "complaint_percent": 10, "min_sent": 5}
OFF = {"bounce_percent": None, "complaint_percent": None}


def many(*, sequence: dict[str, Any] = OFF, sender: dict[str, Any] = OFF, leads: int = 12) -> tuple[Many, UUID]:
    """Leads whose first message is due, one after the other."""
    made = Many(brake=sender)
    sequence_id = made.sequence("a", (email("only"),), brake=sequence)
    made.enroll(sequence_id, leads)
    return made, sequence_id


def step(made: Many, outcome: str) -> list[Event]:
    """The next message goes out and comes to this end; what is recorded."""
    timer = made.next_timer()
    assert timer is not None
    [due] = [each for each in made.world.wake(timer).changes if isinstance(each.event, StepDue)]
    assert isinstance(due.event, StepDue)
    answer: dict[str, Any] = {"execution": 1, "attempt": due.event.attempt, "dispatch_id": due.event.dispatch_id}
    if outcome == "rejected":
        message = RecordRejected(enrollment_id=due.id, reason="no such user", bounce=True, **answer)
        return [change.event for change in made.world.send(message).changes]
    events = made.world.send(RecordSent(enrollment_id=due.id, sent_at=made.world.now, **answer)).changes
    if outcome != "sent":
        signal = RecordSignal.model_validate(
            {
                "enrollment_id": due.id,
                "execution": 1,
                "signal": outcome,
                "at": made.world.now,
                "bounce_kind": "hard" if outcome == "bounced" else None,
            }
        )
        events = made.world.send(signal).changes
    return [change.event for change in events]


@pytest.mark.parametrize("outcome", ["rejected", "bounced"])
def test_a_burst_of_hard_bounces_stops_the_rest(outcome: str) -> None:
    made, sequence_id = many(sequence=TIGHT)
    for end in ("sent", "sent", outcome, "sent"):
        assert not any(isinstance(event, SequenceBraked) for event in step(made, end))
    [braked] = [event for event in step(made, outcome) if isinstance(event, SequenceBraked)]
    assert (braked.why.rule, braked.why.inputs) == (
        "bounce_rate",
        {"count": 2, "sent": 5, "most_percent": 20.0, "hours": 24},
    )
    made.run(day(3))
    assert len(made.due()) == 5
    waiting = [timer for timer in made.world.timers.values() if timer.blocked_on == f"brake:sequence:{sequence_id}"]
    assert len(waiting) == 7


def test_complaints_have_a_band_of_their_own() -> None:
    made, _ = many(sequence=TIGHT)
    for _number in range(4):
        step(made, "sent")
    [braked] = [event for event in step(made, "complained") if isinstance(event, SequenceBraked)]
    assert braked.why.rule == "complaint_rate"


def test_few_messages_say_nothing() -> None:
    made, _ = many(sequence=TIGHT)
    for _number in range(4):
        assert not any(isinstance(event, SequenceBraked) for event in step(made, "rejected"))


def test_too_many_messages_in_an_hour_stop_the_rest() -> None:
    made, _ = many(sequence={**OFF, "most_per_hour": 3})
    for _number in range(3):
        step(made, "sent")
    [braked] = [event for event in step(made, "sent") if isinstance(event, SequenceBraked)]
    assert braked.why.inputs == {"sent": 4, "most_per_hour": 3}


def test_a_sender_stops_itself_in_every_sequence() -> None:
    made, _ = many(sender=TIGHT)
    other = made.sequence("b", (email("only"),), brake=OFF)
    for end in ("rejected", "sent", "sent", "sent"):
        step(made, end)
    [braked] = [event for event in step(made, "rejected") if isinstance(event, SenderBraked)]
    assert (braked.sender_id, braked.why.rule) == ("default", "bounce_rate")
    made.enroll(other)
    made.run(day(1))
    assert len(made.due()) == 5
    made.world.send(ReleaseSender(sender_id="default"))
    made.run(day(2))
    assert len(made.due()) == 13


def test_a_released_sequence_goes_on_and_counts_anew() -> None:
    made, sequence_id = many(sequence=TIGHT)
    for end in ("sent", "sent", "rejected", "sent", "rejected"):
        step(made, end)
    made.run(made.world.now)
    made.world.send(ReleaseSequence(sequence_id=sequence_id))
    assert made.world.send(ReleaseSequence(sequence_id=sequence_id)).changes == []
    made.run(day(1))
    assert len(made.due()) == 12
    assert all(made.state(change.id).status != Status.ACTIVE for change in made.due())


def test_releasing_what_no_brake_holds_records_nothing() -> None:
    made, sequence_id = many(sequence=TIGHT)
    assert made.world.send(ReleaseSequence(sequence_id=sequence_id)).changes == []
    assert made.world.send(ReleaseSender(sender_id="default")).changes == []
    with pytest.raises(UnknownTarget):
        made.world.send(ReleaseSender(sender_id="nobody"))


@pytest.mark.parametrize("scope", ["sequence", "sender"])
def test_a_release_is_recorded_once_and_lets_what_waits_go_on(scope: str) -> None:
    made, sequence_id = many(sequence=TIGHT) if scope == "sequence" else many(sender=TIGHT)
    for end in ("sent", "sent", "rejected", "sent", "rejected"):
        step(made, end)
    made.run(made.world.now)
    blocker = f"brake:sequence:{sequence_id}" if scope == "sequence" else "brake:sender:default"
    waiting = [row.aggregate_id for row in made.world.timers.values() if row.blocked_on == blocker]
    assert waiting
    order = ReleaseSequence(sequence_id=sequence_id) if scope == "sequence" else ReleaseSender(sender_id="default")
    released = SequenceReleased() if scope == "sequence" else SenderReleased(sender_id="default")
    assert [change.event for change in made.world.send(order).changes] == [released]
    assert made.world.send(order).changes == []
    assert all(made.world.timers[each, TIMER].blocked_on is None for each in waiting)
    made.run(day(3))
    assert {change.id for change in made.due()} >= set(waiting)


def test_what_waits_says_for_what() -> None:
    made, sequence_id = many(sequence=TIGHT)
    for end in ("sent", "sent", "rejected", "sent", "rejected"):
        step(made, end)
    timer = made.next_timer()
    assert timer is not None
    [postponed] = [change.event for change in made.world.wake(timer).changes]
    assert isinstance(postponed, StepPostponed)
    assert (postponed.plan.why.rule, postponed.plan.blocked_on) == ("brake", f"brake:sequence:{sequence_id}")


def test_a_changed_sender_stays_braked() -> None:
    made, _ = many(sender=TIGHT)
    for end in ("rejected", "sent", "sent", "sent", "rejected"):
        step(made, end)
    account = SetSender.model_validate({"sender_id": "default", "name": "New", "email": "a@example.com"})
    made.world.send(account)
    organization = made.world.organization("demo")
    assert organization is not None
    assert organization.senders["default"].braked is not None


def test_the_log_alone_says_what_is_braked() -> None:
    made, sequence_id = many(sequence=TIGHT)
    for end in ("sent", "sent", "rejected", "sent", "rejected"):
        step(made, end)
    folded: Any = None
    for change in made.world.log:
        if change.id == sequence_id:
            folded = evolve_any(
                "sequence", folded, change.event, id=sequence_id, organization_id="demo", lead_id=None, at=T
            )
    assert folded == made.world.sequence(sequence_id)
    assert folded.braked is not None


def test_what_is_on_its_way_is_stopped_too() -> None:
    stored = {"subject": str(UUID(int=1)), "organizationid": "demo", "position": 9, "time": T.isoformat(), "id": "x"}
    sequence = {**stored, "type": "sequence.braked.v1", "data": {}}
    sender = {**stored, "type": "organization.sender_braked.v1", "data": {"sender_id": "default"}}
    assert [key for key, _ in orders_of(sequence)] == ["stop.sequence"]
    [(key, order)] = orders_of(sender)
    assert (key, order.model_dump()["key"], order.model_dump()["before"]) == ("stop.sender", "demo:default", 9)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def test_only_the_last_hours_are_looked_at() -> None:
    now = T + timedelta(minutes=30)
    hour = int(T.timestamp()) // 3600
    figures = {f"{hour}:sent": 1, f"{hour - 23}:sent": 10, f"{hour - 24}:sent": 100, f"{hour}:bounced": 3}
    assert tally(figures, now, 24) == Tally(sent=11, bounced=3)
    assert tally(figures, now, 1) == Tally(sent=1, bounced=3)
    assert tally({}, now, 24) == Tally()


@pytest.mark.parametrize(
    ("recent", "rule"),
    [
        (Tally(100, 10, 0), None),
        (Tally(100, 11, 0), "bounce_rate"),
        (Tally(49, 49, 49), None),
        (Tally(50, 0, 2), "complaint_rate"),
        (Tally(50, 50, 0), "bounce_rate"),
    ],
)
def test_the_band(recent: Tally, rule: str | None) -> None:
    why = verdict(Brake(), recent, Tally())
    assert (why.rule if why is not None else None) == rule
