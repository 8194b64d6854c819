from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.events import funnel as orders
from tests.gateway.conftest import NOW, SEQUENCE, Gateway, lead_document

FUNNEL = {
    "_id": str(UUID(int=21)),
    "funnel_id": "web",
    "name": "Web",
    "auto": True,
    "fallback": str(SEQUENCE),
    "sequences": [str(SEQUENCE)],
    "form": None,
}
FAIR = {**FUNNEL, "_id": str(UUID(int=22)), "funnel_id": "fair", "name": "Fair", "sequences": [], "fallback": None}


async def get(gateway: Gateway, path: str, **params: Any) -> Any:
    answer = await gateway.http.get(f"/api/v1/{path}", params=params, headers=gateway.key())
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_funnels_are_listed_both_ways_and_drawn_as_a_map(gateway: Gateway) -> None:
    await gateway.put("funnels", FUNNEL, FAIR)
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "Welcome", "status": "active", "created_at": NOW})
    assert [each["id"] for each in (await get(gateway, "funnels"))["items"]] == ["fair", "web"]
    assert [each["id"] for each in (await get(gateway, "funnels", sequence_id=SEQUENCE))["items"]] == ["web"]
    assert [each["id"] for each in (await get(gateway, f"sequences/{SEQUENCE}/funnels"))["items"]] == ["web"]
    assert (await get(gateway, "funnels/web"))["fallback"] == str(SEQUENCE)
    drawn = await get(gateway, "funnels/map")
    assert {each["id"] for each in drawn["nodes"]} == {"funnel:fair", "funnel:web", f"sequence:{SEQUENCE}"}
    ends = {"from": "funnel:web", "to": f"sequence:{SEQUENCE}"}
    assert drawn["edges"] == [{**ends, "kind": "assigned"}, {**ends, "kind": "fallback"}]


async def test_orders_to_funnels(gateway: Gateway) -> None:
    await gateway.put("funnels", FUNNEL)
    one = {"funnel_id": "web", "sequence_id": str(SEQUENCE)}
    many = {"funnel_ids": ["web", "fair"], "sequence_ids": [str(SEQUENCE)]}
    for method, path, body in (
        ("POST", "funnels", {"funnel_id": "web", "name": "Web"}),
        ("PATCH", "funnels/web", {"auto": False, "fallback": None}),
        ("POST", "funnels/assign", one),
        ("POST", "funnels/unassign", one),
        ("POST", "funnels/bulk-assign", many),
        ("POST", "funnels/bulk-assign", {**many, "assign": False}),
        ("PUT", "funnels/web/form", {"origins": ["https://example.com"]}),
        ("DELETE", "funnels/web/form", None),
    ):
        answer = await gateway.http.request(method, f"/api/v1/{path}", json=body, headers=gateway.key())
        assert answer.status_code in {200, 201}, answer.text
    messages = [envelope.message for envelope in gateway.write_side.seen]
    opened = messages.pop(6)
    assert isinstance(opened, orders.OpenForm)
    assert (opened.funnel_id, len(opened.form_key), opened.origins) == ("web", 22, ["https://example.com"])
    assert messages == [
        orders.CreateFunnel(funnel_id="web", name="Web"),
        orders.SetFunnel(funnel_id="web", auto=False, no_fallback=True),
        orders.AssignSequences(funnel_ids=["web"], sequence_ids=[SEQUENCE]),
        orders.UnassignSequences(funnel_ids=["web"], sequence_ids=[SEQUENCE]),
        orders.AssignSequences(funnel_ids=["web", "fair"], sequence_ids=[SEQUENCE]),
        orders.UnassignSequences(funnel_ids=["web", "fair"], sequence_ids=[SEQUENCE]),
        orders.CloseForm(funnel_id="web"),
    ]


async def test_the_pipeline_has_a_column_per_status_with_its_count_and_first_page(gateway: Gateway) -> None:
    await gateway.put(
        "leads",
        *(lead_document(n, status="New", temperature="Warm") for n in range(3)),
        lead_document(3, status="Won", temperature="Warm"),
        lead_document(4, temperature="Warm", status=None),
        lead_document(5, status="New", temperature="Cold"),
        lead_document(6, status="New", temperature="Warm", erased=True),
    )
    columns = (await get(gateway, "leads/pipeline", limit=2, temperature="Warm"))["items"]
    assert [(each["status"], each["count"], len(each["items"])) for each in columns] == [
        ("New", 3, 2),
        ("Won", 1, 1),
        (None, 1, 1),
    ]
    assert columns[0]["next_cursor"]
    more = await get(gateway, "leads", status="New", temperature="Warm", cursor=columns[0]["next_cursor"])
    assert more["items"], "the list goes on where the column ended"
    nameless = await get(gateway, "leads", status="")
    assert [each["id"] for each in nameless["items"]] == [columns[2]["items"][0]["id"]]


async def test_leads_are_filtered_by_score_zone_and_conversion(gateway: Gateway) -> None:
    await gateway.put(
        "leads",
        *(lead_document(n, score=n * 10, timezone="Europe/Berlin" if n % 2 else "UTC") for n in range(5)),
    )
    found = await get(gateway, "leads", score_min=10, score_max=30, timezone="Europe/Berlin")
    assert sorted(each["score"] for each in found["items"]) == [10, 30]
    bad = await gateway.http.get("/api/v1/leads", params={"score_min": 500}, headers=gateway.key())
    assert (bad.status_code, "score_min" in bad.json()["errors"][0]["field"]) == (422, True)
