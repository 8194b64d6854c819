"""``tendril leads …``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from shared import lead_file
from shared.clock import load_clock
from shared.lead_file import Row
from shared.messaging.topology import LEADS
from shared.settings import Settings
from tendril.cli.links import Broker, broker
from tendril.cli.organizations import must_be_founded
from tendril.cli.output import err, out, progress_bar, show_json
from tendril.cli.parts import new_group
from tendril.place import settings_here

AT_ONCE = 200
SHOWN_ERRORS = 50

app = new_group()


class NoSuchFile(Exception):
    """The file cannot be read. One line."""


class NobodyInFile(Exception):
    """Every row would be rejected. One line."""


@app.callback()
def group() -> None:
    """Leads.

    Example: tendril leads import leads.csv --organization acme
    """


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header line.")],
    organization: Annotated[str, typer.Option(help="Whose leads they are.")],
    funnel: Annotated[str, typer.Option(help="The funnel they count for.")] = "import",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import leads from a CSV file. A bad row is reported with its line and stops nothing.

    Columns are named like the fields of a lead: email, phone, external_id, first_name, last_name, company, title,
    timezone, locale, score, source, status, temperature, tags (separated by ;), consent_email, consent_sms. Others are
    kept as custom fields. The same row twice makes one lead.

    Example: tendril leads import leads.csv --organization acme --funnel spring-webinar
    """
    try:
        with file.open("rb") as source:
            form = lead_file.format_of(source.read(lead_file.HEAD_BYTES))
        mapping = lead_file.suggested(form.columns)
        lead_file.must_name_leads(mapping)
        rows = list(lead_file.rows_of(file, form, mapping, organization, funnel))
    except (OSError, lead_file.UnreadableFile) as error:
        raise NoSuchFile(f"{file} cannot be read: {error}") from None
    except lead_file.NobodyNamed:
        wanted = " or ".join(lead_file.IDENTIFYING)
        raise NobodyInFile(f"{file} names nobody: no column is called {wanted}; nothing was imported") from None
    sent, problems = asyncio.run(_import(settings_here(), organization, rows))
    if as_json:
        show_json(
            {
                "sent": sent,
                "rejected": [{"line": row.line, "field": row.field, "problem": row.problem} for row in problems],
            }
        )
    else:
        for row in problems[:SHOWN_ERRORS]:
            err.print(f"line {row.line}: {row.problem}", markup=False)
        if len(problems) > SHOWN_ERRORS:
            err.print(f"… and {len(problems) - SHOWN_ERRORS} more")
        out.print(f"{sent} leads sent, {len(problems)} rows rejected.")
    if problems:
        raise typer.Exit(1)


async def _import(settings: Settings, organization: str, rows: list[Row]) -> tuple[int, list[Row]]:
    problems: list[Row] = []
    sent = 0
    async with broker(settings) as link:
        await must_be_founded(link, organization, "nothing was imported")
        now = load_clock(settings.home).now().isoformat()
        with progress_bar() as bar:
            shown = bar.add_task("import", total=len(rows))
            batch: list[dict[str, Any]] = []
            for row in rows:
                if row.body is None:
                    problems.append(row)
                    bar.advance(shown)
                    continue
                batch.append({**row.body, "occurred_at": now})
                if len(batch) == AT_ONCE:
                    sent += await _send(link, batch, bar, shown)
                    batch = []
            sent += await _send(link, batch, bar, shown)
    return sent, problems


async def _send(link: Broker, batch: list[dict[str, Any]], bar: Progress, shown: Any) -> int:
    """The id is made of the content: importing a file again makes nothing twice."""

    async def one(body: dict[str, Any]) -> None:
        await link.publisher.publish_body(
            LEADS, "lead.created", orjson.dumps(body), content_type="application/json", message_id=lead_file.id_of(body)
        )
        bar.advance(shown)

    await asyncio.gather(*(one(body) for body in batch))
    return len(batch)
