"""What holds of the log of one enrollment and its sequence, whatever happens in whatever order."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.row_types import TIMER
from services.enrollment.domain.work import Change
from shared.events.definition import StopSignal
from shared.events.enrollment import (
    EnrollmentActivated,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    PauseEnrollment,
    ResumeEnrollment,
    StartEnrollment,
    StartRefused,
    StepDue,
    StepOverdue,
)
from shared.events.lead import LeadReplied, LeadWon
from shared.events.message import Event, Message
from shared.events.sequence import SequenceArchived, SequencePaused, SequencePublished, SequenceResumed
from tests.domain.scenario import SEQUENCE, Scenario

#: What says in the log that the signal of a stop rule has come.
_SIGNALS: dict[type[Event], StopSignal] = {LeadReplied: "reply", LeadWon: "conversion"}
_FREEING = (PauseEnrollment, ResumeEnrollment, StartEnrollment)


class Stops:
    """Places in the log behind which a stop rule that pauses holds the enrollment, and those at which a person let it
    go on, begin, or pause anew.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._stopped: set[int] = set()
        self._freed: set[int] = set()

    def send(self, message: Message, **more: Any) -> None:
        """Sends a message, refused or not, and notes what it means for the stop."""
        world, state = self._scenario.world, self._scenario.state
        before, version = len(world.log), world.version(state.sequence_id, state.version)
        assert version is not None
        with contextlib.suppress(DomainError):
            world.send(message, **more)
        recorded = world.log[before:]
        if recorded and isinstance(message, _FREEING):
            self._freed.add(before)
        for signal in filter(None, (_SIGNALS.get(type(change.event)) for change in recorded)):
            rule = version.settings.stop_rule(signal)
            if rule is not None and rule.do == "pause":
                self._stopped.add(len(world.log))

    def hold(self) -> None:
        """Once such a rule was met nothing goes out and nothing goes on, until a person says so."""
        stopped = False
        for place, change in enumerate(self._scenario.log):
            stopped = (stopped or place in self._stopped) and place not in self._freed
            match change.event:
                case StepDue() | EnrollmentResumed() | EnrollmentActivated():
                    assert not stopped, f"{type(change.event).__name__} after a stop"
                case EnrollmentPaused(reason="stop_rule") | StartRefused():
                    stopped = True


def gives_up_nobody_while_paused(log: Sequence[Change]) -> None:
    """No task is withdrawn, and no enrollment left, as overdue while the sequence is paused."""
    runs = True
    for change in log:
        match change.event:
            case SequencePaused():
                runs = False
            case SequenceResumed() | SequenceArchived() | SequencePublished():
                runs = True
            case StepOverdue() | EnrollmentExited(reason="overdue"):
                assert runs, f"{type(change.event).__name__} in a paused sequence"


def waits_for_no_sequence_that_runs(scenario: Scenario) -> None:
    """Who waits for the sequence is woken when it runs again."""
    sequence, timer = scenario.world.sequence(SEQUENCE), scenario.world.timers.get((scenario.enrollment_id, TIMER))
    if timer is not None and timer.blocked_on == f"sequence:{SEQUENCE}":
        assert sequence is not None
        assert not sequence.runs
