"""Receipts of an erasure: what is still held of a person, place by place. Nothing left everywhere is the proof.

The log gives up its part with the lead's key, in the same transaction as the order; the other places follow by
themselves within a minute.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from shared.events.lead import PERSONAL_FIELDS
from shared.persistence.mongo import Database
from shared.persistence.views import ViewReader

#: What the gateway keeps of a lead, whole documents that go.
KEPT_BY_GATEWAY = ("dead_letters", "mailbox")


class Receipt(NamedTuple):
    """``left``: documents that still hold something personal."""

    place: str
    left: int


async def receipts(views: ViewReader, gateway: Database, ledger: Database, lead_id: UUID) -> list[Receipt]:
    """One for each place outside the log."""
    lead = str(lead_id)
    found = []
    for view, wanted in _VIEWS.items():
        collection = await views.collection(view)
        key = "_id" if view == "leads" else "lead_id"
        found.append(Receipt(f"view {view}", await collection.count_documents({key: lead, **wanted})))
    sent = _any_of("message", "provider_answer")
    rows = ledger.collection("dispatches")
    found.append(Receipt("ledger", await rows.count_documents({"lead_id": lead_id, **sent})))
    kept = [await gateway.collection(name).count_documents({"lead_id": lead}) for name in KEPT_BY_GATEWAY]
    return found + [Receipt(name, left) for name, left in zip(KEPT_BY_GATEWAY, kept, strict=True)]


def _any_of(*names: str) -> dict[str, Any]:
    return {"$or": [{name: {"$ne": None}} for name in names]}


#: View -> what of it is personal.
_VIEWS: dict[str, dict[str, Any]] = {
    "leads": {"$or": [*_any_of(*PERSONAL_FIELDS)["$or"], {"custom_fields": {"$nin": [None, {}]}}]},
    "timeline": _any_of("personal"),
    "tasks": _any_of("title", "notes", "note"),
    "notifications": _any_of("personal"),
}
