from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from shared.events import Envelope
from shared.events.bulk import BeginBulk, NameBulkTargets, OrderBulk, UndoBulk
from shared.events.query import Answer
from shared.ids import derived_id
from tests.gateway.conftest import LEAD, NOW, SEQUENCE, Gateway, lead_document

BULK = "/api/v1/enrollments/bulk"
BULKS = "/api/v1/bulks"


def answer(envelope: Envelope) -> Answer:
    result = {"count": 3} if isinstance(envelope.message, BeginBulk) else {}
    return Answer(ok=True, result=result, position="03-17")


def pages(gateway: Gateway) -> list[list[UUID]]:
    return [each.message.targets for each in gateway.write_side.seen if isinstance(each.message, NameBulkTargets)]


async def test_a_filters_leads_are_handed_over_in_pages_and_the_bulk_is_begun(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.bulk_orders.PAGE", 2)
    gateway.write_side.answer = answer
    await gateway.put(
        "leads",
        *(lead_document(n, status="New", temperature="Warm") for n in range(3)),
        lead_document(3, status="Won"),
        lead_document(4, status="New", erased=True),
    )
    asked: dict[str, Any] = {"status": "New", "temperature": "Warm", "score_max": 2}
    body = {"sequence_id": str(SEQUENCE), "filter": asked}
    found = await gateway.http.post(BULK, json=body, headers=gateway.key())
    assert (found.status_code, found.json()["count"]) == (202, 3), found.text
    assert found.headers["tendril-position"] == "03-17"
    ordered, *_, begun = [each.message for each in gateway.write_side.seen]
    bulk_id = UUID(found.json()["bulk_id"])
    wanted: dict[str, Any] = {"sequence_id": str(SEQUENCE), "start": True}
    assert ordered == OrderBulk(bulk_id=bulk_id, kind="enroll", order=wanted, filter=asked)
    assert [len(page) for page in pages(gateway)] == [2, 1]
    assert begun == BeginBulk(bulk_id=bulk_id, pages=2)


async def test_named_leads_are_taken_once_and_a_repeat_with_the_same_key_is_the_same_bulk(gateway: Gateway) -> None:
    gateway.write_side.answer = answer
    lead = UUID(int=5)
    body = {"sequence_id": str(SEQUENCE), "lead_ids": [str(lead), str(lead)]}
    headers = {**gateway.key(), "Idempotency-Key": "b-1"}
    first = await gateway.http.post(BULK, json=body, headers=headers)
    again = await gateway.http.post(BULK, json=body, headers=headers)
    assert first.json() == again.json()
    assert pages(gateway) == [[lead]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "dance", "targets": {"ids": []}}, "kind"),
        ({"kind": "undo_enroll", "targets": {"ids": []}}, "kind"),
        ({"kind": "enroll", "order": {}, "targets": {"ids": []}}, "order.sequence_id"),
        ({"kind": "pause", "order": {"until": "soon"}, "targets": {"ids": []}}, "order.until"),
        ({"kind": "pause", "targets": {"filter": {"colour": "red"}}}, "targets.filter.colour"),
        ({"kind": "tag", "targets": {"filter": {"score_min": 400}}}, "targets.filter.score_min"),
        ({"kind": "pause", "targets": {}}, "targets"),
    ],
)
async def test_what_makes_no_sense_names_its_field_and_orders_nothing(
    gateway: Gateway, body: dict[str, Any], field: str
) -> None:
    found = await gateway.http.post(BULKS, json=body, headers=gateway.key())
    assert found.status_code == 422
    assert field in found.json()["errors"][0]["field"], found.text
    assert not gateway.write_side.seen


async def test_a_viewer_orders_nothing_and_an_operator_needs_the_kinds_permission(gateway: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {await gateway.token('vera@example.com')}"}
    body = {"kind": "tag", "order": {"add": ["x"]}, "targets": {"ids": [str(UUID(int=5))]}}
    assert (await gateway.http.post(BULKS, json=body, headers=bearer)).status_code == 403
    assert not gateway.write_side.seen


async def test_progress_refusals_and_undo(gateway: Gateway) -> None:
    bulk_id = str(UUID(int=11))
    await gateway.put("bulks", {"_id": bulk_id, "kind": "enroll", "status": "running", "handled": 2, "ordered_at": NOW})
    refusals = [
        {"_id": f"{bulk_id}-{n}", "bulk_id": bulk_id, "number": n, "target": str(UUID(int=n)), "code": "unreachable"}
        for n in range(3)
    ]
    await gateway.put("bulk_refusals", *refusals)
    listed = (await gateway.http.get(BULKS, params={"status": "running"}, headers=gateway.key())).json()["items"]
    assert [(each["id"], each["handled"]) for each in listed] == [(bulk_id, 2)]
    path = f"{BULKS}/{bulk_id}/refusals"
    page = (await gateway.http.get(path, params={"limit": 2}, headers=gateway.key())).json()
    rest = (
        await gateway.http.get(path, params={"limit": 2, "cursor": page["next_cursor"]}, headers=gateway.key())
    ).json()
    assert [each["number"] for each in (*page["items"], *rest["items"])] == [0, 1, 2]
    undone = await gateway.http.post(f"{BULKS}/{bulk_id}/undo", json={"also_sent": True}, headers=gateway.key())
    assert undone.status_code == 202
    [envelope] = gateway.write_side.seen
    undo_id = derived_id("bulk", envelope.id)
    assert envelope.message == UndoBulk(bulk_id=UUID(bulk_id), undo_id=undo_id, also_sent=True)


async def test_whom_a_filter_looked_for_does_not_reach_the_log(gateway: Gateway) -> None:
    gateway.write_side.answer = answer
    body = {
        "kind": "tag",
        "order": {"add": ["x"]},
        "targets": {"filter": {"email": "ada@example.com", "status": "New"}},
    }
    assert (await gateway.http.post(BULKS, json=body, headers=gateway.key())).status_code == 202
    ordered = gateway.write_side.seen[0].message
    assert isinstance(ordered, OrderBulk)
    assert ordered.filter == {"email": "…", "status": "New"}


async def test_from_the_audit_to_what_became_of_each_target(gateway: Gateway) -> None:
    bulk_id, other = str(UUID(int=11)), str(UUID(int=12))
    counts = {"count": 3, "handled": 3, "done": 1, "unchanged": 1, "refused": 1, "reasons": {"unreachable": 1}}
    finished = {"kind": "tag", "status": "finished", "ordered_at": NOW, "finished_at": NOW, **counts}
    await gateway.put("bulks", {"_id": bulk_id, **finished})
    await gateway.put("bulks", {"_id": other, **finished, "organization_id": "other"})
    refusal = {"_id": "r", "bulk_id": bulk_id, "number": 0, "target": str(UUID(int=1)), "code": "unreachable"}
    await gateway.put("bulk_refusals", refusal)
    entry = {"at": NOW, "actor": "member:1", "changed": ["kind"], "lead_id": None, "sequence_id": None}
    detail = {"kind": "tag", "order": {"add": ["x"]}, "filter": {"status": "New"}}
    await gateway.put(
        "audit",
        {**entry, "_id": 2, "position": 2, "kind": "bulk.ordered", "subject": bulk_id, "detail": detail},
        {**entry, "_id": 3, "position": 3, "kind": "bulk.cancelled", "subject": other, "detail": {}},
        {**entry, "_id": 4, "position": 4, "kind": "lead.tagged", "subject": str(LEAD), "detail": {}},
    )
    tagged, foreign, ordered = (await gateway.http.get("/api/v1/audit", headers=gateway.key())).json()["items"]
    assert (tagged["bulk"], foreign["bulk"]) == (None, None)
    assert ordered["detail"] == detail
    assert ordered["bulk"] | {"status": "finished", **counts} == ordered["bulk"]
    listed = await gateway.http.get(ordered["bulk"]["refusals"], headers=gateway.key())
    assert [(each["target"], each["code"]) for each in listed.json()["items"]] == [(refusal["target"], "unreachable")]
    report = await gateway.http.get(ordered["bulk"]["report"], headers=gateway.key())
    assert report.json()["refused"] == 1
