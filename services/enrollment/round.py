"""One attempt at a batch: each command decided on the state the ones before it left, and what all of them write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import orjson
import structlog

from services.enrollment.batch_world import BatchWorld
from services.enrollment.content_facts import read_content, read_texts
from services.enrollment.domain.definition_check import ContentFacts
from services.enrollment.domain.enrolling import next_enrollment
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import Decision, handle
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import Change
from services.enrollment.effects import effects_of
from services.enrollment.states import States
from services.enrollment.telemetry import COMMANDS, QUOTA_WAITS
from shared.events.enrollment import Enroll
from shared.events.envelope import Envelope
from shared.events.message import Message
from shared.events.organization import SetSnippet
from shared.events.query import Answer, Problem
from shared.events.sequence import ChangeSequence, DraftSequence, EditSequence
from shared.events.task import CONTENT_FIELDS, EditDraft
from shared.ids import partition_of
from shared.persistence.eventstore import Effects, EventStore, InboxKey, InboxRow, StoreUnavailable, SyncFailed

log = structlog.get_logger()

_answer_as_json = Answer.__pydantic_serializer__.to_json


@dataclass(slots=True)
class Page:
    """Commands whose giver waits for all of them together; ``done`` is set when ``left`` of them reaches 0."""

    done: asyncio.Future[None]
    left: int


@dataclass(slots=True)
class Pending:
    """A command waiting for its batch. ``exchange`` is None for one that needs no inbox: the state itself recognises
    its repeat. ``waiter`` is told once there is an answer or an error. ``key`` is the place in the inbox, if any."""

    envelope: Envelope
    exchange: str | None
    waiter: asyncio.Future[Answer] | Page
    answer: Answer | None = None
    error: BaseException | None = None
    key: InboxKey | None = field(init=False)

    def __post_init__(self) -> None:
        envelope, exchange = self.envelope, self.exchange
        if exchange is None or not envelope.id or envelope.organization_id is None:
            self.key = None
        else:
            self.key = InboxKey(envelope.organization_id, exchange, envelope.id)

    def belongs_to(self, organization_id: str, lead_id: UUID) -> None:
        """Says whose it is, when the message itself did not."""
        self.envelope = replace(self.envelope, organization_id=organization_id, lead_id=lead_id)
        self.__post_init__()

    @property
    def settled(self) -> bool:
        return self.answer is not None or self.error is not None

    def tell(self) -> None:
        """Hands the answer or the error over, on the loop. One without either stays as it is. Its giver may have gone
        away: what was committed stands all the same."""
        if not self.settled:
            return
        waiter = self.waiter
        if isinstance(waiter, Page):
            waiter.left -= 1
            if not waiter.left and not waiter.done.done():
                waiter.done.set_result(None)
        elif waiter.done():
            return
        elif self.error is not None:
            waiter.set_exception(self.error)
        elif self.answer is not None:
            waiter.set_result(self.answer)


class Round:
    """Decides a batch in arrival order. Used by the writer thread alone.

    ``envelopes``, ``effects`` and ``inbox`` are to be saved together; ``silent_reads`` names what was looked at by
    commands that wrote nothing.
    """

    def __init__(self, batch: Sequence[Pending], world: BatchWorld, store: EventStore, *, partitions: int) -> None:
        self.world = world
        self.envelopes: list[Envelope] = []
        self.effects: list[Effects] = []
        self.inbox: list[InboxRow] = []
        self.silent_reads: set[UUID] = set()
        self._batch = batch
        self._store = store
        self._partitions = partitions
        self._answers: dict[
            int, tuple[Answer, int | None]
        ] = {}  # by index; with the index of the event it is placed by
        self._errors: dict[int, BaseException] = {}
        self._repeats: dict[int, int] = {}  # index -> index of the same message earlier in the batch
        self._refused = False
        self._placed: tuple[UUID | None, int] = (None, 0)  # the lead, or aggregate, looked up last and its partition
        self._counted: Counter[tuple[str, str]] = Counter()  # by topic and result

    def decide(self) -> None:
        """Decides every command. Raises StoreUnavailable or SyncFailed."""
        first_of: dict[InboxKey, int] = {}
        for index, pending in enumerate(self._batch):
            key = pending.key
            if key is not None and key in first_of:
                self._repeats[index] = first_of[key]
                continue
            if key is not None:
                first_of[key] = index
            self._decide_one(index, pending)
        if self._refused:
            self.silent_reads.update(self.world.base_versions)
        for labels, count in self._counted.items():
            COMMANDS.labels(*labels).inc(count)

    def settle(self, positions: Sequence[int]) -> None:
        """Gives every command its answer or error; ``positions`` are those of ``envelopes``."""
        for index, pending in enumerate(self._batch):
            first = self._repeats.get(index, index)
            if first in self._errors:
                pending.error = self._errors[first]
                continue
            answer, last = self._answers[first]
            if last is not None:
                position = cursor(positions[last], self.envelopes[last].partition)
                answer = answer.model_copy(update={"position": position})
            pending.answer = answer

    def _decide_one(self, index: int, pending: Pending) -> None:
        envelope, world = pending.envelope, self.world
        try:
            decision = handle(envelope, world, facts_of(envelope.message))
        except DomainError as refusal:
            self._counted[envelope.topic, "refused"] += 1
            self._refused = True
            answer = Answer(ok=False, problem=problem_of(refusal))
            last = self._keep(refusal.recorded, envelope) if refusal.recorded is not None else None
            self._answer(index, pending, answer, last)
            return
        except (StoreUnavailable, SyncFailed):
            raise
        except Exception as error:
            log.exception("decision_failed", topic=envelope.topic, message_id=envelope.id)
            self._counted[envelope.topic, "failed"] += 1
            self._errors[index] = error
            return
        self._counted[envelope.topic, "accepted" if decision.changes else "already_so"] += 1
        if not decision.changes:
            self.silent_reads.update(decision.read)
        last = self._keep(decision, envelope)
        self._answer(index, pending, Answer(ok=True, result=decision.result), last)

    def _keep(self, decision: Decision, envelope: Envelope) -> int | None:
        """Takes over what was decided; answers the index of the event that the answer is placed by."""
        world = self.world
        versions = {change.id: world.version_of(change.id) for change in decision.changes}
        begin = len(self.envelopes)
        for change in decision.changes:
            versions[change.id] += 1
            plan = change.event.__dict__.get("plan")
            if plan is not None and plan.why.rule == "quota":
                scope = str(plan.why.inputs.get("scope", "")).partition(":")[0]
                QUOTA_WAITS.labels(scope, str(plan.why.inputs.get("unit", ""))).inc()
            self.envelopes.append(self._stamp(change, versions[change.id], envelope))
        effects = effects_of(decision, world, self._store)
        world.accept(decision)
        world.foresee(effects)
        self.effects.append(effects)
        return self._last_since(begin) if decision.changes else None

    def _last_since(self, begin: int) -> int:
        """The last event of a decision in the partition of its first: that is of what was ordered, and a view that
        has come so far shows it. What follows elsewhere (a funnel's assignment, a bulk) has positions of its own."""
        own = self.envelopes[begin].partition
        last = len(self.envelopes) - 1
        while self.envelopes[last].partition != own:
            last -= 1
        return last

    def _answer(self, index: int, pending: Pending, answer: Answer, last: int | None) -> None:
        """Keeps the answer, in the inbox too where the command needs one."""
        self._answers[index] = (answer, last)
        if pending.key is None:
            return
        event = self.envelopes[last] if last is not None else None
        kept = orjson.dumps(
            {"partition": event.partition if event else None, "answer": orjson.Fragment(_answer_as_json(answer))}
        )
        aggregate_id, version = (event.subject, event.aggregate_version) if event else (None, None)
        self.inbox.append(InboxRow(*pending.key, kept, aggregate_id, version))

    def _stamp(self, change: Change, version: int, cause: Envelope) -> Envelope:
        key = change.lead_id or change.id
        if self._placed[0] is not key:  # a decision's changes are mostly of one lead
            self._placed = (key, partition_of(key, self._partitions))
        return Envelope(
            id=f"{change.id.hex}-{version}",
            message=change.event,
            source="tendril/enrollment",
            time=self.world.now,
            organization_id=change.organization_id,
            subject=change.id,
            lead_id=change.lead_id,
            partition=self._placed[1],
            aggregate_version=version,
            traceparent=cause.traceparent,
            causation_id=cause.id,
            actor=cause.actor,
        )


#: Fields of messages that name an aggregate.
_NAMES = ("enrollment_id", "lead_id")


def prefetch(batch: Sequence[Pending], states: States) -> list[Lead]:
    """Reads what the batch will surely need in three queries: the named aggregates, the leads of those enrollments,
    and whether the enrollments exist that it is to make. Answers the leads."""
    said = [pending.envelope.message.__dict__ for pending in batch]
    named = {each for fields in said for name in _NAMES if (each := fields.get(name)) is not None}
    if len(named) < 2:
        return []
    found = [known.state for known in states.prefetch(named)]
    leads = {state.lead_id for state in found if isinstance(state, Enrollment)} - named
    found += [known.state for known in states.prefetch(leads)]
    known_leads = {state.id: state for state in found if isinstance(state, Lead)}
    to_make = {
        next_enrollment(lead, pending.envelope.message.sequence_id)
        for pending in batch
        if isinstance(pending.envelope.message, Enroll)
        and (lead := known_leads.get(pending.envelope.message.lead_id)) is not None
    }
    states.prefetch(to_make, note_absent=True)
    return list(known_leads.values())


def cursor(position: int | None, partition: int | None) -> str | None:
    """A position in the views' order, as clients name it; None when nothing was written."""
    return None if position is None or partition is None else f"{partition:02d}-{position}"


def facts_of(message: Message) -> dict[str, ContentFacts] | None:
    """What a parser reads in content, before it is decided on: by step id in a definition, else under the empty
    name.
    """
    match message:
        case DraftSequence() | EditSequence():
            return read_content(message.definition.steps)
        case ChangeSequence():
            return read_content(message.steps or [])
        case EditDraft():
            return {"": read_texts({name: text for name in CONTENT_FIELDS if (text := getattr(message, name))})}
        case SetSnippet():
            return {"": read_texts({"text": message.text, **({"html": message.html} if message.html else {})})}
    return None


def problem_of(error: DomainError) -> Problem:
    """A refusal as it is told to the caller."""
    return Problem(
        code=error.code, title=error.title, detail=str(error), status=error.status, errors=list(error.errors)
    )
