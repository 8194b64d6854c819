"""Where the quoted message begins. Line by line, so that no text, however made, takes long."""

from __future__ import annotations

import re

#: An introduction such as "On Monday … wrote:" may be folded over so many lines, and be so long.
_INTRODUCTION_LINES = 4
_INTRODUCTION_CHARACTERS = 400

_FIRST_WORDS = ("on ", "am ", "le ", "el ", "il ", "op ", "em ", "den ", "dne ", "w dniu ", "tendril ")
_LAST_WORDS = re.compile(
    r"(?:wrote|schrieb.{0,80}|a écrit|escribió|ha scritto|schreef.{0,80}"
    r"|napisał\(?a?\)?|escreveu|skrev.{0,80}|napsal\(?a?\)?)"
    r"\s?:\s*$",
    re.IGNORECASE,
)
_RULES = re.compile(
    r"^\s*(?:-{2,}\s*(?:original message|forwarded message|ursprüngliche nachricht|weitergeleitete nachricht"
    r"|message d'origine|mensaje original|messaggio originale|oorspronkelijk bericht)\s*-{2,}|_{20,})\s*$",
    re.IGNORECASE,
)
_HEADER_LABEL = re.compile(r"^\s*\*?(from|von|de|da|van|från|fra|od)\s?:\*?\s", re.IGNORECASE)
_NEXT_LABEL = re.compile(
    r"^\s*\*?(sent|date|to|subject|gesendet|datum|an|betreff|envoyé|à|objet|enviado|para|asunto|inviato|oggetto|verzonden"
    r"|aan|onderwerp|skickat|till|ämne)\s?:",
    re.IGNORECASE,
)


def without_quote(text: str) -> str:
    """What stands above the quoted message, without quoted lines and without a signature below ``-- ``."""
    lines = text.splitlines()
    end = next((number for number in range(len(lines)) if _begins_quote(lines, number)), len(lines))
    kept = [line for line in lines[:end] if not line.lstrip().startswith(">")]
    return "\n".join(kept).strip()


def _begins_quote(lines: list[str], number: int) -> bool:
    line = lines[number][:_INTRODUCTION_CHARACTERS]
    if line in ("-- ", "--") or _RULES.match(line):
        return True
    if _HEADER_LABEL.match(line):
        return any(_NEXT_LABEL.match(following[:100]) for following in lines[number + 1 : number + 4])
    if not line.lstrip().lower().startswith(_FIRST_WORDS):
        return False
    introduction = ""
    for following in lines[number : number + _INTRODUCTION_LINES]:
        introduction = f"{introduction} {following[:_INTRODUCTION_CHARACTERS].strip()}"[-_INTRODUCTION_CHARACTERS:]
        if _LAST_WORDS.search(introduction):
            return True
    return False
