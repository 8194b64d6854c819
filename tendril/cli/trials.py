"""What ``tendril simulate`` and ``tendril backtest`` share: a sequence by id or name, and a job followed to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import typer
from pydantic import ValidationError

from services.gateway.routes.jobs import MOST_TARGETS
from services.gateway.yaml_form import BadYaml, parse
from shared.events.definition import SequenceDefinition
from shared.events.places import reasons_of
from shared.events.query import QueryStartBacktest, QueryStartForecast
from shared.ids import new_id
from shared.persistence.mongo import MongoClient
from shared.persistence.trial_jobs import OPEN, TrialJobs
from shared.persistence.views import ViewReader
from shared.settings import Settings
from tendril.cli.links import broker, mongo
from tendril.cli.organizations import must_be_shown
from tendril.cli.output import progress_bar

POLL_SECONDS = 0.2
BAR_WIDTH = 40


class NoSuchSequence(Exception):
    """The views show none, or several. One line."""


class NobodyFound(Exception):
    """There is nothing to play. One line."""


class TrialFailed(Exception):
    """The job did not come to its end. One line."""


class Chosen(NamedTuple):
    """Whose sequence is tried."""

    organization_id: str
    sequence_id: UUID


Question = QueryStartForecast | QueryStartBacktest


class Bench:
    """A command's place: the jobs it puts down, and the views it looks into."""

    def __init__(self, settings: Settings, client: MongoClient) -> None:
        self._settings = settings
        self.jobs = TrialJobs(client, settings.database_prefix)
        self._views = ViewReader(client, settings.database_prefix)

    async def sequence(self, named: str, organization: str | None) -> Chosen:
        """By id, else by its whole name. Raises NoSuchSequence, NoSuchOrganization."""
        await must_be_shown(self._views, organization, "nothing was played")
        wanted: dict[str, Any] = {"_id": named} if _is_id(named) else {"name": named}
        if organization is not None:
            wanted["organization_id"] = organization
        sequences = await self._views.collection("sequences")
        found = await sequences.find(wanted, {"organization_id": 1}, limit=2).to_list()
        if len(found) > 1:
            raise NoSuchSequence(f"several sequences are called {named!r}: give the id")
        if not found:
            raise NoSuchSequence(f"there is no sequence {named!r}")
        return Chosen(found[0]["organization_id"], UUID(found[0]["_id"]))

    async def ids(self, view: str, wanted: dict[str, Any]) -> list[str]:
        """Of what a view holds. Raises NobodyFound for none and for too many."""
        collection = await self._views.collection(view)
        found = await collection.find(wanted, {"_id": 1}, limit=MOST_TARGETS + 1).to_list()
        if not found:
            raise NobodyFound(f"there are no {view} like that")
        if len(found) > MOST_TARGETS:
            raise NobodyFound(f"there are more than {MOST_TARGETS} {view} like that: narrow it")
        return [str(each["_id"]) for each in found]

    async def run(
        self,
        kind: Literal["forecast", "backtest"],
        organization_id: str,
        targets: Sequence[str],
        question: Callable[[str], Question],
    ) -> dict[str, Any]:
        """The finished job. Interrupted, it cancels the job. Raises TrialFailed, Refused, NoAnswer."""
        job_id = new_id().hex
        await self.jobs.prepare()
        await self.jobs.add(job_id, organization_id, kind, {"by": "command line"}, targets, datetime.now(UTC))
        try:
            async with broker(self._settings) as link:
                await link.ask(question(job_id), organization_id=organization_id)
            return await self._followed(kind, job_id, organization_id)
        finally:
            await self.jobs.cancel(job_id, organization_id, datetime.now(UTC))  # one that is over stays as it is

    async def _followed(self, kind: str, job_id: str, organization_id: str) -> dict[str, Any]:
        with progress_bar() as bar:
            shown = bar.add_task(kind, total=None)
            while True:
                job = await self.jobs.get(job_id, organization_id, datetime.now(UTC))
                if job is None:
                    raise TrialFailed(f"the {kind} is gone")
                bar.update(shown, total=job["total"] or None, completed=job["done"])
                if job["state"] == "done":
                    return job
                if job["state"] not in OPEN:
                    raise TrialFailed(f"{kind}: {_reason(job)}")
                await asyncio.sleep(POLL_SECONDS)


async def at_bench(settings: Settings, work: Callable[[Bench], Any]) -> Any:
    """Connected to MongoDB, does ``work``."""
    async with mongo(settings) as client:
        return await work(Bench(settings, client))


def definition_from(path: Path) -> SequenceDefinition:
    """A sequence from a YAML or JSON file. Raises BadParameter with what is wrong, field by field."""
    try:
        plain = parse(path.read_bytes())
        return SequenceDefinition.model_validate(plain)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from None
    except BadYaml as error:
        raise typer.BadParameter(f"{path}: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{each['field'] or 'file'}: {each['problem']}" for each in reasons_of(error, plain))
        raise typer.BadParameter(f"{path}: {wrong}") from None


def plotted(count: int, most: int) -> str:
    """A bar as long as its share of the longest; nothing is left out of sight."""
    if not count:
        return ""
    return "█" * max(1, round(count / most * BAR_WIDTH))


def in_short(counts: dict[str, int]) -> str:
    """Counts by name, the highest first."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _reason(job: dict[str, Any]) -> str:
    problem = job["problem"]
    if isinstance(problem, dict):
        return str(problem.get("detail") or problem.get("title") or problem.get("code"))
    return str(problem or job["state"])
