"""Funnels: where leads come from, which sequences take them, and the web form of each."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.context import Context, Done, may
from services.gateway.errors import NotFound
from services.gateway.lists import Listing, Paging, listed
from services.gateway.shapes import Created, Document, DocumentPage, Items
from shared.events import funnel as orders
from shared.events.patterns import ORIGIN, REDIRECT

router = APIRouter(tags=["funnels"])

LISTING = Listing("funnels", {"name": 1}, "name")
#: Nodes of the map: an organization with more shows the first by name.
MOST_MAPPED = 1_000

FunnelId = Annotated[str, Path(min_length=1, max_length=200)]


class NewFunnel(Body):
    """``funnel_id`` is the word that the funnel's messages carry."""

    funnel_id: orders.FunnelId
    name: str = Field(default="", max_length=200)


class FunnelChange(Body):
    """Absent fields stay; ``fallback`` null takes the fallback sequence away."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    auto: bool | None = None
    fallback: UUID | None = None


class Assignment(Body):
    funnel_id: orders.FunnelId
    sequence_id: UUID


class BulkAssignment(Body):
    """Every sequence to every funnel; ``assign`` False takes the assignments away."""

    funnel_ids: list[orders.FunnelId] = Field(min_length=1, max_length=orders.MOST)
    sequence_ids: list[UUID] = Field(min_length=1, max_length=orders.MOST)
    assign: bool = True


class NewForm(Body):
    """``origins``: sites that may post from a browser (none: any). ``renew``: another key, the old one ends."""

    origins: list[Annotated[str, Field(pattern=ORIGIN)]] = Field(default=[], max_length=20)
    redirect_to: str | None = Field(default=None, pattern=REDIRECT)
    renew: bool = False


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """A funnel; its ``id`` is the word its messages carry."""
    return {**present.shown(document), "id": document["funnel_id"]}


async def _show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [shown(each) for each in found]


async def _funnel(context: Context, funnel_id: str) -> dict[str, Any]:
    await context.reach("funnels")
    collection = await context.parts.views.collection("funnels")
    found = await collection.find_one(context.scope.filter({"funnel_id": funnel_id}))
    if found is None:
        raise NotFound("funnel")
    return found


@router.get("/funnels", response_model=DocumentPage)
async def funnels(
    asked: Paging,
    sequence_id: UUID | None = Query(default=None, description="Those whose leads this sequence takes."),
    context: Context = may("sequences:read"),
) -> dict[str, Any]:
    """Funnels by name."""
    return await listed(context, LISTING, asked, {"sequences": sequence_id and str(sequence_id)}, _show)


@router.post("/funnels", response_model=Created, status_code=201)
async def create(body: NewFunnel, context: Context = may("sequences:write")) -> Response:
    """Makes a funnel; one that exists gets the name."""
    return await context.change(lambda _: orders.CreateFunnel(funnel_id=body.funnel_id, name=body.name), status=201)


@router.get("/funnels/map", response_model=Created)
async def drawn(context: Context = may("sequences:read")) -> dict[str, Any]:
    """Funnels and sequences as nodes, assignments and fallbacks as edges."""
    await context.reach("funnels", "sequences")
    funnels = await context.parts.views.collection("funnels")
    sequences = await context.parts.views.collection("sequences")
    wanted = {"funnel_id": 1, "name": 1, "auto": 1, "fallback": 1, "sequences": 1}
    sources = await funnels.find(context.scope.filter(), wanted, sort=[("name", 1)], limit=MOST_MAPPED).to_list()
    shown_fields = {"name": 1, "status": 1}
    condition = context.scope.filter({"status": {"$ne": "archived"}})
    targets = await sequences.find(condition, shown_fields, sort=[("name", 1)], limit=MOST_MAPPED).to_list()
    there = {each["_id"] for each in targets}
    nodes = [
        {"id": f"funnel:{each['funnel_id']}", "kind": "funnel", "name": each["name"], "auto": each.get("auto", True)}
        for each in sources
    ]
    nodes += [
        {"id": f"sequence:{each['_id']}", "kind": "sequence", "name": each.get("name"), "status": each.get("status")}
        for each in targets
    ]
    edges = [
        {"from": f"funnel:{each['funnel_id']}", "to": f"sequence:{sequence_id}", "kind": kind}
        for each in sources
        for kind, ids in (("assigned", each.get("sequences") or ()), ("fallback", [each.get("fallback")]))
        for sequence_id in ids
        if sequence_id in there
    ]
    return {"nodes": nodes, "edges": edges}


@router.get("/funnels/{funnel_id}", response_model=Document)
async def funnel(funnel_id: FunnelId, context: Context = may("sequences:read")) -> dict[str, Any]:
    """A funnel."""
    return shown(await _funnel(context, funnel_id))


@router.patch("/funnels/{funnel_id}", response_model=Created)
async def change(funnel_id: FunnelId, body: FunnelChange, context: Context = may("sequences:write")) -> Response:
    """Renames a funnel, switches automatic enrolment, chooses the sequence for leads that no other takes."""
    no_fallback = "fallback" in body.model_fields_set and body.fallback is None
    return await context.change(
        lambda _: orders.SetFunnel(
            funnel_id=funnel_id, name=body.name, auto=body.auto, fallback=body.fallback, no_fallback=no_fallback
        )
    )


@router.post("/funnels/assign", response_model=Created)
async def assign(body: Assignment, context: Context = may("sequences:write")) -> Response:
    """The sequence takes leads of the funnel."""
    return await context.change(
        lambda _: orders.AssignSequences(funnel_ids=[body.funnel_id], sequence_ids=[body.sequence_id])
    )


@router.post("/funnels/unassign", response_model=Created)
async def unassign(body: Assignment, context: Context = may("sequences:write")) -> Response:
    """The sequence takes leads of the funnel no more."""
    return await context.change(
        lambda _: orders.UnassignSequences(funnel_ids=[body.funnel_id], sequence_ids=[body.sequence_id])
    )


@router.post("/funnels/bulk-assign", response_model=Created)
async def assign_many(body: BulkAssignment, context: Context = may("sequences:write")) -> Response:
    """Assigns, or takes away, many at once, all or none."""
    order = orders.AssignSequences if body.assign else orders.UnassignSequences
    return await context.change(lambda _: order(funnel_ids=body.funnel_ids, sequence_ids=body.sequence_ids))


@router.put("/funnels/{funnel_id}/form", response_model=Created)
async def open_form(
    funnel_id: FunnelId, body: NewForm | None = None, context: Context = may("sequences:write")
) -> Response:
    """Opens the funnel's web form, or changes it. Pages post to ``/api/v1/forms/{form_key}``; the key is no secret."""
    asked = body or NewForm()
    known = (await _funnel(context, funnel_id)).get("form") or {}
    key = known.get("form_key") if not asked.renew else None

    async def work(command_id: str) -> Done:
        form_key = key or secrets.token_urlsafe(16)
        order = orders.OpenForm(
            funnel_id=funnel_id, form_key=form_key, origins=asked.origins, redirect_to=asked.redirect_to
        )
        answer = await context.parts.commands.send(context.principal, order, command_id)
        return Done(answer.result, answer.position)

    return await context.once(work)


@router.delete("/funnels/{funnel_id}/form", response_model=Created)
async def close_form(funnel_id: FunnelId, context: Context = may("sequences:write")) -> Response:
    """Closes the web form: its key takes no more leads."""
    return await context.change(lambda _: orders.CloseForm(funnel_id=funnel_id))


@router.get("/sequences/{sequence_id}/funnels", response_model=Items)
async def funnels_of(sequence_id: UUID, context: Context = may("sequences:read")) -> dict[str, Any]:
    """The funnels whose leads a sequence takes; none: it takes leads of any."""
    await context.document("sequences", sequence_id, "sequence")
    await context.reach("funnels")
    collection = await context.parts.views.collection("funnels")
    wanted = context.scope.filter({"sequences": str(sequence_id)})
    return {"items": await _show(await collection.find(wanted, sort=[("name", 1)]).to_list())}
