"""Templates of an organization: definitions kept to start new sequences from. They belong to its stream."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from shared.events.definition import SequenceDefinition
from shared.events.message import Command, Event

#: Templates of one organization.
MOST_TEMPLATES = 500


class SaveTemplate(Command):
    """Keep what a sequence says now, its draft before its running version. ``name`` and ``description`` None: the
    sequence's."""

    TOPIC = "organization.save_template.v1"
    template_id: UUID
    sequence_id: UUID
    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=4_000)


class RemoveTemplate(Command):
    """Sequences made from it stay."""

    TOPIC = "organization.remove_template.v1"
    template_id: UUID


class TemplateSaved(Event):
    TOPIC = "organization.template_saved.v1"
    template_id: UUID
    definition: SequenceDefinition


class TemplateRemoved(Event):
    TOPIC = "organization.template_removed.v1"
    template_id: UUID
