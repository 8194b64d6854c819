"""``tendril restore``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tendril.backup import restore
from tendril.cli.output import err, show_json
from tendril.cli.parts import new_app
from tendril.place import settings_here

app = new_app()


@app.command("restore")
def restored(
    folder: Annotated[Path, typer.Argument(help="What tendril backup wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a backup back into a place where there is nothing yet, before anything is started there.

    Example: tendril restore /backups/2026-11-21
    """
    found = asyncio.run(restore(settings_here(), folder))
    if as_json:
        show_json(asdict(found))
        return
    log = "without the event store" if found.position is None else f"the log ends at position {found.position}"
    err.print(f"Restored what was made at {found.made_at}: {log}.")
