"""A forecast: the same figures for crowds as for each lead alone, the same again with the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.enrollment.domain.lead import Lead
from services.enrollment.simulation.crowd import CrowdWorld
from services.enrollment.simulation.forecast import Rates, forecast
from services.enrollment.simulation.likeness import Likeness, mentioned, situation
from services.enrollment.simulation.renaming import Renaming
from services.enrollment.simulation.world import Surroundings
from tests.domain.scenario import days, definition, email
from tests.simulation.making import START, subject

NOBODY = Rates(0, 0, 0)
WAYS = [
    email("first"),
    {
        "step_id": "opened",
        "kind": "condition",
        "delay": days(1),
        "config": {"when": {"engagement": {"signal": "opened", "step": "first"}}},
        "then": [email("thanks")],
        "else": [{"step_id": "call", "kind": "call", "config": {"title": "Call"}}],
    },
    email("last", delay={"amount": 2, "unit": "business_days"}),
    {"step_id": "tag", "kind": "tag", "config": {"add": ["nurtured"]}},
]
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata")


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how it was computed."""
    return {name: value for name, value in result.items() if name not in {"ways", "decisions"}}


def leads(number: int) -> dict[UUID, Lead]:
    made = [
        Lead(
            UUID(int=index),
            "demo",
            email=f"lead{index}@example.com",
            first_name=f"L{index}",
            timezone=ZONES[index % len(ZONES)],
            score=index % 100,
            consent={"email": index % 7 != 0},
        )
        for index in range(1, number + 1)
    ]
    return {lead.id: lead for lead in made}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    size=st.integers(1, 12),
    per_day=st.none() | st.integers(1, 5),
    per_minute=st.none() | st.integers(1, 5),
    windows=st.booleans(),
    rates=st.sampled_from([NOBODY, Rates(1, 0, 0), Rates(1, 1, 0), Rates(0, 0, 1)]),
    organization_limit=st.none() | st.integers(2, 9),
)
def test_crowds_come_out_as_each_lead_alone(
    size: int,
    per_day: int | None,
    per_minute: int | None,
    windows: bool,
    rates: Rates,
    organization_limit: int | None,
) -> None:
    given_settings: dict[str, Any] = {"limits": {"per_day": per_day, "per_minute": per_minute}}
    if windows:
        given_settings |= {"windows": [{"start": "09:00", "end": "12:00"}], "skip_weekends": True}
    tried = subject(WAYS, settings=given_settings, limits={"per_day": organization_limit})
    together = forecast(tried, size, START, rates)
    assert told(together) == told(forecast(tried, size, START, rates, together=False))
    assert together["entered"] == size
    assert sum(together["ends"].values()) == size


def test_known_leads_in_equal_situations_come_out_as_each_alone() -> None:
    tried = subject(WAYS, settings={"windows": [{"start": "09:00", "end": "17:00"}]})
    together = forecast(tried, leads(60), START, NOBODY)
    assert told(together) == told(forecast(tried, leads(60), START, NOBODY, together=False))
    assert together["refused"] == {"unreachable": 8}
    assert together["ways"] == 3 * 2  # zones, and whether e-mail is wanted


def test_limits_that_bind_are_named() -> None:
    tried = subject([email("first")], settings={"limits": {"per_day": 4}})
    result = forecast(tried, 10, START, NOBODY)
    assert [(each["day"], each["sent"]) for each in result["days"]] == [
        ("2026-11-20", {"email": 4}),
        ("2026-11-21", {"email": 4}),
        ("2026-11-22", {"email": 2}),
    ]
    [hit] = result["limits_hit"]
    assert (hit["unit"], hit["limit"], hit["used_up"]) == ("day", 4, 2)
    assert (hit["first"], hit["last"]) == ("2026-11-20", "2026-11-21")
    assert result["waits"] == {"quota": 6}


def test_what_others_have_used_up_counts() -> None:
    def used(organization_id: str, scope: str, slot: str) -> int:
        return 3 if slot == "day:2026-11-20" else 0

    tried = subject([email("first")], settings={"limits": {"per_day": 4}})
    result = forecast(tried, 5, START, NOBODY, around=Surroundings(quota_used=used))
    assert [each["sent"]["email"] for each in result["days"]] == [1, 4]


def test_rates_are_shares_of_what_was_sent_and_the_seed_decides() -> None:
    tried = subject([email("first"), email("second", delay=days(3)), email("third", delay=days(3))])
    rates = Rates(open=0.5, click=0.2, reply=0.05)
    result = forecast(tried, 20_000, START, rates, seed=7)
    sent, signals = result["totals"]["sent"]["email"], result["totals"]["signals"]
    for signal, share in (("opened", 0.5), ("clicked", 0.2), ("replied", 0.05)):
        assert signals[signal] / sent == pytest.approx(share, abs=0.01)
    assert result["ends"]["replied"] + result["ends"]["completed"] == 20_000
    assert forecast(tried, 20_000, START, rates, seed=7) == result
    assert forecast(tried, 20_000, START, rates, seed=8) != result


def test_variants_are_drawn_by_their_shares() -> None:
    arms = [
        {"variant_id": "a", "weight": 30, "config": {"subject": "A", "text": "A"}},
        {"variant_id": "b", "weight": 70, "config": {"subject": "B", "text": "B"}},
    ]
    tried = subject([{**email("first"), "variants": arms}, email("second", delay=days(1))])
    result = forecast(tried, 5_000, START, NOBODY, seed=1)
    assert result["totals"]["sent"] == {"email": 10_000}
    assert result["ends"] == {"completed": 5_000}
    assert result["ways"] == 2


def test_progress_grows_to_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    tried = subject(WAYS, settings={"limits": {"per_minute": 1}})
    forecast(tried, 300, START, NOBODY, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (300, 300)


def test_a_forecast_can_be_stopped() -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        forecast(subject(WAYS, settings={"limits": {"per_minute": 1}}), 2_000, START, NOBODY, progress=stop)


def branch(when: dict[str, Any]) -> list[dict[str, Any]]:
    """A message, and a day later one that depends on what came back."""
    way = {"step_id": "way", "kind": "condition", "delay": days(1), "config": {"when": when}}
    sms = {"kind": "sms", "config": {"text": "Hi"}}
    arms = {"then": [{**sms, "step_id": "warm"}], "else": [{**sms, "step_id": "cold"}]}
    return [email("first"), {**way, **arms}, email("last", delay=days(1))]


def with_phones(number: int) -> dict[UUID, Lead]:
    """So many leads in equal situations."""
    made = [Lead(UUID(int=each), "demo", email="ada@example.com", phone="+4915112345678") for each in range(1, number)]
    return {lead.id: lead for lead in made}


def test_crowds_that_nothing_asked_can_tell_apart_become_one_again() -> None:
    steps = [email("first"), *(email(f"mail-{number}", delay=days(1)) for number in range(6))]
    result = forecast(subject(steps), 4_000, START, Rates(open=0.5, click=0.2, reply=0.0))
    assert result["totals"]["sent"] == {"email": 28_000}
    assert result["ways"] == 1 + 7 * 2  # who opened and who clicked part from the others after each message


@pytest.mark.parametrize(
    "when",
    [
        {"engagement": {"signal": "opened", "step": "first"}},
        {"engagement": {"signal": "opened"}},
        {"field": "lead.score", "op": "gt", "value": 0},
    ],
    ids=["asked of the step", "asked of any step", "counted in the score"],
)
def test_crowds_stay_apart_by_what_a_condition_asks(when: dict[str, Any]) -> None:
    result = forecast(subject(branch(when)), with_phones(2_001), START, Rates(open=0.4, click=0.1, reply=0.0))
    steps, opened = result["totals"]["by_step"], result["totals"]["signals"]["opened"]
    assert steps["warm"]["sent"] + steps["cold"]["sent"] == 2_000
    assert steps["warm"]["sent"] / 2_000 == pytest.approx(0.4, abs=0.05)
    assert steps["warm"]["sent"] < opened  # of both mails


@pytest.mark.parametrize(
    ("when", "settings"),
    [
        ({"engagement": {"signal": "clicked", "step": "first", "link": "https://example.com/a"}}, {}),
        ({"engagement": {"signal": "clicked", "step": "first"}}, {"send_time": "optimised"}),
    ],
    ids=["a single link", "the hour somebody reads at"],
)
def test_nobody_is_alike_where_more_is_read_than_a_state_tells(when: dict[str, Any], settings: dict[str, Any]) -> None:
    tried = subject(branch(when), settings=settings)
    assert not Likeness(tried.definition).blind
    result = forecast(tried, with_phones(101), START, Rates(open=0.5, click=0.2, reply=0.0))
    assert result["totals"]["by_step"]["last"]["sent"] == 100


def test_those_whose_turn_comes_at_another_moment_stay_apart() -> None:
    tried = subject([email("first"), email("last", delay=days(1))], settings={"limits": {"per_minute": 10}})
    result = forecast(tried, 40, START, Rates(open=0.5, click=0.0, reply=0.0))
    assert result["totals"]["sent"] == {"email": 80}
    [hit] = result["limits_hit"]
    assert hit["used_up"] == 8  # four minutes on each day


def test_a_situation_keeps_what_the_definition_names() -> None:
    words = mentioned(definition([email("first", conditions={"field": "custom_fields.budget", "op": "exists"})]))
    world = CrowdWorld(START)
    lead = replace(next(iter(leads(1).values())), custom_fields={"budget": 5, "pet": "cat"}, tags=frozenset({"x"}))
    kept = situation(lead, words, world)
    assert kept.custom_fields == {"budget": 5}
    assert (kept.first_name, kept.email, kept.score, kept.tags) == (None, "lead@example.com", 0, frozenset())
    assert kept.timezone == lead.timezone


def test_renaming_reaches_every_corner_and_copies_nothing_else() -> None:
    old, new, other = UUID(int=1), UUID(int=2), UUID(int=3)
    renaming = Renaming({old: new})
    assert renaming.of({old: (f"task:{old}", [other], frozenset({old}))}) == {
        new: (f"task:{new}", [other], frozenset({new}))
    }
    untouched = (other, {"a": START + timedelta(1)})
    assert renaming.of(untouched) is untouched


def test_a_lead_that_is_held_and_leaves_later_ends_once() -> None:
    rules = [{"on": "click", "do": "pause"}, {"on": "reply", "do": "exit"}]
    tried = subject([email("first"), email("last", delay=days(3))], settings={"stop_on": rules})
    both = forecast(tried, 10, START, Rates(1, 1, 1))
    assert (both["ends"], both["still_inside"]) == ({"replied": 10}, 0)
    assert both["days"] == [{"day": "2026-11-20", "sent": {"email": 10}, "ended": {"replied": 10}}]
    held = forecast(tried, 10, START, Rates(1, 1, 0))
    assert (held["ends"], held["still_inside"], held["days_until_the_end"]["p100"]) == ({"stop_rule": 10}, 0, 0)
    assert held["last_end"] == (START + timedelta(hours=2, minutes=5)).isoformat()


def test_a_crowd_that_is_held_as_its_message_goes_out_still_parts_by_what_its_members_do() -> None:
    rules = [{"on": "reply", "do": "exit"}, {"on": "goal", "do": "pause"}]
    steps = [email("first"), {"step_id": "won", "kind": "goal", "config": {"name": "won"}}, email("last")]
    result = forecast(subject(steps, settings={"stop_on": rules}), 1_000, START, Rates(0, 0, 0.5))
    assert (sum(result["ends"].values()), result["still_inside"]) == (1_000, 0)
    assert result["ends"]["replied"] == result["totals"]["signals"]["replied"]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    size=st.integers(1, 30),
    rules=st.lists(
        st.fixed_dictionaries(
            {
                "on": st.sampled_from(["reply", "click", "unsubscribe", "goal"]),
                "do": st.sampled_from(["pause", "exit"]),
            }
        ),
        max_size=4,
        unique_by=lambda rule: rule["on"],
    ),
    rates=st.builds(Rates, *[st.sampled_from([0.0, 0.5, 1.0])] * 3),
    per_day=st.none() | st.integers(1, 9),
    goal=st.booleans(),
    together=st.booleans(),
)
def test_every_lead_has_one_end_or_is_still_inside(
    size: int, rules: list[dict[str, str]], rates: Rates, per_day: int | None, goal: bool, together: bool
) -> None:
    way: dict[str, Any] = {"step_id": "won", "kind": "goal", "config": {"name": "won"}} if goal else email("third")
    steps = [email("first"), email("second", delay={"amount": 3, "unit": "hours"}), way, email("last", delay=days(2))]
    asked = {"stop_on": rules, "limits": {"per_day": per_day}}
    result = forecast(subject(steps, settings=asked), size, START, rates, together=together)
    ended = Counter[str]()
    for each in result["days"]:
        ended.update(each["ended"])
    assert result["entered"] == size
    assert sum(result["ends"].values()) + result["still_inside"] == size
    assert result["still_inside"] >= 0
    assert min(result["ends"].values(), default=1) > 0
    assert ended == result["ends"]
