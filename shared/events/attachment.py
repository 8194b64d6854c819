"""Attachments: files of an organization that e-mails carry. Their bytes stand in a store of their own, by content
hash; the log knows what they are. They belong to the organization's stream.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.events.message import Command, Event, Value
from shared.events.patterns import FILE_NAME, SHA_256

MediaType = Literal[
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
    "text/plain",
    "text/csv",
    "text/calendar",
    "text/vcard",
]

#: Bytes of one file, and of all that one message carries.
LARGEST_ATTACHMENT = 5 << 20
LARGEST_TOGETHER = 10 << 20
#: Files of one organization that messages may name.
MOST_ATTACHMENTS = 1_000

#: One line without what separates folders, so that a download stays where it is put.
FileName = Annotated[str, StringConstraints(min_length=1, max_length=150, pattern=FILE_NAME)]
Digest = Annotated[str, StringConstraints(pattern=SHA_256)]


class FileFacts(Value):
    """What a file is. ``size`` in bytes; ``sha256`` of its bytes, in hex."""

    name: FileName
    content_type: MediaType
    size: int = Field(ge=1, le=LARGEST_ATTACHMENT)
    sha256: Digest


class AddAttachment(Command):
    """Make a file known whose bytes are stored already. The id follows from the file, so it never means another."""

    TOPIC = "organization.add_attachment.v1"
    attachment_id: UUID
    file: FileFacts


class RemoveAttachment(Command):
    """New content may not name it any more. Versions that name it keep it, for those inside."""

    TOPIC = "organization.remove_attachment.v1"
    attachment_id: UUID


class AttachmentAdded(Event):
    TOPIC = "organization.attachment_added.v1"
    attachment_id: UUID
    file: FileFacts


class AttachmentRemoved(Event):
    TOPIC = "organization.attachment_removed.v1"
    attachment_id: UUID
