"""Secrets of webhooks: seen by who may change sequences, masked for everybody else, and kept when masked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from services.gateway.access import Principal
from services.gateway.masking import letter_as_seen_by
from shared.events.query import Answer
from shared.events.sequence import ChangeSequence, EditSequence
from tests.domain.scenario import SEQUENCE
from tests.gateway.in_process import Found, InProcess, asked_by

SECRET = "Bearer s3cret"
MASK = "********"
PATH = f"/api/v1/sequences/{SEQUENCE}"
NEWER = "Bearer another"
URL = "https://crm.example.com/hooks/s3cret?key=s3cret"
HIDDEN_URL = f"https://crm.example.com/{MASK}"
BODY = '{"key": "s3cret", "lead": "{{ email }}"}'


def webhook(step_id: str, value: str, url: str = URL, body: str = BODY) -> dict[str, Any]:
    config = {"url": url, "headers": {"Authorization": value}, "body": body}
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


async def test_only_who_may_change_sequences_sees_what_a_webhook_hides(gateway: InProcess) -> None:
    for path in SHOWN:
        hidden = await gateway.http.get(path, headers=asked_by("demo", "viewer"))
        assert hidden.status_code == 200, hidden.text
        assert "Bearer" not in hidden.text, path
        assert "s3cret" not in hidden.text, path
        seen = await gateway.http.get(path, headers=asked_by("demo", "operator"))
        assert "Bearer" in seen.text, path
        assert path.endswith("/diff") or URL in seen.text, path


async def test_what_is_saved_masked_stays_as_it_was(gateway: InProcess) -> None:
    shown = (await gateway.http.get(PATH, headers=asked_by("demo", "viewer"))).json()["definition"]
    inner = shown["steps"][1]["then"][0]
    for step in (shown["steps"][0], inner):
        assert step["config"] == {"url": HIDDEN_URL, "headers": {"Authorization": MASK}, "body": MASK}
    shown["steps"][0]["config"]["headers"]["Authorization"] = NEWER
    inner["config"]["body"] = "{}"
    for method, body in (("PUT", shown), ("PATCH", {"steps": shown["steps"]})):
        answer = await gateway.http.request(method, PATH, json=body, headers=asked_by("demo", "operator"))
        assert answer.status_code in {200, 422}, answer.text
        order = gateway.requester.ordered[-1].message
        assert isinstance(order, EditSequence | ChangeSequence)
        sent = order.definition.steps if isinstance(order, EditSequence) else order.steps or []
        steps = [step.model_dump(mode="json", by_alias=True) for step in sent]
        outer, within = steps[0]["config"], steps[1]["then"][0]["config"]
        assert (outer["headers"], outer["url"], outer["body"]) == ({"Authorization": NEWER}, URL, BODY)
        assert (within["headers"], within["url"], within["body"]) == ({"Authorization": SECRET}, URL, "{}")


async def test_a_change_of_one_field_orders_that_field_alone(gateway: InProcess) -> None:
    """Two in a row on a view that lags keep each other: neither says what the other changed."""
    for body in ({"description": "first"}, {"audience": "second", "settings": {"max_retries": 1}, "owner": None}):
        answer = await gateway.http.patch(PATH, json=body, headers=asked_by("demo", "operator"))
        assert answer.status_code == 200, answer.text
        order = gateway.requester.ordered[-1].message
        assert order == ChangeSequence(sequence_id=SEQUENCE, changes=body)
    sequence = gateway.requester.domain.world.sequence(SEQUENCE)
    draft = sequence.draft if sequence is not None else None
    assert draft is not None
    assert (draft.description, draft.audience, draft.settings.max_retries) == ("first", "second", 1)
    answer = await gateway.http.patch(PATH, json={"trigger": {"on": ["score_reached"]}}, headers=asked_by("demo"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "trigger.score")


async def test_a_mask_that_hides_nothing_is_refused_by_name(gateway: InProcess) -> None:
    body = definition(SECRET, MASK)
    body["steps"][1]["step_id"] = "other"
    body["steps"][1]["then"][0]["step_id"] = "new"
    wanted = [{"field": "steps.new.config.headers.Authorization", "problem": "is masked: write its value"}]
    for method, path in (("PUT", PATH), ("POST", "/api/v1/sequences")):
        answer = await gateway.http.request(method, path, json=body, headers=asked_by("demo", "operator"))
        assert (answer.status_code, answer.json()["errors"]) == (422, wanted), path
    assert gateway.requester.ordered == []


async def test_an_address_masked_for_another_host_is_refused_by_name(gateway: InProcess) -> None:
    shown = (await gateway.http.get(PATH, headers=asked_by("demo", "viewer"))).json()["definition"]
    shown["steps"][0]["config"]["url"] = f"https://elsewhere.example.com/{MASK}"
    answer = await gateway.http.put(PATH, json=shown, headers=asked_by("demo", "operator"))
    wanted = [{"field": "steps.call.config.url", "problem": "is masked: write its value"}]
    assert (answer.status_code, answer.json()["errors"]) == (422, wanted)
    assert gateway.requester.ordered == []


async def test_an_address_that_is_a_host_alone_is_shown(gateway: InProcess) -> None:
    plain = {"name": "Calls", "steps": [webhook("call", SECRET, url="https://crm.example.com/")]}
    gateway.app.state.parts.views.put("sequences", {"_id": str(SEQUENCE), "name": "Calls", "definition": plain})
    shown = (await gateway.http.get(PATH, headers=asked_by("demo", "viewer"))).json()["definition"]
    assert shown["steps"][0]["config"]["url"] == "https://crm.example.com/"


async def test_what_a_webhook_would_say_is_masked_in_trials_too(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"kind": "webhook", "content": {"subject": "", "html": None, "text": BODY}}
    mail = {"kind": "email", "content": {"subject": "Hi", "html": None, "text": "Hello"}}
    times = {"at": "2026-11-20T10:00:00Z", "local_at": "10:00", "outcome": "sends", "arm": None}
    why = {"rule": "delay", "inputs": {}, "text": ""}
    steps = [{"step_id": "a", **times, "why": why, **each} for each in (said, mail)]
    told: dict[str, dict[str, Any]] = {
        "test": {"steps": steps, "ends_at": None, "ended_by": None, "warnings": []},
        "preview": {**said, "problem": None, "missing": []},
    }
    asked = {"test": {"lead": {"first_name": "Ada"}}, "preview": {"lead": {"first_name": "Ada"}, "step_id": "a"}}
    for trial, result in told.items():

        async def request(*_: Any, result: dict[str, Any] = result, **__: Any) -> Answer:
            return Answer(ok=True, result=result)

        monkeypatch.setattr(gateway.requester, "request", request)
        for headers, shown in ((asked_by("demo", "viewer"), MASK), (asked_by("demo", "operator"), BODY)):
            answer = await gateway.http.post(f"{PATH}/{trial}", json=asked[trial], headers=headers)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            first = body["steps"][0] if trial == "test" else body
            assert first["content"]["text"] == shown, trial
            if trial == "test":
                assert body["steps"][1]["content"] == mail["content"]


@pytest.mark.parametrize("url", ["https://[::1/x", "https://[x]/p?key=s3cret", "https://a.example?key=s3cret"])
async def test_odd_addresses_are_masked_like_others(gateway: InProcess, url: str) -> None:
    odd = {"name": "Calls", "steps": [webhook("call", SECRET, url=url)]}
    gateway.app.state.parts.views.put("sequences", {"_id": str(SEQUENCE), "name": "Calls", "definition": odd})
    hidden = await gateway.http.get(PATH, headers=asked_by("demo", "viewer"))
    assert hidden.status_code == 200, hidden.text
    assert "s3cret" not in hidden.text
    assert (await gateway.http.put(PATH, json=odd, headers=asked_by("demo", "operator"))).status_code < 500


class Ledger:
    """Holds one dispatch."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def collection(self, _: str) -> Ledger:
        return self

    async def find_one(self, *_: Any) -> dict[str, Any]:
        return self._row

    def find(self, *_: Any) -> Found:
        return Found([self._row])


@pytest.mark.parametrize("path", ["messages/{message_id}", "leads/{lead_id}/data"])
async def test_a_call_as_it_was_sent_is_masked_likewise(gateway: InProcess, path: str) -> None:
    parts, ids = gateway.app.state.parts, gateway.domain.ids
    sent = {"to": URL, "headers": {"Authorization": SECRET}, "subject": "POST", "text": BODY, "html": None}
    row = {"_id": "d1", "channel": "webhook", "message": sent, "state": "sent"}
    gateway.app.state.parts = replace(parts, ledger=cast("Any", Ledger(row)))
    message = {"_id": ids["message_id"], "dispatch_id": str(UUID(int=8)), "channel": "webhook", "status": "sent"}
    parts.views.put("messages", {**message, "lead_id": str(ids["lead_id"])})
    gateway.directory.scopes = frozenset({"messages:read", "leads:export"})  # a key that may read, and no more
    url = f"/api/v1/{path.format_map(ids)}"
    hidden = await gateway.http.get(url, headers=asked_by("demo", "admin"))
    assert hidden.status_code == 200, hidden.text
    assert "s3cret" not in hidden.text
    assert HIDDEN_URL in hidden.text
    assert "POST" in hidden.text
    gateway.directory.scopes = frozenset()
    seen = await gateway.http.get(url, headers=asked_by("demo", "admin"))
    assert SECRET in seen.text
    assert URL in seen.text


async def test_a_viewer_sees_no_secret_of_a_call_and_all_of_a_mail(gateway: InProcess) -> None:
    parts, ids = gateway.app.state.parts, gateway.domain.ids
    sent = {"to": "ada@example.com", "headers": {"X": "y"}, "subject": "Hi", "text": "Hello", "html": None}
    url = f"/api/v1/messages/{ids['message_id']}"
    for channel, text in (("email", "Hello"), ("webhook", MASK)):
        row = {"_id": "d1", "channel": channel, "message": sent, "state": "sent"}
        gateway.app.state.parts = replace(parts, ledger=cast("Any", Ledger(row)))
        message = {"_id": ids["message_id"], "dispatch_id": str(UUID(int=8)), "channel": channel, "status": "sent"}
        parts.views.put("messages", {**message, "lead_id": str(ids["lead_id"])})
        answer = (await gateway.http.get(url, headers=asked_by("demo", "viewer"))).json()
        assert answer["as_sent"]["text"] == text
        assert answer["as_sent"]["headers"] == {"X": "y" if channel == "email" else MASK}


def test_a_dead_letter_of_a_call_shows_its_body_only_to_who_may_change_sequences() -> None:
    def asks(*scopes: str) -> Principal:
        return Principal("api_key", UUID(int=7), "demo", "operator", "k", scopes=frozenset(scopes))

    for queue, shown in (("dispatcher.webhook", MASK), ("dispatcher.email", BODY)):
        assert letter_as_seen_by(asks("operations:read"), queue, BODY) == shown
        assert letter_as_seen_by(asks(), queue, BODY) == BODY
