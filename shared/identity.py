"""What a lead is known by, in one spelling: e-mail, phone, external id. Two texts that mean the same give the same
text.

InvalidIdentity    the text is no such identity
"""

from __future__ import annotations

import unicodedata
from typing import Literal

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email

IdentityKind = Literal["external_id", "email", "phone"]

MAX_EMAIL = 320
MAX_PHONE = 40
MAX_EXTERNAL_ID = 200


class InvalidIdentity(ValueError):
    """The text is no such identity. ``problem`` says why, without the text itself: it may be personal."""

    def __init__(self, kind: IdentityKind, problem: str) -> None:
        self.kind = kind
        self.problem = problem
        super().__init__(f"{kind}: {problem}")


def normalise(kind: IdentityKind, text: str, region: str | None = None) -> str:
    """``text`` in the one spelling of its kind. ``region`` (``DE``) helps to read phone numbers without a country code.

    Raises InvalidIdentity.
    """
    match kind:
        case "email":
            return normalise_email(text)
        case "phone":
            return normalise_phone(text, region)
        case "external_id":
            return normalise_external_id(text)


def normalise_email(text: str) -> str:
    """NFC, trimmed, case-folded, the domain in its ASCII form. The domain need not exist. Raises InvalidIdentity."""
    local, at, domain = unicodedata.normalize("NFC", text).strip().rpartition("@")
    if not at:
        raise InvalidIdentity("email", "An email address must have an @-sign.")
    if len(local) + len(domain) >= MAX_EMAIL:
        raise InvalidIdentity("email", f"An email address must have at most {MAX_EMAIL} characters.")
    return f"{_local_part(local)}@{_ascii_domain(domain)}"


def _local_part(local: str) -> str:
    """Judged with a domain that is surely good: names such as ``crm.local`` are a lead's own business."""
    folded = unicodedata.normalize("NFC", local.casefold())
    try:
        return validate_email(f"{folded}@example.com", check_deliverability=False, allow_quoted_local=True).local_part
    except EmailNotValidError as error:
        raise InvalidIdentity("email", str(error)) from None


def _ascii_domain(domain: str) -> str:
    """Lowered, not case-folded: that would turn ß into ss, which is another domain."""
    try:
        ascii_domain = idna.encode(domain.lower(), uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError:
        raise InvalidIdentity("email", "The part after the @-sign is not a domain name.") from None
    if "." not in ascii_domain or ascii_domain.endswith(".") or ascii_domain.rpartition(".")[2].isdigit():
        raise InvalidIdentity("email", "The part after the @-sign is not a domain name.")
    return ascii_domain


def normalise_phone(text: str, region: str | None = None) -> str:
    """E.164: ``+4915112345678``. Without ``region`` the number must begin with its country code. Raises
    InvalidIdentity.
    """
    compact = unicodedata.normalize("NFKC", text).strip()
    if len(compact) > MAX_PHONE:
        raise InvalidIdentity("phone", f"must be at most {MAX_PHONE} characters")
    try:
        number = phonenumbers.parse(compact, region.upper() if region else None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            raise InvalidIdentity("phone", "must begin with + and a country code") from None
        raise InvalidIdentity("phone", "is not a phone number") from None
    if not phonenumbers.is_possible_number(number):
        raise InvalidIdentity("phone", "has too few or too many digits")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalise_external_id(text: str) -> str:
    """NFC and trimmed; upper and lower case differ. Raises InvalidIdentity."""
    trimmed = unicodedata.normalize("NFC", text).strip()
    if not trimmed:
        raise InvalidIdentity("external_id", "must not be empty")
    if len(trimmed) > MAX_EXTERNAL_ID:
        raise InvalidIdentity("external_id", f"must be at most {MAX_EXTERNAL_ID} characters")
    if any(unicodedata.category(character) == "Cc" for character in trimmed):
        raise InvalidIdentity("external_id", "must not have control characters")
    return trimmed


def domain_of(email: str) -> str:
    """The domain of a normalised e-mail address, without the @-sign."""
    return email.rpartition("@")[2]
