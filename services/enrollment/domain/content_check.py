"""Is the content of a step fit to be sent? What a parser must read (merge tags) comes in as facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.events.definition import Step, texts_of
from shared.events.kinds import MailContent

Finding = dict[str, str]
LONG_SUBJECT = 78
MANY_LINKS = 10
#: Phrases that filters of many mailboxes count against a message.
SPAM_PHRASES = (
    "100% free",
    "act now",
    "apply now",
    "as seen on",
    "buy now",
    "cash bonus",
    "click below",
    "click here",
    "congratulations",
    "double your",
    "earn money",
    "extra income",
    "free gift",
    "free money",
    "get rich",
    "guaranteed",
    "limited time only",
    "lose weight",
    "make money",
    "miracle",
    "no obligation",
    "once in a lifetime",
    "order now",
    "risk-free",
    "special promotion",
    "this is not spam",
    "urgent",
    "while supplies last",
    "winner",
    "you have been selected",
)
_MESSAGE_KINDS = frozenset({"email", "email_manual", "sms", "whatsapp", "appointment"})
_TAGS = re.compile(r"<[^>]*>|&nbsp;|&#160;")
_PICTURE = re.compile(r"<img\b", re.IGNORECASE)
_LINK = re.compile(r"""href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_GOOD_LINK = re.compile(
    r"""^(https?://([\w.-]|\{\{[^{}]*\}\})+(:[0-9]{1,5})?([/?#].*)?|mailto:[^\s@]+@[^\s@]+|tel:\+?[0-9 ()./-]+|\#.*"""
    r"""|\{\{.*)$""",
    re.IGNORECASE | re.DOTALL,
)
_TEXT_LINK = re.compile(r"\bhttps?:[^\s<>\"')\]]*", re.IGNORECASE)
_SHOUTS = re.compile(r"!{2,}|\?{2,}|\${2,}")
_LIQUID = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_SPAM = re.compile(r"\b(" + "|".join(map(re.escape, SPAM_PHRASES)) + r")(?!\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What a parser read in a step's texts, by field: tags that nobody knows, and faults of syntax."""

    unknown_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)


NO_FACTS = ContentFacts()


def finding(where: str, problem: str) -> Finding:
    """``{"field", "problem"}``."""
    return {"field": where, "problem": problem}


def reaches_lead(step: Step) -> bool:
    """Does the step send the lead something?"""
    return step.kind.value in _MESSAGE_KINDS


def errors(step: Step, facts: ContentFacts) -> Iterator[Finding]:
    """What forbids to send it."""
    where = f"steps.{step.step_id}"
    for name, tags in facts.unknown_tags.items():
        for tag in tags:
            yield finding(f"{where}.{name}", f"uses the unknown tag {tag}")
    for name, fault in facts.faults.items():
        yield finding(f"{where}.{name}", fault)
    for name, text in texts_of(step).items():
        yield from text_errors(f"{where}.{name}", name.rpartition(".")[2], text)


def text_errors(where: str, name: str, text: str) -> Iterator[Finding]:
    """What forbids to send one text. ``name`` is that of its field, such as ``subject``."""
    if name == "subject" and ("\n" in text or "\r" in text):
        yield finding(where, "must be one line")
    if name == "html":
        if not _TAGS.sub("", text).strip() and not _PICTURE.search(text):
            yield finding(where, "shows nothing")
        for link in links_in(text):
            if not _GOOD_LINK.match(link.strip()):
                yield finding(where, f"has a link that is not well-formed: {link[:100]}")
    elif not text.strip():
        yield finding(where, "must not be blank")
    else:
        for link in _TEXT_LINK.findall(_LIQUID.sub("x", text)):
            if not _GOOD_LINK.match(link.rstrip(".,;:!?")):
                yield finding(where, f"has a link that is not well-formed: {link[:100]}")


def advice(step: Step) -> Iterator[Finding]:
    """What is only unwise."""
    where = f"steps.{step.step_id}"
    if not reaches_lead(step):
        return
    for name, text in texts_of(step).items():
        place, part = f"{where}.{name}", name.rpartition(".")[2]
        if part == "subject":
            yield from _subject_advice(place, _LIQUID.sub("", text))
        if part == "html" and len(links_in(text)) > MANY_LINKS:
            yield finding(place, f"has more than {MANY_LINKS} links")
        if found := sorted({each.lower() for each in _SPAM.findall(_TAGS.sub(" ", text))}):
            yield finding(place, f"has words that filters count as spam: {', '.join(found)}")
        if part in ("html", "text") and isinstance(step.config, MailContent):
            yield from _footer_advice(place, text)


def _subject_advice(where: str, subject: str) -> Iterator[Finding]:
    if len(subject) > LONG_SUBJECT:
        yield finding(where, f"is longer than {LONG_SUBJECT} characters")
    if _SHOUTS.search(subject):
        yield finding(where, "has more than one mark of exclamation, question or money in a row")
    letters = [letter for letter in subject if letter.isalpha()]
    if len(letters) > 7 and all(letter.isupper() for letter in letters):
        yield finding(where, "is written in capitals")


def _footer_advice(where: str, text: str) -> Iterator[Finding]:
    """A footer is added where none is; one's own must lead to the unsubscribe page."""
    lowered = text.lower()
    if "unsubscribe" in lowered.replace("unsubscribe_url", "") and "unsubscribe_url" not in lowered:
        yield finding(where, "speaks of unsubscribing without a link to {{ unsubscribe_url }}")


def links_in(html: str) -> list[str]:
    """The addresses of all links, as written."""
    return ["".join(found) for found in _LINK.findall(html)]
