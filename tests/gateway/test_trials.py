"""Trying a sequence over HTTP: what is asked of the write side, and what is refused before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.events.query import Answer, QueryDryRun
from tests.gateway.conftest import LEAD, SEQUENCE, Gateway


async def test_a_dry_run_is_asked_of_the_write_side_and_names_wrong_fields(gateway: Gateway) -> None:
    told = {"steps": [], "ends_at": None, "ended_by": "refused", "warnings": ["no"]}
    gateway.write_side.answer = lambda _: Answer(ok=True, result=told)
    route = f"/api/v1/sequences/{SEQUENCE}/test"
    body: dict[str, Any] = {
        "lead": {"email": "a@example.com"},
        "from": "2026-11-20T09:00:00+01:00",
        "signals": [{"signal": "opened", "step": "welcome", "after_minutes": 5}],
    }
    answer = await gateway.http.post(route, json=body, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (200, told)
    question = gateway.write_side.seen[-1].message
    assert isinstance(question, QueryDryRun)
    assert (question.organization_id, question.from_) == ("demo", datetime(2026, 11, 20, 8, 0, tzinfo=UTC))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({}, "body"),
        ({"lead": {}, "lead_id": str(LEAD)}, "body"),
        ({"lead": {}, "signals": [{"signal": "opened"}]}, "signals.0"),
        ({"lead": {}, "definition": {"name": "x", "steps": []}}, "definition.steps"),
    ]
    for wrong, field in mistakes:
        refused = await gateway.http.post(route, json=wrong, headers=gateway.key())
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == field, refused.text
