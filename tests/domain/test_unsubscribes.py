"""An unsubscribe holds: for the address, whoever comes with it later or shares it, until somebody explicitly opts in
again.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.lead import UNSUBSCRIBED, evolve, initial
from services.enrollment.domain.reach import barrier
from services.enrollment.domain.work import Work
from services.enrollment.stop_orders import orders_of
from shared.events.enrollment import EnrollmentExited, StepSkipped
from shared.events.lead import (
    EditLead,
    EraseLead,
    LeadAddressSuppressed,
    LeadBody,
    LeadNotMatched,
    LeadResubscribed,
    LeadUnsubscribed,
)
from shared.events.organization import SuppressAddress, UnsuppressAddress
from tests.domain.scenario import SEQUENCE, Scenario, T, days, email

PHONE = "+4915112345678"
TEXTS = (
    {"step_id": "first", "kind": "sms", "config": {"text": "Hello"}},
    {"step_id": "second", "kind": "sms", "delay": days(1), "config": {"text": "Hello again"}},
)


def unsubscribed(signal: str = "unsubscribed", **more: Any) -> Scenario:
    scenario = Scenario().wake().sent()
    return scenario.when(scenario.signal(signal, **more))


def erase(scenario: Scenario) -> Scenario:
    return scenario.when(EraseLead(lead_id=scenario.lead_id))


def stands_against(scenario: Scenario, lead_id: UUID) -> tuple[str, object] | None:
    why = barrier(Work(scenario.world, "demo"), scenario.world.lead(lead_id), "email", SEQUENCE)
    return (why.rule, why.inputs.get("reason")) if why is not None else None


def opt_in(scenario: Scenario, channel: str = "email") -> Scenario:
    body = LeadBody.model_validate({"consent": {channel: True}})
    return scenario.when(EditLead(lead_id=scenario.lead_id, lead=body))


# --- after an erasure -----------------------------------------------------------------------------------------------


def test_who_unsubscribed_and_was_erased_is_not_written_to_under_a_new_name() -> None:
    scenario = erase(unsubscribed()).then("LeadErased")  # the unsubscribe itself has suppressed the address
    before = scenario.lead_id
    scenario.create(email="Ada@Example.com", consent={"email": True}).then("LeadCaptured", "LeadNotMatched")
    assert scenario.lead_id != before
    why = scenario.event(LeadNotMatched).refused[str(SEQUENCE)]
    assert (why.rule, why.inputs["reason"]) == ("suppression", UNSUBSCRIBED)


def test_an_unsubscribe_of_before_it_suppressed_anything_is_kept_by_the_erasure() -> None:
    scenario = Scenario(enrolled=False).create(email="ada@example.com")
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    stored = LeadUnsubscribed.model_validate({"channel": "email", "at": T, "source": "link"})
    scenario.world.hold(evolve(lead, stored, T))
    erase(scenario)
    scenario.then("EnrollmentExited", "LeadLeftSequence", "LeadAddressSuppressed", "LeadErased")
    assert scenario.event(LeadAddressSuppressed).reason == "unsubscribed"
    assert scenario.create(email="ada@example.com").names == ["LeadCaptured", "LeadNotMatched"]


def test_a_new_address_since_the_unsubscribe_is_kept_too() -> None:
    scenario = unsubscribed()
    scenario.when(EditLead(lead_id=scenario.lead_id, lead=LeadBody(email="new@example.com")))
    erase(scenario).then("LeadAddressSuppressed", "LeadErased")


def test_an_erasure_without_an_unsubscribe_suppresses_nothing() -> None:
    scenario = erase(Scenario()).then("EnrollmentExited", "LeadLeftSequence", "LeadErased")
    assert "EnrollmentStarted" in scenario.create(email="ada@example.com").names


def test_leaving_one_sequence_suppresses_no_address() -> None:
    scenario = unsubscribed(whole=False)
    assert scenario.event(LeadUnsubscribed).address_hash is None
    erase(scenario)
    assert "EnrollmentStarted" in scenario.create(email="ada@example.com").names


def test_an_explicit_opt_in_lifts_it_and_a_funnels_word_does_not() -> None:
    scenario = erase(unsubscribed())
    scenario.create(email="ada@example.com", consent={"email": True})
    assert stands_against(scenario, scenario.lead_id) == ("suppression", UNSUBSCRIBED)
    opt_in(scenario).then("LeadResubscribed")
    assert scenario.event(LeadResubscribed).address_hash is not None
    assert stands_against(scenario, scenario.lead_id) is None
    opt_in(scenario).nothing()


def test_an_opt_in_lifts_the_leads_own_unsubscribe_with_its_address() -> None:
    scenario = opt_in(unsubscribed()).then("LeadDetailsMerged", "LeadResubscribed")
    assert stands_against(scenario, scenario.lead_id) is None
    assert scenario.world.suppressions == {}


@pytest.mark.parametrize("order", ["complained", "bounced first", "by hand first", "domain first"])
def test_no_opt_in_lifts_what_is_suppressed_for_another_reason(order: str) -> None:
    if order == "complained":
        scenario = unsubscribed("complained")
    else:
        scenario = Scenario(settings={"stop_on": []}).wake().sent()
        if order == "bounced first":
            scenario.when(scenario.signal("bounced", bounce_kind="hard"))
        else:
            address = "ada@example.com" if order == "by hand first" else "@example.com"
            scenario.when(SuppressAddress(channel="email", address=address))
        scenario.when(scenario.signal("unsubscribed"))
    opt_in(scenario)
    found = stands_against(scenario, scenario.lead_id)
    assert found is not None
    assert found[0] == "suppression"
    assert found[1] != UNSUBSCRIBED


def test_a_suppressed_domain_does_not_hide_that_the_address_unsubscribed() -> None:
    scenario = Scenario(settings={"stop_on": []}).wake().sent()
    scenario.when(SuppressAddress(channel="email", address="@example.com"))
    scenario.when(scenario.signal("unsubscribed"))
    erase(scenario)
    scenario.when(UnsuppressAddress(channel="email", address="@example.com"))
    assert scenario.create(email="ada@example.com").names == ["LeadCaptured", "LeadNotMatched"]


# --- others with the same number ------------------------------------------------------------------------------------


def sharing(settings: dict[str, Any] | None = None) -> tuple[Scenario, list[tuple[UUID, UUID]]]:
    """Two leads with different e-mails and one phone, each in the sequence; the first has had a text."""
    scenario = Scenario(TEXTS, settings=settings, enrolled=False).later(hours=4)
    pairs = []
    for name in ("ada", "bob"):
        scenario.create(email=f"{name}@example.com", phone=PHONE)
        pairs.append((scenario.lead_id, scenario.enrollment_id))
    scenario.lead_id, scenario.enrollment_id = pairs[0]
    return scenario.wake().sent(), pairs


@pytest.mark.parametrize("answering", [0, 1])
def test_a_stop_from_a_shared_number_stops_both(answering: int) -> None:
    scenario, pairs = sharing()
    scenario.lead_id, scenario.enrollment_id = pairs[1]
    scenario.wake().sent()
    scenario.lead_id, scenario.enrollment_id = pairs[answering]
    scenario.when(scenario.signal("unsubscribed", channel="sms", source="sms_stop"))
    assert scenario.event(LeadUnsubscribed).address_hash is not None
    scenario.lead_id, scenario.enrollment_id = pairs[1 - answering]
    scenario.wake().then("EnrollmentExited", "LeadLeftSequence")
    exited = scenario.event(EnrollmentExited)
    assert exited.reason == "unsubscribed"
    assert exited.why is not None
    assert (exited.why.rule, exited.why.inputs["reason"]) == ("suppression", UNSUBSCRIBED)


def test_a_sequence_that_goes_on_after_an_unsubscribe_passes_the_message_over() -> None:
    scenario, pairs = sharing({"stop_on": ["reply"]})
    scenario.when(scenario.signal("unsubscribed", channel="sms"))
    scenario.lead_id, scenario.enrollment_id = pairs[1]
    assert scenario.wake().event(StepSkipped).why.inputs == {"channel": "sms", "reason": UNSUBSCRIBED}


def test_each_of_them_opts_in_for_itself() -> None:
    scenario, pairs = sharing()
    scenario.when(scenario.signal("unsubscribed", channel="sms"))
    scenario.lead_id, scenario.enrollment_id = pairs[1]
    opt_in(scenario, "sms").then("LeadDetailsMerged", "LeadResubscribed")
    scenario.wake().then("StepDue")
    work = Work(scenario.world, "demo")
    why = barrier(work, scenario.world.lead(pairs[0][0]), "sms", SEQUENCE)
    assert why is not None
    assert why.rule == UNSUBSCRIBED


def test_a_hard_bounce_stops_everybody_with_the_address() -> None:
    scenario, pairs = sharing({"stop_on": []})
    scenario.when(scenario.signal("bounced", channel="sms", bounce_kind="hard"))
    scenario.lead_id, scenario.enrollment_id = pairs[1]
    assert scenario.wake().event(StepSkipped).why.rule == "suppression"


def test_a_lead_without_an_address_unsubscribes_without_one() -> None:
    scenario = Scenario().wake().sent()
    scenario.when(EditLead(lead_id=scenario.lead_id, lead=LeadBody(), clear=["email"]))
    scenario.when(scenario.signal("unsubscribed"))
    assert scenario.event(LeadUnsubscribed).address_hash is None
    assert scenario.world.suppressions == {}


# --- conditions -----------------------------------------------------------------------------------------------------

ASKS = [
    email("first"),
    {
        "step_id": "asks",
        "kind": "condition",
        "delay": days(1),
        "config": {"when": {"consent": "email"}},
        "then": [{"step_id": "yes", "kind": "tag", "config": {"add": ["yes"]}}],
        "else": [{"step_id": "no", "kind": "tag", "config": {"add": ["no"]}}],
    },
]


@pytest.mark.parametrize(
    ("signals", "tag"),
    [([], "yes"), ([{}], "no"), ([{"whole": False}], "no"), ([{"channel": "sms"}], "yes")],
)
def test_a_consent_that_an_unsubscribe_took_back_is_none(signals: list[dict[str, Any]], tag: str) -> None:
    lead = {"email": "ada@example.com", "consent": {"email": True}}
    scenario = Scenario(ASKS, settings={"stop_on": ["reply"]}, lead=lead).wake().sent()
    for more in signals:
        scenario.when(scenario.signal("unsubscribed", **more))
    scenario.wake()
    known = scenario.world.lead(scenario.lead_id)
    assert known is not None
    assert known.tags == {tag}
    taken = next(event for event in scenario.events if getattr(event, "step_id", None) == "asks")
    assert getattr(taken, "why").inputs == {"consent email": True if tag == "yes" else UNSUBSCRIBED}  # noqa: B009


def test_an_old_unsubscribe_reads_as_it_was() -> None:
    stored = LeadUnsubscribed.model_validate({"channel": "email", "at": T, "source": "link"})
    assert stored.address_hash is None
    assert evolve(initial(UUID(int=1), "demo"), stored, T).unsubscribed == {"email": T}


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({"address_hash": "abc"}, ["stop.lead", "stop.address", "stop.enrollment"]),
        ({"address_hash": None}, ["stop.lead", "stop.enrollment"]),
        ({}, ["stop.lead", "stop.enrollment"]),
        ({"sequence_id": str(SEQUENCE), "address_hash": None}, ["stop.enrollment"]),
    ],
)
def test_what_is_on_its_way_to_the_address_is_asked_to_stop(more: dict[str, Any], scopes: list[str]) -> None:
    data = {"channel": "sms", "sequence_id": None, "enrollment_id": str(UUID(int=1)), **more}
    event = {
        "type": "lead.unsubscribed.v1",
        "subject": str(UUID(int=2)),
        "leadid": str(UUID(int=2)),
        "organizationid": "demo",
        "position": 7,
        "time": T.isoformat(),
        "data": data,
    }
    assert [key for key, _ in orders_of(event)] == scopes
