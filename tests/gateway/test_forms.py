from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.gateway.routes import forms
from shared.events.lead import LeadBody, LeadCreated
from tests.gateway.conftest import Gateway
from tests.gateway.test_funnels import FUNNEL

KEY = "k" * 22
PATH = f"/api/v1/forms/{KEY}"
FORM: dict[str, Any] = {"form_key": KEY, "origins": [], "redirect_to": None}


async def funnel(gateway: Gateway, **form: Any) -> None:
    await gateway.put("funnels", {**FUNNEL, "form": {**FORM, **form}})


def taken(gateway: Gateway) -> list[LeadBody]:
    messages = [envelope.message for envelope in gateway.write_side.seen]
    return [message.lead for message in messages if isinstance(message, LeadCreated)]


async def test_a_form_makes_a_lead_of_its_funnel_without_signing_in(gateway: Gateway) -> None:
    await funnel(gateway)
    fields = {"email": "ada@example.com ", "first_name": "Ada", "budget": "5000", "consent_email": "on", "phone": ""}
    answer = await gateway.http.post(PATH, data=fields)
    assert (answer.status_code, answer.json()) == (202, {"taken": True})
    [envelope] = gateway.write_side.seen
    message = envelope.message
    assert isinstance(message, LeadCreated)
    assert (message.organization_id, message.funnel_id) == ("demo", "web")
    assert message.lead == LeadBody(
        email="ada@example.com", first_name="Ada", consent={"email": True}, custom_fields={"budget": "5000"}
    )
    assert (envelope.actor, envelope.organization_id) == ("funnel", "demo")


async def test_a_stranger_names_no_score_status_tags_or_foreign_identity(gateway: Gateway) -> None:
    await funnel(gateway)
    said = {"email": "a@example.com", "score": 99, "status": "Won", "tags": "vip", "external_id": "crm-1"}
    assert (await gateway.http.post(PATH, json=said)).status_code == 202
    [lead] = taken(gateway)
    assert (lead.score, lead.status, lead.tags, lead.external_id) == (None, None, None, None)
    assert lead.custom_fields == {"score": "99", "status": "Won", "tags": "vip", "external_id": "crm-1"}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"first_name": "Ada"}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@example.com", "phone": "x"}, "phone"),
        ({"email": "a@example.com", "timezone": "Mars/Base"}, "timezone"),
        ({"email": "a@example.com", "consent_email": "perhaps"}, "consent_email"),
        ({"email": "a@example.com", "first_name": ["x"]}, "first_name"),
        ({"email": "a@example.com", "note": "x" * 2_001}, "note"),
    ],
)
async def test_bad_input_gets_a_problem_that_names_the_forms_field(
    gateway: Gateway, said: dict[str, Any], field: str
) -> None:
    await funnel(gateway)
    answer = await gateway.http.post(PATH, json=said)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert not taken(gateway)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "application/json"), (b"[]", "application/json"), (b"<a/>", "text/xml"), (b"", "")]
)
async def test_what_is_no_form_is_refused(gateway: Gateway, body: bytes, kind: str) -> None:
    await funnel(gateway)
    answer = await gateway.http.post(PATH, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400


async def test_a_filled_trap_is_thanked_and_makes_nothing(gateway: Gateway) -> None:
    await funnel(gateway)
    answer = await gateway.http.post(PATH, data={"email": "a@example.com", forms.HONEYPOT: "buy"})
    assert answer.status_code == 202
    assert not taken(gateway)


async def test_a_closed_or_unknown_form_is_not_there(gateway: Gateway) -> None:
    await gateway.put("funnels", FUNNEL)
    assert (await gateway.http.post(PATH, data={"email": "a@example.com"})).status_code == 404


async def test_a_browser_may_post_from_the_forms_own_sites_only(gateway: Gateway) -> None:
    await funnel(gateway, origins=["https://good.example"])
    good, bad = {"Origin": "https://good.example"}, {"Origin": "https://bad.example"}
    asked = await gateway.http.options(PATH, headers=good)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "https://good.example")
    said = {"email": "a@example.com"}
    assert (await gateway.http.post(PATH, data=said, headers=bad)).status_code == 403
    answer = await gateway.http.post(PATH, data=said, headers=good)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, "https://good.example")


async def test_a_page_is_sent_on_or_thanked(gateway: Gateway) -> None:
    await funnel(gateway, redirect_to="https://good.example/thanks")
    page = {"Accept": "text/html,*/*"}
    answer = await gateway.http.post(PATH, data={"email": "a@example.com"}, headers=page)
    assert (answer.status_code, answer.headers["location"]) == (303, "https://good.example/thanks")
    await gateway.views.collection("funnels.g1").update_one({}, {"$set": {"form.redirect_to": None}})
    thanked = await gateway.http.post(PATH, data={"email": "a@example.com"}, headers=page)
    assert (thanked.status_code, "Thank you" in thanked.text) == (200, True)


async def test_posts_are_counted_by_caller(gateway: Gateway) -> None:
    await funnel(gateway)
    posts = [gateway.http.post(PATH, data={"email": f"l{n}@example.com"}) for n in range(forms.POSTS_PER_CALLER + 3)]
    answers = await asyncio.gather(*posts)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert len(taken(gateway)) == forms.POSTS_PER_CALLER
