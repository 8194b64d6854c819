"""Templates of an organization: which there are. What they say stands in the log and in the views."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from services.enrollment.domain.errors import TooManyTemplates, UnknownTarget
from services.enrollment.domain.sequence import Sequence
from shared.events.message import Event
from shared.events.template import MOST_TEMPLATES, RemoveTemplate, SaveTemplate, TemplateRemoved, TemplateSaved


def save(known: frozenset[UUID], source: Sequence, command: SaveTemplate) -> Iterator[Event]:
    """Raises TooManyTemplates. One that is there already stays as it is."""
    definition = source.draft or source.published
    if command.template_id in known or definition is None:
        return
    if len(known) >= MOST_TEMPLATES:
        raise TooManyTemplates(f"an organization keeps at most {MOST_TEMPLATES} templates")
    given = {"name": command.name, "description": command.description}
    changed = {name: value for name, value in given.items() if value is not None}
    yield TemplateSaved(template_id=command.template_id, definition=definition.model_copy(update=changed))


def remove(known: frozenset[UUID], command: RemoveTemplate) -> Iterator[Event]:
    """Raises UnknownTarget."""
    if command.template_id not in known:
        raise UnknownTarget("template", command.template_id)
    yield TemplateRemoved(template_id=command.template_id)


def templates_after(known: frozenset[UUID], event: TemplateSaved | TemplateRemoved) -> frozenset[UUID]:
    """The organization's templates after an event."""
    return known | {event.template_id} if isinstance(event, TemplateSaved) else known - {event.template_id}
