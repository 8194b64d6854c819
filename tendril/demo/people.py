"""Invented people: leads as a funnel knows them, and how each behaves with mail. All of it follows from a seed."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from typing import Any

from tendril.demo.sequence import FUNNELS


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Country's names, zones and locale, with a weight.
_REGIONS: tuple[tuple[int, str, tuple[str, ...], str, str], ...] = (
    (24, "de", ("Europe/Berlin", "Europe/Vienna", "Europe/Zurich"), "+4915", "de"),
    (18, "en", ("Europe/London", "Europe/Dublin"), "+44740", "co.uk"),
    (20, "en", ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"), "+1415555", "com"),
    (10, "fr", ("Europe/Paris", "Europe/Brussels"), "+33612", "fr"),
    (8, "es", ("Europe/Madrid", "America/Mexico_City"), "+34612", "es"),
    (7, "sv", ("Europe/Stockholm", "Europe/Copenhagen"), "+46701", "se"),
    (7, "en", ("Asia/Kolkata", "Asia/Singapore"), "+9198765", "in"),
    (6, "en", ("Australia/Sydney", "Pacific/Auckland"), "+6141234", "com.au"),
)
_FIRST = {
    "de": _words("Anna Lukas Greta Jonas Leonie Matthias Katrin Florian Sabine Tobias Miriam Henrik Judith Markus"),
    "en": _words("Olivia James Amelia Daniel Grace Thomas Priya Samuel Chloe Marcus Ruth Andrew Naomi Hannah Owen"),
    "fr": _words("Camille Hugo Élodie Antoine Manon Julien Sylvie Bastien Claire Mathieu"),
    "es": _words("Lucía Javier Carmen Diego Marta Álvaro Inés Rafael Elena Pablo"),
    "sv": _words("Ebba Oskar Astrid Nils Freja Anders Karin Mikkel Signe Erik"),
}
_LAST = {
    "de": _words("Berger Hoffmann Krüger Vogel Schäfer Brandt Seidel Lorenz Winkler Haas Kessler Roth Engel Pfeiffer"),
    "en": _words("Carter Bennett Hughes Sullivan Patel Morgan Whitaker Ellis Shaw Fraser Nguyen Okafor Reid Byrne"),
    "fr": _words("Moreau Lefèvre Garnier Rousseau Chevalier Fontaine Marchand Perrin"),
    "es": _words("Romero Navarro Ortega Molina Vidal Serrano Castillo Herrera"),
    "sv": _words("Lindgren Sjöberg Nyström Holm Dahl Bergqvist Sandström Møller"),
}
_COMPANY_HEADS = _words(
    "Alder Beacon Cedar Delta Ember Fjord Granite Harbor Iris Juniper Kestrel Lumen Meadow Nova Orchard Pioneer Quill "
    "Ridge Summit Tidal Umbra Verdant Willow Yarrow Zephyr"
)
_COMPANY_TAILS = _words("Analytics Studio Logistics Health Partners Foods Energy Media Works Software Architects Bank")
_TITLES = (
    "Head of Operations", "Team Lead", "CTO", "Founder", "Product Manager", "HR Director", "Engineering Manager",
    "Marketing Lead", "Managing Director", "Consultant", "Head of Sales", "Project Manager",
)  # fmt: skip
_SOURCE = {"calmer-week-guide": "Web Form", "leadership-webinar": "Webinar", "clarity-quiz": "Quiz"}
_TAGS = {"calmer-week-guide": ["guide"], "leadership-webinar": ["webinar"], "clarity-quiz": ["quiz"]}
_CHALLENGES = ("too many meetings", "no time to think", "a growing team", "evenings at the laptop", "a new role")
_WITHOUT_NAME = 0.06
_WITHOUT_COMPANY = 0.15
_WITH_PHONE = 0.45
_NO_TRACKING = 0.05
_DEAD_ADDRESS = 0.025


@dataclass(frozen=True, slots=True)
class Habits:
    """How somebody behaves with mail: chances from 0 to 1. ``dead``: the address does not exist."""

    opens: float
    clicks: float
    replies: float
    unsubscribes: float
    away: bool
    dead: bool
    agent: str


_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile",
)


def lead_number(number: int, seed: int) -> dict[str, Any]:
    """Body of the ``number``-th ``lead.created``, without ``occurred_at``. The same number and seed give the same
    one."""
    draw = random.Random(f"{seed}:lead:{number}")
    weights = [region[0] for region in _REGIONS]
    _, language, zones, phone, domain = draw.choices(_REGIONS, weights)[0]
    first, last = draw.choice(_FIRST[language]), draw.choice(_LAST[language])
    company = f"{draw.choice(_COMPANY_HEADS)} {draw.choice(_COMPANY_TAILS)}"
    funnel = draw.choices(FUNNELS, (5, 3, 2))[0]
    host = f"{_plain(company).replace(' ', '-')}.{domain}.example"
    score = max(0, min(100, round(draw.gauss(38, 18))))
    lead: dict[str, Any] = {
        "external_id": f"crm-{seed:x}-{number:06d}",
        "email": f"{_plain(first)}.{_plain(last)}.{number}@{host}",
        "title": draw.choice(_TITLES),
        "timezone": draw.choice(zones),
        "locale": language,
        "score": score,
        "source": _SOURCE[funnel],
        "status": "New",
        "temperature": "Hot" if score > 65 else "Warm" if score > 30 else "Cold",
        "tags": [*_TAGS[funnel], *(["vip"] if draw.random() < 0.05 else [])],
        "custom_fields": {"challenge": draw.choice(_CHALLENGES), "team_size": draw.choice((1, 4, 8, 15, 40, 120))},
        "consent": {"email": True, "sms": False, "open_tracking": draw.random() >= _NO_TRACKING},
    }
    if draw.random() >= _WITHOUT_NAME:
        lead |= {"first_name": first, "last_name": last}
    if draw.random() >= _WITHOUT_COMPANY:
        lead["company"] = company
    if draw.random() < _WITH_PHONE:
        lead["phone"] = phone + "".join(draw.choice("0123456789") for _ in range(12 - len(phone)))
    return {"organization_id": "demo", "funnel_id": funnel, "lead": lead}


def habits_of(address: str, seed: int) -> Habits:
    """How the owner of this address behaves; always the same."""
    draw = random.Random(f"{seed}:habits:{address}")
    keenness = draw.betavariate(2.2, 2.0)
    return Habits(
        opens=0.2 + 0.7 * keenness,
        clicks=0.05 + 0.35 * keenness,
        replies=0.09 * keenness,
        unsubscribes=0.035 * (1 - keenness),
        away=draw.random() < 0.04,
        dead=draw.random() < _DEAD_ADDRESS,
        agent=draw.choice(_AGENTS),
    )


def _plain(text: str) -> str:
    """In the letters of an address."""
    folded = unicodedata.normalize("NFKD", text.lower().replace("ø", "o").replace("ß", "ss"))
    return "".join(letter for letter in folded if letter.isascii() and (letter.isalnum() or letter == " "))
