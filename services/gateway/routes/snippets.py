"""Snippets: pieces of content that messages share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field, model_validator

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import Conflict, NotFound
from services.gateway.shapes import Created, Items
from shared.events.organization import MOST_SNIPPET, RemoveSnippet, SetSnippet
from shared.events.patterns import SNIPPET_NAME

router = APIRouter(prefix="/snippets", tags=["sequences"])

SnippetName = Annotated[str, Path(pattern=SNIPPET_NAME, description="As in {{ snippets.name }}.")]


class NewSnippet(Body):
    """``html`` left out: the text stands in HTML too."""

    name: str = Field(pattern=SNIPPET_NAME, description="As in {{ snippets.name }}.")
    text: str = Field(min_length=1, max_length=MOST_SNIPPET)
    html: str | None = Field(default=None, min_length=1, max_length=MOST_SNIPPET)


class SnippetChange(Body):
    """What changes; absent fields stay. ``html`` null: the text stands in HTML too."""

    text: str | None = Field(default=None, min_length=1, max_length=MOST_SNIPPET)
    html: str | None = Field(default=None, min_length=1, max_length=MOST_SNIPPET)

    @model_validator(mode="after")
    def _something(self) -> SnippetChange:
        if not self.model_fields_set or ("text" in self.model_fields_set and self.text is None):
            raise ValueError("text or html must be given, and text must not be null")
        return self


async def _known(context: Context) -> dict[str, dict[str, Any]]:
    await context.reach("organizations")
    collection = await context.parts.views.collection("organizations")
    found = await collection.find_one(context.scope.filter(), {"snippets": 1})
    snippets: dict[str, dict[str, Any]] = (found or {}).get("snippets") or {}
    return snippets


@router.get("", response_model=Items)
async def snippets(context: Context = may("sequences:read")) -> dict[str, Any]:
    """Every snippet, by name."""
    known = await _known(context)
    return {"items": [{"id": name, "name": name, **known[name]} for name in sorted(known)]}


@router.post("", response_model=Created, status_code=201)
async def create(body: NewSnippet, context: Context = may("sequences:write")) -> Response:
    """Makes a snippet. Messages that name it show what it says when they are sent."""
    if body.name in await _known(context):
        taken = Conflict("there is such a snippet already", code="snippet_exists")
        taken.errors = [{"field": "name", "problem": "is taken"}]
        raise taken
    return await context.change(
        lambda _: SetSnippet(name=body.name, text=body.text, html=body.html, new=True),
        status=201,
        show=lambda answer: {**answer.result, "id": body.name},
    )


@router.patch("/{snippet_id}", response_model=Created)
async def edit(snippet_id: SnippetName, body: SnippetChange, context: Context = may("sequences:approve")) -> Response:
    """Changes what it says, for every message that is still to be sent: approved ones too, so it is an approver's."""
    known = (await _known(context)).get(snippet_id)
    if known is None:
        raise NotFound("snippet")
    wanted = {"text": known["text"], "html": known.get("html"), **body.model_dump(exclude_unset=True)}
    return await context.change(lambda _: SetSnippet(name=snippet_id, **wanted))


@router.delete("/{snippet_id}", response_model=Created)
async def delete(snippet_id: SnippetName, context: Context = may("sequences:approve")) -> Response:
    """Removes it. Steps that still name it are held, and say so, until it is there again."""
    return await context.change(lambda _: RemoveSnippet(name=snippet_id))
