"""A backtest: equal definitions give no differences, and each difference is owed to the change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enrollment.domain.lead import Lead
from services.enrollment.simulation.backtest import backtest, play
from services.enrollment.simulation.outside import Played, of_lead
from services.enrollment.simulation.played_past import Past, Send, Taken
from services.enrollment.simulation.simulator import Later
from shared.events.definition import SequenceDefinition
from shared.events.lead import ScoreLead
from tests.domain.scenario import days, definition, email
from tests.simulation.making import START, subject

HOUR = timedelta(hours=1)
OLD = [
    email("first"),
    {
        "step_id": "opened",
        "kind": "condition",
        "delay": days(1),
        "config": {"when": {"engagement": {"signal": "opened", "step": "first"}}},
        "then": [email("thanks")],
        "else": [email("nudge")],
    },
    {"step_id": "call", "kind": "task", "delay": days(1), "config": {"title": "Call"}},
    email("last", delay=days(2)),
]


def past(number: int, *signals: Played, **more: Any) -> Past:
    lead = Lead(UUID(int=number), "demo", email=f"lead{number}@example.com", timezone="Europe/Berlin")
    fields: dict[str, Any] = {"entered_at": START + number * HOUR, "signals": signals, **more}
    return Past(UUID(int=1_000 + number), lead, 1, **fields)


def outcome_of(changed: SequenceDefinition, *enrollments: Past) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    tried = subject(OLD)
    differences: list[dict[str, Any]] = []
    summary = backtest(replace(tried, definition=changed), {1: tried.definition}, enrollments, keep=differences.append)
    return summary, differences


signals = st.builds(
    Played,
    st.sampled_from(["opened", "clicked", "replied", "bounced", "unsubscribed"]),
    st.timedeltas(timedelta(minutes=1), timedelta(days=4)),
    st.sampled_from(["first", "thanks", "nudge", "last"]),
)


@given(
    played=st.lists(st.lists(signals, max_size=4), min_size=1, max_size=6),
    per_day=st.none() | st.integers(1, 3),
    windows=st.booleans(),
)
def test_an_equal_definition_gives_no_differences(
    played: list[list[Played]], per_day: int | None, windows: bool
) -> None:
    given_settings: dict[str, Any] = {"limits": {"per_day": per_day}}
    if windows:
        given_settings["windows"] = [{"start": "09:00", "end": "11:00"}]
    tried = subject(OLD, settings=given_settings)
    differences: list[dict[str, Any]] = []
    enrollments = [past(number, *each) for number, each in enumerate(played, 1)]
    summary = backtest(tried, {1: tried.definition}, enrollments, keep=differences.append)
    assert (summary["differ"], differences) == (0, [])
    assert summary["ends"]["was"] == summary["ends"]["would"]
    assert summary["by_step"].keys() <= {"first", "thanks", "nudge", "last"}


def test_a_later_step_is_moved_and_its_engagement_told() -> None:
    changed = definition([*OLD[:3], email("last", delay=days(5))])
    reader = past(1, Played("opened", HOUR, "first"), Played("clicked", HOUR, "last"))
    summary, [difference] = outcome_of(changed, reader)
    assert [each["step_id"] for each in difference["would"]["sends"]] == ["first", "thanks", "last"]
    assert difference["was"]["ended_by"] == difference["would"]["ended_by"] == "completed"
    assert summary["by_step"]["last"] == {"moved": 1}
    assert summary["engagement"] == {"same": {"sent": 2, "opened": 1}, "moved": {"sent": 1, "clicked": 1}}


def test_a_step_taken_out_loses_what_came_of_it() -> None:
    changed = definition([OLD[0], email("last", delay=days(2))])
    replier = past(1, Played("replied", HOUR, "nudge"))
    summary, [difference] = outcome_of(changed, replier)
    assert difference["was"]["ended_by"] == "replied"
    assert difference["would"]["ended_by"] == "completed"
    assert summary["engagement"]["gone"] == {"sent": 1, "replied": 1}
    assert summary["by_step"] == {"first": {"same": 1}, "last": {"new": 1}, "nudge": {"gone": 1}}


def test_only_those_whom_the_change_meets_differ() -> None:
    changed = definition([{**OLD[0], "conditions": {"field": "lead.source", "op": "eq", "value": "Web"}}, *OLD[1:]])
    web = past(1)
    web = replace(web, lead=replace(web.lead, source="Web"))
    summary, [difference] = outcome_of(changed, web, past(2))
    assert summary["differ"] == 1
    assert difference["lead_id"] == str(UUID(int=2))


def test_what_was_heard_of_a_lead_is_played_in_at_its_time() -> None:
    booked = past(1)
    at = booked.entered_at + timedelta(days=2)
    booked = replace(booked, messages=[Later(at, of_lead(booked.lead, "meeting_booked", at))])
    _summary, [difference] = outcome_of(definition([OLD[0], email("late", delay=days(30))]), booked)
    assert difference["would"] == {
        "sends": [{"step_id": "first", "at": booked.entered_at.isoformat()}],
        "ended_by": "meeting_booked",
        "ended_at": at.isoformat(),
    }


def test_people_take_as_long_as_they_took() -> None:
    slow = past(1, done_after={"call": timedelta(days=9)})
    summary, differences = outcome_of(definition([*OLD[:3], email("last", delay=days(1))]), slow)
    assert summary["differ"] == 1
    assert differences[0]["was"]["ended_at"] == (slow.entered_at + timedelta(days=13)).isoformat()


def test_how_many_really_went_this_way_is_told() -> None:
    real = past(1, sends=[Send("first", START), Send("nudge", START), Send("last", START)])
    summary, _ = outcome_of(definition(OLD), real, past(2, sends=[Send("first", START)]))
    assert (summary["enrollments"], summary["as_recorded"]) == (2, 1)


def test_a_lead_that_came_twice_is_played_twice() -> None:
    first = past(1)
    second = replace(first, enrollment_id=UUID(int=77), entered_at=first.entered_at + timedelta(days=60))
    summary, _ = outcome_of(definition(OLD), first, second)
    assert summary["ends"]["was"] == {"completed": 2}


def by_trigger(number: int, score: int, *, taken: Taken | None = Taken("created"), **lead: Any) -> Past:  # noqa: B008
    one = past(number)
    return replace(one, lead=replace(one.lead, score=score, **lead), taken=taken)


def test_a_changed_trigger_says_who_would_not_have_been_enrolled() -> None:
    high, low, ordered = by_trigger(1, 95), by_trigger(2, 40), by_trigger(3, 40, taken=None)
    changed = definition(OLD, trigger={"score": {"min": 90}})
    summary, [difference] = outcome_of(changed, high, low, ordered)
    assert difference["lead_id"] == str(low.lead.id)
    assert difference["was"]["ended_by"] == "completed"
    assert difference["would"] == {
        "sends": [],
        "ended_by": "not enrolled: score",
        "ended_at": low.entered_at.isoformat(),
    }
    assert summary["differ"] == 1
    assert summary["ends"]["would"] == {"completed": 2, "not enrolled: score": 1}
    assert summary["by_step"]["first"] == {"same": 2, "gone": 1}


@pytest.mark.parametrize(
    ("trigger", "taken", "rule"),
    [
        ({"start": "manual"}, Taken("created"), "manual"),
        ({"on": ["score_reached"], "score": {"min": 50}}, Taken("created"), "occasion"),
        ({"on": ["score_reached"], "score": {"min": 50}}, Taken("score_reached", 40), None),
        ({"on": ["score_reached"], "score": {"min": 50}}, Taken("score_reached", 55), "threshold"),
        ({"sources": ["Web"]}, Taken("created"), None),
        ({"tags": ["vip"]}, Taken("created"), "tag"),
        ({"conditions": {"field": "lead.title", "op": "eq", "value": "CTO"}}, Taken("created"), "condition"),
        ({"conditions": {"time": {"start": "10:30", "end": "11:30"}}}, Taken("created"), None),  # in Berlin
        ({"funnels": ["webinar"]}, Taken("created"), "funnel"),
        ({"priority": 7}, Taken("created"), None),
    ],
)
def test_each_criterion_of_a_changed_trigger_is_asked(trigger: dict[str, Any], taken: Taken, rule: str | None) -> None:
    one = by_trigger(1, 60, taken=taken, source="Web")
    summary, differences = outcome_of(definition(OLD, trigger=trigger), one)
    assert [each["would"]["ended_by"] for each in differences] == ([f"not enrolled: {rule}"] if rule else [])
    assert summary["differ"] == len(differences)


def test_leads_are_asked_once_and_enrolled_by_no_trigger_again() -> None:
    """A score that crosses a threshold during the play begins nothing: what it began is a past of its own."""
    crossing = {"on": ["score_reached"], "score": {"min": 50}}
    tried = replace(subject(OLD), definition=definition([email("first")], settings={"reenroll": {}}, trigger=crossing))
    one = past(1)
    scored = replace(one, messages=[Later(one.entered_at + timedelta(days=9), ScoreLead(lead_id=one.lead.id, set=80))])
    [course] = play(tried, [scored]).values()
    assert course.steps == ["first"]
