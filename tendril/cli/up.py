"""``tendril up``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from tendril.cli.parts import new_app
from tendril.up.console import Lines
from tendril.up.plan import MAILBOX_PORT, make_plan
from tendril.up.supervisor import Supervisor

app = new_app()


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="With an organization, a sequence, a funnel and recipients.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(help="Business seconds in a second; 1440 with --demo: a day in a minute.", min=0.001, max=100_000),
    ] = None,
    mailbox_port: Annotated[
        int, typer.Option(help="Of the demo mailbox, while TENDRIL_SMTP_URL is unset.", min=1, max=65_535)
    ] = MAILBOX_PORT,
) -> None:
    """Start everything on this machine, a process for each part, until Ctrl-C.

    RabbitMQ and MongoDB are started too, where no address is given for them. The next start goes on with the same data
    and the same business time.

    Example: tendril up --demo --speed 1440
    """
    plan = make_plan(demo=demo, speed=speed, mailbox_port=mailbox_port)
    asyncio.run(Supervisor(plan, Lines()).run())
