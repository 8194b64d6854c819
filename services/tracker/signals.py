"""From what a token says and what came in: the facts and orders to publish. Pure but for the ids and the clock's time
handed in.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.tracker.machine import PERSON, Verdict
from services.tracker.spool import Record
from shared.events import Envelope
from shared.events.dispatch import StopOrder
from shared.events.engagement import RecordSignal
from shared.events.enrollment import SignalKind
from shared.ids import derived_id
from shared.messaging.topology import COMMANDS
from shared.tokens import LinkClaims

SOURCE = "tracker"
#: Ids of hits: this process's own mark and a running number, the cheapest that never repeats.
_PROCESS = f"hit-{os.urandom(12).hex()}-"
_hits = itertools.count(1)
MAX_CLIENT = 500


@dataclass(frozen=True, slots=True)
class Hit:
    """One request with a good token. ``client`` is the browser's own name for itself."""

    claims: LinkClaims
    at: datetime
    verdict: Verdict = PERSON
    client: str | None = None


def hit_record(hit: Hit, *, source: str, count: int = 1) -> Record:
    """An open or a click, ready for the wire: what ``RecordSignal`` in an envelope would become, made without them,
    because building and checking both costs more than all else that is done for a hit. Defaults are left out.

    The id is made here, once: every try to publish it carries the same.
    """
    claims = hit.claims
    at = hit.at.isoformat()
    signal = "clicked" if claims.kind == "click" else "opened"
    data: dict[str, Any] = {
        "enrollment_id": str(claims.enrollment_id),
        "execution": claims.execution,
        "channel": claims.channel,
        "signal": signal,
        "at": at,
        "source": source,
    }
    if signal == "clicked":
        data["link"] = claims.target
    if hit.verdict.reason is not None:
        data["machine"] = hit.verdict.confidence
        data["machine_reason"] = hit.verdict.reason
    if hit.client:
        data["client"] = hit.client[:MAX_CLIENT]
    if count > 1:
        data["count"] = count
    event = {
        "specversion": "1.0",
        "id": f"{_PROCESS}{next(_hits):x}",
        "type": RecordSignal.TOPIC,
        "source": SOURCE,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
        "organizationid": claims.organization_id,
        "leadid": str(claims.lead_id),
        "actor": "lead",
    }
    return Record(COMMANDS, f"signal.{signal}", event)


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
    signalled = Envelope(
        id=f"{_PROCESS}{next(_hits):x}",
        message=signal,
        source=SOURCE,
        time=at,
        organization_id=claims.organization_id,
        lead_id=claims.lead_id,
        actor="lead",
    )
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
