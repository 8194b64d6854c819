"""An organization, a sequence and leads for simulations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.simulation.dry_run import Subject
from shared.events.organization import FoundOrganization, SetOrganization, SetSender
from tests.domain.scenario import SEQUENCE, definition

#: A Friday, 9:00 in UTC.
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def subject(steps: Sequence[dict[str, Any]], *, settings: dict[str, Any] | None = None, **organization: Any) -> Subject:
    """A definition in an organization with one sender."""
    world = MemoryWorld(START)
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    if organization:
        world.send(SetOrganization.model_validate(organization))
    known = world.organization("demo")
    assert known is not None
    return Subject(known, SEQUENCE, 1, definition(steps, settings=settings))
