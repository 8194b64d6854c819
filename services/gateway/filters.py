"""What leads and enrollments may be chosen by, alike in lists and in bulks. Every condition is served by an index of
its view, or narrows one that is."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.shapes import EnrollmentStatus
from shared.events.message import MOST, Instant
from shared.persistence.search import query_terms

Text = Annotated[str | None, Query(max_length=200)]
Score = Annotated[int | None, Query(ge=0, le=100)]


class LeadFilter(BaseModel):
    """Leads that meet all that is given. An empty ``status`` finds those without one."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(default=None, max_length=200, description="Words, or beginnings of words.")
    status: str | None = Field(default=None, max_length=200)
    temperature: str | None = Field(default=None, max_length=200)
    source: str | None = Field(default=None, max_length=200)
    funnel_id: str | None = Field(default=None, max_length=200, description="Any that the lead came by.")
    tag: str | None = Field(default=None, max_length=200)
    owner: str | None = Field(default=None, max_length=200)
    email: str | None = Field(default=None, max_length=320)
    timezone: str | None = Field(default=None, max_length=64)
    locale: str | None = Field(default=None, max_length=35)
    score_min: int | None = Field(default=None, ge=0, le=100)
    score_max: int | None = Field(default=None, ge=0, le=100)
    converted: bool | None = None
    captured_from: Instant | None = None
    captured_to: Instant | None = Field(default=None, description="Exclusive.")

    def condition(self) -> dict[str, Any]:
        """For the leads view."""
        names = ("status", "temperature", "source", "owner", "email", "timezone", "locale", "converted")
        wanted: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.status == "":
            wanted["status"] = None
        if self.tag is not None:
            wanted["tags"] = self.tag
        if self.funnel_id is not None:
            wanted["funnels"] = self.funnel_id
        wanted |= _between("score", self.score_min, self.score_max, "$lte")
        wanted |= _between("captured_at", self.captured_from, self.captured_to, "$lt")
        terms = query_terms(self.q or "")
        if terms:
            wanted["search"] = {"$all": terms}
        return wanted

    def alive(self) -> dict[str, Any]:
        """The same, without those erased."""
        return {"erased": False, **self.condition()}


def lead_filter(  # noqa: PLR0913, PLR0917  # one for each parameter of the query
    status: Text = None,
    temperature: Text = None,
    source: Text = None,
    funnel_id: Text = None,
    tag: Text = None,
    owner: UUID | None = None,
    email: Annotated[str | None, Query(max_length=320)] = None,
    timezone: Annotated[str | None, Query(max_length=64)] = None,
    locale: Annotated[str | None, Query(max_length=35)] = None,
    score_min: Score = None,
    score_max: Score = None,
    converted: bool | None = None,
    captured_from: Instant | None = None,
    captured_to: Instant | None = None,
    q: Text = None,
) -> LeadFilter:
    """The same as parameters of a query."""
    return LeadFilter(
        q=q,
        status=status,
        temperature=temperature,
        source=source,
        funnel_id=funnel_id,
        tag=tag,
        owner=str(owner) if owner is not None else None,
        email=email,
        timezone=timezone,
        locale=locale,
        score_min=score_min,
        score_max=score_max,
        converted=converted,
        captured_from=captured_from,
        captured_to=captured_to,
    )


Filtered = Annotated[LeadFilter, Depends(lead_filter)]


class EnrollmentFilter(BaseModel):
    """Enrollments that meet all that is given; without a status the open ones."""

    model_config = ConfigDict(extra="forbid")

    sequence_id: UUID | None = None
    status: EnrollmentStatus | None = None
    version: int | None = Field(default=None, ge=1, le=MOST)
    current_step: str | None = Field(default=None, max_length=64)

    def condition(self) -> dict[str, Any]:
        """For the enrollments view."""
        wanted: dict[str, Any] = {"status": self.status or {"$in": ["pending", "active", "paused"]}}
        if self.sequence_id is not None:
            wanted["sequence_id"] = str(self.sequence_id)
        if self.version is not None:
            wanted["version"] = self.version
        if self.current_step is not None:
            wanted["current_step"] = self.current_step
        return wanted


def _between(field: str, low: Any, high: Any, below: str) -> dict[str, Any]:
    bounds = {name: value for name, value in (("$gte", low), (below, high)) if value is not None}
    return {field: bounds} if bounds else {}
