"""Signing in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel, Field

from services.gateway.authentication import SignedIn
from services.gateway.parts import PartsOf, Reader

router = APIRouter(prefix="/auth", tags=["sign-in"])


class TokenAnswer(BaseModel):
    """``expires_in`` counts seconds. The refresh token is good once."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105  the name of a scheme
    expires_in: int


class RefreshRequest(BaseModel):
    refresh_token: str = Field(min_length=1, max_length=200)


def _answer(signed_in: SignedIn) -> TokenAnswer:
    return TokenAnswer(
        access_token=signed_in.access_token, refresh_token=signed_in.refresh_token, expires_in=signed_in.expires_in
    )


@router.post("/token")
async def token(
    parts: PartsOf,
    username: Annotated[str, Form(min_length=1, max_length=320)],
    password: Annotated[str, Form(min_length=1, max_length=1_000)],
    organization: Annotated[str | None, Form(max_length=64)] = None,
) -> TokenAnswer:
    """Sign in with e-mail address and password."""
    return _answer(await parts.authentication.sign_in(username, password, organization))


@router.post("/refresh")
async def refresh(parts: PartsOf, body: RefreshRequest) -> TokenAnswer:
    """A new access token for a refresh token."""
    return _answer(await parts.authentication.refresh(body.refresh_token))


@router.get("/me")
async def me(principal: Reader) -> dict[str, Any]:
    """Who is signed in, and what they may do."""
    return {
        "id": principal.id,
        "kind": principal.kind,
        "organization_id": principal.organization_id,
        "email": principal.email,
        "name": principal.name,
        "role": principal.role,
        "permissions": principal.permissions(),
    }
