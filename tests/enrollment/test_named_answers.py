"""Dry runs and looks into the past call things by the names that the why-answers give them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.enrollment.description import describe_enrollment, with_names
from services.enrollment.naming import Here, Names, Place
from services.enrollment.simulation.dry_run import dry_run
from services.enrollment.simulation.outside import Played
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import Enroll
from shared.events.lead import EditLead, LeadBody
from shared.events.organization import SetSender
from shared.events.sequence import ActivateSequence, DeactivateSequence
from tests.domain.scenario import SEQUENCE, days, definition, email
from tests.enrollment.test_explanation import Story
from tests.simulation.making import START, subject

ADA = LeadBody(email="ada@example.com")
OPENED = {
    "step_id": "opened",
    "kind": "condition",
    "delay": days(2),
    "config": {"when": {"engagement": {"signal": "opened", "step": "first"}}},
    "then": [email("thanks")],
    "else": [email("nudge", name="Nudge")],
}
STEPS = [email("first", name="Welcome"), OPENED]


def here(story: Story, version: int = 1, tried: SequenceDefinition | None = None) -> Here:
    names = Names(story.load, "demo")
    if tried is not None:
        names.learn(SEQUENCE, version, tried)
    return Here(names, Place(SEQUENCE, version))


def shown(story: Story) -> dict[str, Any]:
    """As a look into the past shows the enrollment."""
    state = story.state
    return with_names(describe_enrollment(state, 1), story.load(state.id), here(story, state.version))


# --- dry runs ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_numbers_and_names_its_steps_and_what_their_reasons_speak_of() -> None:
    run = dry_run(subject(STEPS), ADA, START, naming=here(Story(STEPS)))
    called = [(each["step_id"], each["step_number"], each["step_name"]) for each in run.steps]
    assert called == [("first", 1, "Welcome"), ("opened", 2, "Condition 2"), ("nudge", 4, "Nudge")]
    [why] = [each["why"] for each in run.steps if each["outcome"] == "branches"]
    assert why["names"] == {"opened first": "opened step 1 “Welcome”"}
    assert why["text"] == "The condition looked at: opened step 1 “Welcome” is false."


def test_a_dry_run_of_unsaved_content_calls_steps_as_they_stand_there() -> None:
    tried = definition([email("new", name="New"), email("first", name="Changed")])
    run = dry_run(subject(tried.model_dump(mode="json")["steps"]), ADA, START, naming=here(Story(STEPS), 0, tried))
    assert [(each["step_number"], each["step_name"]) for each in run.steps] == [(1, "New"), (2, "Changed")]


def test_the_warnings_of_a_dry_run_name_steps() -> None:
    played = [Played("clicked", timedelta(0), "thanks")]
    run = dry_run(subject(STEPS), ADA, START, played, naming=here(Story(STEPS)))
    assert run.warnings == ["The signal clicked was not played: step 3 “Hello” was not sent."]


def test_a_step_that_no_log_has_is_called_by_its_id() -> None:
    run = dry_run(subject(STEPS), ADA, START, [Played("clicked", timedelta(0), "thanks")])
    assert run.warnings == ["The signal clicked was not played: step thanks was not sent."]
    assert {each["step_name"] for each in run.steps} == {None}


# --- the past ---------------------------------------------------------------------------------------------------------


def test_an_enrollment_of_then_names_its_step_and_tells_what_it_waits_for_as_the_why_answers_do() -> None:
    story = Story((email("first", name="Welcome", delay=days(1)),))
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).wake()
    found = shown(story)
    assert (found["current_step_number"], found["current_step_name"]) == (1, "Welcome")
    assert found["waiting_for"]["why"]["names"] == {"blocked_on": "the sequence “Test”"}
    [answer] = story.ask()["answers"]
    assert answer["text"].endswith(found["waiting_for"]["why"]["text"])
    assert found["next"]["step_name"] == "Welcome"


def test_an_enrollment_of_then_says_until_when_it_waits() -> None:
    story = Story((email("first", delay=days(1)),))
    assert shown(story)["waiting_for"]["why"]["text"] == "It waits out its delay. Planned for 2026-11-21 09:00 UTC."


def test_a_step_that_was_on_its_way_then_is_not_called_planned() -> None:
    story = Story((email("first", name="Welcome"),))
    story.wake()
    found = shown(story)
    assert found["waiting_for"]["why"]["text"] == "It is on its way; the answer of the channel is awaited."
    assert [(each["step_number"], each["step_name"]) for each in found["executions"]] == [(1, "Welcome")]


def test_a_sender_that_holds_it_is_called_as_it_is_called_now() -> None:
    story = Story((email("first", delay=days(1)),))
    sender = SetSender(sender_id="default", name="Ada's desk", email="demo@example.com", active=False)
    story.when(sender).wake()
    why = shown(story)["waiting_for"]["why"]
    assert (why["rule"], why["names"]) == ("sender_not_active", {"blocked_on": "the sender “Ada's desk”"})


def test_an_enrollment_of_then_that_had_not_begun_tells_what_kept_it_from_beginning() -> None:
    story = Story(enrolled=False)
    story.when(DeactivateSequence(sequence_id=SEQUENCE)).create(email="ada@example.com")
    story.when(ActivateSequence(sequence_id=SEQUENCE))
    story.when(Enroll(lead_id=story.lead_id, sequence_id=SEQUENCE, start_at=story.world.now + timedelta(days=1)))
    assert story.decision is not None
    story.enrollment_id = UUID(str(story.decision.result["enrollment_id"]))
    assert shown(story)["waiting_for"]["why"]["text"].startswith("It begins at 2026-11-21")
    story.when(EditLead(lead_id=story.lead_id, lead=LeadBody.model_validate({"consent": {"email": False}}))).wake()
    waits = shown(story)["waiting_for"]
    assert (waits["kind"], waits["why"]["text"]) == ("start", "The lead has refused email.")
    assert story.ask()["answers"][0]["text"].endswith(waits["why"]["text"])


def test_what_waits_for_nothing_has_no_words() -> None:
    story = Story((email("first"),))
    story.wake().sent()
    found = shown(story)
    assert (found["status"], found["waiting_for"], found["next"]) == ("completed", None, None)
    assert found["current_step_name"] == "Hello"
