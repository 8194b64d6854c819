"""The brake: a sequence or sender whose bounces, complaints or volume leave their band stops itself.

Messages are counted beside the log, by hour, for each sequence and sender (``figures`` of kind ``brake:…``). They are
looked at where something went wrong, and on every send only where a volume is given. A person releases the brake; the
counting then begins anew, under the next number of ``releases``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.organization import Organization, SenderAccount
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.work import Work, organization_aggregate
from services.enrollment.domain.world import World
from shared.events.definition import Brake
from shared.events.enrollment import EngagementNoted, StepFailed, StepSent, StepSettled
from shared.events.message import Event
from shared.events.organization import SenderBraked
from shared.events.sequence import SequenceBraked
from shared.events.why import Why

Sign = Literal["sent", "bounced", "complained"]
TOLD_BY: frozenset[type[Event]] = frozenset({StepSent, StepSettled, StepFailed, EngagementNoted})
#: Channels whose messages go out with a sender.
WITH_SENDER = frozenset({"email", "null"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tally(NamedTuple):
    """Messages within a time, and what became of them."""

    sent: int = 0
    bounced: int = 0
    complained: int = 0


def hour_of(moment: datetime) -> int:
    """Whole hours since 1970."""
    return (moment - _EPOCH) // timedelta(hours=1)


def kind_of(scope: str, releases: int) -> str:
    """The kind of figures that count for a scope (``sequence:<id>``, ``sender:<name>``)."""
    return f"brake:{scope}:{releases}"


def signs_of(event: Event) -> tuple[Sign, ...]:
    """What an enrollment's event counts as."""
    match event:
        case StepSent() | StepSettled(outcome="sent"):
            return ("sent",)
        case StepFailed(bounce=True):
            return ("sent", "bounced")  # a message that was refused for its address was one of those tried
        case EngagementNoted(signal="bounced"):
            return ("bounced",)
        case EngagementNoted(signal="complained"):
            return ("complained",)
    return ()


def counted(world: World, state: Enrollment, event: Event, at: datetime) -> Iterator[tuple[str, str]]:
    """The figures (kind, key) to which an enrollment's event adds one."""
    signs = signs_of(event)
    if not signs:
        return
    hour = hour_of(at)
    kinds = []
    sequence = world.sequence(state.sequence_id)
    if sequence is not None:
        kinds.append(kind_of(f"sequence:{sequence.id}", sequence.releases))
    sender = sender_of(world, world.organization(state.organization_id), state, getattr(event, "step_id", ""))
    if sender is not None:
        kinds.append(kind_of(f"sender:{sender.sender_id}", sender.releases))
    for kind in kinds:
        for sign in signs:
            yield kind, f"{hour}:{sign}"


def sender_of(world: World, organization: Organization | None, state: Enrollment, step_id: str) -> SenderAccount | None:
    """The sender that a step's messages go out with."""
    version = world.version(state.sequence_id, state.version)
    node = version.nodes.get(step_id) if version is not None else None
    if organization is None or node is None or node.channel not in WITH_SENDER:
        return None
    return organization.sender_for(node.sender)


def tally(figures: Mapping[str, int], now: datetime, hours: int) -> Tally:
    """What was counted in the last ``hours``, the running one included."""
    first = hour_of(now) - hours
    sums = {"sent": 0, "bounced": 0, "complained": 0}
    for key, count in figures.items():
        hour, _, sign = key.partition(":")
        if int(hour) > first and sign in sums:
            sums[sign] += count
    return Tally(**sums)


def verdict(brake: Brake, recent: Tally, last_hour: Tally) -> Why | None:
    """Which band was left, with what was counted; None while all is well."""
    if brake.most_per_hour is not None and last_hour.sent > brake.most_per_hour:
        return Why(rule="volume", inputs={"sent": last_hour.sent, "most_per_hour": brake.most_per_hour})
    if recent.sent < brake.min_sent:
        return None
    for rule, count, percent in (
        ("complaint_rate", recent.complained, brake.complaint_percent),
        ("bounce_rate", recent.bounced, brake.bounce_percent),
    ):
        if percent is not None and count * 100 > percent * recent.sent:
            inputs = {"count": count, "sent": recent.sent, "most_percent": percent, "hours": brake.hours}
            return Why(rule=rule, inputs=inputs)
    return None


def watch(work: Work) -> None:
    """Looks at sequences and senders after what this decision has recorded; one that left its band is braked."""
    told = [(change.id, change.event) for change in work.changes if type(change.event) in TOLD_BY]
    for enrollment_id, event in told:
        _watch(work, work.enrollment(enrollment_id), event)


def _watch(work: Work, state: Enrollment, event: Event) -> None:
    signs = signs_of(event)
    if not signs:
        return
    only_sent = signs == ("sent",)
    sequence = work.find_sequence(state.sequence_id)
    if sequence is not None and sequence.braked is None and sequence.published is not None:
        brake = sequence.published.settings.brake
        if not only_sent or brake.most_per_hour is not None:
            _watch_sequence(work, sequence, brake, signs)
    organization = work.find_organization()
    sender = sender_of(work.world, organization, state, getattr(event, "step_id", ""))
    if sender is not None and sender.braked is None and (not only_sent or sender.brake.most_per_hour is not None):
        why = _judge(work, sender.brake, kind_of(f"sender:{sender.sender_id}", sender.releases), signs)
        if why is not None:
            braked = SenderBraked(sender_id=sender.sender_id, why=why, at=work.now)
            work.record("organization", organization_aggregate(work.organization_id), braked, None)


def _watch_sequence(work: Work, sequence: Sequence, brake: Brake, signs: tuple[Sign, ...]) -> None:
    why = _judge(work, brake, kind_of(f"sequence:{sequence.id}", sequence.releases), signs)
    if why is not None:
        work.record("sequence", sequence.id, SequenceBraked(why=why, at=work.now), None)


def _judge(work: Work, brake: Brake, kind: str, signs: tuple[Sign, ...]) -> Why | None:
    """What was counted before and, on top of it, the event itself, which is counted when the decision is written."""
    figures = work.world.figures(work.organization_id, kind)
    recent, last_hour = (_with(tally(figures, work.now, hours), signs) for hours in (brake.hours, 1))
    return verdict(brake, recent, last_hour)


def _with(known: Tally, signs: tuple[Sign, ...]) -> Tally:
    return known._replace(**{sign: getattr(known, sign) + 1 for sign in signs})


def blocker(sequence: Sequence, sender: SenderAccount | None) -> str | None:
    """What a message waits for while the brake of its sequence or sender is on."""
    if sequence.braked is not None:
        return sequence_blocker(sequence.id)
    return sender_blocker(sender.sender_id) if sender is not None and sender.braked is not None else None


def sequence_blocker(sequence_id: UUID) -> str:
    return f"brake:sequence:{sequence_id}"


def sender_blocker(sender_id: str) -> str:
    return f"brake:sender:{sender_id}"
