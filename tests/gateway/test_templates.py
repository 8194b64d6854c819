"""Templates, and sequences as YAML, at the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.gateway.template_library import built_in
from shared.events.sequence import DraftSequence
from shared.events.template import RemoveTemplate, SaveTemplate
from tests.gateway.conftest import NOW, SEQUENCE, Gateway

OWN = UUID(int=99)
DEFINITION: dict[str, Any] = {
    "name": "Ours",
    "steps": [{"step_id": "a", "kind": "email", "config": {"subject": "Hi", "text": "on: 09:00\nyes"}}],
}
TEMPLATES = "/api/v1/sequence-templates"


async def test_the_products_templates_and_ones_own(gateway: Gateway) -> None:
    await gateway.put("templates", {"_id": str(OWN), "name": "Ours", "definition": DEFINITION})
    items = (await gateway.http.get(TEMPLATES, headers=gateway.key())).json()["items"]
    assert [each["id"] for each in items] == [*built_in(), str(OWN)]
    assert (items[-1]["source"], items[-1]["type"], items[0]["source"]) == ("own", "email", "built_in")
    found = (await gateway.http.get(f"{TEMPLATES}/five-emails", headers=gateway.key())).json()
    assert (found["steps_count"], found["estimated_minutes"]) == (5, 14 * 1_440)
    for missing in ("nothing", str(UUID(int=5))):
        assert (await gateway.http.get(f"{TEMPLATES}/{missing}", headers=gateway.key())).status_code == 404


async def test_a_template_is_used_saved_and_removed(gateway: Gateway) -> None:
    await gateway.put("templates", {"_id": str(OWN), "name": "Ours", "definition": DEFINITION})
    for template_id, name in (("new-lead", None), (str(OWN), "Mine")):
        path = f"{TEMPLATES}/{template_id}/use"
        answer = await gateway.http.post(path, json={"name": name}, headers=gateway.key())
        assert answer.status_code == 201, answer.text
    path = f"/api/v1/sequences/{SEQUENCE}/save-as-template"
    assert (await gateway.http.post(path, json={"name": "Kept"}, headers=gateway.key())).status_code == 201
    assert (await gateway.http.delete(f"{TEMPLATES}/{OWN}", headers=gateway.key())).status_code == 200
    first, second, saved, removed = [each.message for each in gateway.write_side.seen]
    assert isinstance(first, DraftSequence)
    assert isinstance(second, DraftSequence)
    assert (first.definition, second.definition.name) == (built_in()["new-lead"], "Mine")
    assert isinstance(saved, SaveTemplate)
    assert (saved.sequence_id, saved.name) == (SEQUENCE, "Kept")
    assert removed == RemoveTemplate(template_id=OWN)


async def test_a_sequence_goes_out_and_comes_in_as_yaml(gateway: Gateway) -> None:
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "Ours", "definition": DEFINITION, "created_at": NOW})
    exported = await gateway.http.get(f"/api/v1/sequences/{SEQUENCE}/export", headers=gateway.key())
    assert exported.headers["content-type"].startswith("application/yaml")
    path, headers = "/api/v1/sequences/import", {**gateway.key(), "Content-Type": "application/yaml"}
    assert (await gateway.http.post(path, content=exported.content, headers=headers)).status_code == 201
    message = gateway.write_side.seen[0].message
    assert isinstance(message, DraftSequence)
    assert message.definition.model_dump()["steps"][0]["config"]["text"] == "on: 09:00\nyes"
    for text, code, field in (
        ("a: &b 1", "bad_yaml", "body"),
        ("just words", "invalid", "body"),
        ("name: N\nsteps: [{step_id: x, kind: email, config: {}}]", "invalid", "steps.x.config.subject"),
    ):
        answer = await gateway.http.post(path, content=text.encode(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["errors"][0]["field"] == field
