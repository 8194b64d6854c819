"""Web forms: a page of a funnel posts here, without signing in. What it says is believed only as far as a stranger's
word goes: it names a person and their details, never a score, a status, tags or an identity of another system."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError
from starlette.datastructures import FormData

from services.gateway.context import parts_of
from services.gateway.errors import BadRequest, Forbidden, Invalid, NotFound
from services.gateway.lead_fields import checked
from services.gateway.parts import Parts
from services.gateway.shapes import Created
from shared.events.lead import LeadBody, LeadCreated
from shared.events.patterns import FORM_KEY
from shared.events.places import reasons_of
from shared.ids import new_id
from shared.telemetry import counter

router = APIRouter(prefix="/forms", tags=["forms"])

#: Fields of a lead that a form may fill; ``consent_<channel>`` too. Every other field is kept as a custom field.
FIELDS = ("email", "phone", "first_name", "last_name", "company", "title", "timezone", "locale", "source")
CONSENTS = ("consent_email", "consent_sms", "consent_whatsapp")
#: People do not see this field; programs fill it.
HONEYPOT = "_gotcha"
MOST_FIELDS = 60
LONGEST = 2_000
_YES, _NO = frozenset({"true", "yes", "1", "on", "y"}), frozenset({"false", "no", "0", "off", "n", ""})

WINDOW_SECONDS = 60
POSTS_PER_CALLER = 20
POSTS_PER_FORM = 600

_posts = counter("form_posts_total", "Posts to web forms", ["result"])

FormKey = Annotated[str, Path(pattern=FORM_KEY)]
_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "object", "additionalProperties": True}, "example": {"email": "ada@example.com"}}
            for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
        },
    }
}


@router.options("/{form_key}", include_in_schema=False)
async def preflight(form_key: FormKey, request: Request) -> Response:
    """What a browser asks before it posts from another site."""
    funnel = await _funnel(parts_of(request), form_key)
    headers = _cors(request, funnel)
    asked = {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Content-Type",
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers={**headers, **asked})


@router.post("/{form_key}", response_model=Created, status_code=202, openapi_extra=_DESCRIBED)
async def post(form_key: FormKey, request: Request) -> Response:
    """Takes a lead from the funnel's web form, form-encoded or JSON. ``email`` or ``phone`` is required; unknown
    fields are kept as custom fields. A browser that posts a form is sent to the form's page of thanks."""
    parts = parts_of(request)
    funnel = await _funnel(parts, form_key)
    headers = _cors(request, funnel)
    caller = request.client.host if request.client else "unknown"
    await parts.form_tries.count(f"caller:{form_key}:{caller}", POSTS_PER_CALLER, WINDOW_SECONDS)
    await parts.form_tries.count(f"form:{form_key}", POSTS_PER_FORM, WINDOW_SECONDS)
    fields = await _fields(request)
    if fields.pop(HONEYPOT, ""):
        _posts.labels("trapped").inc()  # who fills it learns nothing
        return _thanks(request, funnel, headers)
    message = _message(funnel, fields)
    await parts.commands.send_as("funnel", funnel["organization_id"], message, new_id().hex)
    _posts.labels("taken").inc()
    return _thanks(request, funnel, headers)


async def _funnel(parts: Parts, form_key: str) -> dict[str, Any]:
    collection = await parts.views.collection("funnels")
    found = await collection.find_one({"form.form_key": form_key})
    if found is None:
        raise NotFound("form")
    return found


def _cors(request: Request, funnel: Mapping[str, Any]) -> dict[str, str]:
    """Raises Forbidden for a page of another site, where the form names its own."""
    origin = request.headers.get("origin")
    allowed = funnel["form"].get("origins") or ()
    if origin is None:
        return {}
    if allowed and origin not in allowed:
        raise Forbidden("to post from this site")
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


async def _fields(request: Request) -> dict[str, str]:
    """Field names and texts. Raises BadRequest or Invalid."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            given = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            raise BadRequest("the body is no JSON", code="bad_json") from None
        if not isinstance(given, dict):
            raise BadRequest("the body must be a JSON object", code="bad_json")
    elif kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        given = _plain(await request.form(max_files=0, max_fields=MOST_FIELDS + 1))
    else:
        raise BadRequest("send a form or a JSON object", code="bad_content_type")
    if len(given) > MOST_FIELDS:
        raise Invalid(f"a form has at most {MOST_FIELDS} fields", code="invalid")
    fields: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str | int | float | bool):
            raise _wrong(name, "must be a text")
        text = str(value).strip()
        if len(text) > LONGEST:
            raise _wrong(name, f"must have at most {LONGEST} characters")
        fields[name[:200]] = text
    return fields


def _plain(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _message(funnel: Mapping[str, Any], fields: Mapping[str, str]) -> LeadCreated:
    """Raises Invalid, naming fields as the form does."""
    lead: dict[str, Any] = {name: fields[name] for name in FIELDS if fields.get(name)}
    consent = {name.removeprefix("consent_"): _consent(name, fields[name]) for name in CONSENTS if name in fields}
    if consent:
        lead["consent"] = consent
    others = {name: text for name, text in fields.items() if name not in (*FIELDS, *CONSENTS) and text}
    if others:
        lead["custom_fields"] = others
    if not lead.get("email") and not lead.get("phone"):
        raise _wrong("email", "is required, or phone")
    try:
        body = checked(LeadBody.model_validate(lead))
    except ValidationError as error:
        reasons = reasons_of(error, lead)
        raise Invalid("the form has errors", code="invalid", errors=reasons) from None
    return LeadCreated(organization_id=funnel["organization_id"], funnel_id=funnel["funnel_id"], lead=body)


def _consent(name: str, text: str) -> bool:
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise _wrong(name, "must be yes or no")


def _wrong(field: str, problem: str) -> Invalid:
    return Invalid(f"{field} {problem}", code="invalid", errors=[{"field": field, "problem": problem}])


def _thanks(request: Request, funnel: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """A browser is sent on, or thanked; a program gets JSON."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response(orjson.dumps({"taken": True}), 202, dict(headers), "application/json")
    redirect_to = funnel["form"].get("redirect_to")
    if redirect_to:
        return Response(status_code=303, headers={**headers, "Location": redirect_to})
    page = f"<!doctype html><title>{escape(funnel['name'])}</title><p>Thank you.</p>"
    return Response(page, 200, dict(headers), "text/html; charset=utf-8")
