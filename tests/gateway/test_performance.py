"""Figures of sequences, steps, variants, senders, hours and cohorts."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.clock import SystemClock
from shared.events.definition import SequenceDefinition, content_digest, walk
from tests.gateway.conftest import NOW, SEQUENCE, Gateway

VARIANTS = [{"variant_id": name, "config": {"subject": name}} for name in ("a", "b")]
STEP = {
    "step_id": "hello",
    "kind": "email",
    "config": {"subject": "Hi", "text": "Hi"},
    "variants": VARIANTS,
    "selection": {"mode": "auto", "measure": "click"},
}
DEFINITION = {"name": "Webinar", "steps": [STEP, {"step_id": "wait", "kind": "wait"}]}


def digests() -> dict[str, str]:
    step = walk(SequenceDefinition.model_validate(DEFINITION).steps)[0]
    return {each.variant_id: content_digest(step.with_variant(each)) for each in step.variants}


async def get(gateway: Gateway, path: str, **params: Any) -> Any:
    answer = await gateway.http.get(f"/api/v1/{path}", params=params, headers=gateway.key())
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def counted(gateway: Gateway) -> Gateway:
    a, b = digests()["a"], digests()["b"]
    await gateway.put(
        "sequences", {"_id": str(SEQUENCE), "name": "Webinar", "published": DEFINITION, "created_at": NOW}
    )
    halves: list[dict[str, Any]] = [
        {
            "n": {
                "enrolled": 10,
                "sent": 8,
                "opened": 4,
                "completed": 2,
                "timed": 2,
                "took_seconds": 100,
                "machine_opened": 3,
            },
            "now": {"active": 3},
            "reasons": {"replied": 4, "cust\uff0eom": 1},
            "senders": {"eve": {"sent": 8}},
            "steps": {"hello": {"sent": 8}, "gone": {"sent": 1}},
            "variants": {"hello": {"a": {a: {"sent": 50, "clicked": 5}}, "b": {b: {"sent": 50, "clicked": 20}}}},
        },
        {
            "n": {"enrolled": 10, "conversions": 1},
            "now": {"active": 1, "paused": 2},
            "senders": {"ada": {"sent": 9}},
            "variants": {"hello": {"a": {"00000000": {"sent": 7, "clicked": 7}, a: {"sent": 50, "clicked": 5}}}},
        },
    ]
    for nth, half in enumerate(halves):
        await gateway.put("statistics", {"_id": nth, "scope": f"sequence:{SEQUENCE}", "bucket": "all", **half})
    return gateway


async def test_a_sequences_figures(counted: Gateway) -> None:
    stats = await get(counted, f"sequences/{SEQUENCE}/stats")
    wanted = {
        "enrolled": 20,
        "active": 4,
        "paused": 2,
        "conversions": 1,
        "machine_opened": 3,
        "completion_rate": 0.1,
        "success_rate": 0.2,
        "average_seconds_to_complete": 50,
        "exited_by_reason": {"replied": 4, "cust.om": 1},
    }
    assert {name: stats[name] for name in wanted} == wanted
    assert (stats["rates"]["open"], stats["rates"]["conversion"]) == (0.5, 0.125)
    assert [(row["sender_id"], row["sent"]) for row in stats["senders"]] == [("ada", 9), ("eve", 8)]


async def test_steps_in_order_and_earlier_ones_last(counted: Gateway) -> None:
    rows = (await get(counted, f"sequences/{SEQUENCE}/steps/stats"))["items"]
    assert [(row["step_id"], row["sent"]) for row in rows] == [("hello", 8), ("wait", 0), ("gone", 1)]


async def test_variants_with_what_is_known_of_them(counted: Gateway) -> None:
    [step] = (await get(counted, f"sequences/{SEQUENCE}/variants"))["items"]
    assert (step["step_id"], step["measure"], step["winner"]) == ("hello", "click", None)
    first, second = step["variants"]
    assert (first["sent"], first["clicked"], first["earlier"]["sent"]) == (100, 10, 7)
    assert (second["sent"], second["earlier"]) == (50, None)
    for each, share in ((first, 0.1), (second, 0.4)):
        assert each["interval"][0] < share < each["interval"][1]
        assert each["interval"][0] < each["share"] < each["interval"][1]
    assert first["probability_best"] + second["probability_best"] == pytest.approx(1, abs=1e-3)
    assert second["probability_best"] > 0.99


async def test_a_winner_is_shown_while_the_variants_say_what_they_said(counted: Gateway) -> None:
    winner = {"variant": "b", "measure": "click", "probability": 0.99, "contents": digests(), "used": True}
    sequences = counted.views.collection("sequences.g1")
    await sequences.update_one({"_id": str(SEQUENCE)}, {"$set": {"winners": {"hello": winner}}})
    [step] = (await get(counted, f"sequences/{SEQUENCE}/variants"))["items"]
    assert step["winner"]["variant"] == "b"
    changed = {"hello": {**winner, "contents": {"a": "x", "b": "y"}}}
    await sequences.update_one({"_id": str(SEQUENCE)}, {"$set": {"winners": changed}})
    [step] = (await get(counted, f"sequences/{SEQUENCE}/variants"))["items"]
    assert step["winner"] is None


async def test_the_heat_map_is_in_the_organizations_hours(gateway: Gateway) -> None:
    day = (SystemClock().now() - timedelta(days=3)).date()
    hours = {"09": {"sent": 3, "opened": 1}, "20": {"sent": 2}}
    await gateway.put("statistics", {"_id": "d", "scope": "organization", "bucket": f"day:{day}", "hours": hours})
    found = await get(gateway, "metrics/heatmap", days=7)
    assert len(found["items"]) == 7 * 24
    busy = {(row["weekday"], row["hour"]): row["sent"] for row in found["items"] if row["sent"]}
    zone = ZoneInfo(found["zone"])
    moments = {datetime.combine(day, time(hour), UTC).astimezone(zone): sent for hour, sent in ((9, 3), (20, 2))}
    assert busy == {(at.weekday(), at.hour): sent for at, sent in moments.items()}


async def test_cohorts_by_week_since_each_ones_beginning(gateway: Gateway) -> None:
    today = SystemClock().now().date()
    monday = today - timedelta(days=today.weekday())
    for nth, sequences in enumerate(
        (
            {str(SEQUENCE): {"0": {"enrolled": 3, "sent": 3}, "1": {"sent": 2}}},
            {str(SEQUENCE): {"0": {"enrolled": 1}}, "another": {"0": {"enrolled": 5}}},
        )
    ):
        document = {"_id": f"c{nth}", "scope": "cohorts", "bucket": f"week:{monday}", "sequences": sequences}
        await gateway.put("statistics", document)
    old = {"_id": "old", "scope": "cohorts", "bucket": "week:2020-01-06", "sequences": {"x": {"0": {"enrolled": 1}}}}
    await gateway.put("statistics", old)
    [cohort] = (await get(gateway, "metrics/cohorts", sequence_id=str(SEQUENCE)))["items"]
    assert (cohort["began"], cohort["enrolled"]) == (str(monday), 4)
    assert [(week["week"], week["sent"]) for week in cohort["weeks"]] == [(0, 3), (1, 2)]
    [everyone] = (await get(gateway, "metrics/cohorts"))["items"]
    assert everyone["enrolled"] == 9
