"""What a backtest reads of the past: all that came from outside, and nothing that the play does again by itself.

A past is lived in the simulator, written down as a log is, read, and played again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.company import company_hash
from services.enrollment.domain.enrolling import next_enrollment
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import engagement_id
from services.enrollment.past import TOLD, past_of
from services.enrollment.simulation.backtest import Course, play
from services.enrollment.simulation.outside import Played, Script
from services.enrollment.simulation.played_past import Past, Send
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.engagement import RecordSignal
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    Enroll,
    EnrollmentCompleted,
    EnrollmentExited,
    PauseEnrollment,
    RestartEnrollment,
    ResumeEnrollment,
    StepSent,
    StopForCompany,
)
from shared.events.envelope import Envelope
from shared.events.lead import EditLead, LeadBody, LeadCaptured, ScoreLead
from shared.events.message import Message
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, days, definition, email
from tests.simulation.making import START, subject

OTHER = derived_id("test", "another sequence")
ADA = Lead(UUID(int=1), "demo", email="ada@example.com", company="Engines Ltd")
MINE = next_enrollment(ADA, SEQUENCE)
THEIRS = next_enrollment(ADA, OTHER)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Lived:
    """One lead in the sequence that is looked at, from ``START`` on, and perhaps in another one an hour earlier."""

    def __init__(
        self,
        steps: Sequence[dict[str, Any]],
        *orders: tuple[timedelta, Message],
        signals: Sequence[Played] = (),
        elsewhere: Sequence[dict[str, Any]] = (),
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.subject = subject(steps, settings=settings)
        world = SimulatedWorld(START - HOUR)
        world.hold(self.subject.organization, ADA)
        world.publish("demo", SEQUENCE, 1, self.subject.definition)
        script = Script(signals)
        simulator = Simulator(world, "demo", script)
        if elsewhere:
            world.publish("demo", OTHER, 1, definition(elsewhere))
            simulator.expect(Later(START - HOUR, Enroll(lead_id=ADA.id, sequence_id=OTHER)))
        simulator.expect(Later(START, Enroll(lead_id=ADA.id, sequence_id=SEQUENCE)))
        for after, order in orders:
            simulator.expect(Later(START + after, order))
        simulator.run(START + timedelta(days=400))
        assert not script.refusals, script.refusals
        self.streams: defaultdict[UUID, list[Envelope]] = defaultdict(list)
        self._write(ADA.id, START - DAY, LeadCaptured(email=ADA.email, company=ADA.company, occurred_at=START - DAY))
        self.course = Course()
        for at, change in script.history:
            self._write(change.id, at, change.event)
            if change.id == MINE:
                self._tell(at, change.event)

    def _write(self, aggregate_id: UUID, at: datetime, event: Any) -> None:
        stream = self.streams[aggregate_id]
        stream.append(
            Envelope(
                id=f"{aggregate_id}-{len(stream)}",
                message=event,
                source="tests",
                time=at,
                organization_id="demo",
                subject=aggregate_id,
                lead_id=ADA.id,
                aggregate_version=len(stream) + 1,
            )
        )

    def _tell(self, at: datetime, event: Any) -> None:
        match event:
            case StepSent():
                self.course.sends.append(Send(event.step_id, event.sent_at))
            case EnrollmentCompleted():
                self.course.ended_by, self.course.ended_at = "completed", at
            case EnrollmentExited():
                self.course.ended_by, self.course.ended_at = event.reason, at

    @property
    def past(self) -> Past:
        told = [each for each in self.streams[MINE] if each.topic in TOLD]
        executions = {each.message.execution for each in told if isinstance(each.message, StepSent)}
        hits = {number: self.streams[engagement_id(MINE, number)] for number in executions}
        found = past_of(told, self.streams[ADA.id], hits)
        assert found is not None
        return found

    def played(self, steps: Sequence[dict[str, Any]] | None = None, **settings: Any) -> Course:
        """By its own steps and settings, or by changed ones."""
        tried = self.subject if steps is None else subject(steps, settings=settings)
        [course] = play(tried, [self.past]).values()
        return course


def again(lived: Lived) -> Course:
    """The same steps played again go the way that was lived."""
    course = lived.played()
    assert not course.differs(lived.course), (course, lived.course)
    assert course.ended_at == lived.course.ended_at
    return course


def asks(field: str, value: Any) -> dict[str, Any]:
    return {"conditions": {"field": field, "op": "eq", "value": value}}


GOLD = {"step_id": "gold", "kind": "field", "config": {"custom_fields": {"plan": "gold"}}}
FOR_GOLD = email("for-gold", delay=days(2), **asks("custom_fields.plan", "gold"))


def test_what_its_own_steps_write_is_not_played_in() -> None:
    tag = {"step_id": "tag", "kind": "tag", "config": {"add": ["met"]}}
    score = {"step_id": "score", "kind": "score", "config": {"add": 15}}
    met = email("for-met", conditions={"has_tag": "met"})
    high = email("for-high", **asks("lead.score", 15))
    lived = Lived([email("first"), GOLD, tag, score, FOR_GOLD, met, high])
    assert again(lived).steps == ["first", "for-gold", "for-met", "for-high"]
    assert lived.played([email("first"), FOR_GOLD, met, high]).steps == ["first"]
    assert lived.past.messages == []


def test_what_steps_of_other_sequences_write_is_played_in() -> None:
    wait = {"step_id": "wait", "kind": "wait", "delay": days(1), "config": {}}
    tag = {"step_id": "tag", "kind": "tag", "config": {"add": ["met"]}}
    score = {"step_id": "score", "kind": "score", "config": {"add": 15}}
    asked = [
        email("first"),
        FOR_GOLD,
        email("for-met", conditions={"has_tag": "met"}),
        email("for-high", **asks("lead.score", 15)),
    ]
    lived = Lived(asked, elsewhere=[wait, GOLD, tag, score])
    assert again(lived).steps == ["first", "for-gold", "for-met", "for-high"]
    more = {"step_id": "more", "kind": "score", "config": {"add": 10}}
    added = lived.played([email("first"), more, email("for-sum", delay=days(2), **asks("lead.score", 25))])
    assert added.steps == ["first", "for-sum"]


def test_what_a_person_says_of_a_score_is_played_in_as_it_was_said() -> None:
    lived = Lived(
        [email("first"), email("last", delay=days(2), **asks("lead.score", 70))],
        (HOUR, ScoreLead(lead_id=ADA.id, set=70)),
        (2 * HOUR, EditLead(lead_id=ADA.id, lead=LeadBody(source="Web"))),
    )
    assert again(lived).steps == ["first", "last"]
    assert len(lived.past.messages) == 2


def test_a_replys_intent_is_played() -> None:
    when = {"engagement": {"signal": "replied", "step": "first", "intent": "interested"}}
    fork = {
        "step_id": "fork",
        "kind": "condition",
        "delay": days(1),
        "config": {"when": when},
        "then": [email("warm")],
        "else": [email("cold")],
    }
    steps, settings = [email("first"), fork], {"stop_on": ["unsubscribe"]}
    lived = Lived(steps, signals=[Played("replied", HOUR, "first", intent="interested")], settings=settings)
    assert again(lived).steps == ["first", "warm"]
    other = Lived(steps, signals=[Played("replied", HOUR, "first", intent="not_now")], settings=settings)
    assert again(other).steps == ["first", "cold"]


TWO = [email("first"), email("second", delay=days(3)), email("third", delay=days(3))]


@pytest.mark.parametrize("reason", ["cancelled", "wrong person", "sequence_deleted"])
def test_a_cancellation_is_played_with_its_reason(reason: str) -> None:
    course = again(Lived(TWO, (4 * DAY, CancelEnrollment(enrollment_id=MINE, reason=reason))))
    assert (course.steps, course.ended_by) == (["first", "second"], reason)


def test_what_began_again_left_by_a_persons_order() -> None:
    course = again(Lived(TWO, (4 * DAY, RestartEnrollment(enrollment_id=MINE))))
    assert (course.steps, course.ended_by) == (["first", "second"], "restarted")


def test_its_own_rules_are_not_played_as_cancellations() -> None:
    lived = Lived(TWO, signals=[Played("replied", HOUR, "second")])
    assert again(lived).ended_by == "replied"
    assert lived.played([TWO[0], TWO[2]]).ended_by == "completed"


def test_every_link_that_was_clicked_is_played() -> None:
    def fork(name: str) -> dict[str, Any]:
        when = {"engagement": {"signal": "clicked", "step": "first", "link": f"https://example.com/{name}"}}
        return {
            "step_id": f"fork-{name}",
            "kind": "condition",
            "delay": days(1),
            "config": {"when": when},
            "then": [email(f"to-{name}")],
            "else": [],
        }

    links = [f"https://example.com/{name}" for name in "abb"]
    clicks = [Played("clicked", nth * HOUR, "first", link) for nth, link in enumerate(links, 1)]
    lived = Lived([email("first"), fork("a"), fork("b"), fork("c")], signals=clicks)
    assert again(lived).steps == ["first", "to-a", "to-b"]
    assert [each.link for each in lived.past.signals] == ["https://example.com/a", "https://example.com/b"]


def test_an_advance_by_hand_is_played_for_who_waits_at_that_step() -> None:
    now = AdvanceEnrollment(enrollment_id=MINE)
    past = AdvanceEnrollment(enrollment_id=MINE, skip="step")
    lived = Lived(TWO, (1 * DAY, now), (2 * DAY, past))
    course = again(lived)
    assert (course.steps, course.ended_at) == (["first", "second"], START + 2 * DAY)
    assert lived.played([TWO[0], email("other", delay=days(3)), email("last", delay=days(3))]).steps == [
        "first",
        "other",
        "last",
    ]


@pytest.mark.parametrize("forced", [True, False])
def test_an_advance_passes_over_the_hours_that_it_passed_over(forced: bool) -> None:
    hours = {"windows": [{"start": "09:00", "end": "10:00"}]}
    order = AdvanceEnrollment(enrollment_id=MINE, force_window=forced)
    lived = Lived(TWO[:2], (timedelta(days=1, hours=5), order), settings=hours)
    assert again(lived).sends[1].at == START + (timedelta(days=1, hours=5) if forced else 2 * DAY)


def test_a_rule_that_held_it_until_somebody_took_it_up_is_played() -> None:
    lived = Lived(
        TWO,
        (5 * DAY, ResumeEnrollment(enrollment_id=MINE)),
        signals=[Played("clicked", HOUR, "first")],
        settings={"stop_on": [{"on": "click", "do": "pause"}]},
    )
    assert again(lived).steps == ["first", "second", "third"]
    timed = PauseEnrollment(enrollment_id=MINE, until=START + 9 * DAY)
    assert again(Lived(TWO, (1 * DAY, timed))).sends[1].at == START + 9 * DAY


def test_an_absence_is_played() -> None:
    def away(enrollment_id: UUID) -> RecordSignal:
        return RecordSignal(
            enrollment_id=enrollment_id,
            execution=1,
            signal="replied",
            at=START + HOUR,
            auto_reply=True,
            returns_on=date(2026, 12, 10),
        )

    for lived in (
        Lived(TWO, (HOUR, away(MINE))),
        Lived(TWO, (HOUR, away(THEIRS)), elsewhere=[email("elsewhere")]),
    ):
        course = again(lived)
        assert course.sends[1].at == datetime(2026, 12, 10, tzinfo=START.tzinfo)
        assert [each.returns_on for each in lived.past.absences] == [date(2026, 12, 10)]
    mine = Lived(TWO, (HOUR, away(MINE)))
    assert mine.past.absences[0].step == "first"
    assert mine.played([email("other"), TWO[1]]).sends[1].at == START + 3 * DAY


@pytest.mark.parametrize("do", ["exit", "pause"])
def test_the_stop_of_its_company_is_played_where_there_is_a_rule_for_it(do: str) -> None:
    world = SimulatedWorld(START)
    stop = StopForCompany.model_validate(
        {
            "lead_id": ADA.id,
            "sequence_id": SEQUENCE,
            "enrollment_id": UUID(int=9),
            "signal": "reply",
            "do": do,
            "company_hash": company_hash(world, "demo", ADA.company),
        }
    )
    rule = {"stop_on": [{"on": "reply", "do": do, "company": True}]}
    lived = Lived(TWO, (4 * DAY, stop), settings=rule)
    course = again(lived)
    assert (course.steps, course.ended_by) == (["first", "second"], "company" if do == "exit" else None)
    assert lived.played(TWO, stop_on=["reply"]).steps == ["first", "second", "third"]
