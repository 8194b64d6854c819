"""The domain itself behind the gateway: organization demo with a lead in a sequence, and a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from services.enrollment.content_facts import read_content
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import handle
from services.enrollment.domain.memory_world import MemoryWorld
from shared.events import Envelope
from shared.events.query import Answer, Problem, QueryAggregateEvents
from shared.events.task import OpenTask
from tests.domain.scenario import SEQUENCE, Scenario, T
from tests.gateway.conftest import ADMIN, enrollment_document, lead_document

TASK = UUID(int=9)


class Ids(dict[str, Any]):
    """By path parameter; an id of nothing for those not named."""

    def __missing__(self, name: str) -> UUID:
        return UUID(int=8)


class DomainBehind:
    """Answers orders as the write side does. ``ids`` names what organization demo has, by path parameter."""

    def __init__(self) -> None:
        scenario = Scenario()
        scenario.when(OpenTask(task_id=TASK, lead_id=scenario.lead_id, title="Call", due_at=T))
        self.world: MemoryWorld = scenario.world
        self.ids: Mapping[str, Any] = Ids(
            {
                "lead_id": scenario.lead_id,
                "sequence_id": SEQUENCE,
                "enrollment_id": scenario.enrollment_id,
                "task_id": TASK,
                "draft_id": TASK,
                "version": 1,
                "message_id": f"{scenario.enrollment_id}-1",
                "member_id": ADMIN,
                "key_id": UUID(int=7),
                "sender_id": "default",
                "funnel_id": "spring-webinar",
                "calendar": "organization",
                "name": "leads",
                "mail_id": "m1",
                "letter_id": "l1",
                "job_id": "j1",
                "bulk_id": UUID(int=11),
                "snippet_id": "address",
            }
        )

    def answer(self, envelope: Envelope) -> Answer:
        """As the enrollment service's committer and reader do."""
        if isinstance(envelope.message, QueryAggregateEvents):
            return Answer(ok=True, result={"events": []})
        if envelope.topic.startswith("query."):
            problem = Problem(code="not_found", title="Not found", detail="nothing of this is here", status=404)
            return Answer(ok=False, problem=problem)
        try:
            definition = getattr(envelope.message, "definition", None)
            decision = handle(envelope, self.world, read_content(definition.steps) if definition is not None else {})
        except DomainError as error:
            problem = Problem(
                code=error.code, title=error.title, detail=str(error), status=error.status, errors=error.errors
            )
            return Answer(ok=False, problem=problem)
        self.world.apply(decision)
        return Answer(ok=True, result=decision.result, position="00-1")

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the views have of it."""
        lead_id, enrollment_id = str(self.ids["lead_id"]), str(self.ids["enrollment_id"])
        of = {"lead_id": lead_id, "enrollment_id": enrollment_id, "sequence_id": str(SEQUENCE)}
        yield "leads", {**lead_document(0), "_id": lead_id, "lead_id": lead_id}
        yield "enrollments", enrollment_document(_id=enrollment_id, lead_id=lead_id, sequence_id=str(SEQUENCE))
        definition = {
            "name": "Test",
            "steps": [{"step_id": "hi", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}],
        }
        document = {"name": "Test", "status": "active", "definition": definition, "created_at": T, "version": 1}
        yield "sequences", {"_id": str(SEQUENCE), **document}
        yield "tasks", {"_id": str(TASK), "status": "open", "due_at": T, **of}
        yield "messages", {"_id": f"{enrollment_id}-1", "status": "sent", "due_at": T, "execution": 1, **of}
