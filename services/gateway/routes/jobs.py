"""Forecasts and backtests: begun here, run by a reader, looked after until somebody has read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from services.gateway.bodies import Body
from services.gateway.context import Context, Done, may
from services.gateway.errors import Invalid, NotFound
from services.gateway.shapes import Created
from services.gateway.times import Beginning
from services.gateway.trial_shapes import Job, JobBegun, JobRows
from shared.events.definition import SequenceDefinition
from shared.events.message import MOST, Instant, Message
from shared.events.patterns import ROW_CURSOR
from shared.events.query import QueryStartBacktest, QueryStartForecast, Rates

router = APIRouter(tags=["sequences"])

#: Leads or enrollments in one job.
MOST_TARGETS = 100_000


class CohortFilter(Body):
    """Known leads that have all of these."""

    status: str | None = Field(default=None, max_length=200)
    source: str | None = Field(default=None, max_length=200)
    funnel_id: str | None = Field(default=None, max_length=200)
    tag: str | None = Field(default=None, max_length=200)

    def conditions(self) -> dict[str, Any]:
        named = {"status": self.status, "source": self.source, "funnels": self.funnel_id, "tags": self.tag}
        return {name: value for name, value in named.items() if value is not None}

    def alive(self) -> dict[str, Any]:
        """The same, without those erased."""
        return {"erased": False, **self.conditions()}


class Cohort(Body):
    """``size`` made-up leads, or the known ones that ``filter`` finds (``{}``: everybody)."""

    size: int | None = Field(default=None, ge=1, le=1_000_000)
    filter: CohortFilter | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.size is None) == (self.filter is None):
            raise ValueError("exactly one of size and filter must be given")
        return self


class Forecast(Body):
    """``from`` is the moment everybody enters, now when left out. The same seed gives the same forecast."""

    model_config = ConfigDict(populate_by_name=True)

    cohort: Cohort
    from_: Beginning | None = Field(default=None, alias="from")
    seed: int = Field(default=0, ge=0, le=2**32)
    rates: Rates = Rates()
    version: int | None = Field(default=None, ge=1, le=MOST)
    definition: SequenceDefinition | None = None


class Backtest(Body):
    """The changed ``definition``, or a published ``version``, against those who entered from ``enrolled_from`` (inside)
    to ``enrolled_to`` (outside)."""

    definition: SequenceDefinition | None = None
    version: int | None = Field(default=None, ge=1, le=MOST)
    enrolled_from: Instant | None = None
    enrolled_to: Instant | None = None

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        if (self.definition is None) == (self.version is None):
            raise ValueError("exactly one of definition and version must be given")
        return self

    @field_validator("enrolled_to")
    @classmethod
    def _after_its_beginning(cls, end: datetime | None, others: ValidationInfo) -> datetime | None:
        beginning = others.data.get("enrolled_from")
        if end is not None and beginning is not None and end <= beginning:
            raise ValueError("must be after enrolled_from")
        return end


@router.post("/sequences/{sequence_id}/simulate", response_model=JobBegun, status_code=202)
async def simulate(sequence_id: UUID, body: Forecast, context: Context = may("sequences:write")) -> Response:
    """Forecasts a cohort, day by day: sends by channel, limits that bind, ends. Nothing is sent."""
    await context.document("sequences", sequence_id, "sequence")
    targets: list[str] = []
    if body.cohort.filter is not None:
        targets = await _ids(context, "leads", body.cohort.filter.alive(), "cohort.filter", "lead")

    def question(job_id: str) -> QueryStartForecast:
        return QueryStartForecast(
            organization_id=context.principal.organization_id,
            job_id=job_id,
            sequence_id=sequence_id,
            version=body.version,
            definition=body.definition,
            size=body.cohort.size,
            from_=body.from_,
            seed=body.seed,
            rates=body.rates,
        )

    asked = body.model_dump(mode="json", exclude={"definition"}, by_alias=True)
    return await _begin(context, "forecast", {"sequence_id": str(sequence_id), **asked}, targets, question)


@router.post("/sequences/{sequence_id}/backtest", response_model=JobBegun, status_code=202)
async def backtest(sequence_id: UUID, body: Backtest, context: Context = may("sequences:write")) -> Response:
    """Plays past enrollments through another definition: who would have got what, and when."""
    await context.document("sequences", sequence_id, "sequence")
    conditions: dict[str, Any] = {"sequence_id": str(sequence_id)}
    entered = {
        bound: moment
        for bound, moment in (("$gte", body.enrolled_from), ("$lt", body.enrolled_to))
        if moment is not None
    }
    if entered:
        conditions["started_at"] = entered
    targets = await _ids(context, "enrollments", conditions, "enrolled_from", "enrollment of that time")

    def question(job_id: str) -> QueryStartBacktest:
        return QueryStartBacktest(
            organization_id=context.principal.organization_id,
            job_id=job_id,
            sequence_id=sequence_id,
            version=body.version,
            definition=body.definition,
        )

    asked = body.model_dump(mode="json", exclude={"definition"})
    return await _begin(context, "backtest", {"sequence_id": str(sequence_id), **asked}, targets, question)


@router.get("/jobs/{job_id}", response_model=Created, responses={200: {"model": Job}})
async def job(job_id: str, context: Context = may("sequences:read")) -> dict[str, Any]:
    """How far a job is, and its result: a forecast, a backtest, or (for who may see operations) what a view is put
    to."""
    try:
        return _shown(await _job(context, job_id))
    except NotFound:
        seen = "operations:read" in context.principal.permissions
        found = await context.parts.views.job(job_id) if seen else None
        if found is None:
            raise
        return found


@router.get("/jobs/{job_id}/leads", response_model=JobRows)
async def leads(
    job_id: str,
    cursor: str | None = Query(default=None, pattern=ROW_CURSOR),
    limit: int = Query(default=50, ge=1, le=500),
    context: Context = may("sequences:read"),
) -> dict[str, Any]:
    """Lead by lead, what a backtest found to differ."""
    found = await _job(context, job_id)
    after = int(cursor) if cursor is not None else -1
    rows = await context.parts.trials.rows(found["_id"], after, limit + 1)
    more = len(rows) > limit
    return {
        "items": [each["row"] for each in rows[:limit]],
        "next_cursor": str(rows[limit - 1]["number"]) if more else None,
    }


@router.delete("/jobs/{job_id}", status_code=204)
async def cancel(job_id: str, context: Context = may("sequences:write")) -> Response:
    """Stops it; one that is over stays as it is."""
    trials, now = context.parts.trials, context.parts.clock.wall()
    if not await trials.cancel(job_id, context.principal.organization_id, now):
        raise NotFound("job")
    return Response(status_code=204)


async def _job(context: Context, job_id: str) -> dict[str, Any]:
    found = await context.parts.trials.get(job_id, context.principal.organization_id, context.parts.clock.wall())
    if found is None:
        raise NotFound("job")
    return found


async def _ids(context: Context, view: str, conditions: dict[str, Any], asked_by: str, thing: str) -> list[str]:
    """Ids of what a view holds. Raises Invalid for none and for too many, at the field that ``asked_by`` names."""
    await context.reach(view)
    collection = await context.parts.views.collection(view)
    wanted = context.scope.filter(conditions)
    found = await collection.find(wanted, {"_id": 1}, limit=MOST_TARGETS + 1).to_list()
    if not found or len(found) > MOST_TARGETS:
        problem = f"finds no {thing}" if not found else f"finds more than {MOST_TARGETS}: narrow it"
        raise Invalid(f"{asked_by} {problem}", code="bad_cohort", errors=[{"field": asked_by, "problem": problem}])
    return [each["_id"] for each in found]


async def _begin(
    context: Context,
    kind: Literal["forecast", "backtest"],
    asked: dict[str, Any],
    targets: Sequence[str],
    question: Any,
) -> Response:
    async def work(job_id: str) -> Done:
        trials, organization_id = context.parts.trials, context.principal.organization_id
        await trials.add(job_id, organization_id, kind, asked, targets, context.parts.clock.wall())
        message: Message = question(job_id)
        await context.parts.commands.ask(organization_id, message)
        return Done({"job_id": job_id}, status=202)

    return await context.once(work)


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    names = ("kind", "state", "asked", "done", "total", "made_at", "ended_at", "result", "problem")
    return {"id": found["_id"], **{name: found.get(name) for name in names}}
