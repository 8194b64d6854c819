"""Bulks: gathered in pages, carried out target by target, cancelled, undone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.errors import (
    AlreadySent,
    BulkNotReady,
    BulkOver,
    BulkTooLarge,
    InvalidMoment,
    NotUndoable,
    SomeTargetsMissing,
    UnknownTarget,
)
from shared.events.bulk import (
    BULK_KINDS,
    PAGE,
    BeginBulk,
    BulkAdvanced,
    BulkBegun,
    BulkCancelled,
    BulkFinished,
    BulkOrdered,
    BulkTargetsNamed,
    BulkUndone,
    CancelBulk,
    NameBulkTargets,
    OrderBulk,
    RecordBulkProgress,
    Refusal,
    UndoBulk,
    command_of,
)
from shared.events.enrollment import Enroll, UndoEnrollment
from shared.events.errors import InvalidMessage
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, days, definition, email

BULK, UNDO = derived_id("bulk", 1), derived_id("bulk", 2)
LEADS = [UUID(int=n) for n in range(1, 6)]
ENROLL = OrderBulk(bulk_id=BULK, kind="enroll", order={"sequence_id": str(SEQUENCE)})
REFUSED = Refusal(target=LEADS[0], code="already_enrolled", detail="rule duplicate")


def page(number: int, targets: list[UUID]) -> NameBulkTargets:
    return NameBulkTargets(bulk_id=BULK, page=number, targets=targets)


def progress(begin: int, end: int, **more: Any) -> RecordBulkProgress:
    figures = {"done": end - begin, "unchanged": 0, **more}
    return RecordBulkProgress(bulk_id=BULK, begin=begin, end=end, **figures)


def begun(order: OrderBulk = ENROLL) -> Scenario:
    """A bulk of five targets that runs."""
    scenario = Scenario(enrolled=False).when(order).when(page(1, LEADS[:3])).when(page(2, LEADS[3:]))
    return scenario.when(BeginBulk(bulk_id=BULK, pages=2))


def bulk_of(scenario: Scenario, bulk_id: UUID = BULK) -> Bulk:
    state = scenario.world.bulk(bulk_id)
    assert state is not None
    return state


def test_a_bulk_is_ordered_once_and_what_it_enrols_names_it() -> None:
    scenario = Scenario(enrolled=False).when(ENROLL)
    scenario.then(BulkOrdered(kind="enroll", order={"sequence_id": str(SEQUENCE), "by": "bulk", "bulk_id": str(BULK)}))
    scenario.when(ENROLL).nothing()
    stranger = {"organization_id": "other"}
    scenario.when(ENROLL, **stranger).refused(UnknownTarget)


def test_pages_come_in_order_and_a_repeated_page_is_nothing() -> None:
    scenario = Scenario(enrolled=False).when(ENROLL)
    scenario.when(page(2, LEADS)).refused(SomeTargetsMissing)
    scenario.when(page(1, LEADS)).then(BulkTargetsNamed(page=1, targets=LEADS)).when(page(1, LEADS)).nothing()
    scenario.when(BeginBulk(bulk_id=BULK, pages=2)).refused(SomeTargetsMissing)
    scenario.when(BeginBulk(bulk_id=BULK, pages=1)).then(BulkBegun(count=5))
    scenario.when(BeginBulk(bulk_id=BULK, pages=1)).nothing()
    scenario.when(page(2, LEADS)).refused(BulkOver)


def test_a_bulk_has_a_size_and_one_for_nobody_is_finished_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.enrollment.domain.bulk.MOST_TARGETS", 4)
    Scenario(enrolled=False).when(ENROLL).when(page(1, LEADS)).refused(BulkTooLarge)
    nobody = Scenario(enrolled=False).when(ENROLL).when(BeginBulk(bulk_id=BULK, pages=0))
    nobody.then(BulkBegun(count=0), BulkFinished(done=0, unchanged=0, refused=0))
    with pytest.raises(ValidationError):
        page(1, [UUID(int=n) for n in range(PAGE + 1)])


def test_progress_adds_up_to_the_report_and_is_recorded_once() -> None:
    scenario = begun()
    scenario.when(progress(0, 3, done=1, unchanged=1, refusals=[REFUSED]))
    scenario.then(BulkAdvanced(handled=3, done=1, unchanged=1, refusals=[REFUSED]))
    scenario.when(progress(0, 3)).nothing()
    scenario.when(progress(4, 5)).nothing()
    scenario.when(progress(3, 5)).then(
        BulkAdvanced(handled=5, done=2, unchanged=0),
        BulkFinished(done=3, unchanged=1, refused=1, reasons={"already_enrolled": 1}),
    )
    scenario.when(CancelBulk(bulk_id=BULK)).refused(BulkOver)


def test_a_cancelled_bulk_leaves_the_rest_and_still_learns_what_was_under_way() -> None:
    scenario = begun().when(CancelBulk(bulk_id=BULK)).then(BulkCancelled(handled=0))
    scenario.when(CancelBulk(bulk_id=BULK)).nothing()
    scenario.when(progress(0, 5)).then(BulkAdvanced(handled=5, done=5, unchanged=0))
    assert bulk_of(scenario).status == "cancelled"


def test_the_clerk_finds_a_bulk_exactly_while_it_runs() -> None:
    scenario = begun()
    assert scenario.decision is not None
    rows = []
    for message in (progress(0, 3), progress(3, 5)):
        decision = scenario.when(message).decision
        assert decision is not None
        rows += scenario.world.apply(decision).bulks
    assert [(row.bulk_id, row.runs) for row in rows] == [(BULK, True), (BULK, False)]


@pytest.mark.parametrize("kind", sorted(BULK_KINDS))
def test_every_kind_makes_a_command_for_its_target(kind: str) -> None:
    orders: dict[str, dict[str, Any]] = {
        "enroll": {"sequence_id": str(SEQUENCE)},
        "assign": {"owner": None},
        "undo_enroll": {"sequence_id": str(SEQUENCE), "bulk_id": str(BULK)},
        "migrate": {"version": 2},
        "status": {"status": "Won"},
    }
    command = command_of(kind, orders.get(kind, {}), LEADS[0])
    assert getattr(command, BULK_KINDS[kind].target) == LEADS[0]


def test_an_order_that_makes_no_sense_names_its_field() -> None:
    with pytest.raises(InvalidMessage) as wrong:
        command_of("enroll", {"sequence_id": "x"})
    assert [each["field"] for each in wrong.value.reasons] == ["order.sequence_id"]
    with pytest.raises(InvalidMessage, match="kind"):
        command_of("dance", {})
    with pytest.raises(ValidationError):
        OrderBulk(bulk_id=BULK, kind="enroll", order={})


@pytest.mark.parametrize(
    ("kind", "order"),
    [("pause", {"until": T}), ("enroll", {"sequence_id": SEQUENCE, "start_at": T - timedelta(days=1)})],
)
def test_a_bulk_whose_moment_has_passed_is_refused_as_a_whole(kind: str, order: dict[str, Any]) -> None:
    scenario = Scenario(enrolled=False).when(OrderBulk(bulk_id=BULK, kind=kind, order=order)).refused(InvalidMoment)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == [f"order.{list(order)[-1]}"]


def test_a_lead_whose_turn_in_a_bulk_comes_after_the_beginning_begins_late() -> None:
    scenario = Scenario(enrolled=False).create(email="ada@example.com", consent={"email": True})
    other = derived_id("test", "other")
    scenario.when(DraftSequence(sequence_id=other, definition=definition([email("only")]), activate=True))
    start_at = T + timedelta(hours=1)
    scenario.when(OrderBulk(bulk_id=BULK, kind="enroll", order={"sequence_id": other, "start_at": start_at}))
    late = command_of("enroll", bulk_of(scenario).order, scenario.lead_id)
    scenario.later(hours=2).when(late)
    assert "EnrollmentStarted" in scenario.names


# --- undo -----------------------------------------------------------------------------------------------------------


def enrolled_by_bulk(steps: Any = None) -> Scenario:
    """A lead that a bulk put into the sequence; the bulk is finished."""
    scenario = Scenario(enrolled=False).create(email="ada@example.com", consent={"email": True})
    other = derived_id("test", "other")
    scenario.when(DraftSequence(sequence_id=other, definition=definition(steps or [email("only")]), activate=True))
    scenario.when(OrderBulk(bulk_id=BULK, kind="enroll", order={"sequence_id": str(other)}))
    scenario.when(page(1, [scenario.lead_id])).when(BeginBulk(bulk_id=BULK, pages=1))
    template = command_of("enroll", bulk_of(scenario).order)
    scenario.when(template.model_copy(update={"lead_id": scenario.lead_id}))
    assert scenario.decision is not None
    scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
    return scenario.when(progress(0, 1))


def take_back(scenario: Scenario, *, also_sent: bool = False) -> UndoEnrollment:
    return UndoEnrollment(
        lead_id=scenario.lead_id, sequence_id=derived_id("test", "other"), bulk_id=BULK, also_sent=also_sent
    )


def test_undoing_makes_a_bulk_of_its_own_over_the_same_targets() -> None:
    scenario = enrolled_by_bulk()
    undo = UndoBulk(bulk_id=BULK, undo_id=UNDO)
    scenario.when(undo).then(BulkUndone(undo_id=UNDO), "BulkOrdered", BulkBegun(count=1))
    state = bulk_of(scenario, UNDO)
    assert (state.kind, state.source, state.status) == ("undo_enroll", BULK, "running")
    assert isinstance(command_of(state.kind, state.order), UndoEnrollment)
    scenario.when(undo).nothing()
    scenario.when(UndoBulk(bulk_id=BULK, undo_id=UUID(int=9))).refused(NotUndoable)


def test_only_an_enrolment_that_is_over_can_be_undone() -> None:
    begun().when(UndoBulk(bulk_id=BULK, undo_id=UNDO)).refused(BulkNotReady)
    pausing = begun(OrderBulk(bulk_id=BULK, kind="pause")).when(progress(0, 5))
    pausing.when(UndoBulk(bulk_id=BULK, undo_id=UNDO)).refused(NotUndoable)


def test_undoing_cancels_what_nothing_was_sent_to_and_once() -> None:
    scenario = enrolled_by_bulk()
    scenario.when(take_back(scenario)).then("EnrollmentExited", "LeadLeftSequence")
    assert scenario.state.reason == "undone"
    scenario.when(take_back(scenario)).nothing()


def test_undoing_asks_a_step_in_flight_to_stop() -> None:
    scenario = enrolled_by_bulk().wake()
    scenario.when(take_back(scenario)).then("StepStopRequested", "EnrollmentExited", "LeadLeftSequence")


def test_a_message_that_went_out_cannot_be_undone_and_is_counted() -> None:
    scenario = enrolled_by_bulk([email("one"), email("two", delay={"amount": 1, "unit": "days"})]).wake().sent()
    scenario.when(take_back(scenario)).refused(AlreadySent)
    assert "1 of its messages" in str(scenario.error)
    scenario.when(take_back(scenario, also_sent=True)).then("EnrollmentExited", "LeadLeftSequence")
    assert scenario.decision is not None
    assert scenario.decision.result["stays"].startswith("1 of its messages went out and stay sent; enrollment ")


def test_what_steps_did_stays_and_is_named() -> None:
    steps = [{"step_id": "mark", "kind": "tag", "config": {"add": ["webinar"]}}, email("later", delay=days(1))]
    scenario = enrolled_by_bulk(steps)
    scenario.when(take_back(scenario)).then("EnrollmentExited", "LeadLeftSequence")
    assert scenario.decision is not None
    stays = scenario.decision.result["stays"]
    assert stays == f"what these steps did stays done: mark (tag); enrollment {scenario.enrollment_id}"


def test_an_advance_says_of_whom_something_stays() -> None:
    stays = Refusal(target=LEADS[1], code="stays", detail="1 of its messages went out and stay sent")
    scenario = begun().when(progress(0, 2, stays=[stays]))
    scenario.then(BulkAdvanced(handled=2, done=2, unchanged=0, stays=[stays]))


def test_a_completed_enrollment_is_reported_and_a_lead_enrolled_by_hand_left_alone() -> None:
    done = enrolled_by_bulk().wake().sent()
    done.when(take_back(done, also_sent=True)).refused(AlreadySent)
    by_hand = Scenario(enrolled=False).create(email="ada@example.com")
    other = derived_id("test", "other")
    by_hand.when(DraftSequence(sequence_id=other, definition=definition([email("only")]), activate=True))
    by_hand.when(Enroll(lead_id=by_hand.lead_id, sequence_id=other))
    by_hand.when(take_back(by_hand)).nothing()
