"""Leads as files, one person's own data, and how far an erasure is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from services.gateway.context import Context, may
from services.gateway.filters import Filtered
from services.gateway.lead_data import everything
from services.gateway.shapes import Created, ErasureState
from shared.lead_csv import COLUMNS, lines, row_of
from shared.persistence.erasure import receipts
from shared.persistence.mongo import Collection

router = APIRouter(prefix="/leads", tags=["leads"])

#: Rows written at once.
ROWS = 200


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A CSV file."}},
)
async def export(wanted: Filtered, context: Context = may("leads:export")) -> StreamingResponse:
    """Leads as a CSV file in the columns that an import reads, all but erased ones when nothing is asked. A cell that a
    spreadsheet would take for a formula has an apostrophe in front."""
    await context.reach("leads")
    await context.record("leads_exported", by=sorted(wanted.model_dump(exclude_none=True)))
    collection = await context.parts.views.collection("leads")
    stream = _csv(collection, context.scope.filter(wanted.alive()))
    headers = {"Content-Disposition": 'attachment; filename="leads.csv"'}
    return StreamingResponse(stream, media_type="text/csv; charset=utf-8", headers=headers)


async def _csv(collection: Collection, wanted: dict[str, Any]) -> AsyncIterator[str]:
    yield lines([COLUMNS])
    rows: list[list[str]] = []
    async for document in collection.find(wanted, sort=[("captured_at", -1), ("_id", 1)]):
        rows.append(row_of(document))
        if len(rows) == ROWS:
            yield lines(rows)
            rows = []
    yield lines(rows)


@router.get("/{lead_id}/data", response_model=Created)
async def data(lead_id: UUID, context: Context = may("leads:export")) -> Response:
    """Everything that is held on a person, as JSON: fields, enrollments, tasks, messages as they were sent, timeline,
    and the lead's events from the log in clear."""
    await context.document("leads", lead_id, "lead")
    await context.record("person_exported", target=str(lead_id))
    held = await everything(context, lead_id)
    body = orjson.dumps(held, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    headers = {"Content-Disposition": f'attachment; filename="lead-{lead_id}.json"'}
    return Response(body, media_type="application/json", headers=headers)


@router.get("/{lead_id}/erasure", response_model=ErasureState)
async def erasure(lead_id: UUID, context: Context = may("leads:erase")) -> dict[str, Any]:
    """How far an erasure is: what is still held, place by place. The log gave up its part with the order itself."""
    found = await context.document("leads", lead_id, "lead")
    parts = context.parts
    places = await receipts(parts.views, parts.database, parts.ledger, lead_id)
    erased = bool(found.get("erased"))
    return {
        "erased": erased,
        "complete": erased and not any(each.left for each in places),
        "places": [{"place": each.place, "left": each.left} for each in places],
    }
