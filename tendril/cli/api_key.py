"""``tendril api-key …``."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Annotated, Any

import typer

from services.gateway.access import EVERY_PERMISSION
from shared.events.organization import FoundOrganization, IssueApiKey, Role
from shared.ids import derived_id, new_id
from shared.settings import Settings
from tendril.cli.links import broker
from tendril.cli.output import out, show_json
from tendril.cli.parts import new_group, organization_word
from tendril.place import settings_here

PREFIX = "tdl_"

app = new_group()


@app.callback()
def group() -> None:
    """Access for programs.

    Example: tendril api-key create --organization acme --name crm
    """


@app.command()
def create(
    organization: Annotated[
        str, typer.Option(callback=organization_word, help="The organization's short word. Made when it is new.")
    ],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")] = "operator",
    scopes: Annotated[str, typer.Option(help="A comma list that narrows the role; empty for all of it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make an API key. It is shown once and only its hash is kept.

    Example: tendril api-key create --organization acme --name crm --role operator
    """
    wanted = [part.strip() for part in scopes.split(",") if part.strip()]
    unknown = sorted(set(wanted) - EVERY_PERMISSION)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)} is no permission; there are {', '.join(sorted(EVERY_PERMISSION))}",
            param_hint="--scopes",
        )
    made = asyncio.run(_create(settings_here(), organization, name, role, wanted))
    if as_json:
        show_json(made)
        return
    out.print(f"Key {made['name']} of {organization}, to be sent as X-API-Key (not shown again):")
    out.print(made["key"], markup=False)


async def _create(settings: Settings, organization: str, name: str, role: Role, scopes: list[str]) -> dict[str, Any]:
    key = PREFIX + secrets.token_urlsafe(32)
    key_id = new_id()
    subject = derived_id("organization", organization)
    order = IssueApiKey(
        key_id=key_id, name=name, role=role, scopes=scopes, secret_hash=hashlib.sha256(key.encode()).hexdigest()
    )
    async with broker(settings) as link:
        await link.ask(FoundOrganization(name=organization), organization_id=organization, subject=subject)
        answer = await link.ask(order, organization_id=organization, subject=subject)
    return {
        "organization_id": organization,
        "key_id": str(key_id),
        "name": name,
        "role": role,
        "key": key,
        "position": answer.position,
    }
