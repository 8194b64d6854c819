"""From what a token says and what came in: the facts and orders to publish. Pure but for the ids and the clock's time
handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.tracker.machine import PERSON, Verdict
from shared.events import Envelope
from shared.events.dispatch import StopOrder
from shared.events.engagement import RecordSignal
from shared.events.enrollment import SignalKind
from shared.ids import derived_id, new_id
from shared.tokens import LinkClaims

SOURCE = "tracker"
MAX_CLIENT = 500


@dataclass(frozen=True, slots=True)
class Hit:
    """One request with a good token. ``client`` is the browser's own name for itself."""

    claims: LinkClaims
    at: datetime
    verdict: Verdict = PERSON
    client: str | None = None


def hit_signal(hit: Hit, *, source: str, count: int = 1) -> Envelope:
    """An open or a click. The id is made here, once: every try to publish it carries the same."""
    claims = hit.claims
    clicked = claims.kind == "click"
    message = RecordSignal(
        enrollment_id=claims.enrollment_id,
        execution=claims.execution,
        channel=claims.channel,
        signal="clicked" if clicked else "opened",
        at=hit.at,
        link=claims.target if clicked else None,
        machine=hit.verdict.confidence,
        machine_reason=hit.verdict.reason,
        client=hit.client and hit.client[:MAX_CLIENT],
        source=source,
        count=count,
    )
    return _from_link(claims, message, hit.at)


def unsubscribe(claims: LinkClaims, at: datetime, *, source: str, whole: bool, client: str | None) -> list[Envelope]:
    """The provisional stop first, then the signal. ``whole``: everything on the channel, else this sequence only."""
    signal = RecordSignal(
        enrollment_id=claims.enrollment_id,
        execution=claims.execution,
        channel=claims.channel,
        signal="unsubscribed",
        at=at,
        client=client and client[:MAX_CLIENT],
        source=source,
        whole=whole,
    )
    stop = StopOrder(
        scope="lead" if whole else "enrollment",
        key=f"{claims.lead_id}:{claims.channel}" if whole else str(claims.enrollment_id),
        reason="unsubscribed",
        provisional=True,
        at=at,
    )
    signalled = _from_link(claims, signal, at)
    ordered = Envelope(
        id=f"{signalled.id}:stop",
        message=stop,
        source=SOURCE,
        time=at,
        organization_id=claims.organization_id,
        lead_id=claims.lead_id,
        causation_id=signalled.id,
        actor="lead",
    )
    return [ordered, signalled]


def mail_signal(signal: RecordSignal, *, mail_key: str) -> Envelope:
    """A signal from an address token, which names no organization. ``mail_key`` is the same for every delivery of one
    mail, so a mail that is handed in twice makes one id."""
    message_id = derived_id("inbound", signal.enrollment_id, signal.execution, signal.signal, mail_key)
    return Envelope(
        id=message_id.hex,
        message=signal,
        source=SOURCE,
        time=signal.at,
        organization_id=None,
        subject=_engagement(signal.enrollment_id, signal.execution),
        actor="lead",
    )


def mail_stop(signalled: Envelope, enrollment_id: UUID, reason: SignalKind) -> Envelope:
    """The provisional stop that goes with a signal from an address token: all it can name is the enrollment."""
    stop = StopOrder(scope="enrollment", key=str(enrollment_id), reason=reason, provisional=True, at=signalled.time)
    return Envelope(
        id=f"{signalled.id}:stop",
        message=stop,
        source=SOURCE,
        time=signalled.time,
        organization_id=None,
        causation_id=signalled.id,
        actor="lead",
    )


def _from_link(claims: LinkClaims, message: RecordSignal, at: datetime) -> Envelope:
    return Envelope(
        id=new_id().hex,
        message=message,
        source=SOURCE,
        time=at,
        organization_id=claims.organization_id,
        subject=_engagement(claims.enrollment_id, claims.execution),
        lead_id=claims.lead_id,
        actor="lead",
    )


def _engagement(enrollment_id: UUID, execution: int) -> UUID:
    return derived_id("engagement", enrollment_id, execution)
