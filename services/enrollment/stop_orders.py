"""Which orders to the dispatchers follow from an event: stops, settlements, forgetting. Pure.

An event that ends or holds something is turned into a stop key that holds for every StepDue at a lower position, so a
later opt-in, resume or activation needs no order of its own: what it lets out stands at a higher position.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from shared.events.dispatch import ForgetLead, SettleDispatch, StopOrder, StopScope
from shared.events.message import Message

MESSAGE_CHANNELS = ("email", "sms", "whatsapp", "webhook", "null")

_REASONS = {
    "sequence.paused.v1": "paused",
    "sequence.braked.v1": "braked",
    "organization.sender_set.v1": "sender_off",
    "organization.sender_braked.v1": "braked",
}


def orders_of(event: dict[str, Any]) -> Iterator[tuple[str, Message]]:
    """Routing keys and orders for a stored event given as a CloudEvent."""
    topic, data = event["type"], event["data"]
    match topic:
        case "enrollment.step_stop_requested.v1":
            yield _stop(
                event,
                "enrollment",
                event["subject"],
                data["reason"],
                answer_to=UUID(data["dispatch_id"]),
                execution=data["execution"],
                attempt=data["attempt"],
            )
        case "enrollment.watchdog_rang.v1" if data.get("stopping"):
            yield _stop(
                event,
                "enrollment",
                event["subject"],
                data["stopping"],
                answer_to=UUID(data["dispatch_id"]),
                execution=data["execution"],
                attempt=data["attempt"],
            )
        case "lead.unsubscribed.v1":
            yield from _of_unsubscribe(event, data)
        case "lead.address_suppressed.v1" | "organization.address_suppressed.v1":
            yield _stop(event, "address", data["address_hash"], data["reason"])
            yield _stop(event, "domain", data["address_hash"], data["reason"])
        case "sequence.paused.v1" | "sequence.braked.v1":
            yield _stop(event, "sequence", event["subject"], _REASONS[topic])
        case "organization.sender_set.v1" | "organization.sender_braked.v1" if not data.get("active"):
            yield _stop(event, "sender", f"{event['organizationid']}:{data['sender_id']}", _REASONS[topic])
        case "lead.erased.v1":
            for channel in MESSAGE_CHANNELS:
                yield _stop(event, "lead", f"{event['leadid']}:{channel}", "erased")
            yield "forget.lead", ForgetLead(lead_id=UUID(event["leadid"]))
        case "enrollment.step_settled.v1":
            yield (
                "settle.dispatch",
                SettleDispatch(dispatch_id=UUID(data["dispatch_id"]), outcome=data["outcome"], by=data["by"]),
            )


def _of_unsubscribe(event: dict[str, Any], data: dict[str, Any]) -> Iterator[tuple[str, Message]]:
    # Both scopes: each may have to confirm a provisional stop of the tracker.
    if data.get("sequence_id") is None:
        yield _stop(event, "lead", f"{event['leadid']}:{data['channel']}", "unsubscribed")
    if data.get("address_hash") is not None:  # the others who share it
        yield _stop(event, "address", data["address_hash"], "unsubscribed")
    if data.get("enrollment_id") is not None:
        yield _stop(event, "enrollment", data["enrollment_id"], "unsubscribed")


def _stop(
    event: dict[str, Any],
    scope: StopScope,
    key: str,
    reason: str,
    *,
    answer_to: UUID | None = None,
    execution: int | None = None,
    attempt: int | None = None,
) -> tuple[str, StopOrder]:
    order = StopOrder(
        scope=scope,
        key=key,
        before=event["position"],
        reason=reason,
        at=event["time"],
        answer_to=answer_to,
        execution=execution,
        attempt=attempt,
    )
    return f"stop.{scope}", order
