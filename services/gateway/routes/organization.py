"""The organization: settings, members, API keys, senders, suppressions."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, EmailStr, Field

from services.gateway.access import EVERY_PERMISSION
from services.gateway.bodies import Body
from services.gateway.context import Context, Done, may
from services.gateway.directory import hash_secret
from services.gateway.errors import Invalid, NotFound
from services.gateway.shapes import Created, Items
from shared.events.definition import Brake, Limits, QuietHours, RampUp, Window
from shared.events.organization import (
    AddMember,
    IssueApiKey,
    ReleaseSender,
    RevokeApiKey,
    Role,
    ScoreChange,
    SetMember,
    SetOrganization,
    SetSender,
    SuppressAddress,
    UnsuppressAddress,
)
from shared.events.patterns import CHOSEN_ID
from shared.ids import derived_id

router = APIRouter(tags=["settings"])

KEY_PREFIX = "tendril_"
SenderId = Annotated[str, Path(pattern=CHOSEN_ID)]
Password = Annotated[str, Field(min_length=8, max_length=1_000)]


class OrganizationChange(Body):
    name: str | None = Field(default=None, min_length=1, max_length=200)
    timezone: str | None = Field(default=None, max_length=64)
    postal_address: str | None = Field(default=None, max_length=2_000)
    windows: list[Window] | None = None
    quiet_hours: QuietHours | None = None
    limits: Limits | None = None
    score_rules: dict[str, ScoreChange] | None = None
    max_open_enrollments: int | None = Field(
        default=None, ge=0, le=1_000, description="Of one lead at a time; 0: as many as there are."
    )


class NewMember(Body):
    email: EmailStr
    name: str = Field(default="", max_length=200)
    role: Role
    password: Password | None = None


class MemberChange(Body):
    role: Role | None = None
    password: Password | None = None
    active: bool | None = None


class NewApiKey(Body):
    name: str = Field(min_length=1, max_length=200)
    role: Role
    scopes: list[str] = Field(default=[], max_length=50)


class SenderChange(Body):
    name: str = Field(max_length=200)
    email: EmailStr
    limits: Limits = Limits()
    active: bool = True
    ramp_up: RampUp | None = None
    brake: Brake = Brake()


class NewSender(SenderChange):
    sender_id: str = Field(pattern=CHOSEN_ID)


class Suppression(Body):
    """``address`` is a full address or ``@domain``."""

    address: str = Field(min_length=2, max_length=320)
    channel: Literal["email", "sms", "whatsapp"] = "email"


class WebhookSecret(BaseModel):
    secret: str = Field(description="whsec_ and base64. It changes when a key is put in front of SECRET_KEYS.")


async def _organization(context: Context) -> dict[str, Any]:
    await context.reach("organizations")
    collection = await context.parts.views.collection("organizations")
    found = await collection.find_one(context.scope.filter())
    if found is None:
        raise NotFound("organization")
    return found


@router.get("/organization", response_model=Created)
async def organization(context: Context = may("organization:read")) -> dict[str, Any]:
    """Settings of the organization."""
    found = await _organization(context)
    names = (
        "name",
        "timezone",
        "postal_address",
        "windows",
        "quiet_hours",
        "limits",
        "score_rules",
        "max_open_enrollments",
        "founded_at",
    )
    return {"id": found["_id"], **{name: found.get(name) for name in names}}


@router.patch("/organization", response_model=Created)
async def set_organization(body: OrganizationChange, context: Context = may("organization:write")) -> Response:
    """Changes settings; absent ones stay."""
    return await context.change(lambda _: SetOrganization(**body.model_dump()))


@router.get("/members", response_model=Items)
async def members(context: Context = may("tasks:read", or_with="members:read")) -> dict[str, Any]:
    """Everybody who may sign in, or might. Without the right to read members: their ids, names and whether they are
    active, to whom leads and tasks may be given."""
    found = await _organization(context)
    if "members:read" not in context.principal.permissions:
        known = [
            {"id": each, "name": member.get("name") or member["email"], "active": bool(member.get("active"))}
            for each, member in found.get("members", {}).items()
        ]
        return {"items": sorted(known, key=lambda row: str(row["name"]).casefold())}
    shown = ("email", "name", "role", "active", "added_at")
    rows = [
        {
            "id": member_id,
            **{name: member.get(name) for name in shown},
            "has_password": bool(member.get("password_hash")),
        }
        for member_id, member in found.get("members", {}).items()
    ]
    return {"items": sorted(rows, key=lambda row: str(row["email"]))}


@router.post("/members", response_model=Created, status_code=201)
async def add_member(body: NewMember, context: Context = may("members:write")) -> Response:
    """Adds a member, with a role that holds no more than the caller's."""
    context.principal.require_all_of(body.role)

    async def make(command_id: str) -> AddMember:
        hashed = await context.parts.sign_in.hash_password(body.password) if body.password else None
        member_id = derived_id("member", command_id)
        return AddMember(member_id=member_id, email=body.email, name=body.name, role=body.role, password_hash=hashed)

    return await context.change(make, status=201)


@router.patch("/members/{member_id}", response_model=Created)
async def set_member(member_id: UUID, body: MemberChange, context: Context = may("members:write")) -> Response:
    """Changes a member's role or password, or lets them sign in no more. Where they are signed in, they must do so
    again; who changes themselves gets new tokens with the answer."""
    member = (await _organization(context)).get("members", {}).get(str(member_id))
    if member is not None:
        context.principal.require_all_of(member["role"])  # nor is the password of somebody mightier set
    if body.role is not None:
        context.principal.require_all_of(body.role)

    principal, sign_in = context.principal, context.parts.sign_in
    themselves = principal.kind == "member" and principal.id == member_id

    async def work(command_id: str) -> Done:
        hashed = await sign_in.hash_password(body.password) if body.password else None
        order = SetMember(member_id=member_id, role=body.role, active=body.active, password_hash=hashed)
        answer = await context.parts.commands.send(principal, order, command_id)
        tokens = {}
        if themselves and answer.position is not None:
            tokens = asdict(await sign_in.again(principal, int(answer.position.rpartition("-")[2])))
        return Done({**answer.result, **tokens}, answer.position)

    return await context.once(work, keep=not themselves)


@router.get("/api-keys", response_model=Items)
async def api_keys(context: Context = may("api_keys:read")) -> dict[str, Any]:
    """API keys, without their secrets."""
    found = await _organization(context)
    shown = ("name", "role", "scopes", "revoked", "issued_at")
    keys = found.get("api_keys", {}).items()
    return {"items": [{"id": key_id, **{name: key.get(name) for name in shown}} for key_id, key in keys]}


@router.post("/api-keys", response_model=Created, status_code=201)
async def issue_api_key(body: NewApiKey, context: Context = may("api_keys:write")) -> Response:
    """Issues a key. ``key`` in the answer is shown this once."""
    unknown = sorted(set(body.scopes) - EVERY_PERMISSION)
    if unknown:
        raise Invalid(
            f"unknown scopes: {', '.join(unknown)}",
            code="unknown_scope",
            errors=[{"field": "scopes", "problem": f"{scope} is no permission"} for scope in unknown],
        )
    context.principal.require_all_of(body.role, body.scopes)
    secret = KEY_PREFIX + secrets.token_urlsafe(32)

    async def work(command_id: str) -> Done:
        key_id = derived_id("api_key", command_id)
        order = IssueApiKey(
            key_id=key_id, name=body.name, role=body.role, scopes=body.scopes, secret_hash=hash_secret(secret)
        )
        answer = await context.parts.commands.send(context.principal, order, command_id)
        return Done({"id": str(key_id), "key": secret, "name": body.name, "role": body.role}, answer.position, 201)

    return await context.once(work, keep=False)


@router.delete("/api-keys/{key_id}", response_model=Created)
async def revoke_api_key(key_id: UUID, context: Context = may("api_keys:write")) -> Response:
    """Revokes a key, at once."""
    return await context.change(lambda _: RevokeApiKey(key_id=key_id))


@router.get("/senders", response_model=Items)
async def senders(context: Context = may("organization:read")) -> dict[str, Any]:
    """Senders by id."""
    found = await _organization(context)
    return {"items": [{"id": sender_id, **sender} for sender_id, sender in sorted(found.get("senders", {}).items())]}


@router.post("/senders", response_model=Created, status_code=201)
async def add_sender(body: NewSender, context: Context = may("organization:write")) -> Response:
    """Makes a sender; one with this id is replaced."""
    return await context.change(lambda _: SetSender(**dict(body)), status=201)


@router.put("/senders/{sender_id}", response_model=Created)
async def set_sender(sender_id: SenderId, body: SenderChange, context: Context = may("organization:write")) -> Response:
    """Makes or changes a sender."""
    return await context.change(lambda _: SetSender(sender_id=sender_id, **dict(body)))


@router.post("/senders/{sender_id}/release", response_model=Created)
async def release_sender(sender_id: SenderId, context: Context = may("organization:write")) -> Response:
    """Lets it go on after it has stopped itself; what was counted until then counts no more."""
    return await context.change(lambda _: ReleaseSender(sender_id=sender_id))


@router.get("/suppressions", response_model=Items)
async def suppressions(context: Context = may("organization:read")) -> dict[str, Any]:
    """Suppressed addresses: only their hashes are kept."""
    found = await _organization(context)
    return {"items": [{"id": key, **entry} for key, entry in sorted(found.get("suppressions", {}).items())]}


@router.post("/suppressions", response_model=Created, status_code=201)
async def suppress(body: Suppression, context: Context = may("suppressions:write")) -> Response:
    """Nothing more goes to this address."""
    return await context.change(lambda _: SuppressAddress(channel=body.channel, address=body.address), status=201)


@router.delete("/suppressions", response_model=Created)
async def unsuppress(address: str, channel: str = "email", context: Context = may("suppressions:write")) -> Response:
    """Lifts a suppression made by hand."""
    return await context.change(lambda _: UnsuppressAddress(channel=channel, address=address))


@router.get("/webhooks/secret", response_model=WebhookSecret)
async def webhook_secret(context: Context = may("organization:write")) -> dict[str, Any]:
    """What a receiver verifies our webhooks with, after Standard Webhooks."""
    return {"secret": context.parts.webhook_secret(context.principal.organization_id)}
