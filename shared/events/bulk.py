"""Bulk: one order over many targets. Orders to it, and what has happened in it.

A bulk is gathered (its targets arrive in pages), then carried out by the clerk, one command per target with an id
made of both, so that it can be taken up again at any point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    Enroll,
    MigrateEnrollment,
    PauseEnrollment,
    RestartEnrollment,
    ResumeEnrollment,
    StartEnrollment,
    UndoEnrollment,
)
from shared.events.errors import InvalidMessage
from shared.events.lead import AssignLead, ScoreLead, SetLeadStatus, TagLead
from shared.events.message import Command, Event, Value
from shared.events.places import reasons_of

#: Targets in one page of a bulk: a page is one event.
PAGE = 1_000
#: Targets of one bulk.
MOST_TARGETS = 100_000


class BulkKind(NamedTuple):
    """What is done to each target: ``command`` with the target's id in ``target``, and the order's fields."""

    command: type[Command]
    target: str


#: By the word used in orders and in the API.
BULK_KINDS: Mapping[str, BulkKind] = {
    "enroll": BulkKind(Enroll, "lead_id"),
    "tag": BulkKind(TagLead, "lead_id"),
    "score": BulkKind(ScoreLead, "lead_id"),
    "status": BulkKind(SetLeadStatus, "lead_id"),
    "assign": BulkKind(AssignLead, "lead_id"),
    "start": BulkKind(StartEnrollment, "enrollment_id"),
    "pause": BulkKind(PauseEnrollment, "enrollment_id"),
    "resume": BulkKind(ResumeEnrollment, "enrollment_id"),
    "cancel": BulkKind(CancelEnrollment, "enrollment_id"),
    "migrate": BulkKind(MigrateEnrollment, "enrollment_id"),
    "advance": BulkKind(AdvanceEnrollment, "enrollment_id"),
    "restart": BulkKind(RestartEnrollment, "enrollment_id"),
    "undo_enroll": BulkKind(UndoEnrollment, "lead_id"),
}

_NOBODY = UUID(int=0)


def command_of(kind: str, order: Mapping[str, Any], target: UUID = _NOBODY) -> Command:
    """The command for one target. Raises InvalidMessage, naming the fields below ``order``."""
    known = BULK_KINDS.get(kind)
    if known is None:
        raise InvalidMessage([{"field": "kind", "problem": f"must be one of {', '.join(BULK_KINDS)}"}])
    try:
        return known.command.model_validate({**order, known.target: target})
    except ValidationError as error:
        reasons = [{**each, "field": f"order.{each['field']}"} for each in reasons_of(error, order)]
        raise InvalidMessage(reasons) from None


# --- orders ---------------------------------------------------------------------------------------------------------


class OrderBulk(Command):
    """Open a bulk. ``order`` holds the command's fields but for the target's id, alike for every target. ``filter`` is
    how the targets were chosen, without personal values; None when they were named one by one."""

    TOPIC = "bulk.order.v1"
    bulk_id: UUID
    kind: str
    order: dict[str, Any] = {}
    filter: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> OrderBulk:
        try:
            command_of(self.kind, self.order)
        except InvalidMessage as error:
            raise ValueError(str(error)) from None
        return self


class NameBulkTargets(Command):
    """The next page of targets; pages count from 1. One that came already is no error."""

    TOPIC = "bulk.name_targets.v1"
    bulk_id: UUID
    page: int = Field(ge=1)
    targets: list[UUID] = Field(min_length=1, max_length=PAGE)


class BeginBulk(Command):
    """Every page has come: carry it out."""

    TOPIC = "bulk.begin.v1"
    bulk_id: UUID
    pages: int = Field(ge=0)


class CancelBulk(Command):
    """Leave the targets that are still to come as they are."""

    TOPIC = "bulk.cancel.v1"
    bulk_id: UUID


class UndoBulk(Command):
    """Undo a bulk enrolment by another bulk, ``undo_id``: cancels the enrollments it opened that no message went out
    to. ``also_sent``: those too that had messages; these cannot be undone and are reported."""

    TOPIC = "bulk.undo.v1"
    bulk_id: UUID
    undo_id: UUID
    also_sent: bool = False


class Refusal(Value):
    """A target that was refused, or of which something stays (``stays``): ``code`` is stable, ``detail`` without
    personal data."""

    target: UUID
    code: str
    detail: str


class RecordBulkProgress(Command):
    """What became of the targets from ``begin`` (counted from 0) to ``end`` (exclusive); given by the clerk, in
    process. ``done`` were changed, ``unchanged`` were so already. ``stays``: those of the done of which something
    cannot be taken back."""

    TOPIC = "bulk.record_progress.v1"
    bulk_id: UUID
    begin: int
    end: int
    done: int
    unchanged: int
    refusals: list[Refusal] = []
    stays: list[Refusal] = []


# --- what has happened ----------------------------------------------------------------------------------------------


class BulkOrdered(Event):
    """``source``: the bulk whose targets this one takes (that it undoes), None when they are named in pages.
    ``inside``: the sequence whose enrollments it is for, those open at this moment; the clerk names them. ``filter``:
    how the targets were chosen, without personal values, None when they were named or taken over."""

    TOPIC = "bulk.ordered.v1"
    kind: str
    order: dict[str, Any] = {}
    source: UUID | None = None
    inside: UUID | None = None
    filter: dict[str, Any] | None = None


class BulkTargetsNamed(Event):
    TOPIC = "bulk.targets_named.v1"
    page: int
    targets: list[UUID]


class BulkBegun(Event):
    """It is carried out from now on. ``count``: targets in all."""

    TOPIC = "bulk.begun.v1"
    count: int


class BulkAdvanced(Event):
    """``handled``: targets dealt with so far; the other figures are of this advance alone. ``stays``: those of the done
    of which something cannot be taken back."""

    TOPIC = "bulk.advanced.v1"
    handled: int
    done: int
    unchanged: int
    refusals: list[Refusal] = []
    stays: list[Refusal] = []


class BulkFinished(Event):
    """Every target was dealt with. Figures are of the whole; ``reasons`` counts refusals by code."""

    TOPIC = "bulk.finished.v1"
    done: int
    unchanged: int
    refused: int
    reasons: dict[str, int] = {}


class BulkCancelled(Event):
    """The targets not yet handled stay as they are."""

    TOPIC = "bulk.cancelled.v1"
    handled: int


class BulkUndone(Event):
    """Another bulk takes back what this one did."""

    TOPIC = "bulk.undone.v1"
    undo_id: UUID
