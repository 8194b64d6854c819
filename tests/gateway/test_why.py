"""Why, over HTTP: what is asked of the write side, and what is refused before."""

from __future__ import annotations

from typing import Any

from services.enrollment.explanation import Explainer
from shared.events import Envelope
from shared.events.patterns import CHOSEN_ID, MEANINGS
from shared.events.query import Answer, QueryWhy
from shared.events.sequence import DeactivateSequence
from tests.domain.scenario import SEQUENCE as SEQUENCE_OF_STORY
from tests.domain.scenario import days, email
from tests.enrollment.test_explanation import Story
from tests.gateway.conftest import ENROLLMENT, LEAD, SEQUENCE, Gateway, enrollment_document, lead_document

TOLD: dict[str, Any] = {
    "lead_id": str(LEAD),
    "sequence_id": str(SEQUENCE),
    "sequence_name": "Webinar",
    "step_id": "welcome",
    "step_name": "Welcome",
    "step_number": 1,
    "answers": [
        {
            "standing": "skipped",
            "rule": "inactive",
            "inputs": {},
            "names": {},
            "text": "It was passed over. The step is switched off.",
            "at": "2026-11-20T09:00:00Z",
            "until": None,
            "current_step": "second",
            "current_step_name": "Have a look",
            "current_step_number": 2,
            "sequence_id": str(SEQUENCE),
            "sequence_name": "Webinar",
            "version": 1,
            "enrollment_id": str(ENROLLMENT),
        }
    ],
    "items": [],
}


async def test_it_is_asked_of_the_log_within_the_organization(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    await gateway.put("enrollments", enrollment_document())
    gateway.write_side.answer = lambda _: Answer(ok=True, result=TOLD)
    asked = {"sequence_id": str(SEQUENCE), "step_id": "welcome"}
    answer = await gateway.http.get(f"/api/v1/leads/{LEAD}/why", params=asked, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (200, TOLD)
    question = QueryWhy(organization_id="demo", lead_id=LEAD, sequence_id=SEQUENCE, step_id="welcome")
    assert gateway.write_side.seen[-1].message == question
    route = f"/api/v1/enrollments/{ENROLLMENT}/why"
    answer = await gateway.http.get(route, params={"step_id": "welcome"}, headers=gateway.key())
    assert answer.status_code == 200
    question = QueryWhy(organization_id="demo", enrollment_id=ENROLLMENT, step_id="welcome")
    assert gateway.write_side.seen[-1].message == question
    before = len(gateway.write_side.seen)
    for url in (route, f"/api/v1/leads/{LEAD}/why"):
        assert (await gateway.http.get(url, headers=gateway.key("other"))).status_code == 404
    assert len(gateway.write_side.seen) == before


async def test_wrong_questions_name_the_field(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    for asked, field in (
        ({"step_id": "welcome"}, "sequence_id"),
        ({"sequence_id": "x"}, "sequence_id"),
        ({"sequence_id": str(SEQUENCE), "step_id": "no step!"}, "step_id"),
    ):
        answer = await gateway.http.get(f"/api/v1/leads/{LEAD}/why", params=asked, headers=gateway.key())
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["detail"] == f"step_id: must be {MEANINGS[CHOSEN_ID]}"
    assert gateway.write_side.seen == []


async def test_a_coach_reads_names(gateway: Gateway) -> None:
    """What the write side says of its own log is what the API shows, names and all."""
    story = Story((email("first", name="Welcome", delay=days(1)), email("second", delay=days(1))))
    story.when(DeactivateSequence(sequence_id=SEQUENCE_OF_STORY)).wake()

    def answer(envelope: Envelope) -> Answer:
        assert isinstance(envelope.message, QueryWhy)
        return Answer(ok=True, result=Explainer(story.load).answer(envelope.message))

    gateway.write_side.answer = answer
    await gateway.put("leads", {**lead_document(0), "_id": str(story.lead_id)})
    asked = {"sequence_id": str(SEQUENCE_OF_STORY), "step_id": "second"}
    found = await gateway.http.get(f"/api/v1/leads/{story.lead_id}/why", params=asked, headers=gateway.key())
    assert found.status_code == 200, found.text
    told = found.json()
    assert (told["sequence_name"], told["step_name"], told["step_number"]) == ("Test", "Hello", 2)
    [one] = told["answers"]
    assert one["text"] == (
        "The enrollment has not come to it: it stands at step 1 “Welcome”. "
        "It waits, because the sequence “Test” is not active."
    )
    assert (one["current_step_name"], one["names"]) == ("Welcome", {"blocked_on": "the sequence “Test”"})
    assert {each["sequence_name"] for each in told["items"] if each["sequence_id"]} == {"Test"}
