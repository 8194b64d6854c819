"""Funnel: a named source of leads. State and decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from shared.events.funnel import (
    FunnelCreated,
    FunnelFallbackChosen,
    FunnelFormClosed,
    FunnelFormOpened,
    FunnelRenamed,
    FunnelSequencesAssigned,
    FunnelSequencesUnassigned,
    FunnelSwitched,
    OpenForm,
    SetFunnel,
)
from shared.events.message import Event
from shared.ids import derived_id


@dataclass(frozen=True, slots=True)
class Form:
    form_key: str
    origins: tuple[str, ...] = ()
    redirect_to: str | None = None


@dataclass(frozen=True, slots=True)
class Funnel:
    """``funnel_id`` is the word that funnels send. ``sequences`` take its leads; ``fallback`` takes those that none of
    all sequences does.
    """

    id: UUID
    organization_id: str
    funnel_id: str = ""
    name: str = ""
    auto: bool = True
    fallback: UUID | None = None
    sequences: frozenset[UUID] = frozenset()
    form: Form | None = None


def funnel_aggregate(organization_id: str, funnel_id: str) -> UUID:
    """The aggregate id of a funnel."""
    return derived_id("funnel", organization_id, funnel_id)


def initial(aggregate_id: UUID, organization_id: str) -> Funnel:
    return Funnel(aggregate_id, organization_id)


def evolve(state: Funnel, event: Event, _at: datetime) -> Funnel:
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case FunnelCreated():
            state = replace(state, funnel_id=event.funnel_id, name=event.name)
        case FunnelRenamed():
            state = replace(state, name=event.name)
        case FunnelSwitched():
            state = replace(state, auto=event.auto)
        case FunnelFallbackChosen():
            state = replace(state, fallback=event.sequence_id)
        case FunnelSequencesAssigned():
            state = replace(state, sequences=state.sequences | set(event.sequence_ids))
        case FunnelSequencesUnassigned():
            state = replace(state, sequences=state.sequences - set(event.sequence_ids))
        case FunnelFormOpened():
            state = replace(state, form=Form(event.form_key, tuple(event.origins), event.redirect_to))
        case FunnelFormClosed():
            state = replace(state, form=None)
    return state


def create(state: Funnel | None, funnel_id: str, name: str) -> Iterator[Event]:
    """Without a name it is called as it is sent."""
    if state is None:
        yield FunnelCreated(funnel_id=funnel_id, name=name or funnel_id)
    elif name and name != state.name:
        yield FunnelRenamed(name=name)


def change(state: Funnel, command: SetFunnel) -> Iterator[Event]:
    if command.name is not None and command.name != state.name:
        yield FunnelRenamed(name=command.name)
    if command.auto is not None and command.auto != state.auto:
        yield FunnelSwitched(auto=command.auto)
    fallback = None if command.no_fallback else command.fallback or state.fallback
    if fallback != state.fallback:
        yield FunnelFallbackChosen(sequence_id=fallback)


def assign(state: Funnel, sequence_ids: Iterable[UUID]) -> Iterator[Event]:
    new = [each for each in dict.fromkeys(sequence_ids) if each not in state.sequences]
    if new:
        yield FunnelSequencesAssigned(sequence_ids=new)


def unassign(state: Funnel, sequence_ids: Iterable[UUID]) -> Iterator[Event]:
    gone = [each for each in dict.fromkeys(sequence_ids) if each in state.sequences]
    if gone:
        yield FunnelSequencesUnassigned(sequence_ids=gone)


def open_form(state: Funnel, command: OpenForm) -> Iterator[Event]:
    """A form that is open keeps its key unless another is given."""
    if state.form != Form(command.form_key, tuple(command.origins), command.redirect_to):
        yield FunnelFormOpened(form_key=command.form_key, origins=command.origins, redirect_to=command.redirect_to)


def close_form(state: Funnel) -> Iterator[Event]:
    if state.form is not None:
        yield FunnelFormClosed()
