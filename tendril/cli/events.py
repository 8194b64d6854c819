"""``tendril events …``: the log, read and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import aio_pika
import typer
from aio_pika.exceptions import ChannelNotFoundEntity
from rich.text import Text

from shared.events.query import QueryAggregateEvents, QueryEventsPage
from shared.messaging.frames import encode_raw
from shared.messaging.topology import DEFAULT_CHANNELS, PARTITIONS, REPLAY, queues
from shared.persistence.views import VIEW_NAMES, ViewReader
from shared.settings import Settings
from tendril.cli.links import CONNECT_SECONDS, Broker, broker, mongo
from tendril.cli.organizations import must_be_founded
from tendril.cli.output import at as short_time
from tendril.cli.output import out, progress_bar, show_json, show_line, show_text
from tendril.cli.parts import moment as read_moment
from tendril.cli.parts import new_group
from tendril.cli.unsecret import shown
from tendril.cli.views import run_job
from tendril.place import settings_here

PAGE = 500
POLL_SECONDS = 0.5
FRAME = 100
MAX_DETAIL = 120
STANDARD_OUTPUT = "-"

app = new_group()


class NoSuchEvents(Exception):
    """Nothing is known of this aggregate. One line."""


class NoSuchQueue(Exception):
    """A replay has nowhere to go. One line."""


@app.callback()
def group() -> None:
    """The log of events: follow it, look into one aggregate, replay a part.

    What is printed has hashes of passwords and API keys, and the secrets of webhooks, masked.

    Example: tendril events tail
    """


@app.command()
def tail(
    count: Annotated[int, typer.Option("--last", help="Begin with so many of the newest.", min=0, max=100_000)] = 20,
    organization: Annotated[str | None, typer.Option(help="Only of this organization.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on as they come, until Ctrl-C.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """The newest events, and then each as it comes.

    Example: tendril events tail --last 50 --no-follow
    """
    try:
        asyncio.run(_tail(settings_here(), count, organization, follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        return


@app.command()
def show(
    aggregate_id: Annotated[UUID, typer.Argument(help="Of an enrollment, lead, sequence, task or organization.")],
    at: Annotated[str | None, typer.Option(help="Only up to this time (ISO 8601; UTC when no zone is given).")] = None,
    version: Annotated[int | None, typer.Option(help="Only up to the aggregate's n-th event.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Everything that happened to one aggregate.

    Example: tendril events show 7b0c2f0e-4c1b-5b7e-9d8e-0f6c4f7b2a11 --version 3
    """
    moment = read_moment(at)
    events = asyncio.run(_show(settings_here(), aggregate_id, moment, version))
    if as_json:
        show_json({"items": [shown(event) for event in events]})
        return
    for event in events:
        _print(event)


@app.command()
def replay(
    target: Annotated[str, typer.Option(help="A view (it is rebuilt), a queue of your own, or - to print.")],
    first: Annotated[int, typer.Option("--from", help="First position.", min=1)] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Last position; the end of the log when left out.")] = None,
    organization: Annotated[str | None, typer.Option(help="Only of this organization.")] = None,
) -> None:
    """Play a part of the log again: to a queue of your own through the exchange tendril.replay, or to the screen.

    Messages carry the header replay: true. The services' own queues are no target. A view is always rebuilt whole.

    A queue gets the events as they stand in the log, so that what listens to tendril.events can be filled again: hashes
    of passwords and API keys and the secrets of webhooks are in them. On the screen these are masked. Neither is a
    backup: see tendril backup.

    Example: tendril events replay --from 1 --to 500 --target -
    """
    settings = settings_here()
    service_queues = {spec.name for spec in queues(DEFAULT_CHANNELS, max(settings.partitions, PARTITIONS))}
    if target in service_queues or target.startswith(("dispatcher.", "enrollment.", "projector.", "tendril.")):
        raise typer.BadParameter(f"{target} belongs to a service: replay to a queue of your own")
    if last is not None and last < first:
        raise typer.BadParameter(f"--to {last} is before --from {first}")
    if target in VIEW_NAMES:
        asyncio.run(_rebuild(settings, target))
        out.print(f"{target}: rebuilt")
        return
    sent = asyncio.run(_replay(settings, target, first, last, organization))
    if target != STANDARD_OUTPUT:
        out.print(f"{sent} events sent to {target}.")


async def _tail(settings: Settings, count: int, organization: str | None, *, follow: bool, as_json: bool) -> None:
    async with broker(settings) as link:
        await must_be_founded(link, organization, "it has no events")
        end = int((await link.ask(QueryEventsPage(after=0, limit=1))).result["end"])
        after = max(end - count, 0)
        while True:
            question = QueryEventsPage(after=after, limit=PAGE, organization_id=organization)
            page = (await link.ask(question)).result
            for event in page["events"]:
                if as_json:
                    show_line(shown(event))
                else:
                    _print(event)
            after = max(after, int(page["last"]))
            if after >= int(page["end"]):
                if not follow:
                    return
                await asyncio.sleep(POLL_SECONDS)


async def _show(
    settings: Settings, aggregate_id: UUID, at: datetime | None, version: int | None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with broker(settings) as link:
        while True:
            after = int(found[-1]["aggregateversion"]) if found else 0
            question = QueryAggregateEvents(
                aggregate_id=aggregate_id, after_version=after, up_to_version=version, at=at, limit=PAGE
            )
            page = (await link.ask(question)).result["events"]
            found += page
            if len(page) < PAGE:
                break
    if not found:
        raise NoSuchEvents(f"there are no events of {aggregate_id}" + (" up to there" if at or version else ""))
    return found


async def _replay(settings: Settings, target: str, first: int, last: int | None, organization: str | None) -> int:
    sent = 0
    async with broker(settings) as link:
        await must_be_founded(link, organization, "nothing was replayed")
        if target != STANDARD_OUTPUT:
            await _bind(settings, target)
        with progress_bar() as bar:
            task = bar.add_task("replay", total=None, visible=target != STANDARD_OUTPUT)
            async for page, position, end in _pages(link, first, last, organization):
                if target == STANDARD_OUTPUT:
                    for event in page:
                        show_line(shown(event))
                else:
                    await _send(link, target, page)
                sent += len(page)
                bar.update(task, total=end - first + 1, completed=position - first + 1)
    return sent


async def _bind(settings: Settings, queue: str) -> None:
    """Lets the operator's queue take what is published with its name as key. Raises NoSuchQueue."""
    connection = await aio_pika.connect(settings.require_amqp_url(), timeout=CONNECT_SECONDS)
    async with connection, await connection.channel() as channel:
        try:
            own = await channel.get_queue(queue, ensure=True)
        except ChannelNotFoundEntity:
            raise NoSuchQueue(f"there is no queue {queue!r} on the broker: make it first") from None
        await own.bind(REPLAY, queue)


async def _pages(
    link: Broker, first: int, last: int | None, organization: str | None
) -> AsyncIterator[tuple[list[dict[str, Any]], int, int]]:
    """Pages of the log with the position each reaches and the one that is to be reached."""
    after, end = first - 1, last
    while end is None or after < end:
        question = QueryEventsPage(after=after, up_to=end, limit=PAGE, organization_id=organization)
        page = (await link.ask(question)).result
        end = min(int(page["end"]), last) if last is not None else end or int(page["end"])
        reached = int(page["last"])
        yield page["events"], reached, end
        if reached <= after:
            return
        after = reached


async def _send(link: Broker, queue: str, events: list[dict[str, Any]]) -> None:
    """Frames in log order, to the operator's queue alone."""
    for start in range(0, len(events), FRAME):
        part = events[start : start + FRAME]
        body, content_type = encode_raw(part)
        await link.publisher.publish_body(
            REPLAY,
            queue,
            body,
            content_type=content_type,
            headers={"replay": True},
            message_id=f"replay-{part[0]['position']}-{part[-1]['position']}",
        )


async def _rebuild(settings: Settings, view: str) -> None:
    async with mongo(settings) as client:
        with progress_bar() as bar:
            await run_job(ViewReader(client, settings.database_prefix), "rebuild", view, bar)


def _print(event: dict[str, Any]) -> None:
    line = Text()
    line.append(f"{event.get('position', ''):>8} ", style="dim")
    line.append(f"{short_time(event['time'])} ", style="dim")
    line.append(f"{event['type'].rpartition('.')[0]:<34} ", style="cyan")
    line.append(f"{event.get('subject', '')} ")
    if "unreadable" in event:
        line.append(f"unreadable: {event['unreadable']}", style="red")
    data = shown(event)["data"]
    details = ", ".join(f"{name}={value}" for name, value in data.items() if value not in (None, [], {}))
    line.append(details[:MAX_DETAIL], style="dim")
    show_text(line)
