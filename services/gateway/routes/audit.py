"""The audit: who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.gateway import present
from services.gateway.context import Context, may
from services.gateway.errors import BadRequest
from services.gateway.lists import Listing, Paging, listed
from services.gateway.shapes import AuditPage
from shared.events.message import Instant
from shared.events.patterns import ACTOR

router = APIRouter(tags=["audit"])

LISTING = Listing("audit", {"position": -1}, "-position")
_SHOWN = ("at", "actor", "kind", "subject", "lead_id", "sequence_id", "changed", "detail")
#: What an entry shows of its bulk.
_OF_BULK = ("status", "count", "handled", "done", "unchanged", "refused", "reasons", "finished_at")


@router.get("/audit", response_model=AuditPage)
async def audit(
    asked: Paging,
    actor: str | None = Query(
        default=None, max_length=60, description="`member:<id>` or `api_key:<id>`.", pattern=ACTOR
    ),
    kind: str | None = Query(default=None, max_length=100, description="As `lead.tagged`."),
    subject: UUID | None = Query(default=None, description="Of the lead, sequence, enrollment, task or bulk."),
    since: Instant | None = Query(default=None, description="From this moment on."),
    until: Instant | None = Query(default=None, description="Before this moment."),
    context: Context = may("audit:read"),
) -> dict[str, Any]:
    """Everything that members and API keys did, newest first, with their names. A bulk is one entry: what was ordered,
    for whom (``detail``), and how far it has come or what it came to (``bulk``)."""
    if since is not None and until is not None and since >= until:
        problem = "must be before until"
        raise BadRequest(f"since {problem}", code="bad_time", errors=[{"field": "since", "problem": problem}])
    names = await _names(context)

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        bulks = await _bulks(context, [each["subject"] for each in found if each["kind"].startswith("bulk.")])
        return [
            {
                "id": str(each["_id"]),
                **{name: each.get(name) for name in _SHOWN},
                "actor_name": names.get(each["actor"]),
                "bulk": bulks.get(each["subject"]),
                "position": present.position_of(each),
            }
            for each in found
        ]

    within = {**({"$gte": since} if since else {}), **({"$lt": until} if until else {})}
    filters = {"actor": actor, "kind": kind, "subject": subject and str(subject), "at": within or None}
    return await listed(context, LISTING, asked, filters, show)


async def _bulks(context: Context, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What bulks have come to, by id, and where their refused targets are listed one by one."""
    if not ids:
        return {}
    collection = await context.parts.views.collection("bulks")
    wanted = context.scope.filter({"_id": {"$in": sorted(set(ids))}})
    found = await collection.find(wanted, dict.fromkeys(_OF_BULK, 1)).to_list()
    return {
        each["_id"]: {
            "id": each["_id"],
            **{name: each.get(name) for name in _OF_BULK},
            "report": f"/api/v1/bulks/{each['_id']}",
            "refusals": f"/api/v1/bulks/{each['_id']}/refusals",
        }
        for each in found
    }


async def _names(context: Context) -> dict[str, str]:
    """Names of members and keys as they stand in events."""
    organization = await context.parts.directory.organization(context.principal.organization_id) or {}
    members = (organization.get("members") or {}).items()
    keys = (organization.get("api_keys") or {}).items()
    return {
        **{f"member:{each}": member.get("name") or member["email"] for each, member in members},
        **{f"api_key:{each}": key["name"] for each, key in keys},
    }
