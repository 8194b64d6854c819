"""Orders to funnels. An assignment is recorded twice in one decision: in the funnel's stream, whose it is, and in the
sequence's, which matching reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from services.enrollment.domain import funnel
from services.enrollment.domain.content_check import finding
from services.enrollment.domain.funnel import Funnel, funnel_aggregate
from services.enrollment.domain.sequence import NO_FUNNEL, Sequence
from services.enrollment.domain.work import Work
from shared.events.definition import SequenceDefinition
from shared.events.funnel import AssignSequences, CloseForm, CreateFunnel, OpenForm, SetFunnel, UnassignSequences
from shared.events.message import Event
from shared.events.sequence import SequenceAssignedToFunnels, SequenceUnassignedFromFunnels


def create(work: Work, command: CreateFunnel) -> None:
    _record(
        work, command.funnel_id, funnel.create(work.find_funnel(command.funnel_id), command.funnel_id, command.name)
    )


def change(work: Work, command: SetFunnel) -> None:
    """Raises UnknownTarget, for the fallback sequence too."""
    if command.fallback is not None:
        work.sequence(command.fallback)
    _record(work, command.funnel_id, funnel.change(work.funnel(command.funnel_id), command))


def assign(work: Work, command: AssignSequences) -> None:
    """Raises UnknownTarget for a sequence."""
    for sequence_id in command.sequence_ids:
        known = work.sequence(sequence_id).funnels
        new = [each for each in dict.fromkeys(command.funnel_ids) if each not in known]
        if new:
            work.record("sequence", sequence_id, SequenceAssignedToFunnels(funnel_ids=new), None)
    for funnel_id in dict.fromkeys(command.funnel_ids):
        _record(work, funnel_id, funnel.assign(_made(work, funnel_id), command.sequence_ids))
    work.result = {"funnel_ids": command.funnel_ids, "sequence_ids": [str(each) for each in command.sequence_ids]}


def unassign(work: Work, command: UnassignSequences) -> None:
    """Raises UnknownTarget for a sequence or funnel."""
    for sequence_id in command.sequence_ids:
        known = work.sequence(sequence_id).funnels
        gone = [each for each in dict.fromkeys(command.funnel_ids) if each in known]
        if gone:
            work.record("sequence", sequence_id, SequenceUnassignedFromFunnels(funnel_ids=gone), None)
    for funnel_id in dict.fromkeys(command.funnel_ids):
        _record(work, funnel_id, funnel.unassign(work.funnel(funnel_id), command.sequence_ids))
    work.result = {
        "funnel_ids": command.funnel_ids,
        "sequence_ids": [str(each) for each in command.sequence_ids],
        "warnings": [
            finding(f"sequences.{each}", NO_FUNNEL)
            for each in command.sequence_ids
            if _takes_nobody(work.sequence(each))
        ],
    }


def _takes_nobody(state: Sequence) -> bool:
    """Has it lost its last funnel?"""
    definition = state.published or state.draft
    return state.narrowed and not state.funnels and definition is not None and not definition.trigger.any_funnel


def open_form(work: Work, command: OpenForm) -> None:
    """Raises UnknownTarget."""
    _record(work, command.funnel_id, funnel.open_form(work.funnel(command.funnel_id), command))
    work.result["form_key"] = command.form_key


def close_form(work: Work, command: CloseForm) -> None:
    """Raises UnknownTarget."""
    _record(work, command.funnel_id, funnel.close_form(work.funnel(command.funnel_id)))


def take_shorthand(
    work: Work,
    sequence_id: UUID,
    before: SequenceDefinition | None,
    after: SequenceDefinition,
    *,
    away: Collection[str] = (),
) -> None:
    """A version was published: the funnels its trigger names are assigned, but for those that were ``away``, taken away
    by hand; those that only the version before named are assigned no more.
    """
    wanted = list(dict.fromkeys(after.trigger.funnels))
    dropped = [each for each in (before.trigger.funnels if before is not None else []) if each not in wanted]
    if dropped or away:
        work.record("sequence", sequence_id, SequenceUnassignedFromFunnels(funnel_ids=[*dropped, *away]), None)
    for funnel_id in wanted:
        if funnel_id not in away:
            _record(work, funnel_id, funnel.assign(_made(work, funnel_id), [sequence_id]))
    for funnel_id in dropped:
        known = work.find_funnel(funnel_id)
        if known is not None:
            _record(work, funnel_id, funnel.unassign(known, [sequence_id]))


def _made(work: Work, funnel_id: str) -> Funnel:
    if work.find_funnel(funnel_id) is None:
        _record(work, funnel_id, funnel.create(None, funnel_id, ""))
    return work.funnel(funnel_id)


def _record(work: Work, funnel_id: str, events: Iterable[Event]) -> None:
    work.result["funnel_id"] = funnel_id
    for event in events:
        work.record("funnel", funnel_aggregate(work.organization_id, funnel_id), event, None)
