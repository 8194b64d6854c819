"""Messages to a phone, and invitations to the calendar."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from icalendar import Calendar

from services.dispatcher.links import StepLinks, addresses_of
from services.dispatcher.message import Outbound, compose
from services.dispatcher.text_message import compose_text
from shared.events.dispatch import Appointment, TemplateMessage
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.message import render_step
from shared.tokens import Tokens
from tests.dispatcher.making import LEAD, dressed, step_of

TOKENS = Tokens(["0123456789abcdef0123"])
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
START = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def text(content: dict[str, str], **more: Any) -> Outbound:
    step = dressed(**{"kind": "sms", "channel": "sms", "address": "+491511", "content": content, **more})
    return compose_text(step, StepLinks(TOKENS, "http://t", step_of(step), LEAD))


def invitation(**content: str | None) -> EmailMessage:
    step = dressed(
        kind="appointment",
        content={
            "subject": "Demo",
            "text": "See you",
            "title": "Demo with {{ first_name }}",
            "location": "Room 1, {{ company }}",
            "description": None,
            **content,
        },
        appointment=Appointment(starts_at=START, ends_at=START + timedelta(minutes=30)),
    )
    rendered = render_step(step, StepLinks(TOKENS, "http://t", step_of(step), LEAD))
    message = compose(step, rendered, addresses_of(TOKENS, "in.example", step_of(step)), "http://t/u", NOW)
    return email.message_from_bytes(message.raw, _class=EmailMessage, policy=email.policy.default)


# --- to a phone -------------------------------------------------------------------------------------------------------


def test_a_text_is_what_was_written_and_nothing_more() -> None:
    message = text({"text": "Hi {{ first_name }}, <b>50 %</b>"})
    assert (message.to, message.text, message.html, message.subject) == ("+491511", "Hi Ada, <b>50 %</b>", None, "")


def test_a_template_message_keeps_its_parameters_in_order() -> None:
    content = {f"parameter_{number}": f"{number} {{{{ first_name }}}}" for number in range(1, 12)}
    message = text(content, kind="whatsapp", template=TemplateMessage(name="hello", language="en_US"))
    assert message.headers["Template"] == "hello"
    assert message.headers["Parameters"].startswith('["1 Ada","2 Ada"')
    assert message.headers["Parameters"].endswith('"10 Ada","11 Ada"]')


def test_a_hole_in_a_text_is_never_sent() -> None:
    with pytest.raises(MissingValues) as caught:
        text({"text": "Hi {{ nickname }}"})
    assert caught.value.names == ["nickname"]
    with pytest.raises(BrokenContent):
        text({"text": "{% if first_name == 'Bob' %}x{% endif %}"})


def test_a_text_longer_than_any_phone_takes_is_refused() -> None:
    with pytest.raises(BrokenContent):
        text({"text": "{{ first_name }}" + "x" * 5_000})


# --- to the calendar --------------------------------------------------------------------------------------------------


def calendar_of(mail: EmailMessage) -> Any:
    parts = [part for part in mail.walk() if part.get_content_type() == "text/calendar"]
    assert len(parts) == 1
    assert parts[0].get_param("method") == "REQUEST"
    payload = parts[0].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return Calendar.from_ical(payload)


def test_an_invitation_has_a_calendar_part() -> None:
    mail = invitation()
    assert mail.get_content_type() == "multipart/alternative"
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content().startswith("See you")
    calendar = calendar_of(mail)
    assert calendar["method"] == "REQUEST"
    [event] = calendar.walk("VEVENT")
    assert (event["dtstart"].dt, event["dtend"].dt) == (START, START + timedelta(minutes=30))
    assert (event["summary"], event["location"]) == ("Demo with Ada", "Room 1, Engines")
    assert "description" not in event
    assert event["organizer"] == "MAILTO:grace@sender.example"
    assert event["attendee"] == "MAILTO:ada@example.com"


def test_every_attempt_has_the_same_uid() -> None:
    step = dressed()
    uids = {dressed(enrollment_id=step.enrollment_id, attempt=attempt).dispatch_id for attempt in (1, 2, 3)}
    assert len(uids) == 1
    [event] = calendar_of(invitation()).walk("VEVENT")
    assert event["uid"].endswith("@in.example")


def test_words_cannot_break_out_of_the_calendar() -> None:
    [event] = calendar_of(invitation(title="Demo\r\nEND:VEVENT\r\nBEGIN:VALARM; x, y")).walk("VEVENT")
    assert event["summary"].replace("\r", "") == "Demo\nEND:VEVENT\nBEGIN:VALARM; x, y"
