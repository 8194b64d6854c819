"""Importing a file of leads: a look at it first, then the import with progress and a report."""

from __future__ import annotations

import tempfile
from itertools import islice
from typing import IO, Any, BinaryIO, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from services.gateway.context import Context, may
from services.gateway.errors import BadRequest, Invalid, NotFound
from services.gateway.imports import Order
from services.gateway.lists import Listing, Paging, paged
from services.gateway.shapes import Created, Document, DocumentPage
from shared import lead_file

router = APIRouter(prefix="/leads", tags=["leads"])

LISTING = Listing("lead_imports", {"started_at": -1}, "-started_at")
#: Rows shown before an import.
SHOWN_ROWS = 10
#: A file up to this size stays in memory; a larger one goes to disk, unlinked.
IN_MEMORY_BYTES = 1 << 20
_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": "email,first_name\nada@example.com,Ada\n"},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "mapping": {"type": "string", "description": "JSON: column to field."},
                    },
                },
                "example": {"file": "email,first_name\nada@example.com,Ada\n"},
            },
        },
    }
}


@router.post("/import", response_model=Created, status_code=202, openapi_extra=_DESCRIBED)
async def import_(
    request: Request,
    preview: bool = Query(default=False, description="Only look: format, suggested mapping, first rows."),
    funnel: str = Query(default="import", min_length=1, max_length=200, description="What the leads count for."),
    mapping: str | None = Query(
        default=None, max_length=20_000, description="JSON: column to field, custom:<name>, or empty to leave it out."
    ),
    context: Context = may("leads:write"),
) -> Response:
    """Imports leads from a CSV file with a header line. Encoding and delimiter are found; columns that the mapping
    does not name are taken as the preview suggests; one of them must be the e-mail or the phone.
    ``leads/imports/{id}`` shows progress and, by line and field, bad rows."""
    source = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  an import that begins closes it
    begun = False
    try:
        name, mapped = await _received(request, source, mapping)
        source.seek(0)
        form, whole = _understood(source.read(lead_file.HEAD_BYTES), mapped)
        source.seek(0)
        file = cast("BinaryIO", source)
        if preview:
            return _json(_preview(file, form, whole, context.principal.organization_id), 200)
        if wrong := _who(whole):
            raise Invalid(f"the mapping {wrong[0]['problem']}", code="nobody_named", errors=wrong)
        principal = context.principal
        order = Order(principal.organization_id, principal.actor, funnel, name, file, form, whole)
        import_id = await context.parts.imports.start(order)
        begun = True
    finally:
        if not begun:
            source.close()
    return _json({"import_id": import_id}, 202)


@router.get("/imports", response_model=DocumentPage)
async def imports(asked: Paging, context: Context = may("leads:read")) -> dict[str, Any]:
    """Imports, newest first."""
    parts = context.parts

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**parts.imports.shown(each), "problems": []} for each in found]

    return await paged(parts.imports.collection, context, LISTING, asked, {}, show)


@router.get("/imports/{import_id}", response_model=Document)
async def one(import_id: UUID, context: Context = may("leads:read")) -> dict[str, Any]:
    """An import: progress while it runs, then the report."""
    found = await context.parts.imports.one(context.scope, str(import_id))
    if found is None:
        raise NotFound("import")
    return context.parts.imports.shown(found)


async def _received(request: Request, source: IO[bytes], mapping: str | None) -> tuple[str | None, str | None]:
    """Fills ``source``; answers the file's name and the mapping as text. Raises BadRequest."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=5) as form:
            file, given = form.get("file"), form.get("mapping")
            if not isinstance(file, UploadFile):
                problem = {"field": "file", "problem": "is required"}
                raise BadRequest("the form has no file", code="no_file", errors=[problem])
            while part := await file.read(IN_MEMORY_BYTES):
                source.write(part)
            return file.filename, given if isinstance(given, str) else mapping
    if kind not in {"text/csv", "text/plain", "application/octet-stream"}:
        raise BadRequest("send a CSV file as text/csv or in a form", code="bad_content_type")
    async for part in request.stream():
        source.write(part)
    return None, mapping


def _understood(head: bytes, mapping: str | None) -> tuple[lead_file.Format, dict[str, str]]:
    """How the file is written, and its whole mapping. Raises Invalid."""
    try:
        form = lead_file.format_of(head)
        return form, lead_file.checked(_mapping(mapping), form.columns)
    except lead_file.UnreadableFile as error:
        raise Invalid(str(error), code="unreadable_file", errors=[{"field": "file", "problem": str(error)}]) from None
    except lead_file.BadMapping as error:
        problem = {"field": f"mapping.{error.column}", "problem": error.problem}
        raise Invalid(str(error), code="invalid", errors=[problem]) from None


def _who(mapping: dict[str, str]) -> list[dict[str, str]]:
    """What is wrong with a mapping by which nobody is named; nothing when it is good."""
    try:
        lead_file.must_name_leads(mapping)
    except lead_file.NobodyNamed as error:
        return [{"field": "mapping", "problem": str(error)}]
    return []


def _preview(source: BinaryIO, form: lead_file.Format, mapping: dict[str, str], organization_id: str) -> dict[str, Any]:
    rows = islice(lead_file.rows_of(source, form, mapping, organization_id, "preview"), SHOWN_ROWS)
    return {
        "encoding": form.encoding,
        "delimiter": form.delimiter,
        "columns": list(form.columns),
        "mapping": mapping,
        "fields": list(lead_file.FIELDS),
        "errors": _who(mapping),
        "rows": [
            {
                "line": row.line,
                "lead": row.body and row.body["lead"],
                "field": row.field,
                "problem": row.problem,
            }
            for row in rows
        ],
    }


def _mapping(text: str | None) -> dict[str, str]:
    """Raises Invalid."""
    if not text:
        return {}
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
        problem = "must be a JSON object of column to field"
        raise Invalid(f"mapping {problem}", code="invalid", errors=[{"field": "mapping", "problem": problem}])
    return given


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
