"""``tendril dead …``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from shared.messaging.errors import Unroutable
from shared.settings import Settings
from tendril.cli.links import broker, mongo
from tendril.cli.output import at, out, progress_bar, show_json, show_table
from tendril.cli.parts import new_group
from tendril.dead_letters import CutDeadLetter, DeadLetterBox
from tendril.place import settings_here

PAGE = 200

app = new_group()


@app.callback()
def group() -> None:
    """Dead letters: messages that were given up, with the reason.

    Example: tendril dead list
    """


@app.command("list")
def list_(
    queue: Annotated[str | None, typer.Option(help="Only those that died in this queue.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=10_000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The newest dead letters.

    Example: tendril dead list --queue enrollment.leads
    """
    letters = asyncio.run(_with_box(settings_here(), lambda box: box.newest(limit, queue=queue)))
    if as_json:
        show_json({"items": [_shown(letter) for letter in letters]})
        return
    show_table(
        ("id", "died", "queue", "reason", "what"),
        [
            (
                letter["_id"],
                at(letter["died_at"]),
                letter["queue"],
                letter["reason"],
                "; ".join(f"{each.get('field') or '(whole)'}: {each.get('problem')}" for each in letter["reasons"][:3]),
            )
            for letter in letters
        ],
        empty="There are no dead letters.",
    )


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As the list prints it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One dead letter, whole.

    Example: tendril dead show 5f1c0b6f
    """
    letter = _shown(asyncio.run(_with_box(settings_here(), lambda box: box.get(letter_id))))
    if as_json:
        show_json(letter)
        return
    for name, value in letter.items():
        if name not in ("body", "reasons", "headers"):
            out.print(f"{name:<16}{'' if value is None else value}", markup=False)
    for reason in letter["reasons"]:
        out.print(f"  {reason.get('field') or '(whole)'}: {reason.get('problem')}", markup=False)
    out.print(letter["body"], markup=False)


@app.command()
def requeue(
    letter_id: Annotated[str | None, typer.Argument(metavar="ID", help="As the list prints it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a dead letter again as it was, with the same id.

    Example: tendril dead requeue --all
    """
    if every == (letter_id is not None):
        raise typer.BadParameter("give the id of a dead letter, or --all")
    done, failed = asyncio.run(_requeue(settings_here(), letter_id))
    if as_json:
        show_json({"requeued": done, "kept": failed})
    else:
        out.print(
            f"{done} sent again."
            + (f" {failed} stay: their queue is gone, or they were too long to be kept whole." if failed else "")
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def drop(letter_id: Annotated[str, typer.Argument(metavar="ID", help="As the list prints it.")]) -> None:
    """Remove a dead letter for good.

    Example: tendril dead drop 5f1c0b6f
    """
    asyncio.run(_with_box(settings_here(), lambda box: box.drop(letter_id)))
    out.print("Dropped.")


async def _with_box(settings: Settings, work: Callable[[DeadLetterBox], Awaitable[Any]]) -> Any:
    async with mongo(settings) as client:
        return await work(DeadLetterBox(client, settings.database_prefix))


async def _requeue(settings: Settings, letter_id: str | None) -> tuple[int, int]:
    """How many were sent, and how many have nowhere to go."""
    done = failed = 0
    async with mongo(settings) as client, broker(settings) as link:
        box = DeadLetterBox(client, settings.database_prefix)
        if letter_id is not None:
            await box.requeue(letter_id, link.publisher)
            return 1, 0
        with progress_bar() as bar:
            shown = bar.add_task("requeue", total=await box.count())
            before = None
            while page := await box.newest(PAGE, before=before):
                before = (page[-1]["died_at"], page[-1]["_id"])
                for letter in page:
                    try:
                        await box.requeue(letter["_id"], link.publisher)
                        done += 1
                    except (Unroutable, CutDeadLetter):
                        failed += 1
                    bar.advance(shown)
    return done, failed


def _shown(letter: dict[str, Any]) -> dict[str, Any]:
    return {"id": letter["_id"], **{name: value for name, value in letter.items() if name not in ("_id", "body")}} | {
        "body": bytes(letter["body"]).decode(errors="replace")
    }
