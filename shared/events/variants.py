"""Variants: several contents of one message step, how one of them is drawn, and when one of them has won."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.events.message import Value
from shared.events.patterns import CHOSEN_ID

VariantId = Annotated[str, StringConstraints(pattern=CHOSEN_ID)]
Measure = Literal["open", "click", "reply", "conversion"]

#: What a measure counts, as statistics and counts call it.
HITS: dict[str, str] = {"open": "opened", "click": "clicked", "reply": "replied", "conversion": "conversions"}
#: Fields of a message that are forms of one body: a variant that gives one of them replaces all.
BODIES = frozenset({"html", "text", "template"})
#: What is the same for all variants, because windows, limits and blockers are looked at before one is drawn.
FIXED = frozenset({"channel", "sender", "start"})


class Variant(Value):
    """``config`` holds what differs from the step's own; an ``html`` or ``text`` replaces both. ``weight`` is its share
    of the leads with fixed weights, 0 for none."""

    variant_id: VariantId
    name: str = Field(default="", max_length=200)
    weight: int = Field(default=1, ge=0, le=1_000)
    config: dict[str, Any] = {}


class WinnerRule(Value):
    """A variant has won once it is the best with ``probability`` and every variant was sent ``at_least`` times. With
    ``use`` all later leads get it."""

    probability: float = Field(default=0.95, gt=0.5, lt=1)
    at_least: int = Field(default=100, ge=1, le=1_000_000)
    act: Literal["none", "use"] = "none"


class Selection(Value):
    """``fixed`` draws by weight; ``auto`` by what is known of each one's ``measure`` (Thompson sampling), once every
    variant was sent ``min_sent`` times and by weight before."""

    mode: Literal["fixed", "auto"] = "fixed"
    measure: Measure = "open"
    min_sent: int = Field(default=20, ge=0, le=1_000_000)
    winner: WinnerRule | None = None
