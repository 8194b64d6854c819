"""``tendril backup``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tendril.backup import back_up
from tendril.cli.output import err, show_json, show_table
from tendril.cli.parts import new_app
from tendril.place import settings_here

app = new_app()


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    without_event_store: Annotated[
        bool, typer.Option("--without-event-store", help="It is on PostgreSQL, and pg_dump has been run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy all that cannot be made again, while everything runs: event store, send ledger, attachments, dead letters.

    The keys (MASTER_KEY, SECRET_KEYS) are not in it: keep them elsewhere, for without them nobody can read it.

    Example: tendril backup /backups/2026-11-21
    """
    made = asyncio.run(back_up(settings_here(), folder, events=not without_event_store))
    if as_json:
        show_json(asdict(made))
        return
    show_table(
        ("part", "holds"), [(name, f"{kept.count:,}") for name, kept in made.files.items()], empty="There is nothing."
    )
    err.print(f"{folder} is whole. Keep MASTER_KEY and SECRET_KEYS (or secrets.json) elsewhere.")
