"""Sequences through their life, organizations, tasks by hand, and what a definition may say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.definition_check import ContentFacts, validate
from services.enrollment.domain.errors import (
    InvalidDefinition,
    InvalidSettings,
    LastAdmin,
    MemberExists,
    NothingToSubmit,
    SequenceArchivedAlready,
    SequenceExists,
    SequenceNotActive,
    SequenceNotApproved,
    TaskClosed,
    UnknownTarget,
)
from services.enrollment.domain.evolving import evolve_any
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.handling import HANDLED
from shared.events import Command, registered
from shared.events.organization import (
    AddMember,
    DeedRecorded,
    FoundOrganization,
    IssueApiKey,
    MemberSet,
    OrganizationFounded,
    RecordDeed,
    RevokeApiKey,
    SetMember,
    SetOrganization,
    SetSender,
    SuppressAddress,
    UnsuppressAddress,
)
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    ArchiveSequence,
    DeactivateSequence,
    DraftSequence,
    EditSequence,
    RejectSequence,
    SequencePublished,
    SubmitSequence,
)
from shared.events.task import AssignTask, CompleteTask, OpenTask, SkipTask, SnoozeTask
from tests.domain.scenario import Scenario, T, definition, email

NEW = UUID(int=77)
ONE = definition([email("a")])
TWO = definition([email("a"), email("b")])


def test_a_sequence_goes_through_its_life() -> None:
    scenario = Scenario(enrolled=False)
    by_id: dict[str, Any] = {"sequence_id": NEW}
    scenario.when(DraftSequence(definition=ONE, **by_id)).then("SequenceDrafted")
    scenario.when(ActivateSequence(**by_id)).refused(SequenceNotApproved)
    scenario.when(ApproveSequence(**by_id)).refused(NothingToSubmit)
    scenario.when(SubmitSequence(**by_id)).then("SequenceSubmitted").when(SubmitSequence(**by_id)).nothing()
    rejection = RejectSequence(feedback="Too long", **by_id)
    scenario.when(rejection).then("SequenceRejected").when(rejection).nothing()
    scenario.when(EditSequence(definition=TWO, **by_id)).then("SequenceEdited")
    scenario.when(SubmitSequence(**by_id)).when(ApproveSequence(**by_id)).then("SequenceApproved")
    scenario.when(ActivateSequence(**by_id)).then(SequencePublished(version=1, definition=TWO))
    scenario.when(ActivateSequence(**by_id)).nothing()
    scenario.when(DeactivateSequence(**by_id)).then("SequencePaused").when(DeactivateSequence(**by_id)).nothing()
    scenario.when(ActivateSequence(**by_id)).then("SequenceResumed")
    scenario.when(EditSequence(definition=ONE, **by_id)).then("SequenceEdited")
    assert scenario.decision is not None
    wanted = {"sequence_id": str(NEW), "version": 1, "status": "active", "warnings": []}
    assert scenario.decision.result == wanted
    scenario.when(ArchiveSequence(**by_id)).then("SequenceArchived").when(ArchiveSequence(**by_id)).nothing()
    scenario.when(SubmitSequence(**by_id)).refused(SequenceArchivedAlready)


def test_drafting_and_activating_is_one_act_and_its_repeat_nothing() -> None:
    scenario = Scenario(enrolled=False)
    order = DraftSequence(sequence_id=NEW, definition=ONE, activate=True)
    scenario.when(order).then("SequenceDrafted", "SequenceSubmitted", "SequenceApproved", "SequencePublished")
    scenario.when(order).nothing()
    scenario.when(DraftSequence(sequence_id=NEW, definition=TWO)).refused(SequenceExists)
    scenario.when(order, organization_id="other").refused(UnknownTarget)


def test_a_draft_cannot_be_paused() -> None:
    scenario = Scenario(enrolled=False).when(DraftSequence(sequence_id=NEW, definition=ONE))
    scenario.when(DeactivateSequence(sequence_id=NEW)).refused(SequenceNotActive)


@pytest.mark.parametrize(
    ("steps", "settings", "field"),
    [
        ([email("a"), email("a")], {}, "steps.a.step_id"),
        ([email("a")], {"timezone": "Mars"}, "settings.timezone"),
        ([email("a")], {"holidays": "QQ"}, "settings.holidays"),
        ([email("a")], {"windows": [{"days": []}]}, "settings.windows"),
        ([email("a", delay={"from": "field"})], {}, "steps.a.delay.field"),
        (
            [email("a", conditions={"engagement": {"signal": "opened", "step": "zz"}})],
            {},
            "steps.a.conditions.engagement.step",
        ),
        ([email("a", config={"html": '<a href="nowhere">x</a>'})], {}, "steps.a.config.html"),
        ([{"step_id": "out", "kind": "exit"}, email("a")], {}, "steps.a"),
        ([{"step_id": "c", "kind": "condition", "config": {"when": {"has_tag": "x"}}}], {}, "steps.c.then"),
    ],
)
def test_an_error_in_a_definition_names_its_place(
    steps: list[dict[str, Any]], settings: dict[str, Any], field: str
) -> None:
    wrong = definition(steps, settings=settings)
    assert field in {error["field"] for error in validate(wrong)[0]}
    Scenario(enrolled=False).when(DraftSequence(sequence_id=NEW, definition=wrong)).refused(InvalidDefinition)


def test_what_the_parser_read_refuses_and_what_is_only_unwise_warns() -> None:
    errors, _ = validate(ONE, {"a": ContentFacts(unknown_tags={"config.subject": ("nonsense",)})})
    assert errors == [{"field": "steps.a.config.subject", "problem": "uses the unknown tag nonsense"}]
    errors, warnings = validate(definition([email("a", config={"subject": "x" * 100})]))
    assert (errors, [warning["field"] for warning in warnings]) == ([], ["steps.a.config.subject"])


def test_arms_join_again_after_their_condition_at_any_depth() -> None:
    inner = {"step_id": "in", "kind": "condition", "config": {"when": {"has_tag": "x"}}, "then": [email("deep")]}
    outer = {
        "step_id": "out",
        "kind": "condition",
        "config": {"when": {"has_tag": "y"}},
        "then": [inner],
        "else": [email("no")],
    }
    version = compile_version(NEW, 1, definition([outer, email("last")]))

    def follows(step_id: str | None, arm: str | None = None) -> str | None:
        node = version.after(step_id, arm)
        return node.step.step_id if node is not None else None

    assert [follows(None), follows("out", "then"), follows("out", "else")] == ["out", "in", "no"]
    assert [follows("in", "then"), follows("in", "else"), follows("deep"), follows("no")] == [
        "deep",
        "last",
        "last",
        "last",
    ]
    assert follows("last") is None


def test_an_organization_is_founded_once() -> None:
    scenario = Scenario(enrolled=False)
    scenario.when(FoundOrganization(name="Again")).nothing()
    scenario.when(FoundOrganization(name="Other", timezone="Mars"), organization_id="other").refused(InvalidSettings)
    scenario.when(SetOrganization(name="X"), organization_id="other").refused(UnknownTarget)
    change = SetOrganization(timezone="Europe/Berlin", score_rules={"opened": 1})
    scenario.when(change).then("OrganizationSettingsSet").when(change).nothing()


def test_a_new_organization_says_what_it_was_founded_with() -> None:
    scenario = Scenario(enrolled=False)
    order = FoundOrganization(name="Other", timezone="Asia/Tokyo", postal_address="1 Main Street")
    scenario.when(order, organization_id="other").then(
        OrganizationFounded(name="Other", timezone="Asia/Tokyo", postal_address="1 Main Street")
    )
    scenario.when(order, organization_id="other").nothing()
    founded, demo = scenario.world.organization("other"), scenario.world.organization("demo")
    assert founded is not None
    assert demo is not None
    assert (founded.timezone, founded.members, founded.senders) == ("Asia/Tokyo", {}, {})
    assert (demo.name, demo.timezone) == ("Demo", "UTC")


def test_a_member_is_set_to_what_is_said_and_to_nothing_else() -> None:
    ada, olga = UUID(int=1), UUID(int=2)
    scenario = Scenario(enrolled=False).when(AddMember(member_id=ada, email="ada@example.com", role="admin"))
    scenario.when(AddMember(member_id=olga, email="olga@example.com", role="coach"))
    order = SetMember(member_id=olga, role="admin", active=True)
    scenario.when(order).then(MemberSet(member_id=olga, role="admin")).when(order).nothing()
    off = SetMember(member_id=ada, active=False)
    scenario.when(off).then(MemberSet(member_id=ada, active=False))
    scenario.when(SetMember(member_id=olga, active=False)).refused(LastAdmin)
    key = SetMember(member_id=ada, password_hash="hashed")
    scenario.when(key).then(MemberSet(member_id=ada, password_hash="hashed"))
    organization = scenario.world.organization("demo")
    assert organization is not None
    known = organization.members[ada]
    assert (known.role, known.active, known.password_hash) == ("admin", False, "hashed")
    assert (organization.members[olga].role, organization.members[olga].active) == ("admin", True)


def test_a_deed_is_recorded_each_time_and_changes_nothing_else() -> None:
    scenario = Scenario(enrolled=False)
    before = scenario.world.organization("demo")
    order = RecordDeed(deed="leads_exported", by=["status"])
    for _ in range(2):
        scenario.when(order).then(DeedRecorded(deed="leads_exported", target=None, by=["status"]))
    assert scenario.world.organization("demo") == before
    scenario.when(order, organization_id="nowhere").refused(UnknownTarget)


def test_members_keys_and_senders() -> None:
    scenario = Scenario(enrolled=False)
    ada = AddMember(member_id=UUID(int=1), email="Ada@example.com", role="admin")
    scenario.when(ada).then("MemberAdded").when(ada).nothing()
    scenario.when(ada.model_copy(update={"member_id": UUID(int=2)})).refused(MemberExists)
    scenario.when(SetMember(member_id=UUID(int=1), role="viewer")).refused(LastAdmin)
    scenario.when(SetMember(member_id=UUID(int=9), role="viewer")).refused(UnknownTarget)
    key = IssueApiKey(key_id=UUID(int=3), name="crm", role="operator", secret_hash="0" * 64)
    scenario.when(key).then("ApiKeyIssued").when(key).nothing()
    revoke = RevokeApiKey(key_id=UUID(int=3))
    scenario.when(revoke).then("ApiKeyRevoked").when(revoke).nothing()
    sender = SetSender(sender_id="sales", name="Sales", email="sales@example.com")
    scenario.when(sender).then("SenderSet").when(sender).nothing()


def test_an_address_is_suppressed_and_released() -> None:
    scenario = Scenario(enrolled=False)
    order = SuppressAddress(address=" Ada@Example.com ")
    scenario.when(order).then("AddressSuppressed").when(order).nothing()
    assert scenario.world.suppression("demo", "email", "ada@example.com") == "by_hand"
    back = UnsuppressAddress(address="ada@example.com")
    scenario.when(back).then("AddressUnsuppressed").when(back).nothing()
    assert scenario.world.suppression("demo", "email", "ada@example.com") is None


def test_a_member_who_was_added_is_told_by_id() -> None:
    scenario = Scenario().when(AddMember(member_id=UUID(int=6), email="olga@example.com", role="coach"))
    assert scenario.decision is not None
    assert scenario.decision.result["member_id"] == str(UUID(int=6))


def test_a_task_made_by_hand() -> None:
    scenario = Scenario()
    order = OpenTask(task_id=UUID(int=5), lead_id=scenario.lead_id, title="Call", due_at=T)
    scenario.when(order).then("TaskOpened").when(order).nothing()
    scenario.when(AddMember(member_id=UUID(int=6), email="ada@example.com", role="coach"))
    scenario.when(AssignTask(task_id=UUID(int=5), assignee="ada@example.com")).then("TaskAssigned")
    scenario.when(SnoozeTask(task_id=UUID(int=5), until=T)).nothing()
    scenario.when(SkipTask(task_id=UUID(int=5))).then("TaskSkipped").when(SkipTask(task_id=UUID(int=5))).nothing()
    scenario.when(CompleteTask(task_id=UUID(int=5))).refused(TaskClosed)


def test_every_order_and_fact_of_the_write_side_is_handled() -> None:
    """What the gateway, funnels, dispatchers and trackers may send has a handler; queries and stops go elsewhere."""
    elsewhere = {"query", "stop", "dispatch"}
    wanted = {
        topic
        for topic, cls in registered().items()
        if issubclass(cls, Command) and topic.partition(".")[0] not in elsewhere
    }
    assert wanted == HANDLED


def test_a_stream_that_does_not_begin_at_its_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot stand here"):
        evolve_any(
            "enrollment",
            None,
            SequencePublished(version=1, definition=ONE),
            id=NEW,
            organization_id="demo",
            lead_id=None,
            at=T,
        )
