"""The list of sequences: filters, sorts by figures, and figures over all."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.gateway.conftest import NOW, Gateway

PATH = "/api/v1/sequences"


async def fill(gateway: Gateway) -> list[str]:
    ids = [str(UUID(int=number)) for number in range(1, 6)]
    for number, each in enumerate(ids):
        await gateway.put(
            "sequences",
            {
                "_id": each,
                "name": f"S{number}",
                "status": "active" if number % 2 else "draft",
                "draft_status": "pending" if number == 4 else "draft",
                "type": "email" if number < 3 else "mixed",
                "category": "nurture",
                "creator": "ai" if number == 1 else "person",
                "deleted": "finish" if number == 0 else None,
                "created_at": NOW,
            },
        )
        figures = {"sent": 10, "opened": number, "enrolled": 9 - number}
        await gateway.put(
            "statistics", {"_id": f"s{number}", "scope": f"sequence:{each}", "bucket": "all", "n": figures}
        )
    return ids


async def names(gateway: Gateway, **asked: Any) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2, **asked, **({"cursor": cursor} if cursor else {})}
        page = (await gateway.http.get(PATH, params=params, headers=gateway.key())).json()
        found += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_sorted_by_figures_and_filtered(gateway: Gateway) -> None:
    await fill(gateway)
    assert await names(gateway, sort="-open_rate") == ["S4", "S3", "S2", "S1"]
    assert await names(gateway, sort="open_rate") == ["S1", "S2", "S3", "S4"]
    assert await names(gateway, sort="-leads", type="email") == ["S1", "S2"]
    assert await names(gateway, sort="status") == ["S1", "S3", "S2", "S4"]
    assert await names(gateway, creator="ai") == ["S1"]
    assert await names(gateway, draft_status="pending") == ["S4"]
    assert await names(gateway, deleted="true") == ["S0"]
    first = (await gateway.http.get(PATH, params={"limit": 1, "sort": "leads"}, headers=gateway.key())).json()
    for cursor, sort in ((first["next_cursor"], "-leads"), ("zzz", "leads")):
        answer = await gateway.http.get(PATH, params={"cursor": cursor, "sort": sort}, headers=gateway.key())
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


async def test_figures_over_all(gateway: Gateway) -> None:
    await fill(gateway)
    found = (await gateway.http.get(f"{PATH}/metrics", headers=gateway.key())).json()
    assert (found["total"], found["pending_approval"], found["by_status"]) == (4, 1, {"active": 2, "draft": 2})
    assert (found["sent"], found["rates"]["open"], found["leads"]) == (40, 0.25, 8 + 7 + 6 + 5)
    items = (await gateway.http.get(f"{PATH}/categories", headers=gateway.key())).json()["items"]
    assert {each["category"]: each["sequences"] for each in items if each["sequences"]} == {"nurture": 4}
