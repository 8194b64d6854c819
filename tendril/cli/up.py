"""``tendril up``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from tendril.cli.parts import new_app
from tendril.up.console import Lines
from tendril.up.plan import make_plan
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
) -> None:
    """Start everything on this machine, a process for each part, until Ctrl-C.

    RabbitMQ and MongoDB are started too, where no address is given for them. The next start goes on with the same data
    and the same business time.

    Example: tendril up --demo --speed 1440
    """
    plan = make_plan(demo=demo, speed=speed)
    asyncio.run(Supervisor(plan, Lines()).run())
