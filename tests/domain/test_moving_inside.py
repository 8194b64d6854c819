"""Publishing and deleting say what becomes of those inside: the bulk for it is ordered in the same decision."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.errors import BulkOver
from services.enrollment.domain.rows import rows_of
from shared.events import bulk as bulk_events
from shared.events.bulk import BeginBulk, BulkOrdered, CancelBulk, NameBulkTargets
from shared.events.enrollment import MigrateEnrollment
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    DeleteSequence,
    EditSequence,
    RestoreSequence,
    SubmitSequence,
)
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, days, definition, email, in_flight


def approved(scenario: Scenario, *steps: dict[str, Any]) -> Scenario:
    scenario.when(EditSequence(sequence_id=SEQUENCE, definition=definition(steps)))
    return scenario.when(SubmitSequence(sequence_id=SEQUENCE)).when(ApproveSequence(sequence_id=SEQUENCE))


def published(scenario: Scenario, *steps: dict[str, Any], **more: Any) -> Scenario:
    return approved(scenario, *steps).when(ActivateSequence.model_validate({"sequence_id": SEQUENCE, **more}))


WAITS = (email("first", delay=days(2)), email("second", delay=days(3)))


def bulk_of(scenario: Scenario) -> Bulk:
    assert scenario.decision is not None
    state = scenario.world.bulk(UUID(str(scenario.decision.result["bulk_id"])))
    assert state is not None
    return state


def test_a_publishing_orders_the_move_and_the_clerk_hears_of_it() -> None:
    scenario = approved(Scenario(WAITS), email("first", delay=days(5)))
    before = scenario.world
    scenario.when(ActivateSequence(sequence_id=SEQUENCE, inside="move", moves={"second": "first"}, repeats=True))
    scenario.then("SequencePublished", "BulkOrdered")
    ordered = scenario.event(BulkOrdered)
    assert (ordered.kind, ordered.inside) == ("migrate", SEQUENCE)
    assert ordered.order == {"version": 2, "moves": {"second": "first"}, "repeats": True, "forward": True}
    assert scenario.decision is not None
    [mark] = rows_of(scenario.decision, before).bulks
    assert (mark.bulk_id, mark.runs) == (bulk_of(scenario).id, True)


def test_who_stays_is_not_moved_and_a_first_version_has_nobody_to_move() -> None:
    scenario = published(Scenario(WAITS), email("first")).then("SequencePublished")
    assert scenario.decision is not None
    assert "bulk_id" not in scenario.decision.result


def test_a_deletion_orders_that_those_inside_leave_once_for_each_time() -> None:
    scenario = Scenario(WAITS).when(DeleteSequence(sequence_id=SEQUENCE, enrollments="finish"), message_id="d1")
    scenario.then("SequenceDeleted")
    scenario.when(DeleteSequence(sequence_id=SEQUENCE, enrollments="exit"), message_id="d2")
    scenario.then("SequenceDeleted", "BulkOrdered")
    first = bulk_of(scenario)
    assert (first.kind, first.order, first.inside) == ("cancel", {"reason": "sequence_deleted"}, SEQUENCE)
    scenario.when(RestoreSequence(sequence_id=SEQUENCE), message_id="r")
    scenario.when(DeleteSequence(sequence_id=SEQUENCE, enrollments="exit"), message_id="d3")
    scenario.then("SequenceDeleted", "BulkOrdered")
    assert bulk_of(scenario).id != first.id


def test_those_inside_may_be_more_than_a_person_may_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.enrollment.domain.bulk.MOST_TARGETS", 1)
    scenario = published(Scenario(WAITS), *WAITS, email("third"), inside="follow")
    bulk_id = bulk_of(scenario).id
    targets = [derived_id("x", n) for n in range(2)]
    scenario.when(NameBulkTargets(bulk_id=bulk_id, page=1, targets=targets)).then("BulkTargetsNamed")
    scenario.when(BeginBulk(bulk_id=bulk_id, pages=1)).then("BulkBegun")


def test_a_move_can_be_cancelled_while_its_targets_are_gathered() -> None:
    scenario = published(Scenario(WAITS), *WAITS, email("third"), inside="follow")
    bulk_id = bulk_of(scenario).id
    scenario.when(CancelBulk(bulk_id=bulk_id)).then("BulkCancelled")
    assert scenario.decision is not None
    assert [mark.runs for mark in rows_of(scenario.decision, scenario.world).bulks] == [False]
    scenario.when(NameBulkTargets(bulk_id=bulk_id, page=1, targets=[scenario.enrollment_id])).refused(BulkOver)
    scenario.when(BeginBulk(bulk_id=bulk_id, pages=0)).nothing()


def test_an_earlier_publishings_move_takes_nobody_back() -> None:
    scenario = Scenario(WAITS)
    for number in (2, 3):
        published(scenario, *WAITS, email(f"added{number}"))
    late = {"enrollment_id": scenario.enrollment_id, "version": 2}
    scenario.when(MigrateEnrollment.model_validate({**late, "version": 3, "forward": True})).then("EnrollmentMigrated")
    scenario.when(MigrateEnrollment.model_validate({**late, "forward": True})).nothing()
    assert scenario.state.version == 3
    scenario.when(MigrateEnrollment.model_validate(late)).then("EnrollmentMigrated")  # a person may


def test_nor_does_it_change_a_move_that_waits_for_an_answer() -> None:
    scenario = in_flight(WAITS)
    for number in (2, 3):
        published(scenario, *WAITS, email(f"added{number}"))
    move = {"enrollment_id": scenario.enrollment_id, "forward": True}
    scenario.when(MigrateEnrollment.model_validate({**move, "version": 3})).then("MigrationAwaited")
    scenario.when(MigrateEnrollment.model_validate({**move, "version": 2})).nothing()
    scenario.sent()
    assert scenario.state.version == 3


def test_bulks_stored_before_read_as_they_did() -> None:
    assert bulk_events.BulkOrdered(kind="tag").inside is None
