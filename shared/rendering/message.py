"""From a dressed step to what the recipient reads: subject, HTML and text. Pure but for the tokens in its links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from html import escape

from shared.events.dispatch import DressedStep
from shared.rendering.errors import BrokenContent
from shared.rendering.html_content import inline_styles, sanitise, text_of
from shared.rendering.links import Links
from shared.rendering.plain import TEXT_KINDS, call_body, phone_text
from shared.rendering.values import filled_parts, values_of

MOST_SUBJECT_CHARACTERS = 998

_BREAKS = re.compile(r"[\r\n\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Invited:
    """An appointment in words that the recipient reads. Moments are UTC."""

    title: str
    location: str
    description: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Rendered:
    """``html`` is None for a message of text only. ``text`` is empty only where none was derived."""

    subject: str
    html: str | None
    text: str
    invited: Invited | None = None


def render_step(step: DressedStep, links: Links, *, derive_text: bool = True) -> Rendered:
    """Of a message to a phone the text, of a call the body. ``derive_text`` False leaves the text of a message that has
    only HTML empty, for channels that show none.

    Raises MissingValues with the names missing in any part, or BrokenContent.
    """
    if step.webhook is not None:
        return Rendered("", None, call_body(step, links) or "")
    if step.kind in TEXT_KINDS:
        return Rendered("", None, phone_text(step, links).text)
    parts = filled_parts(step, values_of(step, links))
    subject = (parts.get("subject") or "").strip()
    if _BREAKS.search(subject):
        raise BrokenContent("the subject holds a line break or a control character")
    if len(subject) > MOST_SUBJECT_CHARACTERS:
        raise BrokenContent(f"the subject is longer than {MOST_SUBJECT_CHARACTERS} characters")
    html, text = parts.get("html"), parts.get("text")
    if html is not None and html.strip():
        body, own_text = _html_part(html, step, links, parts.get("preheader"), derive_text=derive_text)
    else:
        body, own_text = None, ""
    text = _text_part(text, step, links) if text is not None and text.strip() else own_text
    if body is None and not text.strip():
        raise BrokenContent("the message has no content")
    return Rendered(subject, body, text, _invited(step, parts))


def _invited(step: DressedStep, parts: dict[str, str]) -> Invited | None:
    if step.appointment is None:
        return None
    title, location, description = (parts.get(name, "").strip() for name in ("title", "location", "description"))
    return Invited(title, location, description, step.appointment.starts_at, step.appointment.ends_at)


def _html_part(
    html: str, step: DressedStep, links: Links, preheader: str | None, *, derive_text: bool
) -> tuple[str, str]:
    """The whole HTML document, and a text made of it."""
    targets: dict[str, str] = {}

    def rewrite(address: str) -> str:
        rewritten = links.click(address)
        targets[rewritten] = address
        return rewritten

    body = sanitise(inline_styles(html), rewrite)
    body += _html_footer(body, step, links)
    text = text_of(body) if derive_text else ""
    for rewritten, target in targets.items():
        text = text.replace(rewritten, target)
    hidden = ""
    if preheader and preheader.strip():
        hidden = f'<div style="display:none;max-height:0;overflow:hidden">{escape(preheader.strip())}</div>'
    pixel = f'<img src="{escape(links.pixel)}" width="1" height="1" alt="">' if step.track_opens else ""
    return f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{hidden}{body}{pixel}</body></html>', text


def _html_footer(body: str, step: DressedStep, links: Links) -> str:
    lines = []
    postal = step.postal_address.strip()
    if postal and escape(postal, quote=False) not in body:
        lines.append("<br>".join(escape(line.strip(), quote=False) for line in postal.splitlines()))
    if escape(links.unsubscribe) not in body:
        lines.append(f'<a href="{escape(links.unsubscribe)}">Unsubscribe</a>')
    return f'<p style="color:#666666;font-size:12px">{"<br>".join(lines)}</p>' if lines else ""


def _text_part(text: str, step: DressedStep, links: Links) -> str:
    lines = []
    postal = step.postal_address.strip()
    if postal and postal not in text:
        lines.append(postal)
    if links.unsubscribe not in text:
        lines.append(f"Unsubscribe: {links.unsubscribe}")
    footer = "\n\n-- \n" + "\n".join(lines) if lines else ""
    return text.rstrip() + footer + "\n"
