"""``tendril leads …``."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError
from rich.progress import Progress

from shared.clock import load_clock
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import reasons_of
from shared.identity import InvalidIdentity, normalise_email, normalise_phone
from shared.lead_csv import unguarded
from shared.messaging.topology import LEADS
from shared.settings import Settings
from tendril.cli.links import Broker, broker
from tendril.cli.output import err, out, progress_bar, show_json
from tendril.cli.parts import new_group
from tendril.place import settings_here

AT_ONCE = 200
SHOWN_ERRORS = 50
_TRUE, _FALSE = {"true", "yes", "1", "y"}, {"false", "no", "0", "n"}

app = new_group()


class NoSuchFile(Exception):
    """The file cannot be read. One line."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file: a body, or what is wrong with it."""

    line: int
    body: dict[str, Any] | None
    problem: str | None = None


@app.callback()
def group() -> None:
    """Leads.

    Example: tendril leads import leads.csv --organization acme
    """


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header line; UTF-8.")],
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
        with file.open(newline="", encoding="utf-8-sig") as source:
            total = sum(1 for _ in csv.reader(source)) - 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoSuchFile(f"{file} cannot be read: {error}") from None
    sent, problems = asyncio.run(_import(settings_here(), file, organization, funnel, max(total, 0)))
    if as_json:
        show_json({"sent": sent, "rejected": [{"line": row.line, "problem": row.problem} for row in problems]})
    else:
        for row in problems[:SHOWN_ERRORS]:
            err.print(f"line {row.line}: {row.problem}", markup=False)
        if len(problems) > SHOWN_ERRORS:
            err.print(f"… and {len(problems) - SHOWN_ERRORS} more")
        out.print(f"{sent} leads sent, {len(problems)} rows rejected.")
    if problems:
        raise typer.Exit(1)


async def _import(settings: Settings, file: Path, organization: str, funnel: str, total: int) -> tuple[int, list[Row]]:
    problems: list[Row] = []
    sent = 0
    async with broker(settings) as link:
        now = load_clock(settings.home).now().isoformat()
        with progress_bar() as bar:
            shown = bar.add_task("import", total=total)
            batch: list[dict[str, Any]] = []
            for row in rows_of(file, organization, funnel):
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
        known = {key: value for key, value in body.items() if key != "occurred_at"}
        mark = hashlib.blake2b(orjson.dumps(known, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
        await link.publisher.publish_body(
            LEADS, "lead.created", orjson.dumps(body), content_type="application/json", message_id=f"import-{mark}"
        )
        bar.advance(shown)

    await asyncio.gather(*(one(body) for body in batch))
    return len(batch)


def rows_of(file: Path, organization: str, funnel: str) -> Iterator[Row]:
    """Every row of the file, checked as the write side will check it."""
    with file.open(newline="", encoding="utf-8-sig") as source:
        reader = csv.DictReader(source, restkey="", restval="")
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(reader.line_num, None, str(error))
                continue
            yield _row(reader.line_num, cells, organization, funnel)


def _row(line: int, cells: dict[str, Any], organization: str, funnel: str) -> Row:
    if "" in cells and isinstance(cells[""], list):
        return Row(line, None, f"has {len(cells[''])} cells more than the header")
    try:
        lead = _lead(cells)
        body = {"organization_id": organization, "funnel_id": funnel, "lead": lead}
        LeadCreated.model_validate(body)
        if email := lead.get("email"):
            normalise_email(email)
        if phone := lead.get("phone"):
            normalise_phone(phone)
    except ValidationError as error:
        return Row(line, None, "; ".join(f"{each['field'] or 'row'}: {each['problem']}" for each in reasons_of(error)))
    except (InvalidIdentity, ValueError) as error:
        return Row(line, None, str(error))
    return Row(line, body)


def _lead(cells: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a cell that is no number, no JSON or no yes or no."""
    lead: dict[str, Any] = {}
    consent: dict[str, bool] = {}
    custom: dict[str, Any] = {}
    for column, cell in cells.items():
        name, value = (column or "").strip().lower(), unguarded((cell or "").strip())
        if not name or not value:
            continue
        if name == "tags":
            lead["tags"] = [tag.strip() for tag in value.split(";") if tag.strip()]
        elif name == "score":
            if not value.isdecimal():
                raise ValueError(f"score: {value!r} is not a whole number")
            lead["score"] = int(value)
        elif name.startswith("consent_"):
            consent[name.removeprefix("consent_")] = _yes(name, value)
        elif name == "custom_fields":
            custom |= _object(value)
        elif name in LeadBody.model_fields:
            lead[name] = value
        else:
            custom[name] = value
    if consent:
        lead["consent"] = consent
    if custom:
        lead["custom_fields"] = custom
    return lead


def _yes(name: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError(f"{name}: {value!r} is neither yes nor no")


def _object(value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        raise ValueError("custom_fields: is no JSON object") from None
    if isinstance(found, dict):
        return found
    raise ValueError("custom_fields: is no JSON object")
