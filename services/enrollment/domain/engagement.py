"""Engagement: what comes back for one dispatch, raw. A stream without decisions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from shared.events.engagement import RecordSignal, SignalReceived
from shared.events.message import Event

#: Single hits of one kind kept for one dispatch, of persons and of machines each; beyond them only hits that come
#: counted are kept.
KEPT_HITS = 20
#: From this confidence on a hit is taken for a machine's and counts for nothing.
MACHINE = 0.5


def counts(hit: RecordSignal | SignalReceived) -> bool:
    """A person's own signal, not a machine's, an answering machine's, or a passing refusal."""
    if hit.machine >= MACHINE or hit.auto_reply:
        return False
    return not (hit.signal == "bounced" and hit.bounce_kind == "soft")


@dataclass(frozen=True, slots=True)
class Engagement:
    """``hits`` counts the events per signal, those that count and those that do not apart; ``links`` holds the first
    click of a person per link.
    """

    id: UUID
    organization_id: str
    hits: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    links: Mapping[str, datetime] = field(default_factory=dict)

    def keeps(self, hit: RecordSignal) -> bool:
        """Is this hit kept? The first ones are, and every later one that stands for several. However many machines
        came before, the first of a person is kept.
        """
        return hit.count > 1 or self.hits.get((hit.signal, counts(hit)), 0) < KEPT_HITS


def initial(engagement_id: UUID, organization_id: str) -> Engagement:
    return Engagement(engagement_id, organization_id)


def evolve(state: Engagement, event: Event, _at: datetime) -> Engagement:
    if not isinstance(event, SignalReceived):
        return state
    kind = (event.signal, counts(event))
    hits = {**state.hits, kind: state.hits.get(kind, 0) + 1}
    links = state.links
    if event.signal == "clicked" and event.link is not None and event.machine < MACHINE and event.link not in links:
        links = {**links, event.link: event.at}
    return replace(state, hits=hits, links=links)
