"""Signing in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from pydantic import Field

from services.gateway.access import Principal
from services.gateway.bodies import Body
from services.gateway.context import parts_of, signed_in
from services.gateway.shapes import Me, TokenPair

router = APIRouter(prefix="/auth", tags=["sign-in"])


class RefreshRequest(Body):
    refresh_token: str = Field(min_length=1, max_length=200)


@router.post("/token", response_model=TokenPair)
async def token(
    request: Request,
    username: Annotated[str, Form(min_length=1, max_length=320)],
    password: Annotated[str, Form(min_length=1, max_length=1_000)],
    organization: Annotated[str | None, Form(max_length=64)] = None,
) -> TokenPair:
    """Signs a member in. ``organization`` chooses when the same address is a member of several."""
    caller = request.client.host if request.client else "unknown"
    pair = await parts_of(request).sign_in.with_password(username, password, organization or None, caller)
    return TokenPair(access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_in)


@router.post("/refresh", response_model=TokenPair)
async def refresh(request: Request, body: RefreshRequest) -> TokenPair:
    """The next pair of tokens; the refresh token is used up."""
    pair = await parts_of(request).sign_in.refresh(body.refresh_token)
    return TokenPair(access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_in)


@router.get("/me", response_model=Me)
async def me(principal: Annotated[Principal, Depends(signed_in)]) -> Me:
    """Who is signed in, and what they may do."""
    return Me(
        id=str(principal.id),
        kind=principal.kind,
        organization_id=principal.organization_id,
        email=principal.email,
        name=principal.name,
        role=principal.role,
        permissions=sorted(principal.permissions),
    )
