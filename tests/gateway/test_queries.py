from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from shared.events.query import Answer
from tests.gateway.conftest import ENROLLMENT, LEAD, NOW, SEQUENCE, Gateway, enrollment_document, lead_document

LEADS = "/api/v1/leads"


SORTS = ("captured_at", "-captured_at", "score", "-score", "last_activity_at", "-last_activity_at")


async def test_pages_hold_every_lead_once_in_order(gateway: Gateway) -> None:
    documents = [
        lead_document(
            number,
            captured_at=NOW + timedelta(minutes=number // 3),
            last_activity_at=None if number % 4 == 0 else NOW + timedelta(hours=number % 2),
        )
        for number in range(23)
    ]
    await gateway.put("leads", *documents)
    for sort in SORTS:
        seen: list[str] = []
        values: list[str | int | None] = []
        cursor: str | None = None
        while True:
            asked: dict[str, str | int] = {"limit": 5, "sort": sort, **({"cursor": cursor} if cursor else {})}
            page = (await gateway.http.get(LEADS, params=asked, headers=gateway.key())).json()
            seen += [item["lead_id"] for item in page["items"]]
            values += [item[sort.removeprefix("-")] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(document["_id"] for document in documents)
        order = sorted(values, key=lambda value: (value is not None, value or 0), reverse=sort.startswith("-"))
        assert values == order


async def test_a_lead_is_found_by_the_beginning_of_a_word(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(1, search=["a", "ad", "ada", "ada@example.com"]), lead_document(2))
    for q, count in (("Ad", 1), ("ada@example.com", 1), ("ad zz", 0), ("lead", 1), ("", 2)):
        page = (await gateway.http.get(LEADS, params={"q": q}, headers=gateway.key())).json()
        assert len(page["items"]) == count, q


async def test_what_cannot_be_read_is_said(gateway: Gateway) -> None:
    for params, code in (
        ({"sort": "email"}, "bad_sort"),
        ({"cursor": "zzz"}, "bad_cursor"),
        ({"min_position": "x"}, "bad_cursor"),
    ):
        answer = await gateway.http.get(LEADS, params=params, headers=gateway.key())
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert [each["field"] for each in answer.json()["errors"]] == list(params)


async def test_a_query_waits_for_the_view(gateway: Gateway) -> None:
    await gateway.views.collection("checkpoints").insert_one(
        {"_id": "03", "partition": 3, "positions": {"leads:1": 17}, "lag_seconds": 0.1}
    )
    reached = await gateway.http.get(LEADS, params={"min_position": "03-17"}, headers=gateway.key())
    assert reached.status_code == 200
    behind = await gateway.http.get(LEADS, params={"min_position": "03-18"}, headers=gateway.key(), timeout=15)
    assert (behind.status_code, behind.json()["code"]) == (409, "view_behind")


async def test_an_enrollment_with_its_log_and_as_it_was(gateway: Gateway) -> None:
    await gateway.put("enrollments", enrollment_document())
    await gateway.put("leads", lead_document(0))
    path = f"/api/v1/enrollments/{ENROLLMENT}"
    now = (await gateway.http.get(path, headers=gateway.key())).json()
    assert [step["execution"] for step in now["steps"]] == [1, 2, 10]
    assert (now["lead_name"], now["position"]) == ("Lead 0", "03-10")
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"id": str(ENROLLMENT), "status": "pending"})
    then = await gateway.http.get(path, params={"at": "2026-11-20T09:00:00Z"}, headers=gateway.key())
    assert then.json()["status"] == "pending"
    assert (
        await gateway.http.get(path, params={"at": "2026-11-20T09:00:00"}, headers=gateway.key())
    ).status_code == 400


async def test_figures_of_the_overview(gateway: Gateway) -> None:
    n = {"sent": 8, "opened": 4, "enrolled": 9, "leads": 5, "completed": 2}
    whole = {"scope": "organization", "bucket": "all", "n": n}
    await gateway.put(
        "statistics", {"_id": "s0", **whole, "now": {"active": 1}}, {"_id": "s1", **whole, "now": {"paused": 1}}
    )
    page = (await gateway.http.get("/api/v1/metrics/overview", headers=gateway.key())).json()
    assert page["totals"]["leads"] == 10
    assert (page["totals"]["enrollments_active"], page["totals"]["enrollments_paused"]) == (1, 1)
    assert page["rates"]["open"] == 0.5
    assert page["speed"] == 1.0
    series = await gateway.http.get("/api/v1/metrics/timeseries", headers=gateway.key())
    points = series.json()["items"]
    assert len(points) == 30
    assert {point["sent"] for point in points} == {0}
    day = {"_id": "d", "scope": "organization", "bucket": "day:2026-11-20", "hours": {"09": {"sent": 3}}}
    await gateway.put("statistics", day)
    asked = {"bucket": "hour", "from": "2026-11-20T08:30:00Z", "to": "2026-11-20T10:00:00Z"}
    series = await gateway.http.get("/api/v1/metrics/timeseries", params=asked, headers=gateway.key())
    assert [(point["at"][11:16], point["sent"]) for point in series.json()["items"]] == [("08:00", 0), ("09:00", 3)]


async def test_a_sequence_with_its_figures(gateway: Gateway) -> None:
    steps = [{"step_id": "a", "name": "Hello", "kind": "email"}]
    await gateway.put(
        "sequences",
        {
            "_id": str(SEQUENCE),
            "name": "Webinar",
            "status": "active",
            "published": {"steps": steps},
            "definition": {"steps": steps},
            "created_at": NOW,
        },
    )
    await gateway.put(
        "statistics",
        {
            "_id": "s",
            "scope": f"sequence:{SEQUENCE}",
            "bucket": "all",
            "n": {"sent": 4, "clicked": 1},
            "steps": {"a": {"sent": 4}},
        },
    )
    page = (await gateway.http.get("/api/v1/sequences", params={"q": "web"}, headers=gateway.key())).json()
    assert page["items"][0]["stats"]["rates"]["click"] == 0.25
    stats = (await gateway.http.get(f"/api/v1/sequences/{SEQUENCE}/steps/stats", headers=gateway.key())).json()
    assert [(row["step_id"], row["name"], row["sent"]) for row in stats["items"]] == [("a", "Hello", 4)]


async def test_the_feed_names_who_and_what(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    entry = {"lead_id": str(LEAD), "at": NOW, "kind": "lead.replied", "detail": {}, "personal": {"text": "Yes"}}
    await gateway.put("timeline", *({"_id": n, **entry, "position": n} for n in range(1, 4)))
    page = (await gateway.http.get("/api/v1/activities", params={"limit": 2}, headers=gateway.key())).json()
    assert [item["id"] for item in page["items"]] == ["3", "2"]
    assert (page["items"][0]["lead_name"], page["items"][0]["detail"]) == ("Lead 0", {"text": "Yes"})
    last = {"limit": 2, "cursor": page["next_cursor"]}
    assert [
        i["id"]
        for i in (await gateway.http.get("/api/v1/activities", params=last, headers=gateway.key())).json()["items"]
    ] == ["1"]


async def test_a_message_as_it_was_sent(gateway: Gateway) -> None:
    dispatch = UUID(int=5)
    message_id = f"{ENROLLMENT}-1"
    await gateway.put(
        "messages", {"_id": message_id, "dispatch_id": str(dispatch), "due_at": NOW, "status": "in_doubt"}
    )
    await gateway.service.parts.ledger.collection("dispatches").insert_one(
        {"_id": dispatch, "state": "in_doubt", "message": {"subject": "Hi"}}
    )
    shown = (await gateway.http.get(f"/api/v1/messages/{message_id}", headers=gateway.key())).json()
    assert shown["as_sent"] == {"subject": "Hi"}
    doubtful = (await gateway.http.get("/api/v1/messages/in-doubt", headers=gateway.key())).json()
    assert [item["id"] for item in doubtful["items"]] == [message_id]
    path = f"/api/v1/messages/{message_id}/resolve"
    assert (await gateway.http.post(path, json={"outcome": "sent"}, headers=gateway.key())).status_code == 200


async def test_the_timeline_by_group_and_time_with_titles_and_badges(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    entries = [
        {"kind": "lead.call_logged", "group": "call", "detail": {"outcome": "connected", "duration_seconds": 240}},
        {
            "kind": "lead.meeting_logged",
            "group": "meeting",
            "detail": {"outcome": "held", "duration_minutes": 30},
            "personal": {"title": "Demo", "place": "Office"},
        },
        {"kind": "enrollment.engagement_noted", "group": "signal", "detail": {"signal": "opened"}},
        {"kind": "enrollment.step_stopped", "group": "message", "detail": {"reason": "replied"}},
    ]
    await gateway.put(
        "timeline",
        *(
            {"_id": n, "position": n, "lead_id": str(LEAD), "at": NOW + timedelta(hours=n), **entry}
            for n, entry in enumerate(entries, 1)
        ),
    )
    path = f"/api/v1/leads/{LEAD}/timeline"

    async def asked(**params: object) -> list[tuple[object, ...]]:
        answer = await gateway.http.get(path, params=params, headers=gateway.key())  # type: ignore[arg-type]
        names = ("title", "outcome", "duration_seconds")
        return [tuple(item[name] for name in names) for item in answer.json()["items"]]

    assert await asked() == [
        ("Step stopped", "replied", None),
        ("Opened", "opened", None),
        ("Demo", "held", 1800),
        ("Call", "connected", 240),
    ]
    assert await asked(group=["call", "signal"]) == [("Opened", "opened", None), ("Call", "connected", 240)]
    since, until = (NOW + timedelta(hours=2)).isoformat(), (NOW + timedelta(hours=3)).isoformat()
    assert await asked(since=since, until=until) == [("Demo", "held", 1800)]
    for params in ({"group": "gossip"}, {"since": until, "until": since}, {"since": "2026-11-20T09:00:00"}):
        refused = await gateway.http.get(path, params=params, headers=gateway.key())
        assert refused.status_code in {400, 422}
        assert refused.json()["errors"][0]["field"] in {"group[0]", "since"}
