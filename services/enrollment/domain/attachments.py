"""Attachments of an organization: which files there are, and which of them content may name.

One that was removed stays known: versions published before go on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.content_check import Finding, finding
from services.enrollment.domain.errors import AttachmentInUse, TooManyAttachments, UnknownTarget
from shared.events.attachment import (
    LARGEST_TOGETHER,
    MOST_ATTACHMENTS,
    AddAttachment,
    AttachmentAdded,
    AttachmentRemoved,
    FileFacts,
)
from shared.events.definition import SequenceDefinition, Step, walk
from shared.events.kinds import MailContent
from shared.events.message import Event


class Attachment(NamedTuple):
    """``removed``: only what was published before goes on with it."""

    file: FileFacts
    removed: bool = False


Attachments = Mapping[UUID, Attachment]


def attachments_after(known: Attachments, event: AttachmentAdded | AttachmentRemoved) -> dict[UUID, Attachment]:
    """The organization's attachments after an event."""
    if isinstance(event, AttachmentAdded):
        return {**known, event.attachment_id: Attachment(event.file)}
    return {**known, event.attachment_id: known[event.attachment_id]._replace(removed=True)}


def named_in(step: Step) -> Iterator[tuple[str, list[UUID]]]:
    """Place and attachments of each content of a step: its own, and those of variants that differ."""
    if isinstance(step.config, MailContent):
        yield "config.attachments", step.config.attachments
    for variant in step.variants:
        content = step.with_variant(variant).config
        if isinstance(content, MailContent) and "attachments" in variant.config:
            yield f"variants.{variant.variant_id}.config.attachments", content.attachments


def wrong_attachments(definition: SequenceDefinition, known: Attachments) -> list[Finding]:
    """Files that do not exist, and messages that would grow too large."""
    found = []
    for step in walk(definition.steps):
        for place, named in named_in(step):
            where = f"steps.{step.step_id}.{place}"
            files = {each: known[each].file for each in named if each in known and not known[each].removed}
            found += [finding(where, f"names the attachment {each}, which does not exist") for each in named
                      if each not in files]  # fmt: skip
            if sum(file.size for file in files.values()) > LARGEST_TOGETHER:
                found.append(finding(where, f"are more than {LARGEST_TOGETHER >> 20} MB together"))
    return found


# --- orders -----------------------------------------------------------------------------------------------------------


def add(known: Attachments, command: AddAttachment) -> Iterator[Event]:
    """Raises TooManyAttachments. One that is there already stays as it is; one that was removed comes back."""
    there = known.get(command.attachment_id)
    if there is not None and not there.removed:
        return
    if sum(not each.removed for each in known.values()) >= MOST_ATTACHMENTS:
        raise TooManyAttachments(f"an organization keeps at most {MOST_ATTACHMENTS} attachments")
    yield AttachmentAdded(attachment_id=command.attachment_id, file=command.file)


def remove(known: Attachments, attachment_id: UUID, active: Iterable[SequenceDefinition]) -> Iterator[Event]:
    """``active``: what the organization's active sequences say. Raises UnknownTarget, AttachmentInUse."""
    there = known.get(attachment_id)
    if there is None or there.removed:
        raise UnknownTarget("attachment", attachment_id)
    users = [
        definition.name
        for definition in active
        if any(attachment_id in named for step in walk(definition.steps) for _, named in named_in(step))
    ]
    if users:
        raise AttachmentInUse(
            f"active sequences use it: {', '.join(users)}",
            errors=[{"field": "sequences", "problem": f"{name} uses it"} for name in users],
        )
    yield AttachmentRemoved(attachment_id=attachment_id)
