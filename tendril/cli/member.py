"""``tendril member …``."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

import typer
from pwdlib import PasswordHash

from shared.events.organization import AddMember, FoundOrganization, Role, SetMember
from shared.identity import normalise_email
from shared.ids import derived_id
from shared.settings import Settings
from tendril.cli.links import broker
from tendril.cli.output import out, show_json
from tendril.cli.parts import new_group, organization_word
from tendril.place import settings_here

MIN_PASSWORD = 8

app = new_group()


@app.callback()
def group() -> None:
    """Who may sign in.

    Example: tendril member add --organization acme --email ada@acme.example --role admin
    """


@app.command()
def add(
    organization: Annotated[
        str,
        typer.Option(
            callback=organization_word, help="A short word: small letters, digits, - and _. Made when it is new."
        ),
    ],
    email: Annotated[str, typer.Option(help="The address to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the member may do.")] = "admin",
    password: Annotated[str | None, typer.Option(help="At least 8 characters; made and printed when left out.")] = None,
    name: Annotated[str, typer.Option(help="How the member is shown.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Add a member, and the organization when it is new.

    A member who is there already gets the role, and the password if one is given.

    Example: tendril member add --organization acme --email ada@acme.example --role coach
    """
    if password is not None and len(password) < MIN_PASSWORD:
        raise typer.BadParameter(f"a password has at least {MIN_PASSWORD} characters")
    made = asyncio.run(_add(settings_here(), organization, normalise_email(email), role, name, password))
    if as_json:
        show_json(made)
        return
    out.print(f"{made['email']} may sign in to {organization} as {role}.")
    if made["password"]:
        out.print(f"Password: {made['password']}", markup=False)


async def _add(
    settings: Settings, organization: str, email: str, role: Role, name: str, password: str | None
) -> dict[str, Any]:
    """``password`` in the result is None unless it was made here."""
    member_id = derived_id("member", organization, email)
    subject = derived_id("organization", organization)
    secret = password or secrets.token_urlsafe(12)
    hashed = await asyncio.to_thread(PasswordHash.recommended().hash, secret)
    order = AddMember(member_id=member_id, email=email, name=name, role=role, password_hash=hashed)
    async with broker(settings) as link:
        await link.ask(FoundOrganization(name=organization), organization_id=organization, subject=subject)
        answer = await link.ask(order, organization_id=organization, subject=subject)
        new = answer.position is not None
        if not new:
            change = SetMember(member_id=member_id, role=role, password_hash=hashed if password else None)
            answer = await link.ask(change, organization_id=organization, subject=subject)
    return {
        "organization_id": organization,
        "member_id": str(member_id),
        "email": email,
        "role": role,
        "new": new,
        "password": secret if new and password is None else None,
        "position": answer.position,
    }
