"""``tendril run SERVICE``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shared.settings import load_settings
from tendril.cli.parts import new_app
from tendril.running import SERVICES, run_service

app = new_app()


@app.command()
def run(
    service: Annotated[str, typer.Argument(help="One of " + ", ".join(SERVICES) + ".")],
    roles: Annotated[
        str | None, typer.Option(help="enrollment: a comma list of commands, clerk, reader; all by default.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="dispatcher: a comma list of the channels it serves; all by default.")
    ] = None,
) -> None:
    """Run one service in this process until it is told to end.

    Example: tendril run dispatcher --channels email
    """
    if service not in SERVICES:
        raise typer.BadParameter(f"must be one of {', '.join(SERVICES)}, got {service!r}")
    options: dict[str, Any] = {}
    for name, value, owner in (("roles", roles, "enrollment"), ("channels", channels, "dispatcher")):
        if value is None:
            continue
        if service != owner:
            raise typer.BadParameter(f"--{name} is for {owner}, not for {service}")
        options[name] = tuple(part.strip() for part in value.split(",") if part.strip())
    run_service(service, load_settings(), **options)
