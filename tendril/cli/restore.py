"""``tendril restore``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tendril.backup import BackupProblem, restore
from tendril.backup_keys import missing_keys, prove_keys
from tendril.cli.output import err, show_json
from tendril.cli.parts import new_app
from tendril.place import settings_here

app = new_app()


@app.command("restore")
def restored(
    folder: Annotated[Path, typer.Argument(help="What tendril backup wrote.")],
    keys_later: Annotated[
        bool, typer.Option("--keys-later", help="The keys are not in their place yet, or only where the services run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a backup back into a place where there is nothing yet, before anything is started there.

    The keys (MASTER_KEY and SECRET_KEYS, or secrets.json in the home) are in no backup: put them in their place first.
    Without them nothing is restored, unless --keys-later says that you know.

    Example: tendril restore /backups/2026-11-21
    """
    settings = settings_here()
    missing = missing_keys(settings)
    if missing is not None and not keys_later:
        raise BackupProblem(f"{missing}. Nothing was restored: put the keys in their place, or say --keys-later")
    prove_keys(settings, folder)
    found = asyncio.run(restore(settings, folder))
    if as_json:
        show_json(asdict(found))
        return
    log = "without the event store" if found.position is None else f"the log ends at position {found.position}"
    err.print(f"Restored what was made at {found.made_at}: {log}.")
    if missing is not None:
        err.print(f"Before anything is started: {missing}.", markup=False)
