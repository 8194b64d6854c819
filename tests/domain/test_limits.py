"""Limits: who gets the places of a day or minute, and that there are never more."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.enrollment.domain.errors import InvalidSettings
from services.enrollment.domain.full_slots import Runs
from services.enrollment.domain.quotas import Limit, allowance, begins, index_of, parsed, slot_name
from services.enrollment.domain.row_types import TIMER
from services.enrollment.domain.windows import first_zone
from shared.events.definition import Limits, RampUp
from shared.events.enrollment import (
    CancelEnrollment,
    EnrollmentReplanned,
    MigrateEnrollment,
    RecordRejected,
    StepDue,
)
from shared.events.organization import ReleaseSender, SetOrganization, SetSender
from shared.events.sequence import ActivateSequence, ApproveSequence, EditSequence, SubmitSequence
from tests.domain.many import Many, day
from tests.domain.scenario import T, days, definition, email

ONE_MAIL = (email("only"),)


def test_leads_get_the_earliest_places_in_turn() -> None:
    many = Many()
    many.enroll(many.sequence("a", ONE_MAIL, limits={"per_day": 5}), 12)
    assert many.run(day(5)) == 12  # each timer rang once
    assert many.per_day() == {0: 5, 1: 5, 2: 2}


def test_limits_per_minute_hold_from_minute_to_minute() -> None:
    many = Many()
    many.enroll(many.sequence("a", ONE_MAIL, limits={"per_minute": 2, "per_day": 5}), 7)
    many.run(day(2))
    minutes = Counter((event.due_at.date(), event.due_at.minute) for event in _due(many))
    assert max(minutes.values()) == 2
    assert many.per_day() == {0: 5, 1: 2}


def test_a_cancelled_enrollment_gives_its_place_to_the_next() -> None:
    many = Many()
    sequence = many.sequence("a", ONE_MAIL, limits={"per_day": 1})
    enrollments = many.enroll(sequence, 3)
    many.world.send(CancelEnrollment(enrollment_id=enrollments[1]))
    [late] = many.enroll(sequence)
    many.run(day(3))
    assert many.per_day() == {0: 1, 1: 1, 2: 1}
    assert many.due()[1].id == late


def test_first_touches_never_keep_follow_ups_from_their_day() -> None:
    many = Many()
    many.enroll(many.sequence("a", (email("first"), email("second", delay=days(1))), limits={"per_day": 2}), 10)
    many.run(day(4))
    # On each day the follow-ups of those written to the day before go first; what they leave goes to new leads.
    assert many.per_day(step="second") == {1: 2, 3: 2}
    assert many.per_day(step="first") == {0: 2, 2: 2, 4: 2}


def test_what_follow_ups_leave_of_a_day_goes_to_new_leads_the_same_day() -> None:
    many = Many()
    sequence = many.sequence("a", (email("first"), email("second", delay=days(2))), limits={"per_day": 4})
    enrollments = many.enroll(sequence, 8)
    many.run(day(1))
    assert many.per_day() == {0: 4, 1: 4}
    for each in enrollments[:3]:
        many.world.send(CancelEnrollment(enrollment_id=each))
    many.enroll(sequence, 4)
    many.run(day(2))
    assert many.per_day(step="second")[2] == 1
    assert many.per_day(step="first")[2] == 3


def test_sequences_that_share_a_limit_have_equal_parts() -> None:
    many = Many(limits={"per_day": 10})
    big, small = many.sequence("big", ONE_MAIL), many.sequence("small", ONE_MAIL)
    many.enroll(big, 60)
    many.enroll(small, 12)
    many.run(day(3))
    assert many.per_day() == {0: 10, 1: 10, 2: 10, 3: 10}
    assert many.per_day(sequence_id=small) == {0: 5, 1: 5, 2: 2}  # though the big one had booked six days


def test_what_one_sequence_leaves_of_its_part_goes_to_the_other() -> None:
    many = Many(limits={"per_day": 10})
    big, small = many.sequence("big", ONE_MAIL), many.sequence("small", ONE_MAIL)
    many.enroll(big, 18)
    many.enroll(small, 2)
    many.run(day(3))
    assert many.per_day() == {0: 10, 1: 10}
    assert many.per_day(sequence_id=small) == {0: 2}


def test_days_are_those_of_the_organizations_zone() -> None:
    many = Many(timezone="Europe/Berlin")
    many.to(T.replace(hour=22, minute=30))  # 23:30 in Berlin
    many.enroll(many.sequence("a", ONE_MAIL, limits={"per_day": 1}), 2)
    many.run(day(1))
    assert [event.due_at for event in _due(many)] == [T.replace(hour=22, minute=30), T.replace(hour=23, minute=0)]


def test_a_day_that_begins_with_a_gap_begins_after_it() -> None:
    limit = Limit("organization", "day", 1, first_zone("America/Asuncion"))
    moment = datetime(2023, 10, 1, 12, tzinfo=UTC)  # clocks went from 00:00 to 01:00 that day
    start = begins(limit, index_of(limit, moment))
    assert start == datetime(2023, 10, 1, 4, tzinfo=UTC)
    assert index_of(limit, start) == index_of(limit, moment)
    assert index_of(limit, start - timedelta(seconds=1)) == index_of(limit, moment) - 1


# --- ramp-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        ({"start": 5, "step": 10}, [5, 15, 25, 30, 30]),
        ({"start": 4, "factor": 1.5}, [4, 6, 9, 13, 20, 30, 30]),
        ({"start": 50, "step": 1}, [30, 30]),
    ],
)
def test_a_ramp_grows_to_the_full_limit(ramp: dict[str, Any], expected: list[int]) -> None:
    assert [allowance(RampUp.model_validate(ramp), 30, number) for number in range(len(expected))] == expected
    assert allowance(RampUp.model_validate(ramp), 30, -3) == expected[0]
    assert allowance(RampUp.model_validate(ramp), 30, 100_000) == 30


@given(st.integers(1, 500), st.floats(1.01, 10), st.integers(1, 10_000), st.integers(0, 3_000))
def test_a_ramp_never_shrinks_and_never_exceeds(start: int, factor: float, full: int, number: int) -> None:
    ramp = RampUp(start=start, factor=factor)
    assert 1 <= allowance(ramp, full, number) <= allowance(ramp, full, number + 1) <= full


def test_a_new_sender_begins_with_few_messages() -> None:
    many = _ramped()
    many.enroll(many.sequence("a", ONE_MAIL), 12)
    many.run(day(5))
    assert many.per_day() == {0: 1, 1: 3, 2: 4, 3: 4}


def test_a_ramp_goes_on_from_its_first_day_when_the_sender_changes() -> None:
    many = _ramped()
    many.run(day(1))
    account = _sender(ramp_up=RampUp(start=1, step=2), limits=Limits(per_day=4), name="Another name")
    assert [change.event.ramp_from for change in many.world.send(account).changes] == [T]  # type: ignore[attr-defined]
    assert many.world.send(account).changes == []


def test_a_ramp_without_a_limit_to_lead_to_is_refused() -> None:
    with pytest.raises(InvalidSettings):
        Many().world.send(_sender(ramp_up=RampUp(start=1, step=2)))


def _sender(**more: Any) -> SetSender:
    return SetSender.model_validate({"sender_id": "default", "name": "Demo", "email": "demo@example.com", **more})


def _ramped() -> Many:
    many = Many()
    many.world.send(_sender(ramp_up=RampUp(start=1, step=2), limits=Limits(per_day=4)))
    return many


# --- limits that are loosened -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        SetOrganization(limits=Limits(per_day=20)),
        SetOrganization(limits=Limits()),
        SetOrganization(limits=Limits(per_day=20, per_minute=20)),
    ],
)
def test_what_waits_for_the_organizations_limit_goes_out_as_soon_as_there_is_room(order: SetOrganization) -> None:
    many = Many(limits={"per_day": 5})
    enrollments = many.enroll(many.sequence("a", ONE_MAIL), 12)
    many.run(T + timedelta(minutes=1))
    many.world.send(order)
    many.run(day(0))
    assert many.per_day() == {0: 12}
    replanned = [change.event for change in many.world.log if isinstance(change.event, EnrollmentReplanned)]
    assert {event.why.rule for event in replanned} == {"rules_changed"}
    assert len(replanned) == 7
    assert all(many.state(each).sent == 1 for each in enrollments)


def test_a_limit_raised_by_little_moves_as_many_as_there_is_room_for() -> None:
    many = Many(limits={"per_day": 2})
    many.enroll(many.sequence("a", ONE_MAIL), 9)
    many.run(T + timedelta(minutes=1))
    many.world.send(SetOrganization(limits=Limits(per_day=3)))
    many.run(day(5))
    assert many.per_day() == {0: 3, 1: 3, 2: 3}
    reserved = {key: used for key, used in many.world.quotas.items() if not key[2].startswith(("day:", "minute:"))}
    assert set(reserved.values()) <= {0}


@pytest.mark.parametrize(
    "change",
    [
        {"limits": Limits(per_day=20)},
        {"limits": Limits(per_day=4), "ramp_up": RampUp(start=4, step=1)},
        {"limits": Limits(per_day=4)},
    ],
)
def test_what_waits_for_a_senders_limit_or_ramp_is_planned_again(change: dict[str, Any]) -> None:
    many = _ramped()
    many.enroll(many.sequence("a", ONE_MAIL), 4)
    many.run(T + timedelta(minutes=1))
    assert many.per_day() == {0: 1}
    many.world.send(_sender(**change))
    many.run(day(0))
    assert many.per_day() == {0: 4}


def test_another_sender_that_takes_over_brings_its_own_limits() -> None:
    many = Many()
    account = {"sender_id": "a", "name": "A", "email": "a@example.com"}
    many.world.send(SetSender.model_validate({**account, "limits": {"per_day": 1}}))
    many.world.send(_sender(active=False))
    many.enroll(many.sequence("s", ONE_MAIL), 3)
    many.run(T + timedelta(minutes=1))
    assert many.per_day() == {0: 1}
    many.world.send(_sender(active=True))
    many.run(day(0))
    assert many.per_day() == {0: 3}


def test_a_sender_that_was_loosened_while_it_was_off_lets_out_what_waits_when_it_is_on_again() -> None:
    many = Many()
    many.world.send(_sender(limits=Limits(per_day=1)))
    many.enroll(many.sequence("a", ONE_MAIL), 3)
    many.run(T + timedelta(minutes=1))
    assert many.per_day() == {0: 1}
    assert many.world.send(_sender(active=False, limits=Limits(per_day=9))).woken == []
    many.world.send(_sender(limits=Limits(per_day=9)))
    many.run(day(0))
    assert many.per_day() == {0: 3}


@pytest.mark.parametrize(
    "order",
    [
        SetOrganization(limits=Limits(per_day=2)),
        SetOrganization(limits=Limits(per_day=5, per_minute=1)),
        SetOrganization(name="Another"),
        SetSender(sender_id="second", name="B", email="b@example.com"),
        SetSender(sender_id="default", name="C", email="demo@example.com", ramp_up=RampUp(start=1, step=1),
                  limits=Limits(per_day=9)),
        SetSender(sender_id="default", name="C", email="demo@example.com", active=False),
    ],
)  # fmt: skip
def test_what_loosens_nothing_wakes_nobody(order: Any) -> None:
    many = Many(limits={"per_day": 5})
    many.enroll(many.sequence("a", ONE_MAIL), 8)
    many.run(T + timedelta(minutes=1))
    before = dict(many.world.timers)
    assert [wake for wake in many.world.send(order).woken if wake.blocked_on is None] == []
    assert many.world.timers == before


def test_a_sequences_limits_belong_to_its_version_and_those_who_move_get_the_new_ones() -> None:
    many = Many()
    sequence_id = many.sequence("a", ONE_MAIL, limits={"per_day": 1})
    enrollments = many.enroll(sequence_id, 4)
    many.run(T + timedelta(minutes=1))
    looser = definition(ONE_MAIL, settings={"limits": {"per_day": 3}}, trigger={"start": "manual"})
    many.world.send(EditSequence(sequence_id=sequence_id, definition=looser))
    for order in (SubmitSequence, ApproveSequence, ActivateSequence):
        many.world.send(order(sequence_id=sequence_id))
    many.run(T + timedelta(minutes=2))
    assert many.per_day() == {0: 1}  # they stay in the version they entered
    for each in enrollments[1:]:
        many.world.send(MigrateEnrollment(enrollment_id=each, version=2))
    many.run(day(1))
    assert many.per_day() == {0: 3, 1: 1}


def test_releasing_a_brake_gives_those_it_held_the_places_there_are_now() -> None:
    many = Many(limits={"per_day": 2}, brake={"bounce_percent": 10, "min_sent": 1})
    sequence_id = many.sequence("a", ONE_MAIL, brake={"bounce_percent": None, "complaint_percent": None})
    first, second, third = many.enroll(sequence_id, 3)
    timer = many.world.timers[first, TIMER]
    sent = many.world.wake(timer)
    [due] = [change.event for change in sent.changes if isinstance(change.event, StepDue)]
    named = {"enrollment_id": first, "execution": 1, "attempt": 1, "dispatch_id": due.dispatch_id}
    many.world.send(RecordRejected.model_validate({**named, "reason": "no such user", "bounce": True}))
    many.run(T + timedelta(minutes=1))
    assert len(many.due()) == 1
    many.world.send(ReleaseSender(sender_id="default"))
    many.run(day(0))
    assert [change.id for change in many.due()] == [first, second]
    many.run(day(1))
    assert [change.id for change in many.due()] == [first, second, third]


# --- whatever happens -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["enroll", "cancel", "hours", "loosen"]), st.integers(0, 1), st.integers(1, 6)),
        min_size=3,
        max_size=14,
    ),
    st.integers(1, 4),
    st.sampled_from([None, 1, 2]),
)
def test_no_limit_is_ever_exceeded_and_nobody_is_lost(
    acts: list[tuple[str, int, int]], per_day: int, per_minute: int | None
) -> None:
    limits = {"per_day": per_day} | ({"per_minute": per_minute} if per_minute else {})
    many = Many(limits=limits)
    sequences = [many.sequence(name, (email("first"), email("second", delay=days(1)))) for name in "ab"]
    open_ones: list[Any] = []
    for act, which, amount in acts:
        match act:
            case "enroll":
                open_ones += many.enroll(sequences[which], amount)
            case "cancel" if open_ones:
                victim = open_ones.pop(amount % len(open_ones))
                if many.state(victim).is_open:
                    many.world.send(CancelEnrollment(enrollment_id=victim))
            case "loosen":  # and back again, so that what is checked at the end still holds
                many.world.send(SetOrganization(limits=Limits(per_day=per_day + amount)))
                many.world.send(SetOrganization(limits=Limits.model_validate(limits)))
            case "hours":
                many.run(many.world.now + timedelta(hours=amount * 5))
    many.run(many.world.now + timedelta(days=400))
    assert max(many.per_day().values(), default=0) <= per_day
    minutes = Counter(event.due_at.replace(second=0, microsecond=0) for event in _due(many))
    assert max(minutes.values(), default=0) <= (per_minute or per_day)
    assert all(many.state(each).sent == 2 for each in open_ones)
    reserved = {key: used for key, used in many.world.quotas.items() if not key[2].startswith(("day:", "minute:"))}
    assert set(reserved.values()) <= {0}


def _due(many: Many) -> list[StepDue]:
    return [change.event for change in many.due() if isinstance(change.event, StepDue)]


# --- what is known to be full -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_runs_know_what_is_full(acts: list[tuple[bool, int]]) -> None:
    runs, full = Runs(), set[int]()
    for add, index in acts:
        (runs.add if add else runs.remove)(index)
        (full.add if add else full.discard)(index)
        for start in range(14):
            after = start
            while after in full:
                after += 1
            assert runs.after(start) == after


@pytest.mark.parametrize("unit", ["day", "minute"])
def test_a_slots_name_tells_its_number(unit: str) -> None:
    limit = Limit("organization", unit, 1)
    index = index_of(limit, T)
    for prefix in ("", "follow:", "first:"):
        assert parsed(prefix + slot_name(unit, index)) == (unit, index)
    assert begins(limit, index) <= T < begins(limit, index + 1)
