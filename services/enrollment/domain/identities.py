"""What a lead is known by, in the one form that is compared and hashed."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

IdentityKind = Literal["external_id", "email", "phone"]

_QUOTED_EMAIL = re.compile(r"^\"[^\"\r\n]{1,62}\"@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,255}$")
_EMAIL = re.compile(r"^[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,64}@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,255}$")
_PHONE_SIGNS = re.compile(r"[\s()./\-]")


@lru_cache(maxsize=16_384)
def normalise_email(text: str) -> str | None:
    """NFC, trimmed, case-folded, the domain in IDNA form; None when it is no address."""
    address = unicodedata.normalize("NFC", text).strip().casefold()
    if not _EMAIL.match(address) and not _QUOTED_EMAIL.match(address):
        return None
    local, _, domain = address.rpartition("@")
    ascii_domain = _ascii_domain(domain)
    return f"{local}@{ascii_domain}" if "." in ascii_domain else None


@lru_cache(maxsize=4_096)
def _ascii_domain(domain: str) -> str:
    """The domain in IDNA form; empty when it has none."""
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""


def normalise_phone(text: str) -> str | None:
    """``+`` and 7 to 15 digits; a number without country code keeps its digits alone. None when it is no number."""
    number = _PHONE_SIGNS.sub("", unicodedata.normalize("NFKC", text).strip())
    if number.startswith("00"):
        number = "+" + number[2:]
    digits = number.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or not 7 <= len(digits) <= 15:
        return None
    return number


def normalise_company(text: str) -> str | None:
    """A company's name without regard to case, spacing and punctuation; None when nothing is left of it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(sign if sign.isalnum() else " " for sign in folded).split()) or None


def normalise(kind: IdentityKind, text: str) -> str | None:
    """The comparable form of an identity; None when the text is none of its kind."""
    if kind == "email":
        return normalise_email(text)
    if kind == "phone":
        return normalise_phone(text)
    return unicodedata.normalize("NFC", text).strip() or None


@lru_cache(maxsize=16_384)
def normalise_address(channel: str, text: str) -> str:
    """The comparable form of an address of a channel. ``@domain`` stands for a whole domain and becomes the bare
    domain.

    What is no address is only trimmed and folded.
    """
    folded = text.strip().casefold()
    if folded.startswith("@"):
        try:
            return folded[1:].encode("idna").decode("ascii").lower()
        except UnicodeError:
            return folded[1:]
    normal = normalise_phone(text) if channel in {"sms", "whatsapp"} else normalise_email(text)
    return normal or folded
