"""What a mail system reports: delivery status (RFC 3464), complaints (RFC 5965), and the many that keep to no
standard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from typing import Literal

import structlog
from flufl.bounce import all_failures

from services.tracker.mails import body_text, header, parts_of, text_of

BounceKind = Literal["hard", "soft"]
MAX_STATUS = 200

_log = structlog.get_logger(__name__)
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"(?<![\d.])([45])\d\d(?=[ -])")
#: Text beyond this is the returned message, not the reason.
_REASON_TEXT = 5_000
_SYSTEM_SENDERS = ("mailer-daemon", "postmaster", "mail-daemon", "mail delivery")


@dataclass(frozen=True, slots=True)
class Bounce:
    """``kind`` hard: the address will never take a mail; soft: it did not take this one. ``status`` as reported."""

    kind: BounceKind
    status: str | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A report of success."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The recipient called it spam."""


Report = Bounce | Delivered | Complaint


def report_of(message: Message, *, to_bounce_address: bool) -> Report | None:
    """What a mail reports, or None when it is no report. A bounce without structure is believed only at the bounce
    address.
    """
    parts = list(parts_of(message))
    kinds = {part.get_content_type() for part in parts}
    if "message/feedback-report" in kinds:
        return _complaint(parts)
    for part in parts:
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status"):
            report = _delivery_status(part)
            if report is not None:
                return report
    return _unstructured(message) if to_bounce_address else None


def _complaint(parts: list[Message]) -> Report | None:
    for part in parts:
        if part.get_content_type() == "message/feedback-report":
            fields = _fields(_raw_text(part))
            kind = fields.get("feedback-type", "abuse")
            return None if kind in ("not-spam", "auth-failure") else Complaint()
    return None


def _delivery_status(part: Message) -> Report | None:
    """The gravest of its recipients' fates."""
    payload = part.get_payload()
    blocks = (
        [_header_fields(block) for block in payload if isinstance(block, Message)] if isinstance(payload, list) else []
    )
    if not blocks:
        blocks = [_fields(block) for block in re.split(r"\n\s*\n", text_of(part))]
    found: list[Report] = []
    for fields in blocks:
        action = fields.get("action", "").split(" ")[0]
        match = _ENHANCED.search(fields.get("status", ""))
        if not action and match is None:
            continue  # the first block speaks of the message, not of a recipient
        status = (match.group(0) if match else fields.get("diagnostic-code", ""))[:MAX_STATUS] or None
        if action in ("delivered", "relayed", "expanded") or (match and match.group(1) == "2"):
            found.append(Delivered())
        elif action == "delayed" or (match and match.group(1) == "4"):
            found.append(Bounce("soft", status))
        elif match or action == "failed":
            found.append(Bounce("hard", status))
    return max(found, key=_gravity, default=None)


def _gravity(report: Report) -> int:
    match report:
        case Bounce(kind="hard"):
            return 3
        case Complaint():
            return 2
        case Bounce():
            return 1
        case Delivered():
            return 0


def _unstructured(message: Message) -> Report | None:
    try:
        temporary, permanent = all_failures(message)
    except Exception as error:  # noqa: BLE001  # its detectors meet hostile text and raise whatever comes
        _log.info("bounce_detector_failed", error=repr(error))
        temporary, permanent = frozenset(), frozenset()
    sender = header(message, "From").lower()
    if not temporary and not permanent and not any(word in sender for word in _SYSTEM_SENDERS):
        return None
    reason = body_text(message)[:_REASON_TEXT]
    match = _ENHANCED.search(reason)
    code = _REPLY_CODE.search(reason)
    digit = match.group(1) if match else code.group(1) if code else ""
    if digit == "2":
        return Delivered()
    # Without a code the finder's word counts; in plain doubt the address keeps its good name.
    hard = digit == "5" or (not digit and bool(permanent) and not temporary)
    return Bounce("hard" if hard else "soft", match.group(0) if match else None)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip().lower())
    return fields


def _header_fields(message: Message) -> dict[str, str]:
    return {name.lower(): str(value).strip().lower() for name, value in message.items()}


def _raw_text(part: Message) -> str:
    """A feedback report's fields; the parser takes it for an embedded message and reads them as headers."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return "\n".join(
            f"{name}: {value}" for inner in payload if isinstance(inner, Message) for name, value in inner.items()
        )
    return text_of(part)
