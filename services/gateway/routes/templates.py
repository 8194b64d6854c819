"""Sequences to start from, the product's and the organization's own; and sequences as YAML."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import Invalid, NotFound
from services.gateway.masking import as_seen_by, is_masked, unmasked
from services.gateway.shapes import Created, Items
from services.gateway.template_library import built_in
from services.gateway.yaml_form import BadYaml, parse, written
from shared.events.definition import SequenceDefinition
from shared.events.outline import count_steps, estimated_minutes, sequence_type
from shared.events.places import reasons_of
from shared.events.sequence import DraftSequence
from shared.events.template import RemoveTemplate, SaveTemplate
from shared.ids import derived_id

router = APIRouter(tags=["sequence templates"])

MOST_SHOWN = 1_000
_YAML = {"content": {"application/yaml": {"schema": {"type": "string"}}}}
_WRITTEN = {"content": {"application/yaml": {"schema": {"type": "object", "description": "A definition, as YAML."}}}}


class Use(Body):
    """``name`` left out: the template's."""

    name: str | None = Field(default=None, min_length=1, max_length=200)


class NewTemplate(Body):
    """``name`` and ``description`` left out: the sequence's."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=4_000)


@router.get("/sequence-templates", response_model=Items)
async def templates(context: Context = may("sequences:read")) -> dict[str, Any]:
    """The product's templates, then the organization's own by name."""
    await context.reach("templates")
    collection = await context.parts.views.collection("templates")
    own = await collection.find(context.scope.filter(), sort=[("name", 1), ("_id", 1)], limit=MOST_SHOWN).to_list()
    known = [_shown(each, "built_in", _plain(definition)) for each, definition in built_in().items()]
    return {"items": [*known, *(_shown(each["_id"], "own", each["definition"]) for each in own)]}


@router.get("/sequence-templates/{template_id}", response_model=Created)
async def template(template_id: str, context: Context = may("sequences:read")) -> dict[str, Any]:
    """A template with its definition."""
    source, definition = await _definition(context, template_id)
    return {**_shown(template_id, source, definition), "definition": as_seen_by(context.principal, definition)}


@router.post("/sequence-templates/{template_id}/use", response_model=Created, status_code=201)
async def use(template_id: str, body: Use | None = None, context: Context = may("sequences:write")) -> Response:
    """Makes a draft from a template."""
    _, plain = await _definition(context, template_id)
    name = body.name if body and body.name else plain["name"]
    definition = SequenceDefinition.model_validate({**plain, "name": name})
    return await _drafted(context, definition)


@router.delete("/sequence-templates/{template_id}", response_model=Created)
async def remove(template_id: UUID, context: Context = may("sequences:approve")) -> Response:
    """Takes one of the organization's own templates away; sequences made from it stay."""
    return await context.change(lambda _: RemoveTemplate(template_id=template_id))


@router.post("/sequences/{sequence_id}/save-as-template", response_model=Created, status_code=201)
async def save(
    sequence_id: UUID, body: NewTemplate | None = None, context: Context = may("sequences:write")
) -> Response:
    """Keeps what the sequence says now as a template of the organization."""
    asked = body or NewTemplate()
    return await context.change(
        lambda command_id: SaveTemplate(
            template_id=derived_id("template", command_id),
            sequence_id=sequence_id,
            name=asked.name,
            description=asked.description,
        ),
        status=201,
    )


@router.get("/sequences/{sequence_id}/export", response_class=Response, responses={200: _WRITTEN})
async def export(sequence_id: UUID, context: Context = may("sequences:read")) -> Response:
    """What the sequence says now, its draft before its running version, as YAML."""
    found = await context.document("sequences", sequence_id, "sequence")
    seen = as_seen_by(context.principal, found.get("definition") or {})
    definition = SequenceDefinition.model_validate(seen)
    headers = {"Content-Disposition": f'attachment; filename="sequence-{sequence_id}.yaml"'}
    return Response(written(definition), headers=headers, media_type="application/yaml")


@router.post(
    "/sequences/import",
    response_model=Created,
    status_code=201,
    openapi_extra={"requestBody": {"required": True, **_YAML}},
)
async def import_(request: Request, context: Context = may("sequences:write")) -> Response:
    """Makes a draft from YAML as ``export`` writes it."""
    raw = await request.body()
    try:
        plain = await asyncio.to_thread(parse, raw)
    except BadYaml as error:
        raise Invalid(str(error), code="bad_yaml", errors=[{"field": "body", "problem": str(error)}]) from None
    try:
        definition = SequenceDefinition.model_validate(plain)
    except ValidationError as error:
        reasons = [{**each, "field": each["field"] or "body"} for each in reasons_of(error, plain)]
        detail = "; ".join(f"{each['field']}: {each['problem']}" for each in reasons)
        raise Invalid(detail, code="invalid", errors=reasons) from None
    if is_masked(definition.steps):
        definition = definition.model_copy(update={"steps": unmasked(definition.steps, {})})
    return await _drafted(context, definition)


async def _drafted(context: Context, definition: SequenceDefinition) -> Response:
    return await context.change(
        lambda command_id: DraftSequence(sequence_id=derived_id("sequence", command_id), definition=definition),
        status=201,
    )


async def _definition(context: Context, template_id: str) -> tuple[str, dict[str, Any]]:
    """Whose template it is, and what it says. Raises NotFound."""
    known = built_in().get(template_id)
    if known is not None:
        return "built_in", _plain(known)
    try:
        own = await context.document("templates", UUID(template_id), "template")
    except ValueError:
        raise NotFound("template") from None
    return "own", own["definition"]


def _plain(definition: SequenceDefinition) -> dict[str, Any]:
    return definition.model_dump(mode="json", by_alias=True)


def _shown(template_id: str, source: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    steps = definition["steps"]
    return {
        "id": template_id,
        "source": source,
        **{name: definition.get(name) or "" for name in ("name", "description", "category", "audience")},
        "type": sequence_type(steps),
        "steps_count": count_steps(steps),
        "estimated_minutes": estimated_minutes(steps),
    }
