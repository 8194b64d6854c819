"""A lead's score: 0 to 100, every change with its reason. Crossing a threshold may open enrollments."""

from __future__ import annotations

from uuid import UUID

from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import Work
from shared.events.lead import LeadScored
from shared.events.why import Why

MOST = 100


def change_score(
    work: Work, lead_id: UUID, *, add: int | None = None, to: int | None = None, why: Why, confirm: bool = False
) -> Lead | None:
    """Adds to the score or sets it, cut off at both ends; the lead afterwards, None when there is none.

    No change records nothing, unless ``confirm`` asks to record since when the score is known.
    """
    lead = work.find_lead(lead_id)
    if lead is None or lead.erased:
        return lead
    after = max(0, min(MOST, to if to is not None else lead.score + (add or 0)))
    if after == lead.score and not confirm:
        return lead
    work.crossings.append((lead_id, lead.score, after))
    return work.on_lead(lead_id, LeadScored(before=lead.score, after=after, why=why))
