"""Every order to a sequence in every state of its life, and what must hold whatever the orders."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.enrollment.domain.errors import (
    DomainError,
    InvalidDefinition,
    NothingToSubmit,
    SequenceArchivedAlready,
    SequenceNotActive,
    SequenceNotApproved,
    UnknownTarget,
)
from services.enrollment.domain.sequence import Sequence
from shared.events.message import Message
from shared.events.organization import AddMember, SetMember, SetSender
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    ArchiveSequence,
    ChangeSequence,
    DeactivateSequence,
    DeleteSequence,
    DraftSequence,
    DuplicateSequence,
    EditSequence,
    RejectSequence,
    RestoreSequence,
    SequenceApproved,
    SequenceDeleted,
    SequenceDrafted,
    SequenceEdited,
    SequencePublished,
    SequenceRejected,
    SequenceRestored,
    SequenceResumed,
    SequenceSubmitted,
    SubmitSequence,
)
from shared.events.template import RemoveTemplate, SaveTemplate, TemplateSaved
from tests.domain.scenario import SEQUENCE, Scenario, definition, email
from tests.domain.test_step_kinds import step

NEW = UUID(int=77)
COPY = UUID(int=78)
ONE = definition([email("a")])
TWO = definition([email("a"), email("b")])

EDIT = EditSequence(sequence_id=NEW, definition=TWO)
SUBMIT = SubmitSequence(sequence_id=NEW)
APPROVE = ApproveSequence(sequence_id=NEW)
REJECT = RejectSequence(sequence_id=NEW, feedback="Shorter, please")
ACTIVATE = ActivateSequence(sequence_id=NEW)
PAUSE = DeactivateSequence(sequence_id=NEW)
ARCHIVE = ArchiveSequence(sequence_id=NEW)
DELETE = DeleteSequence(sequence_id=NEW)
RESTORE = RestoreSequence(sequence_id=NEW)

#: The orders that lead to each state, from a first draft on.
WAY: dict[str, tuple[Message, ...]] = {
    "draft": (),
    "pending": (SUBMIT,),
    "approved": (SUBMIT, APPROVE),
    "rejected": (SUBMIT, REJECT),
    "active": (SUBMIT, APPROVE, ACTIVATE),
    "active, edited": (SUBMIT, APPROVE, ACTIVATE, EDIT),
    "active, pending": (SUBMIT, APPROVE, ACTIVATE, EDIT, SUBMIT),
    "active, approved": (SUBMIT, APPROVE, ACTIVATE, EDIT, SUBMIT, APPROVE),
    "paused": (SUBMIT, APPROVE, ACTIVATE, PAUSE),
    "paused, edited": (SUBMIT, APPROVE, ACTIVATE, PAUSE, EDIT),
    "paused, pending": (SUBMIT, APPROVE, ACTIVATE, PAUSE, EDIT, SUBMIT),
    "paused, rejected": (SUBMIT, APPROVE, ACTIVATE, PAUSE, EDIT, SUBMIT, REJECT),
    "paused, approved": (SUBMIT, APPROVE, ACTIVATE, PAUSE, EDIT, SUBMIT, APPROVE),
    "archived": (SUBMIT, APPROVE, ACTIVATE, ARCHIVE),
    "archived draft": (ARCHIVE,),
    "deleted": (SUBMIT, APPROVE, ACTIVATE, DELETE),
}
GONE = SequenceArchivedAlready
#: State -> what each order does there: the status after it, or why it is refused.
TABLE: dict[str, tuple[Any, ...]] = {
    #                    edit        submit           approve          reject           activate             pause
    "draft": ("draft", "pending", NothingToSubmit, NothingToSubmit, SequenceNotApproved, SequenceNotActive),
    "pending": ("draft", "pending", "approved", "rejected", SequenceNotApproved, SequenceNotActive),
    "approved": ("draft", "approved", "approved", NothingToSubmit, "active", SequenceNotActive),
    "rejected": ("draft", "pending", NothingToSubmit, "rejected", SequenceNotApproved, SequenceNotActive),
    "active": ("active", NothingToSubmit, "active", NothingToSubmit, "active", "paused"),
    "active, edited": ("active", "active", NothingToSubmit, NothingToSubmit, SequenceNotApproved, "paused"),
    "active, pending": ("active", "active", "active", "active", SequenceNotApproved, "paused"),
    "active, approved": ("active", "active", "active", NothingToSubmit, "active", "paused"),
    "paused": ("paused", NothingToSubmit, "paused", NothingToSubmit, "active", "paused"),
    "paused, edited": ("paused", "paused", NothingToSubmit, NothingToSubmit, "active", "paused"),
    "paused, pending": ("paused", "paused", "paused", "paused", "active", "paused"),
    "paused, rejected": ("paused", "paused", NothingToSubmit, "paused", "active", "paused"),
    "paused, approved": ("paused", "paused", "paused", NothingToSubmit, "active", "paused"),
    "archived": (GONE, GONE, GONE, GONE, GONE, GONE),
    "archived draft": (GONE, GONE, GONE, GONE, GONE, GONE),
    "deleted": (GONE, GONE, GONE, GONE, GONE, GONE),
}
PAUSED_BESIDE_A_DRAFT = {"paused, edited", "paused, pending", "paused, rejected"}
ORDERS = (EDIT, SUBMIT, APPROVE, REJECT, ACTIVATE, PAUSE)


def at(state: str) -> Scenario:
    """A sequence brought into a state."""
    scenario = Scenario(enrolled=False).when(DraftSequence(sequence_id=NEW, definition=ONE))
    for order in WAY[state]:
        scenario.when(order)
        assert scenario.error is None
    return scenario


def sequence(scenario: Scenario) -> Sequence:
    found = scenario.world.sequence(NEW)
    assert found is not None
    return found


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("number", range(len(ORDERS)))
def test_every_order_in_every_state(state: str, number: int) -> None:
    scenario, order, wanted = at(state), ORDERS[number], TABLE[state][number]
    before = sequence(scenario)
    scenario.when(order)
    if isinstance(wanted, str):
        assert scenario.error is None
        assert sequence(scenario).status == wanted
        again = scenario.when(order)
        if order is ACTIVATE and state in PAUSED_BESIDE_A_DRAFT:
            again.refused(SequenceNotApproved)  # it runs again; to publish the draft is another matter
        else:
            again.nothing()
    else:
        scenario.refused(wanted)
        assert sequence(scenario) == before


@pytest.mark.parametrize("state", sorted(PAUSED_BESIDE_A_DRAFT))
def test_a_paused_sequence_goes_on_with_the_version_it_has_and_keeps_its_draft(state: str) -> None:
    scenario = at(state)
    before = sequence(scenario)
    scenario.when(ActivateSequence(sequence_id=NEW, inside="follow")).refused(SequenceNotApproved)
    scenario.when(ACTIVATE).then(SequenceResumed())
    after = sequence(scenario)
    assert (after.life, after.version, after.published) == ("active", 1, ONE)
    assert (after.draft, after.draft_status) == (before.draft, before.draft_status)


def test_who_was_held_in_a_paused_sequence_goes_on_while_its_draft_waits() -> None:
    scenario = Scenario()
    scenario.when(DeactivateSequence(sequence_id=SEQUENCE)).wake().then("StepPostponed")
    scenario.when(EditSequence(sequence_id=SEQUENCE, definition=TWO))
    scenario.when(ActivateSequence(sequence_id=SEQUENCE)).then("SequenceResumed")
    assert scenario.timer is not None
    scenario.later(minutes=2).decision = scenario.world.wake(scenario.timer)
    assert scenario.names == ["StepDue"]


# --- changes of single fields -----------------------------------------------------------------------------------------


def test_two_changes_of_a_draft_keep_each_other_whatever_their_senders_knew() -> None:
    scenario = at("active")
    scenario.when(ChangeSequence(sequence_id=NEW, changes={"description": "first"})).then("SequenceEdited")
    scenario.when(ChangeSequence(sequence_id=NEW, changes={"audience": "second", "settings": {"max_retries": 1}}))
    scenario.when(ChangeSequence(sequence_id=NEW, changes={"settings": {"timezone": "UTC"}}, steps=TWO.steps))
    draft = sequence(scenario).draft
    assert draft is not None
    assert (draft.description, draft.audience, draft.steps) == ("first", "second", TWO.steps)
    assert (draft.settings.max_retries, draft.settings.timezone) == (1, "UTC")
    scenario.when(ChangeSequence(sequence_id=NEW, changes={"audience": "second"})).nothing()
    assert sequence(scenario).published == ONE


def test_a_null_clears_the_owner_and_what_is_wrong_is_named() -> None:
    scenario = at("draft").when(ChangeSequence(sequence_id=NEW, changes={"owner": "olga", "ai": {"reason": "r"}}))
    scenario.when(ChangeSequence(sequence_id=NEW, changes={"owner": None, "ai": None}))
    draft = sequence(scenario).draft
    assert draft is not None
    assert (draft.owner, draft.ai) == (None, None)
    for changes, field in (
        ({"name": None}, "name"),
        ({"settings": {"max_retries": -1}}, "settings.max_retries"),
        ({"nonsense": 1}, "nonsense"),
        ({"trigger": {"on": ["score_reached"]}}, "trigger.score"),
    ):
        scenario.when(ChangeSequence(sequence_id=NEW, changes=changes)).refused(InvalidDefinition)
        assert scenario.error is not None
        assert [each["field"] for each in scenario.error.errors] == [field]
    at("archived").when(ChangeSequence(sequence_id=NEW, changes={"name": "N"})).refused(SequenceArchivedAlready)
    scenario.when(ChangeSequence(sequence_id=COPY, changes={"name": "N"})).refused(UnknownTarget)


@pytest.mark.parametrize("state", TABLE)
def test_whatever_its_state_it_can_be_archived_deleted_and_taken_back(state: str) -> None:
    for order in (ARCHIVE, DELETE):
        scenario = at(state)
        ran = sequence(scenario).version > 0
        scenario.when(order)
        assert sequence(scenario).status == "archived"
        scenario.when(order).nothing()
        scenario.when(RESTORE).then(SequenceRestored(to="paused" if ran else "draft"))
        assert (sequence(scenario).status, sequence(scenario).deleted) == ("paused" if ran else "draft", None)
        scenario.when(RESTORE).nothing()


def test_a_deleted_sequence_can_still_be_told_to_let_those_inside_leave() -> None:
    scenario = at("deleted")
    scenario.when(DeleteSequence(sequence_id=NEW, enrollments="exit"))
    scenario.then(SequenceDeleted(enrollments="exit"), "BulkOrdered")
    scenario.when(DELETE).nothing()


def test_a_copy_is_a_draft_of_what_the_source_says_now() -> None:
    scenario = at("active, edited")
    copy = DuplicateSequence(sequence_id=COPY, source_id=NEW)
    scenario.when(copy)
    drafted = scenario.event(SequenceDrafted)
    assert (drafted.definition.name, drafted.definition.steps, drafted.copied_from) == ("Copy of Test", TWO.steps, NEW)
    scenario.when(copy).nothing()
    scenario.when(DuplicateSequence(sequence_id=UUID(int=79), source_id=NEW, name="Other"))
    assert scenario.event(SequenceDrafted).definition.name == "Other"
    scenario.when(copy.model_copy(update={"source_id": UUID(int=1)})).refused(UnknownTarget)
    scenario.when(DuplicateSequence(sequence_id=COPY, source_id=NEW), organization_id="other").refused(UnknownTarget)


def test_without_a_sender_a_draft_is_saved_with_a_warning_and_not_published() -> None:
    scenario = at("approved").when(SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False))
    missing = {
        "field": "steps.a.config.sender",
        "problem": "the organization has no active sender default: add it under senders",
    }
    scenario.when(ACTIVATE).refused(InvalidDefinition)
    assert scenario.error is not None
    assert scenario.error.errors == [missing]
    scenario.when(DraftSequence(sequence_id=COPY, definition=ONE, activate=True)).refused(InvalidDefinition)
    scenario.when(DraftSequence(sequence_id=COPY, definition=ONE))
    assert scenario.decision is not None
    assert scenario.decision.result["warnings"] == [missing]


def test_a_sequence_is_kept_as_a_template_of_the_organization() -> None:
    scenario = at("active, edited")
    order = SaveTemplate(template_id=COPY, sequence_id=NEW, name="Ours")
    scenario.when(order)
    assert scenario.event(TemplateSaved).definition == TWO.model_copy(update={"name": "Ours"})
    scenario.when(order).nothing()
    scenario.when(SaveTemplate(template_id=COPY, sequence_id=COPY)).refused(UnknownTarget)
    gone = RemoveTemplate(template_id=COPY)
    scenario.when(gone).then("TemplateRemoved").when(gone).refused(UnknownTarget)


class SequenceMachine(RuleBasedStateMachine):
    """Any orders in any order: versions stay, grow by one, and hold what was approved."""

    @initialize()
    def begin(self) -> None:
        self.scenario = Scenario(enrolled=False)
        self.scenario.when(DraftSequence(sequence_id=NEW, definition=ONE))
        self.pinned: dict[int, Any] = {}

    def order(self, order: Message) -> None:
        self.scenario.when(order)
        if self.scenario.error is not None:
            assert isinstance(self.scenario.error, DomainError)
            return
        decided = self.scenario.when(order).decision
        assert decided is None or decided.changes == [], "a repeated order does nothing"

    @rule(order=st.sampled_from([SUBMIT, APPROVE, REJECT, ACTIVATE, ACTIVATE, PAUSE, ARCHIVE, DELETE, RESTORE]))
    def order_comes(self, order: Message) -> None:
        self.order(order)

    @rule(steps=st.integers(1, 3))
    def edit(self, steps: int) -> None:
        changed = definition([email(f"s{number}") for number in range(steps)])
        self.order(EditSequence(sequence_id=NEW, definition=changed))

    @invariant()
    def a_published_version_never_changes(self) -> None:
        versions = {
            change.event.version: change.event.definition
            for change in self.scenario.log
            if change.id == NEW and isinstance(change.event, SequencePublished)
        }
        assert self.pinned.items() <= versions.items()
        self.pinned = versions
        for number, published in versions.items():
            compiled = self.scenario.world.version(NEW, number)
            assert compiled is not None
            assert compiled.definition == published

    @invariant()
    def only_what_was_approved_is_published_and_numbers_grow_by_one(self) -> None:
        draft, approved, newest = None, None, 0
        for change in self.scenario.log:
            match change.event:
                case _ if change.id != NEW:
                    continue
                case SequenceDrafted() | SequenceEdited():
                    draft, approved = change.event.definition, None
                case SequenceSubmitted() | SequenceRejected():
                    approved = None
                case SequenceApproved():
                    approved = draft
                case SequenceRestored(to="draft"):
                    approved = None
                case SequencePublished(version=version, definition=published):
                    assert version == newest + 1
                    assert published == approved
                    newest, approved = version, None
        assert sequence(self.scenario).version == newest

    @invariant()
    def its_status_and_its_versions_agree(self) -> None:
        state = sequence(self.scenario)
        if state.status in {"active", "paused"}:
            assert state.version > 0
        if state.status == "active":
            assert state.published is not None
        assert state.draft is not None or state.published is not None
        assert state.deleted is None or state.status == "archived"


TestSequenceMachine = SequenceMachine.TestCase
TestSequenceMachine.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_members_who_are_not_there_are_told_of_when_they_are_named() -> None:
    scenario, here, gone = Scenario(), str(UUID(int=21)), str(UUID(int=22))
    for member_id in (here, gone):
        scenario.when(AddMember(member_id=UUID(member_id), email=f"{member_id}@example.com", role="admin"))
    scenario.when(SetMember(member_id=UUID(gone), active=False))
    steps = [
        step("task", assignee="olga@example.com"),
        step("call", assignee=gone),
        step("reminder", assignee=here),
        step("notification", "bogus", to="bogus"),
        *(step("notification", f"to-{to}", to=to) for to in ("owner", "all")),
        step("notification", "to-here", to=here),
        step("field", owner=gone),
        step("field", "to-him", owner=here),
    ]
    for_nobody = definition(steps).model_copy(update={"owner": "nobody-at-all"})
    scenario.when(DraftSequence(sequence_id=COPY, definition=for_nobody))
    assert scenario.decision is not None
    assert scenario.decision.result["warnings"] == [
        {"field": place, "problem": "is no active member's id"}
        for place in (
            "owner",
            "steps.task.config.assignee",
            "steps.call.config.assignee",
            "steps.bogus.config.to",
            "steps.field.config.owner",
        )
    ]


@pytest.mark.parametrize(
    ("state", "said"),
    [("draft", "submit it"), ("pending", "waits for approval"), ("rejected", "edit it, submit it again")],
)
def test_a_draft_that_cannot_be_published_says_what_comes_first(state: str, said: str) -> None:
    scenario = at(state).when(ACTIVATE).refused(SequenceNotApproved)
    assert said in str(scenario.error)
