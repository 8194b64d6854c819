"""When the appointment begins that a step invites to."""

from __future__ import annotations

from datetime import datetime

from services.enrollment.domain.delays import delayed
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.flow import Node, Version
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.lead_values import date_field
from services.enrollment.domain.planning import Scene
from services.enrollment.domain.work import Work
from services.enrollment.domain.world import World
from shared.events.definition import AppointmentConfig


def appointment_of(scene: Scene, state: Enrollment, node: Node) -> datetime | None:
    """If the step is sent now; None for a step that invites to nothing."""
    config = node.step.config
    if not isinstance(config, AppointmentConfig):
        return None
    return delayed(config.start, previous=scene.work.now, started=state.started_at, scene=scene)


def appointment_if_sent(world: World, version: Version, lead: Lead, state: Enrollment, node: Node) -> datetime | None:
    """The same for a step that is only looked at; None too when the lead has no date to count from."""
    config = node.step.config
    if not isinstance(config, AppointmentConfig):
        return None
    scene = Scene(Work(world, state.organization_id), version, lead)
    field = config.start.field if config.start.from_ == "field" else None
    if field is not None and date_field(lead, field, scene.zone) is None:
        return None
    return appointment_of(scene, state, node)
