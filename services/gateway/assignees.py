"""Whose a task is, seen from today: that of a member who may not sign in any more is nobody's, and everybody's to take.
The task itself keeps whom it was given to until it is given to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def gone(organization: Mapping[str, Any] | None) -> list[str]:
    """All that members who are not active go by in tasks."""
    members = ((organization or {}).get("members") or {}).items()
    return [name for each, member in members if not member.get("active") for name in names(each, member.get("email"))]


def names(member_id: str, email: str | None) -> list[str]:
    """What one member goes by: the id, also as an actor, and the e-mail that a step may name."""
    return [member_id, f"member:{member_id}", *([email] if email else [])]


def as_of_today(task: dict[str, Any], left: list[str]) -> dict[str, Any]:
    """``assigned_before`` holds who had an open task that is nobody's now."""
    if task.get("status") != "open" or task.get("assignee") not in left:
        return task
    return {**task, "assignee": None, "assigned_before": task["assignee"]}
