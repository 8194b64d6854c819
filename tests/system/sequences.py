"""Sequences the system tests use, as sent to the API."""

from __future__ import annotations

from typing import Any


def email(step_id: str, subject: str | None = None, **delay: Any) -> dict[str, Any]:
    """One e-mail step; ``subject`` differs by step, so that the sink can tell steps apart."""
    return {
        "step_id": step_id,
        "kind": "email",
        "name": step_id.title(),
        "delay": {"amount": 0, "unit": "minutes", **delay},
        "config": {
            "subject": subject or f"{step_id} for {{{{ first_name | default: 'you' }}}}",
            "html": f'<p>Hello {{{{ first_name | default: "you" }}}}, <a href="https://example.com/{step_id}">look</a></p>',
        },
    }


def sequence(name: str, steps: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "settings": settings,
        "trigger": {"on": ["created"], "start": "auto", "funnels": ["test-funnel"]},
        "steps": steps,
    }


def three_mails() -> dict[str, Any]:
    """Three e-mails without a wait between them."""
    return sequence("Three mails", [email("first"), email("second"), email("third")])


def mail_then_later(days: int = 3) -> dict[str, Any]:
    return sequence("Mail, then later", [email("welcome"), email("later", amount=days, unit="days")])
