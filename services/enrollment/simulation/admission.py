"""Whom a changed trigger would not have taken, of those that the sequence took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.enrollment.domain.matching import unmet
from services.enrollment.domain.world import CatalogueEntry
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.played_past import Past
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.definition import SequenceDefinition


def kept_out(subject: Subject, versions: Mapping[int, SequenceDefinition], past: Sequence[Past]) -> dict[UUID, str]:
    """By enrollment, the rule by which the subject's trigger refuses the lead as it was on entering.

    Only those are asked about whom the trigger of another definition took: whoever was enrolled by an order, or as a
    funnel's last resort, would have been again. Funnels that were assigned to the sequence by hand are not known here.
    """
    changed = {number for number, each in versions.items() if each.trigger != subject.definition.trigger}
    asked = [each for each in past if each.version in changed and each.taken is not None]
    if not asked:
        return {}
    asked.sort(key=lambda each: each.entered_at)
    world = SimulatedWorld(asked[0].entered_at)
    world.hold(subject.organization)
    world.publish(subject.organization.id, subject.sequence_id, subject.version, subject.definition)
    funnels = frozenset(subject.definition.trigger.funnels)
    entry = CatalogueEntry(subject.sequence_id, subject.version, subject.definition, funnels)
    found: dict[UUID, str] = {}
    for each in asked:
        assert each.taken is not None
        world.move_to(each.entered_at)
        why = unmet(world, each.lead, entry, each.taken.occasion, each.taken.score_before)
        if why is not None:
            found[each.enrollment_id] = why.rule
    return found
