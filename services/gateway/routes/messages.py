"""Messages as sent, those in doubt, and the demo mailbox."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import NotFound
from services.gateway.lists import Listing, Paging, leads_called, listed, paged
from services.gateway.masking import sent_as_seen_by
from services.gateway.routes.tasks import shower
from services.gateway.shapes import Created, Document, DocumentPage, MailboxMessage, MailboxPage
from shared.events.enrollment import ResolveDispatch
from shared.events.patterns import MESSAGE_ID

router = APIRouter(tags=["messages"])

MessageStatus = Literal["due", "sent", "deferred", "failed", "stopped", "in_doubt"]
MESSAGE_STATUSES: tuple[MessageStatus, ...] = ("due", "sent", "deferred", "failed", "stopped", "in_doubt")
LISTING = Listing("messages", {"due_at": -1}, "-due_at")
MAILBOX = Listing("mailbox", {"at": -1}, "-at")


class Resolution(Body):
    """What became of a send in doubt."""

    outcome: Literal["sent", "not_sent"]


@router.get("/messages", response_model=DocumentPage)
async def messages(
    asked: Paging,
    status: MessageStatus | None = Query(default=None),
    lead_id: UUID | None = Query(default=None),
    enrollment_id: UUID | None = Query(default=None),
    sequence_id: UUID | None = Query(default=None),
    context: Context = may("messages:read"),
) -> dict[str, Any]:
    """Messages, the last due first; ``q`` searches the lead."""
    filters = {
        "status": status or {"$in": list(MESSAGE_STATUSES)},
        "lead_id": lead_id and str(lead_id),
        "sequence_id": sequence_id and str(sequence_id),
    }
    called = await leads_called(context, asked.q)
    mine = {"_id": {"$gt": f"{enrollment_id}-", "$lt": f"{enrollment_id}."}} if enrollment_id else {}
    return await listed(context, LISTING, asked, filters, shower(context), called, mine)


@router.get("/messages/in-doubt", response_model=DocumentPage)
async def in_doubt(asked: Paging, context: Context = may("messages:read")) -> dict[str, Any]:
    """Messages of which nobody knows whether they arrived."""
    filters = {"status": "in_doubt"}
    return await listed(context, LISTING, asked, filters, shower(context))


MessageId = Path(
    pattern=MESSAGE_ID,
    description="`<enrollment id>-<execution>`",
)


@router.get("/messages/{message_id}", response_model=Document)
async def message(message_id: str = MessageId, context: Context = may("messages:read")) -> dict[str, Any]:
    """A message with its content as it was sent.

    ``as_sent`` is None before, and once the lead is erased. Of a call of another system who may not change sequences
    sees neither headers nor body, and of its address the host."""
    found = await context.document("messages", message_id, "message")
    [shown] = await shower(context)([found])
    rows = context.parts.ledger.collection("dispatches")
    row = None
    if found.get("dispatch_id"):
        ids = [found["dispatch_id"], UUID(found["dispatch_id"])]
        row = await rows.find_one({"_id": {"$in": ids}}, {"message": 1, "state": 1, "provider_answer": 1})
    return {
        **shown,
        "as_sent": sent_as_seen_by(context.principal, found.get("channel"), (row or {}).get("message")),
        "ledger_state": (row or {}).get("state"),
        "provider_answer": (row or {}).get("provider_answer"),
    }


@router.post("/messages/{message_id}/resolve", response_model=Created)
async def resolve(
    body: Resolution, message_id: str = MessageId, context: Context = may("messages:resolve")
) -> Response:
    """A person says what became of a send in doubt."""
    enrollment_id, _, execution = message_id.rpartition("-")
    return await context.change(
        lambda _: ResolveDispatch(enrollment_id=UUID(enrollment_id), execution=int(execution), outcome=body.outcome)
    )


def _mail(document: dict[str, Any]) -> dict[str, Any]:
    names = ("to", "from", "subject", "at", "lead_id", "headers", "html", "text")
    shown = {name: document.get(name) for name in names}
    return {**shown, "id": str(document["_id"]), "headers": document.get("headers") or []}


@router.get("/mailbox", response_model=MailboxPage, tags=["demo mailbox"])
async def mailbox(
    asked: Paging, lead_id: UUID | None = Query(default=None), context: Context = may("mailbox:read")
) -> dict[str, Any]:
    """Mails that the demo mailbox received, newest first. ``q`` is an address, or the beginning of one."""

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_mail(each) for each in found]

    mails = context.parts.database.collection("mailbox")
    q = (asked.q or "").strip().casefold()
    begins = {"to": {"$gte": q, "$lt": q + "\uffff"}} if q else {}
    return await paged(mails, context, MAILBOX, asked, {"lead_id": lead_id and str(lead_id)}, show, begins)


@router.get("/mailbox/{mail_id}", response_model=MailboxMessage, tags=["demo mailbox"])
async def mail(mail_id: str, context: Context = may("mailbox:read")) -> dict[str, Any]:
    """One mail, with headers and both bodies."""
    found = await context.parts.database.collection("mailbox").find_one(context.scope.filter({"_id": mail_id}))
    if found is None:
        raise NotFound("mail")
    return _mail(found)
