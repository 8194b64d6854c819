"""Variants: draws, what is counted for them, and winners."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.enrollment.domain.evolving import evolve_any
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.row_types import TIMER
from services.enrollment.domain.variants import best_of, draw, key_of, kind_of
from services.enrollment.domain.work import Work
from shared.events.enrollment import (
    ConversionAttributed,
    EngagementNoted,
    RecordDeferred,
    RecordInDoubt,
    RecordSent,
    StepDue,
    StepSent,
    StepSettled,
)
from shared.events.lead import LeadBody, LeadConverted, LeadCreated
from shared.events.message import Event, parse_payload
from shared.events.organization import FoundOrganization, SetSender
from shared.events.places import reasons_of
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    DraftSequence,
    EditSequence,
    SubmitSequence,
    VariantWon,
)
from shared.events.variants import WinnerRule
from tests.domain.scenario import SEQUENCE, Scenario, T, days, definition, email, in_flight

A_AND_B = [
    {"variant_id": "a", "config": {"subject": "Short"}},
    {"variant_id": "b", "config": {"subject": "Longer and warmer"}},
]


def varied(step_id: str = "first", *, variants: Any = A_AND_B, **selection: Any) -> dict[str, Any]:
    return email(step_id, variants=variants, selection=selection)


def drawn(scenario: Scenario) -> StepDue:
    due = scenario.event(StepDue)
    assert isinstance(due, StepDue)
    return due


def world_with(step: dict[str, Any]) -> MemoryWorld:
    world = MemoryWorld(T)
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    world.send(
        DraftSequence(sequence_id=SEQUENCE, definition=definition([step, email("later", delay=days(9))]), activate=True)
    )
    return world


def enroll(world: MemoryWorld, number: int) -> StepDue:
    """The first message of a new lead, still in flight."""
    body = LeadBody(email=f"lead{number}@example.com")
    made = world.send(LeadCreated(organization_id="demo", lead=body), message_id=f"lead{number}")
    enrollment_id = UUID(str(made.result["enrollment_id"]))
    woken = world.wake(world.timers[enrollment_id, TIMER])
    [event] = [change.event for change in woken.changes if isinstance(change.event, StepDue)]
    return event


def count(world: MemoryWorld, variant: str, content: str, sent: int, opened: int) -> None:
    counts = world.counted.setdefault(("demo", kind_of(SEQUENCE, "first")), {})
    counts[key_of(variant, content, "sent")] = sent
    counts[key_of(variant, content, "opened")] = opened


def contents(step: dict[str, Any]) -> dict[str, str]:
    node = compile_version(SEQUENCE, 1, definition([step])).nodes["first"]
    return {arm.variant_id: arm.content for arm in node.arms}


# --- draws ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(any))
def test_fixed_weights_are_met(weights: list[int]) -> None:
    variants = [
        {"variant_id": f"v{nth}", "weight": weight, "config": {"subject": str(nth)}}
        for nth, weight in enumerate(weights)
    ]
    scenario = Scenario([varied(variants=variants)])
    node = compile_version(SEQUENCE, 1, definition([varied(variants=variants)])).nodes["first"]
    leads, work = 400, Work(scenario.world, "demo")
    drawn_by_all = [draw(work, replace(scenario.state, id=UUID(int=number)), node) for number in range(leads)]
    got = Counter(each.arm.variant_id for each in drawn_by_all if each is not None)
    for nth, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(got[f"v{nth}"] / leads - share) <= 6 * (share * (1 - share) / leads) ** 0.5


def test_the_event_names_what_was_drawn_and_from_what() -> None:
    due = drawn(in_flight([varied()]))
    assert due.variant in {"a", "b"}
    assert due.content == contents(varied())[due.variant]
    assert due.draw is not None
    assert due.why is not None
    assert (due.why.rule, due.why.inputs) == ("variant_weight", {"a": 1, "b": 1})


def test_a_step_without_variants_draws_nothing() -> None:
    due = drawn(in_flight())
    assert (due.variant, due.content, due.draw, due.why) == (None, None, None, None)


def test_thompson_prefers_the_better_one_and_still_tries_the_other() -> None:
    step = varied(mode="auto", min_sent=10)
    world = world_with(step)
    digests = contents(step)
    count(world, "a", digests["a"], 60, 6)
    count(world, "b", digests["b"], 60, 14)
    got = Counter(enroll(world, number).variant for number in range(200))
    assert got["b"] > 160
    assert got["a"] > 0


def test_thompson_learns_by_itself() -> None:
    """B is opened by nearly all, A by nobody: nothing is told but what happens."""
    step = varied(mode="auto", min_sent=5)
    world = world_with(step)
    got: list[str | None] = []
    for number in range(150):
        due = enroll(world, number)
        scenario = Scenario(enrolled=False)
        scenario.world = world
        scenario.enrollment_id = next(change.id for change in reversed(world.log) if isinstance(change.event, StepDue))
        scenario.sent()
        if due.variant == "b" and number % 10:
            scenario.when(scenario.signal("opened"))
        got.append(due.variant)
    assert Counter(got[-50:])["b"] >= 45


def test_weights_hold_until_every_variant_was_sent_often_enough() -> None:
    step = varied(mode="auto", min_sent=10)
    world = world_with(step)
    digests = contents(step)
    count(world, "a", digests["a"], 9, 0)
    count(world, "b", digests["b"], 500, 400)
    due = enroll(world, 1)
    assert due.why is not None
    assert due.why.rule == "variant_weight"


def test_the_same_counts_draw_the_same_and_others_leave_the_past_alone() -> None:
    step = varied(mode="auto", min_sent=0)

    def play(world: MemoryWorld) -> list[str | None]:
        return [enroll(world, number).variant for number in range(30)]

    one, other = world_with(step), world_with(step)
    assert play(one) == play(other)
    before = [change.event for change in one.log]
    digests = contents(step)
    count(one, "a", digests["a"], 1_000, 900)
    assert [change.event for change in one.log] == before
    for aggregate_id, state in one.states.items():
        own = [change for change in one.log if change.id == aggregate_id]
        replayed: Any = None
        for change in own:
            event = parse_payload(change.event.TOPIC, change.event.model_dump(mode="json"))
            assert isinstance(event, Event)
            replayed = evolve_any(
                change.aggregate, replayed, event, id=change.id, organization_id="demo", lead_id=change.lead_id, at=T
            )
        assert replayed == state


def test_another_attempt_and_a_repeated_step_keep_their_variant() -> None:
    scenario = in_flight([varied()])
    first = drawn(scenario)
    scenario.when(scenario.outcome(RecordDeferred)).wake()
    again = drawn(scenario)
    assert (again.attempt, again.variant, again.content) == (2, first.variant, first.content)
    assert again.why is not None
    assert again.why.rule == "variant_kept"


def test_leads_of_one_sequence_differ_and_steps_are_drawn_apart() -> None:
    scenario = in_flight([varied("one"), {**varied("two"), "delay": days(1)}])
    scenario.sent().wake()
    number = drawn(scenario).draw
    assert number is not None
    assert number != drawn(in_flight([varied("one")])).draw


# --- counts -----------------------------------------------------------------------------------------------------------


def test_what_came_back_is_counted_for_the_variant_that_was_sent() -> None:
    scenario = in_flight([varied(), email("second", delay=days(3))])
    due = drawn(scenario)
    assert due.variant is not None
    assert due.content is not None
    scenario.sent()
    assert (scenario.event(StepSent).variant, scenario.event(StepSent).sender) == (due.variant, "default")
    scenario.when(scenario.signal("opened"))
    assert scenario.event(EngagementNoted).content == due.content
    scenario.when(scenario.signal("opened")).when(scenario.signal("clicked", machine=0.9))
    counts = scenario.world.figures("demo", kind_of(SEQUENCE, "first"))
    assert counts == {key_of(due.variant, due.content, name): 1 for name in ("sent", "opened")}


def test_a_message_in_doubt_counts_once_it_is_known_to_have_gone_out() -> None:
    scenario = in_flight([varied(), email("second", delay=days(3))])
    due = drawn(scenario)
    scenario.when(scenario.outcome(RecordInDoubt))
    kind = kind_of(SEQUENCE, "first")
    assert scenario.world.figures("demo", kind) == {}
    scenario.when(scenario.signal("opened"))
    assert scenario.event(StepSettled).variant == due.variant
    assert sorted(scenario.world.figures("demo", kind).values()) == [1, 1]


def test_a_late_answer_counts_once() -> None:
    scenario = in_flight([varied()])
    scenario.sent()
    scenario.when(scenario.outcome(RecordSent, 1, sent_at=T)).nothing()
    assert list(scenario.world.figures("demo", kind_of(SEQUENCE, "first")).values()) == [1]


# --- winners ----------------------------------------------------------------------------------------------------------


def decided(act: str, mode: str = "auto") -> tuple[MemoryWorld, dict[str, str]]:
    step = varied(mode=mode, winner={"probability": 0.95, "at_least": 50, "act": act})
    world = world_with(step)
    digests = contents(step)
    count(world, "a", digests["a"], 100, 10)
    count(world, "b", digests["b"], 100, 40)
    return world, digests


@pytest.mark.parametrize("mode", ["fixed", "auto"])
def test_a_clear_winner_is_recorded_once_and_used(mode: str) -> None:
    world, digests = decided("use", mode)
    got = [enroll(world, number) for number in range(20)]
    [won] = [change.event for change in world.log if isinstance(change.event, VariantWon)]
    assert (won.variant, won.used, won.measure, won.contents) == ("b", True, "open", digests)
    assert won.counts == {"a": [100, 10], "b": [100, 40]}
    assert won.probability > 0.99
    assert {due.variant for due in got} == {"b"}
    assert {due.why.rule for due in got if due.why is not None} == {"variant_winner"}


def test_a_winner_that_is_only_told_changes_no_draw() -> None:
    world, _ = decided("none", "fixed")
    got = Counter(enroll(world, number).variant for number in range(60))
    assert sum(isinstance(change.event, VariantWon) for change in world.log) == 1
    assert min(got["a"], got["b"]) > 10


def test_a_winner_over_other_contents_has_won_nothing() -> None:
    world, _ = decided("use", "fixed")
    enroll(world, 0)
    changed = varied(
        variants=[A_AND_B[0], {"variant_id": "b", "config": {"subject": "Something else"}}],
        winner={"probability": 0.95, "at_least": 50, "act": "use"},
    )
    for order in (
        EditSequence(sequence_id=SEQUENCE, definition=definition([changed])),
        SubmitSequence(sequence_id=SEQUENCE),
        ApproveSequence(sequence_id=SEQUENCE),
        ActivateSequence(sequence_id=SEQUENCE),
    ):
        world.send(order)
    assert {enroll(world, number).variant for number in range(1, 30)} == {"a", "b"}


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ((49, 5), (100, 60), None),  # one was not sent often enough
        ((100, 20), (100, 22), None),  # too close
        ((100, 20), (100, 45), "b"),
        ((100, 45), (100, 20), "a"),
        ((50, 0), (50, 0), None),
    ],
)
def test_the_winner_rule(a: tuple[int, int], b: tuple[int, int], wanted: str | None) -> None:
    found = best_of({"a": a, "b": b}, WinnerRule(probability=0.95, at_least=50))
    assert (found[0] if found else None) == wanted


# --- conversions ------------------------------------------------------------------------------------------------------


def converted(scenario: Scenario) -> list[ConversionAttributed]:
    body = LeadBody(email="ada@example.com")
    scenario.when(
        LeadConverted(organization_id="demo", lead=body, occurred_at=scenario.world.now),
        message_id=f"won{len(scenario.log)}",
    )
    return [event for event in scenario.events if isinstance(event, ConversionAttributed)]


def test_a_conversion_is_owed_to_the_last_message_that_was_clicked() -> None:
    scenario = in_flight([varied(), email("second", delay=days(1)), email("third", delay=days(1))])
    first = drawn(scenario)
    scenario.sent().later(hours=1).when(scenario.signal("clicked", 1)).wake().sent()
    scenario.later(hours=1).when(scenario.signal("opened", 2)).wake().sent()
    [owed] = converted(scenario)
    assert (owed.step_id, owed.by, owed.variant, owed.sender) == ("first", "clicked", first.variant, "default")
    counts = scenario.world.figures("demo", kind_of(SEQUENCE, "first"))
    assert counts[key_of(str(owed.variant), str(owed.content), "conversions")] == 1


def test_without_clicks_it_is_owed_to_the_last_opened_else_to_the_last_sent() -> None:
    story = in_flight()
    story.sent().later(hours=1)
    story.when(story.signal("opened", 1)).wake().sent()
    assert [(owed.step_id, owed.by) for owed in converted(story)] == [("first", "opened")]
    plain = in_flight()
    plain.sent().wake().sent()
    assert [(owed.step_id, owed.by) for owed in converted(plain)] == [("second", "sent")]


def test_a_message_of_long_ago_is_owed_nothing() -> None:
    scenario = in_flight()
    scenario.sent().wake().sent().later(days=31)
    assert converted(scenario) == []


def test_a_conversion_after_the_end_is_owed_to_the_message_all_the_same() -> None:
    scenario = in_flight([email("only")])
    scenario.sent().later(days=3)
    assert not scenario.state.is_open
    assert [owed.step_id for owed in converted(scenario)] == ["only"]


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variants", "named"),
    [
        (A_AND_B[:1], "at least two"),
        ([A_AND_B[0], A_AND_B[0]], "of its own"),
        ([{**each, "weight": 0} for each in A_AND_B], "weight above 0"),
        ([A_AND_B[0], {"variant_id": "b", "config": {"subject": ""}}], "1.config.subject"),
        ([A_AND_B[0], {"variant_id": "b", "config": {"colour": "red"}}], "1.config.colour"),
        ([A_AND_B[0], {"variant_id": "b", "config": {"sender": "eve"}}], "1.config.sender"),
        ([A_AND_B[0], {"variant_id": "B!"}], "variant_id"),
    ],
)
def test_variants_that_make_no_sense_are_refused_by_name(variants: Any, named: str) -> None:
    with pytest.raises(ValidationError, match=named) as refused:
        definition([varied(variants=variants)])
    assert refused.value.errors()[0]["loc"][:3] == ("steps", 0, "variants")


def test_what_is_wrong_in_a_variants_content_is_named_where_it_stands() -> None:
    raw = varied(
        variants=[A_AND_B[0], {"variant_id": "b", "config": {"subject": "", "sender": "eve", "colour": "red"}}]
    )
    with pytest.raises(ValidationError) as refused:
        definition([raw])
    places = {each["field"]: each["problem"] for each in reasons_of(refused.value, {"steps": [raw]})}
    where = f"steps.{raw['step_id']}.variants.b.config"
    assert places.keys() == {f"{where}.subject", f"{where}.sender", f"{where}.colour"}
    assert places[f"{where}.sender"] == "is the same for all variants"


def test_only_messages_have_variants() -> None:
    with pytest.raises(ValidationError, match="has no variants"):
        definition([{"step_id": "wait", "kind": "wait", "variants": A_AND_B}])


def test_a_body_replaces_every_form_of_the_body() -> None:
    step = varied(variants=[A_AND_B[0], {"variant_id": "b", "config": {"html": "<p>B</p>"}}])
    compiled = compile_version(SEQUENCE, 1, definition([step]))
    of_b: Any = compiled.step_with("first", "b")
    assert (of_b.config.html, of_b.config.text, of_b.config.subject) == ("<p>B</p>", None, "Hello")
    gone: Any = compiled.step_with("first", "gone")
    assert gone.config.text == "Hello"
