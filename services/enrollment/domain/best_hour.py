"""Send-time optimisation: at which hour a lead answers, by what is known of it and of the organization's leads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.windows import HOUR, Rule, first_zone, next_open
from shared.events.definition import Delay
from shared.events.enrollment import EngagementNoted
from shared.events.why import Why

BEST_HOUR = "best_hour"
#: What every kind of figures of hours begins with, and what one of a single lead's does.
OF_HOURS = "hours:"
OF_LEAD = f"{OF_HOURS}lead:"
#: Latest that a message is sent after it was due.
LATEST = timedelta(hours=24)
#: What a person's signal says about the hour it came in; a machine's says nothing and never comes here.
WEIGHTS: Mapping[str, int] = {"opened": 1, "clicked": 2, "replied": 3}
#: Weight that must be known of the lead, or of the organization, before an hour is believed to be better.
ENOUGH_OF_LEAD = 3
ENOUGH_OF_ORGANIZATION = 30
#: How much weight of its own makes a lead's hours count as much as the organization's.
PRIOR = 6


def kind_of(lead_id: UUID | None) -> str:
    """Kind of the figures of a lead's hours, for None of those of all leads. Keys are local hours, ``00`` to ``23``."""
    return f"{OF_HOURS}organization" if lead_id is None else f"{OF_LEAD}{lead_id}"


def zone_of_lead(lead: Lead | None, organization: Organization | None) -> ZoneInfo:
    """The zone a lead's hours are read in: its own, else the organization's."""
    home = organization.timezone if organization is not None else None
    return first_zone(lead.timezone if lead is not None else None, home)


def learned(
    event: EngagementNoted, lead_id: UUID, lead: Lead | None, organization: Organization | None
) -> list[tuple[str, str, int]]:
    """What a person's signal adds to the figures: (kind, key, weight)."""
    weight = WEIGHTS.get(event.signal, 0)
    if not weight:
        return []
    key = f"{event.at.astimezone(zone_of_lead(lead, organization)).hour:02d}"
    return [(kind_of(lead_id), key, weight), (kind_of(None), key, weight)]


def may_move(delay: Delay) -> bool:
    """Is the hour of this step free? A step without a wait is wanted at once, one with a time of day at that time."""
    return delay.at is None and (delay.amount != 0 or delay.from_ == "field")


class Habits(NamedTuple):
    """Weights by local hour."""

    lead: Mapping[str, int]
    organization: Mapping[str, int]

    def known(self) -> bool:
        enough = sum(self.lead.values()) >= ENOUGH_OF_LEAD
        return enough or sum(self.organization.values()) >= ENOUGH_OF_ORGANIZATION

    def share(self, hour: int) -> float:
        """The expected share of answers in an hour: the lead's own, drawn towards the organization's, and those towards
        the same for every hour.
        """
        key = f"{hour:02d}"
        total = sum(self.organization.values())
        common = (self.organization.get(key, 0) + 1) / (total + 24)
        return (self.lead.get(key, 0) + PRIOR * common) / (sum(self.lead.values()) + PRIOR)


class Better(NamedTuple):
    at: datetime
    why: Why


def better_moment(
    at: datetime, due: datetime, habits: Habits, rules: Sequence[Rule], zone: ZoneInfo, draw: float
) -> Better | None:
    """A moment after ``at`` in the hour with the highest share of answers that the rules allow, at most a day after
    ``due``; None when there is none better, or too little is known. Of equal hours the first.

    ``draw`` (0 to 1) says where in the hour, so that not everybody is written to at its first second.
    """
    if not habits.known():
        return None
    here = habits.share(at.astimezone(zone).hour)
    best, best_share = None, here
    for start, end in _open_hours(at, due + LATEST, rules, zone):
        share = habits.share(start.astimezone(zone).hour)
        if share > best_share:
            best, best_share = start + timedelta(seconds=int((end - start).total_seconds() * draw)), share
    if best is None:
        return None
    inputs = {
        "hour": best.astimezone(zone).hour,
        "zone": zone.key,
        "from": at.isoformat(),
        "share": round(best_share, 4),
        "share_before": round(here, 4),
        "known_of_lead": sum(habits.lead.values()),
        "known_of_organization": sum(habits.organization.values()),
        "draw": draw,
    }
    return Better(best, Why(rule=BEST_HOUR, inputs=inputs))


def _open_hours(
    at: datetime, latest: datetime, rules: Sequence[Rule], zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    """The open part of each local hour after that of ``at``, as far as ``latest``."""
    local = at.astimezone(zone)
    hour = at + HOUR - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    while hour < latest:
        opening = next_open(hour, rules)
        if opening is None:
            return
        end = min(hour + HOUR, latest, opening.end or latest)
        if opening.start < end:
            yield opening.start, end
        hour += HOUR
