"""``tendril doctor``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from shared.settings import load_settings
from tendril.checks import Check, examine
from tendril.cli.output import out, show_json
from tendril.cli.parts import new_app
from tendril.place import settings_here

MARKS = {"good": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "bold red")}

app = new_app()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check every dependency and setting; say what is wrong and the mend. Exit status 1 when something is.

    Example: tendril doctor
    """
    load_settings()  # a wrong setting is the first thing to mend
    checks = asyncio.run(examine(settings_here()))
    if as_json:
        show_json({"well": _well(checks), "checks": [check.as_dict() for check in checks]})
    else:
        for check in checks:
            mark, style = MARKS[check.state]
            line = Text()
            line.append(f"{mark} ", style=style)
            line.append(f"{check.name:<14}", style="bold")
            line.append(check.finding)
            out.print(line, soft_wrap=True)
            if check.mend:
                out.print(Text(f"{'':<16}→ {check.mend}", style="yellow"), soft_wrap=True)
    if not _well(checks):
        raise typer.Exit(1)


def _well(checks: list[Check]) -> bool:
    return all(check.state != "bad" for check in checks)
