"""Secrets in webhook headers: seen by who may change sequences, masked for everybody else, and kept when masked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.events.sequence import EditSequence
from tests.domain.scenario import SEQUENCE
from tests.gateway.in_process import InProcess, asked_by

SECRET = "Bearer s3cret"
MASK = "********"
PATH = f"/api/v1/sequences/{SEQUENCE}"
NEWER = "Bearer another"


def webhook(step_id: str, value: str) -> dict[str, Any]:
    config = {"url": "https://crm.example.com/hook", "headers": {"Authorization": value}}
    return {"step_id": step_id, "kind": "webhook", "config": config}


def definition(value: str = SECRET, inner: str = SECRET) -> dict[str, Any]:
    fork = {
        "step_id": "fork",
        "kind": "condition",
        "config": {"when": {"has_tag": "vip"}},
        "then": [webhook("inner", inner)],
        "else": [],
    }
    return {"name": "Calls", "steps": [webhook("call", value), fork]}


@pytest.fixture
async def gateway() -> AsyncIterator[InProcess]:
    made = InProcess()
    views = made.app.state.parts.views
    views.put("sequences", {"_id": str(SEQUENCE), "name": "Calls", "definition": definition(), "draft": definition()})
    versions = {"definition": definition("Bearer old"), "version": 1}
    views.put("sequence_versions", {"_id": f"{SEQUENCE}-1", **versions})
    views.put("templates", {"_id": "00000000-0000-0000-0000-000000000009", "definition": definition(), "name": "T"})
    yield made
    await made.http.aclose()


SHOWN = (
    PATH,
    f"{PATH}/versions/1",
    f"{PATH}/versions/1/diff",
    f"{PATH}/export",
    "/api/v1/sequence-templates/00000000-0000-0000-0000-000000000009",
)


async def test_only_who_may_change_sequences_sees_a_header(gateway: InProcess) -> None:
    for path in SHOWN:
        hidden = await gateway.http.get(path, headers=asked_by("demo", "viewer"))
        assert hidden.status_code == 200, hidden.text
        assert "Bearer" not in hidden.text, path
        seen = await gateway.http.get(path, headers=asked_by("demo", "operator"))
        assert "Bearer" in seen.text, path


async def test_a_masked_header_that_is_saved_stays_as_it_was(gateway: InProcess) -> None:
    shown = (await gateway.http.get(PATH, headers=asked_by("demo", "viewer"))).json()["definition"]
    assert shown["steps"][0]["config"]["headers"] == {"Authorization": MASK}
    assert shown["steps"][1]["then"][0]["config"]["headers"] == {"Authorization": MASK}
    shown["steps"][0]["config"]["headers"]["Authorization"] = NEWER
    for method, body in (("PUT", shown), ("PATCH", {"steps": shown["steps"]})):
        answer = await gateway.http.request(method, PATH, json=body, headers=asked_by("demo", "operator"))
        assert answer.status_code in {200, 422}, answer.text
        order = gateway.requester.ordered[-1].message
        assert isinstance(order, EditSequence)
        steps = order.definition.model_dump(mode="json", by_alias=True)["steps"]
        assert steps[0]["config"]["headers"] == {"Authorization": NEWER}
        assert steps[1]["then"][0]["config"]["headers"] == {"Authorization": SECRET}


async def test_a_mask_that_hides_nothing_is_refused_by_name(gateway: InProcess) -> None:
    body = definition(SECRET, MASK)
    body["steps"][1]["step_id"] = "other"
    body["steps"][1]["then"][0]["step_id"] = "new"
    wanted = [{"field": "steps.new.config.headers.Authorization", "problem": "is masked: write its value"}]
    for method, path in (("PUT", PATH), ("POST", "/api/v1/sequences")):
        answer = await gateway.http.request(method, path, json=body, headers=asked_by("demo", "operator"))
        assert (answer.status_code, answer.json()["errors"]) == (422, wanted), path
    assert gateway.requester.ordered == []
