"""The unsubscribe pages: plain HTML, no script, one small style sheet inside, in English or German."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

Language = Literal["en", "de"]

#: Nothing is loaded from anywhere, nobody may frame the page, the form posts to us only.
PAGE_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex, nofollow"),
)

_STYLE = (
    "body{font:1.0625rem/1.5 system-ui,sans-serif;color:#1c1917;background:#fafaf9;margin:0;display:grid;"
    "min-height:100vh;place-items:center}main{max-width:30rem;padding:2rem;margin:1rem;background:#fff;"
    "border:1px solid #d6d3d1;border-radius:.75rem}h1{font-size:1.375rem;margin:0 0 .75rem}fieldset{border:0;padding:0;"
    "margin:1rem 0}legend{padding:0;margin-bottom:.5rem}label{display:flex;gap:.6rem;padding:.4rem 0;cursor:pointer}"
    "button{font:inherit;font-weight:600;color:#fff;background:#1d4ed8;border:0;border-radius:.5rem;"
    "padding:.65rem 1.25rem;cursor:pointer}button:focus-visible,input:focus-visible{outline:3px solid #93c5fd;"
    "outline-offset:2px}@media(prefers-color-scheme:dark){body{color:#f5f5f4;background:#1c1917}main{background:#292524;"
    "border-color:#57534e}}"
)


@dataclass(frozen=True, slots=True)
class _Texts:
    title: str
    ask: str
    all: str
    one: str
    button: str
    done_title: str
    done_all: str
    done_one: str
    late_title: str
    late: str
    gone_title: str
    gone: str


_TEXTS: dict[Language, _Texts] = {
    "en": _Texts(
        title="Unsubscribe",
        ask="What would you like to stop receiving?",
        all="All of these messages",
        one="Only this series",
        button="Unsubscribe",
        done_title="You are unsubscribed",
        done_all="You will get no more of these messages. One that is already on its way may still arrive.",
        done_one="You will get no more messages of this series. One that is already on its way may still arrive.",
        late_title="Please try again",
        late="Your wish could not be stored just now. Please try again in a minute.",
        gone_title="This link does not work",
        gone="The address is incomplete or was changed. Please use the link in the message as it stands.",
    ),
    "de": _Texts(
        title="Abmelden",
        ask="Was möchten Sie nicht mehr erhalten?",
        all="Alle diese Nachrichten",
        one="Nur diese Serie",
        button="Abmelden",
        done_title="Sie sind abgemeldet",
        done_all="Sie erhalten keine dieser Nachrichten mehr. Eine, die schon unterwegs ist, kann noch ankommen.",
        done_one="Sie erhalten keine Nachrichten dieser Serie mehr. Eine, die schon unterwegs ist, kann noch ankommen.",
        late_title="Bitte noch einmal versuchen",
        late="Ihr Wunsch konnte gerade nicht gespeichert werden. Bitte versuchen Sie es in einer Minute noch einmal.",
        gone_title="Dieser Link funktioniert nicht",
        gone="Die Adresse ist unvollständig oder verändert. Bitte nutzen Sie den Link, wie er in der Nachricht steht.",
    ),
}


def language_of(accept_language: str) -> Language:
    """The first of our languages by the weights of an Accept-Language header; English when it names neither."""
    best: tuple[float, Language] = (0.0, "en")
    for part in accept_language[:500].split(","):
        tag, _, parameters = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if language in ("en", "de") and weight > best[0]:
            best = (weight, "de" if language == "de" else "en")
    return best[1]


def asking_page(language: Language, *, one_sequence: bool) -> bytes:
    """The form; ``one_sequence`` offers to leave only the sequence that the message belongs to."""
    texts = _TEXTS[language]
    choice = (
        f"<fieldset><legend>{texts.ask}</legend>"
        f'<label><input type="radio" name="choice" value="all" checked> {texts.all}</label>'
        f'<label><input type="radio" name="choice" value="sequence"> {texts.one}</label></fieldset>'
        if one_sequence
        else f'<input type="hidden" name="choice" value="all"><p>{texts.all}</p>'
    )
    return _page(
        language, texts.title, f'<form method="post">{choice}<button type="submit">{texts.button}</button></form>'
    )


def done_page(language: Language, *, whole: bool) -> bytes:
    """Said only once the wish is durable."""
    texts = _TEXTS[language]
    return _page(language, texts.done_title, f'<p role="status">{texts.done_all if whole else texts.done_one}</p>')


def late_page(language: Language) -> bytes:
    """The wish could not be stored."""
    texts = _TEXTS[language]
    return _page(language, texts.late_title, f'<p role="alert">{texts.late}</p>')


def gone_page(language: Language) -> bytes:
    """The token is no good."""
    texts = _TEXTS[language]
    return _page(language, texts.gone_title, f"<p>{texts.gone}</p>")


def _page(language: Language, title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    ).encode()


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
