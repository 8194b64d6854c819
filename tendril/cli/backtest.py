"""``tendril backtest``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.events.query import QueryStartBacktest
from tendril.cli.output import at, out, show_json, show_table
from tendril.cli.parts import moment, new_app
from tendril.cli.trials import Bench, at_bench, definition_from, in_short, plotted
from tendril.place import settings_here

#: How a step fared, in the order of the columns.
FATES = ("same", "moved", "gone", "new")

app = new_app()


@app.command()
def backtest(
    sequence: Annotated[str, typer.Argument(help="The sequence's id, or its whole name.")],
    organization: Annotated[str | None, typer.Option(help="Whose it is, where names are the same.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="A published version to play them through.")] = None,
    definition: Annotated[Path | None, typer.Option(help="A YAML or JSON file with a changed sequence.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Who entered from this time on (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Who entered before this time.")] = None,
    leads: Annotated[int, typer.Option(min=0, max=100_000, help="Show so many who would have differed.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play past enrollments through a changed sequence: who would have got what, and when. Nothing is sent.

    Ctrl-C stops it.

    Example: tendril backtest "Webinar follow-up" --definition changed.yaml --from 2026-09-01
    """
    if (version is None) == (definition is None):
        raise typer.BadParameter("give --version or --definition")
    changed = definition_from(definition) if definition is not None else None
    bounds = {bound: at_ for bound, at_ in (("$gte", moment(begin)), ("$lt", moment(end))) if at_ is not None}

    async def work(bench: Bench) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        chosen = await bench.sequence(sequence, organization)
        wanted: dict[str, Any] = {
            "organization_id": chosen.organization_id,
            "sequence_id": str(chosen.sequence_id),
            **({"started_at": bounds} if bounds else {}),
        }

        def question(job_id: str) -> QueryStartBacktest:
            return QueryStartBacktest(
                organization_id=chosen.organization_id,
                job_id=job_id,
                sequence_id=chosen.sequence_id,
                version=version,
                definition=changed,
            )

        job = await bench.run("backtest", chosen.organization_id, await bench.ids("enrollments", wanted), question)
        rows = await bench.jobs.rows(job["_id"], -1, leads) if leads else []
        return job["result"], [each["row"] for each in rows]

    result, rows = asyncio.run(at_bench(settings_here(), work))
    if as_json:
        show_json({**result, "leads": rows})
        return
    _show(result, rows)


def _show(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    out.print(
        f"{result['differ']:,} of {result['enrollments']:,} enrollments would have differed;"
        f" {result['as_recorded']:,} play as they were recorded."
    )
    most = max((sum(counts.values()) for counts in result["by_step"].values()), default=0)
    names = result["names"]
    show_table(
        ("step", *FATES, "same █, other ░"),
        [
            (names.get(step_id, step_id), *(counts.get(fate, 0) for fate in FATES), _plot(counts, most))
            for step_id, counts in result["by_step"].items()
        ],
        empty="Nothing was or would have been sent.",
    )
    for name, words in (("was", "They ended"), ("would", "They would have ended")):
        out.print(f"{words}: {in_short(result['ends'][name])}.", markup=False)
    for fate, counts in result["engagement"].items():
        out.print(f"Messages that are {fate}: {in_short(counts)}.", markup=False)
    if rows:
        out.print()
        show_table(
            ("lead", "entered", "was sent", "would have been sent"),
            [
                (row["lead_id"], at(row["entered_at"]), _course(row["was"], names), _course(row["would"], names))
                for row in rows
            ],
            empty="",
        )


def _plot(counts: dict[str, int], most: int) -> str:
    same = counts.get("same", 0)
    return plotted(same, most) + plotted(sum(counts.values()) - same, most).replace("█", "░")


def _course(course: dict[str, Any], names: dict[str, str]) -> str:
    """``step 1 “Welcome” 11-20 09:00, …; completed``."""
    sends = ", ".join(
        f"{names.get(each['step_id'], each['step_id'])} {at(each['at'])[5:16]}" for each in course["sends"]
    )
    return f"{sends or 'nothing'}; {course['ended_by'] or 'still inside'}"
