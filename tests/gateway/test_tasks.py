"""The inbox: what is due when, whose it is, and drafts to approve."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.gateway.routes.drafts import DraftEdit
from shared.clock import SystemClock
from shared.events.task import ApproveDraft, CompleteTask, EditDraft, OpenTask, RejectDraft
from tests.gateway.conftest import ADMIN, LEAD, NOW, SEQUENCE, VIEWER, Gateway, lead_document
from tests.gateway.domain import DomainBehind
from tests.support.waiting import eventually

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


async def test_tasks_of_a_member_who_is_gone_are_nobodys_and_everybody_sees_them(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0, name="Ada"))
    await gateway.put(
        "tasks",
        task(1, due_at=NOW - timedelta(days=3), assignee=str(VIEWER)),
        task(2, due_at=NOW - timedelta(days=2), assignee=str(ADMIN)),
        task(3, due_at=NOW - timedelta(days=1)),
        task(4, assignee=str(VIEWER), status="completed"),
        task(5, assignee="vera@example.com", draft=True, kind="email_manual", subject="Hi"),
    )
    url = "/api/v1/tasks?status=open&unassigned=true"
    ada = {"Authorization": f"Bearer {await gateway.token()}"}
    assert await ids(gateway, url) == ["t3"]
    assert await ids(gateway, f"{url}&mine=true", ada) == ["t2", "t3"]
    inactive = {f"members.{VIEWER}.active": False}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": inactive})

    async def is_nobodys() -> bool:
        return await ids(gateway, url) == ["t1", "t3"]

    await eventually(is_nobodys)
    assert await ids(gateway, f"{url}&assignee={ADMIN}") == ["t1", "t2", "t3"]
    assert await ids(gateway, "/api/v1/drafts?unassigned=true") == ["t5"]
    shown = (await gateway.http.get("/api/v1/tasks", headers=gateway.key())).json()["items"]
    whose = {each["id"]: (each["assignee"], each.get("assigned_before")) for each in shown}
    assert whose == {
        "t1": (None, str(VIEWER)),
        "t2": (str(ADMIN), None),
        "t3": (None, None),
        "t4": (str(VIEWER), None),
    }


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


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("tasks/{task_id}/snooze", {"until": "2020-01-01T00:00:00Z"}, "until"),
        ("enrollments/{enrollment_id}/pause", {"until": "2020-01-01T00:00:00Z"}, "until"),
        ("leads/{lead_id}/calls", {"outcome": "connected", "at": "2050-01-01T00:00:00Z"}, "at"),
        ("leads/{lead_id}/convert", {"at": "2050-01-01T00:00:00Z"}, "at"),
        (
            "enrollments",
            {"lead_id": str(LEAD), "sequence_id": str(SEQUENCE), "start": {"at": "2020-01-01T00:00:00Z"}},
            "start.at",
        ),
        (
            "enrollments/bulk",
            {"lead_ids": [str(LEAD)], "sequence_id": str(SEQUENCE), "start": {"at": "2020-01-01T00:00:00Z"}},
            "start.at",
        ),
        ("bulks", {"kind": "pause", "order": {"until": "2020-01-01T00:00:00Z"}, "targets": {"ids": []}}, "order.until"),
        ("leads", {"lead": {"email": "a@example.com"}, "occurred_at": "2050-01-01T00:00:00Z"}, "occurred_at"),
    ],
)
async def test_a_moment_on_the_wrong_side_of_now_names_its_field(
    gateway: Gateway, path: str, body: dict[str, Any], field: str
) -> None:
    behind = DomainBehind()
    gateway.write_side.answer = behind.answer
    route = f"/api/v1/{path.format(**behind.ids)}"
    refused = await gateway.http.post(route, headers=gateway.key(), json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_moment"), refused.text
    assert [each["field"] for each in refused.json()["errors"]] == [field]


def test_an_edit_may_empty_a_text() -> None:
    assert DraftEdit(text="", html="<p>x</p>").text == ""
