"""Engagement: what comes back for one dispatch, raw. A stream without decisions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from shared.events.engagement import SignalReceived
from shared.events.message import Event

#: Single hits of one kind kept for one dispatch; beyond them only hits that come counted are kept.
KEPT_HITS = 20


@dataclass(frozen=True, slots=True)
class Engagement:
    """``hits`` counts the events per signal; ``links`` holds the first click of a person per link."""

    id: UUID
    organization_id: str
    hits: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, datetime] = field(default_factory=dict)

    def keeps(self, signal: str, count: int) -> bool:
        """Is this hit kept? The first ones are, and every later one that stands for several."""
        return count > 1 or self.hits.get(signal, 0) < KEPT_HITS


def initial(engagement_id: UUID, organization_id: str) -> Engagement:
    return Engagement(engagement_id, organization_id)


def evolve(state: Engagement, event: Event, _at: datetime) -> Engagement:
    if not isinstance(event, SignalReceived):
        return state
    hits = {**state.hits, event.signal: state.hits.get(event.signal, 0) + 1}
    links = state.links
    if event.signal == "clicked" and event.link is not None and event.machine < 0.5 and event.link not in links:
        links = {**links, event.link: event.at}
    return replace(state, hits=hits, links=links)
