"""What a recipient will do with a mail, and when: drawn from the mail itself, so it is the same after a restart."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from html import unescape
from typing import Any

from tendril.demo.people import habits_of

PIXEL = re.compile(r'"(https?://[^"]+/t/o/[^"]+)"')
LINK = re.compile(r'<a\s[^>]*href="(https?://[^"]+/t/c/[^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
UNSUBSCRIBE = re.compile(r"<(https?://[^>]+)>")
BOOKING_WORDS = ("choose a time", "book a first")
#: Whatever a mail leads to has happened by then.
LONGEST = timedelta(days=6)
_BOOKS = 0.4
_WINS = 0.35
_LOOKS_AGAIN = 0.2
_ANSWERS_AWAY = 0.7


class Act(StrEnum):
    OPEN = "open"
    CLICK = "click"
    REPLY = "reply"
    AWAY = "away"
    BOUNCE = "bounce"
    UNSUBSCRIBE = "unsubscribe"
    BOOK = "book"
    WIN = "win"


@dataclass(frozen=True, slots=True)
class Reaction:
    """One act at a business time. ``target`` is the address to fetch, where there is one."""

    at: datetime
    act: Act
    mail: dict[str, Any]
    target: str = ""
    agent: str = ""


def reactions_to(mail: dict[str, Any], seed: int) -> list[Reaction]:
    """All that follows from a stored mail, in any order."""
    draw = random.Random(f"{seed}:mail:{mail['_id']}")
    habits = habits_of(str(mail["to"]), seed)
    at: datetime = mail["at"]

    def later(after: datetime, minutes: float) -> datetime:
        return min(after + timedelta(minutes=1 + draw.expovariate(1 / minutes)), at + LONGEST)

    if habits.dead:
        return [Reaction(later(at, 3), Act.BOUNCE, mail)]
    found: list[Reaction] = []
    if habits.away and draw.random() < _ANSWERS_AWAY:
        found.append(Reaction(later(at, 2), Act.AWAY, mail))
    if draw.random() >= habits.opens:
        return found
    opened = later(at, 150)
    html = str(mail.get("html") or "")
    pixel = PIXEL.search(html)
    if pixel:
        found.append(Reaction(opened, Act.OPEN, mail, unescape(pixel.group(1)), habits.agent))
        if draw.random() < _LOOKS_AGAIN:
            found.append(Reaction(later(opened, 400), Act.OPEN, mail, unescape(pixel.group(1)), habits.agent))
    links = LINK.findall(html)
    if links and draw.random() < habits.clicks:
        address, words = draw.choice(links)
        clicked = later(opened, 3)
        found.append(Reaction(clicked, Act.CLICK, mail, unescape(address), habits.agent))
        if any(word in words.lower() for word in BOOKING_WORDS) and draw.random() < _BOOKS:
            booked = later(clicked, 8)
            found.append(Reaction(booked, Act.BOOK, mail))
            if draw.random() < _WINS:
                found.append(Reaction(later(booked, 3 * 24 * 60), Act.WIN, mail))
    if draw.random() < habits.replies:
        found.append(Reaction(later(opened, 90), Act.REPLY, mail))
    elif draw.random() < habits.unsubscribes and (link := _unsubscribe_link(mail)):
        found.append(Reaction(later(opened, 5), Act.UNSUBSCRIBE, mail, link, habits.agent))
    return found


def _unsubscribe_link(mail: dict[str, Any]) -> str | None:
    for name, value in mail["headers"]:
        if str(name).lower() == "list-unsubscribe":
            link = UNSUBSCRIBE.search(str(value))
            return link.group(1) if link else None
    return None
