"""Patterns that texts from outside must have, each with what it means to people: nobody who wrote a wrong name reads
regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.ids import ORGANIZATION

#: Ids that people choose: of steps, variants, senders, groups.
CHOSEN_ID = r"^[a-z0-9][a-z0-9_-]{0,63}$"
#: As it stands in a tag.
SNIPPET_NAME = r"^[a-z][a-z0-9_]{0,63}$"
#: Whose days off a calendar holds.
CALENDAR_NAME = r"^(organization|sender:[a-z0-9][a-z0-9_-]{0,63}|member:[0-9a-f-]{36})$"
ACTOR = r"^(member|api_key):\S+$"
LOCAL_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
CURRENCY = r"^[A-Z]{3}$"
WEB_ADDRESS = r"^https?://\S+$"
REDIRECT = r"^https?://\S{1,2000}$"
#: Of a web page, without a path.
ORIGIN = r"^https?://[^/\s]{1,253}$"
#: Where a webhook goes: without a user, its host without merge tags.
WEBHOOK_URL = r"^https?://[^\s/{}@]+(/[^\s{}]*)?$"
FORM_KEY = r"^[A-Za-z0-9_-]{16,64}$"
MESSAGE_ID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}-[0-9]{1,9}$"
ROW_CURSOR = r"^[0-9]{1,9}$"
FILE_NAME = r'^[^\x00-\x1f\x7f-\x9f\u2028\u2029/\\:*?"<>|]+$'
SHA_256 = r"^[0-9a-f]{64}$"
WHATSAPP_TEMPLATE = r"^[a-z0-9_]{1,512}$"
WHATSAPP_LANGUAGE = r"^[a-z]{2,3}(_[A-Z]{2})?$"

#: Pattern -> what a text of it is; it goes on from "must be".
MEANINGS: Mapping[str, str] = {
    CHOSEN_ID: "lower-case letters, digits, - and _, beginning with a letter or digit, at most 64",
    ORGANIZATION: "lower-case letters, digits, - and _, beginning with a letter or digit",
    SNIPPET_NAME: "lower-case letters, digits and _, beginning with a letter, at most 64",
    CALENDAR_NAME: "organization, sender:<id> or member:<id>",
    ACTOR: "member:<id> or api_key:<id>",
    LOCAL_TIME: "a time of day such as 09:30, from 00:00 to 23:59",
    CURRENCY: "three capital letters such as EUR",
    WEB_ADDRESS: "a web address that begins with http:// or https://, without spaces",
    REDIRECT: "a web address that begins with http:// or https://, without spaces, at most 2000 letters long",
    ORIGIN: "http:// or https:// and a host, without a path, such as https://www.example.com",
    WEBHOOK_URL: "a web address that begins with http:// or https://, without spaces, braces or a user's name",
    FORM_KEY: "16 to 64 letters, digits, - and _",
    MESSAGE_ID: "a message's id: its enrollment's id, - and the number of its execution",
    ROW_CURSOR: "the next_cursor of the page before",
    FILE_NAME: "a file's name, without control characters, / \\ : * ? \" < > and |",
    SHA_256: "a SHA-256 in 64 digits and lower-case letters from a to f",
    WHATSAPP_TEMPLATE: "lower-case letters, digits and _, at most 512",
    WHATSAPP_LANGUAGE: "a language such as en, or with its country such as en_US",
}
#: How pydantic says that a text has not the form it should have.
_MISMATCH = re.compile(r"String should match pattern '(.*)'", re.DOTALL)


def in_plain_words(problem: str) -> str:
    """A message of pydantic, without the regular expression where its meaning is known."""
    mismatch = _MISMATCH.fullmatch(problem)
    meaning = MEANINGS.get(mismatch[1]) if mismatch is not None else None
    return f"must be {meaning}" if meaning is not None else problem
