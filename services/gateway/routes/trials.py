"""Trying a sequence before anything is sent to its leads: dry run, preview, and a test message to oneself."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field, model_validator

from services.gateway.bodies import Body
from services.gateway.context import Context, Done, may
from services.gateway.masking import content_as_seen_by
from services.gateway.times import Beginning
from services.gateway.trial_shapes import DryRun, Preview, SentTest
from shared.events.definition import SequenceDefinition, StepId
from shared.events.dispatch import DressedStep, SendTest
from shared.events.lead import LeadBody
from shared.events.message import MOST
from shared.events.query import PlayedSignal, QueryDryRun, QueryPreview, QueryTestMessage

#: Test messages in ten minutes, by member or key and by organization: enough to look at a sequence, too few to mail a
#: list.
TESTS_PER_CALLER = 20
TESTS_PER_ORGANIZATION = 60
WINDOW_SECONDS = 600

router = APIRouter(prefix="/sequences", tags=["sequences"])


class OneLead(Body):
    """``lead_id`` names a known lead, ``lead`` gives the fields of a made-up one. ``definition`` tries unsaved content,
    ``version`` a published one; without both the draft, else what runs."""

    model_config = ConfigDict(populate_by_name=True)

    lead_id: UUID | None = None
    lead: LeadBody | None = None
    version: int | None = Field(default=None, ge=1, le=MOST)
    definition: SequenceDefinition | None = None

    @model_validator(mode="after")
    def _one_lead(self) -> Self:
        if (self.lead_id is None) == (self.lead is None):
            raise ValueError("exactly one of lead_id and lead must be given")
        return self


class Trial(OneLead):
    """``from`` is the moment of entering, now when left out."""

    from_: Beginning | None = Field(default=None, alias="from")
    signals: list[PlayedSignal] = Field(default=[], max_length=200)


class OneMessage(OneLead):
    """``variant``: as those get it who drew that; the step as it stands when left out."""

    step_id: StepId
    variant: str | None = Field(default=None, min_length=1, max_length=64)


class SendingTest(OneMessage):
    """``to`` is who gets it, whatever the lead's own address."""

    to: str = Field(min_length=3, max_length=320)


@router.post("/{sequence_id}/test", response_model=DryRun)
async def dry_run(sequence_id: UUID, body: Trial, context: Context = may("sequences:read")) -> dict[str, Any]:
    """What one lead would get: every step with its time, content and reason. Nothing is sent."""
    organization_id = context.principal.organization_id
    question = QueryDryRun(organization_id=organization_id, sequence_id=sequence_id, **dict(body))
    told = await context.parts.commands.ask(organization_id, question)
    return {**told, "steps": [content_as_seen_by(context.principal, each) for each in told["steps"]]}


@router.post("/{sequence_id}/preview", response_model=Preview)
async def preview(sequence_id: UUID, body: OneMessage, context: Context = may("sequences:read")) -> dict[str, Any]:
    """One message as the lead would read it."""
    organization_id = context.principal.organization_id
    question = QueryPreview(organization_id=organization_id, sequence_id=sequence_id, **dict(body))
    return content_as_seen_by(context.principal, await context.parts.commands.ask(organization_id, question))


@router.post("/{sequence_id}/send-test", response_model=SentTest)
async def send_test(sequence_id: UUID, body: SendingTest, context: Context = may("sequences:write")) -> Response:
    """Sends one message of the sequence to an address of your own, marked as a test. It is counted for nothing: no
    enrollment, no statistics, no tracking."""

    async def work(command_id: str) -> Done:
        organization_id, parts = context.principal.organization_id, context.parts
        question = QueryTestMessage(organization_id=organization_id, sequence_id=sequence_id, **dict(body))
        made = await parts.commands.ask(organization_id, question)
        await parts.test_tries.count(f"caller:{context.principal.id}", TESTS_PER_CALLER, WINDOW_SECONDS)
        await parts.test_tries.count(f"organization:{organization_id}", TESTS_PER_ORGANIZATION, WINDOW_SECONDS)
        step = DressedStep.model_validate(made["step"])
        order = SendTest(step=step, asked_at=parts.clock.wall())
        answer = await parts.commands.send(context.principal, order, command_id)
        return Done({"to": step.address, "message_id": answer.result.get("message_id")})

    return await context.once(work)
