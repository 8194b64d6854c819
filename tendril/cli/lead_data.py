"""``tendril leads export`` and ``tendril leads erase``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO
from uuid import UUID

import typer

from services.gateway.erasure import Erasure
from shared.events.lead import EraseLead
from shared.lead_csv import COLUMNS, lines, row_of
from shared.persistence.erasure import Receipt, receipts
from shared.persistence.mongo import MongoClient
from shared.persistence.views import ViewReader
from shared.settings import Settings
from tendril.cli.leads import NoSuchFile, app
from tendril.cli.links import broker, mongo
from tendril.cli.organizations import must_be_founded, must_be_shown
from tendril.cli.output import err, out, progress_bar, show_json, show_table
from tendril.place import settings_here

#: Rows written at once.
ROWS = 500
#: The gateways sweep every minute; the views follow within seconds.
ERASURE_SECONDS = 120.0
LOOK_SECONDS = 0.2


@app.command("export")
def export(
    organization: Annotated[str, typer.Option(help="Whose leads.")],
    to: Annotated[Path | None, typer.Option("--out", help="The file; standard output when left out.")] = None,
    status: Annotated[str | None, typer.Option(help="Only leads with this status.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only leads with this tag.")] = None,
) -> None:
    """Export leads as CSV, in the columns that an import reads. Erased leads are left out.

    A cell that a spreadsheet would take for a formula has an apostrophe in front; an import takes it away again.

    Example: tendril leads export --organization acme --out leads.csv
    """
    narrowed = {name: value for name, value in (("status", status), ("tags", tag)) if value is not None}
    count = asyncio.run(_export(settings_here(), organization, narrowed, to))
    err.print(f"{count} leads exported.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Standard output without a path. A file is there once it is whole; one that is there already stays as it was until
    then, and keeps who may read it; a new one is its owner's alone. Raises NoSuchFile."""
    if path is None:
        yield sys.stdout
        return
    if path.is_file():
        path = path.resolve()
    draft = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        target = open(draft, "w", encoding="utf-8", newline="", opener=_private)  # noqa: SIM115 - closed below
        if draft != path and path.exists():
            shutil.copymode(path, draft)
    except OSError as error:
        raise NoSuchFile(f"{path} cannot be written: {error}") from None
    try:
        with target:
            yield target
        if draft != path:  # else a pipe or a device
            draft.replace(path)
    finally:
        if draft != path:
            draft.unlink(missing_ok=True)


async def _export(settings: Settings, organization: str, narrowed: dict[str, Any], path: Path | None) -> int:
    """Raises NoSuchOrganization, NoSuchFile."""
    wanted = {"organization_id": organization, **narrowed, "erased": {"$ne": True}}
    count = 0
    async with mongo(settings) as client:
        views = ViewReader(client, settings.database_prefix)
        await must_be_shown(views, organization, "nothing was exported")
        leads = await views.collection("leads")
        with _opened(path) as target, progress_bar() as bar:
            shown = bar.add_task("export", total=await leads.count_documents(wanted))
            target.write(lines([COLUMNS]))
            rows: list[list[str]] = []
            async for document in leads.find(wanted, sort=[("captured_at", -1), ("_id", 1)]):
                rows.append(row_of(document))
                count += 1
                if len(rows) == ROWS:
                    target.write(lines(rows))
                    bar.advance(shown, ROWS)
                    rows = []
            target.write(lines(rows))
    return count


@app.command("erase")
def erase(
    lead_id: Annotated[UUID, typer.Argument(metavar="ID", help="The lead's id.")],
    organization: Annotated[str, typer.Option(help="Whose lead it is.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Erase a person. The key is deleted, everything still running stops, and each place gives a receipt.

    Nothing brings the data back. Exit status is 1 when a place still holds something after two minutes.

    Example: tendril leads erase 5f1c0b6f-3d1e-4c7a-9a52-0d6f1f6f2b11 --organization acme --yes
    """
    if not yes:
        typer.confirm(f"Erase lead {lead_id} of {organization} for good?", abort=True)
    found = asyncio.run(_erase(settings_here(), organization, lead_id))
    complete = not any(each.left for each in found)
    if as_json:
        show_json({"lead_id": lead_id, "complete": complete, "places": [each._asdict() for each in found]})
    else:
        show_table(("place", "left"), [(each.place, each.left or "nothing") for each in found], empty="")
        out.print("Erased." if complete else "Not yet erased everywhere: ask again.")
    if not complete:
        raise typer.Exit(1)


async def _erase(settings: Settings, organization: str, lead_id: UUID) -> list[Receipt]:
    async with broker(settings) as link, mongo(settings) as client:
        await must_be_founded(link, organization, "nothing was erased")
        await link.ask(EraseLead(lead_id=lead_id), organization_id=organization, subject=lead_id)
        return await _followed(settings, client, lead_id)


async def _followed(settings: Settings, client: MongoClient, lead_id: UUID) -> list[Receipt]:
    """The receipts, once every place has let go or the time is up."""
    prefix = settings.database_prefix
    views = ViewReader(client, prefix)
    gateway, ledger = client.database(f"{prefix}_gateway"), client.database(f"{prefix}_ledger")
    await Erasure(gateway, views).forget(lead_id)
    until = time.monotonic() + ERASURE_SECONDS
    with progress_bar() as bar:
        shown = bar.add_task("erase", total=None)
        while True:
            found = [Receipt("log", 0), *await receipts(views, gateway, ledger, lead_id)]
            bar.update(shown, total=len(found), completed=sum(not each.left for each in found))
            if not any(each.left for each in found) or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK_SECONDS)
