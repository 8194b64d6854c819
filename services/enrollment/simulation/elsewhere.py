"""What leads have taught about their hours outside of the past that a backtest plays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from services.enrollment.domain.best_hour import OF_HOURS, WEIGHTS, kind_of, zone_of_lead
from services.enrollment.domain.organization import Organization
from services.enrollment.simulation.played_past import Past
from services.enrollment.simulation.world import Surroundings

#: What the store counts: (organization, kind) -> counts by key.
Figures = Callable[[str, str], Mapping[str, int]]


class Elsewhere:
    """Figures of hours as they are known now, for nobody keeps what was known when, without what the play learns again
    by itself. Of variants nothing is known: a backtest counts them from its beginning.
    """

    def __init__(self, figures: Figures, organization: Organization, past: Sequence[Past]) -> None:
        self._figures = figures
        self._organization = organization
        self._past = past

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(figures=self.figures)

    def figures(self, organization_id: str, kind: str) -> Mapping[str, int]:
        if not kind.startswith(OF_HOURS):
            return {}
        own = self._of_the_past[kind]
        known = self._figures(organization_id, kind)
        return {hour: left for hour, count in known.items() if (left := count - own[hour]) > 0}

    @cached_property
    def _of_the_past(self) -> Mapping[str, Counter[str]]:
        """What the signals of the past added to each kind. Looked at only when somebody asks."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for past in self._past:
            zone = zone_of_lead(past.lead, self._organization)
            sent_at = {each.step_id: each.at for each in reversed(past.sends)}
            first = {(each.step, each.signal): each for each in reversed(past.signals)}
            for (step_id, signal), played in first.items():
                if step_id in sent_at and (weight := WEIGHTS.get(signal, 0)):
                    hour = f"{(sent_at[step_id] + played.after).astimezone(zone).hour:02d}"
                    found[kind_of(past.lead.id)][hour] += weight
                    found[kind_of(None)][hour] += weight
        return found
