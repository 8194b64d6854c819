"""Attachments: files that e-mails carry."""

from __future__ import annotations

import asyncio
import unicodedata
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from services.gateway.context import Context, may
from services.gateway.errors import BadRequest, Invalid, NotFound
from services.gateway.file_kinds import BadFile, kind_of
from services.gateway.lists import Listing, Paging, listed
from services.gateway.shapes import AttachmentPage, Created
from shared.events.attachment import LARGEST_ATTACHMENT, AddAttachment, FileFacts, RemoveAttachment
from shared.ids import derived_id

router = APIRouter(prefix="/attachments", tags=["sequences"])

LISTING = Listing("attachments", {"added_at": 1, "name": 1}, "-added_at")
_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                },
                "example": {"file": "%PDF-1.7 …"},
            },
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "%PDF-1.7 …",
            },
        },
    }
}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
#: A downloaded file is kept, never shown within the application's own pages.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=3600",
}


@router.get("", response_model=AttachmentPage)
async def attachments(asked: Paging, context: Context = may("sequences:read")) -> dict[str, Any]:
    """Files that e-mails may carry, the newest first."""

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**each, "id": each["_id"]} for each in found]

    return await listed(context, LISTING, asked, {"removed": False}, show)


@router.post("", response_model=Created, status_code=201, openapi_extra=_DESCRIBED)
async def upload(
    request: Request,
    name: Annotated[str | None, Query(max_length=300, description="Of a file that is sent as it is.")] = None,
    context: Context = may("sequences:write"),
) -> Response:
    """Keeps a file of at most 5 MB, in a form or as it is. The same file with the same name is the same attachment;
    its id stands in the `attachments` of a message, and never means other bytes."""
    name, data = await _received(request, name)
    if len(data) > LARGEST_ATTACHMENT:
        raise _bad(f"is larger than {LARGEST_ATTACHMENT >> 20} MB", code="file_too_large")
    try:
        content_type = await asyncio.to_thread(kind_of, name, data)
    except BadFile as error:
        raise _bad(str(error), code="bad_file") from None
    file = FileFacts(name=name, content_type=content_type, size=len(data), sha256=sha256(data).hexdigest())
    organization_id = context.principal.organization_id
    attachment_id = derived_id("attachment", organization_id, file.sha256, name)
    await context.parts.files.put(organization_id, data)
    return await context.change(
        lambda _: AddAttachment(attachment_id=attachment_id, file=file),
        status=201,
        show=lambda answer: {**answer.result, "id": str(attachment_id), **file.model_dump()},
    )


@router.get("/{attachment_id}", response_class=Response, responses=_BYTES)
async def download(attachment_id: UUID, context: Context = may("sequences:read")) -> Response:
    """The file's bytes, to be kept under its name. One that was removed stays here for what was sent with it."""
    found = await context.document("attachments", attachment_id, "attachment")
    data = await context.parts.files.get(context.principal.organization_id, found["sha256"])
    if data is None:
        raise NotFound("file any more")
    plain = found["name"].encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_")
    headers = {
        **_SAFE,
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(found['name'], safe='')}",
        "ETag": f'"{found["sha256"]}"',
    }
    return Response(data, headers=headers, media_type=found["content_type"])


@router.delete("/{attachment_id}", response_model=Created)
async def delete(attachment_id: UUID, context: Context = may("sequences:write")) -> Response:
    """Takes a file away from new content. Refused while active sequences use it; what was published before and is
    still running keeps it."""
    return await context.change(lambda _: RemoveAttachment(attachment_id=attachment_id))


async def _received(request: Request, name: str | None) -> tuple[str, bytes]:
    """Name and bytes. Raises BadRequest, Invalid."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=5) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                problem = {"field": "file", "problem": "is required"}
                raise BadRequest("the form has no file", code="no_file", errors=[problem])
            name, body = name or file.filename, await file.read()
    if not name:
        problem = {"field": "name", "problem": "is required"}
        raise Invalid("the file has no name", code="no_name", errors=[problem])
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2].strip()), body


def _bad(problem: str, *, code: str) -> Invalid:
    return Invalid(f"the file {problem}", code=code, errors=[{"field": "file", "problem": problem}])
