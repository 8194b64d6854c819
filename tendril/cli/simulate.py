"""``tendril simulate``."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from services.gateway.routes.jobs import CohortFilter
from shared.events.query import QueryStartForecast, Rates
from tendril.cli.output import at, out, show_json, show_table
from tendril.cli.parts import moment, new_app
from tendril.cli.trials import Bench, at_bench, definition_from, in_short, plotted
from tendril.place import settings_here

DEFAULT_SIZE = 1_000

app = new_app()


@app.command()
def simulate(
    sequence: Annotated[str, typer.Argument(help="The sequence's id, or its whole name.")],
    *,
    organization: Annotated[str | None, typer.Option(help="Whose it is, where names are the same.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help=f"So many made-up leads; {DEFAULT_SIZE} unless said.")
    ] = None,
    known: Annotated[bool, typer.Option("--known", help="All known leads in place of made-up ones.")] = False,
    status: Annotated[str | None, typer.Option(help="Known leads with this status.")] = None,
    source: Annotated[str | None, typer.Option(help="Known leads from this source.")] = None,
    funnel: Annotated[str | None, typer.Option(help="Known leads of this funnel.")] = None,
    tag: Annotated[str | None, typer.Option(help="Known leads with this tag.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="A published version; the draft, else what runs, when left out.")
    ] = None,
    definition: Annotated[Path | None, typer.Option(help="A YAML or JSON file with a changed sequence.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="When they enter (ISO 8601, UTC when no zone is given); now.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32, help="The same seed gives the same forecast.")] = 0,
    opens: Annotated[float, typer.Option("--open", min=0, max=1, help="Share of messages that are opened.")] = 0.4,
    clicks: Annotated[float, typer.Option("--click", min=0, max=1, help="Share that is clicked in.")] = 0.1,
    replies: Annotated[float, typer.Option("--reply", min=0, max=1, help="Share that is replied to.")] = 0.02,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast a cohort: what goes out day by day, which limits bind, who ends how. Nothing is sent.

    Ctrl-C stops the forecast.

    Example: tendril simulate "Webinar follow-up" --size 100000 --from 2026-11-23T08:00:00Z
    """
    cohort = CohortFilter(status=status, source=source, funnel_id=funnel, tag=tag)
    of_known = known or bool(cohort.conditions())
    if size is not None and of_known:
        raise typer.BadParameter("--size makes leads up: give it, or say which known ones")
    if version is not None and definition is not None:
        raise typer.BadParameter("give --version or --definition, not both")
    asked = {
        "version": version,
        "definition": definition_from(definition) if definition is not None else None,
        "from_": moment(begin),
        "seed": seed,
        "rates": Rates(open=opens, click=clicks, reply=replies),
    }

    async def work(bench: Bench) -> dict[str, Any]:
        chosen = await bench.sequence(sequence, organization)
        wanted = {**cohort.alive(), "organization_id": chosen.organization_id}
        targets = await bench.ids("leads", wanted) if of_known else []

        def question(job_id: str) -> QueryStartForecast:
            return QueryStartForecast.model_validate(
                {
                    **asked,
                    "organization_id": chosen.organization_id,
                    "job_id": job_id,
                    "sequence_id": chosen.sequence_id,
                    "size": None if of_known else size or DEFAULT_SIZE,
                }
            )

        return await bench.run("forecast", chosen.organization_id, targets, question)

    result = asyncio.run(at_bench(settings_here(), work))["result"]
    if as_json:
        show_json(result)
        return
    _show(result)


def _show(result: dict[str, Any]) -> None:
    totals = result["totals"]
    out.print(f"{result['entered']:,} of {result['cohort']:,} leads enter at {at(result['from'])} UTC.")
    if result["refused"]:
        out.print(f"Refused: {in_short(result['refused'])}.", markup=False)
    channels = sorted({channel for day in result["days"] for channel in day["sent"]})
    most = max((sum(day["sent"].values()) for day in result["days"]), default=0)
    show_table(
        ("day", *channels, "ended", "sent"),
        [
            (
                day["day"],
                *(day["sent"].get(channel, 0) for channel in channels),
                sum(day["ended"].values()),
                plotted(sum(day["sent"].values()), most),
            )
            for day in result["days"]
        ],
        empty="Nothing goes out.",
    )
    out.print()
    show_table(
        ("step", "sent", "skipped", "for people"),
        [
            (
                result["names"].get(step_id, step_id),
                counts.get("sent", 0),
                counts.get("skipped", 0),
                counts.get("for_people", 0),
            )
            for step_id, counts in totals["by_step"].items()
        ],
        empty="",
    )
    if totals["signals"]:
        out.print(f"Signals: {in_short(totals['signals'])}.", markup=False)
    for hit in result["limits_hit"]:
        scope = result["names"].get(hit["scope"], hit["scope"])
        out.print(
            f"Limit {hit['limit']} per {hit['unit']} of {scope} is used up {hit['used_up']:,} times,"
            f" from {hit['first']} to {hit['last']}.",
            markup=False,
        )
    ends = dict(Counter(result["ends"]) + Counter({"still inside": result["still_inside"]}))
    out.print(f"Ends: {in_short(ends) or 'none'}.", markup=False)
    if result["last_end"] is not None:
        lasted = result["days_until_the_end"]
        out.print(f"Half have ended after {lasted['p50']} days, all after {lasted['p100']}.")
