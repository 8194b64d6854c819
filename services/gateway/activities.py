"""An entry of the timeline as people see it: a title, and badges of outcome and duration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANGED = "Details changed"
#: Fields named in a title.
MOST_NAMED = 5
#: What reads better than the event's own name.
_TITLES = {
    "lead.captured": "Lead captured",
    "lead.details_merged": CHANGED,
    "lead.identity_clashed": "Shares an identity with another lead",
    "lead.matched": "Matched to a sequence",
    "lead.not_matched": "No sequence matched",
    "lead.not_enrolled": "Not enrolled",
    "lead.scored": "Score changed",
    "lead.tagged": "Tags changed",
    "lead.assigned": "Owner changed",
    "lead.won": "Converted",
    "lead.booked_meeting": "Meeting booked",
    "lead.call_logged": "Call",
    "lead.meeting_logged": "Meeting",
    "lead.email_logged": "E-mail",
    "lead.note_logged": "Note",
    "lead.replied": "Replied",
    "lead.erased": "Personal data erased",
    "enrollment.started": "Enrolled",
    "enrollment.step_sent": "Message sent",
    "enrollment.step_failed": "Message failed",
    "enrollment.step_deferred": "Message put off",
    "enrollment.step_in_doubt": "Message in doubt",
    "enrollment.step_settled": "Message in doubt settled",
    "enrollment.step_handed_to_person": "Waits for a person",
    "enrollment.step_done_by_person": "Done by a person",
    "task.snoozed": "Task put off",
    "task.assigned": "Task given to somebody else",
    "enrollment.completed": "Sequence completed",
    "enrollment.exited": "Left the sequence",
}
#: Kinds whose own words make the better title.
_NAMED = {"task.opened": "title", "lead.meeting_logged": "title", "lead.email_logged": "subject"}
#: What of the detail says how it ended, the first that is there.
_OUTCOMES = ("outcome", "signal", "reason")


def described(document: Mapping[str, Any]) -> dict[str, Any]:
    """``{"group", "title", "outcome", "duration_seconds"}``; the last two are None where they mean nothing."""
    kind: str = document["kind"]
    detail, personal = document.get("detail") or {}, document.get("personal") or {}
    own_words = personal.get(_NAMED[kind]) if kind in _NAMED else None
    if kind == "lead.details_merged":
        own_words = _changed(detail, personal)
    outcome = next((detail[name] for name in _OUTCOMES if isinstance(detail.get(name), str)), None)
    return {
        "group": document.get("group") or "change",
        "title": own_words or _TITLES.get(kind) or _spoken(str(detail.get("signal") or kind)),
        "outcome": outcome,
        "duration_seconds": _seconds(detail),
    }


def _changed(detail: Mapping[str, Any], personal: Mapping[str, Any]) -> str:
    """Names the fields, never what stands in them."""
    fields = [*personal.get("personal_fields", ()), *detail.get("fields", ()), *detail.get("cleared", ())]
    names = [str(name).replace("_", " ").replace(".", " ") for name in dict.fromkeys(fields)]
    if not names:
        return CHANGED
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{CHANGED}: {', '.join(names[:MOST_NAMED])}{more}"


def _spoken(kind: str) -> str:
    return kind.rpartition(".")[2].replace("_", " ").capitalize()


def _seconds(detail: Mapping[str, Any]) -> int | None:
    if isinstance(detail.get("duration_seconds"), int):
        return int(detail["duration_seconds"])
    minutes = detail.get("duration_minutes")
    return minutes * 60 if isinstance(minutes, int) else None
