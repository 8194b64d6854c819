"""Funnels, which sequence takes a lead, and when its enrollment begins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.description import waiting_for
from services.enrollment.domain.errors import (
    AlreadyEnrolled,
    Exclusive,
    InvalidDefinition,
    InvalidMoment,
    SequenceNotActive,
    UnknownTarget,
    Unreachable,
)
from services.enrollment.domain.funnel import Funnel, funnel_aggregate
from services.enrollment.domain.handling import handle
from services.enrollment.domain.sequence import NO_FUNNEL
from shared.events.enrollment import CancelEnrollment, Enroll, EnrollmentStarted, StartEnrollment, StartRefused
from shared.events.envelope import Envelope
from shared.events.funnel import (
    AssignSequences,
    CloseForm,
    CreateFunnel,
    FunnelCreated,
    FunnelFallbackChosen,
    FunnelFormOpened,
    FunnelRenamed,
    FunnelSequencesAssigned,
    FunnelSequencesUnassigned,
    FunnelSwitched,
    OpenForm,
    SetFunnel,
    UnassignSequences,
)
from shared.events.lead import LeadBody, LeadCreated, LeadMatched, LeadNotMatched, ScoreLead
from shared.events.organization import SetOrganization
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    ArchiveSequence,
    DeleteSequence,
    DraftSequence,
    EditSequence,
    RestoreSequence,
    SequenceAssignedToFunnels,
    SequencePublished,
    SequenceUnassignedFromFunnels,
    SubmitSequence,
)
from shared.events.why import Why
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, definition, email

A, B = derived_id("test", "a"), derived_id("test", "b")
FORM = OpenForm(funnel_id="web", form_key="k" * 22, origins=["https://example.com"])


def sequences(scenario: Scenario, **triggers: dict[str, Any]) -> Scenario:
    """Sequences by name; the scenario's own is archived, so that it takes nobody."""
    scenario.when(ArchiveSequence(sequence_id=SEQUENCE))
    for name, trigger in triggers.items():
        settings = trigger.pop("settings", None)
        steps = trigger.pop("steps", [email("one")])
        drafted = definition(steps, settings=settings, trigger=trigger)
        scenario.when(DraftSequence(sequence_id=derived_id("test", name), definition=drafted, activate=True))
        assert scenario.error is None, scenario.error
    return scenario


def given(**triggers: dict[str, Any]) -> Scenario:
    return sequences(Scenario(enrolled=False), **triggers)


def comes(scenario: Scenario, funnel_id: str | None = None, **fields: Any) -> Scenario:
    body = LeadBody.model_validate({"email": "ada@example.com", **fields})
    message = LeadCreated(organization_id="demo", funnel_id=funnel_id, lead=body)
    scenario.when(message, message_id=f"m{len(scenario.world.log)}")
    assert scenario.decision is not None
    scenario.lead_id = UUID(str(scenario.decision.result["lead_id"]))
    if "enrollment_id" in scenario.decision.result:
        scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
    return scenario


def funnel(scenario: Scenario, funnel_id: str = "web") -> Funnel:
    state = scenario.world.funnel(funnel_aggregate("demo", funnel_id))
    assert state is not None
    return state


# --- the funnel itself ----------------------------------------------------------------------------------------------


def test_a_funnel_is_made_named_and_switched() -> None:
    scenario = given().when(CreateFunnel(funnel_id="web")).then(FunnelCreated(funnel_id="web", name="web"))
    scenario.when(CreateFunnel(funnel_id="web")).nothing()
    scenario.when(CreateFunnel(funnel_id="web", name="Web")).then(FunnelRenamed(name="Web"))
    change = SetFunnel(funnel_id="web", name="Site", auto=False, fallback=SEQUENCE)
    scenario.when(change).then(
        FunnelRenamed(name="Site"), FunnelSwitched(auto=False), FunnelFallbackChosen(sequence_id=SEQUENCE)
    )
    scenario.when(change).nothing()
    scenario.when(SetFunnel(funnel_id="web", no_fallback=True)).then(FunnelFallbackChosen(sequence_id=None))
    scenario.when(SetFunnel(funnel_id="nowhere")).refused(UnknownTarget)
    scenario.when(SetFunnel(funnel_id="web", fallback=UUID(int=9))).refused(UnknownTarget)


def test_assignments_stand_on_both_sides_and_a_repeat_is_nothing() -> None:
    scenario = given(a={}, b={})
    many = AssignSequences(funnel_ids=["web", "fair"], sequence_ids=[A, B])
    scenario.when(many).then(
        SequenceAssignedToFunnels(funnel_ids=["web", "fair"]),
        SequenceAssignedToFunnels(funnel_ids=["web", "fair"]),
        FunnelCreated(funnel_id="web", name="web"),
        FunnelSequencesAssigned(sequence_ids=[A, B]),
        FunnelCreated(funnel_id="fair", name="fair"),
        FunnelSequencesAssigned(sequence_ids=[A, B]),
    )
    scenario.when(many).nothing()
    gone = UnassignSequences(funnel_ids=["web"], sequence_ids=[A])
    scenario.when(gone).then(
        SequenceUnassignedFromFunnels(funnel_ids=["web"]), FunnelSequencesUnassigned(sequence_ids=[A])
    )
    scenario.when(gone).nothing()
    assert funnel(scenario).sequences == {B}
    assert scenario.world.sequence(A).funnels == {"fair"}  # type: ignore[union-attr]  # it is there
    scenario.when(AssignSequences(funnel_ids=["web"], sequence_ids=[UUID(int=9)])).refused(UnknownTarget)


def test_a_trigger_that_names_funnels_assigns_them_when_published_and_lets_go_of_dropped_ones() -> None:
    scenario = given(a={"funnels": ["web"]})
    scenario.then(
        "SequenceDrafted",
        "SequenceSubmitted",
        "SequenceApproved",
        "SequencePublished",
        FunnelCreated(funnel_id="web", name="web"),
        FunnelSequencesAssigned(sequence_ids=[A]),
    )
    scenario.when(AssignSequences(funnel_ids=["by-hand"], sequence_ids=[A]))
    edited = definition([email("one")], trigger={"funnels": ["fair"]})
    scenario.when(EditSequence(sequence_id=A, definition=edited)).when(SubmitSequence(sequence_id=A))
    scenario.when(ApproveSequence(sequence_id=A)).when(ActivateSequence(sequence_id=A))
    scenario.then(
        SequencePublished(version=2, definition=edited),
        SequenceUnassignedFromFunnels(funnel_ids=["web"]),
        FunnelCreated(funnel_id="fair", name="fair"),
        FunnelSequencesAssigned(sequence_ids=[A]),
        FunnelSequencesUnassigned(sequence_ids=[A]),
    )
    assert scenario.world.sequence(A).funnels == {"fair", "by-hand"}  # type: ignore[union-attr]  # it is there
    assert funnel(scenario).sequences == frozenset()


def republished(scenario: Scenario, **trigger: Any) -> Scenario:
    """The next version, with another text and this trigger."""
    edited = definition([email("one", config={"text": f"{len(scenario.log)}"})], trigger=trigger)
    scenario.when(EditSequence(sequence_id=A, definition=edited)).when(SubmitSequence(sequence_id=A))
    return scenario.when(ApproveSequence(sequence_id=A)).when(ActivateSequence(sequence_id=A))


def told(scenario: Scenario) -> list[dict[str, str]]:
    """The warnings of the last answer."""
    assert scenario.decision is not None
    found: list[dict[str, str]] = scenario.decision.result["warnings"]
    return found


def test_what_was_unassigned_by_hand_stays_so_when_the_next_version_still_names_it() -> None:
    scenario = given(a={"funnels": ["web", "fair"]}).when(UnassignSequences(funnel_ids=["web"], sequence_ids=[A]))
    republished(scenario, funnels=["web", "fair", "new"]).then(
        "SequencePublished",
        SequenceUnassignedFromFunnels(funnel_ids=["web"]),
        FunnelCreated(funnel_id="new", name="new"),
        FunnelSequencesAssigned(sequence_ids=[A]),
    )
    assert [each["field"] for each in told(scenario)] == ["trigger.funnels"]
    assert "names web, from which" in told(scenario)[0]["problem"]
    assert scenario.world.sequence(A).funnels == {"fair", "new"}  # type: ignore[union-attr]  # it is there
    assert (funnel(scenario).sequences, funnel(scenario, "new").sequences) == (frozenset(), frozenset({A}))
    scenario.when(AssignSequences(funnel_ids=["web"], sequence_ids=[A]))
    assert told(republished(scenario, funnels=["web", "fair", "new"])) == []
    assert scenario.world.sequence(A).funnels == {"web", "fair", "new"}  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("by_trigger", [True, False])
def test_a_sequence_that_has_lost_its_last_funnel_takes_nobody_by_itself(*, by_trigger: bool) -> None:
    scenario = given(a={"funnels": ["web"]} if by_trigger else {})
    if not by_trigger:
        scenario.when(AssignSequences(funnel_ids=["web"], sequence_ids=[A]))
    scenario.when(UnassignSequences(funnel_ids=["web"], sequence_ids=[A]))
    assert told(scenario) == [{"field": f"sequences.{A}", "problem": NO_FUNNEL}]
    for number, name in enumerate(("fair", "web", None)):
        refused = comes(scenario, name, email=f"{number}@example.com").event(LeadNotMatched).refused
        assert refused[str(A)] == Why(rule="no_funnel")
    republished(scenario)
    assert told(scenario) == [{"field": "trigger.funnels", "problem": NO_FUNNEL}]
    assert comes(scenario, "fair", email="x@example.com").event(LeadNotMatched).refused[str(A)].rule == "no_funnel"
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A)).then("LeadJoinedSequence", "EnrollmentStarted")
    scenario.when(AssignSequences(funnel_ids=["fair"], sequence_ids=[A]))
    assert comes(scenario, "fair", email="y@example.com").event(LeadMatched).sequence_id == A


def test_a_trigger_may_say_that_leads_of_any_funnel_are_meant() -> None:
    scenario = given(a={"funnels": ["web"]}).when(UnassignSequences(funnel_ids=["web"], sequence_ids=[A]))
    assert told(republished(scenario, any_funnel=True)) == []
    assert comes(scenario, "fair").event(LeadMatched).sequence_id == A
    scenario.when(AssignSequences(funnel_ids=["web"], sequence_ids=[A]))
    assert comes(scenario, "fair", email="x@example.com").event(LeadNotMatched).refused[str(A)].rule == "funnel"
    scenario.when(UnassignSequences(funnel_ids=["web"], sequence_ids=[A]))
    assert told(scenario) == []
    both = definition([email("one")], trigger={"funnels": ["web"], "any_funnel": True})
    scenario.when(EditSequence(sequence_id=A, definition=both)).refused(InvalidDefinition)


def test_a_web_form_is_opened_kept_and_closed() -> None:
    scenario = given().when(FORM).refused(UnknownTarget).when(CreateFunnel(funnel_id="web")).when(FORM)
    scenario.then(FunnelFormOpened(form_key="k" * 22, origins=["https://example.com"])).when(FORM).nothing()
    scenario.when(CloseForm(funnel_id="web")).then("FunnelFormClosed").when(CloseForm(funnel_id="web")).nothing()


# --- matching -------------------------------------------------------------------------------------------------------


def test_a_sequence_takes_leads_of_its_funnels_only_and_any_when_it_has_none() -> None:
    scenario = given(a={"priority": 5}, b={}).when(AssignSequences(funnel_ids=["web"], sequence_ids=[A]))
    comes(scenario, "fair")
    matched = scenario.event(LeadMatched)
    assert (matched.sequence_id, matched.refused[str(A)].rule) == (B, "funnel")
    assert comes(scenario, "web", email="bob@example.com").event(LeadMatched).sequence_id == A


def test_a_funnel_that_enrols_by_hand_says_so_and_its_leads_cross_no_threshold() -> None:
    scenario = given(a={"on": ["created", "score_reached"], "score": {"min": 50}})
    scenario.when(CreateFunnel(funnel_id="web")).when(SetFunnel(funnel_id="web", auto=False))
    comes(scenario, "web", score=60)
    assert scenario.event(LeadNotMatched).why.rule == "funnel_off"
    comes(scenario, "web", email="bob@example.com", score=10)
    assert "LeadMatched" not in scenario.when(ScoreLead(lead_id=scenario.lead_id, set=70)).names
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A)).then("LeadJoinedSequence", "EnrollmentStarted")


def test_a_funnels_fallback_takes_whom_no_other_takes_unless_it_cannot() -> None:
    scenario = given(a={"tags": ["vip"]}, b={"start": "manual"})
    scenario.when(CreateFunnel(funnel_id="web")).when(SetFunnel(funnel_id="web", fallback=B))
    matched = comes(scenario, "web").event(LeadMatched)
    assert (matched.sequence_id, matched.why.rule) == (B, "fallback")
    assert matched.refused[str(A)].rule == "tag"
    assert comes(scenario, "web", email="bob@example.com", tags=["vip"]).event(LeadMatched).sequence_id == A
    other = comes(scenario, "fair", email="eve@example.com").event(LeadNotMatched)
    assert other.why.rule == "no_match"
    phone = comes(scenario, "web", email=None, phone="+4915112345678").event(LeadNotMatched)
    assert phone.refused[str(B)].rule == "address"


@pytest.mark.parametrize(
    ("trigger", "fields", "rule"),
    [
        ({"score": {"min": 30, "max": 70}}, {"score": 29}, "score"),
        ({"score": {"min": 30, "max": 70}}, {"score": 71}, "score"),
        ({"sources": ["Web"]}, {"source": "Fair"}, "source"),
        ({"statuses": ["New"]}, {}, "status"),
        ({"temperatures": ["Warm"]}, {"temperature": "Cold"}, "temperature"),
        ({"tags": ["vip"]}, {"tags": ["other"]}, "tag"),
        ({"conditions": {"field": "company", "op": "eq", "value": "X"}}, {"company": "Y"}, "condition"),
        ({"start": "manual"}, {}, "manual"),
        ({"on": ["score_reached"], "score": {"min": 1}}, {}, "occasion"),
    ],
)
def test_every_criterion_that_keeps_a_lead_out_is_named(
    trigger: dict[str, Any], fields: dict[str, Any], rule: str
) -> None:
    assert comes(given(a=trigger), **fields).event(LeadNotMatched).refused[str(A)].rule == rule


# --- how many at once -----------------------------------------------------------------------------------------------


def test_an_organizations_number_of_open_enrollments_holds_and_an_ended_one_frees_its_place() -> None:
    scenario = comes(given(a={}, b={"start": "manual"}).when(SetOrganization(max_open_enrollments=1)))
    order = Enroll(lead_id=scenario.lead_id, sequence_id=B)
    scenario.when(order).refused(Exclusive)
    assert str(scenario.error) == "The lead is in as many sequences as it may be (1 of 1)."
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id)).when(order)
    assert scenario.error is None


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (True, False, True),
        (False, True, True),
        ("sales", "sales", True),
        ("sales", "care", False),
        ("sales", False, False),
        (False, False, False),
    ],
)
def test_exclusive_sequences_share_no_lead(first: Any, second: Any, *, refused: bool) -> None:
    scenario = given(a={"settings": {"exclusive": first}}, b={"settings": {"exclusive": second}, "start": "manual"})
    comes(scenario).when(Enroll(lead_id=scenario.lead_id, sequence_id=B))
    assert isinstance(scenario.error, Exclusive) is refused


def test_matching_passes_over_an_exclusive_sequence_to_the_next_best() -> None:
    scenario = comes(given(a={"start": "manual"}, b={"start": "manual"}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    sequences(scenario, best={"priority": 9, "settings": {"exclusive": True}}, next={})
    matched = comes(scenario).event(LeadMatched)
    assert matched.sequence_id == derived_id("test", "next")
    assert matched.refused[str(derived_id("test", "best"))].rule == "exclusive"


def test_a_lead_in_its_best_match_stays_there_when_it_comes_again() -> None:
    scenario = comes(given(a={"priority": 1, "settings": {"exclusive": True}}, b={}))
    assert "LeadMatched" not in comes(scenario).names
    assert "LeadNotMatched" not in scenario.names


def test_a_lead_that_was_in_its_best_match_is_told_the_rule_that_keeps_it_out_once() -> None:
    scenario = comes(given(a={}))
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    assert comes(scenario).event(LeadNotMatched).why.rule == "reenroll"
    assert "LeadNotMatched" not in comes(scenario).names
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A)).refused(AlreadyEnrolled)


# --- when it begins ---------------------------------------------------------------------------------------------------

LATER = T + timedelta(days=2)
LONG_AGO = T - timedelta(days=365)


def test_a_beginning_that_was_over_when_it_was_asked_for_is_refused() -> None:
    scenario = comes(given(a={"start": "manual"}))
    order = Enroll(lead_id=scenario.lead_id, sequence_id=A, start_at=LONG_AGO)
    scenario.when(order).refused(InvalidMoment)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == ["start_at"]


def test_a_beginning_that_passed_while_the_order_was_on_its_way_begins_late() -> None:
    scenario = comes(given(a={"start": "manual"}))
    order = Enroll(lead_id=scenario.lead_id, sequence_id=A, start_at=T + timedelta(hours=1))
    asked = Envelope(id="1", message=order, source="test", time=T, organization_id="demo")
    begun = handle(asked, scenario.later(hours=8).world)
    [started] = [change.event for change in begun.changes if isinstance(change.event, EnrollmentStarted)]
    assert (started.plan is not None, started.start_at) == (True, None)


def test_a_sequence_that_began_long_ago_takes_leads_at_once() -> None:
    assert comes(given(a={"start_at": LONG_AGO.isoformat()})).state.status == "active"


def test_an_enrollment_begins_at_its_moment() -> None:
    scenario = comes(given(a={"start": "manual"}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A, start_at=LATER))
    assert scenario.decision is not None
    scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
    assert scenario.timer is not None
    assert (scenario.state.status, scenario.timer.due_at) == ("pending", LATER)
    assert scenario.world.wake(scenario.timer).changes == []
    scenario.wake().then("EnrollmentActivated")
    assert scenario.state.status == "active"
    scenario.wake().then("StepDue")


def test_a_triggers_moment_holds_for_whom_it_takes_and_one_gone_by_begins_at_once() -> None:
    scenario = comes(given(a={"start_at": LATER.isoformat()}))
    assert (scenario.state.status, scenario.state.start_at) == ("pending", LATER)
    scenario.later(days=3)
    comes(scenario, email="bob@example.com")
    assert scenario.state.status == "active"


def test_who_cannot_be_reached_when_the_moment_comes_is_not_started_and_the_reason_stands() -> None:
    scenario = comes(given(a={"start_at": LATER.isoformat()}))
    message = LeadCreated(
        organization_id="demo", lead=LeadBody(email="ada@example.com", consent={"email": False}, phone="+4915112345678")
    )
    scenario.when(message, message_id="no-consent")
    refusal = scenario.wake().event(StartRefused)
    assert refusal.why.rule == "consent"
    assert (scenario.state.status, scenario.state.reason, scenario.timer) == ("pending", "consent", None)
    assert waiting_for(scenario.state) == {"kind": "start", "until": None, "why": {"rule": "consent", "inputs": {}}}
    scenario.when(StartEnrollment(enrollment_id=scenario.enrollment_id)).refused(Unreachable)


def test_starting_by_hand_before_the_moment_wins() -> None:
    scenario = comes(given(a={"start_at": LATER.isoformat()}))
    scenario.when(StartEnrollment(enrollment_id=scenario.enrollment_id)).then("EnrollmentActivated")
    assert scenario.timer is not None
    assert scenario.timer.due_at == T


def test_a_pending_enrollment_that_is_cancelled_leaves_no_timer() -> None:
    scenario = comes(given(a={"start_at": LATER.isoformat()}))
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    assert scenario.timer is None


@pytest.mark.parametrize("begins", [{"start_at": LATER.isoformat()}, {}])
def test_an_archived_sequence_starts_nobody(begins: dict[str, Any]) -> None:
    scenario = comes(given(a={"start": "manual"}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A, start=bool(begins), **begins))
    scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))  # type: ignore[union-attr]  # it is
    scenario.when(ArchiveSequence(sequence_id=A))
    scenario.when(StartEnrollment(enrollment_id=scenario.enrollment_id)).refused(SequenceNotActive)
    if begins:
        scenario.error = None
        scenario.wake().then(StartRefused(why=Why(rule="sequence_archived")))
        assert (scenario.state.status, scenario.timer) == ("pending", None)
    scenario.when(RestoreSequence(sequence_id=A)).when(ActivateSequence(sequence_id=A))
    scenario.when(StartEnrollment(enrollment_id=scenario.enrollment_id)).then("EnrollmentActivated")


def test_who_was_to_begin_in_a_deleted_sequence_leaves_when_the_moment_comes() -> None:
    scenario = comes(given(a={"start_at": LATER.isoformat()}))
    scenario.when(DeleteSequence(sequence_id=A, enrollments="finish"))
    scenario.wake().then("EnrollmentExited", "LeadLeftSequence")
    assert (scenario.state.status, scenario.state.reason) == ("exited", "sequence_deleted")
