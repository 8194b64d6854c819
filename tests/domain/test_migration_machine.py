"""An enrollment under every order of outcomes, orders and moves between versions: nothing is sent twice, nobody is
forgotten."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from shared.events.enrollment import MigrateEnrollment, StepDue, StepInDoubt, StepSent, StepSettled
from shared.events.sequence import ActivateSequence, ApproveSequence, EditSequence, SubmitSequence
from tests.domain.scenario import SEQUENCE, days, definition, email
from tests.domain.test_enrollment_machine import EnrollmentMachine, steps_with

STEPS = steps_with("exit")
FORK, WARM, CALL = STEPS[1], email("warm"), {"step_id": "call", "kind": "task", "config": {"title": "Ring"}}
EDITS: tuple[list[dict[str, Any]], ...] = (
    STEPS,
    [email("two"), email("one", delay=days(1)), email("three", delay=days(2))],
    [email("one"), CALL, email("extra", delay=days(1)), email("two")],
    [email("three"), FORK, email("one")],
    [WARM, email("cold"), {"step_id": "tag", "kind": "tag", "config": {"add": ["x"]}}, email("two", active=False)],
)
STEP_IDS = ("one", "two", "three", "fork", "warm", "call", "cold", "rest", "tag", "extra")


class MigrationMachine(EnrollmentMachine):
    """The same orders and the same promises, while the sequence changes under the enrollment."""

    @rule(steps=st.sampled_from(EDITS))
    def publish(self, steps: list[dict[str, Any]]) -> None:
        self.send(EditSequence(sequence_id=SEQUENCE, definition=definition(steps)))
        self.send(SubmitSequence(sequence_id=SEQUENCE))
        self.send(ApproveSequence(sequence_id=SEQUENCE))
        self.send(ActivateSequence(sequence_id=SEQUENCE))

    @rule(
        back=st.integers(0, 2),
        moves=st.dictionaries(st.sampled_from(STEP_IDS), st.sampled_from(STEP_IDS), max_size=2),
    )
    def migrate(self, back: int, moves: dict[str, str]) -> None:
        sequence = self.scenario.world.sequence(SEQUENCE)
        assert sequence is not None
        version = max(1, sequence.version - back)
        self.send(MigrateEnrollment(enrollment_id=self.state.id, version=version, moves=moves))

    @invariant()
    def no_step_is_sent_again_that_was_sent(self) -> None:
        gone_out: dict[str, int] = {}
        for change in self.scenario.log:
            match change.event:
                case StepSent() | StepInDoubt():
                    gone_out[change.event.step_id] = change.event.execution
                case StepSettled(outcome="not_sent"):
                    gone_out.pop(change.event.step_id, None)
                case StepSettled():
                    gone_out[change.event.step_id] = change.event.execution
                case StepDue():
                    assert gone_out.get(change.event.step_id, change.event.execution) == change.event.execution


TestMigrationMachine = MigrationMachine.TestCase
TestMigrationMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
