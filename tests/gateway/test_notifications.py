"""What each member hears of and has read, and the audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from shared.clock import SystemClock
from tests.gateway.conftest import ADMIN, LEAD, VIEWER, Gateway, lead_document

PATH = "/api/v1/notifications"
NOW = SystemClock().now().replace(microsecond=0)


def news(number: int, **more: Any) -> dict[str, Any]:
    return {
        "_id": str(number),
        "at": NOW - timedelta(minutes=number),
        "kind": "reply",
        "to": None,
        "merged": False,
        "hidden": False,
        "lead_id": str(LEAD),
        "detail": {"channel": "email"},
        **more,
    }


def part(partition: int, times: int, kind: str = "limit_reached") -> dict[str, Any]:
    at = NOW - timedelta(hours=partition)
    more = {"key": f"{kind}-x", "merged": True, "times": times, "last_at": at, "detail": {"scope": "x"}}
    return news(0, _id=f"{kind}-{partition}", kind=kind, at=at, **more)


async def bearer(gateway: Gateway, email: str = "ada@example.com") -> dict[str, str]:
    return {"Authorization": f"Bearer {await gateway.token(email)}"}


async def asked(gateway: Gateway, headers: dict[str, str], **params: Any) -> dict[str, Any]:
    answer = await gateway.http.get(PATH, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_everybody_hears_what_is_theirs_and_pages_hold_each_once(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    await gateway.put(
        "notifications",
        *(news(number) for number in range(1, 6)),
        news(6, _id="approval-1", kind="approval_wanted", to="approvers", lead_id=None),
        news(11, _id="brake-1", kind="sender_braked", to="administrators", lead_id=None),
        news(7, kind="sequence_rejected", to=f"member:{VIEWER}", lead_id=None),
        news(8, hidden=True),
        news(9, organization_id="other"),
        news(10, at=NOW - timedelta(days=100)),
        part(1, 2),
        part(2, 3),
        part(1, 1, "sending_fails"),
    )
    tasks = {"status": "open", "lead_id": str(LEAD), "title": "Call"}
    await gateway.put(
        "tasks",
        {"_id": "due", "due_at": NOW - timedelta(seconds=1), "assignee": f"member:{ADMIN}", **tasks},
        {"_id": "theirs", "due_at": NOW - timedelta(seconds=1), "assignee": f"member:{UUID(int=5)}", **tasks},
        {"_id": "left", "due_at": NOW - timedelta(seconds=2), "assignee": str(UUID(int=6)), **tasks},
        {"_id": "later", "due_at": NOW + timedelta(hours=1), "assignee": None, **tasks},
    )
    left = {"email": "left@example.com", "name": "", "role": "coach", "active": False}
    members = {f"members.{UUID(int=6)}": left}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": members})
    ada = await bearer(gateway)
    whole = (await asked(gateway, ada))["items"]
    told = ["task_due", "task_due", *["reply"] * 5, "approval_wanted", "sender_braked", "limit_reached"]
    assert [each["kind"] for each in whole] == told
    assert whole[-1]["detail"]["times"] == 5
    assert (whole[2]["lead_name"], whole[2]["read"]) == ("Lead 0", False)
    paged: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await asked(gateway, ada, limit=3, **({"cursor": cursor} if cursor else {}))
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == whole
    vera = await bearer(gateway, "vera@example.com")
    kinds = [each["kind"] for each in (await asked(gateway, vera))["items"]]
    assert kinds == ["task_due", *["reply"] * 5, "sequence_rejected", "limit_reached"]


async def test_read_is_read_for_one_alone_until_it_is_told_again(gateway: Gateway) -> None:
    await gateway.put("notifications", *(news(number) for number in range(1, 5)))
    ada, vera = await bearer(gateway), await bearer(gateway, "vera@example.com")

    async def unread(headers: dict[str, str]) -> int:
        return int((await gateway.http.get(f"{PATH}/unread", headers=headers)).json()["unread"])

    assert await unread(ada) == 4
    first = (await asked(gateway, ada))["items"][0]["id"]
    answer = await gateway.http.post(f"{PATH}/read", json={"ids": [first]}, headers=ada)
    assert (answer.status_code, answer.json()) == (200, {"unread": 3})
    assert [each["read"] for each in (await asked(gateway, ada))["items"]] == [True, False, False, False]
    through = {"through": (NOW - timedelta(minutes=3)).isoformat()}
    assert (await gateway.http.post(f"{PATH}/read", json=through, headers=ada)).json() == {"unread": 1}
    assert await unread(vera) == 4
    ahead = {"through": (NOW + timedelta(days=300)).isoformat()}
    assert (await gateway.http.post(f"{PATH}/read", json=ahead, headers=ada)).json() == {"unread": 0}
    later = SystemClock().now() + timedelta(hours=1)
    await gateway.views.collection("notifications.g1").update_one({"_id": "1"}, {"$set": {"at": later}})
    assert await unread(ada) == 1
    for body in ({}, {"ids": [""]}, {"ids": ["x"] * 201}, {"through": "yesterday"}):
        refused = await gateway.http.post(f"{PATH}/read", json=body, headers=ada)
        assert refused.status_code == 422
    bad = await gateway.http.get(PATH, params={"cursor": "zz"}, headers=ada)
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_cursor")


async def test_the_audit_is_filtered_by_who_what_and_when(gateway: Gateway) -> None:
    entries = [
        {"actor": f"member:{ADMIN}", "kind": "lead.tagged", "subject": str(LEAD)},
        {"actor": f"member:{VIEWER}", "kind": "lead.scored", "subject": str(LEAD)},
        {"actor": f"api_key:{UUID(int=7)}", "kind": "lead.tagged", "subject": str(UUID(int=1))},
    ]
    await gateway.put(
        "audit",
        *(
            {"_id": n, "position": n, "at": NOW - timedelta(hours=n), "changed": [], "detail": {}, **entry}
            for n, entry in enumerate(entries, 1)
        ),
    )

    async def found(**params: Any) -> list[str]:
        answer = await gateway.http.get("/api/v1/audit", params=params, headers=gateway.key())
        return [each["id"] for each in answer.json()["items"]]

    assert await found() == ["3", "2", "1"]
    assert await found(actor=f"member:{ADMIN}") == ["1"]
    assert await found(kind="lead.tagged") == ["3", "1"]
    assert await found(subject=str(LEAD)) == ["2", "1"]
    assert await found(since=(NOW - timedelta(hours=2)).isoformat()) == ["2", "1"]
    assert await found(until=(NOW - timedelta(hours=2)).isoformat()) == ["3"]
    page = (await gateway.http.get("/api/v1/audit", headers=gateway.key())).json()
    assert [each["actor_name"] for each in page["items"]] == ["admin", "vera@example.com", "ada@example.com"]
