"""Funnel: a named source of leads. Which sequences take its leads, what happens when none does, and its web form."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.events.message import Command, Event
from shared.events.patterns import FORM_KEY, ORIGIN, REDIRECT

#: As funnels send it in ``funnel_id``.
FunnelId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: Funnels, or sequences, of one order.
MOST = 100


class CreateFunnel(Command):
    """Make a funnel; one that exists already (an assignment made it) gets this name."""

    TOPIC = "funnel.create.v1"
    funnel_id: FunnelId
    name: str = Field(default="", max_length=200)


class SetFunnel(Command):
    """Change a funnel; absent fields stay. ``auto`` False: its leads are enrolled by hand only. ``fallback`` is the
    sequence for leads that no other takes; ``no_fallback`` takes it away."""

    TOPIC = "funnel.set.v1"
    funnel_id: FunnelId
    name: str | None = Field(default=None, min_length=1, max_length=200)
    auto: bool | None = None
    fallback: UUID | None = None
    no_fallback: bool = False


class AssignSequences(Command):
    """Each of the sequences takes leads of each of the funnels; a funnel that does not exist yet is made."""

    TOPIC = "funnel.assign.v1"
    funnel_ids: list[FunnelId] = Field(min_length=1, max_length=MOST)
    sequence_ids: list[UUID] = Field(min_length=1, max_length=MOST)


class UnassignSequences(Command):
    TOPIC = "funnel.unassign.v1"
    funnel_ids: list[FunnelId] = Field(min_length=1, max_length=MOST)
    sequence_ids: list[UUID] = Field(min_length=1, max_length=MOST)


class OpenForm(Command):
    """Take leads from web pages under ``form_key`` (public, made by the caller). ``origins`` are the sites that may
    post from a browser (none: any); ``redirect_to`` is where a browser goes afterwards."""

    TOPIC = "funnel.open_form.v1"
    funnel_id: FunnelId
    form_key: str = Field(pattern=FORM_KEY)
    origins: list[Annotated[str, StringConstraints(pattern=ORIGIN)]] = Field(default=[], max_length=20)
    redirect_to: str | None = Field(default=None, pattern=REDIRECT)


class CloseForm(Command):
    TOPIC = "funnel.close_form.v1"
    funnel_id: FunnelId


class FunnelCreated(Event):
    TOPIC = "funnel.created.v1"
    funnel_id: str
    name: str


class FunnelRenamed(Event):
    TOPIC = "funnel.renamed.v1"
    name: str


class FunnelSwitched(Event):
    """``auto``: are its leads enrolled by themselves?"""

    TOPIC = "funnel.switched.v1"
    auto: bool


class FunnelFallbackChosen(Event):
    """The sequence for leads that no other takes; None for none."""

    TOPIC = "funnel.fallback_chosen.v1"
    sequence_id: UUID | None


class FunnelSequencesAssigned(Event):
    TOPIC = "funnel.sequences_assigned.v1"
    sequence_ids: list[UUID]


class FunnelSequencesUnassigned(Event):
    TOPIC = "funnel.sequences_unassigned.v1"
    sequence_ids: list[UUID]


class FunnelFormOpened(Event):
    TOPIC = "funnel.form_opened.v1"
    form_key: str
    origins: list[str] = []
    redirect_to: str | None = None


class FunnelFormClosed(Event):
    TOPIC = "funnel.form_closed.v1"
