"""Why, and why not: a case for each reason, on logs that the domain itself has written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.errors import AlreadyEnrolled, UnknownTarget, Unreachable
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.row_types import Rows
from services.enrollment.explanation import Explainer
from services.enrollment.naming import Names, Place
from shared.events.definition import Brake
from shared.events.enrollment import (
    CancelEnrollment,
    Enroll,
    MigrateEnrollment,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordStopped,
    ResolveDispatch,
)
from shared.events.envelope import Envelope
from shared.events.lead import EraseLead, ScoreLead
from shared.events.organization import AddMember, SetSender, SuppressAddress, UnsuppressAddress
from shared.events.query import QueryWhy
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    DeactivateSequence,
    DraftSequence,
    EditSequence,
    SubmitSequence,
)
from shared.events.why import Why
from shared.events.wording import in_words
from shared.persistence.eventstore import UnreadableLog
from tests.domain.scenario import SEQUENCE, TWO_MAILS, Scenario, T, days, definition, email, pause

OTHER, WORSE = UUID(int=5), UUID(int=7)


class Story(Scenario):
    """A scenario whose log is kept with its times, and asked."""

    def __init__(self, steps: Sequence[dict[str, Any]] = TWO_MAILS, **more: Any) -> None:
        super().__init__(steps, **more)
        self._times: list[datetime] = [T] * len(self.log)
        apply = self.world.apply

        def timed(decision: Decision, rows: Rows | None = None) -> Rows:
            self._times += [self.world.now] * len(decision.changes)
            return apply(decision, rows)

        self.world.apply = timed  # type: ignore[method-assign]

    def load(self, aggregate_id: UUID) -> list[Envelope]:
        found: list[Envelope] = []
        for at, change in zip(self._times, self.log, strict=True):
            if change.id == aggregate_id:
                envelope = Envelope(
                    id=f"{change.id}-{len(found) + 1}",
                    message=change.event,
                    source="test",
                    time=at,
                    organization_id=change.organization_id,
                    subject=change.id,
                    lead_id=change.lead_id,
                    aggregate_version=len(found) + 1,
                )
                found.append(envelope)
        return found

    def ask(self, step_id: str | None = None, **more: Any) -> dict[str, Any]:
        about = {"lead_id": self.lead_id, "sequence_id": SEQUENCE, **more}
        return Explainer(self.load).answer(QueryWhy(organization_id="demo", step_id=step_id, **about))

    def answer(self, step_id: str | None = None, **more: Any) -> tuple[str, str]:
        """Standing and rule of the newest enrollment; every text must be whole."""
        found = self.ask(step_id, **more)
        for each in [*found["answers"], *found["items"]]:
            assert each["text"].endswith("."), each
            assert "unknown" not in each["text"], each
        newest = found["answers"][0]
        return newest["standing"], newest["rule"]

    def items(self, step_id: str | None = None, **more: Any) -> list[tuple[str, str]]:
        return [(each["kind"], each["rule"]) for each in self.ask(step_id, **more)["items"]]


def in_flight(*args: Any, **more: Any) -> Story:
    story = Story(*args, **more)
    story.wake()
    return story


BRANCH = {
    "step_id": "branch",
    "kind": "condition",
    "delay": days(1),
    "config": {"when": {"field": "lead.score", "op": "gte", "value": 60}},
    "then": [email("hot")],
    "else": [email("cold")],
}


# --- never in it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "rule"),
    [
        ({"start": "manual"}, "manual"),
        ({"on": ["score_reached"], "score": {"min": 50}}, "occasion"),
        ({"score": {"min": 50}}, "score"),
        ({"sources": ["Fair"]}, "source"),
        ({"statuses": ["New"]}, "status"),
        ({"temperatures": ["Hot"]}, "temperature"),
        ({"tags": ["vip"]}, "tag"),
        ({"conditions": {"field": "lead.score", "op": "gte", "value": 60}}, "condition"),
    ],
)
def test_a_sequence_that_matching_refused(trigger: dict[str, Any], rule: str) -> None:
    story = Story(enrolled=False)
    edited = definition(TWO_MAILS, trigger=trigger)
    for order in (
        EditSequence(sequence_id=SEQUENCE, definition=edited),
        SubmitSequence(sequence_id=SEQUENCE),
        ApproveSequence(sequence_id=SEQUENCE),
        ActivateSequence(sequence_id=SEQUENCE),
    ):
        story.when(order)
        assert story.error is None
    story.create(email="ada@example.com")
    assert story.answer() == ("not_enrolled", rule)
    assert ("refused", rule) in story.items("second")


def test_a_lead_without_an_address_is_not_taken() -> None:
    story = Story(enrolled=False)
    story.create(phone="+4915112345678")
    assert story.answer("first") == ("not_enrolled", "address")


@pytest.mark.parametrize("by", ["hand", "bulk"])
def test_an_order_to_enrol_that_was_refused_is_told(by: str) -> None:
    story = Story(enrolled=False)
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).create(phone="+4915112345678")
    story.when(DraftSequence(sequence_id=OTHER, definition=definition(TWO_MAILS), activate=True)).later(hours=1)
    story.when(Enroll(lead_id=story.lead_id, sequence_id=OTHER, by=by)).refused(Unreachable)
    assert story.answer(sequence_id=OTHER) == ("not_enrolled", "address")
    assert ("refused", "address") in story.items(sequence_id=OTHER)
    assert story.answer() == ("not_enrolled", "sequence_not_running")


def test_a_lead_that_is_inside_is_not_told_that_it_cannot_come_in() -> None:
    story = Story()
    before = len(story.world.log)
    story.when(Enroll(lead_id=story.lead_id, sequence_id=SEQUENCE)).refused(AlreadyEnrolled)
    assert len(story.world.log) == before


def test_a_sequence_that_was_paused_when_the_lead_came() -> None:
    story = Story(enrolled=False)
    story.when(DeactivateSequence(sequence_id=SEQUENCE))
    story.later(hours=1).create(email="ada@example.com")
    assert story.answer() == ("not_enrolled", "sequence_not_running")
    assert story.ask()["answers"][0]["inputs"] == {"status": "paused"}


def test_a_score_that_rose_and_led_nowhere() -> None:
    story = Story(enrolled=False)
    hot = definition(TWO_MAILS, trigger={"on": ["score_reached"], "score": {"min": 50}, "sources": ["Fair"]})
    story.when(DraftSequence(sequence_id=OTHER, definition=hot, activate=True))
    story.create(email="ada@example.com")
    assert story.answer(sequence_id=OTHER) == ("not_enrolled", "occasion")
    story.later(hours=1).when(ScoreLead(lead_id=story.lead_id, set=60)).then("LeadScored", "LeadNotMatched")
    assert story.answer(sequence_id=OTHER) == ("not_enrolled", "source")
    everything = [(each["rule"], each["sequence_name"], each["text"]) for each in story.ask(sequence_id=None)["items"]]
    assert ("source", "Test", "The lead's source empty is not among Fair.") in everything
    crossing = "The score went from 0 to 60, but no sequence that waits for that takes the lead."
    assert ("crossing", None, crossing) in everything
    assert ("refused", "crossing") not in story.items()
    assert story.answer("second") == ("not_reached", "delay")


def crossing() -> Story:
    """A known lead, and two sequences that wait for the same threshold: WORSE and OTHER, called ``Better``."""
    story = Story(enrolled=False)
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).create(email="ada@example.com")
    for sequence_id, name, priority in ((OTHER, "Better", 9), (WORSE, "Worse", 1)):
        trigger = {"on": ["score_reached"], "score": {"min": 50}, "priority": priority}
        hot = definition(TWO_MAILS, trigger=trigger).model_copy(update={"name": name})
        story.when(DraftSequence(sequence_id=sequence_id, definition=hot, activate=True))
    story.later(hours=1)
    return story


def test_a_score_that_crossed_names_the_sequence_that_has_the_lead_already() -> None:
    story = crossing()
    story.when(Enroll(lead_id=story.lead_id, sequence_id=OTHER))
    story.when(ScoreLead(lead_id=story.lead_id, set=60)).then("LeadScored", "LeadNotMatched")
    assert story.answer(sequence_id=WORSE) == ("not_enrolled", "better_match")
    [answer] = story.ask(sequence_id=WORSE)["answers"]
    assert answer["text"] == "The lead was never in it. The sequence “Better” suited the lead better."
    assert answer["names"] == {"chosen": "the sequence “Better”"}
    assert answer["inputs"]["chosen"] == str(OTHER)
    kinds = [each["kind"] for each in story.ask(sequence_id=OTHER)["items"]]
    assert kinds.index("refused") < kinds.index("enrolled")  # as it came, when there was no such sequence yet
    assert kinds.count("refused") == 1
    everything = [(each["rule"], each["text"]) for each in story.ask(sequence_id=None)["items"]]
    stays = "The score went from 0 to 60, and the lead stays in the sequence “Better”, which suits it best."
    assert ("crossing_inside", stays) in everything
    assert ("better_match", "The sequence “Better” suited the lead better.") in everything


def test_a_score_that_crossed_names_the_sequence_that_took_the_lead() -> None:
    story = crossing()
    story.when(ScoreLead(lead_id=story.lead_id, set=60))
    assert story.answer(sequence_id=WORSE) == ("not_enrolled", "better_match")
    assert story.ask(sequence_id=WORSE)["answers"][0]["names"] == {"chosen": "the sequence “Better”"}
    assert story.answer(sequence_id=OTHER) == ("waiting", "delay")


def test_a_score_that_crossed_names_the_better_sequence_even_when_it_takes_nobody_again() -> None:
    story = crossing()
    story.when(Enroll(lead_id=story.lead_id, sequence_id=OTHER))
    lead = story.world.lead(story.lead_id)
    assert lead is not None
    [enrollment_id] = lead.open_enrollments
    story.when(CancelEnrollment(enrollment_id=enrollment_id))
    story.when(ScoreLead(lead_id=story.lead_id, set=60)).then("LeadScored", "LeadNotMatched")
    assert story.answer(sequence_id=WORSE) == ("not_enrolled", "better_match")
    assert story.ask(sequence_id=WORSE)["answers"][0]["names"] == {"chosen": "the sequence “Better”"}


def test_another_sequence_that_excludes_it() -> None:
    story = Story(enrolled=False)
    only = definition(TWO_MAILS, settings={"exclusive": True}, trigger={"start": "manual"})
    story.when(DraftSequence(sequence_id=OTHER, definition=only, activate=True))
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).create(email="ada@example.com")
    story.when(Enroll(lead_id=story.lead_id, sequence_id=OTHER)).when(ActivateSequence(sequence_id=SEQUENCE))
    story.later(hours=1).create(email="ada@example.com")
    assert story.answer() == ("not_enrolled", "exclusive")
    assert story.ask()["answers"][0]["inputs"]["sequence_id"] == str(OTHER)
    everything = story.ask(sequence_id=None)
    assert [each["sequence_id"] for each in everything["answers"]] == [str(OTHER)]
    assert ("refused", "exclusive") in [(each["kind"], each["rule"]) for each in everything["items"]]


def test_a_better_match_and_a_sequence_nobody_asked_for() -> None:
    story = Story(enrolled=False)
    first = definition(TWO_MAILS, trigger={"priority": 9})
    story.when(DraftSequence(sequence_id=OTHER, definition=first, activate=True)).create(email="ada@example.com")
    assert story.answer() == ("not_enrolled", "better_match")
    assert story.answer(sequence_id=OTHER) == ("waiting", "delay")
    never = UUID(int=6)
    manual = definition(TWO_MAILS, trigger={"start": "manual"})
    story.when(DraftSequence(sequence_id=never, definition=manual, activate=True))
    assert story.answer(sequence_id=never)[0] == "not_enrolled"


def test_what_keeps_messages_from_a_lead_is_told_whatever_the_sequence() -> None:
    story = Story()
    story.create(email="ada@example.com", consent={"email": False})
    assert ("lead", "consent") in story.items("second")
    story.when(EraseLead(lead_id=story.lead_id))
    assert ("lead", "erased") in story.items("second")
    assert story.answer("second")[0] == "ended_before"


def test_a_goal_that_was_given_no_name_is_told_by_its_step() -> None:
    unless = {"not": {"has_tag": "x"}}
    win = {"step_id": "win", "kind": "goal", "name": "Signed up", "config": {}, "conditions": unless}
    story = Story((win, email("after", delay=days(1))), settings={"stop_on": ["goal"]})
    assert story.answer() == ("exited", "goal")
    reached = "The lead reached the goal at step 1 “Signed up”."
    told = story.ask()
    assert told["answers"][0]["text"] == f"The enrollment has ended. {reached}"
    assert reached in [each["text"] for each in told["items"] if each["kind"] == "goal"]


# --- waits ------------------------------------------------------------------------------------------------------------


def test_not_reached_yet_tells_where_it_stands_and_what_it_waits_for() -> None:
    steps = (email("first", delay=days(2)), email("second", delay=days(1)))
    story = Story(steps)
    [answer] = story.ask("second")["answers"]
    assert (answer["standing"], answer["rule"], answer["current_step"]) == ("not_reached", "delay", "first")
    assert answer["until"] == (T + timedelta(days=2)).isoformat()
    assert "stands at step 1 “Hello”" in answer["text"]
    assert "Planned for 2026-11-22 09:00 UTC." in answer["text"]


WINDOW = {"windows": [{"days": ["mon"], "start": "09:00", "end": "17:00"}], "timezone": "Europe/Berlin"}


def test_a_window_and_a_postponement() -> None:
    story = Story((email("first"),), settings=WINDOW)
    assert story.answer("first") == ("waiting", "window")
    assert ("waits", "window") in story.items("first")


def test_a_limit_makes_it_wait() -> None:
    story = Story((email("first"),), settings={"limits": {"per_day": 1}}, enrolled=False)
    story.create(email="bob@example.com").wake()
    story.create(email="ada@example.com")
    assert story.answer("first") == ("waiting", "quota")


def test_a_lead_that_is_away() -> None:
    story = in_flight((email("first"), email("second", delay=days(1))))
    story.sent().when(story.signal("replied", source="test", auto_reply=True, returns_on="2026-12-01"))
    assert story.error is None
    assert story.answer("second") == ("waiting", "out_of_office")
    assert ("lead", "out_of_office") in story.items("second")


def test_a_paused_sequence_and_a_missing_sender_hold_a_due_step() -> None:
    story = Story((email("first", delay=days(1)),))
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).wake()
    assert story.answer("first") == ("waiting", "sequence_not_active")
    assert ("sequence", "sequence_paused") in story.items("first")
    story.when(ActivateSequence(sequence_id=SEQUENCE))
    assert ("sequence", "sequence_resumed") in story.items("first")
    story = Story((email("first", delay=days(1)),))
    story.when(SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False)).wake()
    assert story.answer("first") == ("waiting", "sender_not_active")


@pytest.mark.parametrize("of", ["sequence", "sender"])
def test_a_brake_holds_it_and_says_why_it_is_on(of: str) -> None:
    tight, off = {"bounce_percent": 5, "min_sent": 1}, {"bounce_percent": None, "complaint_percent": None}
    steps = (email("first"), email("second", delay=days(1)))
    story = Story(steps, settings={"brake": tight if of == "sequence" else off, "stop_on": []}, enrolled=False)
    brake = Brake.model_validate(tight if of == "sender" else off)
    story.when(SetSender(sender_id="default", name="Demo", email="demo@example.com", brake=brake))
    story.create(email="ada@example.com").wake()
    story.sent()
    ada = story.lead_id, story.enrollment_id
    story.create(email="bob@example.com").wake()
    story.when(story.outcome(RecordRejected, bounce=True))
    story.lead_id, story.enrollment_id = ada
    story.wake()
    assert story.answer("second") == ("waiting", "brake")
    assert (of, "bounce_rate") in story.items("second")


OVERDUE = {"due_in_hours": 4, "overdue_after_hours": 20, "overdue": "continue"}


def test_a_task_is_pending_and_then_overdue() -> None:
    call = {"step_id": "call", "kind": "call", "config": {"title": "Call", **OVERDUE}}
    story = Story((call, email("after")))
    assert story.answer("call")[1] == "task"
    [answer] = story.ask("after")["answers"]
    assert (answer["standing"], answer["rule"], answer["current_step"]) == ("not_reached", "task", "call")
    story.wake()
    assert story.answer("call") == ("skipped", "overdue")
    assert story.answer("after")[0] == "waiting"


def test_what_is_pending_says_until_when() -> None:
    story = Story(enrolled=False)
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).create(email="ada@example.com")
    story.when(ActivateSequence(sequence_id=SEQUENCE))
    story.when(Enroll(lead_id=story.lead_id, sequence_id=SEQUENCE, start_at=T + timedelta(days=3)))
    assert story.error is None
    assert story.answer("first") == ("pending", "pending")
    [answer] = story.ask()["answers"]
    assert answer["until"] == (T + timedelta(days=3)).isoformat()


# --- what became of it ------------------------------------------------------------------------------------------------


def test_it_is_on_its_way_then_sent() -> None:
    story = in_flight()
    assert story.answer("first") == ("on_its_way", "outcome")
    story.later(minutes=1).sent()
    assert story.answer("first") == ("sent", "sent")
    assert story.items("first")[-2:] == [("due", "due"), ("sent", "sent")]


def test_it_is_tried_again_then_fails() -> None:
    story = in_flight()
    story.when(story.outcome(RecordDeferred, reason="greylisted"))
    assert story.answer("first") == ("waiting", "retry")
    story.wake().when(story.outcome(RecordRejected, reason="no such user", bounce=True))
    assert story.answer("first") == ("failed", "bounced")


def test_it_is_in_doubt_until_it_is_settled() -> None:
    story = in_flight()
    story.when(story.outcome(RecordInDoubt, reason="the line was lost"))
    assert story.answer("first") == ("in_doubt", "in_doubt")
    settled = ResolveDispatch(enrollment_id=story.enrollment_id, execution=1, outcome="not_sent")
    story.when(settled, actor="member:ada")
    assert story.answer("first") == ("not_sent", "settled_not_sent")


def test_it_is_stopped_by_a_stop_rule() -> None:
    story = in_flight((email("first"), email("second", delay=days(1))))
    story.sent().wake()
    story.when(story.signal("replied", source="test"))
    assert story.answer() == ("exited", "replied")
    story.when(story.outcome(RecordStopped))
    assert story.answer("second") == ("stopped", "stopped")
    assert {("stopping", "stop_asked"), ("ended", "replied")} <= set(story.items("second"))


def test_the_enrollment_ended_before_it() -> None:
    story = Story()
    story.when(CancelEnrollment(enrollment_id=story.enrollment_id, reason="wrong person"))
    [answer] = story.ask("second")["answers"]
    assert (answer["standing"], answer["inputs"]) == ("ended_before", {"reason": "wrong person"})
    assert answer["text"] == "The enrollment ended before it. It ended: wrong person."


def test_it_is_held() -> None:
    story = Story()
    pause(story)
    assert story.answer("first") == ("paused", "paused")


@pytest.mark.parametrize(
    ("steps", "lead", "rule"),
    [
        ([email("x", active=False)], {}, "inactive"),
        ([email("x", conditions={"field": "lead.score", "op": "gte", "value": 60})], {}, "condition"),
        ([{"step_id": "x", "kind": "sms", "config": {"text": "Hi"}}], {}, "address"),
        ([email("x", delay={"amount": -1, "unit": "days", "from": "field", "field": "event_date"})], {}, "no_date"),
    ],
)
def test_it_is_passed_over(steps: list[dict[str, Any]], lead: dict[str, Any], rule: str) -> None:
    first = {"step_id": "note", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}
    story = Story((first, *steps, email("last")), lead={"email": "ada@example.com", **lead})
    story.wake().sent()
    if story.timer is not None and story.state.plan is not None and story.state.plan.step_id == "x":
        story.wake()
    assert story.answer("x") == ("skipped", rule)
    assert ("skipped", rule) in story.items("x")


def test_it_lies_in_the_other_branch() -> None:
    story = Story((BRANCH, email("last")))
    story.wake()
    assert story.answer("hot") == ("not_taken", "condition")
    assert ("branched", "condition") in story.items("hot")
    assert story.ask("hot")["answers"][0]["inputs"] == {"lead.score gte": 0}
    assert story.answer("cold") == ("waiting", "delay")
    assert ("branched", "condition") not in story.items("last")


def test_it_was_moved_past_or_is_of_another_version() -> None:
    story = Story((email("first", delay=days(1)), email("second", delay=days(3))))
    edited = definition((email("new"), email("first"), email("second", delay=days(3))))
    for order in (
        EditSequence(sequence_id=SEQUENCE, definition=edited),
        SubmitSequence(sequence_id=SEQUENCE),
        ApproveSequence(sequence_id=SEQUENCE),
        ActivateSequence(sequence_id=SEQUENCE),
    ):
        story.when(order)
    assert story.answer("new") == ("not_in_version", "version")
    story.when(MigrateEnrollment(enrollment_id=story.enrollment_id, version=2))
    assert story.error is None
    assert story.answer("new") == ("moved_past", "same_step")
    assert ("moved", "same_step") in story.items("new")


# --- names ------------------------------------------------------------------------------------------------------------


def test_sequence_step_and_number_stand_beside_their_ids() -> None:
    story = in_flight((email("first", name="Welcome"), email("second", delay=days(1))))
    story.sent()
    found = story.ask("second")
    assert (found["sequence_name"], found["step_name"], found["step_number"]) == ("Test", "Hello", 2)
    [answer] = found["answers"]
    assert (answer["sequence_name"], answer["version"]) == ("Test", 1)
    assert (answer["current_step"], answer["current_step_name"], answer["current_step_number"]) == (
        "second",
        "Hello",
        2,
    )
    sent = next(each for each in story.ask()["items"] if each["kind"] == "sent")
    assert (sent["step_id"], sent["step_name"], sent["step_number"]) == ("first", "Welcome", 1)
    assert (sent["sequence_name"], sent["version"]) == ("Test", 1)


def test_steps_within_branches_are_counted_in_reading_order() -> None:
    story = Story((BRANCH, email("last", name="Farewell", delay=days(1))))
    story.wake()
    answer = story.ask("last")["answers"][0]
    assert answer["text"].startswith("The enrollment has not come to it: it stands at step 3 “Hello”.")
    assert story.ask("last")["step_number"] == 4


def test_a_step_is_numbered_as_in_the_version_of_that_time() -> None:
    story = Story((email("first", name="Old"), email("second", delay=days(3))))
    story.wake().sent()
    edited = definition((email("new"), email("first", name="Renamed"), email("second", delay=days(3))))
    for order in (
        EditSequence(sequence_id=SEQUENCE, definition=edited.model_copy(update={"name": "Test, mended"})),
        SubmitSequence(sequence_id=SEQUENCE),
        ApproveSequence(sequence_id=SEQUENCE),
        ActivateSequence(sequence_id=SEQUENCE),
        MigrateEnrollment(enrollment_id=story.enrollment_id, version=2),
    ):
        story.later(minutes=1).when(order)
        assert story.error is None
    steps = {
        (each["kind"], each["version"]): each["step_name"] for each in story.ask("first")["items"] if each["step_id"]
    }
    assert steps["sent", 1] == "Old"
    waits = [each for each in story.ask("second")["items"] if each["kind"] == "waits"]
    assert [(each["version"], each["step_number"]) for each in waits] == [(1, 2), (2, 3)]
    assert story.ask()["sequence_name"] == "Test, mended"


@pytest.mark.parametrize(("of", "words"), [("sequence", "the sequence “Test”"), ("sender", "the sender “Demo”")])
def test_what_holds_a_step_is_named(of: str, words: str) -> None:
    story = Story((email("first", delay=days(1)),))
    if of == "sequence":
        story.when(DeactivateSequence(sequence_id=SEQUENCE)).wake()
        assert story.ask("first")["answers"][0]["text"].endswith(f"It waits, because {words} is not active.")
    else:
        story.when(SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False)).wake()
    [answer] = story.ask("first")["answers"]
    assert answer["names"] == {"blocked_on": words}
    assert answer["inputs"]["blocked_on"].startswith(f"{of}:")


def test_the_limit_of_a_sequence_is_told_by_its_name() -> None:
    story = Story((email("first"),), settings={"limits": {"per_day": 1}}, enrolled=False)
    story.create(email="bob@example.com").wake()
    story.create(email="ada@example.com")
    [answer] = story.ask("first")["answers"]
    assert "The limit of 1 a day for the sequence “Test” was used up" in answer["text"]


def test_the_sequence_that_took_the_lead_or_excludes_another_is_named() -> None:
    story = Story(enrolled=False)
    first = definition(TWO_MAILS, trigger={"priority": 9}).model_copy(update={"name": "Champions"})
    story.when(DraftSequence(sequence_id=OTHER, definition=first, activate=True)).create(email="ada@example.com")
    [answer] = story.ask()["answers"]
    assert answer["text"] == ("The lead was never in it. The sequence “Champions” suited the lead better.")
    assert (answer["sequence_name"], answer["inputs"]["chosen"]) == ("Test", str(OTHER))


def test_a_task_is_named_until_its_lead_is_erased() -> None:
    call = {"step_id": "call", "kind": "call", "name": "Ring", "config": {"title": "Call about the offer", **OVERDUE}}
    story = Story((call, email("after")))
    waits = story.ask("call")["answers"][0]
    assert waits["names"] == {"blocked_on": "the task “Call about the offer”"}
    stream = story.load
    gone = [each.message.task_id for each in stream(story.enrollment_id) if hasattr(each.message, "task_id")]

    def erased(aggregate_id: UUID) -> list[Envelope]:
        found = stream(aggregate_id)
        if aggregate_id not in gone:
            return found
        opened = found[0].message.model_copy(update={"title": None})
        return [dataclasses.replace(found[0], message=opened), *found[1:]]

    about = QueryWhy(organization_id="demo", lead_id=story.lead_id, sequence_id=SEQUENCE, step_id="call")
    assert Explainer(erased).answer(about)["answers"][0]["names"] == {}


def test_who_did_it_is_named_and_a_program_is_not() -> None:
    story = Story()
    member = UUID(int=77)
    story.when(AddMember(member_id=member, email="grace@example.com", name="Grace", role="coach", password_hash=None))
    story.when(CancelEnrollment(enrollment_id=story.enrollment_id, reason="wrong person"))
    [ended] = [each for each in story.ask()["items"] if each["kind"] == "ended"]
    assert (ended["actor"], ended["actor_name"]) == (None, None)
    names = Names(story.load, "demo")
    assert names.actor(f"member:{member}") == "Grace"
    assert [names.actor(each) for each in (None, "lead", "member:nobody", f"member:{UUID(int=78)}")] == [None] * 4


def test_a_condition_names_the_step_whose_answer_it_looked_at() -> None:
    opened = {**BRANCH, "config": {"when": {"engagement": {"signal": "opened", "step": "first"}}}}
    story = in_flight((email("first", name="Welcome"), opened))
    story.sent().wake()
    [answer] = story.ask("hot")["answers"]
    assert answer["text"].endswith("The condition looked at: opened step 1 “Welcome” is false.")
    assert answer["inputs"] == {"opened first": False}


def test_what_is_in_no_version_any_more_is_told_by_its_id() -> None:
    why = Why(rule="failure", inputs={"step": "gone", "reason": "no such user"})
    assert in_words(why, Names(Story().load, "demo").inputs(why, Place(SEQUENCE, 1))) == (
        "Step gone failed: no such user."
    )


# --- who may ask what -------------------------------------------------------------------------------------------------


def test_an_enrollment_can_be_asked_by_itself() -> None:
    story = in_flight()
    story.sent()
    found = Explainer(story.load).answer(
        QueryWhy(organization_id="demo", enrollment_id=story.enrollment_id, step_id="second")
    )
    assert (found["lead_id"], found["sequence_id"]) == (str(story.lead_id), str(SEQUENCE))
    assert found["answers"][0]["standing"] == "waiting"


def test_what_is_not_there_or_of_another_organization_is_not_found() -> None:
    story = Story()
    nobody = UUID(int=7)
    asked: list[dict[str, Any]] = [
        {"organization_id": "other", "lead_id": story.lead_id},
        {"organization_id": "other", "enrollment_id": story.enrollment_id},
        {"organization_id": "demo", "lead_id": nobody},
        {"organization_id": "demo", "enrollment_id": story.lead_id},
        {"organization_id": "demo", "lead_id": story.lead_id, "sequence_id": nobody},
        {"organization_id": "demo", "lead_id": story.lead_id, "sequence_id": SEQUENCE, "step_id": "none"},
        {"organization_id": "demo", "enrollment_id": story.enrollment_id, "step_id": "none"},
    ]
    for question in asked:
        with pytest.raises(UnknownTarget):
            Explainer(story.load).answer(QueryWhy.model_validate(question))


def test_what_cannot_be_read_has_no_name_and_fails_no_answer() -> None:
    def unreadable(aggregate_id: UUID) -> list[Envelope]:
        raise UnreadableLog(aggregate_id, 1, "task.opened.v9", "unknown topic")

    names = Names(unreadable, "demo")
    why = Why(rule="blocked", inputs={"blocked_on": f"task:{UUID(int=5)}", "funnel": "web"})
    assert names.inputs(why, Place(SEQUENCE, 1)) == {"funnel": "web"}
    assert names.actor(f"member:{UUID(int=6)}") is None


def test_a_waiting_message_whose_domain_is_suppressed_meanwhile_says_so() -> None:
    story = Story([email("first", delay=days(3))])
    assert story.answer() == ("waiting", "delay")
    story.when(SuppressAddress(channel="email", address="@example.com")).then("AddressSuppressed")
    about = QueryWhy(organization_id="demo", lead_id=story.lead_id, sequence_id=SEQUENCE, step_id="first")
    [answer] = Explainer(story.load, story.world.suppression).answer(about)["answers"]
    assert (answer["standing"], answer["rule"]) == ("waiting", "suppression")
    assert answer["text"].startswith("It is still to come. The address must not be sent to by email: ")
    story.when(UnsuppressAddress(channel="email", address="@example.com"))
    [answer] = Explainer(story.load, story.world.suppression).answer(about)["answers"]
    assert answer["rule"] == "delay"
