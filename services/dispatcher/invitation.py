"""The calendar part of a mail: an appointment that mail programs offer to take over (RFC 5545, RFC 6047). Pure."""

from __future__ import annotations

from datetime import datetime

from icalendar import Calendar, Event, vCalAddress, vText

from shared.events.dispatch import DressedStep
from shared.rendering.message import Invited


def calendar_part(step: DressedStep, invited: Invited, to: str, domain: str, now: datetime) -> str:
    """An invitation from the sender to the lead, with CRLF line ends. Every attempt has the same UID, so that a
    calendar knows it again.
    """
    event = Event()
    event.add("uid", f"{step.dispatch_id}@{domain}")
    event.add("dtstamp", now)
    event.add("dtstart", invited.starts_at)
    event.add("dtend", invited.ends_at)
    event.add("summary", invited.title)
    if invited.location:
        event.add("location", invited.location)
    if invited.description:
        event.add("description", invited.description)
    event.add("status", "CONFIRMED")
    event.add("sequence", 0)
    organizer = vCalAddress(f"MAILTO:{step.sender.email}")
    organizer.params["cn"] = vText(step.sender.name)
    event["organizer"] = organizer
    attendee = vCalAddress(f"MAILTO:{to}")
    attendee.params["role"] = vText("REQ-PARTICIPANT")
    attendee.params["partstat"] = vText("NEEDS-ACTION")
    attendee.params["rsvp"] = vText("TRUE")
    event.add("attendee", attendee, encode=False)
    calendar = Calendar()
    calendar.add("prodid", "-//Tendril//Lead nurture//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "REQUEST")
    calendar.add_component(event)
    written: bytes = calendar.to_ical()
    return written.decode()
