"""What a person answered: without what they quoted; and whether it was a person at all."""

from __future__ import annotations

import re
from email.message import Message

import structlog
from mailparser_reply import EmailReplyParser

from services.tracker.mails import body_text, header
from services.tracker.quotes import without_quote

#: The library's patterns need minutes for some texts of 50,000 characters and at most 0.1 s for any of this length.
MAX_PARSED = 2_000
LANGUAGES = ["en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "cs"]

_log = structlog.get_logger(__name__)
_AUTO_SUBJECTS = re.compile(
    r"^\s*(?:(?:re|aw|antw|sv)\s*:\s*)?(?:"
    r"out of (?:the )?office|auto(?:matic|mated)?[ -]?(?:reply|response|antwort)"
    r"|i am (?:currently )?out of|on vacation|away from"
    r"|abwesend|abwesenheit|automatische antwort|ich bin (?:derzeit )?nicht im b[uü]ro|au(?:ß|ss)er haus|im urlaub"
    r"|r[ée]ponse automatique|absen(?:t|ce) du bureau|message d['’]absence|je suis absent|en cong[ée]s?"
    r"|respuesta autom[áa]tica|fuera de (?:la )?oficina|ausente|ausencia"
    r")",
    re.IGNORECASE,
)
_AUTO_PRECEDENCE = frozenset({"bulk", "junk", "auto_reply", "auto-reply", "list"})
_AUTO_HEADERS = (
    "X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-From", "X-AutoReply-From", "X-Mail-Autoreply",
    "X-FC-MachineGenerated",
)  # fmt: skip
_STOP_WORDS = frozenset(
    {
        "stop", "stopp", "unsubscribe", "unsubscribe me", "please unsubscribe", "please unsubscribe me", "remove me",
        "please remove me", "opt out", "optout", "stop emailing me", "cancel subscription",
        "abmelden", "bitte abmelden", "abbestellen", "bitte abbestellen", "austragen", "keine mails mehr",
        "desabonner", "désabonner", "se désabonner", "me désabonner", "désinscription", "desinscription",
        "baja", "darme de baja", "cancelar suscripción", "cancelar suscripcion",
    }
)  # fmt: skip


def is_auto_reply(message: Message, *, empty_sender: bool) -> bool:
    """RFC 3834 and what is found in the wild. ``empty_sender``: handed in with MAIL FROM:<>, as no person's mail is."""
    submitted = header(message, "Auto-Submitted").lower()
    if submitted and not submitted.startswith("no"):
        return True
    if empty_sender or header(message, "Precedence").lower() in _AUTO_PRECEDENCE:
        return True
    if any(header(message, name) for name in _AUTO_HEADERS):
        return True
    return bool(_AUTO_SUBJECTS.match(header(message, "Subject")[:300]))


def reply_text(message: Message) -> str:
    """The answer without quoted text and signature marks; the whole text when nothing else is left."""
    whole = body_text(message).replace("\r\n", "\n").strip()
    own = without_quote(whole)
    if own and len(own) <= MAX_PARSED:
        try:
            own = (EmailReplyParser(languages=LANGUAGES).parse_reply(own) or "").strip() or own
        except Exception as error:  # noqa: BLE001  # a reply counts even if the parser stumbles over it
            _log.info("reply_parser_failed", error=repr(error))
    return own or whole


def asks_to_stop(text: str) -> bool:
    """Whether the words of an answer, alone, are an order to stop. "Please stop by" is none."""
    words = re.sub(r"[\s.!,;:\"'«»„“”]+", " ", text[:200]).strip().casefold()
    return words in _STOP_WORDS
