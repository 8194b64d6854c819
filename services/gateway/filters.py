"""What leads and enrollments may be chosen by, alike in lists and in bulks. Every condition is served by an index of
its view, or narrows one that is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.shapes import EnrollmentStatus
from shared.events.message import Instant
from shared.persistence.search import query_terms


class LeadFilter(BaseModel):
    """Leads that meet all that is given; an erased lead never does."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(default=None, max_length=200, description="Words, or beginnings of words.")
    status: str | None = Field(default=None, max_length=200)
    temperature: str | None = Field(default=None, max_length=200)
    source: str | None = Field(default=None, max_length=200)
    funnel_id: str | None = Field(default=None, max_length=200)
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
        names = ("status", "temperature", "source", "funnel_id", "owner", "email", "timezone", "locale", "converted")
        wanted: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.tag is not None:
            wanted["tags"] = self.tag
        wanted |= _between("score", self.score_min, self.score_max, "$lte")
        wanted |= _between("captured_at", self.captured_from, self.captured_to, "$lt")
        terms = query_terms(self.q or "")
        if terms:
            wanted["search"] = {"$all": terms}
        return {**wanted, "erased": {"$ne": True}}


class EnrollmentFilter(BaseModel):
    """Enrollments that meet all that is given; without a status the open ones."""

    model_config = ConfigDict(extra="forbid")

    sequence_id: UUID | None = None
    status: EnrollmentStatus | None = None
    version: int | None = Field(default=None, ge=1)
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
