"""Orders about drafts: edit, approve, reject. Approved, the step sends it like any other message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal
from uuid import UUID

from services.enrollment.domain.content_check import ContentFacts, Finding, finding, text_errors
from services.enrollment.domain.due import go_on, run_on
from services.enrollment.domain.enrollment import Approved, Enrollment, Status
from services.enrollment.domain.errors import InvalidDraft, NotADraft
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.leaving import leave
from services.enrollment.domain.planning import plan_after, plan_at, scene_of
from services.enrollment.domain.snippets import Snippet, faults
from services.enrollment.domain.task import Content, Task
from services.enrollment.domain.task_orders import awaiting, still_open
from services.enrollment.domain.work import Work
from shared.events.enrollment import StepApproved, StepSkipped
from shared.events.kinds import EmailManualConfig
from shared.events.task import (
    CONTENT_FIELDS,
    ApproveDraft,
    DraftApproved,
    DraftEdited,
    DraftRejected,
    EditDraft,
    RejectDraft,
)
from shared.events.why import Plan, Why

REJECTED = "draft_rejected"


def edit(work: Work, command: EditDraft, facts: ContentFacts) -> None:
    """Raises UnknownTarget, NotADraft, TaskClosed, or InvalidDraft for content that could not be sent.

    ``facts`` is what a parser read in the new content.
    """
    draft = _open_draft(work, command.task_id)
    known = draft.content or Content(None, None, None, None)
    given = {name: value for name in CONTENT_FIELDS if (value := getattr(command, name)) is not None}
    content = known._replace(**given)
    organization = work.find_organization()
    errors = list(_faults(content, facts, organization.snippets if organization is not None else {}))
    if errors:
        raise InvalidDraft("; ".join(f"{each['field']}: {each['problem']}" for each in errors), errors=errors)
    if content != known:
        work.record("task", draft.id, DraftEdited(**content._asdict()), draft.lead_id)


def _faults(content: Content, facts: ContentFacts, snippets: Mapping[str, Snippet]) -> Iterator[Finding]:
    """What a step with this content would be refused for, by field."""
    if not (content.subject or "").strip():
        yield finding("subject", "must not be blank")
    if not (content.html or "").strip() and not (content.text or "").strip():
        yield finding("html", "html or text must be given")
    for place, tags in facts.unknown_tags.items():
        for tag in tags:
            yield finding(place, f"uses the unknown tag {tag}")
    for place, fault in facts.faults.items():
        yield finding(place, fault)
    for place, text in content._asdict().items():
        if text and text.strip():
            yield from text_errors(place, place, text)
            for fault in faults(text, snippets):
                yield finding(place, fault)


def approve(work: Work, command: ApproveDraft) -> None:
    """Raises UnknownTarget, NotADraft, or TaskClosed when it was rejected or withdrawn."""
    draft = work.task(command.task_id)
    if draft.status == "approved":
        return
    draft = _open_draft(work, command.task_id)
    work.record("task", draft.id, DraftApproved(), draft.lead_id)
    state = awaiting(work, draft)
    if state is None:
        return
    assert state.plan is not None
    state = work.on_enrollment(
        state,
        StepApproved(
            execution=state.plan.execution,
            step_id=state.plan.step_id,
            task_id=draft.id,
            plan=_approved_plan(work, state, state.plan, draft),
        ),
    )
    if state.status == Status.ACTIVE:
        run_on(work, state, messages=True)


def _approved_plan(work: Work, state: Enrollment, plan: Plan, draft: Task) -> Plan:
    """When it goes out. A paused enrollment reserves nothing; it plans again when it is resumed."""
    why = Why(rule="approved", inputs={"draft": str(draft.id)})
    scene = scene_of(work, state)
    node = scene.version.nodes.get(plan.step_id)
    if node is None or state.status != Status.ACTIVE:
        return Plan(step_id=plan.step_id, execution=plan.execution, at=work.now, due_at=work.now, why=why)
    approved = replace(state, approved=Approved(plan.step_id, draft.id))
    return plan_at(scene, approved, node, execution=plan.execution, due=work.now, why=why)


def reject(work: Work, command: RejectDraft) -> None:
    """Raises UnknownTarget, NotADraft, or TaskClosed when it was approved or withdrawn."""
    draft = work.task(command.task_id)
    if draft.status == "rejected":
        return
    draft = _open_draft(work, command.task_id)
    state = awaiting(work, draft)
    then = command.then or (_as_the_step_says(work, state) if state is not None else "skip")
    work.record("task", draft.id, DraftRejected(reason=command.reason, then=then), draft.lead_id)
    if state is None:
        return
    assert state.plan is not None
    step_id, execution, active = state.plan.step_id, state.plan.execution, state.status == Status.ACTIVE
    why = Why(rule=REJECTED, inputs={"draft": str(draft.id), "then": then})
    goes_on = active and then == "skip"
    plan = plan_after(scene_of(work, state), state, step_id, moment=work.now) if goes_on else None
    state = work.on_enrollment(
        state, StepSkipped(execution=execution, step_id=step_id, kind=draft.kind, why=why, plan=plan)
    )
    if then == "exit":
        leave(work, state, REJECTED, stop="cancelled", why=why)
    elif active:
        go_on(work, state)


def _as_the_step_says(work: Work, state: Enrollment) -> Literal["skip", "exit"]:
    assert state.plan is not None
    node = work.version(state.sequence_id, state.version).nodes.get(state.plan.step_id)
    config = node.step.config if node is not None else None
    return config.on_reject if isinstance(config, EmailManualConfig) else "skip"


def _open_draft(work: Work, task_id: UUID) -> Task:
    draft = work.task(task_id)
    if not draft.is_draft:
        raise NotADraft(f"task {draft.id} is no draft")
    still_open(draft)
    return draft
