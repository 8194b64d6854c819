"""The inbox: what is due when, whose it is, and drafts to approve."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.gateway.routes.drafts import DraftEdit
from shared.clock import SystemClock
from shared.events.task import ApproveDraft, CompleteTask, EditDraft, OpenTask, RejectDraft
from tests.gateway.conftest import ADMIN, LEAD, NOW, SEQUENCE, Gateway, lead_document

UUID4 = "00000000-0000-0000-0000-000000000004"


def task(number: int, **more: Any) -> dict[str, Any]:
    """A task as the projector writes it."""
    return {
        "_id": f"t{number}",
        "lead_id": str(LEAD),
        "title": f"Task {number}",
        "kind": "task",
        "draft": False,
        "status": "open",
        "assignee": None,
        "sequence_id": None,
        "due_at": NOW,
        **more,
    }


async def ids(gateway: Gateway, url: str, headers: dict[str, str] | None = None) -> list[str]:
    answer = await gateway.http.get(url, headers=headers or gateway.key())
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["items"]]


async def test_the_inbox_is_filtered_by_when_whose_and_what(gateway: Gateway) -> None:
    now = SystemClock().now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await gateway.put("leads", lead_document(0, name="Ada"))
    await gateway.put(
        "tasks",
        task(1, due_at=midnight - timedelta(days=2)),
        task(2, due_at=midnight + timedelta(hours=23, minutes=59), assignee=str(ADMIN)),
        task(3, due_at=midnight + timedelta(days=1), kind="call", sequence_id=str(SEQUENCE)),
        task(4, due_at=midnight - timedelta(days=1), status="completed"),
        task(5, due_at=midnight - timedelta(days=1), draft=True, kind="email_manual", subject="Hi"),
    )
    assert await ids(gateway, "/api/v1/tasks") == ["t1", "t4", "t2", "t3"]
    assert await ids(gateway, "/api/v1/tasks?due=overdue") == ["t1"]
    assert await ids(gateway, "/api/v1/tasks?due=today") == ["t2"]
    assert await ids(gateway, "/api/v1/tasks?due=upcoming") == ["t3"]
    assert await ids(gateway, "/api/v1/tasks?status=completed") == ["t4"]
    assert await ids(gateway, "/api/v1/tasks?kind=call") == ["t3"]
    assert await ids(gateway, f"/api/v1/tasks?sequence_id={SEQUENCE}") == ["t3"]
    bearer = {"Authorization": f"Bearer {await gateway.token()}"}
    assert await ids(gateway, "/api/v1/tasks?mine=true", bearer) == ["t2"]
    assert await ids(gateway, "/api/v1/drafts") == ["t5"]
    assert await ids(gateway, "/api/v1/drafts?due=overdue") == ["t5"]
    assert await ids(gateway, "/api/v1/drafts?status=rejected") == []
    answer = await gateway.http.get("/api/v1/tasks?due=soon", headers=gateway.key())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "due")


async def test_orders_about_tasks_and_drafts_reach_the_write_side(gateway: Gateway) -> None:
    api, headers = "/api/v1", gateway.key()
    new = {"lead_id": str(LEAD), "kind": "call", "title": "Ring", "due_at": NOW.isoformat()}
    for method, path, body in (
        ("POST", "/tasks", new),
        ("POST", f"/tasks/{UUID4}/complete", {"outcome": "no_answer"}),
        ("PATCH", f"/drafts/{UUID4}", {"subject": "Dear"}),
        ("POST", f"/drafts/{UUID4}/approve", None),
        ("POST", f"/drafts/{UUID4}/reject", {"reason": "no", "then": "exit"}),
    ):
        answer = await gateway.http.request(method, api + path, headers=headers, json=body)
        assert answer.status_code in (200, 201), answer.text
    sent = [envelope.message for envelope in gateway.write_side.seen]
    assert [type(message) for message in sent] == [OpenTask, CompleteTask, EditDraft, ApproveDraft, RejectDraft]
    assert isinstance(sent[0], OpenTask)
    assert sent[0].kind == "call"
    assert isinstance(sent[4], RejectDraft)
    assert (sent[4].reason, sent[4].then) == ("no", "exit")


async def test_a_task_is_no_draft(gateway: Gateway) -> None:
    await gateway.put("tasks", task(4, _id=UUID4))
    assert (await gateway.http.get(f"/api/v1/drafts/{UUID4}", headers=gateway.key())).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", f"/drafts/{UUID4}", {}, "body"),
        ("PATCH", f"/drafts/{UUID4}", {"subject": ""}, "subject"),
        ("POST", f"/drafts/{UUID4}/reject", {}, "reason"),
        ("POST", f"/drafts/{UUID4}/reject", {"reason": "no", "then": "wait"}, "then"),
        ("POST", "/tasks", {"lead_id": str(LEAD), "kind": "dance", "title": "x", "due_at": NOW.isoformat()}, "kind"),
        ("POST", f"/tasks/{UUID4}/snooze", {"until": "soon"}, "until"),
    ],
)
async def test_bad_input_names_its_field(
    gateway: Gateway, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await gateway.http.request(method, f"/api/v1{path}", headers=gateway.key(), json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert gateway.write_side.seen == []


def test_an_edit_may_empty_a_text() -> None:
    assert DraftEdit(text="", html="<p>x</p>").text == ""
