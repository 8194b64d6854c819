"""The first admin: made once, when ``ADMIN_EMAIL`` and ``ADMIN_PASSWORD`` are set and organization ``demo`` has no
member."""

from __future__ import annotations

import asyncio

import structlog

from services.gateway.commands import Commands
from services.gateway.errors import Refused
from services.gateway.signin import SignIn
from shared.events.organization import AddMember, FoundOrganization
from shared.events.query import QueryOrganization
from shared.ids import derived_id
from shared.messaging.errors import MessagingError

ORGANIZATION = "demo"
RETRY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


async def ensure_admin(commands: Commands, sign_in: SignIn, email: str, password: str) -> None:
    """Asks until the write side has answered. Repeats, also by several gateways at once, make one admin: the ids are
    the same."""
    while True:
        try:
            await _ensure(commands, sign_in, email, password)
        except MessagingError as error:
            _log.info("first admin waits for the write side", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
        except Refused as error:
            _log.error("first admin refused", problem=error.detail)
            return
        else:
            return


async def _ensure(commands: Commands, sign_in: SignIn, email: str, password: str) -> None:
    known = await commands.ask(ORGANIZATION, QueryOrganization(organization_id=ORGANIZATION))
    if known.get("members"):
        return
    if not known.get("found"):
        founding = derived_id("bootstrap", "found", ORGANIZATION).hex
        await commands.send_as("system", ORGANIZATION, FoundOrganization(name="Demo"), founding)
    order = AddMember(
        member_id=derived_id("bootstrap", "member", ORGANIZATION, email),
        email=email,
        name="Admin",
        role="admin",
        password_hash=await sign_in.hash_password(password),
    )
    await commands.send_as("system", ORGANIZATION, order, derived_id("bootstrap", "add", ORGANIZATION, email).hex)
    _log.info("first admin made", organization=ORGANIZATION)
