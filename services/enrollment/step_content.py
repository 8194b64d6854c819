"""What a step says, as a dispatcher gets it: templates by name, and what a call, an invitation or a template message
has besides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from services.enrollment.domain.task import Content
from shared.events.definition import AppointmentConfig
from shared.events.kinds import MailContent, SmsConfig, WebhookConfig, WhatsappConfig
from shared.events.message import Value

#: Config of every kind that sends something.
SENT = (MailContent, SmsConfig, WhatsappConfig, WebhookConfig)


def said(config: Value, draft: Content | None, starts_at: datetime | None) -> dict[str, Any]:
    """The fields of a DressedStep that hold content. ``draft`` is what a person approved in the config's place."""
    match config:
        case AppointmentConfig() if starts_at is not None:
            invitation = {"title": config.title, "location": config.location, "description": config.description}
            until = starts_at + timedelta(minutes=config.duration_minutes)
            return {
                "content": {**_mail(config), **invitation},
                "appointment": {"starts_at": starts_at.isoformat(), "ends_at": until.isoformat()},
            }
        case MailContent():
            return {"content": draft._asdict() if draft is not None else _mail(config)}
        case SmsConfig():
            return {"content": {"text": config.text}}
        case WhatsappConfig(template=None):
            return {"content": {"text": config.text}}
        case WhatsappConfig():
            assert config.template is not None
            parameters = {f"parameter_{n}": each for n, each in enumerate(config.template.parameters, 1)}
            return {
                "content": parameters,
                "template": {"name": config.template.name, "language": config.template.language},
            }
        case WebhookConfig():
            return {
                "content": {"body": config.body},
                "webhook": {"url": config.url, "method": config.method, "headers": config.headers},
            }
    raise TypeError(f"{type(config).__name__} sends nothing")


def _mail(config: MailContent) -> dict[str, str | None]:
    return {
        "subject": config.subject,
        "html": config.html,
        "text": config.text,
        "preheader": config.preheader,
    }
