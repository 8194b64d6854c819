"""A dry run: every step with its time, its content and its reason, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from services.enrollment.batch_world import BatchWorld
from services.enrollment.domain.errors import DomainError, InvalidLead, TaskClosed, UnknownTarget
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.sequence import Winner
from services.enrollment.domain.variants import key_of
from services.enrollment.simulation.dry_run import ContentProblem, Subject, dry_run
from services.enrollment.simulation.outside import Played
from services.enrollment.simulation.telling import DryRun, warn
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.definition import Intent
from shared.events.enrollment import StepDue, WakeTimer
from shared.events.lead import EditLead, LeadBody, LeadConverted, MeetingBooked
from shared.events.message import Message
from shared.events.query import PlayedSignal
from shared.events.task import ApproveDraft, CompleteTask
from shared.events.why import TimerClass
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, days, email
from tests.simulation.making import START, subject

ADA = LeadBody(email="ada@example.com", first_name="Ada", timezone="America/New_York")
BRANCHING = [
    email("welcome"),
    {
        "step_id": "opened",
        "kind": "condition",
        "delay": days(2),
        "config": {"when": {"engagement": {"signal": "opened", "step": "welcome"}}},
        "then": [{"step_id": "call", "kind": "task", "config": {"title": "Call", "due_in_hours": 4}}],
        "else": [email("nudge")],
    },
    {"step_id": "done", "kind": "tag", "config": {"add": ["nurtured"]}},
]


def told(run: DryRun) -> list[tuple[str, str, str]]:
    return [(each["step_id"], each["outcome"], each["at"]) for each in run.steps]


def test_every_step_has_its_time_and_the_end_its_reason() -> None:
    run = dry_run(subject(BRANCHING), ADA, START)
    assert told(run) == [
        ("welcome", "sends", "2026-11-20T09:00:00+00:00"),
        ("opened", "branches", "2026-11-22T09:00:00+00:00"),
        ("nudge", "sends", "2026-11-22T09:00:00+00:00"),
        ("done", "takes_effect", "2026-11-22T09:00:00+00:00"),
    ]
    assert (run.ended_by, run.ends_at) == ("completed", START + timedelta(days=2))
    assert run.steps[1]["arm"] == "else"
    assert run.steps[1]["why"]["text"] == "The condition looked at: opened welcome is false."
    assert run.steps[0]["local_at"] == "2026-11-20T04:00:00-05:00"
    assert [each["kind"] for each in run.steps] == ["email", "condition", "email", "tag"]
    assert run.warnings == []


def test_signals_that_are_played_in_change_the_way() -> None:
    run = dry_run(subject(BRANCHING), ADA, START, [Played("opened", timedelta(minutes=90), "welcome")])
    assert told(run) == [
        ("welcome", "sends", "2026-11-20T09:00:00+00:00"),
        ("opened", "branches", "2026-11-22T09:00:00+00:00"),
        ("call", "waits_for_person", "2026-11-22T09:00:00+00:00"),
        ("done", "takes_effect", "2026-11-22T13:00:00+00:00"),
    ]
    assert run.warnings == ["People's steps are taken as done at the moment they are due."]


@pytest.mark.parametrize(
    ("signal", "step", "ended_by"),
    [
        ("replied", "welcome", "replied"),
        ("unsubscribed", "welcome", "unsubscribed"),
        ("bounced", "welcome", "bounced"),
        ("meeting_booked", None, "meeting_booked"),
        ("conversion", None, "converted"),
    ],
)
def test_a_signal_that_stops_ends_it_there(signal: str, step: str | None, ended_by: str) -> None:
    run = dry_run(subject(BRANCHING), ADA, START, [Played(signal, timedelta(hours=1), step)])
    assert [each["step_id"] for each in run.steps] == ["welcome"]
    assert (run.ended_by, run.ends_at) == (ended_by, START + timedelta(hours=1))


def test_windows_move_a_step_and_say_so() -> None:
    hours = {"windows": [{"start": "09:00", "end": "17:00"}], "skip_weekends": True}
    run = dry_run(subject([email("welcome"), email("second", delay=days(1))], settings=hours), ADA, START)
    assert told(run) == [
        ("welcome", "sends", "2026-11-20T14:00:00+00:00"),
        ("second", "sends", "2026-11-23T14:00:00+00:00"),
    ]
    assert run.steps[1]["local_at"] == "2026-11-23T09:00:00-05:00"
    assert run.steps[1]["why"]["rule"] == "window"
    assert "America/New_York" in run.steps[1]["why"]["text"]


def test_limits_used_by_others_count() -> None:
    def full_today(organization_id: str, scope: str, slot: str) -> int:
        return 5 if slot == "day:2026-11-20" else 0

    limited = subject([email("welcome")], settings={"limits": {"per_day": 5}})
    run = dry_run(limited, ADA, START, around=Surroundings(quota_used=full_today))
    assert told(run) == [("welcome", "sends", "2026-11-21T00:00:00+00:00")]
    assert run.steps[0]["why"]["inputs"]["limit"] == 5


def test_who_cannot_be_reached_cannot_enter() -> None:
    run = dry_run(subject(BRANCHING), LeadBody(first_name="Nobody"), START)
    assert (run.steps, run.ended_by) == ([], "refused")
    assert run.warnings == [
        "The lead cannot enter. The first message cannot reach the lead. The lead has no address for email."
    ]
    suppressed = Surroundings(suppression=lambda *_: "bounce")
    assert dry_run(subject(BRANCHING), ADA, START, around=suppressed).ended_by == "refused"


def test_what_was_refused_on_the_way_is_told_without_names_of_programs() -> None:
    fact = {"organization_id": "demo", "occurred_at": START, "lead": ADA}
    messages: list[Message] = [
        WakeTimer(enrollment_id=UUID(int=1), execution=1, attempt=1, timer_class=TimerClass.FOLLOW_UP),
        CompleteTask(task_id=UUID(int=1)),
        ApproveDraft(task_id=UUID(int=1)),
        MeetingBooked.model_validate(fact),
        LeadConverted.model_validate(fact),
        EditLead(lead_id=UUID(int=1), lead=ADA),
    ]
    wrong = InvalidLead("raw", errors=[{"field": "lead.email", "problem": "is no address"}])
    errors: list[DomainError] = [
        TaskClosed(f"task {UUID(int=1)} is completed"),
        UnknownTarget("lead", UUID(int=1)),
        wrong,
    ]
    run = DryRun(ended_by="completed")
    warn(run, [(message, error) for message in messages for error in errors])
    assert run.warnings[:3] == [
        "The moment of a step did not count. The task is no longer open.",
        "The moment of a step did not count. There is no such lead.",
        "The moment of a step did not count. The lead has errors: lead.email: is no address.",
    ]
    assert run.warnings[-1].startswith("Something that happens meanwhile did not count. ")
    for message, told_of_it in zip(messages, run.warnings[::3], strict=True):
        assert type(message).__name__ not in told_of_it
    assert len({warning.partition(" did not count")[0] for warning in run.warnings}) == len(messages)


def test_fields_that_are_no_lead_are_refused() -> None:
    with pytest.raises(InvalidLead):
        dry_run(subject(BRANCHING), LeadBody(email="no address"), START)


def test_a_message_that_cannot_be_made_holds_the_enrollment() -> None:
    def content(enrollment_id: UUID, due: StepDue, world: SimulatedWorld) -> dict[str, Any]:
        if due.step_id == "nudge":
            raise ContentProblem("no value and no fallback for company", ["company"])
        return {"subject": due.step_id}

    run = dry_run(subject(BRANCHING), ADA, START, content=content)
    assert [(each["step_id"], each["content"]) for each in run.steps] == [
        ("welcome", {"subject": "welcome"}),
        ("opened", None),
    ]
    assert run.ended_by == "missing_value"
    assert "Step nudge: no value and no fallback for company" in run.warnings


def test_a_lead_that_is_inside_is_shown_as_if_it_came_for_the_first_time() -> None:
    scenario = Scenario()
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    run = dry_run(subject(BRANCHING), lead, START)
    assert [each["step_id"] for each in run.steps] == ["welcome", "opened", "nudge", "done"]
    assert run.warnings == ["The lead is or was in this sequence: shown as if it came for the first time."]


def test_a_signal_for_a_step_that_never_comes_is_named() -> None:
    run = dry_run(subject(BRANCHING), ADA, START, [Played("clicked", timedelta(0), "call")])
    assert run.warnings == ["The signal clicked was not played: step call was not sent."]


def test_an_inactive_step_is_skipped_and_a_failing_condition_too() -> None:
    steps = [
        email("off", active=False),
        email("never", conditions={"has_tag": "vip"}),
        {"step_id": "out", "kind": "exit", "config": {"reason": "over"}},
    ]
    run = dry_run(subject(steps), ADA, START)
    assert [(each["step_id"], each["outcome"], each["why"]["rule"]) for each in run.steps] == [
        ("off", "skips", "inactive"),
        ("never", "skips", "condition"),
        ("out", "takes_effect", "delay"),
    ]
    assert run.ended_by == "over"


VARIED = {
    **email("varied"),
    "variants": [
        {"variant_id": "a", "weight": 1, "config": {"subject": "A"}},
        {"variant_id": "b", "weight": 1, "config": {"subject": "B"}},
    ],
}


def drawn_in_dry_run(tried: Subject, lead: Any, **more: Any) -> str | None:
    run = dry_run(tried, lead, START, **more)
    [due] = [kept.change.event for kept in run.history if isinstance(kept.change.event, StepDue)]
    return due.variant


def test_a_known_lead_is_shown_the_variant_that_it_would_be_given() -> None:
    """The same number is drawn as the store's own world draws for the enrollment."""
    seen = set()
    scenario = Scenario(enrolled=False)
    for number in range(12):
        scenario.create(email=f"lead{number}@example.com")
        lead = scenario.world.lead(scenario.lead_id)
        assert lead is not None
        tried = subject([VARIED])
        enrollment_id = derived_id("enrollment", lead.id, SEQUENCE, 1)
        live = BatchWorld.draw(cast("BatchWorld", None), "variant", "demo", enrollment_id, "varied")
        assert drawn_in_dry_run(tried, replace(lead, enrollments={})) == ("a" if live < 0.5 else "b")
        seen.add(live < 0.5)
    assert seen == {True, False}


def test_a_variant_that_has_won_is_shown() -> None:
    rule = {"probability": 0.95, "at_least": 10, "act": "use"}
    tried = subject([{**VARIED, "selection": {"winner": rule}}])
    arms = {arm.variant_id: arm.content for arm in compile_version(SEQUENCE, 1, tried.definition).nodes["varied"].arms}
    for winner in ("a", "b"):
        won = {"varied": Winner(winner, "open", arms, used=True)}
        assert drawn_in_dry_run(replace(tried, winners=won), ADA) == winner


def test_what_is_counted_of_variants_decides_as_it_does_live() -> None:
    tried = subject([{**VARIED, "selection": {"winner": {"probability": 0.9, "at_least": 100, "act": "use"}}}])
    arms = {arm.variant_id: arm.content for arm in compile_version(SEQUENCE, 1, tried.definition).nodes["varied"].arms}
    figures = {
        key_of(variant, content, figure): count
        for variant, content in arms.items()
        for figure, count in (("sent", 500), ("opened", 300 if variant == "b" else 20))
    }
    assert drawn_in_dry_run(tried, ADA, around=Surroundings(figures=lambda *_: figures)) == "b"


@pytest.mark.parametrize(("intent", "sent"), [("interested", "warm"), ("not_now", "cold"), (None, "cold")])
def test_a_reply_is_played_with_its_intent(intent: Intent | None, sent: str) -> None:
    when = {"engagement": {"signal": "replied", "step": "first", "intent": "interested"}}
    fork = {"step_id": "fork", "kind": "condition", "delay": days(1), "config": {"when": when}}
    steps = [email("first"), {**fork, "then": [email("warm")], "else": [email("cold")]}]
    played = [Played("replied", timedelta(hours=1), "first", intent=intent)]
    run = dry_run(subject(steps, settings={"stop_on": ["unsubscribe"]}), ADA, START, played)
    assert [each["step_id"] for each in run.steps if each["outcome"] == "sends"] == ["first", sent]


def test_only_a_reply_has_an_intent() -> None:
    PlayedSignal(signal="replied", step="first", intent="interested")
    with pytest.raises(ValueError, match="intent belongs to the signal replied"):
        PlayedSignal(signal="opened", step="first", intent="interested")
