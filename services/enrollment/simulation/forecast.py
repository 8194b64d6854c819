"""Forecast: a cohort through a sequence, day by day. How much goes out when, which limits bind, who ends how.

Leads in equal situations are decided together (``crowd``), so a hundred thousand cost little more than the ways they
can take.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment.domain.best_hour import kind_of
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.quotas import limits_of, parsed
from services.enrollment.domain.windows import first_zone
from services.enrollment.domain.work import Change
from services.enrollment.simulation.crowd import CrowdSimulator, CrowdWorld, Group
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.likeness import Likeness, mentioned, situation
from services.enrollment.simulation.outside import Played, Script
from services.enrollment.simulation.simulator import Later
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.enrollment import (
    EngagementNoted,
    Enroll,
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    EnrollmentStarted,
    StepHandedToPerson,
    StepSent,
    StepSkipped,
)
from shared.events.message import Message, fields_of
from shared.events.why import Plan
from shared.ids import derived_id

#: How long after a message its signals come. One moment for each, so that leads stay in equal situations.
OPEN_AFTER = timedelta(hours=2)
CLICK_AFTER = timedelta(hours=2, minutes=5)
REPLY_AFTER = timedelta(hours=6)
#: Nothing is looked at beyond this.
HORIZON = timedelta(days=3 * 366)
#: Told so often while it runs.
STEPS_PER_REPORT = 500


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of sent messages, 0 to 1, that are opened, clicked and replied to. Who clicks has opened."""

    open: float = 0.4
    click: float = 0.1
    reply: float = 0.02


#: Gets (leads that have ended, leads in all) now and then; may raise to stop the forecast.
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""
    del done, total


class End(NamedTuple):
    """How and when an enrollment ended or was held, and of how many leads."""

    how: str
    at: datetime
    size: int


class Figures(Script):
    """Counts what happens to crowds. Days are those of the organization's zone.

    ``held`` are those that wait without an end, by enrollment: what holds them is their end unless they leave later.
    """

    def __init__(self, rates: Rates, zone_name: str | None, start: datetime) -> None:
        super().__init__()
        self._rates = rates
        self._zone = first_zone(zone_name)
        self._start = start
        self.sent: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by day, then channel
        self.by_step: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.signals: Counter[str] = Counter()
        self.entered = 0
        self.refusals_by_rule: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.ends_by_day: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.held: dict[UUID, End] = {}
        self.lasted: Counter[int] = Counter()  # whole days until the end
        self.waits: Counter[str] = Counter()
        self.last_end: datetime | None = None
        self._known_day: tuple[datetime | None, str] = (None, "")

    @property
    def ended(self) -> int:
        held = sum(each.size for each in self.held.values())
        return sum(self.ends.values()) + sum(self.refusals_by_rule.values()) + held

    def groups(self, event: StepSent, size: int, random: Random) -> Sequence[Group]:
        """Who opens, clicks and replies. Only what can be heard of a channel is played: nobody opens an SMS."""
        rates, parts = self._rates, Counter[tuple[bool, bool, bool]]()
        tracked = event.channel in {"email", "null"}
        for _ in range(size):
            chance, reply = random.random(), random.random() < rates.reply
            clicked = tracked and chance < rates.click
            parts[tracked and (clicked or chance < rates.open), clicked, reply] += 1
        return [Group(count, _signals(event.step_id, *part)) for part, count in sorted(parts.items())]

    def parted(self, aggregate_id: UUID, twin: UUID, size: int) -> None:
        held = self.held.get(aggregate_id)
        if held is not None:
            self.held[aggregate_id] = held._replace(size=held.size - size)
            self.held[twin] = held._replace(size=size)

    def refused(self, message: Message, error: DomainError, world: SimulatedWorld) -> None:
        if isinstance(message, Enroll):
            self.refusals_by_rule[error.code] += world.weight

    def recorded(self, change: Change, world: SimulatedWorld) -> None:
        size, day, event = world.weight, self._day(world.now), change.event
        match event:
            case StepSent():
                self.sent[day][event.channel] += size
                self.by_step[event.step_id]["sent"] += size
            case StepSkipped():
                self.by_step[event.step_id]["skipped"] += size
            case StepHandedToPerson():
                self.by_step[event.step_id]["for_people"] += size
            case EngagementNoted():
                self.signals[event.signal] += size
            case EnrollmentStarted():
                self.entered += size
            case EnrollmentCompleted():
                self._ended(change.id, End("completed", world.now, size))
            case EnrollmentExited():
                self._ended(change.id, End(event.reason, world.now, size))
            case EnrollmentPaused():
                self.held[change.id] = End(event.reason, world.now, size)
            case EnrollmentResumed():
                self.held.pop(change.id, None)
        if "plan" in fields_of(type(event)) and isinstance(plan := event.plan, Plan):  # type: ignore[attr-defined]
            self._waits(plan, size)

    def close(self) -> None:
        """Nothing more is to come: those who are held stay so."""
        for enrollment_id, end in list(self.held.items()):
            self._ended(enrollment_id, end)

    def _ended(self, enrollment_id: UUID, end: End) -> None:
        self.held.pop(enrollment_id, None)
        self.ends[end.how] += end.size
        self.ends_by_day[self._day(end.at)][end.how] += end.size
        self.lasted[(end.at - self._start).days] += end.size
        self.last_end = end.at if self.last_end is None else max(self.last_end, end.at)

    def _waits(self, plan: Plan, size: int) -> None:
        if plan.why.rule in {"delay", "at_once"}:
            return
        self.waits[plan.why.rule] += size

    def _day(self, moment: datetime) -> str:
        if self._known_day[0] != moment:
            self._known_day = (moment, moment.astimezone(self._zone).date().isoformat())
        return self._known_day[1]


def forecast(
    subject: Subject,
    cohort: Mapping[UUID, Lead] | int,
    start: datetime,
    rates: Rates,
    seed: int = 0,
    *,
    around: Surroundings | None = None,
    progress: Progress = no_progress,
    together: bool = True,
) -> dict[str, Any]:
    """Everybody of a cohort enters at ``start``: known leads, or as many made-up ones as the number says.

    ``together`` False decides for each lead alone; it is slow and gives the same where nothing is left to chance.
    """
    world = CrowdWorld(start, seed=seed, around=around)
    world.hold(subject.organization)
    world.publish(subject.organization.id, subject.sequence_id, subject.version, subject.definition)
    figures = Figures(rates, subject.organization.timezone, start)
    likeness = Likeness(subject.definition) if together else None
    simulator = CrowdSimulator(world, subject.organization.id, figures, likeness, seed=seed)
    crowds = _crowds(subject, cohort, world, together=together)
    total = sum(size for _, size in crowds)
    for lead, size in crowds:
        world.hold(lead)
        simulator.enter(lead.id, size)
        simulator.expect(Later(start, Enroll(lead_id=lead.id, sequence_id=subject.sequence_id, by="forecast")))
    until = start + HORIZON
    while simulator.run(until, at_most=STEPS_PER_REPORT):
        progress(figures.ended, total)
    progress(total, total)
    figures.close()
    return _result(subject, figures, total, start, seed, rates, simulator)


def _signals(step_id: str, opened: bool, clicked: bool, replied: bool) -> list[Played]:
    signals = []
    if opened:
        signals.append(Played("opened", OPEN_AFTER, step_id))
    if clicked:
        signals.append(Played("clicked", CLICK_AFTER, step_id))
    if replied:
        signals.append(Played("replied", REPLY_AFTER, step_id))
    return signals


# --- who is in equal situations ---------------------------------------------------------------------------------------


def _crowds(
    subject: Subject, cohort: Mapping[UUID, Lead] | int, world: SimulatedWorld, *, together: bool
) -> list[tuple[Lead, int]]:
    organization_id = subject.organization.id
    if isinstance(cohort, int):
        made_up = [
            Lead(derived_id("forecast", number), organization_id, email=f"lead{number}@example.com")
            for number in range(1 if together else cohort)
        ]
        return [(lead, cohort if together else 1) for lead in made_up]
    if not together:
        return [(lead, 1) for lead in cohort.values()]
    words = mentioned(subject.definition)
    hours_count = subject.definition.settings.send_time == "optimised"
    alike: dict[tuple[str, ...], list[Lead]] = defaultdict(list)
    for lead in cohort.values():
        known = world.figures(organization_id, kind_of(lead.id)) if hours_count else {}
        same = repr(replace(situation(lead, words, world), id=UUID(int=0)))
        alike[same, *(f"{hour} {known[hour]}" for hour in sorted(known))].append(lead)
    return [(situation(leads[0], words, world), len(leads)) for leads in alike.values()]


# --- the answer -------------------------------------------------------------------------------------------------------


def _result(
    subject: Subject, figures: Figures, total: int, start: datetime, seed: int, rates: Rates, simulator: CrowdSimulator
) -> dict[str, Any]:
    days = sorted({*figures.sent, *figures.ends_by_day})
    return {
        "cohort": total,
        "from": start.isoformat(),
        "seed": seed,
        "rates": {"open": rates.open, "click": rates.click, "reply": rates.reply},
        "entered": figures.entered,
        "refused": dict(figures.refusals_by_rule),
        "days": [
            {"day": day, "sent": dict(figures.sent.get(day, {})), "ended": dict(figures.ends_by_day.get(day, {}))}
            for day in days
        ],
        "totals": {
            "sent": dict(sum(figures.sent.values(), Counter[str]())),
            "signals": dict(figures.signals),
            "by_step": {step_id: dict(counts) for step_id, counts in figures.by_step.items()},
        },
        "waits": dict(figures.waits),
        "limits_hit": _limits_hit(subject, simulator.world),
        "ends": dict(figures.ends),
        "still_inside": figures.entered - sum(figures.ends.values()),
        "days_until_the_end": {f"p{share}": _percentile(figures.lasted, share) for share in (50, 90, 100)},
        "last_end": figures.last_end.isoformat() if figures.last_end is not None else None,
        "ways": simulator.ways,
        "decisions": simulator.decisions,
    }


def _limits_hit(subject: Subject, world: CrowdWorld) -> list[dict[str, Any]]:
    """Limits that were used up, with how many of their slots were, and the first and last of these."""
    version = world.version(subject.sequence_id, subject.version)
    assert version is not None
    nodes = [node for node in version.nodes.values() if node.is_message]
    limits = {limit for node in nodes for limit in limits_of(version, subject.organization, node)}
    hit = []
    for limit in sorted(limits, key=lambda limit: (limit.scope, limit.unit)):
        full = sorted(
            slot
            for (_, scope, slot), used in world.quotas.items()
            if scope == limit.scope and slot.startswith(f"{limit.unit}:") and used >= limit.most_in(parsed(slot)[1])
        )
        if full:
            names = [slot.partition(":")[2] for slot in (full[0], full[-1])]
            hit.append(
                {
                    "scope": limit.scope,
                    "unit": limit.unit,
                    "limit": limit.most,
                    "used_up": len(full),
                    "first": names[0],
                    "last": names[1],
                }
            )
    return hit


def _percentile(counts: Counter[int], share: int) -> int | None:
    """The smallest value that ``share`` percent do not exceed; None of nothing."""
    left = sum(counts.values()) * share / 100
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None
