"""``tendril views …``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from shared.persistence.views import VIEW_NAMES, JobKind, ViewReader
from shared.settings import Settings
from tendril.cli.links import mongo
from tendril.cli.output import out, progress_bar, show_json, show_table
from tendril.cli.parts import new_group
from tendril.place import settings_here

POLL_SECONDS = 0.2
STALLED_SECONDS = 60.0  #: a queued job that nobody takes: no projector is running

app = new_group()


class JobFailed(Exception):
    """The projector could not do it. One line."""


@app.callback()
def group() -> None:
    """The views: list, rebuild and verify them.

    Example: tendril views verify --all
    """


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every view, how far it is and whether it is well.

    Example: tendril views list
    """
    rows = asyncio.run(_status(settings_here()))
    if as_json:
        show_json({"items": rows})
        return
    show_table(
        ("view", "state", "position", "lag", "generation", "version"),
        [
            (
                row["name"],
                row["state"],
                row["position"],
                f"{row['lag_seconds']:.2f} s",
                row["generation"],
                row["version"],
            )
            for row in rows
        ],
        empty="There are no views.",
    )


@app.command()
def rebuild(
    name: Annotated[str | None, typer.Argument(help="The view.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every view, one after the other.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build a view anew from the log while traffic runs, then switch to it.

    Example: tendril views rebuild leads
    """
    results = asyncio.run(_rebuild(settings_here(), _chosen(name, every=every)))
    if as_json:
        show_json({"items": results})
    else:
        for result in results:
            out.print(f"{result['view']}: rebuilt")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The view.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every view, in one go through the log.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a view with a fresh replay of the log. Exit status 1 when there is a difference.

    Example: tendril views verify --all
    """
    results = asyncio.run(_verify(settings_here(), _chosen(name, every=every)))
    different = [result for result in results if result["result"]["differences"]]
    if as_json:
        show_json({"items": results})
    else:
        for result in results:
            count = result["result"]["differences"]
            out.print(f"{result['view']}: {'no difference' if not count else f'{count} differences'}")
            for first in result["result"].get("first", []) if count else []:
                out.print(f"    {first}", markup=False)
    if different:
        raise typer.Exit(1)


def _chosen(name: str | None, *, every: bool) -> list[str]:
    if every == (name is not None):
        raise typer.BadParameter("give the name of a view, or --all")
    if name is not None and name not in VIEW_NAMES:
        raise typer.BadParameter(f"there is no view {name!r}; there are {', '.join(VIEW_NAMES)}")
    return list(VIEW_NAMES) if name is None else [name]


async def _status(settings: Settings) -> list[dict[str, Any]]:
    async with mongo(settings) as client:
        return await ViewReader(client, settings.database_prefix).status()


async def _rebuild(settings: Settings, names: list[str]) -> list[dict[str, Any]]:
    async with mongo(settings) as client:
        reader = ViewReader(client, settings.database_prefix)
        with progress_bar() as bar:
            return [await run_job(reader, "rebuild", name, bar) for name in names]


async def _verify(settings: Settings, names: list[str]) -> list[dict[str, Any]]:
    """All at once: the projector reads the log once for as many views as it builds at the time."""
    async with mongo(settings) as client:
        reader = ViewReader(client, settings.database_prefix)
        with progress_bar() as bar:
            asked = [(name, await reader.request_job("verify", name)) for name in names]
            return await asyncio.gather(*(_ended(reader, job_id, f"verify {name}", bar) for name, job_id in asked))


async def run_job(reader: ViewReader, kind: JobKind, name: str, bar: Any) -> dict[str, Any]:
    """Asks the projector and waits; the finished job. Raises JobFailed."""
    return await _ended(reader, await reader.request_job(kind, name), f"{kind} {name}", bar)


async def _ended(reader: ViewReader, job_id: str, what: str, bar: Any) -> dict[str, Any]:
    """The finished job. Raises JobFailed."""
    loop = asyncio.get_running_loop()
    shown = bar.add_task(what, total=100)
    asked = loop.time()
    while True:
        job = await reader.job(job_id)
        if job is None:
            raise JobFailed(f"the job to {what} is gone")
        if job["state"] == "done":
            bar.update(shown, completed=100)
            return job
        if job["state"] == "failed":
            raise JobFailed(f"{what}: {job['error']}")
        if job["state"] == "queued" and loop.time() - asked > STALLED_SECONDS:
            raise JobFailed(f"no projector takes the job to {what}: is one running? (tendril doctor)")
        bar.update(shown, completed=round(100 * float(job["progress"] or 0)))
        await asyncio.sleep(POLL_SECONDS)
