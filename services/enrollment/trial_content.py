"""What a message of a simulated step would say: dressed and rendered as for sending, its links left as they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.enrollment.domain.flow import Version
from services.enrollment.dressing import Dresser, Undressable
from services.enrollment.simulation.dry_run import ContentProblem
from services.enrollment.simulation.world import SimulatedWorld
from services.enrollment.states import NOTHING, Known, States
from shared.events.dispatch import DressedStep
from shared.events.enrollment import StepDue
from shared.events.envelope import Envelope, to_cloud_event
from shared.persistence.eventstore import EventStore
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.links import PlainLinks
from shared.rendering.message import render_step


class TrialContent:
    """Makes up messages from a simulated world. Called for a step that has just become due in it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def __call__(self, enrollment_id: UUID, due: StepDue, world: SimulatedWorld) -> dict[str, Any]:
        """``{"subject", "html", "text"}``, and ``attachments`` where there are some. Raises ContentProblem."""
        return self.made(enrollment_id, due, world)[1]

    def made(self, enrollment_id: UUID, due: StepDue, world: SimulatedWorld) -> tuple[DressedStep, dict[str, Any]]:
        """The step as a dispatcher would get it, without tracking, and what it says. Raises ContentProblem."""
        state = world.enrollment(enrollment_id)
        assert state is not None
        event = Envelope(
            id="simulated",
            message=due,
            source="tendril/simulation",
            time=world.now,
            organization_id=state.organization_id,
            subject=enrollment_id,
            lead_id=state.lead_id,
            partition=0,
            position=0,
        )
        dresser = Dresser(self._store, _WorldStates(self._store, world), _WorldVersions(world))
        try:
            _channel, dressed = dresser.dress(to_cloud_event(event))
            step = DressedStep.model_validate({**dressed["data"], "track_opens": False})
            rendered = render_step(step, PlainLinks())
        except Undressable as problem:
            raise ContentProblem(problem.reason) from None
        except MissingValues as problem:
            raise ContentProblem(str(problem), problem.names) from None
        except BrokenContent as problem:
            raise ContentProblem(str(problem)) from None
        content: dict[str, Any] = {"subject": rendered.subject, "html": rendered.html, "text": rendered.text}
        if step.attachments:
            files = [file.model_dump(include={"name", "content_type", "size"}) for file in step.attachments]
            content["attachments"] = files
        return step, content


class _WorldStates(States):
    """A simulated world's states, as the dresser reads those of the store."""

    def __init__(self, store: EventStore, world: SimulatedWorld) -> None:
        super().__init__(store, shared=False)
        self._world = world

    def get(self, aggregate_id: UUID) -> Known:
        state = self._world.states.get(aggregate_id)
        return NOTHING if state is None else Known(1, state)


class _WorldVersions:
    """A simulated world's versions."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def get(self, sequence_id: UUID, version: int) -> Version | None:
        return self._world.version(sequence_id, version)
