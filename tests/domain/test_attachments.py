"""Attachments: what is known of files, which content may name them, and what stays when they are removed."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.enrollment.domain.attachments import Attachment
from services.enrollment.domain.errors import AttachmentInUse, InvalidDefinition, TooManyAttachments, UnknownTarget
from shared.events import attachment as events
from shared.events.attachment import (
    LARGEST_ATTACHMENT,
    AddAttachment,
    AttachmentAdded,
    AttachmentRemoved,
    FileFacts,
    RemoveAttachment,
)
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    ArchiveSequence,
    DraftSequence,
    EditSequence,
    SubmitSequence,
)
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, definition, email


def adding(name: str = "price list.pdf", size: int = 1_000) -> AddAttachment:
    file = FileFacts(name=name, content_type="application/pdf", size=size, sha256=sha256(name.encode()).hexdigest())
    return AddAttachment(attachment_id=derived_id("attachment", "demo", file.sha256, name), file=file)


PRICES, TERMS = adding(), adding("terms.pdf")


def carrying(*attachments: UUID, **more: Any) -> dict[str, Any]:
    return email("mail", config={"attachments": [str(each) for each in attachments]}, **more)


def known(scenario: Scenario) -> dict[UUID, Attachment]:
    organization = scenario.world.organization("demo")
    assert organization is not None
    return dict(organization.attachments)


def test_a_file_is_made_known_once_and_comes_back_after_it_was_removed() -> None:
    scenario = Scenario().when(PRICES)
    scenario.then(AttachmentAdded(attachment_id=PRICES.attachment_id, file=PRICES.file)).when(PRICES).nothing()
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id))
    scenario.then(AttachmentRemoved(attachment_id=PRICES.attachment_id))
    assert known(scenario) == {PRICES.attachment_id: Attachment(PRICES.file, removed=True)}
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id)).refused(UnknownTarget)
    scenario.when(PRICES).then("AttachmentAdded")
    assert known(scenario) == {PRICES.attachment_id: Attachment(PRICES.file)}


def test_an_organization_keeps_so_many_and_removed_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.enrollment.domain.attachments.MOST_ATTACHMENTS", 1)
    scenario = Scenario().when(PRICES).when(TERMS).refused(TooManyAttachments)
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id)).when(TERMS).then("AttachmentAdded")


@pytest.mark.parametrize(
    ("step", "field", "problem"),
    [
        (carrying(UUID(int=5)), "config", f"names the attachment {UUID(int=5)}, which does not exist"),
        (
            email(
                "mail",
                variants=[
                    {"variant_id": "a"},
                    {"variant_id": "b", "config": {"attachments": [str(UUID(int=5))]}},
                ],
            ),
            "variants.b.config",
            f"names the attachment {UUID(int=5)}, which does not exist",
        ),
    ],
)
def test_a_definition_names_only_files_that_exist(step: dict[str, Any], field: str, problem: str) -> None:
    scenario = Scenario().when(DraftSequence(sequence_id=derived_id("x", 1), definition=definition([step])))
    scenario.refused(InvalidDefinition)
    assert scenario.error is not None
    assert scenario.error.errors == [{"field": f"steps.mail.{field}.attachments", "problem": problem}]


def test_a_message_carries_at_most_ten_megabytes_and_each_file_once() -> None:
    large = [adding(f"{n}.pdf", LARGEST_ATTACHMENT) for n in range(3)]
    scenario = Scenario()
    for each in large:
        scenario.when(each)
    two, three = (definition([carrying(*(each.attachment_id for each in large[:n]))]) for n in (2, 3))
    scenario.when(DraftSequence(sequence_id=derived_id("x", 1), definition=two)).then("SequenceDrafted")
    scenario.when(DraftSequence(sequence_id=derived_id("x", 2), definition=three)).refused(InvalidDefinition)
    assert scenario.error is not None
    assert scenario.error.errors == [
        {"field": "steps.mail.config.attachments", "problem": "are more than 10 MB together"}
    ]
    with pytest.raises(ValidationError, match="named once"):
        definition([carrying(large[0].attachment_id, large[0].attachment_id)])


def test_a_file_that_an_active_sequence_sends_stays_and_its_name_is_told() -> None:
    scenario = Scenario().when(PRICES).when(TERMS)
    made = definition([carrying(PRICES.attachment_id)])
    scenario.when(DraftSequence(sequence_id=derived_id("x", 1), definition=made, activate=True))
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id)).refused(AttachmentInUse)
    assert scenario.error is not None
    assert scenario.error.errors == [{"field": "sequences", "problem": "Test uses it"}]
    scenario.when(RemoveAttachment(attachment_id=TERMS.attachment_id)).then("AttachmentRemoved")
    scenario.when(ArchiveSequence(sequence_id=derived_id("x", 1)))
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id)).then("AttachmentRemoved")


def test_a_removed_file_cannot_be_published_again() -> None:
    scenario = Scenario().when(PRICES)
    scenario.when(EditSequence(sequence_id=SEQUENCE, definition=definition([carrying(PRICES.attachment_id)])))
    scenario.when(SubmitSequence(sequence_id=SEQUENCE)).when(ApproveSequence(sequence_id=SEQUENCE))
    scenario.when(RemoveAttachment(attachment_id=PRICES.attachment_id)).then("AttachmentRemoved")
    scenario.when(ActivateSequence(sequence_id=SEQUENCE)).refused(InvalidDefinition)


@pytest.mark.parametrize("name", ["", "a/b.pdf", "a\\b.pdf", "a\nb.pdf", 'a"b.pdf', "x" * 151])
def test_a_name_is_one_that_every_system_can_keep(name: str) -> None:
    with pytest.raises(ValidationError):
        FileFacts(name=name, content_type="application/pdf", size=1, sha256="0" * 64)


def test_what_was_stored_before_there_were_attachments_reads_and_digests_as_it_did() -> None:
    [step] = definition([email("mail")]).steps
    assert step.config.model_dump(exclude_defaults=True) == {"subject": "Hello", "text": "Hello"}
    assert events.LARGEST_TOGETHER == 2 * LARGEST_ATTACHMENT
